/* <iq>: answers to our queries, and the few things a server asks. */
#include "proto/client/iq.h"
#include "proto/client/pair_qr.h"
#include "proto/client/stanzas.h"

/* Usually without id, and connection-critical all the same. */
static err_t on_server_ping(struct wa_client *c, const struct wa_node *iq)
{
    struct wa_node *pong = wa_node_new(c->arena, "iq");
    struct wa_jid from = wa_node_jid(iq, "from");

    wa_node_set_text(pong, c->arena, "type", "result");
    wa_node_set_jid(pong, c->arena, "to", wa_jid_is_none(&from) ? wa_jid_server() : from);
    wa_node_set(pong, c->arena, "id", wa_node_text(iq, "id"));
    wa_send_node(c, pong, 0);
    return OK;
}

static bool is_ping(const struct wa_node *iq)
{
    return slice_is(wa_node_text(iq, "xmlns"), "urn:xmpp:ping") || wa_node_child(iq, "ping");
}

err_t wa_on_iq(struct wa_client *c, const struct wa_node *iq)
{
    struct slice type = wa_node_text(iq, "type");

    if (slice_is(type, "result") || slice_is(type, "error")) return wa_iq_answered(c, iq);
    if (slice_is(type, "get") && is_ping(iq)) return on_server_ping(c, iq);
    if (wa_node_child(iq, "pair-device")) return wa_on_pair_device(c, iq);
    if (wa_node_child(iq, "pair-success")) return wa_on_pair_success(c, iq);
    return OK;
}
