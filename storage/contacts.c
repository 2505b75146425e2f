/* Peers, their addresses, and how two of them become one. The address rows hold home and person,
 * so that the look-up of an inbound message is one get. */
#include "storage/contacts.h"

#include "storage/chats.h"
#include "storage/typed.h"

/* The parts travel as numbers in a row of their own field. */
struct contact_row {
    struct db_contact c;
    struct slice parts;
};

static const struct field fields[] = {
    FIELD_UINT(1, struct contact_row, c.secret),
    FIELD_UINT(2, struct contact_row, c.kind),
    FIELD_UINT(3, struct contact_row, c.alias_of),
    FIELD_BYTES(4, struct contact_row, parts),
    FIELD_BYTES(5, struct contact_row, c.pn),
    FIELD_BYTES(6, struct contact_row, c.lid),
    FIELD_BYTES(7, struct contact_row, c.address),
    FIELD_BYTES(8, struct contact_row, c.push_name),
    FIELD_BYTES(9, struct contact_row, c.full_name),
    FIELD_BYTES(10, struct contact_row, c.short_name),
    FIELD_BYTES(11, struct contact_row, c.business_name),
    FIELD_UINT(12, struct contact_row, c.blocked),
    FIELD_INT(13, struct contact_row, c.created_ms),
    FIELD_INT(14, struct contact_row, c.updated_ms),
    FIELD_BYTES(15, struct contact_row, c.extra),
};

static struct key key_of_contact(struct scope scope, uint32_t peer)
{
    return key_of_kind(scope, peer, KIND_contact);
}

static struct key key_of_address(struct scope scope, struct slice address)
{
    struct key k = key_of_kind(scope, 0, KIND_addresses);
    key_bytes(&k, address);
    return k;
}

static bool is_lid(struct slice address)
{
    struct slice end = SLICE("@lid"), hosted = SLICE("@hosted.lid");
    return (address.len > end.len && slice_eq(slice_from(address, address.len - end.len), end)) ||
           (address.len > hosted.len &&
            slice_eq(slice_from(address, address.len - hosted.len), hosted));
}

/* --- rows --------------------------------------------------------------------------------- */

void db_contact_put(struct batch *b, struct scope scope, const struct db_contact *c)
{
    AUTO(buf) parts = {0};
    struct contact_row row = {.c = *c};
    struct key k = key_of_contact(scope, c->peer);

    for (size_t i = 0; i < CONTACT_PARTS_MAX && c->parts[i]; i++)
        buf_put_be32(&parts, c->parts[i]);
    if (parts.len) row.parts = buf_slice(&parts);
    typed_put(b, DB_data, &k, FIELDS(fields), &row);
}

static err_t decode(struct slice payload, uint32_t peer, struct db_contact *out)
{
    struct contact_row row = {0};
    TRY(record_decode(FIELDS(fields), payload, &row));

    struct reader r = reader_of(row.parts);
    for (size_t i = 0; i < CONTACT_PARTS_MAX && reader_left(&r); i++)
        row.c.parts[i] = reader_be32(&r);
    if (reader_end(&r) != OK) return fail(STORE_DAMAGED, "parts of peer %u", peer);
    row.c.peer = peer;
    *out = row.c;
    return OK;
}

static err_t current(const struct batch *b, struct view *v, struct scope scope, uint32_t peer,
                     struct db_contact *out)
{
    struct key k = key_of_contact(scope, peer);
    struct slice payload;
    TRY(typed_current(b, v, DB_data, &k, &payload));
    if (slice_is_none(payload)) return fail(STORE_DAMAGED, "address of peer %u without it", peer);
    return decode(payload, peer, out);
}

err_t db_contact_get(struct view *v, struct scope scope, uint32_t peer, struct db_contact *out)
{
    struct key k = key_of_contact(scope, peer);
    struct slice payload;
    TRY(view_find(v, DB_data, key_slice(&k), &payload));
    if (slice_is_none(payload)) return fail(NOT_FOUND, "no peer %u", peer);
    return decode(payload, peer, out);
}

