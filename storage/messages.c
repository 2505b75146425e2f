#include "storage/messages.h"

#include "storage/chats.h"
#include "storage/typed.h"

static const struct field fields[] = {
    FIELD_BYTES(1, struct db_message, stanza_id),
    FIELD_BYTES(2, struct db_message, author),
    FIELD_UINT(3, struct db_message, author_peer),
    FIELD_UINT(4, struct db_message, from_me),
    FIELD_UINT(5, struct db_message, type),
    FIELD_UINT(6, struct db_message, status),
    FIELD_INT(7, struct db_message, occurred_ms),
    FIELD_INT(8, struct db_message, received_ms),
    FIELD_BYTES(9, struct db_message, text),
    FIELD_BYTES(10, struct db_message, raw),
    FIELD_UINT(11, struct db_message, starred),
    FIELD_UINT(12, struct db_message, edited),
    FIELD_UINT(13, struct db_message, deleted),
    FIELD_UINT(14, struct db_message, forwarded),
    FIELD_UINT(15, struct db_message, view_once),
    FIELD_UINT(16, struct db_message, error),
    FIELD_INT(17, struct db_message, edited_ms),
    FIELD_INT(18, struct db_message, read_ms),
    FIELD_INT(19, struct db_message, played_ms),
    FIELD_BYTES(20, struct db_message, quoted_id),
    FIELD_BYTES(21, struct db_message, quoted_author),
    FIELD_BYTES(22, struct db_message, mentions),
    FIELD_BYTES(23, struct db_message, media),
    FIELD_BYTES(24, struct db_message, reactions),
    FIELD_BYTES(25, struct db_message, extra),
    FIELD_UINT(26, struct db_message, place.secret),
};

/* Newest first: what arrives stands beside its chat's row. */
static struct key key_of_place(struct scope scope, struct place p)
{
    struct key k = key_of_kind(scope, p.peer, KIND_message);
    key_be32(&k, ~p.sec);
    key_be32(&k, ~p.seq);
    return k;
}

static err_t place_of_key(struct slice key, struct place *out)
{
    uint8_t kind;
    struct reader r = key_read_peer(key, &out->peer, &kind);
    out->sec = ~reader_be32(&r);
    out->seq = ~reader_be32(&r);
    return reader_end(&r) == OK ? OK : fail(STORE_DAMAGED, "key of a message");
}

void db_message_put(struct batch *b, struct scope scope, const struct db_message *m)
{
    struct key k = key_of_place(scope, m->place);
    typed_put(b, DB_data, &k, FIELDS(fields), m);
}

err_t db_message_find(struct view *v, struct scope scope, struct place place, bool *out_found,
                      struct db_message *out)
{
    struct key k = key_of_place(scope, place);
    TRY(typed_find(v, DB_data, &k, FIELDS(fields), out, out_found));
    if (!*out_found) return OK;
    *out_found = place.secret == 0 || place.secret == out->place.secret;
    place.secret = out->place.secret;
    out->place = place;
    return OK;
}

err_t db_message_get(struct view *v, struct scope scope, struct place place, struct db_message *out)
{
    bool found;
    TRY(db_message_find(v, scope, place, &found, out));
    return found ? OK : fail(NOT_FOUND, "no such message");
}

/* --- walking ------------------------------------------------------------------------------ */

/* Where the walk begins has been passed by whoever asks: it is left out, and what has the same
 * second and seq in another part is told apart by the secret. */
static bool is_beyond(const struct message_walk *w, struct place p)
{
    if (w->from.sec == 0) return true;
    int c = place_cmp(p, w->from);
    return w->direction == RANGE_FORWARDS ? c > 0 : c < 0;
}

/* The next message of one part. */
static void advance(struct message_walk *w, size_t i)
{
    struct db_message *m = &w->heads[i];

    do {
        w->has[i] = typed_next(&w->parts[i], FIELDS(fields), m);
        if (w->error == OK) w->error = range_error(&w->parts[i]);
        if (w->has[i] && w->error == OK) w->error = place_of_key(w->parts[i].key, &m->place);
    } while (w->error == OK && w->has[i] && !is_beyond(w, m->place));
}

/* Keys run from the newest to the oldest, so the walk goes the other way over them. */
static void start_part(struct message_walk *w, struct view *v, struct scope scope, uint32_t peer)
{
    struct key prefix = key_of_kind(scope, peer, KIND_message);
    struct key low = prefix, high = key_behind(key_slice(&prefix));
    struct place from = w->from;
    size_t i = w->count++;

    from.peer = peer;
    if (from.sec && w->direction == RANGE_BACKWARDS) low = key_of_place(scope, from);
    if (from.sec && w->direction == RANGE_FORWARDS) {
        high = key_of_place(scope, from);
        key_u8(&high, 0); /* the place itself is inside */
    }
    range_between(&w->parts[i], v, DB_data, key_slice(&low), key_slice(&high),
                  w->direction == RANGE_FORWARDS ? RANGE_BACKWARDS : RANGE_FORWARDS);
    advance(w, i);
}

static void start_all(struct message_walk *w, struct view *v, struct scope scope,
                      const struct db_contact *chat)
{
    start_part(w, v, scope, chat->peer);
    for (size_t i = 0; i < CONTACT_PARTS_MAX && chat->parts[i] && w->error == OK; i++)
        start_part(w, v, scope, chat->parts[i]);
}

void message_walk_init(struct message_walk *w, struct view *v, struct scope scope,
                       const struct db_contact *chat, struct place from,
                       enum range_direction direction)
{
    *w = (struct message_walk){.direction = direction, .from = from};
    start_all(w, v, scope, chat);
}

bool message_walk_next(struct message_walk *w, struct db_message *out)
{
    size_t best = w->count;

    for (size_t i = 0; i < w->count && w->error == OK; i++) {
        if (!w->has[i]) continue;
        int c = best == w->count ? -1 : place_cmp(w->heads[i].place, w->heads[best].place);
        if (best != w->count && w->direction == RANGE_BACKWARDS) c = -c;
        if (c < 0) best = i;
    }
    if (w->error != OK || best == w->count) return false;
    *out = w->heads[best];
    advance(w, best);
    return true;
}

err_t message_walk_error(const struct message_walk *w) { return w->error; }

void message_walk_done(struct message_walk *w)
{
    for (size_t i = 0; i < w->count; i++)
        range_done(&w->parts[i]);
    w->count = 0;
}
