/* <ack>: the server took, or refused, a stanza of ours. */
#include "proto/base/text.h"
#include "proto/client/bundles.h"
#include "proto/client/devices.h"
#include "proto/client/mapping.h"
#include "proto/client/message_info.h"
#include "proto/client/stanzas.h"
#include "proto/client/tokens.h"
#include "proto/signal/padding.h"

static const struct {
    int code;
    err_t error;
} errors[] = {
    {421, ERR_STALE_ADDRESSING},
    {463, ERR_NEEDS_TOKEN},
    {475, ERR_NEW_CHATS_CAPPED},
    {479, ERR_INVALID_STANZA},
};

static err_t error_of(int code)
{
    if (code == 0) return OK;
    for (size_t i = 0; i < ARRAY_LEN(errors); i++)
        if (errors[i].code == code) return errors[i].error;
    return ERR_SEND_REFUSED;
}

static int code_of(const struct wa_node *ack)
{
    uint64_t code;

    if (!wa_node_attr(ack, "error")) return 0;
    if (text_u64(wa_node_text(ack, "error"), &code) != OK || code == 0 || code > 99999) return 500;
    return (int)code;
}

/* ---- the device lists behind it ---- */

static size_t add_devices(const struct wa_jid *user, const struct wa_devices *devices, int without,
                          struct wa_jid *out, size_t n)
{
    for (size_t i = 0; i < devices->count; i++)
        if (devices->list[i].id != without) out[n++] = wa_device_jid(user, &devices->list[i]);
    return n;
}

/* The server's hash of a 1:1 message covers the devices of both; whether with the sending one is
 * not known, so either will do. */
static err_t has_phash(struct wa_client *c, const struct wa_party *peer, const struct wa_jid *from,
                       struct slice phash, bool *out)
{
    struct wa_jid *jids = arena_array(c->arena, struct wa_jid, (size_t)2 * WA_DEVICES_MAX);
    struct wa_jid self =
        from->server == WA_SERVER_LID ? wa_account_lid(&c->account) : wa_account_pn(&c->account);
    struct wa_jid peer_jid = wa_jid_bare(from), self_jid = wa_jid_bare(&self);
    struct wa_party own;
    struct wa_devices theirs, ours;
    char text[WA_PHASH_MAX];

    TRY(wa_party_of(c, &self_jid, &own));
    TRY(wa_devices_load(c, peer, &theirs));
    TRY(wa_devices_load(c, &own, &ours));
    size_t n = add_devices(&peer_jid, &theirs, -1, jids, 0);
    size_t all = add_devices(&self_jid, &ours, -1, jids, n);
    *out = slice_is(phash, wa_phash(jids, all, c->arena, text));
    if (*out) return OK;
    size_t others = add_devices(&self_jid, &ours, c->account.device, jids, n);
    *out = slice_is(phash, wa_phash(jids, others, c->arena, text));
    return OK;
}

/* Another hash means that somebody has a device we did not write to: the next message asks. */
static err_t compare_phash(struct wa_client *c, const struct wa_node *ack,
                           const struct wa_party *peer, const struct wa_jid *from)
{
    struct slice phash = wa_node_text(ack, "phash");
    struct wa_jid self = wa_self_pn(c);
    bool same;

    if (phash.len == 0) return OK;
    TRY(has_phash(c, peer, from, phash, &same));
    if (same) return OK;
    TRY(wa_devices_expire(c, from));
    return wa_devices_expire(c, &self);
}

static err_t after_accept(struct wa_client *c, const struct wa_node *ack,
                          const struct wa_party *peer, const struct wa_jid *from)
{
    if (!wa_jid_is_person(from)) return OK;
    TRY(compare_phash(c, ack, peer, from));
    if (slice_is(wa_node_text(ack, "refresh_lid"), "true")) TRY(wa_usync_refresh_lid(c, from));
    if (wa_account_is_self(&c->account, from)) return OK;
    return wa_token_issue(c, peer, from);
}

/* ---- the event ---- */

static err_t tell_done(struct wa_client *c, const struct wa_node *ack, const struct wa_jid *from,
                       struct wa_event *e)
{
    e->kind = WA_EVENT_OUTBOX_DONE;
    e->outbox_done.id = wa_node_text(ack, "id");
    e->outbox_done.code = code_of(ack);
    e->outbox_done.error = error_of(e->outbox_done.code);
    e->outbox_done.time_s = wa_time_or_now(c, wa_node_text(ack, "t"));
    ENSURE(wa_id_ok(e->outbox_done.id) && !wa_jid_is_none(from), BAD_STANZA);
    TRY(wa_party_of(c, from, &e->outbox_done.chat));
    wa_emit(c, e);
    return OK;
}

static err_t on_message_ack(struct wa_client *c, const struct wa_node *ack)
{
    struct wa_jid from = wa_node_jid(ack, "from");
    struct wa_event e = {.outbox_done.is_message = true};

    TRY(tell_done(c, ack, &from, &e));
    if (e.outbox_done.error != OK) return OK;
    return after_accept(c, ack, &e.outbox_done.chat, &from);
}

/* Kept until the server has them: what we say of our own reading. */
static bool is_kept(struct slice type)
{
    static const char *const kept[] = {"read", "read-self", "played", "played-self"};

    for (size_t i = 0; i < ARRAY_LEN(kept); i++)
        if (slice_is(type, kept[i])) return true;
    return false;
}

static err_t on_receipt_ack(struct wa_client *c, const struct wa_node *ack)
{
    struct wa_jid from = wa_node_jid(ack, "from");
    struct wa_event e = {0};

    return is_kept(wa_node_text(ack, "type")) ? tell_done(c, ack, &from, &e) : OK;
}

err_t wa_on_ack(struct wa_client *c, const struct wa_node *ack)
{
    struct slice class = wa_node_text(ack, "class");

    if (slice_is(class, "message")) return on_message_ack(c, ack);
    if (slice_is(class, "receipt")) return on_receipt_ack(c, ack);
    return OK;
}
