/* Pairing by QR: references for the companion, the scan of a phone, the companion's signature, the
 * restart. The relay checks what a phone would: nothing signed by a stranger becomes a device. */
#include "tools/sim/adv.h"
#include "tools/sim/iq.h"
#include "tools/sim/rules.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- references ---- */

void sim_make_ref(struct sim_relay *r, char out[SIM_REF_BYTES + 1])
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

    memcpy(out, "2@", 2);
    for (size_t i = 2; i < SIM_REF_BYTES; i++)
        out[i] = alphabet[sim_random(r) & 63];
    out[SIM_REF_BYTES] = 0;
}

/* "md" iq of the server; its id is kept for the client's answer. */
static struct wa_node *md_iq(struct sim_conn *c)
{
    struct arena *arena = &c->relay->arena;
    struct wa_node *iq = wa_node_new(arena, "iq");
    struct slice id = sim_new_id(c->relay);

    snprintf(c->registration->iq, sizeof c->registration->iq, SLICE_FMT, SLICE_ARG(id));
    wa_node_set_jid(iq, arena, "from", wa_jid_server());
    wa_node_set(iq, arena, "type", SLICE("set"));
    wa_node_set(iq, arena, "id", id);
    wa_node_set(iq, arena, "xmlns", SLICE("md"));
    wa_node_set_int(iq, arena, "t", sim_seconds(c->relay));
    return iq;
}

void sim_pairing_start(struct sim_conn *c)
{
    struct arena *arena = &c->relay->arena;
    struct sim_registration *reg = c->registration;
    struct wa_node *iq, *pair;

    c->phase = SIM_PAIRING;
    iq = md_iq(c);
    pair = wa_node_add(iq, arena, "pair-device");
    for (size_t i = 0; i < SIM_REFS; i++) {
        sim_make_ref(c->relay, reg->refs[i]);
        map_put(&c->relay->refs, slice_text(reg->refs[i]), c);
        wa_node_set_bytes(wa_node_add(pair, arena, "ref"), slice_text(reg->refs[i]));
    }
    sim_conn_send(c, iq);
}

/* Ends the pairing, finished or not. */
void sim_pairing_done(struct sim_conn *c)
{
    struct sim_registration *reg = c->registration;

    for (size_t i = 0; i < SIM_REFS; i++)
        map_remove(&c->relay->refs, slice_text(reg->refs[i]));
    if (reg->code_ref[0]) map_remove(&c->relay->refs, slice_text(reg->code_ref));
    free(reg->bundle.prekeys);
    buf_done(&reg->props);
    buf_done(&reg->details);
    buf_done(&reg->key_indexes);
    free(reg);
    c->registration = NULL;
}

/* ---- the phone's half ---- */

/* The first reference is shown 60 s, each further one 20 s; a slow scan gets 20 s more. */
static bool is_ref_fresh(const struct sim_conn *c, struct slice ref)
{
    enum { FIRST_MS = 60000, NEXT_MS = 20000, SLACK_MS = 20000 };

    if (slice_is(ref, c->registration->code_ref)) return sim_code_is_fresh(c);
    for (size_t i = 0; i < SIM_REFS; i++)
        if (slice_is(ref, c->registration->refs[i]))
            return c->relay->now_ms - c->registration->started_ms <=
                   FIRST_MS + (int64_t)i * NEXT_MS + SLACK_MS;
    return false;
}

static struct sim_conn *find_scanned(struct sim_conn *phone, const struct wa_node *pair)
{
    struct slice ref = wa_node_child_bytes(pair, "ref");
    struct sim_conn *c = map_find(&phone->relay->refs, ref);

    if (!c || c->phase != SIM_PAIRING || c->registration->scanned || !is_ref_fresh(c, ref))
        return NULL;
    return slice_eq(wa_node_child_bytes(pair, "pub-key"), SLICE_ARRAY(c->noise_key)) ? c : NULL;
}

static void send_pair_success(struct sim_conn *c, struct slice container)
{
    struct arena *arena = &c->relay->arena;
    struct sim_registration *reg = c->registration;
    struct wa_jid pn = sim_account_jid(reg->account, false),
                  lid = sim_account_jid(reg->account, true);
    struct wa_node *iq = md_iq(c), *success = wa_node_add(iq, arena, "pair-success"), *device;

    pn.device = lid.device = reg->device_id;
    wa_node_set_bytes(wa_node_add(success, arena, "device-identity"), container);
    device = wa_node_add(success, arena, "device");
    wa_node_set_jid(device, arena, "jid", pn);
    wa_node_set_jid(device, arena, "lid", lid);
    wa_node_set(wa_node_add(success, arena, "platform"), arena, "name", SLICE("android"));
    sim_conn_send(c, iq);
}

static bool take_scan(struct sim_conn *c, struct sim_conn *phone, const struct wa_node *iq)
{
    const struct wa_node *pair = wa_node_child(iq, "pair-device");
    const struct wa_node *indexes = wa_node_child(pair, "key-index-list");
    struct sim_registration *reg = c->registration;
    struct wa_attrs a = wa_attrs_of(indexes);

    if (!indexes ||
        !sim_adv_open_container(wa_node_child_bytes(pair, "device-identity"), &reg->details,
                                reg->account_key, &reg->key_index, &reg->hosted))
        return false;
    reg->account = phone->device->account;
    reg->device_id = sim_device_reserve(reg->account);
    if (reg->device_id == 0) return false;
    buf_put(&reg->key_indexes, indexes->bytes);
    reg->key_indexes_at = (int64_t)wa_attr_int_or(&a, "ts", 0);
    reg->phone_conn = phone->id;
    snprintf(reg->phone_iq, sizeof reg->phone_iq, SLICE_FMT, SLICE_ARG(wa_node_text(iq, "id")));
    reg->scanned = true;
    return true;
}

