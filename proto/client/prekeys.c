#include "proto/client/prekeys.h"

#include "proto/base/text.h"
#include "proto/client/iq.h"

struct slice wa_be_bytes(struct wa_client *c, uint32_t v, unsigned n)
{
    uint8_t bytes[4] = {(uint8_t)(v >> 24), (uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v};
    return arena_dup(c->arena, slice_of(bytes + 4 - n, n));
}

static void add_bytes(struct wa_client *c, struct wa_node *parent, const char *tag,
                      struct slice bytes)
{
    wa_node_set_bytes(wa_node_add(parent, c->arena, tag), bytes);
}

static void add_prekey(struct wa_client *c, struct wa_node *parent,
                       const struct wa_prekey_public *key)
{
    struct wa_node *node = wa_node_add(parent, c->arena, "key");

    add_bytes(c, node, "id", wa_be_bytes(c, key->id, 3));
    add_bytes(c, node, "value", SLICE_ARRAY(key->key.bytes));
}

err_t wa_put_signed_prekey(struct wa_client *c, struct wa_node *parent, uint32_t id)
{
    struct wa_signed_prekey *skey = arena_new(c->arena, struct wa_signed_prekey);

    TRY(wa_signed_prekey_load(&c->keystore, c->arena, id, skey));
    crypto_wipe(&skey->pair.secret, sizeof(skey->pair.secret));

    struct wa_node *node = wa_node_add(parent, c->arena, "skey");
    add_bytes(c, node, "id", wa_be_bytes(c, skey->id, 3));
    add_bytes(c, node, "value", SLICE_ARRAY(skey->pair.public.bytes));
    add_bytes(c, node, "signature", SLICE_ARRAY(skey->signature));
    return OK;
}

err_t wa_prekeys_put_bundle(struct wa_client *c, struct wa_node *keys)
{
    struct wa_prekey_public *fresh = arena_new(c->arena, struct wa_prekey_public);

    TRY(wa_prekeys_make(&c->keystore, c->arena, &c->account.next_prekey, 1, fresh));
    wa_save_account(c);
    add_bytes(c, keys, "type", wa_be_bytes(c, WA_KEY_TYPE, 1));
    add_bytes(c, keys, "identity", SLICE_ARRAY(c->account.identity.public.bytes));
    add_prekey(c, keys, fresh);
    TRY(wa_put_signed_prekey(c, keys, c->account.signed_prekey_id));
    add_bytes(c, keys, "device-identity", buf_slice(&c->account.device_identity));
    return OK;
}

/* ---- upload ---- */

static size_t wanted(const struct wa_client *c)
{
    if (c->account.next_prekey != 1) return WA_MORE_PREKEYS;
    return c->config->first_prekeys ? c->config->first_prekeys : WA_FIRST_PREKEYS;
}

/* The keys of an upload that was not accepted, or new ones. */
static err_t take_keys(struct wa_client *c, struct wa_prekey_public **out, size_t *out_count)
{
    struct wa_account *a = &c->account;

    if (a->upload_count > 0) {
        *out = arena_array(c->arena, struct wa_prekey_public, a->upload_count);
        TRY(wa_prekeys_read(&c->keystore, c->arena, a->upload_from, a->upload_count, *out,
                            out_count));
        if (*out_count > 0) return OK;
    }

    size_t n = wanted(c);
    *out = arena_array(c->arena, struct wa_prekey_public, n);
    TRY(wa_prekeys_make(&c->keystore, c->arena, &a->next_prekey, n, *out));
    a->upload_from = (*out)[0].id;
    a->upload_count = (uint16_t)n;
    wa_save_account(c);
    *out_count = n;
    return OK;
}

static err_t on_uploaded(struct wa_client *c, void *op, const struct wa_node *iq, err_t e)
{
    c->uploading = false;
    if (e == OK) {
        c->account.upload_count = 0;
        wa_save_account(c);
    } else if (e != ERR_NOT_CONNECTED) {
        wa_timer_set(c, WA_TIMER_UPLOAD, c->now + WA_UPLOAD_RETRY_MS);
    }
    return OK;
}

/* A server that always has too few could keep us making keys and nothing else. */
static bool is_too_often(struct wa_client *c)
{
    if (c->now - c->uploads_from >= WA_UPLOAD_RETRY_MS || c->now < c->uploads_from) {
        c->uploads_from = c->now;
        c->uploads = 0;
    }
    if (c->uploads < WA_UPLOADS_MAX) {
        c->uploads++;
        return false;
    }
    wa_timer_set(c, WA_TIMER_UPLOAD, c->uploads_from + WA_UPLOAD_RETRY_MS);
    return true;
}

err_t wa_prekeys_upload(struct wa_client *c)
{
    struct wa_prekey_public *keys;
    size_t n;

    if (c->uploading) return OK;
    if (is_too_often(c)) return OK;
    TRY(take_keys(c, &keys, &n));

    struct wa_node *iq = wa_iq_new(c, "set", "encrypt");
    add_bytes(c, iq, "registration", wa_be_bytes(c, c->account.registration_id, 4));
    add_bytes(c, iq, "type", wa_be_bytes(c, WA_KEY_TYPE, 1));
    add_bytes(c, iq, "identity", SLICE_ARRAY(c->account.identity.public.bytes));
    struct wa_node *list = wa_node_add(iq, c->arena, "list");
    for (size_t i = 0; i < n; i++)
        add_prekey(c, list, &keys[i]);
    TRY(wa_put_signed_prekey(c, iq, c->account.signed_prekey_id));

    TRY(wa_iq_ask(c, iq, on_uploaded, NULL));
    c->uploading = true;
    return OK;
}

static err_t on_counted(struct wa_client *c, void *op, const struct wa_node *iq, err_t e)
{
    const struct wa_node *count = iq ? wa_node_child(iq, "count") : NULL;
    uint64_t n;

    if (e == ERR_NOT_CONNECTED) return OK;
    if (e != OK || !count || text_u64(wa_node_text(count, "value"), &n) != OK) {
        wa_timer_set(c, WA_TIMER_UPLOAD, c->now + WA_UPLOAD_RETRY_MS);
        return OK;
    }
    return n < WA_LOW_PREKEYS || c->account.upload_count > 0 ? wa_prekeys_upload(c) : OK;
}

err_t wa_prekeys_check(struct wa_client *c)
{
    struct wa_node *iq = wa_iq_new(c, "get", "encrypt");

    wa_node_add(iq, c->arena, "count");
    return wa_iq_ask(c, iq, on_counted, NULL);
}

err_t on_upload_retry(struct wa_client *c) { return wa_is_online(c) ? wa_prekeys_check(c) : OK; }