err_t db_contact_resolve(struct view *v, struct scope scope, uint32_t peer, uint64_t secret,
                         struct db_contact *out)
{
    struct db_contact c;
    TRY(db_contact_get(v, scope, peer, &c));
    if (secret && secret != c.secret) return fail(NOT_FOUND, "no peer %u with this id", peer);
    if (c.alias_of) TRY(db_contact_get(v, scope, c.alias_of, &c));
    *out = c;
    return OK;
}

err_t db_contact_page(struct view *v, struct scope scope, uint32_t from_peer, size_t limit,
                      struct db_contact *out, size_t *out_count)
{
    AUTO(range) r = {0};
    struct key from = key_of_contact(scope, from_peer ? from_peer : 1);
    struct key all = key_of_scope(scope), to = key_behind(key_slice(&all));
    size_t n = 0;

    range_between(&r, v, DB_data, key_slice(&from), key_slice(&to), RANGE_FORWARDS);
    while (n < limit && range_next(&r)) {
        uint32_t peer;
        uint8_t kind;
        key_read_peer(r.key, &peer, &kind);
        if (kind == KIND_contact) {
            TRY(decode(r.value, peer, &out[n]));
            if (!out[n].alias_of) n++;
        }
        struct key next = key_of_contact(scope, peer + (kind >= KIND_contact));
        range_skip_to(&r, key_slice(&next));
    }
    TRY(range_error(&r));
    *out_count = n;
    return OK;
}

/* --- addresses ---------------------------------------------------------------------------- */

static void put_address(struct batch *b, struct scope scope, struct slice address,
                        struct contact_ref ref)
{
    AUTO(buf) payload = {0};
    struct key k = key_of_address(scope, address);
    buf_put_be32(&payload, ref.home);
    buf_put_be32(&payload, ref.peer);
    batch_put(b, DB_data, key_slice(&k), buf_slice(&payload));
}

static err_t decode_address(struct slice payload, struct contact_ref *out)
{
    struct reader r = reader_of(payload);
    struct contact_ref ref = {.home = reader_be32(&r), .peer = reader_be32(&r)};

    if (reader_end(&r) != OK) return fail(STORE_DAMAGED, "address row");
    *out = ref;
    return OK;
}

static err_t find_address(const struct batch *b, struct view *v, struct scope scope,
                          struct slice address, struct contact_ref *out)
{
    struct key k = key_of_address(scope, address);
    struct slice payload;

    *out = (struct contact_ref){0};
    if (b)
        TRY(typed_current(b, v, DB_data, &k, &payload));
    else
        TRY(view_find(v, DB_data, key_slice(&k), &payload));
    return slice_is_none(payload) ? OK : decode_address(payload, out);
}

err_t db_contact_of(struct view *v, struct scope scope, struct slice address,
                    struct contact_ref *out)
{
    *out = (struct contact_ref){0};
    if (address.len == 0 || address.len > ADDRESS_MAX) return OK;
    return find_address(NULL, v, scope, address, out);
}

static err_t next_peer(struct batch *b, struct view *v, struct scope scope, uint32_t *out)
{
    AUTO(buf) counters = {0};
    struct key k = key_of_kind(scope, 0, KIND_counters);
    struct slice payload;

    TRY(typed_current(b, v, DB_data, &k, &payload));
    struct reader r = reader_of(payload);
    uint32_t peer = slice_is_none(payload) ? 1 : reader_be32(&r);
    if (reader_end(&r) != OK || peer == 0) return fail(STORE_DAMAGED, "counters of an account");
    if (peer == UINT32_MAX) return fail(STORE_FULL, "an account has no peer numbers left");

    buf_put_be32(&counters, peer + 1);
    batch_put(b, DB_data, key_slice(&k), buf_slice(&counters));
    *out = peer;
    return OK;
}

