/* One connection: frames, handshake, Noise, and the way out, where most faults strike. */
#include "tools/sim/faults.h"
#include "tools/sim/relay.h"

#include <stdio.h>

/* ---- out ---- */

static void write_bytes(struct sim_conn *c, struct slice bytes)
{
    c->relay->host.write(c->relay->host.ctx, c->socket, bytes);
}

static void on_end_due(struct sim_relay *r, struct sim_timer *t)
{
    struct sim_conn *c = sim_conn_find(r, t->conn);

    if (c && !c->local) r->host.close(r->host.ctx, c->socket);
}

void sim_conn_end(struct sim_conn *c, int64_t in_ms)
{
    c->phase = SIM_CLOSING;
    if (c->device && c->device->conn == c) c->device->conn = NULL;
    sim_after(c->relay, in_ms, on_end_due, c->id);
}

/* The frame as it goes to the socket, mangled when a fault says so. */
static void write_frame(struct sim_conn *c, struct slice frame, struct slice tag)
{
    struct sim_relay *r = c->relay;
    struct sim_device *dev = c->device;

    if (sim_fault_take_tag(r, SIM_FAULT_CORRUPT, dev, tag, NULL))
        ((uint8_t *)frame.data)[frame.len / 2] ^= 1;
    if (sim_fault_take_tag(r, SIM_FAULT_JOIN, dev, tag, NULL)) {
        buf_put(&c->held, frame);
        return;
    }
    if (sim_fault_take_tag(r, SIM_FAULT_CUT, dev, tag, NULL)) {
        write_bytes(c, slice_sub(frame, 0, frame.len / 2));
        sim_conn_end(c, 0);
        return;
    }
    if (c->held.len > 0) {
        buf_put(&c->held, frame);
        write_bytes(c, buf_slice(&c->held));
        buf_reset(&c->held);
        return;
    }
    if (sim_fault_take_tag(r, SIM_FAULT_SPLIT, dev, tag, NULL)) {
        write_bytes(c, slice_sub(frame, 0, 5));
        frame = slice_from(frame, 5);
    }
    write_bytes(c, frame);
}

static void seal_and_write(struct sim_conn *c, struct slice stanza, struct slice tag)
{
    AUTO(buf) frame = {0};

    if (c->local) {
        c->relay->host.deliver(c->relay->host.ctx, c, stanza);
        return;
    }
    if (wa_transport_seal(&c->transport, stanza, &frame) != OK) {
        sim_conn_end(c, 0); /* the counter is used up */
        return;
    }
    write_frame(c, buf_slice(&frame), tag);
}

static bool can_send(const struct sim_conn *c)
{
    return c->phase == SIM_OPEN || c->phase == SIM_PAIRING;
}

static void on_delayed(struct sim_relay *r, struct sim_timer *t)
{
    struct sim_conn *c = sim_conn_find(r, t->conn);

    if (c && can_send(c)) seal_and_write(c, buf_slice(&t->bytes), SLICE_NONE);
}

static void flip_encs(struct wa_node *n, struct arena *arena)
{
    for (size_t i = 0; i < n->child_count; i++) {
        struct wa_node *enc = &n->children[i];

        if (!wa_node_is(enc, "enc") || enc->bytes.len == 0) continue;
        enc->bytes = arena_dup(arena, enc->bytes);
        ((uint8_t *)enc->bytes.data)[enc->bytes.len - 1] ^= 0x55;
    }
}

