#include "proto/signal/record.h"

#include "proto/base/reader.h"
#include "proto/base/text.h"

enum { SESSION_VERSION = 1, ARCHIVE_VERSION = 1, CHAIN_NAME_BYTES = 8 };
enum { FLAG_CAN_SEND = 1, FLAG_PENDING = 2, FLAG_HAS_PREKEY = 4, FLAGS_ALL = 7 };

/* ---- one state as bytes ---- */

static void put_key(struct buf *out, const struct crypto_key *key)
{
    buf_put(out, SLICE_ARRAY(key->bytes));
}

static void put_chain(struct buf *out, const struct wa_chain *chain)
{
    put_key(out, &chain->key);
    buf_put_be32(out, chain->index);
}

void wa_session_put(const struct wa_session *s, struct buf *out)
{
    unsigned flags = (s->can_send ? FLAG_CAN_SEND : 0) | (s->pending ? FLAG_PENDING : 0) |
                     (s->has_prekey ? FLAG_HAS_PREKEY : 0);

    buf_put_u8(out, SESSION_VERSION);
    buf_put_u8(out, (uint8_t)flags);
    put_key(out, &s->their_identity);
    put_key(out, &s->base);
    buf_put_be32(out, s->their_registration_id);
    put_key(out, &s->root);
    put_key(out, &s->ratchet.secret);
    put_key(out, &s->ratchet.public);
    put_chain(out, &s->sending);
    buf_put_be32(out, s->previous_counter);
    if (s->pending) {
        buf_put_be32(out, s->prekey_id);
        buf_put_be32(out, s->signed_prekey_id);
    }
    buf_put_u8(out, (uint8_t)s->receiving_count);
    for (unsigned i = 0; i < s->receiving_count; i++) {
        put_key(out, &s->receiving[i].ratchet);
        put_chain(out, &s->receiving[i].chain);
        buf_put_be64(out, s->receiving[i].slots);
    }
}

static void read_key(struct reader *r, struct crypto_key *out)
{
    struct slice key = reader_bytes(r, CRYPTO_KEY);
    if (key.len) memcpy(out->bytes, key.data, CRYPTO_KEY);
}

static void read_chain(struct reader *r, struct wa_chain *out)
{
    read_key(r, &out->key);
    out->index = reader_be32(r);
}

static void read_flags(struct reader *r, struct wa_session *out)
{
    unsigned flags = reader_u8(r);

    if (flags & ~(unsigned)FLAGS_ALL && !r->error) r->error = ERR_STORE_DAMAGED;
    out->can_send = flags & FLAG_CAN_SEND;
    out->pending = flags & FLAG_PENDING;
    out->has_prekey = flags & FLAG_HAS_PREKEY;
}

static void read_receiving(struct reader *r, struct wa_session *out)
{
    out->receiving_count = reader_u8(r);
    if (out->receiving_count > WA_CHAINS_MAX && !r->error) r->error = ERR_STORE_DAMAGED;
    if (r->error) out->receiving_count = 0;
    for (unsigned i = 0; i < out->receiving_count; i++) {
        read_key(r, &out->receiving[i].ratchet);
        read_chain(r, &out->receiving[i].chain);
        out->receiving[i].slots = reader_be64(r);
    }
}

err_t wa_session_parse(struct slice in, struct wa_session *out)
{
    struct reader r = reader_of(in);
    uint8_t version = reader_u8(&r);

    *out = (struct wa_session){0};
    if (version > SESSION_VERSION) return fail(STORE_VERSION, "a session of version %u", version);
    read_flags(&r, out);
    read_key(&r, &out->their_identity);
    read_key(&r, &out->base);
    out->their_registration_id = reader_be32(&r);
    read_key(&r, &out->root);
    read_key(&r, &out->ratchet.secret);
    read_key(&r, &out->ratchet.public);
    read_chain(&r, &out->sending);
    out->previous_counter = reader_be32(&r);
    if (out->pending) {
        out->prekey_id = reader_be32(&r);
        out->signed_prekey_id = reader_be32(&r);
    }
    read_receiving(&r, out);
    if (version != SESSION_VERSION || reader_end(&r) != OK)
        return fail(STORE_DAMAGED, "a session of %zu bytes", in.len);
    return OK;
}

/* ---- rows ---- */

struct wa_row wa_session_row(struct arena *arena, const struct wa_address *of)
{
    return (struct wa_row){WA_SIGNAL_SESSION, of->name, arena_printf(arena, "%u", of->device)};
}

static struct wa_row archive_row(struct arena *arena, const struct wa_address *of)
{
    return (struct wa_row){WA_SIGNAL_SESSION, of->name, arena_printf(arena, "%u.old", of->device)};
}

struct wa_skipped wa_receiving_skipped(const struct wa_keystore *ks, struct arena *arena,
                                       const struct wa_address *of, struct wa_receiving *chain)
{
    AUTO(buf) hex = {0};

    text_hex(slice_of(chain->ratchet.bytes, CHAIN_NAME_BYTES), &hex);
    struct slice name =
        arena_printf(arena, "%u." SLICE_FMT, of->device, SLICE_ARG(buf_slice(&hex)));
    return (struct wa_skipped){
        .ks = ks,
        .arena = arena,
        .row = {WA_SIGNAL_SKIPPED, of->name, name},
        .slots = &chain->slots,
    };
}

