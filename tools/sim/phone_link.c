/* A phone scans: it reads the QR text, signs the companion's identity, registers it with the
 * server, and tells the new companion what it needs to know. */
#include "tools/sim/phone.h"

#include <stdio.h>

#include "proto/base/text.h"
#include "proto/schema/history.pb-c.h"
#include "proto/signal/adv.h"
#include "tools/sim/content.h"

struct qr {
    struct slice ref;
    struct buf noise, identity, secret;
};

static void qr_done(struct qr *q)
{
    buf_done(&q->noise);
    buf_done(&q->identity);
    buf_done(&q->secret);
}

/* Without what some clients put around the fields: a link in front, a page behind. */
static struct slice strip(struct slice text)
{
    static const char *const prefixes[] = {"https://wa.me/settings/linked_devices#"};

    for (size_t i = 0; i < ARRAY_LEN(prefixes); i++)
        if (slice_starts_with(text, slice_text(prefixes[i])))
            text = slice_from(text, strlen(prefixes[i]));
    return text;
}

/* ref,noise,identity,secret[,client type] */
static err_t parse_qr(struct slice text, struct qr *out)
{
    struct buf *const parts[] = {&out->noise, &out->identity, &out->secret};
    struct slice field;

    text = strip(text);
    ENSURE(slice_split(&text, ',', &out->ref) && out->ref.len > 0, BAD_TEXT);
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        ENSURE(slice_split(&text, ',', &field), BAD_TEXT);
        TRY(text_unbase64(field, parts[i]));
        ENSURE(parts[i]->len == 32, BAD_TEXT);
    }
    return OK;
}

static size_t valid_indexes(struct sim_phone *p, uint32_t out[SIM_DEVICES_MAX + 1])
{
    size_t n = 0;

    LIST_EACH(l, &p->account->devices)
    {
        struct sim_device *dev = LIST_ENTRY(l, struct sim_device, link);

        out[n++] = dev->key_index; /* the phone's is 0 */
    }
    out[n++] = p->last_index;
    return n;
}

void sim_phone_grant(struct sim_phone *p, struct slice ref, const struct crypto_key *noise,
                     const struct crypto_key *companion, const uint8_t secret[32])
{
    AUTO(arena) arena = {0};
    struct wa_adv_grant grant = {.raw_id = p->raw_id,
                                 .key_index = ++p->last_index,
                                 .timestamp = sim_seconds(p->phones->relay)};
    struct wa_key_index_list list = {
        .raw_id = p->raw_id, .timestamp = grant.timestamp, .current_index = p->last_index};
    struct wa_node *iq = sim_phone_iq(p, &arena, "set", "md", p->scan_iq);
    struct wa_node *pair = wa_node_add(iq, &arena, "pair-device"), *indexes;
    uint32_t valid[SIM_DEVICES_MAX + 1];

    list.valid = valid;
    list.valid_count = valid_indexes(p, valid);
    wa_node_set_bytes(wa_node_add(pair, &arena, "ref"), ref);
    wa_node_set_bytes(wa_node_add(pair, &arena, "pub-key"), SLICE_ARRAY(noise->bytes));
    wa_node_set_bytes(wa_node_add(pair, &arena, "device-identity"),
                      wa_adv_issue(&p->keystore, &arena, secret, companion, &grant));
    indexes = wa_node_add(pair, &arena, "key-index-list");
    wa_node_set_int(indexes, &arena, "ts", (int64_t)grant.timestamp);
    wa_node_set_bytes(indexes, wa_key_index_sign(&p->keystore, &arena, &list));
    p->scan = SIM_SCAN_WAITS;
    sim_phone_send_node(p, iq);
}

err_t sim_phone_scan(struct sim_phone *p, struct slice text)
{
    enum { NO_PLACE = 406 };
    AUTO(qr) q = {0};
    struct crypto_key noise, companion;

    ENSURE(p->conn != NULL, NOT_CONNECTED);
    TRY(parse_qr(text, &q));
    memcpy(noise.bytes, q.noise.data, sizeof noise.bytes);
    memcpy(companion.bytes, q.identity.data, sizeof companion.bytes);
    sim_phone_grant(p, q.ref, &noise, &companion, q.secret.data);
    sim_phones_pump(p->phones); /* a refusal by the server is known at once */
    if (p->scan != SIM_SCAN_REFUSED) return OK;
    if (p->scan_error == NO_PLACE)
        return fail(STORE_LOCKED, "the account has %d devices; remove one", SIM_DEVICES_MAX);
    return fail(NOT_FOUND, "nobody shows this code");
}

void sim_phone_share_keys(struct sim_phone *p, struct wa_jid companion)
{
    AUTO(arena) arena = {0};
    struct sim_app_key key = {.id = p->app_key_id,
                              .data = p->app_key,
                              .at_ms = p->app_key_at,
                              .raw_id = p->raw_id,
                              .current_index = p->last_index};

    sim_phone_send_peer(p, companion, sim_content_key_share(&arena, &key));
}

static void send_history(struct sim_phone *p, struct wa_jid companion)
{
    static const int types[] = {WA__HISTORY_SYNC__HISTORY_SYNC_TYPE__INITIAL_BOOTSTRAP,
                                WA__HISTORY_SYNC__HISTORY_SYNC_TYPE__RECENT,
                                WA__HISTORY_SYNC__HISTORY_SYNC_TYPE__PUSH_NAME};
    AUTO(arena) arena = {0};

    for (size_t i = 0; i < ARRAY_LEN(types); i++)
        sim_phone_send_peer(p, companion,
                            sim_content_history(&arena, types[i], slice_text(p->account->number),
                                                slice_text(p->account->lid),
                                                slice_text(p->account->name)));
}

/* The number may have been another's long ago, and a session with that one is of no use. */
static void forget_predecessor(struct sim_phone *p, struct wa_jid companion)
{
    AUTO(arena) arena = {0};
    struct wa_address address = sim_phone_address(p, &arena, companion);

    if (wa_session_delete(&p->keystore, &arena, &address) != OK) err_clear();
}

void sim_phone_on_linked(struct sim_phone *p, const struct wa_node *iq)
{
    const struct wa_node *device = wa_node_child(iq, "device");
    const struct wa_node *error = wa_node_child(iq, "error");
    struct wa_jid companion;

    p->scan_iq[0] = 0;
    p->scan = device ? SIM_SCAN_DONE : SIM_SCAN_REFUSED;
    p->scan_error = 0;
    if (error && text_u64(wa_node_text(error, "code"), &p->scan_error) != OK) p->scan_error = 0;
    if (!device) return;
    companion = wa_node_jid(device, "jid");
    forget_predecessor(p, companion);
    sim_phone_share_keys(p, companion);
    send_history(p, companion);
    if (p->phones->on_paired) p->phones->on_paired(p->phones->ctx, p, companion);
}
