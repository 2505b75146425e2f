/* <ib>: the backlog, edge routing, and the day our version dies. */
#include "proto/client/offline.h"

#include "proto/base/text.h"
#include "proto/client/privacy.h"
#include "proto/client/stanzas.h"

static void ask_batch(struct wa_client *c)
{
    struct wa_node *ib = wa_node_new(c->arena, "ib");
    struct wa_node *batch = wa_node_add(ib, c->arena, "offline_batch");

    wa_node_set_int(batch, c->arena, "count", WA_OFFLINE_BATCH);
    c->offline_left = WA_OFFLINE_BATCH;
    wa_timer_set(c, WA_TIMER_OFFLINE, c->now + WA_OFFLINE_STALL_MS);
    wa_send_node(c, ib, 0);
}

void wa_offline_count(struct wa_client *c, const struct wa_node *stanza)
{
    if (c->offline_left == 0 || slice_is_none(wa_node_text(stanza, "offline"))) return;
    wa_timer_set(c, WA_TIMER_OFFLINE, c->now + WA_OFFLINE_STALL_MS);
    c->offline_stalls = 0;
    /* Half a batch ahead, so that the server never waits for us. */
    if (--c->offline_left <= WA_OFFLINE_BATCH / 2) ask_batch(c);
}

err_t on_offline_stalled(struct wa_client *c)
{
    if (c->offline_left == 0 || !wa_is_online(c)) return OK;
    if (++c->offline_stalls < WA_OFFLINE_STALLS_MAX)
        ask_batch(c);
    else
        c->offline_left = 0;
    return OK;
}

/* ---- children of <ib> ---- */

static err_t on_preview(struct wa_client *c, const struct wa_node *preview)
{
    uint64_t count;

    c->offline_stalls = 0;
    if (text_u64(wa_node_text(preview, "count"), &count) == OK && count > 0) ask_batch(c);
    return OK;
}

static err_t on_offline_done(struct wa_client *c, const struct wa_node *offline)
{
    struct wa_event e = {.kind = WA_EVENT_OFFLINE_DONE};

    c->offline_left = 0;
    wa_timer_set(c, WA_TIMER_OFFLINE, WA_NEVER);
    wa_emit(c, &e);
    return OK;
}

static err_t on_edge_routing(struct wa_client *c, const struct wa_node *routing)
{
    struct slice info = wa_node_child_bytes(routing, "routing_info");

    if (info.len == 0 || info.len > WA_ROUTING_KEPT_MAX) return OK;
    if (slice_eq(info, buf_slice(&c->account.routing))) return OK;
    buf_reset(&c->account.routing);
    buf_put(&c->account.routing, info);
    wa_save_account(c);
    return OK;
}

static err_t on_expiration(struct wa_client *c, const struct wa_node *expiration)
{
    struct wa_event e = {.kind = WA_EVENT_CLIENT_EXPIRES};

    ENSURE(wa_time_read(wa_node_text(expiration, "t"), &e.client_expires_s), BAD_STANZA);
    wa_emit(c, &e);
    return OK;
}

static const struct {
    const char *tag;
    wa_stanza_fn *handler;
} children[] = {
    {"offline_preview", on_preview},   {"offline", on_offline_done},         {"dirty", wa_on_dirty},
    {"edge_routing", on_edge_routing}, {"client_expiration", on_expiration},
};

static err_t on_child(struct wa_client *c, const struct wa_node *child)
{
    for (size_t i = 0; i < ARRAY_LEN(children); i++)
        if (wa_node_is(child, children[i].tag)) return children[i].handler(c, child);
    return OK;
}

err_t wa_on_ib(struct wa_client *c, const struct wa_node *ib)
{
    for (size_t i = 0; i < ib->child_count; i++) {
        err_t e = on_child(c, &ib->children[i]);
        if (wa_is_fatal(e)) return e;
    }
    return OK;
}
