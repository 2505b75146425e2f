/* Receipts: settle the receiver's queue, travel to the device or the people they concern, and are
 * acknowledged to who sent them. */
#include "tools/sim/rules.h"

static void send_ack(struct sim_conn *c, const struct wa_node *n)
{
    static const char *const copied[] = {"id", "type"};
    static const char *const jids[] = {"participant", "recipient"};
    struct arena *arena = &c->relay->arena;
    struct wa_node *ack = wa_node_new(arena, "ack");

    wa_node_set(ack, arena, "class", SLICE("receipt"));
    for (size_t i = 0; i < ARRAY_LEN(copied); i++)
        wa_node_set(ack, arena, copied[i], wa_node_text(n, copied[i]));
    wa_node_set_jid(ack, arena, "from", wa_node_jid(n, "to"));
    for (size_t i = 0; i < ARRAY_LEN(jids); i++)
        wa_node_set_jid(ack, arena, jids[i], wa_node_jid(n, jids[i]));
    sim_conn_send(c, ack);
}

/* The receipt as its addressee sees it; `from` differs by who that is. */
static struct wa_node *passed_on(struct sim_conn *c, const struct wa_node *n)
{
    struct arena *arena = &c->relay->arena;
    struct wa_node *out = wa_node_new(arena, "receipt");
    struct wa_jid to = wa_node_jid(n, "to");
    struct sim_group *g = sim_group_of(&c->relay->people, to);
    bool shared = g || to.server == WA_SERVER_BROADCAST;
    bool lid = g ? g->lid_mode : shared || wa_jid_is_lid(&to);

    wa_node_set(out, arena, "id", wa_node_text(n, "id"));
    wa_node_set(out, arena, "type", wa_node_text(n, "type"));
    wa_node_set_jid(out, arena, "from", shared ? to : sim_device_jid(c->device, lid));
    if (shared) wa_node_set_jid(out, arena, "participant", sim_device_jid(c->device, lid));
    wa_node_set_jid(out, arena, "recipient", wa_node_jid(n, "recipient"));
    wa_node_set_int(out, arena, "t", sim_seconds(c->relay));
    for (size_t i = 0; i < n->child_count; i++)
        wa_node_add_node(out, arena, &n->children[i]);
    return out;
}

static void to_account(struct sim_conn *c, struct sim_account *a, const struct wa_node *out)
{
    LIST_EACH(l, &a->devices)
    {
        struct sim_device *dev = LIST_ENTRY(l, struct sim_device, link);

        if (dev != c->device) sim_queue_put(c->relay, dev, SIM_QUEUE_RECEIPT, out);
    }
}

static bool is_read(struct slice type)
{
    return slice_starts_with(type, SLICE("read")) || slice_starts_with(type, SLICE("played"));
}

static bool is_for_self(struct slice type)
{
    return slice_is(type, "read-self") || slice_is(type, "played-self");
}

/* Our other devices learn that the chat was read here; the chat stands in `recipient`. */
static void tell_own_devices(struct sim_conn *c, const struct wa_node *n)
{
    struct arena *arena = &c->relay->arena;
    struct wa_jid chat = wa_node_jid(n, "to");
    struct wa_node *out = passed_on(c, n);

    if (wa_jid_is_person(&chat)) wa_node_set_jid(out, arena, "recipient", wa_jid_bare(&chat));
    to_account(c, c->device->account, out);
}

/* A receipt to somebody's device goes there; to a bare address, to all devices of that person. */
static void route(struct sim_conn *c, const struct wa_node *n)
{
    struct slice type = wa_node_text(n, "type");
    struct wa_jid author = wa_node_jid(n, "participant"), to = wa_node_jid(n, "to");
    struct wa_jid target = wa_jid_is_person(&to) ? to : author;
    struct sim_account *a = sim_account_of(&c->relay->people, target);
    struct sim_device *dev = sim_device_of(&c->relay->people, target);

    if (is_read(type)) tell_own_devices(c, n);
    if (!a || is_for_self(type)) return;
    if (is_read(type) && a != c->device->account)
        to_account(c, a, passed_on(c, n));
    else if (dev && dev != c->device)
        sim_queue_put(c->relay, dev, SIM_QUEUE_RECEIPT, passed_on(c, n));
}

void sim_on_receipt(struct sim_conn *c, const struct wa_node *n)
{
    if (!sim_rules_hold(c, SIM_SCOPE_RECEIPT, n)) return;
    sim_queue_on_receipt(c, n);
    route(c, n);
    send_ack(c, n);
}
