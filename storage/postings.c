#include "storage/postings.h"

#include <stdlib.h>

#include "storage/record.h"
#include "storage/tail.h"

_Static_assert(sizeof(((struct posting_stream *)0)->term) == TERM_MAX, "a term fits");

enum { FIRST_SIZE = 12 }; /* at the end of the key */

int posting_cmp(struct posting a, struct posting b)
{
    if (a.sec != b.sec) return a.sec < b.sec ? -1 : 1;
    if (a.peer != b.peer) return a.peer < b.peer ? -1 : 1;
    if (a.seq != b.seq) return a.seq < b.seq ? -1 : 1;
    return 0;
}

static struct key key_of_term(struct scope scope, struct slice term)
{
    struct key k = key_of_kind(scope, 0, KIND_postings);
    key_bytes(&k, term);
    key_u8(&k, 0);
    return k;
}

static struct key key_of_block(struct scope scope, struct slice term, struct posting first)
{
    struct key k = key_of_term(scope, term);
    key_be32(&k, first.sec);
    key_be32(&k, first.peer);
    key_be32(&k, first.seq);
    return k;
}

/* --- blocks ------------------------------------------------------------------------------- */

static err_t first_of_key(struct slice key, struct posting *out)
{
    if (key.len < FIRST_SIZE) return fail(STORE_DAMAGED, "key of a posting block");
    struct reader r = reader_of(slice_from(key, key.len - FIRST_SIZE));
    out->sec = reader_be32(&r);
    out->peer = reader_be32(&r);
    out->seq = reader_be32(&r);
    return OK;
}

static err_t decode_block(const struct range *r, struct posting entries[POSTINGS_MAX],
                          size_t *out_count)
{
    struct posting first;
    struct reader in = reader_of(r->value);
    size_t n = 0;

    TRY(first_of_key(r->key, &first));
    uint32_t sec = first.sec;
    while (reader_left(&in) && in.error == OK) {
        if (n == POSTINGS_MAX) return fail(STORE_DAMAGED, "posting block is too long");
        sec += (uint32_t)reader_varint(&in);
        entries[n].sec = sec;
        entries[n].peer = (uint32_t)reader_varint(&in);
        entries[n++].seq = (uint32_t)reader_varint(&in);
    }
    if (in.error != OK || n == 0 || posting_cmp(entries[0], first) != 0)
        return fail(STORE_DAMAGED, "posting block of %zu bytes", r->value.len);
    *out_count = n;
    return OK;
}

static void put_block(struct batch *b, struct scope scope, struct slice term,
                      const struct posting *items, size_t count)
{
    AUTO(buf) payload = {0};
    struct key k = key_of_block(scope, term, items[0]);
    uint32_t sec = items[0].sec;

    for (size_t i = 0; i < count; i++) {
        buf_put_varint(&payload, items[i].sec - sec);
        buf_put_varint(&payload, items[i].peer);
        buf_put_varint(&payload, items[i].seq);
        sec = items[i].sec;
    }
    batch_put(b, DB_data, key_slice(&k), buf_slice(&payload));
}

/* --- adding ------------------------------------------------------------------------------- */

/* The block that an entry goes into, and where the one behind it begins. */
struct target {
    bool found, has_next;
    struct posting next;
    struct posting entries[POSTINGS_MAX];
    size_t count;
};

static err_t find_target(struct view *v, struct scope scope, struct slice term, struct posting at,
                         struct target *out)
{
    AUTO(range) before = {0};
    AUTO(range) behind = {0};
    struct key prefix = key_of_term(scope, term), end = key_behind(key_slice(&prefix));
    struct key here = key_of_block(scope, term, at);
    key_u8(&here, 0); /* behind a block that begins with the entry itself */

    range_between(&behind, v, DB_data, key_slice(&here), key_slice(&end), RANGE_FORWARDS);
    out->has_next = range_next(&behind);
    TRY(range_error(&behind));
    if (out->has_next) TRY(first_of_key(behind.key, &out->next));

    range_between(&before, v, DB_data, key_slice(&prefix), key_slice(&here), RANGE_BACKWARDS);
    out->found = range_next(&before);
    TRY(range_error(&before));
    out->count = 0;
    if (out->found) return decode_block(&before, out->entries, &out->count);
    if (!out->has_next) return OK;

    /* Older than all there is: it goes into the first block, whose key changes. */
    out->found = true;
    TRY(decode_block(&behind, out->entries, &out->count));
    out->has_next = range_next(&behind);
    TRY(range_error(&behind));
    return out->has_next ? first_of_key(behind.key, &out->next) : OK;
}

static size_t merge(const struct target *t, const struct posting *items, size_t count,
                    struct posting *out)
{
    size_t n = 0, i = 0, j = 0;

