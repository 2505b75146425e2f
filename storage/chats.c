/* Chat rows, the table that the list is sorted by, and the list. */
#include "storage/chats.h"

#include <stdlib.h>

#include "storage/tail.h"
#include "storage/typed.h"

static const struct field fields[] = {
    FIELD_UINT(1, struct db_chat, next_seq),     FIELD_UINT(2, struct db_chat, activity_sec),
    FIELD_UINT(3, struct db_chat, last.peer),    FIELD_UINT(4, struct db_chat, last.sec),
    FIELD_UINT(5, struct db_chat, last.seq),     FIELD_UINT(6, struct db_chat, last.secret),
    FIELD_UINT(7, struct db_chat, unread_count), FIELD_UINT(8, struct db_chat, marked_unread),
    FIELD_UINT(9, struct db_chat, archived),     FIELD_UINT(10, struct db_chat, deleted),
    FIELD_INT(11, struct db_chat, pinned_ms),    FIELD_INT(12, struct db_chat, muted_until_ms),
    FIELD_UINT(13, struct db_chat, read_seq), /* 14 is free */
    FIELD_UINT(15, struct db_chat, ephemeral_s), FIELD_INT(16, struct db_chat, ephemeral_set_ms),
    FIELD_BYTES(17, struct db_chat, labels),     FIELD_BYTES(18, struct db_chat, extra),
};

/* --- rows --------------------------------------------------------------------------------- */

static struct key key_of_chat(struct scope scope, uint32_t peer)
{
    return key_of_kind(scope, peer, KIND_chat);
}

err_t db_chat_find(struct view *v, struct scope scope, uint32_t peer, struct db_chat *out)
{
    struct key k = key_of_chat(scope, peer);
    struct db_chat c = {.peer = peer};
    bool found;

    TRY(typed_find(v, DB_data, &k, FIELDS(fields), &c, &found));
    *out = c;
    return OK;
}

static err_t current(const struct batch *b, struct view *v, struct scope scope, uint32_t peer,
                     struct db_chat *out)
{
    struct key k = key_of_chat(scope, peer);
    struct db_chat c = {.peer = peer};
    struct slice payload;

    TRY(typed_current(b, v, DB_data, &k, &payload));
    if (!slice_is_none(payload)) TRY(record_decode(FIELDS(fields), payload, &c));
    *out = c;
    return OK;
}

void db_chat_put(struct batch *b, struct scope scope, const struct db_chat *c)
{
    struct key k = key_of_chat(scope, c->peer);
    assert(c->next_seq > 0);
    typed_put(b, DB_data, &k, FIELDS(fields), c);
}

/* --- the chatlist ------------------------------------------------------------------------- */

enum { LIST_PEERS = 256, LIST_ENTRY_SIZE = 5 };
enum list_flag { LISTED = 1, UNREAD = 2, ARCHIVED = 4, PINNED = 8 };

static uint8_t flags_of(const struct db_chat *c)
{
    if (c->deleted || c->next_seq == 0) return 0;
    return (uint8_t)(LISTED | (c->unread_count || c->marked_unread ? UNREAD : 0) |
                     (c->archived ? ARCHIVED : 0) | (c->pinned_ms ? PINNED : 0));
}

static struct key key_of_list(struct scope scope, uint32_t peer)
{
    struct key k = key_of_kind(scope, 0, KIND_chatlist);
    key_int(&k, peer / LIST_PEERS);
    return k;
}

err_t db_chat_list(struct batch *b, struct view *v, struct scope scope, const struct db_chat *c)
{
    uint8_t row[LIST_PEERS * LIST_ENTRY_SIZE] = {0}, before[LIST_ENTRY_SIZE];
    struct key k = key_of_list(scope, c->peer);
    size_t at = (size_t)(c->peer % LIST_PEERS) * LIST_ENTRY_SIZE;
    struct slice payload;

    TRY(typed_current(b, v, DB_data, &k, &payload));
    if (payload.len > sizeof(row)) return fail(STORE_DAMAGED, "row of the list of chats");
    if (payload.len) memcpy(row, payload.data, payload.len);
    memcpy(before, row + at, LIST_ENTRY_SIZE);
    for (int i = 0; i < 4; i++)
        row[at + (size_t)i] = (uint8_t)(c->activity_sec >> (24 - 8 * i));
    row[at + 4] = flags_of(c);
    if (row[at + 4] == 0) memset(row + at, 0, LIST_ENTRY_SIZE);
    if (memcmp(before, row + at, LIST_ENTRY_SIZE) == 0) return OK;

    size_t len = payload.len > at + LIST_ENTRY_SIZE ? payload.len : at + LIST_ENTRY_SIZE;
    batch_put(b, DB_data, key_slice(&k), slice_of(row, len));
    return OK;
}

