#include "proto/client/retry_out.h"

#include <stdio.h>
#include <stdlib.h>

#include "proto/base/reader.h"
#include "proto/base/text.h"
#include "proto/client/bundles.h"
#include "proto/client/content.h"
#include "proto/client/keys.h"
#include "proto/client/mapping.h"
#include "proto/client/message_info.h"
#include "proto/client/message_out.h"
#include "proto/client/receipt.h"
#include "proto/signal/adv.h"
#include "proto/signal/identity.h"
#include "proto/signal/session.h"

struct asked {
    struct wa_jid asker; /* the device */
    struct wa_party chat;
    struct slice id;
    unsigned count;
    struct slice registration;
    const struct wa_node *keys; /* NULL when none came */
};

/* ---- what we remember of a device that asks ---- */

/* BASE_KEY person, "<device>": when its session was last made anew.
 * BASE_KEY person, "<device> <id>": answers so far, the session's base key at the second. */
struct memory {
    int64_t recreated_at;
    unsigned answers;
    bool has_base;
    struct crypto_key base;
};

static struct slice owner_of(struct wa_client *c, const struct wa_address *a) { return a->name; }

static struct slice device_name(struct wa_client *c, const struct wa_address *a)
{
    return arena_printf(c->arena, "%u", a->device);
}

static struct slice answer_name(struct wa_client *c, const struct wa_address *a, struct slice id)
{
    return arena_printf(c->arena, "%u " SLICE_FMT, a->device, SLICE_ARG(id));
}

static err_t remember(struct wa_client *c, const struct wa_address *a, struct slice id,
                      struct memory *out)
{
    struct slice device, answer;

    *out = (struct memory){0};
    TRY(wa_load(c, WA_NS_BASE_KEY, owner_of(c, a), device_name(c, a), &device));
    TRY(wa_load(c, WA_NS_BASE_KEY, owner_of(c, a), answer_name(c, a, id), &answer));
    if (device.len) {
        struct reader r = reader_of(device);
        out->recreated_at = (int64_t)reader_be64(&r);
    }
    if (answer.len) {
        struct reader r = reader_of(answer);
        out->answers = reader_u8(&r);
        out->has_base = reader_left(&r) == CRYPTO_KEY;
        if (out->has_base) memcpy(out->base.bytes, answer.data + 1, CRYPTO_KEY);
    }
    return OK;
}

static void save_answer(struct wa_client *c, const struct wa_address *a, struct slice id,
                        const struct memory *m)
{
    AUTO(buf) row = {0};

    buf_put_u8(&row, (uint8_t)m->answers);
    if (m->has_base) buf_put(&row, SLICE_ARRAY(m->base.bytes));
    wa_save(c, WA_NS_BASE_KEY, owner_of(c, a), answer_name(c, a, id), buf_slice(&row));
}

static void save_recreated(struct wa_client *c, const struct wa_address *a)
{
    AUTO(buf) row = {0};

    buf_put_be64(&row, (uint64_t)c->now);
    wa_save(c, WA_NS_BASE_KEY, owner_of(c, a), device_name(c, a), buf_slice(&row));
}

/* ---- repair ---- */

/* Whether the phone that we know vouches for a companion's new identity. */
static err_t is_vouched(struct wa_client *c, const struct asked *q, const struct wa_address *a,
                        const struct crypto_key *identity, bool *out)
{
    struct slice signed_identity = wa_node_child_bytes(q->keys, "device-identity");
    struct wa_address phone = {.name = a->name, .device = 0, .own = a->own};
    struct crypto_key account;
    struct wa_adv_device device;
    bool is_known;

    *out = false;
    TRY(wa_identity_load(&c->keystore, c->arena, &phone, &account, &is_known));
    if (!is_known || a->device == 0 || signed_identity.len == 0) return OK;
    TRY(wa_adv_verify(c->arena, signed_identity, identity, &account, &device));
    *out = memcmp(&device.account_key, &account, sizeof(account)) == 0;
    return OK;
}

/* The keys that came along, when they are of the identity we know or it is vouched for. Others
 * prove nothing; the other implementations take them all. */