/* Encodes and sends, unless a fault has other plans. Phones get what was meant for them. */
void sim_conn_send(struct sim_conn *c, const struct wa_node *n)
{
    struct sim_relay *r = c->relay;
    struct sim_device *dev = c->device;
    struct wa_node copy = *n;
    struct sim_fault f;
    char who[SIM_TRACE_WHO_MAX];
    AUTO(buf) stanza = {0};

    if (!can_send(c)) return;
    if (!c->local && sim_fault_take_tag(r, SIM_FAULT_DROP, dev, n->tag, NULL)) return;
    if (!c->local && sim_fault_take_tag(r, SIM_FAULT_WRONG_MAC, dev, n->tag, NULL)) {
        copy.children = (struct wa_node *)(void *)arena_dup(
                            &r->arena, slice_of(n->children, n->child_count * sizeof *n->children))
                            .data;
        flip_encs(&copy, &r->arena);
    }
    if (!c->local && sim_fault_take_tag(r, SIM_FAULT_COMPRESS, dev, n->tag, NULL))
        wa_node_encode_compressed(&copy, &stanza);
    else
        wa_node_encode(&copy, &stanza);
    sim_trace_add(&r->trace, r->now_ms, sim_conn_name(c, who), false, buf_slice(&stanza));
    if (!c->local && sim_fault_take_tag(r, SIM_FAULT_DELAY, dev, n->tag, &f)) {
        buf_put(&sim_after(r, f.value, on_delayed, c->id)->bytes, buf_slice(&stanza));
        return;
    }
    seal_and_write(c, buf_slice(&stanza), c->local ? SLICE_NONE : n->tag);
    if (!c->local && sim_fault_take_tag(r, SIM_FAULT_DUPLICATE, dev, n->tag, NULL))
        seal_and_write(c, buf_slice(&stanza), SLICE_NONE);
}

void sim_conn_stream_error(struct sim_conn *c, const char *code, const char *conflict)
{
    enum { LINGER_MS = 250 };
    struct arena *arena = &c->relay->arena;
    struct wa_node *error = wa_node_new(arena, "stream:error");

    wa_node_set_text(error, arena, "code", code);
    if (conflict && strcmp(conflict, "xml-not-well-formed") == 0)
        wa_node_add(error, arena, conflict);
    else if (conflict)
        wa_node_set_text(wa_node_add(error, arena, "conflict"), arena, "type", conflict);
    sim_conn_send(c, error);
    sim_conn_end(c, LINGER_MS);
}

void sim_conn_failure(struct sim_conn *c, int reason, const char *code, const char *expire)
{
    enum { LINGER_MS = 250 };
    struct arena *arena = &c->relay->arena;
    struct wa_node *failure = wa_node_new(arena, "failure");

    wa_node_set_int(failure, arena, "reason", reason);
    wa_node_set(failure, arena, "location", SLICE("sim"));
    wa_node_set_text(failure, arena, "code", code);
    wa_node_set_text(failure, arena, "expire", expire);
    c->phase = SIM_OPEN; /* the ciphers stand, that is all a failure needs */
    sim_conn_send(c, failure);
    sim_conn_end(c, LINGER_MS);
}

void sim_conn_ping(struct sim_conn *c)
{
    struct arena *arena = &c->relay->arena;
    struct wa_node *iq = wa_node_new(arena, "iq");

    wa_node_set_jid(iq, arena, "from", wa_jid_server());
    wa_node_set(iq, arena, "type", SLICE("get"));
    wa_node_set(iq, arena, "xmlns", SLICE("urn:xmpp:ping"));
    wa_node_set_int(iq, arena, "t", sim_seconds(c->relay));
    sim_conn_send(c, iq);
}

/* ---- in ---- */

static void stanza_in(struct sim_conn *c, struct slice stanza)
{
    struct wa_node *n;
    char who[SIM_TRACE_WHO_MAX];

    if (wa_node_decode(stanza, &c->relay->arena, &n) != OK) {
        sim_note(c, err_trail());
        if (can_send(c)) sim_conn_stream_error(c, NULL, "xml-not-well-formed");
        return;
    }
    sim_trace_add(&c->relay->trace, c->relay->now_ms, sim_conn_name(c, who), true, stanza);
    sim_on_stanza(c, n);
}

