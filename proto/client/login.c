#include "proto/client/login.h"

#include <stdio.h>

#include "proto/base/text.h"
#include "proto/client/ask_phone.h"
#include "proto/client/iq.h"
#include "proto/client/keepalive.h"
#include "proto/client/mapping.h"
#include "proto/client/prekeys.h"
#include "proto/client/privacy.h"
#include "proto/client/signed_prekey.h"
#include "proto/client/stanzas.h"

/* ---- in ---- */

void wa_unified_session(struct wa_client *c)
{
    enum { DAY_MS = 24 * 60 * 60 * 1000 };
    int64_t week = 7LL * DAY_MS, at = c->now + c->server_ahead_ms + 3LL * DAY_MS;
    struct wa_node *ib = wa_node_new(c->arena, "ib");
    struct wa_node *session = wa_node_add(ib, c->arena, "unified_session");

    wa_node_set_int(session, c->arena, "id", at % week);
    wa_send_node(c, ib, 0);
}

/* The server holds the backlog back until it is told that we are active. */
static err_t ask_active(struct wa_client *c)
{
    struct wa_node *iq = wa_iq_new(c, "set", "passive");

    wa_node_add(iq, c->arena, "active");
    return wa_iq_ask(c, iq, wa_iq_ignore, NULL);
}

static err_t learn_own_lid(struct wa_client *c, const struct wa_node *success)
{
    struct wa_jid lid = wa_node_jid(success, "lid"), pn = wa_self_pn(c);

    if (lid.server != WA_SERVER_LID || lid.user.len > WA_USER_MAX) return OK;
    if (!slice_is(lid.user, c->account.lid_user)) {
        snprintf(c->account.lid_user, sizeof(c->account.lid_user), SLICE_FMT, SLICE_ARG(lid.user));
        wa_save_account(c);
    }
    return wa_mapping_learn(c, &pn, &lid);
}

void wa_held_off_end(struct wa_client *c)
{
    if (!c->account.held_off.reason) return;
    c->account.held_off = (struct wa_held_off){0};
    wa_save_account(c);
}

static void tell_connected(struct wa_client *c)
{
    struct wa_event e = {
        .kind = WA_EVENT_CONNECTED,
        .connected = {.pn = wa_account_pn(&c->account), .lid = wa_account_lid(&c->account)}};

    c->announced = true;
    c->told = WA_REASON_NONE;
    c->told_code = 0;
    wa_emit(c, &e);
}

err_t wa_on_success(struct wa_client *c, const struct wa_node *success)
{
    int64_t t;

    if (c->phase != WA_PHASE_ENTERING || !c->account.paired) return OK;
    c->phase = WA_PHASE_ONLINE;
    c->state = WA_CLIENT_ONLINE;
    if (wa_time_read(wa_node_text(success, "t"), &t))
        c->server_ahead_ms = c->login_ahead_ms = t * 1000 - c->now;
    wa_timer_set(c, WA_TIMER_HANDSHAKE, WA_NEVER);
    wa_timer_set(c, WA_TIMER_STABLE, c->now + WA_BACKOFF_STABLE_MS);
    wa_keepalive_start(c);

    wa_held_off_end(c);
    TRY(learn_own_lid(c, success));
    tell_connected(c);
    wa_unified_session(c);
    TRY(ask_active(c));
    TRY(wa_privacy_ask(c));
    TRY(wa_asks_resume(c));
    wa_rotation_plan(c);
    return wa_prekeys_check(c);
}

err_t on_link_stable(struct wa_client *c)
{
    c->has_held = true;
    c->restarted = false;
    return OK;
}

/* ---- refused ---- */

enum failure_place { F = 'F', S = 'S' };
enum failure_retry { BACKOFF, SLOWER, NOW, STOP, UNTIL, VERSION, WIPE };

struct failure {
    char where;
    int code;
    enum wa_reason reason;
    enum failure_retry retry;
};

static const struct failure failures[] = {
#define FAILURE(where, code, reason, retry) {where, code, WA_REASON_##reason, retry},
#include "proto/client/failures.def"
#undef FAILURE
};

static struct failure find_failure(char where, int code)
{
    for (size_t i = 0; i < ARRAY_LEN(failures); i++)
        if (failures[i].where == where && failures[i].code == code) return failures[i];
    if (code >= 500) return (struct failure){where, code, WA_REASON_SERVER, BACKOFF};
    return (struct failure){where, code, WA_REASON_REFUSED, STOP};
}

static int64_t ban_end_s(struct wa_client *c, const struct wa_node *failure)
{
    uint64_t expire;

    if (text_u64(wa_node_text(failure, "expire"), &expire) != OK || expire == 0 ||
        expire > UINT32_MAX)
        expire = WA_BAN_DEFAULT_S;
    return wa_server_now(c) + (int64_t)expire;
}

static struct slice words_of(struct wa_client *c, const struct failure *f,
                             const struct wa_node *node)
{
    AUTO(buf) encoded = {0};

    if (f->where != 'F' || (f->retry != STOP && f->retry != UNTIL && f->retry != WIPE))
        return SLICE_NONE;
    wa_node_encode(node, &encoded);
    return encoded.len <= WA_REFUSAL_MAX ? arena_dup(c->arena, buf_slice(&encoded)) : SLICE_NONE;
}