err_t db_chat_put_listed(struct batch *b, struct view *v, struct scope scope,
                         const struct db_chat *c)
{
    db_chat_put(b, scope, c);
    return db_chat_list(b, v, scope, c);
}

/* `from` keeps its row, out of the list. */
err_t db_chat_join(struct batch *b, struct view *v, struct scope scope, uint32_t into,
                   uint32_t from)
{
    struct db_chat a, c;

    TRY(current(b, v, scope, from, &c));
    if (c.next_seq == 0) return OK;
    TRY(current(b, v, scope, into, &a));
    if (a.next_seq == 0) {
        a = c;
        a.peer = into;
    } else if (!c.deleted) {
        a.deleted = false;
        a.unread_count += c.unread_count;
        a.marked_unread |= c.marked_unread;
        a.archived &= c.archived;
        if (c.next_seq > a.next_seq) a.next_seq = c.next_seq;
        if (c.activity_sec > a.activity_sec) a.activity_sec = c.activity_sec;
        if (place_cmp(c.last, a.last) > 0) a.last = c.last;
        if (!a.pinned_ms) a.pinned_ms = c.pinned_ms;
        if (!a.muted_until_ms) a.muted_until_ms = c.muted_until_ms;
        if (c.ephemeral_set_ms > a.ephemeral_set_ms) {
            a.ephemeral_s = c.ephemeral_s;
            a.ephemeral_set_ms = c.ephemeral_set_ms;
        }
    } else if (c.next_seq > a.next_seq) {
        a.next_seq = c.next_seq;
    }
    c.deleted = true;
    TRY(db_chat_put_listed(b, v, scope, &c));
    return db_chat_put_listed(b, v, scope, &a);
}

/* --- the page ----------------------------------------------------------------------------- */

struct candidate {
    uint32_t sec, peer;
    uint8_t flags;
};

/* One page while it is put together: the `limit` + 1 best candidates behind the cursor, as a heap
 * whose root is the worst of them. */
struct page {
    struct view *view;
    struct scope scope;
    const struct chat_filter *filter;
    struct chat_cursor after;
    struct candidate *heap;
    size_t count, limit;
    uint8_t *in_tail; /* a bit per peer that the tail named */
    size_t in_tail_peers;
};

/* <0: `a` stands before `b` in the list. */
static int by_order(const void *x, const void *y)
{
    const struct candidate *a = x, *b = y;
    bool pa = a->flags & PINNED, pb = b->flags & PINNED;
    if (pa != pb) return pa ? -1 : 1;
    if (a->sec != b->sec) return a->sec > b->sec ? -1 : 1;
    if (a->peer != b->peer) return a->peer > b->peer ? -1 : 1;
    return 0;
}

static void heap_down(struct candidate *heap, size_t count, size_t at)
{
    for (;;) {
        size_t worst = at, left = 2 * at + 1, right = left + 1;
        if (left < count && by_order(&heap[left], &heap[worst]) > 0) worst = left;
        if (right < count && by_order(&heap[right], &heap[worst]) > 0) worst = right;
        if (worst == at) return;
        struct candidate c = heap[at];
        heap[at] = heap[worst];
        heap[worst] = c;
        at = worst;
    }
}

static void heap_add(struct page *p, struct candidate c)
{
    if (p->count == p->limit + 1) {
        if (by_order(&c, &p->heap[0]) > 0) return;
        p->heap[0] = c;
        heap_down(p->heap, p->count, 0);
        return;
    }
    size_t at = p->count++;
    for (; at > 0 && by_order(&c, &p->heap[(at - 1) / 2]) > 0; at = (at - 1) / 2)
        p->heap[at] = p->heap[(at - 1) / 2];
    p->heap[at] = c;
}

static bool is_wanted(enum chat_want want, bool is)
{
    return want == CHAT_ANY || (want == CHAT_ONLY) == is;
}