static void handshake_over(struct sim_conn *c, struct wa_server_result *result)
{
    memcpy(c->noise_key, result->client_static.bytes, sizeof c->noise_key);
    c->transport = result->transport;
    wa_frames_limit(&c->frames, SIM_STANZA_MAX);
    sim_on_payload(c, buf_slice(&result->payload));
}

/* A chain that somebody else signed; the leaf and the dates are right. */
static void forge_chain(struct sim_relay *r, struct buf *out)
{
    struct crypto_pair stranger;
    struct wa_cert_plan plan;

    crypto_pair_new(&stranger);
    wa_cert_plan(&plan, &stranger, &r->keys.intermediate, &r->keys.server.public,
                 sim_seconds(r) - 86400, sim_seconds(r) + 86400);
    wa_cert_make(&plan, out);
}

static err_t on_hello(struct sim_conn *c, struct slice hello)
{
    struct sim_relay *r = c->relay;
    struct wa_server_keys keys = {.static_pair = r->keys.server, .chain = buf_slice(&r->chain)};
    struct wa_server_result result = {0};
    struct crypto_pair ephemeral;
    AUTO(buf) answer = {0};
    AUTO(buf) frame = {0};
    AUTO(buf) forged = {0};
    bool over = false;
    err_t e;

    keys.decline_ik = sim_fault_take(r, SIM_FAULT_DECLINE_IK, NULL, NULL);
    if (sim_fault_take(r, SIM_FAULT_BAD_CERTIFICATE, NULL, NULL)) {
        forge_chain(r, &forged);
        keys.chain = buf_slice(&forged);
    }
    crypto_pair_new(&ephemeral);
    e = wa_server_hello(&c->handshake, &keys, &ephemeral, hello, &answer, &over, &result);
    if (e == OK) e = wa_frame_put(buf_slice(&answer), &frame);
    if (e == OK) {
        write_bytes(c, buf_slice(&frame));
        c->phase = SIM_FINISH;
        if (over) handshake_over(c, &result);
    }
    wa_server_result_done(&result);
    return e;
}

static err_t on_finish(struct sim_conn *c, struct slice finish)
{
    struct wa_server_result result = {0};
    err_t e = wa_server_finish(&c->handshake, finish, &result);

    if (e == OK) handshake_over(c, &result);
    wa_server_result_done(&result);
    return e;
}

static err_t on_sealed(struct sim_conn *c, struct slice sealed)
{
    AUTO(buf) stanza = {0};

    TRY(wa_transport_open(&c->transport, sealed, &stanza));
    stanza_in(c, buf_slice(&stanza));
    return OK;
}

static err_t on_frame(struct sim_conn *c, struct slice frame)
{
    switch (c->phase) {
    case SIM_HELLO: return on_hello(c, frame);
    case SIM_FINISH: return on_finish(c, frame);
    case SIM_PAIRING:
    case SIM_OPEN: return on_sealed(c, frame);
    case SIM_CLOSING: return OK; /* clients still talk while our 515 is in flight */
    }
    return OK;
}

static err_t feed(struct sim_conn *c, struct slice bytes)
{
    struct slice frame;

    TRY(wa_frames_feed(&c->frames, bytes));
    while (wa_frames_next(&c->frames, &frame)) {
        arena_reset(&c->relay->arena);
        TRY(on_frame(c, frame));
    }
    return OK;
}

void sim_conn_bytes(struct sim_conn *c, struct slice bytes, int64_t now_ms)
{
    c->relay->now_ms = now_ms;
    if (c->phase == SIM_CLOSING || feed(c, bytes) == OK) return;
    sim_note(c, err_trail());
    sim_conn_end(c, 0);
}

void sim_conn_stanza(struct sim_conn *c, struct slice stanza, int64_t now_ms)
{
    c->relay->now_ms = now_ms;
    arena_reset(&c->relay->arena);
    if (c->phase == SIM_OPEN) stanza_in(c, stanza);
}
