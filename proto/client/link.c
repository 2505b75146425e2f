/* From bytes to stanzas and back. One frame becomes one stanza, worked on in an arena of its own;
 * a stanza may end the link, so the loop looks at the phase after each. */
#include "proto/client/link.h"

#include <stdlib.h>

#include "proto/client/ask_phone.h"
#include "proto/client/iq.h"
#include "proto/client/login.h"
#include "proto/client/message_out.h"
#include "proto/client/pair_qr.h"
#include "proto/client/stanzas.h"

static const struct {
    const char *tag;
    wa_stanza_fn *handler;
} stanzas[] = {
#define STANZA(tag, handler) {tag, handler},
#include "proto/client/stanzas.def"
#undef STANZA
};

wa_stanza_fn *wa_stanza_handler(struct slice tag)
{
    for (size_t i = 0; i < ARRAY_LEN(stanzas); i++)
        if (slice_is(tag, stanzas[i].tag)) return stanzas[i].handler;
    return NULL;
}

/* ---- the end ---- */

static const bool timer_is_of_link[] = {
#define TIMER(name, handler, of_link) [WA_TIMER_##name] = of_link,
#include "proto/client/timers.def"
#undef TIMER
};

static void forget_link(struct wa_client *c)
{
    if (c->handshake) wa_handshake_wipe(c->handshake);
    free(c->handshake);
    c->handshake = NULL;
    wa_frames_done(&c->frames);
    wa_pairing_free(c);
    wa_asks_free(c);
    for (int t = 0; t < WA_TIMER_COUNT; t++)
        if (timer_is_of_link[t]) c->timers[t] = WA_NEVER;
    c->offline_left = 0;
    c->announced = false;
    c->uploading = false;
    if (c->has_held) wa_backoff_reset(&c->backoff);
    c->has_held = false;
    if (c->state == WA_CLIENT_ONLINE) c->state = WA_CLIENT_OFFLINE;
}

err_t wa_link_drop(struct wa_client *c)
{
    if (c->phase != WA_PHASE_DOWN && c->phase != WA_PHASE_CLOSING) {
        wa_send_close(c);
        c->phase = WA_PHASE_CLOSING;
    }
    forget_link(c);

    err_t gone = ERR_NOT_CONNECTED;
    TRY(wa_iq_drop_all(c, gone));
    return wa_sends_drop(c, gone);
}

void wa_link_want(struct wa_client *c, int64_t at)
{
    c->wants_link = true;
    c->link_at = at;
}

static void plan(struct wa_client *c, const struct wa_end *end)
{
    switch (end->retry) {
    case WA_RETRY_STOP:
        c->wants_link = false;
        c->link_at = 0;
        break;
    case WA_RETRY_NOW: wa_link_want(c, c->now); break;
    case WA_RETRY_AT: wa_link_want(c, end->retry_at); break;
    case WA_RETRY_BACKOFF:
        wa_link_want(c, c->now + wa_backoff_next(&c->backoff, wa_random_u32(c)));
        break;
    }
}

/* What must not be forgotten with the process; a login takes it back. */
static void keep_held_off(struct wa_client *c, const struct wa_end *end)
{
    if (!c->account.paired || (end->retry != WA_RETRY_STOP && !end->until_s)) return;
    c->account.held_off = (struct wa_held_off){
        .reason = (uint8_t)end->reason, .code = (uint32_t)end->code, .until_s = end->until_s};
    wa_save_account(c);
}

err_t wa_link_end(struct wa_client *c, const struct wa_end *end)
{
    bool news = c->announced || c->told != end->reason || c->told_code != end->code ||
                end->until_s; /* another end of a ban is news */

    TRY(wa_link_drop(c));
    if (c->logging_out) return wa_unpair(c, WA_REASON_BY_USER, 0);
    plan(c, end);
    keep_held_off(c, end);
    if (!news) return OK;

    struct wa_event e = {.kind = WA_EVENT_DISCONNECTED,
                         .down = {.reason = end->reason,
                                  .code = end->code,
                                  .until_s = end->until_s,
                                  .retry_at = c->wants_link ? c->link_at : 0,
                                  .refusal = end->refusal}};
    c->told = end->reason;
    c->told_code = end->code;
    wa_emit(c, &e);
    return OK;
}

err_t wa_unpair(struct wa_client *c, enum wa_reason reason, int code)
{
    return wa_unpair_refused(c, reason, code, SLICE_NONE);
}

err_t wa_unpair_refused(struct wa_client *c, enum wa_reason reason, int code, struct slice refusal)
{
    struct wa_event e = {.kind = c->account.paired ? WA_EVENT_UNPAIRED : WA_EVENT_PAIR_FAILED,
                         .down = {.reason = c->logging_out ? WA_REASON_BY_USER : reason,
                                  .code = code,
                                  .refusal = refusal}};

    c->logging_out = false;
    c->wants_link = false;
    TRY(wa_link_drop(c));
    wa_save(c, WA_NS_ACCOUNT, SLICE(""), SLICE(""), SLICE_NONE);
    c->state = c->account.paired ? WA_CLIENT_LOGGED_OUT : WA_CLIENT_NEW;
    wa_account_done(&c->account);
    for (int t = 0; t < WA_TIMER_COUNT; t++)
        c->timers[t] = WA_NEVER;
    wa_emit(c, &e);
    return OK;
}