static err_t install_keys(struct wa_client *c, const struct asked *q, const struct wa_address *a,
                          bool *out_installed)
{
    struct wa_bundle bundle;
    struct crypto_key known;
    bool is_known, is_good;

    *out_installed = false;
    TRY(wa_bundle_read(q->keys, q->registration, &bundle));
    TRY(wa_identity_load(&c->keystore, c->arena, a, &known, &is_known));
    is_good = is_known && memcmp(&known, &bundle.identity, sizeof(known)) == 0;
    if (!is_good) TRY(is_vouched(c, q, a, &bundle.identity, &is_good));
    if (!is_good) return OK;
    TRY(wa_bundle_install(c, &q->asker, &bundle));
    *out_installed = true;
    return OK;
}

static uint32_t registration_of(const struct asked *q)
{
    struct reader r = reader_of(q->registration);
    return q->registration.len == 4 ? reader_be32(&r) : 0;
}

/* Whether the session we have is worth another try: not when the device was installed anew, not
 * when it asks a third time on the session of the second, and from the second time on only if we
 * made it anew within the hour. */
static bool is_hopeless(struct wa_client *c, const struct asked *q, const struct memory *m,
                        const struct wa_session_info *info, bool *out_by_clock)
{
    uint32_t registration = registration_of(q);

    *out_by_clock = false;
    if (registration && registration != info->registration_id) return true;
    if (q->count > 2 && m->has_base && memcmp(&m->base, &info->base, sizeof(m->base)) == 0)
        return true;
    /* A moment to come was noted by a clock that was ahead. */
    *out_by_clock = q->count >= 2 && llabs(c->now - m->recreated_at) >= WA_RECREATE_MS;
    return *out_by_clock;
}

/* *out_replace: the session stands until the server has said which keys the device has. */
static err_t repair(struct wa_client *c, const struct asked *q, const struct wa_address *a,
                    struct memory *m, bool *out_replace)
{
    struct wa_session_info info;
    bool by_clock, installed = false;

    *out_replace = false;
    if (q->keys) {
        err_t e = install_keys(c, q, a, &installed);
        *out_replace = !installed;
        return wa_is_fatal(e) ? e : OK;
    }
    err_t e = wa_session_info(&c->keystore, c->arena, a, &info);
    if (e != OK) return wa_is_fatal(e) ? e : OK; /* none: a bundle will make one */
    if (q->count == 2) {
        m->has_base = true;
        m->base = info.base;
    }
    if (!is_hopeless(c, q, m, &info, &by_clock)) return OK;
    if (by_clock) save_recreated(c, a);
    return wa_session_delete(&c->keystore, c->arena, a);
}

/* ---- the answer ---- */

static err_t load_message(struct wa_client *c, const struct asked *q, struct slice *out)
{
    struct wa_jid self_jid = wa_self_pn(c);
    struct wa_party self;
    struct wa_held_message held;
    struct slice row;

    TRY(wa_party_of(c, &self_jid, &self));
    TRY(wa_load(c, WA_NS_MESSAGE, wa_party_name(c, &q->chat), wa_message_name(c, &self, q->id),
                &row));
    TRY(wa_held_decode(row, &held));
    *out = held.state == WA_HELD_WHOLE && held.from_me ? held.raw : SLICE_NONE;
    return OK;
}

/* The <enc> stands directly under the message: it is for this device alone. */
static err_t resend(struct wa_client *c, const struct asked *q)
{
    struct wa_node *message = wa_node_new(c->arena, "message");
    bool is_own = wa_account_is_self(&c->account, &q->asker), has_prekey = false;
    struct slice raw;
    struct wa_jid chat;

    TRY(load_message(c, q, &raw));
    if (raw.len == 0) return OK;
    TRY(wa_chat_jid(c, &q->chat, &chat));

    wa_node_set_jid(message, c->arena, "to", q->asker);
    wa_node_set(message, c->arena, "id", q->id);
    wa_node_set_text(message, c->arena, "type", wa_body_stanza_type(raw));
    wa_node_set_text(message, c->arena, "device_fanout", "false");
    if (is_own) wa_node_set_jid(message, c->arena, "recipient", chat);
    TRY(wa_encrypt_for(c, &q->asker, is_own ? wa_device_sent(c, &chat, raw) : raw, message,
                       &has_prekey));
    wa_node_set_int(&message->children[0], c->arena, "count", q->count);
    if (has_prekey) wa_add_device_identity(c, message);
    wa_send_node(c, message, WA_SEND_ACKED);
    return OK;
}