/* At once, unless that is what the link before ended with as well. */
static err_t restart(struct wa_client *c)
{
    bool is_after_pairing = c->timers[WA_TIMER_PAIRED] != WA_NEVER;
    int64_t wait = 0;

    TRY(wa_link_drop(c));
    if (c->restarted) wait = wa_backoff_next(&c->backoff, wa_random_u32(c));
    c->restarted = !is_after_pairing;
    wa_link_want(c, c->now + wait);
    return OK;
}

static err_t refused(struct wa_client *c, const struct failure *f, const struct wa_node *node)
{
    struct wa_end end = {.reason = f->reason, .code = f->code, .refusal = words_of(c, f, node)};
    uint64_t cause;

    switch (f->retry) {
    case BACKOFF: end.retry = WA_RETRY_BACKOFF; break;
    case SLOWER:
        c->has_held = false; /* a link that ends so forgets nothing, however long it was up */
        wa_backoff_slow(&c->backoff);
        end.retry = WA_RETRY_BACKOFF;
        break;
    case NOW: return restart(c);
    case STOP: end.retry = WA_RETRY_STOP; break;
    case UNTIL:
        end.until_s = ban_end_s(c, node);
        end.retry = WA_RETRY_AT;
        end.retry_at = end.until_s * 1000 - c->server_ahead_ms;
        if (text_u64(wa_node_text(node, "code"), &cause) == OK && cause < 100000)
            end.code = (int)cause;
        break;
    case VERSION:
        c->refused_version = c->config->version[2];
        end.retry = WA_RETRY_AT;
        end.retry_at = c->now + WA_OUTDATED_RETRY_MS;
        TRY(wa_link_end(c, &end));
        wa_timer_set(c, WA_TIMER_VERSION, c->now + WA_OUTDATED_CHECK_MS);
        return OK;
    case WIPE: return wa_unpair_refused(c, f->reason, f->code, end.refusal);
    }
    return wa_link_end(c, &end);
}

err_t on_version_check(struct wa_client *c)
{
    if (c->phase != WA_PHASE_DOWN && c->phase != WA_PHASE_CLOSING) return OK;
    if (!c->refused_version || !c->wants_link) return OK;
    if (c->config->version[2] == c->refused_version) {
        wa_timer_set(c, WA_TIMER_VERSION, c->now + WA_OUTDATED_CHECK_MS);
        return OK;
    }
    c->refused_version = 0;
    wa_link_want(c, c->now + wa_backoff_next(&c->backoff, wa_random_u32(c)));
    return OK;
}

static int code_of(const struct wa_node *node, const char *key)
{
    uint64_t code;

    if (text_u64(wa_node_text(node, key), &code) != OK || code > 9999) return 0;
    return (int)code;
}

err_t wa_on_failure(struct wa_client *c, const struct wa_node *node)
{
    struct failure f = find_failure('F', code_of(node, "reason"));
    return refused(c, &f, node);
}

/* <conflict type="replaced"/> comes with code 409 or with none, <conflict type="device_removed"/>
 * with 401 or with none. */
static int stream_code(const struct wa_node *node)
{
    const struct wa_node *conflict = wa_node_child(node, "conflict");
    int code = code_of(node, "code");

    if (!conflict) return code;
    if (slice_is(wa_node_text(conflict, "type"), "replaced")) return 409;
    if (slice_is(wa_node_text(conflict, "type"), "device_removed")) return 401;
    return code;
}

err_t wa_on_stream_error(struct wa_client *c, const struct wa_node *node)
{
    int code = stream_code(node);
    struct wa_end end = {.reason = code ? WA_REASON_SERVER : WA_REASON_PROTOCOL};

    /* Without a code: xml-not-well-formed, or an ack the server still waits for. It delivers the
     * stanza again after the reconnect, and gets it then. */
    if (code == 0) return wa_link_end(c, &end);

    struct failure f = find_failure('S', code);
    return refused(c, &f, node);
}

err_t wa_on_stream_end(struct wa_client *c, const struct wa_node *node)
{
    struct wa_end end = {.reason = WA_REASON_SERVER};
    return wa_link_end(c, &end);
}

/* ---- out ---- */

static err_t on_logged_out(struct wa_client *c, void *op, const struct wa_node *iq, err_t e)
{
    /* Refused or not, the owner wants it gone; an unlinked device the phone still lists can be
     * removed there. When the link ended, wa_link_end does it. */
    return e == ERR_NOT_CONNECTED ? OK : wa_unpair(c, WA_REASON_BY_USER, 0);
}

err_t wa_logout_start(struct wa_client *c)
{
    if (!c->account.paired || !wa_is_online(c)) {
        if (c->state == WA_CLIENT_LOGGED_OUT) return OK;
        return wa_unpair(c, WA_REASON_BY_USER, 0);
    }

    struct wa_node *iq = wa_iq_new(c, "set", "md");
    struct wa_node *remove = wa_node_add(iq, c->arena, "remove-companion-device");
    wa_node_set_jid(remove, c->arena, "jid", wa_self_pn(c));
    wa_node_set_text(remove, c->arena, "reason", "user_initiated");
    c->logging_out = true;
    wa_timer_set(c, WA_TIMER_LOGOUT, c->now + WA_LOGOUT_TIMEOUT_MS);
    return wa_iq_ask(c, iq, on_logged_out, NULL);
}

err_t on_logout_silent(struct wa_client *c) { return wa_unpair(c, WA_REASON_BY_USER, 0); }