    while (i < t->count || j < count) {
        int c = i == t->count ? 1 : j == count ? -1 : posting_cmp(t->entries[i], items[j]);
        out[n++] = c <= 0 ? t->entries[i] : items[j];
        i += c <= 0;
        j += c >= 0;
    }
    return n;
}

/* Full blocks where the log grows, even ones where it was split. */
static size_t chunk_size(const struct target *t, size_t count)
{
    assert(count > 0);
    size_t pieces = (count + POSTINGS_MAX - 1) / POSTINGS_MAX;
    return t->has_next ? (count + pieces - 1) / pieces : POSTINGS_MAX;
}

static void write_blocks(struct batch *b, struct scope scope, struct slice term,
                         const struct target *t, const struct posting *all, size_t count)
{
    size_t chunk = chunk_size(t, count);

    if (t->found && posting_cmp(t->entries[0], all[0]) != 0) {
        struct key old = key_of_block(scope, term, t->entries[0]);
        batch_delete(b, DB_data, key_slice(&old));
    }
    for (size_t at = 0; at < count; at += chunk)
        put_block(b, scope, term, all + at, count - at < chunk ? count - at : chunk);
}

err_t posting_add(struct batch *b, struct view *v, struct scope scope, struct slice term,
                  const struct posting *items, size_t count)
{
    while (count > 0) {
        struct target t;
        size_t take = 0;

        TRY(find_target(v, scope, term, items[0], &t));
        while (take < count && (!t.has_next || posting_cmp(items[take], t.next) < 0))
            take++;
        struct posting *all = xalloc((t.count + take) * sizeof(*all));
        write_blocks(b, scope, term, &t, all, merge(&t, items, take, all));
        free(all);
        items += take;
        count -= take;
    }
    return OK;
}

err_t posting_cost(struct view *v, struct scope scope, struct slice term, size_t *out)
{
    AUTO(range) r = {0};
    struct key prefix = key_of_term(scope, term);

    range_prefix(&r, v, DB_data, key_slice(&prefix), RANGE_BACKWARDS);
    *out = range_next(&r) ? r.value.len : 0;
    return range_error(&r);
}

/* --- reading ------------------------------------------------------------------------------ */

void posting_terms(struct range *r, struct view *v, struct scope scope, struct slice prefix)
{
    struct key k = key_of_kind(scope, 0, KIND_postings);
    key_bytes(&k, prefix);
    range_prefix(r, v, DB_data, key_slice(&k), RANGE_FORWARDS);
}

struct slice posting_term(const struct range *r)
{
    struct reader key = key_read_rest(r->key);
    struct slice rest = reader_rest(&key);
    return slice_sub(rest, 0, slice_find(rest, 0));
}

struct key posting_behind_term(const struct range *r)
{
    struct key k = {0};
    struct slice term = posting_term(r);
    key_bytes(&k, slice_sub(r->key, 0, (size_t)(term.data - r->key.data) + term.len));
    key_u8(&k, 1);
    return k;
}

void posting_stream_init(struct posting_stream *s, struct view *v, struct scope scope,
                         struct slice term, size_t *blocks)
{
    assert(term.len <= TERM_MAX);
    memset(s, 0, offsetof(struct posting_stream, entries));
    s->view = v;
    s->scope = scope;
    s->term_len = (uint8_t)term.len;
    if (term.len) memcpy(s->term, term.data, term.len);
    s->count = 0;
    s->blocks = blocks;
}

/* Loads the block that holds the newest entry not above `max`. */
static err_t load_block(struct posting_stream *s, struct posting max)
{
    struct slice term = slice_of(s->term, s->term_len);
    struct key from = key_of_term(s->scope, term), at = key_of_block(s->scope, term, max);

    if (s->started) {
        range_skip_to(&s->range, key_slice(&at));
    } else {
        key_u8(&at, 0);
        range_between(&s->range, s->view, DB_data, key_slice(&from), key_slice(&at),
                      RANGE_BACKWARDS);
        s->started = true;
    }
    s->count = 0;
    s->over = !range_next(&s->range);
    if (s->over) return range_error(&s->range);
    ++*s->blocks;
    return decode_block(&s->range, s->entries, &s->count);
}

err_t posting_stream_seek(struct posting_stream *s, struct posting max, bool *out_found,
                          struct posting *out)
{
    *out_found = false;
    if (!s->over && (s->count == 0 || posting_cmp(s->entries[0], max) > 0)) TRY(load_block(s, max));
    if (s->over) return OK;

    /* What is above `max` is never asked for again. */
    while (s->count > 0 && posting_cmp(s->entries[s->count - 1], max) > 0)
        s->count--;
    assert(s->count > 0);
    *out = s->entries[s->count - 1];
    *out_found = true;
    return OK;
}

void posting_stream_done(struct posting_stream *s) { range_done(&s->range); }
