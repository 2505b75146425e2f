/* A row's filter is three lines: event names, account id, chat id. */
#include "server/tenant/subscriptions.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "proto/base/text.h"
#include "proto/crypto/crypto.h"
#include "server/events/hub.h"
#include "server/server.h"
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

static size_t chat_filters(struct view *v, uint32_t tenant, struct event_filter first,
                           struct slice chat, struct event_filter *out)
{
    struct db_contact contact;
    uint64_t secret;
    size_t n = 0;

    out[n] = first;
    if (!id_chat_parse(ID_CHAT, chat, &out->account, &out->peer, &secret) &&
        !id_chat_parse(ID_GROUP, chat, &out->account, &out->peer, &secret))
        return 0;
    struct scope scope = {tenant, out->account};
    if (db_contact_resolve(v, scope, out->peer, secret, &contact) != OK) return 1;
    out[n++].peer = contact.peer;
    for (size_t i = 0; i < CONTACT_PARTS_MAX && contact.parts[i]; i++) {
        out[n] = out[0];
        out[n++].peer = contact.parts[i];
    }
    return n;
}

size_t subscription_filters(struct view *v, uint32_t tenant, uint64_t kinds, struct slice account,
                            struct slice chat, struct event_filter *out)
{
    struct event_filter f = {.kinds = kinds};
    uint64_t secret;

    if (chat.len) return chat_filters(v, tenant, f, chat, out);
    if (account.len && !id_number_parse(ID_ACCOUNT, account, &f.account, &secret)) return 0;
    out[0] = f;
    return 1;
}

/* ---- telling the hubs ---- */

static pthread_mutex_t refreshing = PTHREAD_MUTEX_INITIALIZER;

static err_t read_filters(struct view *v, uint32_t tenant, struct slice key,
                          struct event_filter *out, size_t *out_count)
{
    struct arena arena = {0};
    AUTO(range) r = {0};
    struct subscription s;

    db_subscriptions(&r, v, tenant, key);
    while (*out_count + SUBSCRIPTION_FILTERS_MAX <= HUB_KEY_FILTERS_MAX &&
           subscription_next(&r, &arena, &s)) {
        struct event_filter f = {0};
        if (event_filter_add_names(&f, s.events) != OK) continue;
        *out_count += subscription_filters(v, tenant, f.kinds, s.account, s.chat, out + *out_count);
    }
    arena_done(&arena);
    return range_error(&r);
}

err_t subscriptions_refresh(struct server *s, uint32_t tenant, struct slice key)
{
    struct event_filter filters[HUB_KEY_FILTERS_MAX];
    struct view *v;
    size_t n = 0;
    err_t e;

    TRY(view_new(s->store, &v));
    pthread_mutex_lock(&refreshing);
    e = view_begin(v);
    if (e == OK) e = read_filters(v, tenant, key, filters, &n);
    view_end(v);
    if (e == OK) hubs_set_key_filters(s->hubs, key, filters, n);
    pthread_mutex_unlock(&refreshing);
    view_free(v);
    return e;
}
