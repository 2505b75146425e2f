/* The end of the handshake: who is it, may it in, and what waited for it. */
#include "tools/sim/faults.h"
#include "tools/sim/rules.h"

#include <stdio.h>
#include <stdlib.h>

#include "proto/schema/unpack.h"

/* ---- backlog ---- */

static void send_queued(struct sim_conn *c, struct sim_queued *q)
{
    struct arena *arena = &c->relay->arena;
    struct wa_node *n;

    if (wa_node_decode(buf_slice(&q->stanza), arena, &n) != OK) return;
    if (q->backlog) wa_node_set_int(n, arena, "offline", c->backlog_left);
    q->sent = true;
    q->sent_ms = c->relay->now_ms;
    sim_conn_send(c, n);
}

static void send_offline_end(struct sim_conn *c)
{
    struct arena *arena = &c->relay->arena;
    struct wa_node *ib = wa_node_new(arena, "ib");

    wa_node_set_jid(ib, arena, "from", wa_jid_server());
    wa_node_set_int(wa_node_add(ib, arena, "offline"), arena, "count", c->backlog_total);
    sim_conn_send(c, ib);
}

/* What came while the backlog was on its way follows it, in order. */
static void send_live(struct sim_conn *c)
{
    LIST_EACH(l, &c->device->queue)
    {
        struct sim_queued *q = LIST_ENTRY(l, struct sim_queued, link);

        if (!q->sent) send_queued(c, q);
    }
}

static void drain(struct sim_conn *c)
{
    LIST_EACH(l, &c->device->queue)
    {
        struct sim_queued *q = LIST_ENTRY(l, struct sim_queued, link);

        if (!q->backlog || q->sent) continue;
        if (c->credit == 0 || c->phase != SIM_OPEN) return;
        c->credit--;
        c->backlog_left--;
        send_queued(c, q);
    }
    if (c->phase != SIM_OPEN) return; /* a fault ended it meanwhile */
    c->draining = false;
    send_offline_end(c);
    send_live(c);
}

static void on_grace_over(struct sim_relay *r, struct sim_timer *t)
{
    struct sim_conn *c = sim_conn_find(r, t->conn);

    if (!c || !c->draining || c->phase != SIM_OPEN || c->has_pulled) return;
    c->credit = UINT32_MAX;
    drain(c);
}

void sim_backlog_pull(struct sim_conn *c, uint32_t count)
{
    if (!c->draining) return;
    c->has_pulled = true;
    c->credit = c->credit + count < c->credit ? UINT32_MAX : c->credit + count;
    drain(c);
}

static void send_preview(struct sim_conn *c, const uint32_t counts[4])
{
    static const char *const names[] = {"message", "receipt", "notification", "call"};
    struct arena *arena = &c->relay->arena;
    struct wa_node *ib = wa_node_new(arena, "ib"), *preview;

    wa_node_set_jid(ib, arena, "from", wa_jid_server());
    preview = wa_node_add(ib, arena, "offline_preview");
    wa_node_set_int(preview, arena, "count", c->backlog_total);
    for (size_t i = 0; i < 4; i++)
        wa_node_set_int(preview, arena, names[i], counts[i]);
    wa_node_set(preview, arena, "appdata", SLICE("0"));
    sim_conn_send(c, ib);
}

void sim_backlog_start(struct sim_conn *c)
{
    uint32_t counts[4] = {0};

    LIST_EACH(l, &c->device->queue)
    {
        struct sim_queued *q = LIST_ENTRY(l, struct sim_queued, link);

        q->backlog = true;
        q->sent = false;
        counts[q->kind]++;
        c->backlog_total++;
    }
    c->backlog_left = c->backlog_total;
    c->draining = true;
    c->credit = c->local ? UINT32_MAX : SIM_PRIMER;
    send_preview(c, counts);
    drain(c);
    if (c->draining) sim_after(c->relay, c->relay->options.offline_grace_ms, on_grace_over, c->id);
}

/* ---- login ---- */

static void take_over(struct sim_conn *c, struct sim_device *dev)
{
    if (dev->conn && dev->conn != c) sim_conn_stream_error(dev->conn, NULL, "replaced");
    c->device = dev;
    dev->conn = c;
    c->phase = SIM_OPEN;
}

static void send_success(struct sim_conn *c)
{
    struct arena *arena = &c->relay->arena;
    struct wa_node *success = wa_node_new(arena, "success");

    wa_node_set_int(success, arena, "t", sim_seconds(c->relay));
    wa_node_set_jid(success, arena, "lid", sim_device_jid(c->device, true));
    wa_node_set_text(success, arena, "display_name", c->device->account->name);
    wa_node_set(success, arena, "location", SLICE("sim"));
    sim_conn_send(c, success);
}

static void on_beat(struct sim_relay *r, struct sim_timer *t)
{
    struct sim_conn *c = sim_conn_find(r, t->conn);

    if (!c || c->phase != SIM_OPEN || sim_queue_claim(c)) return;
    if (r->options.ping) sim_conn_ping(c);
    sim_after(r, SIM_BEAT_MS, on_beat, c->id);
}

static void log_in(struct sim_conn *c, const Wa__ClientPayload *payload)
{
    struct sim_relay *r = c->relay;
    struct sim_fault f;
    char number[SIM_NUMBER_MAX];
    struct sim_device *dev;

    if (!sim_rules_hold_payload(c, SIM_SCOPE_LOGIN, payload)) return;
    snprintf(number, sizeof number, "%llu", (unsigned long long)payload->username);
    dev = sim_device_find(sim_account_find(&r->people, slice_text(number)), payload->device);
    if (sim_fault_take(r, SIM_FAULT_FAILURE, dev, &f)) {
        sim_conn_failure(c, (int)f.value, f.text[0] ? "101" : NULL, f.text[0] ? f.text : NULL);
        return;
    }
    take_over(c, dev);
    send_success(c);
    sim_backlog_start(c);
    sim_after(r, SIM_BEAT_MS, on_beat, c->id);
    if (r->host.logged_in) r->host.logged_in(r->host.ctx, dev);
}

static void register_new(struct sim_conn *c, const Wa__ClientPayload *payload)
{
    const Wa__ClientPayload__DevicePairingRegistrationData *data = payload->device_pairing_data;
    struct sim_registration *reg;

    if (!sim_rules_hold_payload(c, SIM_SCOPE_REGISTRATION, payload)) return;
    reg = c->registration = xcalloc(sizeof *reg);
    reg->started_ms = c->relay->now_ms;
    memcpy(reg->bundle.registration, data->e_regid.data, 4);
    memcpy(reg->bundle.identity, data->e_ident.data, 32);
    reg->bundle.signed_id =
        data->e_skey_id.data[0] << 16 | data->e_skey_id.data[1] << 8 | data->e_skey_id.data[2];
    memcpy(reg->bundle.signed_public, data->e_skey_val.data, 32);
    memcpy(reg->bundle.signed_signature, data->e_skey_sig.data, 64);
    buf_put(&reg->props, slice_of(data->device_props.data, data->device_props.len));
    sim_pairing_start(c);
}

void sim_on_payload(struct sim_conn *c, struct slice in)
{
    AUTO(arena) arena = {0};
    const Wa__ClientPayload *payload;

    if (WA_UNPACK(wa__client_payload, in, &arena, &payload) != OK) {
        err_clear();
        sim_conn_failure(c, 400, NULL, NULL);
        return;
    }
    if (sim_rules_hold_payload(c, SIM_SCOPE_PAYLOAD, payload)) {
        if (payload->device_pairing_data)
            register_new(c, payload);
        else
            log_in(c, payload);
    }
}