static err_t check_address(struct slice address)
{
    if (address.len == 0 || address.len > ADDRESS_MAX || slice_find(address, 0) < address.len)
        return fail(BAD_ARGUMENT, "an address of %zu bytes", address.len);
    return OK;
}

/* Sets the field of the contact that this address belongs into. */
static void set_address(struct db_contact *c, struct slice address)
{
    if (c->kind != CONTACT_PERSON)
        c->address = address;
    else if (is_lid(address))
        c->lid = address;
    else
        c->pn = address;
}

/* A new peer for an address that is nobody's; `home` is not 0 when it was somebody's before. */
static err_t make(struct batch *b, struct view *v, struct scope scope, enum contact_kind kind,
                  struct slice address, uint32_t home, uint64_t secret, int64_t now_ms,
                  struct db_contact *out)
{
    struct db_contact c = {
        .kind = (uint8_t)kind, .secret = secret, .created_ms = now_ms, .updated_ms = now_ms};

    TRY(next_peer(b, v, scope, &c.peer));
    set_address(&c, address);
    put_address(b, scope, address, (struct contact_ref){home ? home : c.peer, c.peer});
    *out = c;
    return OK;
}

err_t db_contact_open(struct batch *b, struct view *v, struct scope scope, enum contact_kind kind,
                      struct slice address, uint64_t secret, int64_t now_ms,
                      struct contact_ref *out)
{
    struct db_contact c;

    TRY(check_address(address));
    TRY(find_address(b, v, scope, address, out));
    if (out->peer) return OK;
    TRY(make(b, v, scope, kind, address, out->home, secret, now_ms, &c));
    db_contact_put(b, scope, &c);
    *out = (struct contact_ref){out->home ? out->home : c.peer, c.peer};
    return OK;
}

/* --- mappings ----------------------------------------------------------------------------- */

/* Points an address of one person to another, and keeps its home. One that has moved on in the
 * meantime stays where it is. */
static err_t point_address(struct batch *b, struct view *v, struct scope scope,
                           struct slice address, uint32_t from, uint32_t to)
{
    struct contact_ref ref;
    if (slice_is_none(address)) return OK;
    TRY(find_address(b, v, scope, address, &ref));
    if (ref.peer == from) put_address(b, scope, address, (struct contact_ref){ref.home, to});
    return OK;
}

/* The number left this person: it is nobody's, or somebody else's from now on. Its row stays for
 * the home. */
static err_t drop_number(struct batch *b, struct view *v, struct scope scope, struct db_contact *c)
{
    struct contact_ref ref;
    TRY(find_address(b, v, scope, c->pn, &ref));
    if (ref.peer == c->peer) put_address(b, scope, c->pn, (struct contact_ref){ref.home, 0});
    c->pn = SLICE_NONE;
    return OK;
}

static size_t part_count(const struct db_contact *c)
{
    size_t n = 0;
    while (n < CONTACT_PARTS_MAX && c->parts[n])
        n++;
    return n;
}

static void fill(struct slice *into, struct slice from)
{
    if (slice_is_none(*into)) *into = from;
}

/* Makes an alias of one peer that belongs to the person `from` (itself, or a part). */
static err_t adopt(struct batch *b, struct view *v, struct scope scope, uint32_t peer,
                   uint32_t from, struct db_contact *into)
{
    struct db_contact part;
    TRY(current(b, v, scope, peer, &part));
    TRY(point_address(b, v, scope, part.lid, from, into->peer));
    TRY(point_address(b, v, scope, part.pn, from, into->peer));
    part.alias_of = into->peer;
    memset(part.parts, 0, sizeof(part.parts));
    db_contact_put(b, scope, &part);
    into->parts[part_count(into)] = peer;
    return OK;
}

