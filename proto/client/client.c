/* The doors of client.h: each opens an input, calls the file that knows, and closes it again.
 * Start at wa_client_recv(), which leads through link.c to the table of stanzas. */
#include "proto/client/client.h"

#include <stdio.h>
#include <stdlib.h>

#include "proto/client/ask_phone.h"
#include "proto/client/inside.h"
#include "proto/client/iq.h"
#include "proto/client/keepalive.h"
#include "proto/client/keys.h"
#include "proto/client/link.h"
#include "proto/client/login.h"
#include "proto/client/media_retry.h"
#include "proto/client/message_out.h"
#include "proto/client/offline.h"
#include "proto/client/pair_qr.h"
#include "proto/client/prekeys.h"
#include "proto/client/receipt.h"
#include "proto/client/signed_prekey.h"

static void bring_forward(struct wa_client *c, int64_t by)
{
    for (int t = 0; t < WA_TIMER_COUNT; t++)
        if (c->timers[t] != WA_NEVER) c->timers[t] -= by;
    wa_iq_bring_forward(c, by);
    wa_asks_bring_forward(c, by);
    c->received_at -= by;
    c->rotate_after -= by;
    c->server_ahead_ms += by;
    c->login_ahead_ms += by;
    if (!c->account.held_off.until_s) c->link_at -= by; /* a ban ends by the server's clock */
}

void wa_client_clock(struct wa_client *c, int64_t now)
{
    enum { STEP_MS = 1000 };
    int64_t by = c->now - now;

    c->now = now;
    if (by > STEP_MS) bring_forward(c, by);
}

/* Every input runs between these two: its arena and its time. */
static void enter(struct wa_client *c, struct arena *arena, int64_t now)
{
    wa_arena_set(c, arena);
    wa_client_clock(c, now);
}

/* Rows with secrets were read into the arena. */
static void forget(struct wa_client *c)
{
    arena_wipe(c->arena);
    wa_arena_set(c, NULL);
}

/* What a server or peer did wrong has been dealt with; only what ends the client gets out. */
static err_t leave(struct wa_client *c, err_t e)
{
    forget(c);
    if (wa_is_fatal(e)) return e;
    err_clear();
    return OK;
}

struct wa_client *wa_client_new(const struct wa_config *config, const struct wa_host *host)
{
    struct wa_client *c = xcalloc(sizeof(*c));

    c->config = config;
    c->host = *host;
    for (int t = 0; t < WA_TIMER_COUNT; t++)
        c->timers[t] = WA_NEVER;
    list_init(&c->queries);
    list_init(&c->sends);
    list_init(&c->asks);
    wa_keys_init(c);
    return c;
}

void wa_client_free(struct wa_client *c)
{
    if (!c) return;
    wa_iq_free(c);
    wa_sends_free(c);
    wa_asks_free(c);
    wa_pairing_free(c);
    wa_frames_done(&c->frames);
    if (c->handshake) wa_handshake_wipe(c->handshake);
    free(c->handshake);
    wa_transport_wipe(&c->transport);
    wa_account_done(&c->account);
    free(c);
}

/* The start of a process is its operator's act, so a refusal is tried once more; a ban has an end
 * to wait for. */
static void wait_out(struct wa_client *c)
{
    int64_t until_ms = c->account.held_off.until_s * 1000;

    if (until_ms > c->now) wa_link_want(c, until_ms);
}

static err_t open_account(struct wa_client *c)
{
    struct slice row;

    TRY(wa_load(c, WA_NS_ACCOUNT, SLICE(""), SLICE(""), &row));
    if (slice_is_none(row)) return fail(NOT_FOUND, "no account row");
    TRY(wa_account_decode(row, &c->account));
    wa_keys_ready(c);
    if (!c->account.paired) return OK;
    c->state = WA_CLIENT_OFFLINE;
    wa_link_want(c, c->now);
    wait_out(c);
    return OK;
}