void wa_receiving_forget(const struct wa_keystore *ks, struct arena *arena,
                         const struct wa_address *of, struct wa_receiving *chain)
{
    if (!chain->slots) return;
    struct wa_skipped skipped = wa_receiving_skipped(ks, arena, of, chain);
    wa_skipped_clear(&skipped);
}

void wa_session_forget(const struct wa_keystore *ks, struct arena *arena,
                       const struct wa_address *of, struct wa_session *s)
{
    for (unsigned i = 0; i < s->receiving_count; i++)
        wa_receiving_forget(ks, arena, of, &s->receiving[i]);
}

err_t wa_session_rehome(const struct wa_keystore *ks, struct arena *arena,
                        const struct wa_address *from, const struct wa_address *to,
                        struct wa_session *s)
{
    for (unsigned i = 0; i < s->receiving_count; i++) {
        struct wa_receiving *chain = &s->receiving[i];
        struct wa_skipped source = wa_receiving_skipped(ks, arena, from, chain);

        TRY(wa_skipped_move(&source, wa_receiving_skipped(ks, arena, to, chain).row));
    }
    return OK;
}

err_t wa_session_load(const struct wa_keystore *ks, struct arena *arena,
                      const struct wa_address *of, struct wa_session *out, bool *out_found)
{
    struct slice value;

    TRY(ks->load(ks->ctx, wa_session_row(arena, of), arena, &value));
    if (!slice_is_none(value)) TRY(wa_session_parse(value, out));
    *out_found = !slice_is_none(value);
    return OK;
}

void wa_session_save(const struct wa_keystore *ks, struct arena *arena, const struct wa_address *of,
                     const struct wa_session *s)
{
    AUTO(buf) value = {0};

    buf_reserve(&value, 1024);
    wa_session_put(s, &value);
    ks->save(ks->ctx, wa_session_row(arena, of), buf_slice(&value));
    crypto_wipe(value.data, value.len);
}

static err_t parse_archive(struct slice in, struct wa_archive *out)
{
    struct reader r = reader_of(in);
    uint8_t version = reader_u8(&r), count = reader_u8(&r);

    if (version > ARCHIVE_VERSION) return fail(STORE_VERSION, "an archive of version %u", version);
    ENSURE(version == ARCHIVE_VERSION && count <= WA_ARCHIVED_MAX, STORE_DAMAGED);
    for (unsigned i = 0; i < count; i++)
        TRY(wa_session_parse(reader_block(&r), &out->states[i]));
    if (reader_end(&r) != OK) return fail(STORE_DAMAGED, "an archive of %zu bytes", in.len);
    out->count = count;
    return OK;
}

err_t wa_archive_load(const struct wa_keystore *ks, struct arena *arena,
                      const struct wa_address *of, struct wa_archive *out)
{
    struct slice value;

    out->count = 0;
    TRY(ks->load(ks->ctx, archive_row(arena, of), arena, &value));
    return slice_is_none(value) ? OK : parse_archive(value, out);
}

void wa_archive_save(const struct wa_keystore *ks, struct arena *arena, const struct wa_address *of,
                     const struct wa_archive *archive)
{
    AUTO(buf) all = {0};
    AUTO(buf) one = {0};
    struct wa_row row = archive_row(arena, of);

    if (!archive->count) {
        ks->save(ks->ctx, row, SLICE_NONE);
        return;
    }
    buf_reserve(&all, archive->count * 1024); /* growing would leave copies behind */
    buf_reserve(&one, 1024);
    buf_put_u8(&all, ARCHIVE_VERSION);
    buf_put_u8(&all, (uint8_t)archive->count);
    for (unsigned i = 0; i < archive->count; i++) {
        buf_reset(&one);
        wa_session_put(&archive->states[i], &one);
        buf_put_block(&all, buf_slice(&one));
    }
    ks->save(ks->ctx, row, buf_slice(&all));
    crypto_wipe(all.data, all.len);
    crypto_wipe(one.data, one.cap);
}

void wa_archive_push(const struct wa_keystore *ks, struct arena *arena, const struct wa_address *of,
                     struct wa_archive *archive, const struct wa_session *s)
{
    if (archive->count == WA_ARCHIVED_MAX)
        wa_session_forget(ks, arena, of, &archive->states[--archive->count]);
    memmove(archive->states + 1, archive->states, archive->count * sizeof(*s));
    archive->states[0] = *s;
    archive->count++;

    if (archive->count <= WA_ARCHIVED_WHOLE) return;
    struct wa_session *older = &archive->states[WA_ARCHIVED_WHOLE];
    while (older->receiving_count > WA_ARCHIVED_CHAINS_MAX)
        wa_receiving_forget(ks, arena, of, &older->receiving[--older->receiving_count]);
}

void wa_archive_take(struct wa_archive *archive, unsigned at)
{
    archive->count--;
    memmove(archive->states + at, archive->states + at + 1,
            (archive->count - at) * sizeof(*archive->states));
}
