#include "proto/signal/secret.h"

static const struct {
    const char *name;
    bool bound; /* message id and speaker are authenticated with it */
} uses[WA_SECRET_USES] = {
    [WA_SECRET_POLL_VOTE] = {"Poll Vote", true},
    [WA_SECRET_REACTION] = {"Enc Reaction", false},
    [WA_SECRET_COMMENT] = {"Enc Comment", false},
    [WA_SECRET_REPORT_TOKEN] = {"Report Token", false},
    [WA_SECRET_EVENT_RESPONSE] = {"Event Response", true},
    [WA_SECRET_EVENT_EDIT] = {"Event Edit", false},
    [WA_SECRET_MESSAGE_EDIT] = {"Message Edit", false},
    [WA_SECRET_POLL_EDIT] = {"Poll Edit", false},
    [WA_SECRET_POLL_ADD_OPTION] = {"Poll Add Option", false},
    [WA_SECRET_BOT_MESSAGE] = {"Bot Message", true},
};

err_t wa_secret_key(const struct wa_secret *of, enum wa_secret_use use, uint8_t out[32])
{
    AUTO(buf) info = {0};

    ENSURE(of->secret.len == WA_MESSAGE_SECRET, BAD_ARGUMENT);
    buf_put(&info, of->message_id);
    buf_put(&info, of->author);
    buf_put(&info, of->speaker);
    buf_put_text(&info, uses[use].name);
    crypto_hkdf(of->secret, SLICE_NONE, buf_slice(&info), out, 32);
    return OK;
}

static void put_aad(const struct wa_secret *of, enum wa_secret_use use, struct buf *out)
{
    if (!uses[use].bound) return;
    buf_put(out, of->message_id);
    buf_put_u8(out, 0);
    buf_put(out, of->speaker);
}

err_t wa_secret_seal(const struct wa_keystore *ks, const struct wa_secret *of,
                     enum wa_secret_use use, struct slice plain, uint8_t out_iv[CRYPTO_GCM_IV],
                     struct buf *out)
{
    uint8_t key[32];
    AUTO(buf) aad = {0};

    TRY(wa_secret_key(of, use, key));
    put_aad(of, use, &aad);
    ks->random(ks->ctx, out_iv, CRYPTO_GCM_IV);
    crypto_gcm_seal(key, out_iv, buf_slice(&aad), plain, out);
    crypto_wipe(key, sizeof(key));
    return OK;
}

err_t wa_secret_open(const struct wa_secret *of, enum wa_secret_use use, struct slice iv,
                     struct slice sealed, struct buf *out)
{
    uint8_t key[32];
    AUTO(buf) aad = {0};

    ENSURE(iv.len == CRYPTO_GCM_IV, BAD_MAC);
    TRY(wa_secret_key(of, use, key));
    put_aad(of, use, &aad);
    err_t e = crypto_gcm_open(key, iv.data, buf_slice(&aad), sealed, out);
    crypto_wipe(key, sizeof(key));
    return e;
}

void wa_cs_token(struct slice salt, struct slice recipient, uint8_t out[CRYPTO_SHA256])
{
    crypto_hmac(salt, recipient, out);
}
