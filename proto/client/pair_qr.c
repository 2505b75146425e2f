#include "proto/client/pair_qr.h"

#include <stdio.h>
#include <stdlib.h>

#include "proto/base/reader.h"
#include "proto/base/text.h"
#include "proto/client/keys.h"
#include "proto/client/login.h"
#include "proto/client/mapping.h"
#include "proto/schema/adv.pb-c.h"
#include "proto/schema/unpack.h"
#include "proto/signal/adv.h"
#include "proto/signal/identity.h"
#include "proto/signal/prekey.h"

/* What kind of client the phone is told it links: 9, another web client. */
#define CLIENT_TYPE "9"

struct wa_pairing {
    struct buf refs; /* blocks, the one on show first */
    size_t at;       /* behind the one on show */
    unsigned left;
    struct slice current;
};

void wa_pairing_free(struct wa_client *c)
{
    if (!c->pairing) return;
    buf_done(&c->pairing->refs);
    free(c->pairing);
    c->pairing = NULL;
}

size_t wa_pairing_memory(const struct wa_client *c)
{
    return c->pairing ? sizeof(*c->pairing) + c->pairing->refs.cap : 0;
}

/* ---- codes ---- */

static void put_key(const struct crypto_key *key, struct buf *out)
{
    buf_put_u8(out, ',');
    text_base64(SLICE_ARRAY(key->bytes), out);
}

static void show_code(struct wa_client *c)
{
    AUTO(buf) code = {0};
    struct wa_event e = {.kind = WA_EVENT_QR};

    buf_put(&code, c->pairing->current);
    put_key(&c->account.noise.public, &code);
    put_key(&c->account.identity.public, &code);
    put_key(&c->account.adv_secret, &code);
    buf_put_text(&code, "," CLIENT_TYPE);
    e.qr.code = buf_slice(&code);
    e.qr.expires_at = c->timers[WA_TIMER_CODE];
    e.qr.left = c->pairing->left;
    wa_emit(c, &e);
}

static bool next_ref(struct wa_pairing *p)
{
    struct reader r = reader_of(buf_slice(&p->refs));

    if (p->left == 0) return false;
    r.at = p->at;
    p->current = reader_block(&r);
    p->at = r.at;
    p->left--;
    return true;
}

static err_t codes_ran_out(struct wa_client *c)
{
    struct wa_event e = {.kind = WA_EVENT_PAIR_FAILED, .down = {.reason = WA_REASON_EXPIRED}};

    c->wants_link = false;
    c->state = WA_CLIENT_NEW;
    TRY(wa_link_drop(c));
    wa_emit(c, &e);
    return OK;
}

err_t on_code_expired(struct wa_client *c)
{
    if (!c->pairing) return OK;
    if (!next_ref(c->pairing)) return codes_ran_out(c);
    wa_timer_set(c, WA_TIMER_CODE, c->now + WA_NEXT_CODE_MS);
    show_code(c);
    return OK;
}

err_t wa_pair_refresh(struct wa_client *c)
{
    if (!c->pairing) return OK;
    wa_random(c, c->account.adv_secret.bytes, sizeof(c->account.adv_secret.bytes));
    wa_save_account(c);
    show_code(c);
    return OK;
}

/* ---- start ---- */

err_t wa_pair_start(struct wa_client *c)
{
    struct wa_signed_prekey skey;

    if (c->account.paired) return OK;
    TRY(wa_link_drop(c));
    wa_account_make(&c->account, c->host.random, c->host.ctx);
    wa_keys_ready(c);
    c->account.signed_prekey_id = 1;
    c->account.signed_prekey_at_s = c->now / 1000;
    wa_signed_prekey_make(&c->keystore, c->arena, c->account.signed_prekey_id, &skey);
    crypto_wipe(&skey, sizeof(skey));
    wa_save_account(c);

    c->state = WA_CLIENT_PAIRING;
    c->told = WA_REASON_NONE;
    wa_backoff_reset(&c->backoff);
    wa_link_want(c, c->now);
    return OK;
}

static void answer_iq(struct wa_client *c, const struct wa_node *iq, struct wa_node *answer)
{
    wa_node_set_text(answer, c->arena, "type", "result");
    wa_node_set_jid(answer, c->arena, "to", wa_jid_server());
    wa_node_set(answer, c->arena, "id", wa_node_text(iq, "id"));
}

err_t wa_on_pair_device(struct wa_client *c, const struct wa_node *iq)
{
    const struct wa_node *device = wa_node_child(iq, "pair-device"), *ref;
    struct wa_node *answer = wa_node_new(c->arena, "iq");

    if (c->account.paired || c->state != WA_CLIENT_PAIRING) return OK;
    answer_iq(c, iq, answer);
    wa_send_node(c, answer, 0);

    wa_pairing_free(c);
    c->pairing = xcalloc(sizeof(*c->pairing));
    for (size_t i = 0; (ref = wa_node_next(device, "ref", &i));) {
        if (ref->content != WA_CONTENT_BYTES || ref->bytes.len > WA_REF_MAX) continue;
        if (c->pairing->left == WA_REFS_MAX) break;
        buf_put_block(&c->pairing->refs, ref->bytes);
        c->pairing->left++;
    }
    if (!next_ref(c->pairing)) return codes_ran_out(c);
    c->phase = WA_PHASE_PAIRING;
    wa_timer_set(c, WA_TIMER_HANDSHAKE, WA_NEVER);
    wa_timer_set(c, WA_TIMER_CODE, c->now + WA_FIRST_CODE_MS);
    show_code(c);
    return OK;
}

/* ---- the phone's answer ---- */

struct success {
    struct wa_jid pn, lid;
    struct slice platform, business;
    struct wa_adv_pairing adv;
    bool lid_migrated;
};

