/* Layout of the row: version, flags, registration id, device, the keys, then the texts as blocks,
 * then (since version 2) why the server holds us off, then (3) the age of the signed prekey.
 * Public halves are stored beside the secrets: deriving them again would add 60 us per account to
 * the start of a server. */
#include "proto/client/account.h"

#include <stdio.h>

#include "proto/base/reader.h"

enum { ROW_VERSION = 3, ROW_OLDEST = 1 };
enum { FLAG_PAIRED = 1, FLAG_LID_MIGRATED = 2, FLAG_HIDES_READS = 4, FLAG_SHOWS_READS = 8 };

void wa_account_done(struct wa_account *a)
{
    buf_done(&a->device_identity);
    buf_done(&a->routing);
    crypto_wipe(a, sizeof(*a));
    *a = (struct wa_account){0};
}

void wa_account_make(struct wa_account *a, void (*random)(void *ctx, void *out, size_t n),
                     void *ctx)
{
    uint8_t seed[CRYPTO_KEY];

    wa_account_done(a);
    random(ctx, seed, sizeof(seed));
    crypto_pair_from(seed, &a->noise);
    random(ctx, seed, sizeof(seed));
    crypto_pair_from(seed, &a->identity);
    random(ctx, a->adv_secret.bytes, sizeof(a->adv_secret.bytes));
    random(ctx, &a->registration_id, sizeof(a->registration_id));
    a->registration_id = (a->registration_id & 0x7fffffff) | 1;
    a->next_prekey = 1;
    crypto_wipe(seed, sizeof(seed));
}

static void put_pair(struct buf *out, const struct crypto_pair *pair)
{
    buf_put(out, SLICE_ARRAY(pair->secret.bytes));
    buf_put(out, SLICE_ARRAY(pair->public.bytes));
}

void wa_account_encode(const struct wa_account *a, struct buf *out)
{
    buf_put_u8(out, ROW_VERSION);
    buf_put_u8(out, (a->paired ? FLAG_PAIRED : 0) | (a->lid_migrated ? FLAG_LID_MIGRATED : 0) |
                        (a->reads == WA_READS_HIDDEN ? FLAG_HIDES_READS : 0) |
                        (a->reads == WA_READS_SHOWN ? FLAG_SHOWS_READS : 0));
    buf_put_be32(out, a->registration_id);
    buf_put_be16(out, a->device);
    buf_put_be32(out, a->signed_prekey_id);
    buf_put_be32(out, a->next_prekey);
    buf_put_be32(out, a->upload_from);
    buf_put_be16(out, a->upload_count);
    put_pair(out, &a->noise);
    put_pair(out, &a->identity);
    buf_put(out, SLICE_ARRAY(a->adv_secret.bytes));
    buf_put_block(out, slice_text(a->pn_user));
    buf_put_block(out, slice_text(a->lid_user));
    buf_put_block(out, buf_slice(&a->device_identity));
    buf_put_block(out, buf_slice(&a->routing));
    buf_put_u8(out, a->held_off.reason);
    buf_put_be32(out, a->held_off.code);
    buf_put_be64(out, (uint64_t)a->held_off.until_s);
    buf_put_be64(out, (uint64_t)a->signed_prekey_at_s);
}

static void read_pair(struct reader *r, struct crypto_pair *out)
{
    struct slice both = reader_bytes(r, sizeof(*out));

    if (both.len == 0) return;
    memcpy(out->secret.bytes, both.data, CRYPTO_KEY);
    memcpy(out->public.bytes, both.data + CRYPTO_KEY, CRYPTO_KEY);
}

static void read_user(struct reader *r, char out[WA_USER_MAX + 1])
{
    struct slice user = reader_block(r);
    if (user.len > WA_USER_MAX)
        r->error = ERR_TOO_LARGE;
    else
        snprintf(out, WA_USER_MAX + 1, SLICE_FMT, SLICE_ARG(user));
}

static int64_t read_seconds(struct reader *r)
{
    uint64_t s = reader_be64(r);

    if (s > UINT64_MAX / 4000) {
        r->error = ERR_TOO_LARGE; /* milliseconds of it would not fit */
        return 0;
    }
    return (int64_t)s;
}

static void read_held_off(struct reader *r, struct wa_held_off *out)
{
    out->reason = reader_u8(r);
    out->code = reader_be32(r);
    out->until_s = read_seconds(r);
}

err_t wa_account_decode(struct slice row, struct wa_account *out)
{
    struct reader r = reader_of(row);
    uint8_t version = reader_u8(&r), flags = reader_u8(&r);

    if (version > ROW_VERSION) return fail(STORE_VERSION, "account row %u", version);
    out->paired = flags & FLAG_PAIRED;
    out->lid_migrated = flags & FLAG_LID_MIGRATED;
    if (flags & FLAG_SHOWS_READS) out->reads = WA_READS_SHOWN;
    if (flags & FLAG_HIDES_READS) out->reads = WA_READS_HIDDEN;
    out->registration_id = reader_be32(&r);
    out->device = reader_be16(&r);
    out->signed_prekey_id = reader_be32(&r);
    out->next_prekey = reader_be32(&r);
    out->upload_from = reader_be32(&r);
    out->upload_count = reader_be16(&r);
    read_pair(&r, &out->noise);
    read_pair(&r, &out->identity);
    struct slice adv = reader_bytes(&r, CRYPTO_KEY);
    if (adv.len) memcpy(out->adv_secret.bytes, adv.data, adv.len);
    read_user(&r, out->pn_user);
    read_user(&r, out->lid_user);
    buf_put(&out->device_identity, reader_block(&r));
    buf_put(&out->routing, reader_block(&r));
    if (version > 1) read_held_off(&r, &out->held_off);
    if (version > 2) out->signed_prekey_at_s = read_seconds(&r);
    if (version >= ROW_OLDEST && reader_end(&r) == OK) return OK;

    wa_account_done(out);
    return fail(STORE_DAMAGED, "account row of %zu bytes", row.len);
}

struct wa_jid wa_account_pn(const struct wa_account *a)
{
    if (!a->pn_user[0]) return (struct wa_jid){0};
    return wa_jid_of(WA_SERVER_USER, slice_text(a->pn_user), a->device);
}

struct wa_jid wa_account_lid(const struct wa_account *a)
{
    if (!a->lid_user[0]) return (struct wa_jid){0};
    return wa_jid_of(WA_SERVER_LID, slice_text(a->lid_user), a->device);
}

bool wa_account_is_self(const struct wa_account *a, const struct wa_jid *jid)
{
    switch (jid->server) {
    case WA_SERVER_USER:
    case WA_SERVER_C_US:
    case WA_SERVER_HOSTED: return a->pn_user[0] && slice_is(jid->user, a->pn_user);
    case WA_SERVER_LID:
    case WA_SERVER_HOSTED_LID: return a->lid_user[0] && slice_is(jid->user, a->lid_user);
    default: return false;
    }
}