/* A phone has scanned: <pair-device> with <ref>, <pub-key> (the companion's Noise key),
 * <device-identity> (the HMAC container) and <key-index-list ts>. */
void sim_on_link_device(struct sim_conn *phone, const struct wa_node *iq)
{
    const struct wa_node *pair = wa_node_child(iq, "pair-device");
    struct sim_conn *c = find_scanned(phone, pair);

    if (phone->device->id != 0) {
        sim_iq_error(phone, iq, 403, "forbidden");
    } else if (!c) {
        sim_iq_error(phone, iq, 404, "item-not-found");
    } else if (!take_scan(c, phone, iq)) {
        sim_iq_error(phone, iq, 406, "not-acceptable");
    } else {
        send_pair_success(c, wa_node_child_bytes(pair, "device-identity"));
    }
}

/* ---- the companion's half ---- */

static void answer_phone(struct sim_conn *c, const char *error)
{
    struct arena *arena = &c->relay->arena;
    const struct sim_registration *reg = c->registration;
    struct sim_conn *phone = sim_conn_find(c->relay, reg->phone_conn);
    struct wa_node *iq = wa_node_new(arena, "iq"), *child;
    struct wa_jid jid = sim_account_jid(reg->account, false);

    if (!phone) return;
    jid.device = reg->device_id;
    wa_node_set_jid(iq, arena, "from", wa_jid_server());
    wa_node_set_text(iq, arena, "type", error ? "error" : "result");
    wa_node_set_text(iq, arena, "id", reg->phone_iq);
    child = wa_node_add(iq, arena, error ? "error" : "device");
    if (error) {
        wa_node_set(child, arena, "code", SLICE("401"));
        wa_node_set_text(child, arena, "text", error);
    } else {
        wa_node_set_jid(child, arena, "jid", jid);
    }
    sim_conn_send(phone, iq);
}

static struct sim_device *make_device(struct sim_conn *c, struct slice identity)
{
    struct sim_registration *reg = c->registration;
    struct sim_device *dev = sim_device_add(reg->account, reg->device_id);

    dev->bundle = reg->bundle;
    dev->key_index = reg->key_index;
    memcpy(dev->noise, c->noise_key, sizeof dev->noise);
    sim_adv_complete(identity, reg->account_key, &dev->identity);
    buf_reset(&reg->account->key_indexes);
    buf_put(&reg->account->key_indexes, buf_slice(&reg->key_indexes));
    reg->account->key_indexes_at = reg->key_indexes_at;
    return dev;
}

static void refuse_pairing(struct sim_conn *c, const char *why)
{
    answer_phone(c, why);
    sim_pairing_done(c);
    sim_conn_end(c, 0);
}

/* What a companion says to our iqs: "I got the references", then the signed identity. */
void sim_on_pair_sign(struct sim_conn *c, const struct wa_node *iq)
{
    struct sim_registration *reg = c->registration;
    const struct wa_node *sign = wa_node_child(iq, "pair-device-sign");
    struct sim_device *dev;

    if (!reg || !reg->scanned || !slice_is(wa_node_text(iq, "id"), reg->iq)) return;
    if (slice_is(wa_node_text(iq, "type"), "error")) {
        refuse_pairing(c, "the companion refused the identity");
        return;
    }
    if (!sim_rules_hold(c, SIM_SCOPE_SIGN, iq)) {
        refuse_pairing(c, "the companion's signature is wrong");
        return;
    }
    dev = make_device(c, wa_node_child_bytes(sign, "device-identity"));
    sim_changed(c->relay);
    answer_phone(c, NULL);
    sim_notify_devices(c->relay, dev->account, "add", dev);
    sim_pairing_done(c);
    sim_conn_stream_error(c, "515", NULL);
}

/* ---- the end of a device ---- */

void sim_device_unlink(struct sim_relay *r, struct sim_device *dev)
{
    struct sim_account *a = dev->account;
    struct sim_conn *c = dev->conn;

    if (c) sim_conn_stream_error(c, "401", "device_removed");
    list_remove(&dev->link);
    sim_notify_devices(r, a, "remove", dev);
    LIST_EACH(l, &r->conns)
    {
        struct sim_conn *other = LIST_ENTRY(l, struct sim_conn, link);

        if (other->device == dev) other->device = NULL; /* connections that are closing */
    }
    sim_device_free(dev);
    sim_changed(r);
}

void sim_on_remove_device(struct sim_conn *c, const struct wa_node *iq)
{
    const struct wa_node *remove = wa_node_child(iq, "remove-companion-device");
    struct sim_device *dev = sim_device_of(&c->relay->people, wa_node_jid(remove, "jid"));

    if (!dev || dev->account != c->device->account || dev->id == 0) {
        sim_iq_error(c, iq, 404, "item-not-found");
        return;
    }
    sim_conn_send(c, sim_iq_result(c, iq));
    sim_device_unlink(c->relay, dev);
}
