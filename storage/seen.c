/* `recent` is a list of (sum of author, id, place), the newest last; `seen` has a row for each. Who
 * looks for an id looks in both. */
#include "storage/seen.h"

#include "storage/record.h"
#include "storage/typed.h"

struct entry {
    uint32_t author; /* a sum: nobody can choose it */
    struct slice id; /* itself, so that nobody can make two ids meet */
    struct slice place;
};

static struct entry entry_of(struct slice author, struct slice stanza_id)
{
    return (struct entry){crc32c(0, author), slice_sub(stanza_id, 0, STANZA_ID_MAX), SLICE_NONE};
}

static bool is_same(const struct entry *a, const struct entry *b)
{
    return a->author == b->author && slice_eq(a->id, b->id);
}

/* --- places ------------------------------------------------------------------------------- */

static void put_place(struct buf *out, uint32_t peer, struct place place)
{
    buf_put_be32(out, place.sec);
    buf_put_be32(out, place.seq);
    buf_put_be64(out, place.secret);
    if (place.peer != peer) buf_put_be32(out, place.peer);
}

static err_t read_place(uint32_t peer, struct slice bytes, struct place *out)
{
    struct reader r = reader_of(bytes);
    struct place p = {.peer = peer, .sec = reader_be32(&r)};

    p.seq = reader_be32(&r);
    p.secret = reader_be64(&r);
    if (reader_left(&r)) p.peer = reader_be32(&r);
    if (reader_end(&r) != OK) return fail(STORE_DAMAGED, "index of a message");
    *out = p;
    return OK;
}

/* --- the row of the newest ---------------------------------------------------------------- */

static void add_entry(struct buf *row, const struct entry *e)
{
    buf_put_be32(row, e->author);
    buf_put_u8(row, (uint8_t)e->id.len);
    buf_put(row, e->id);
    buf_put_u8(row, (uint8_t)e->place.len);
    buf_put(row, e->place);
}

static bool next_entry(struct reader *r, struct entry *out)
{
    if (r->error != OK || reader_left(r) == 0) return false;
    out->author = reader_be32(r);
    out->id = reader_bytes(r, reader_u8(r));
    out->place = reader_bytes(r, reader_u8(r));
    return r->error == OK;
}

static err_t check_row(const struct reader *r)
{
    return r->error == OK ? OK : fail(STORE_DAMAGED, "newest ids of a chat");
}

/* What is left without `gone`; *out_count of them. */
static err_t copy_row(struct slice row, const struct entry *gone, struct buf *out,
                      size_t *out_count)
{
    struct reader r = reader_of(row);
    struct entry e;

    *out_count = 0;
    while (next_entry(&r, &e)) {
        if (is_same(&e, gone)) continue;
        add_entry(out, &e);
        ++*out_count;
    }
    return check_row(&r);
}

/* --- the index ---------------------------------------------------------------------------- */

static struct key key_of_seen(struct scope scope, uint32_t peer, const struct entry *e)
{
    struct key k = key_of_kind(scope, peer, KIND_seen);
    key_be32(&k, e->author);
    key_bytes(&k, e->id);
    return k;
}

static void index_all(struct batch *b, struct scope scope, uint32_t peer, struct slice row)
{
    struct reader r = reader_of(row);
    struct entry e;

    while (next_entry(&r, &e)) {
        struct key k = key_of_seen(scope, peer, &e);
        batch_put(b, DB_data, key_slice(&k), e.place);
    }
}

err_t db_seen_put(struct batch *b, struct view *v, struct scope scope, uint32_t peer,
                  struct slice author, struct slice stanza_id, struct place place)
{
    assert(view_covers(v, b) && stanza_id.len <= STANZA_ID_MAX);
    struct key k = key_of_kind(scope, peer, KIND_recent);
    struct entry e = entry_of(author, stanza_id);
    struct slice before;
    size_t count;
    AUTO(buf) bytes = {0};
    AUTO(buf) row = {0};

    TRY(view_find(v, DB_data, key_slice(&k), &before));
    TRY(copy_row(before, &e, &row, &count));
    put_place(&bytes, peer, place);
    e.place = buf_slice(&bytes);
    add_entry(&row, &e);
    if (count + 1 < RECENT_MAX && row.len < RECENT_BYTES) {
        batch_put(b, DB_data, key_slice(&k), buf_slice(&row));
        return OK;
    }
    index_all(b, scope, peer, buf_slice(&row));
    batch_delete(b, DB_data, key_slice(&k));
    return OK;
}

/* --- looking ------------------------------------------------------------------------------ */

static err_t find_recent(struct view *v, struct scope scope, uint32_t peer,
                         const struct entry *want, struct place *out)
{
    struct key k = key_of_kind(scope, peer, KIND_recent);
    struct slice row;
    struct entry e;

    TRY(view_find(v, DB_data, key_slice(&k), &row));
    struct reader r = reader_of(row);
    while (next_entry(&r, &e))
        if (is_same(&e, want)) return read_place(peer, e.place, out);
    return check_row(&r);
}

static err_t find_indexed(struct view *v, struct scope scope, uint32_t peer,
                          const struct entry *want, struct place *out)
{
    struct key k = key_of_seen(scope, peer, want);
    struct slice bytes;

    TRY(view_find(v, DB_data, key_slice(&k), &bytes));
    return slice_is_none(bytes) ? OK : read_place(peer, bytes, out);
}

err_t db_seen_find(struct view *v, struct scope scope, const struct db_contact *chat,
                   struct slice author, struct slice stanza_id, struct place *out)
{
    struct entry want = entry_of(author, stanza_id);
    uint32_t peer = chat->peer;

    *out = (struct place){0};
    if (stanza_id.len > STANZA_ID_MAX) return OK;
    for (size_t i = 0; peer && !out->peer; i++) {
        TRY(find_recent(v, scope, peer, &want, out));
        if (!out->peer) TRY(find_indexed(v, scope, peer, &want, out));
        peer = i < CONTACT_PARTS_MAX ? chat->parts[i] : 0;
    }
    return OK;
}
