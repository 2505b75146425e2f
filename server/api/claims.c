/* The map's lock is held for look-ups and list moves only. A joiner that was taken out of its list
 * belongs to the thread that ends the claim until its post arrives at home. */
#include "server/api/claims.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "proto/base/map.h"
#include "proto/crypto/crypto.h"
#include "server/account/turn.h"
#include "server/api/args.h"
#include "server/api/json.h"
#include "server/api/tool.h"
#include "storage/idempotency.h"

enum { FINGERPRINT = 16 };

struct claim {
    uint8_t place[4 + CLAIM_HASH]; /* tenant, hash: the key of the map */
    uint8_t fingerprint[FINGERPRINT];
    int64_t created_ms;
    struct slice effect; /* in the owner's arena, once stored */
    bool stored;
    struct list joiners;
};

struct claims {
    pthread_mutex_t lock;
    struct map running;
};

struct claims *claims_new(void)
{
    struct claims *cs = xcalloc(sizeof(*cs));

    pthread_mutex_init(&cs->lock, NULL);
    return cs;
}

void claims_free(struct claims *cs)
{
    if (!cs) return;
    pthread_mutex_destroy(&cs->lock);
    map_done(&cs->running);
    free(cs);
}

static struct slice place_of(const struct claim *k) { return slice_of(k->place, sizeof(k->place)); }
static struct slice hash_of(const struct claim *k) { return slice_of(k->place + 4, CLAIM_HASH); }

/* ---- identity of a call ---- */

static void fill_place(struct claim *k, const struct call *c, struct slice idempotency_key)
{
    struct slice zero = slice_of("", 1);
    struct slice pieces[] = {slice_text(c->who.key), zero, slice_text(c->tool->name), zero,
                             idempotency_key};
    uint8_t digest[CRYPTO_SHA256];

    crypto_sha256_v(pieces, ARRAY_LEN(pieces), digest);
    memcpy(k->place, &c->who.tenant, 4);
    memcpy(k->place + 4, digest, CLAIM_HASH);
}

/* Of the arguments without the key: sorted, so that the order of members does not matter. */
static void fill_fingerprint(struct claim *k, const struct call *c)
{
    AUTO(buf) text = {0};
    const struct arg *a;
    uint8_t digest[CRYPTO_SHA256];

    for (size_t i = 0; (a = tool_arg(c->tool, i)); i++) {
        if (strcmp(a->name, "idempotency_key") == 0 || !arg_given(c, a->name)) continue;
        buf_put_text(&text, a->name);
        buf_put_u8(&text, '=');
        json_write_sorted(&text, json_get(c->args, a->name));
        buf_put_u8(&text, '\n');
    }
    crypto_sha256(buf_slice(&text), digest);
    memcpy(k->fingerprint, digest, FINGERPRINT);
}

static bool is_same(const struct claim *k, struct slice fingerprint)
{
    return slice_eq(slice_of(k->fingerprint, FINGERPRINT), fingerprint);
}

static err_t refuse_other(void)
{
    return fail(BAD_ARGUMENT, "idempotency_key was used for a call with other arguments; take a "
                              "new one");
}

/* ---- taking ---- */

/* Among the calls that run: joins, refuses, or puts the claim there. */
static err_t take_running(struct claims *cs, struct call *c, enum claim_outcome *out)
{
    struct claim *other;
    err_t e = OK;

    pthread_mutex_lock(&cs->lock);
    other = map_find(&cs->running, place_of(c->claim));
    if (!other) {
        map_put(&cs->running, place_of(c->claim), c->claim);
    } else if (is_same(other, SLICE_ARRAY(c->claim->fingerprint))) {
        list_push(&other->joiners, &c->claim_link);
        c->joining = true;
        *out = CLAIM_JOINED;
    } else {
        e = ERR_BAD_ARGUMENT;
    }
    pthread_mutex_unlock(&cs->lock);
    if (other) c->claim = NULL; /* the map holds another call's */
    return e == OK ? OK : refuse_other();
}

static err_t error_by_name(struct slice name)
{
    for (err_t e = OK + 1; e < ERR_COUNT; e++)
        if (slice_is(name, err_name(e))) return e;
    return ERR_INTERNAL;
}

/* A stored reply is 'R' and JSON, or 'E', the error's name, a line feed and its words. */
static err_t read_reply(struct call *c, struct slice reply)
{
    struct slice rest = slice_from(reply, 1), name;

    if (reply.len == 0) return fail(STORE_DAMAGED, "an empty reply");
    if (reply.data[0] == 'R') {
        buf_put(&c->result, rest);
        return OK;
    }
    if (!slice_split(&rest, '\n', &name)) return fail(STORE_DAMAGED, "a reply without an error");
    c->error = error_by_name(name);
    snprintf(c->words, sizeof(c->words), SLICE_FMT, SLICE_ARG(rest));
    return OK;
}