static void consider(struct page *p, struct candidate c)
{
    const struct chat_filter *f = p->filter;
    struct candidate cursor = {p->after.activity_sec, p->after.peer, p->after.pinned ? PINNED : 0};

    if (!(c.flags & LISTED) || !is_wanted(f->unread, c.flags & UNREAD) ||
        !is_wanted(f->archived, c.flags & ARCHIVED) || !is_wanted(f->pinned, c.flags & PINNED))
        return;
    if (p->after.set && by_order(&c, &cursor) <= 0) return;
    heap_add(p, c);
}

/* True the first time. */
static bool mark_in_tail(struct page *p, uint32_t peer)
{
    if (peer >= p->in_tail_peers) {
        size_t peers = ((size_t)peer + 4096) & ~(size_t)4095;
        p->in_tail = xrealloc(p->in_tail, peers / 8);
        memset(p->in_tail + p->in_tail_peers / 8, 0, (peers - p->in_tail_peers) / 8);
        p->in_tail_peers = peers;
    }
    uint8_t bit = (uint8_t)(1 << peer % 8);
    bool first = !(p->in_tail[peer / 8] & bit);
    p->in_tail[peer / 8] |= bit;
    return first;
}

static bool is_in_tail(const struct page *p, uint32_t peer)
{
    return peer < p->in_tail_peers && p->in_tail[peer / 8] >> peer % 8 & 1;
}

static err_t consider_row(struct page *p, uint32_t peer)
{
    struct db_chat c;
    if (!mark_in_tail(p, peer)) return OK;
    TRY(db_chat_find(p->view, p->scope, peer, &c));
    consider(p, (struct candidate){c.activity_sec, peer, flags_of(&c)});
    return OK;
}

/* Chats with messages in the tail: their own rows are exact, the table may be behind. */
static err_t consider_tail(struct page *p)
{
    AUTO(range) r = {0};
    uint32_t peer;

    db_tail_chats(&r, p->view, p->scope);
    while (db_tail_chat_next(&r, &peer)) {
        struct db_contact c;
        if (is_in_tail(p, peer)) continue;
        TRY(db_contact_resolve(p->view, p->scope, peer, 0, &c));
        TRY(consider_row(p, c.peer));
        mark_in_tail(p, peer);
    }
    return range_error(&r);
}

static err_t consider_list(struct page *p)
{
    AUTO(range) r = {0};
    struct key prefix = key_of_kind(p->scope, 0, KIND_chatlist);

    range_prefix(&r, p->view, DB_data, key_slice(&prefix), RANGE_FORWARDS);
    while (range_next(&r)) {
        struct reader key = key_read_rest(r.key);
        uint32_t peer = key_read_int(&key) * LIST_PEERS;
        const uint8_t *at = r.value.data, *end = at + r.value.len;
        for (; at + LIST_ENTRY_SIZE <= end; at += LIST_ENTRY_SIZE, peer++) {
            uint32_t sec =
                (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
            if (at[4] && !is_in_tail(p, peer)) consider(p, (struct candidate){sec, peer, at[4]});
        }
    }
    return range_error(&r);
}

static err_t load_entries(struct page *p, struct chat_entry *out, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        TRY(db_chat_find(p->view, p->scope, p->heap[i].peer, &out[i].chat));
        TRY(db_contact_get(p->view, p->scope, p->heap[i].peer, &out[i].contact));
    }
    return OK;
}

static err_t fill(struct page *p, struct chat_entry *out, size_t *out_count,
                  struct chat_cursor *out_next)
{
    TRY(consider_tail(p));
    TRY(consider_list(p));
    qsort(p->heap, p->count, sizeof(*p->heap), by_order);
    size_t n = p->count < p->limit ? p->count : p->limit;
    TRY(load_entries(p, out, n));

    *out_count = n;
    *out_next = (struct chat_cursor){0};
    if (n > 0 && p->count > p->limit)
        *out_next = (struct chat_cursor){.set = true,
                                         .pinned = p->heap[n - 1].flags & PINNED,
                                         .activity_sec = p->heap[n - 1].sec,
                                         .peer = p->heap[n - 1].peer};
    return OK;
}

err_t db_chat_page(struct view *v, struct scope scope, const struct chat_filter *filter,
                   struct chat_cursor after, size_t limit, struct chat_entry *out,
                   size_t *out_count, struct chat_cursor *out_next)
{
    struct page p = {.view = v, .scope = scope, .filter = filter, .after = after, .limit = limit};

    p.heap = xalloc((limit + 1) * sizeof(*p.heap));
    err_t e = fill(&p, out, out_count, out_next);
    free(p.heap);
    free(p.in_tail);
    return e;
}