err_t wa_client_open(struct wa_client *c, int64_t now)
{
    AUTO(arena) arena = {0};

    enter(c, &arena, now);
    err_t e = open_account(c);
    forget(c);
    return e;
}

err_t wa_client_pair(struct wa_client *c, int64_t now)
{
    AUTO(arena) arena = {0};

    enter(c, &arena, now);
    return leave(c, wa_pair_start(c));
}

/* ---- the link ---- */

enum wa_wish wa_client_wish(const struct wa_client *c, int64_t *out_at)
{
    *out_at = c->wants_link ? c->link_at : 0;
    return c->wants_link ? WA_WISH_LINK : WA_WISH_NONE;
}

err_t wa_client_link_up(struct wa_client *c, uint32_t link, int64_t now)
{
    AUTO(arena) arena = {0};

    enter(c, &arena, now);
    return leave(c, wa_link_open(c, link));
}

err_t wa_client_recv(struct wa_client *c, struct slice bytes, int64_t now)
{
    AUTO(arena) arena = {0};

    enter(c, &arena, now);
    return leave(c, wa_link_feed(c, bytes));
}

err_t wa_client_link_down(struct wa_client *c, const char *why, int64_t now)
{
    AUTO(arena) arena = {0};

    enter(c, &arena, now);
    return leave(c, wa_link_lost(c));
}

void wa_client_release(struct wa_client *c, const struct wa_send *send, int64_t now,
                       struct buf *out)
{
    wa_client_clock(c, now);
    if (send->link != c->link || c->phase == WA_PHASE_DOWN) return;
    if (send->kind == WA_SEND_BYTES) buf_put(out, send->bytes);
    if (send->kind != WA_SEND_STANZA) return;

    /* Sealing fails only at the end of the nonce counter. The frame is lost then, and the silence
     * that follows ends the link. */
    if (wa_transport_seal(&c->transport, send->bytes, out) != OK) err_clear();
    if (send->query && send->query != WA_SEND_ACKED) wa_iq_released(c, send->query, now);
    if (send->query) wa_keepalive_owed(c, now);
}

/* ---- time ---- */

static err_t on_handshake_silent(struct wa_client *c)
{
    struct wa_end end = {.reason = WA_REASON_LINK};
    return wa_link_end(c, &end);
}

typedef err_t timer_fn(struct wa_client *c);
static timer_fn *const timers[] = {
#define TIMER(name, handler, of_link) [WA_TIMER_##name] = handler,
#include "proto/client/timers.def"
#undef TIMER
};

int64_t wa_client_deadline(const struct wa_client *c)
{
    int64_t at = wa_iq_deadline(c);

    for (int t = 0; t < WA_TIMER_COUNT; t++)
        if (c->timers[t] < at) at = c->timers[t];
    return at;
}

static err_t tick(struct wa_client *c)
{
    for (int t = 0; t < WA_TIMER_COUNT; t++) {
        if (c->timers[t] > c->now) continue;
        c->timers[t] = WA_NEVER;
        err_t e = timers[t](c);
        if (wa_is_fatal(e)) return e;
    }
    return wa_iq_expire(c);
}

err_t wa_client_tick(struct wa_client *c, int64_t now)
{
    AUTO(arena) arena = {0};

    enter(c, &arena, now);
    return leave(c, tick(c));
}

/* ---- what calls ask for ---- */

/* As other clients make them: time, sender and chance, hashed. */
struct slice wa_client_message_id(struct wa_client *c, int64_t now, struct arena *arena)
{
    enum { RANDOM = 16, KEPT = 9 };
    uint8_t random[RANDOM], digest[CRYPTO_SHA256];
    AUTO(buf) in = {0}, text = {0};
    struct wa_jid self = wa_self_pn(c);

    wa_random(c, random, sizeof(random));
    buf_put_be64(&in, (uint64_t)(now / 1000));
    buf_put(&in, self.user);
    buf_put_text(&in, "@c.us");
    buf_put(&in, SLICE_ARRAY(random));
    crypto_sha256(buf_slice(&in), digest);
    for (size_t i = 0; i < KEPT; i++)
        buf_printf(&text, "%02X", digest[i]);
    return arena_printf(arena, "3EB0%s", buf_text(&text));
}