static struct slice text_or_none(struct slice s) { return text_is_utf8(s) ? s : SLICE_NONE; }

static err_t read_success(struct wa_client *c, const struct wa_node *node, struct success *out)
{
    const struct wa_node *device = wa_node_child(node, "device"),
                         *platform = wa_node_child(node, "platform"),
                         *biz = wa_node_child(node, "biz");
    struct slice props = wa_node_child_bytes(node, "client-props"),
                 identity = wa_node_child_bytes(node, "device-identity");
    const Wa__ClientPairingProps *p;

    ENSURE(device, BAD_STANZA);
    out->pn = wa_node_jid(device, "jid");
    out->lid = wa_node_jid(device, "lid");
    ENSURE(out->pn.server == WA_SERVER_USER && out->pn.user.len > 0, BAD_STANZA);
    ENSURE(identity.len <= WA_DEVICE_IDENTITY_MAX, BAD_STANZA);
    ENSURE(out->pn.user.len <= WA_USER_MAX && out->lid.user.len <= WA_USER_MAX, BAD_STANZA);
    if (platform) out->platform = text_or_none(wa_node_text(platform, "name"));
    if (biz) out->business = text_or_none(wa_node_text(biz, "name"));
    err_t e = props.len ? WA_UNPACK(wa__client_pairing_props, props, c->arena, &p) : OK;
    if (wa_is_fatal(e)) return e;
    if (props.len && e == OK) out->lid_migrated = p->is_chat_db_lid_migrated;
    return wa_adv_accept(&c->keystore, c->arena, c->account.adv_secret.bytes, identity, &out->adv);
}

static const struct {
    err_t error;
    int code;
    const char *text;
} refusals[] = {
    {ERR_BAD_MAC, 401, "hmac-mismatch"},
    {ERR_BAD_SIGNATURE, 401, "signature-mismatch"},
    {ERR_BAD_KEY, 401, "invalid-key"},
    {OK, 500, "internal-error"}, /* whatever else */
};

static err_t refuse(struct wa_client *c, const struct wa_node *iq, err_t why)
{
    struct wa_node *answer = wa_node_new(c->arena, "iq");
    size_t row = 0;

    while (refusals[row].error != OK && refusals[row].error != why)
        row++;
    answer_iq(c, iq, answer);
    wa_node_set_text(answer, c->arena, "type", "error");
    struct wa_node *error = wa_node_add(answer, c->arena, "error");
    wa_node_set_int(error, c->arena, "code", refusals[row].code);
    wa_node_set_text(error, c->arena, "text", refusals[row].text);
    wa_send_node(c, answer, 0);
    return wa_unpair(c, WA_REASON_SIGNATURE, refusals[row].code);
}

/* The phone's key is its identity as device 0, known under the address its messages will have. */
static err_t trust_phone(struct wa_client *c, const struct success *s)
{
    struct wa_jid phone = wa_jid_bare(&s->pn);
    struct wa_address address;
    bool changed;

    TRY(wa_mapping_learn(c, &s->pn, &s->lid));
    TRY(wa_address_of(c, &phone, &address));
    return wa_identity_trust(&c->keystore, c->arena, &address, &s->adv.account_key, &changed);
}

static void keep_credentials(struct wa_client *c, const struct success *s)
{
    struct wa_account *a = &c->account;

    snprintf(a->pn_user, sizeof(a->pn_user), SLICE_FMT, SLICE_ARG(s->pn.user));
    snprintf(a->lid_user, sizeof(a->lid_user), SLICE_FMT, SLICE_ARG(s->lid.user));
    a->device = s->pn.device;
    a->lid_migrated = s->lid_migrated;
    a->paired = true;
    buf_reset(&a->device_identity);
    buf_put(&a->device_identity, s->adv.identity);
    wa_save_account(c);
}

static err_t accept(struct wa_client *c, const struct wa_node *iq, const struct success *s)
{
    struct wa_node *answer = wa_node_new(c->arena, "iq");
    struct wa_event e = {
        .kind = WA_EVENT_PAIRED,
        .paired = {
            .pn = s->pn, .lid = s->lid, .platform = s->platform, .business_name = s->business}};

    keep_credentials(c, s);
    TRY(trust_phone(c, s));
    wa_pairing_free(c);
    wa_timer_set(c, WA_TIMER_CODE, WA_NEVER);
    c->phase = WA_PHASE_ENTERING;
    c->state = WA_CLIENT_OFFLINE;
    wa_emit(c, &e);

    answer_iq(c, iq, answer);
    struct wa_node *sign = wa_node_add(answer, c->arena, "pair-device-sign");
    struct wa_node *identity = wa_node_add(sign, c->arena, "device-identity");
    wa_node_set_int(identity, c->arena, "key-index", s->adv.key_index);
    wa_node_set_bytes(identity, s->adv.answer);
    wa_send_node(c, answer, 0);
    wa_timer_set(c, WA_TIMER_PAIRED, c->now + WA_RESTART_TIMEOUT_MS);
    return OK;
}

err_t wa_on_pair_success(struct wa_client *c, const struct wa_node *iq)
{
    struct success s = {0};

    if (c->account.paired || c->phase != WA_PHASE_PAIRING) return OK;
    err_t e = read_success(c, wa_node_child(iq, "pair-success"), &s);
    if (wa_is_fatal(e)) return e;
    return e == OK ? accept(c, iq, &s) : refuse(c, iq, e);
}

/* The login works without the 515 as well, on a link of its own. */
err_t on_restart_missing(struct wa_client *c)
{
    TRY(wa_link_drop(c));
    wa_link_want(c, c->now);
    return OK;
}
