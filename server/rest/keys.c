/* A change waits for its commit; the request is looked up again then, by its id. */
#include "server/rest/keys.h"

#include <stdlib.h>

#include "proto/crypto/crypto.h"
#include "server/api/json.h"
#include "server/server.h"
#include "server/tenant/auth.h"
#include "server/worker.h"

enum { KEYS_SHOWN = 1000 };

struct change {
    struct key_change key;
    struct worker *worker;
    uint64_t request;
};

static const struct {
    const char *name;
    enum right right;
} rights[] = {{"read", RIGHT_READ}, {"write", RIGHT_WRITE}, {"delete", RIGHT_DELETE}};

static err_t administrator(struct request *r, struct principal *out)
{
    TRY(auth_request(http_context(r), r, out));
    if (principal_may(out, RIGHT_ADMIN)) return OK;
    return fail(FORBIDDEN, "keys are made through the operator's socket in the data folder: "
                           "parleyctl key new");
}

/* ---- listing ---- */

static void write_key(struct pen *p, const struct key_info *k)
{
    pen_object(p, NULL);
    pen_word(p, "id", k->id);
    pen_word(p, "name", k->name);
    pen_word(p, "world", k->world == WORLD_TEST ? "test" : "live");
    pen_array(p, "rights");
    for (size_t i = 0; i < ARRAY_LEN(rights); i++)
        if (k->rights & rights[i].right) pen_word(p, NULL, rights[i].name);
    pen_end(p);
    pen_word(p, "hint", k->hint);
    pen_time(p, "created_at", k->created_ms);
    pen_end(p);
}

void keys_list(struct request *r)
{
    struct server *s = http_context(r);
    struct key_info *keys;
    struct principal who;
    AUTO(buf) body = {0};
    struct pen p = pen_on(&body);
    err_t e = administrator(r, &who);
    size_t n;

    if (e != OK) {
        reply_refuse(r, e);
        return;
    }
    keys = xcalloc(KEYS_SHOWN * sizeof(*keys));
    n = auth_keys(s->tenants, who.tenant, keys, KEYS_SHOWN);
    pen_object(&p, NULL);
    pen_array(&p, "keys");
    for (size_t i = 0; i < n; i++)
        write_key(&p, &keys[i]);
    pen_end(&p);
    pen_end(&p);
    free(keys);
    reply_json(r, 200, buf_slice(&body));
}

/* ---- changing ---- */

static struct change *change_new(struct request *r, void (*done)(struct key_change *k, err_t e))
{
    struct change *ch = xcalloc(sizeof(*ch));

    ch->worker = r->worker;
    ch->request = r->id;
    ch->key.done = done;
    ch->key.home = r->worker;
    return ch;
}

static void finish(struct key_change *k, err_t e, bool show_key)
{
    struct change *ch = CONTAINER_OF(k, struct change, key);
    struct request *r = request_find(ch->worker, ch->request);
    AUTO(buf) body = {0};
    struct pen p = pen_on(&body);

    if (r && e != OK) {
        reply_refuse(r, err_fail(e, __FILE__, __LINE__, "the key could not be stored"));
    } else if (r) {
        pen_object(&p, NULL);
        pen_word(&p, "id", k->id);
        if (show_key)
            pen_word(&p, "key", k->key);
        else
            pen_bool(&p, "revoked", true);
        pen_end(&p);
        reply_json(r, 200, buf_slice(&body));
    }
    crypto_wipe(k->key, sizeof(k->key));
    free(ch);
}

static void on_made(struct key_change *k, err_t e) { finish(k, e, true); }
static void on_revoked(struct key_change *k, err_t e) { finish(k, e, false); }

static err_t read_rights(const struct json *list, unsigned *out)
{
    if (!list) {
        *out = RIGHTS_TOOLS;
        return OK;
    }
    for (size_t n = 0; n < json_count(list); n++) {
        unsigned before = *out;
        for (size_t i = 0; i < ARRAY_LEN(rights); i++)
            if (slice_is(json_text(json_at(list, n)), rights[i].name)) *out |= rights[i].right;
        if (*out == before) return fail(BAD_ARGUMENT, "rights are read, write and delete");
    }
    return *out ? OK : fail(BAD_ARGUMENT, "rights must name at least one of read, write, delete");
}

static err_t read_wish(const struct json *body, enum world *world, unsigned *wanted)
{
    struct slice name = json_get_text(body, "world");

    if (!slice_is(name, "live") && !slice_is(name, "test"))
        return fail(BAD_ARGUMENT, "world must be live or test");
    *world = slice_is(name, "test") ? WORLD_TEST : WORLD_LIVE;
    return read_rights(json_get(body, "rights"), wanted);
}

void keys_make(struct request *r)
{
    struct json *body = NULL;
    struct principal who;
    enum world world = WORLD_LIVE;
    unsigned wanted = 0;
    struct slice name;
    err_t e = administrator(r, &who);

    if (e == OK) e = json_parse(r->body, KEYS_BODY_MAX, &body);
    if (e == OK) e = read_wish(body, &world, &wanted);
    if (e != OK) {
        json_free(body);
        reply_refuse(r, e);
        return;
    }
    name = json_get_text(body, "name");
    auth_key_new(http_context(r), who.tenant, world, wanted, name.len ? name : SLICE("key"),
                 &change_new(r, on_made)->key);
    json_free(body);
}

void keys_revoke(struct request *r)
{
    struct principal who;
    struct change *ch;
    err_t e = administrator(r, &who);

    if (e != OK) {
        reply_refuse(r, e);
        return;
    }
    ch = change_new(r, on_revoked);
    e = auth_key_revoke(http_context(r), who.tenant, r->params[0], &ch->key);
    if (e == OK) return;
    free(ch);
    reply_refuse(r, e);
}