/* A resend that waits for a bundle. */
struct waiting {
    char asker[WA_JID_TEXT_MAX], chat[WA_JID_TEXT_MAX];
    char id[WA_MESSAGE_ID_MAX + 1];
    unsigned count;
    bool replace; /* the session that there is */
};

static err_t on_bundle(struct wa_client *c, void *op, const struct wa_node *iq, err_t e)
{
    const struct waiting *w = op;
    struct asked q = {.id = slice_text(w->id), .count = w->count};
    struct wa_jid chat;

    if (e != OK) return OK; /* it asks again */
    TRY(wa_bundles_take(c, iq, w->replace));
    TRY(wa_jid_parse(slice_text(w->asker), &q.asker));
    TRY(wa_jid_parse(slice_text(w->chat), &chat));
    TRY(wa_party_of(c, &chat, &q.chat));
    e = resend(c, &q);
    return wa_is_fatal(e) ? e : OK;
}

static size_t waiting_count(const struct wa_client *c)
{
    size_t n = 0;

    for (const struct list *l = c->queries.next; l != &c->queries; l = l->next)
        n += LIST_ENTRY(l, struct wa_query, node)->answer == on_bundle;
    return n;
}

static err_t ask_bundle(struct wa_client *c, const struct asked *q, bool replace)
{
    const struct wa_jid *chat = wa_jid_is_none(&q->chat.lid) ? &q->chat.pn : &q->chat.lid;
    struct wa_jid device;

    if (waiting_count(c) >= WA_RESENDS_MAX) return OK;
    TRY(wa_session_jid(c, &q->asker, &device));

    struct waiting *w = xcalloc(sizeof(*w));
    wa_jid_text(&q->asker, w->asker);
    wa_jid_text(chat, w->chat);
    snprintf(w->id, sizeof(w->id), SLICE_FMT, SLICE_ARG(q->id));
    w->count = q->count;
    w->replace = replace;
    return wa_bundles_ask(c, &device, 1, "identity", on_bundle, w, true);
}

static err_t read_asked(struct wa_client *c, const struct wa_node *receipt, struct asked *out)
{
    const struct wa_node *retry = wa_node_child(receipt, "retry");
    struct wa_jid recipient = wa_node_jid(receipt, "recipient");

    ENSURE(retry, BAD_STANZA);
    struct wa_attrs a = wa_attrs_of(retry);
    *out = (struct asked){.asker = wa_node_jid(receipt, "from"),
                          .id = wa_node_text(receipt, "id"),
                          .count = (unsigned)wa_attr_int_or(&a, "count", 1),
                          .registration = wa_node_child_bytes(receipt, "registration"),
                          .keys = wa_node_child(receipt, "keys")};
    TRY(wa_attrs_check(&a));
    ENSURE(wa_id_ok(out->id) && out->asker.user.len <= WA_USER_MAX, BAD_STANZA);
    bool is_own = wa_account_is_self(&c->account, &out->asker);
    if (is_own && !wa_jid_is_none(&recipient)) return wa_party_of(c, &recipient, &out->chat);
    return wa_party_of(c, &out->asker, &out->chat);
}

err_t wa_retry_asked(struct wa_client *c, const struct wa_node *receipt)
{
    struct wa_address address;
    struct memory m;
    struct asked q;
    struct slice raw;
    bool has, replace;

    TRY(read_asked(c, receipt, &q));
    /* We do not write to groups yet, so a group asks for nothing of ours. */
    if (!wa_jid_is_person(&q.asker) || q.count > WA_RETRY_ANSWERS) return OK;
    TRY(wa_address_of(c, &q.asker, &address));
    TRY(remember(c, &address, q.id, &m));
    if (m.answers >= WA_RETRY_ANSWERS) return OK;

    TRY(repair(c, &q, &address, &m, &replace));
    TRY(load_message(c, &q, &raw));
    if (raw.len == 0) return OK; /* and no row: ids that are not ours could fill the disk */
    m.answers++;
    save_answer(c, &address, q.id, &m);
    TRY(wa_has_session(c, &q.asker, &has));
    return has && !replace ? resend(c, &q) : ask_bundle(c, &q, replace);
}
