/* A row's filter is three lines: event names, account id, chat id. */
#include "server/tenant/subscriptions.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/map.h"
#include "proto/base/text.h"
#include "proto/crypto/crypto.h"
#include "server/events/hub.h"
#include "server/server.h"
#include "server/tenant/auth.h"
#include "storage/contacts.h"
#include "storage/id.h"

enum { ID_BYTES = 13 };

err_t subscription_name(struct subscription *s, const struct principal *who)
{
    struct event_filter f = {0};
    uint8_t digest[CRYPTO_SHA256];
    AUTO(buf) hex = {0};

    TRY(event_filter_add_names(&f, s->events));
    struct slice zero = SLICE(","), pieces[] = {slice_text(who->key),
                                                zero,
                                                slice_of(&f.kinds, sizeof(f.kinds)),
                                                zero,
                                                s->account,
                                                zero,
                                                s->chat};
    crypto_sha256_v(pieces, ARRAY_LEN(pieces), digest);
    text_hex(slice_of(digest, ID_BYTES), &hex);
    snprintf(s->id, sizeof(s->id), "sub_%s", buf_text(&hex));
    return OK;
}

void subscription_put(struct batch *b, const struct principal *who, struct arena *arena,
                      const struct subscription *s)
{
    struct db_subscription row = {
        .name = slice_text(s->id),
        .filter = arena_printf(arena, SLICE_FMT "\n" SLICE_FMT "\n" SLICE_FMT "\n",
                               SLICE_ARG(s->events), SLICE_ARG(s->account), SLICE_ARG(s->chat)),
        .cursor = s->cursor,
        .created_ms = s->created_ms,
    };

    db_subscription_put(b, who->tenant, slice_text(who->key), &row);
}

static struct slice next_line(struct arena *arena, struct slice *lines)
{
    struct slice line;

    if (!slice_split(lines, '\n', &line) || line.len == 0) return SLICE_NONE;
    return arena_dup(arena, line);
}

bool subscription_next(struct range *r, struct arena *arena, struct subscription *out)
{
    struct db_subscription row;

    if (!db_subscription_next(r, &row)) return false;
    *out = (struct subscription){.cursor = row.cursor, .created_ms = row.created_ms};
    snprintf(out->id, sizeof(out->id), SLICE_FMT, SLICE_ARG(row.name));
    out->events = next_line(arena, &row.filter);
    out->account = next_line(arena, &row.filter);
    out->chat = next_line(arena, &row.filter);
    return true;
}

/* ---- filters ---- */

static bool chat_filter(struct view *v, uint32_t tenant, struct slice chat,
                        struct event_filter *out)
{
    struct db_contact contact;
    uint64_t secret;

    if (!id_chat_parse(ID_CHAT, chat, &out->account, &out->peer, &secret) &&
        !id_chat_parse(ID_GROUP, chat, &out->account, &out->peer, &secret))
        return false;
    struct scope scope = {tenant, out->account};
    if (db_contact_resolve(v, scope, out->peer, secret, &contact) == OK)
        event_filter_chat(out, &contact);
    return true;
}

bool subscription_filter(struct view *v, uint32_t tenant, uint64_t kinds, struct slice account,
                         struct slice chat, struct event_filter *out)
{
    uint64_t secret;

    *out = (struct event_filter){.kinds = kinds};
    if (chat.len) return chat_filter(v, tenant, chat, out);
    return !account.len || id_number_parse(ID_ACCOUNT, account, &out->account, &secret);
}

/* Around what reads the rows of a key and acts on them as the newest. */
static pthread_mutex_t reading = PTHREAD_MUTEX_INITIALIZER;

/* ---- places ---- */

_Static_assert((int)SUBSCRIPTIONS_MAX <= (int)HUB_KEY_FILTERS_MAX, "every subscription is heard");

/* Ids of the key's subscriptions, stored and on their way. */
static err_t read_ids(struct view *v, const struct list *under_way, const struct principal *who,
                      struct map *out)
{
    struct arena arena = {0};
    AUTO(range) r = {0};
    struct subscription s;