static err_t take_stored(struct call *c, struct view *v, enum claim_outcome *out,
                         struct slice *out_effect)
{
    struct db_claim row;
    bool found;

    TRY(db_claim_find(v, c->who.tenant, hash_of(c->claim), worker_now(c->home), &found, &row));
    if (!found) return OK;
    if (!is_same(c->claim, row.fingerprint)) return refuse_other();
    *out = row.answered ? CLAIM_REPLY : CLAIM_EFFECT;
    if (row.answered) return read_reply(c, row.reply);
    *out_effect = arena_dup(&c->arena, row.extra);
    return OK;
}

err_t claim_take(struct claims *cs, struct call *c, enum claim_outcome *out,
                 struct slice *out_effect)
{
    struct slice key = arg_text(c, "idempotency_key");
    struct view *v;
    err_t e;

    *out = CLAIM_FREE;
    if (slice_is_none(key) || !(c->tool->flags & TOOL_TAKES_KEY)) return OK;
    c->claim = arena_new(&c->arena, struct claim);
    list_init(&c->claim->joiners);
    fill_place(c->claim, c, key);
    fill_fingerprint(c->claim, c);
    c->claim->created_ms = worker_now(c->home);
    TRY(take_running(cs, c, out));
    if (*out == CLAIM_JOINED) return OK;

    /* Only after the claim stands in the map: a call that ended in between has stored its row
     * before it left the map. */
    TRY(view_new(c->server->store, &v));
    e = view_begin(v);
    if (e == OK) e = take_stored(c, v, out, out_effect);
    view_end(v);
    view_free(v);
    return e;
}

/* ---- storing ---- */

static void put_row(struct call *c, struct turn *t, struct slice reply)
{
    struct claim *k = c->claim;
    struct db_claim row = {
        .hash = hash_of(k),
        .created_ms = k->created_ms,
        .fingerprint = SLICE_ARRAY(k->fingerprint),
        .answered = !slice_is_none(reply),
        .reply = reply,
        .extra = k->effect,
    };

    db_claim_put(turn_batch(t), c->who.tenant, &row);
    k->stored = true;
}

void claim_store(struct call *c, struct turn *t, struct slice effect)
{
    if (!c->claim) return;
    c->claim->effect = arena_dup(&c->arena, effect);
    put_row(c, t, SLICE_NONE);
}

void claim_store_reply(struct call *c, struct turn *t, err_t error, struct slice result)
{
    AUTO(buf) reply = {0};

    if (!c->claim || result.len >= CLAIM_REPLY_MAX) return;
    if (error == OK) {
        buf_put_u8(&reply, 'R');
        buf_put(&reply, result);
    } else if (c->claim->stored) {
        buf_printf(&reply, "E%s\n%s", err_name(error), c->ask.words);
    } else {
        return; /* nothing happened: the same call may be made again */
    }
    put_row(c, t, buf_slice(&reply));
}

/* ---- ending ---- */

static void on_joined(struct post *p, struct worker *w)
{
    struct call *c = CONTAINER_OF(p, struct call, post);

    c->joining = false;
    if (c->error == OK)
        call_finish(c);
    else
        call_fail(c, c->error);
}

static void send_reply(const struct call *c, struct call *joiner)
{
    joiner->error = c->error;
    memcpy(joiner->words, c->words, sizeof(c->words));
    buf_put(&joiner->result, buf_slice(&c->result));
    if (c->image.base64.len) {
        joiner->image = c->image;
        joiner->image.base64 = arena_dup(&joiner->arena, c->image.base64);
    }
    joiner->post.run = on_joined;
    worker_post(joiner->home, &joiner->post);
}

/* Empties the list under the lock, so that claim_leave() sees who is already on the way. */
static struct call **take_joiners(struct claims *cs, struct claim *k, size_t *out_count)
{
    struct call **calls = NULL;
    struct list *node;
    size_t n = 0;

    pthread_mutex_lock(&cs->lock);
    map_remove(&cs->running, place_of(k));
    while ((node = list_pop(&k->joiners))) {
        calls = xrealloc(calls, (n + 1) * sizeof(struct call *));
        calls[n++] = LIST_ENTRY(node, struct call, claim_link);
    }
    pthread_mutex_unlock(&cs->lock);
    *out_count = n;
    return calls;
}

void claim_release(struct claims *cs, struct call *c)
{
    struct call **joiners;
    size_t n;

    if (!c->claim) return;
    joiners = take_joiners(cs, c->claim, &n);
    for (size_t i = 0; i < n; i++)
        send_reply(c, joiners[i]);
    free(joiners);
    c->claim = NULL;
}

bool claim_leave(struct claims *cs, struct call *c)
{
    bool left;

    pthread_mutex_lock(&cs->lock);
    left = !list_empty(&c->claim_link);
    list_remove(&c->claim_link);
    pthread_mutex_unlock(&cs->lock);
    if (left) c->joining = false;
    return left;
}