/* ---- the beginning ---- */

err_t wa_link_open(struct wa_client *c, uint32_t link)
{
    AUTO(buf) hello = {0};
    AUTO(buf) out = {0};
    struct crypto_pair ephemeral;

    TRY(wa_link_drop(c));
    if (!c->wants_link) {
        c->link = link;
        c->phase = WA_PHASE_CLOSING;
        wa_send_close(c);
        return OK;
    }
    c->link = link;
    c->phase = WA_PHASE_HANDSHAKE;
    c->iq_prefix = wa_random_u32(c) % 1000000;
    c->iq_count = 0;
    wa_transport_wipe(&c->transport);
    wa_frames_init(&c->frames);
    wa_frames_limit(&c->frames, WA_HANDSHAKE_MAX);

    c->handshake = xcalloc(sizeof(*c->handshake));
    wa_new_pair(&c->keystore, &ephemeral);
    wa_handshake_start(c->handshake, &ephemeral, &hello);
    crypto_wipe(&ephemeral, sizeof(ephemeral));

    wa_frame_put_intro(buf_slice(&c->account.routing), &out);
    TRY(wa_frame_put(buf_slice(&hello), &out));
    wa_send_bytes(c, buf_slice(&out));
    wa_timer_set(c, WA_TIMER_HANDSHAKE, c->now + WA_HANDSHAKE_TIMEOUT_MS);
    return OK;
}

static err_t finish_handshake(struct wa_client *c, struct slice server_hello)
{
    AUTO(buf) payload = {0};
    AUTO(buf) finish = {0};
    AUTO(buf) out = {0};
    struct wa_trust trust = {.root = c->config->root_key,
                             .check_validity = c->config->check_validity,
                             .now_s = c->now / 1000};

    TRY(wa_login_payload(c, &payload));
    TRY(wa_handshake_answer(c->handshake, server_hello, &trust, &c->account.noise,
                            buf_slice(&payload), &finish, &c->transport));
    wa_handshake_wipe(c->handshake);
    free(c->handshake);
    c->handshake = NULL;

    TRY(wa_frame_put(buf_slice(&finish), &out));
    wa_send_bytes(c, buf_slice(&out));
    wa_frames_limit(&c->frames, WA_FRAME_MAX);
    c->phase = WA_PHASE_ENTERING;
    wa_timer_set(c, WA_TIMER_HANDSHAKE, c->now + WA_ENTER_TIMEOUT_MS);
    return OK;
}

static err_t on_server_hello(struct wa_client *c, struct slice payload)
{
    err_t e = finish_handshake(c, payload);

    if (e == OK || wa_is_fatal(e)) return e;
    struct wa_end end = {.reason =
                             e == ERR_BAD_CERTIFICATE ? WA_REASON_CERTIFICATE : WA_REASON_PROTOCOL};
    return wa_link_end(c, &end);
}

/* ---- stanzas ---- */

/* Bytes that make no sense end the link; our own trouble with them (NO_MEMORY) ends the turn. */
static err_t unreadable(struct wa_client *c, err_t why)
{
    if (wa_is_fatal(why)) return why;
    struct wa_end end = {.reason = WA_REASON_PROTOCOL};
    return wa_link_end(c, &end);
}

static err_t on_frame(struct wa_client *c, struct slice sealed)
{
    AUTO(buf) plain = {0};
    struct wa_node *stanza;
    err_t e = wa_transport_open(&c->transport, sealed, &plain);

    if (e == OK) e = wa_node_decode(buf_slice(&plain), c->arena, &stanza);
    if (e != OK) return unreadable(c, e);

    wa_stanza_fn *handler = wa_stanza_handler(stanza->tag);
    e = handler ? handler(c, stanza) : OK;
    return wa_is_fatal(e) ? e : OK;
}

static bool reads(const struct wa_client *c)
{
    return c->phase != WA_PHASE_DOWN && c->phase != WA_PHASE_CLOSING;
}

err_t wa_link_feed(struct wa_client *c, struct slice bytes)
{
    AUTO(arena) own = {0};
    struct arena *outer = c->arena;
    struct slice frame;
    err_t e;

    if (!reads(c)) return OK;
    e = wa_frames_feed(&c->frames, bytes);
    if (e != OK) return unreadable(c, e);
    c->received_at = c->now;
    wa_timer_set(c, WA_TIMER_DEAD, WA_NEVER);

    while (e == OK && reads(c) && wa_frames_next(&c->frames, &frame)) {
        wa_arena_set(c, &own);
        e = c->phase == WA_PHASE_HANDSHAKE ? on_server_hello(c, frame) : on_frame(c, frame);
        arena_wipe(&own); /* sessions and keys were in it */
    }
    wa_arena_set(c, outer);
    return e;
}

err_t wa_link_lost(struct wa_client *c)
{
    struct wa_end end = {.reason = WA_REASON_LINK};
    bool by_us = c->phase == WA_PHASE_CLOSING;

    c->phase = WA_PHASE_DOWN;
    wa_transport_wipe(&c->transport);
    if (by_us || !c->wants_link) return wa_link_drop(c);
    return wa_link_end(c, &end);
}