    LIST_EACH(node, under_way)
    {
        struct subscription_place *p = LIST_ENTRY(node, struct subscription_place, link);
        if (strcmp(p->key, who->key) == 0) map_put(out, slice_text(p->id), p);
    }
    db_subscriptions(&r, v, who->tenant, slice_text(who->key));
    while (subscription_next(&r, &arena, &s))
        map_put(out, slice_text(s.id), out);
    arena_done(&arena);
    return range_error(&r);
}

static err_t check_room(const struct map *ids, const char *id)
{
    if (map_find(ids, slice_text(id)) || ids->count < SUBSCRIPTIONS_MAX) return OK;
    return fail(BAD_ARGUMENT,
                "this key has %zu subscriptions already, at most %d are possible; remove one with "
                "unsubscribe_events",
                ids->count, SUBSCRIPTIONS_MAX);
}

/* A place is left after its commit, so what the list lacks the view shows, if it is newer. */
err_t subscription_take_place(struct server *s, const struct principal *who, const char *id,
                              struct subscription_place *out)
{
    struct list *under_way = tenants_subscribing(s->tenants);
    struct map ids = {0};
    struct view *v;
    err_t e;

    TRY(view_new(s->store, &v));
    pthread_mutex_lock(&reading);
    e = view_begin(v);
    if (e == OK) e = read_ids(v, under_way, who, &ids);
    view_end(v);
    if (e == OK) e = check_room(&ids, id);
    if (e == OK) {
        snprintf(out->key, sizeof(out->key), "%s", who->key);
        snprintf(out->id, sizeof(out->id), "%s", id);
        list_push(under_way, &out->link);
    }
    pthread_mutex_unlock(&reading);
    map_done(&ids);
    view_free(v);
    return e;
}

void subscription_leave_place(struct subscription_place *p)
{
    pthread_mutex_lock(&reading);
    list_remove(&p->link);
    pthread_mutex_unlock(&reading);
}

/* ---- telling the hubs ---- */

static err_t read_filters(struct view *v, uint32_t tenant, struct slice key,
                          struct event_filter *out, size_t *out_count)
{
    struct arena arena = {0};
    AUTO(range) r = {0};
    struct subscription s;

    db_subscriptions(&r, v, tenant, key);
    *out_count = 0;
    while (*out_count < HUB_KEY_FILTERS_MAX && subscription_next(&r, &arena, &s)) {
        struct event_filter f = {0};
        if (event_filter_add_names(&f, s.events) != OK) continue;
        *out_count += subscription_filter(v, tenant, f.kinds, s.account, s.chat, &out[*out_count]);
    }
    arena_done(&arena);
    return range_error(&r);
}

struct key_filters {
    struct event_filter all[HUB_KEY_FILTERS_MAX];
    size_t count;
};

static err_t read_key(struct view *v, uint32_t tenant, struct slice key, struct key_filters *out)
{
    err_t e = view_begin(v);

    if (e == OK) e = read_filters(v, tenant, key, out->all, &out->count);
    view_end(v);
    return e;
}

static bool is_same(const struct key_filters *a, const struct key_filters *b)
{
    return a->count == b->count && memcmp(a->all, b->all, a->count * sizeof(a->all[0])) == 0;
}

/* Until they are told as they stand: chats that became one while they were read were told to the
 * hubs before them. */
static err_t tell_filters(struct server *s, struct view *v, uint32_t tenant, struct slice key)
{
    struct key_filters told, now;

    TRY(read_key(v, tenant, key, &now));
    do {
        told = now;
        hubs_set_key_filters(s->hubs, key, told.all, told.count);
        TRY(read_key(v, tenant, key, &now));
    } while (!is_same(&told, &now));
    return OK;
}

err_t subscriptions_refresh(struct server *s, uint32_t tenant, struct slice key)
{
    struct view *v;
    err_t e;

    TRY(view_new(s->store, &v));
    pthread_mutex_lock(&reading);
    e = tell_filters(s, v, tenant, key);
    pthread_mutex_unlock(&reading);
    view_free(v);
    return e;
}
