/* Stanzas of clients by the table stanzas.def, and the small ones that need no file. */
#include "tools/sim/relay.h"

static const struct stanza_row {
    const char *tag;
    void (*run)(struct sim_conn *c, const struct wa_node *n);
} stanzas[] = {
#define STANZA(tag, handler) {tag, handler},
#include "tools/sim/stanzas.def"
#undef STANZA
};

/* Before the login only answers to our iqs count. */
void sim_on_stanza(struct sim_conn *c, const struct wa_node *n)
{
    if (c->phase == SIM_PAIRING && !wa_node_is(n, "iq")) return;
    for (size_t i = 0; i < ARRAY_LEN(stanzas); i++)
        if (wa_node_is(n, stanzas[i].tag)) {
            stanzas[i].run(c, n);
            return;
        }
}

void sim_on_ack(struct sim_conn *c, const struct wa_node *n) { sim_queue_on_ack(c, n); }

void sim_on_ib(struct sim_conn *c, const struct wa_node *n)
{
    const struct wa_node *batch = wa_node_child(n, "offline_batch");
    struct wa_attrs a = wa_attrs_of(batch);

    if (batch) sim_backlog_pull(c, wa_attr_int_or(&a, "count", 0));
}

static void add_last_seen(struct wa_node *presence, struct arena *arena,
                          const struct sim_account *a)
{
    LIST_EACH(l, (struct list *)&a->devices)
    if (LIST_ENTRY(l, struct sim_device, link)->available) return;
    wa_node_set(presence, arena, "type", SLICE("unavailable"));
    wa_node_set(presence, arena, "last", SLICE("deny"));
}

static void send_presence(struct sim_conn *to, const struct sim_account *of)
{
    struct arena *arena = &to->relay->arena;
    struct wa_node *presence = wa_node_new(arena, "presence");

    wa_node_set_jid(presence, arena, "from", sim_account_jid(of, false));
    add_last_seen(presence, arena, of);
    sim_conn_send(to, presence);
}

static void tell_watchers(struct sim_conn *c)
{
    LIST_EACH(l, &c->device->account->presence_watchers.list)
    {
        struct sim_account *a = LIST_ENTRY(l, struct sim_person, link)->account;

        LIST_EACH(d, &a->devices)
        {
            struct sim_conn *to = LIST_ENTRY(d, struct sim_device, link)->conn;

            if (to) send_presence(to, c->device->account);
        }
    }
}

void sim_on_presence(struct sim_conn *c, const struct wa_node *n)
{
    struct slice type = wa_node_text(n, "type");
    struct sim_account *peer = sim_account_of(&c->relay->people, wa_node_jid(n, "to"));

    if (slice_is(type, "subscribe") && peer) {
        sim_person_add(&peer->presence_watchers, c->device->account);
        send_presence(c, peer);
    } else if (slice_is(type, "unsubscribe") && peer) {
        sim_person_remove(&peer->presence_watchers, c->device->account);
    } else if (slice_is(type, "available") || slice_is(type, "unavailable")) {
        c->device->available = slice_is(type, "available");
        tell_watchers(c);
    }
}

static void forward_chatstate(struct sim_conn *c, const struct wa_node *n, struct sim_account *to,
                              struct sim_group *g)
{
    struct wa_jid chat = wa_node_jid(n, "to");
    bool lid = g ? g->lid_mode : wa_jid_is_lid(&chat);

    LIST_EACH(l, &to->devices)
    {
        struct sim_device *dev = LIST_ENTRY(l, struct sim_device, link);
        struct arena *arena = &c->relay->arena;
        struct wa_node *out = wa_node_new(arena, "chatstate");

        if (!dev->conn || dev == c->device) continue;
        wa_node_set_jid(out, arena, "from", g ? chat : sim_account_jid(c->device->account, lid));
        if (g) wa_node_set_jid(out, arena, "participant", sim_device_jid(c->device, lid));
        if (n->child_count > 0) wa_node_add_node(out, arena, &n->children[0]);
        sim_conn_send(dev->conn, out);
    }
}

void sim_on_chatstate(struct sim_conn *c, const struct wa_node *n)
{
    struct wa_jid to = wa_node_jid(n, "to");
    struct sim_group *g = sim_group_of(&c->relay->people, to);
    struct sim_account *peer = sim_account_of(&c->relay->people, to);

    if (peer && peer != c->device->account) forward_chatstate(c, n, peer, NULL);
    if (!g || !sim_member_find(g, c->device->account)) return;
    LIST_EACH(l, &g->members)
    {
        struct sim_account *a = LIST_ENTRY(l, struct sim_member, link)->account;

        if (a != c->device->account) forward_chatstate(c, n, a, g);
    }
}

/* Calls ring on every device of the callee; nobody here picks up. */
void sim_on_call(struct sim_conn *c, const struct wa_node *n)
{
    struct arena *arena = &c->relay->arena;
    struct wa_jid to = wa_node_jid(n, "to");
    struct sim_account *peer = sim_account_of(&c->relay->people, to);
    struct wa_node *ack = wa_node_new(arena, "ack");

    wa_node_set(ack, arena, "class", SLICE("call"));
    wa_node_set(ack, arena, "id", wa_node_text(n, "id"));
    wa_node_set_jid(ack, arena, "from", to);
    sim_conn_send(c, ack);
    if (!peer || n->child_count == 0) return;
    LIST_EACH(l, &peer->devices)
    {
        struct wa_node *out = wa_node_new(arena, "call");

        wa_node_set_jid(out, arena, "from", sim_device_jid(c->device, wa_jid_is_lid(&to)));
        wa_node_set(out, arena, "id", wa_node_text(n, "id"));
        wa_node_set_int(out, arena, "t", sim_seconds(c->relay));
        wa_node_add_node(out, arena, &n->children[0]);
        sim_queue_put(c->relay, LIST_ENTRY(l, struct sim_device, link), SIM_QUEUE_CALL, out);
    }
}