/* `from` and its parts become parts of `into`. */
static err_t merge(struct batch *b, struct view *v, struct scope scope, struct db_contact *into,
                   const struct db_contact *from)
{
    TRY(db_chat_join(b, v, scope, into->peer, from->peer));
    TRY(adopt(b, v, scope, from->peer, from->peer, into));
    for (size_t i = 0, n = part_count(from); i < n; i++)
        TRY(adopt(b, v, scope, from->parts[i], from->peer, into));
    fill(&into->pn, from->pn);
    fill(&into->lid, from->lid);
    fill(&into->push_name, from->push_name);
    fill(&into->full_name, from->full_name);
    fill(&into->short_name, from->short_name);
    fill(&into->business_name, from->business_name);
    fill(&into->extra, from->extra);
    into->blocked |= from->blocked;
    return OK;
}

/* The person of the LID; a new one when it is not known. */
static err_t person_of_lid(struct batch *b, struct view *v, struct scope scope, struct slice lid,
                           uint32_t peer, uint64_t secret, int64_t now_ms, struct db_contact *out)
{
    if (peer) return current(b, v, scope, peer, out);
    return make(b, v, scope, CONTACT_PERSON, lid, 0, secret, now_ms, out);
}

/* Gives the number to a person who is known by LID. Numbers move between people, LIDs do not. */
static err_t give_number(struct batch *b, struct view *v, struct scope scope,
                         struct db_contact *person, struct slice pn, uint32_t holder)
{
    if (!slice_is_none(person->pn) && !slice_eq(person->pn, pn))
        TRY(drop_number(b, v, scope, person));
    if (holder && holder != person->peer) {
        struct db_contact old;
        TRY(current(b, v, scope, holder, &old));
        TRY(drop_number(b, v, scope, &old));
        old.updated_ms = person->updated_ms;
        db_contact_put(b, scope, &old);
    }
    person->pn = pn;
    return OK;
}

static err_t map_known(struct batch *b, struct view *v, struct scope scope, struct slice lid,
                       struct slice pn, struct contact_ref l, struct contact_ref p, uint64_t secret,
                       int64_t now_ms, struct db_contact *out)
{
    struct db_contact by_lid, by_pn = {0};

    if (p.peer) TRY(current(b, v, scope, p.peer, &by_pn));
    bool is_free = p.peer && slice_is_none(by_pn.lid); /* nobody's LID stands against it */
    if (is_free && !l.peer) {                          /* the person that we knew by number alone */
        by_pn.lid = lid;
        put_address(b, scope, lid, (struct contact_ref){by_pn.peer, by_pn.peer});
        *out = by_pn;
        return OK;
    }
    TRY(person_of_lid(b, v, scope, lid, l.peer, secret, now_ms, &by_lid));
    if (is_free && part_count(&by_lid) + part_count(&by_pn) < CONTACT_PARTS_MAX) {
        if (!slice_is_none(by_lid.pn)) TRY(drop_number(b, v, scope, &by_lid));
        bool lid_is_older = by_lid.peer < by_pn.peer;
        *out = lid_is_older ? by_lid : by_pn;
        return merge(b, v, scope, out, lid_is_older ? &by_pn : &by_lid);
    }
    TRY(give_number(b, v, scope, &by_lid, pn, p.peer));
    put_address(b, scope, pn, (struct contact_ref){p.home ? p.home : by_lid.peer, by_lid.peer});
    *out = by_lid;
    return OK;
}

err_t db_contact_map(struct batch *b, struct view *v, struct scope scope, struct slice lid,
                     struct slice pn, uint64_t secret, int64_t now_ms, uint32_t *out_peer)
{
    struct contact_ref l, p;
    struct db_contact c;

    TRY(check_address(lid));
    TRY(check_address(pn));
    TRY(find_address(b, v, scope, lid, &l));
    TRY(find_address(b, v, scope, pn, &p));
    if (l.peer && l.peer == p.peer) {
        *out_peer = l.peer;
        return OK;
    }
    TRY(map_known(b, v, scope, lid, pn, l, p, secret, now_ms, &c));
    c.updated_ms = now_ms;
    db_contact_put(b, scope, &c);
    *out_peer = c.peer;
    return OK;
}