err_t wa_client_send_text(struct wa_client *c, const struct wa_text *text, int64_t now)
{
    AUTO(arena) arena = {0};

    enter(c, &arena, now);
    err_t e = wa_send_start(c, text);
    forget(c);
    return e;
}

err_t wa_client_send_cancel(struct wa_client *c, uint64_t operation, int64_t now)
{
    AUTO(arena) arena = {0};

    enter(c, &arena, now);
    return leave(c, wa_send_cancel(c, operation));
}

err_t wa_client_resend(struct wa_client *c, struct slice id, struct slice stanza, int64_t now)
{
    AUTO(arena) arena = {0};

    enter(c, &arena, now);
    if (wa_is_online(c)) wa_send_encoded(c, stanza, WA_SEND_ACKED);
    return leave(c, OK);
}

err_t wa_client_mark_read(struct wa_client *c, const struct wa_read *read, int64_t now)
{
    AUTO(arena) arena = {0};

    enter(c, &arena, now);
    return leave(c, wa_read_start(c, read));
}

err_t wa_client_ask_media(struct wa_client *c, const struct wa_lost_media *lost, int64_t now)
{
    AUTO(arena) arena = {0};

    enter(c, &arena, now);
    return leave(c, wa_media_ask(c, lost));
}

err_t wa_client_logout(struct wa_client *c, int64_t now)
{
    AUTO(arena) arena = {0};

    enter(c, &arena, now);
    return leave(c, wa_logout_start(c));
}

err_t wa_client_reconnect(struct wa_client *c, int64_t now)
{
    AUTO(arena) arena = {0};
    struct wa_end end = {.reason = WA_REASON_BY_USER, .retry = WA_RETRY_NOW};

    enter(c, &arena, now);
    if (!c->account.paired) return leave(c, OK);
    wa_backoff_reset(&c->backoff);
    c->refused_version = 0;
    wa_timer_set(c, WA_TIMER_VERSION, WA_NEVER);
    if (!c->account.held_off.until_s) wa_held_off_end(c);
    if (c->phase != WA_PHASE_DOWN && c->phase != WA_PHASE_CLOSING)
        return leave(c, wa_link_end(c, &end));
    wa_link_want(c, now);
    return leave(c, OK);
}

err_t wa_client_stop(struct wa_client *c, int64_t now)
{
    AUTO(arena) arena = {0};

    enter(c, &arena, now);
    c->wants_link = false;
    wa_timer_set(c, WA_TIMER_VERSION, WA_NEVER);
    return leave(c, wa_link_drop(c));
}

/* ---- what it is now ---- */

enum wa_client_state wa_client_state_of(const struct wa_client *c) { return c->state; }

struct wa_party wa_client_self(const struct wa_client *c)
{
    return (struct wa_party){wa_account_pn(&c->account), wa_account_lid(&c->account)};
}

bool wa_client_held_off(const struct wa_client *c, struct wa_down *out)
{
    const struct wa_held_off *h = &c->account.held_off;

    if (!h->reason) return false;
    *out = (struct wa_down){.reason = (enum wa_reason)h->reason,
                            .code = (int)h->code,
                            .until_s = h->until_s,
                            .retry_at = c->wants_link ? c->link_at : 0};
    return true;
}

size_t wa_client_memory(const struct wa_client *c)
{
    size_t n = sizeof(*c) + c->account.device_identity.cap + c->account.routing.cap +
               c->frames.pending.cap + (c->handshake ? sizeof(*c->handshake) : 0);

    for (const struct list *l = c->queries.next; l != &c->queries; l = l->next)
        n += sizeof(struct wa_query);
    return n + wa_asks_memory(c) + wa_sends_memory(c) + wa_pairing_memory(c);
}
