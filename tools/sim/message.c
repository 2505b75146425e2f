/* Messages: one stanza of a sender becomes one stanza for each device it names. The ciphertexts
 * are moved, never opened. Shapes: a fan-out (<participants>), a group or status message (a
 * <enc type=skmsg> beside it), and a direct <enc>, which is a resend or a message to one's own
 * phone. */
#include "tools/sim/faults.h"
#include "tools/sim/rules.h"

#include <stdlib.h>

/* Phones never suffer from faults of their own sending. */
static bool sender_fault(struct sim_conn *c, enum sim_fault_kind kind, struct sim_fault *out)
{
    return !c->local && sim_fault_take(c->relay, kind, c->device, out);
}

struct outgoing {
    struct sim_conn *c;
    struct arena *arena;
    const struct wa_node *n;
    const struct wa_node *participants;
    const struct wa_node *direct; /* an enc right under the message */
    struct wa_jid to, participant;
    struct sim_account *peer; /* NULL for groups and status */
    struct sim_group *group;
    bool lid;    /* family of addresses of this chat */
    bool shared; /* the direct enc is for everybody: skmsg */
};

/* ---- what a receiver sees ---- */

static void copy_attrs(struct wa_node *out, const struct outgoing *m)
{
    static const char *const copied[] = {"id",       "type",          "edit",
                                         "category", "push_priority", "verified_name"};

    for (size_t i = 0; i < ARRAY_LEN(copied); i++)
        wa_node_set(out, m->arena, copied[i], wa_node_text(m->n, copied[i]));
    wa_node_set_int(out, m->arena, "t", sim_seconds(m->c->relay));
    wa_node_set_text(out, m->arena, "notify", m->c->device->account->name);
}

static void address_group(struct wa_node *out, const struct outgoing *m)
{
    bool lid = m->lid;

    wa_node_set_jid(out, m->arena, "from", m->to);
    wa_node_set_jid(out, m->arena, "participant", sim_device_jid(m->c->device, lid));
    wa_node_set_jid(out, m->arena, lid ? "participant_pn" : "participant_lid",
                    sim_account_jid(m->c->device->account, !lid));
    if (m->group) wa_node_set_text(out, m->arena, "addressing_mode", lid ? "lid" : "pn");
}

/* Our own other devices learn the chat from `recipient`; a note to self and a peer message have
 * none. */
static void address_own(struct wa_node *out, const struct outgoing *m)
{
    struct wa_jid chat = wa_node_jid(m->n, "recipient");
    struct sim_account *peer;

    wa_node_set_jid(out, m->arena, "from", sim_device_jid(m->c->device, m->lid));
    if (wa_jid_is_none(&chat)) chat = wa_jid_bare(&m->to);
    peer = sim_account_of(&m->c->relay->people, chat);
    if (!peer || peer == m->c->device->account) return;
    wa_node_set_jid(out, m->arena, "recipient", chat);
    wa_node_set_jid(out, m->arena,
                    wa_jid_is_lid(&chat) ? "peer_recipient_pn" : "peer_recipient_lid",
                    sim_account_jid(peer, !wa_jid_is_lid(&chat)));
}

static void address_peer(struct wa_node *out, const struct outgoing *m)
{
    wa_node_set_jid(out, m->arena, "from", sim_device_jid(m->c->device, m->lid));
    wa_node_set_jid(out, m->arena, m->lid ? "sender_pn" : "sender_lid",
                    sim_account_jid(m->c->device->account, !m->lid));
}

static void add_other_children(struct wa_node *out, const struct outgoing *m)
{
    static const char *const kept_back[] = {"participants", "enc", "tctoken", "cstoken"};

    for (size_t i = 0; i < m->n->child_count; i++) {
        const struct wa_node *child = &m->n->children[i];
        bool skip = false;

        for (size_t j = 0; j < ARRAY_LEN(kept_back); j++)
            skip = skip || wa_node_is(child, kept_back[j]);
        if (!skip) wa_node_add_node(out, m->arena, child);
    }
}

/* `own` is the enc made for this device alone, NULL if none. */
static void deliver(const struct outgoing *m, struct sim_device *dev, const struct wa_node *own)
{
    struct wa_node *out = wa_node_new(m->arena, "message");

    copy_attrs(out, m);
    if (!m->peer)
        address_group(out, m);
    else if (dev->account == m->c->device->account)
        address_own(out, m);
    else
        address_peer(out, m);
    if (own && m->shared && sim_fault_take(m->c->relay, SIM_FAULT_WITHHOLD_SENDER_KEY, dev, NULL))
        own = NULL;
    if (own) wa_node_add_node(out, m->arena, own);
    if (m->shared) wa_node_add_node(out, m->arena, m->direct);
    add_other_children(out, m);
    sim_queue_put(m->c->relay, dev, SIM_QUEUE_MESSAGE, out);
}

/* ---- who gets it ---- */

static const struct wa_node *enc_for(const struct outgoing *m, const struct sim_device *dev)
{
    const struct wa_node *to;

    if (!m->participants) return NULL;
    for (size_t i = 0; (to = wa_node_next(m->participants, "to", &i));)
        if (sim_device_of(&m->c->relay->people, wa_node_jid(to, "jid")) == dev)
            return wa_node_child(to, "enc");
    return NULL;
}

/* The sending device may stand in its own list (Baileys in groups): it gets no copy. */
static void deliver_to_account(const struct outgoing *m, struct sim_account *a, bool everybody)
{
    LIST_EACH(l, &a->devices)
    {
        struct sim_device *dev = LIST_ENTRY(l, struct sim_device, link);
        const struct wa_node *own = enc_for(m, dev);

        if (dev != m->c->device && (own || everybody)) deliver(m, dev, own);
    }
}

/* Who is blocked is told nothing of it: the ack looks as always. */
static void fan_out(const struct outgoing *m)
{
    if (!sim_person_in(&m->peer->blocked, m->c->device->account))
        deliver_to_account(m, m->peer, false);
    if (m->peer != m->c->device->account) deliver_to_account(m, m->c->device->account, false);
}

static void to_group(const struct outgoing *m)
{
    LIST_EACH(l, &m->group->members)
    deliver_to_account(m, LIST_ENTRY(l, struct sim_member, link)->account, m->shared);
}

/* A status names its readers: devices with their copy of the key, or whole people. */
static void to_status(const struct outgoing *m)
{
    const struct wa_node *to;

    if (!m->participants) return;
    for (size_t i = 0; (to = wa_node_next(m->participants, "to", &i));) {
        struct wa_jid jid = wa_node_jid(to, "jid");
        struct sim_device *dev = sim_device_of(&m->c->relay->people, jid);
        const struct wa_node *enc = wa_node_child(to, "enc");

        if (!dev || dev == m->c->device) continue;
        if (enc)
            deliver(m, dev, enc);
        else
            deliver_to_account(m, dev->account, true);
    }
}

/* A resend, or a peer message: exactly one device. */
static void to_one(const struct outgoing *m)
{
    struct wa_jid jid = m->peer ? m->to : m->participant;
    struct sim_device *dev = sim_device_of(&m->c->relay->people, jid);

    if (dev && dev != m->c->device) deliver(m, dev, m->direct);
}

static void route(const struct outgoing *m)
{
    bool resend = m->direct && !m->shared;

    if (resend && (m->peer || !wa_jid_is_none(&m->participant)))
        to_one(m);
    else if (m->group)
        to_group(m);
    else if (wa_jid_is_status(&m->to))
        to_status(m);
    else if (m->peer)
        fan_out(m);
}

/* ---- the ack ---- */

static size_t add_devices(struct wa_jid *out, const struct sim_account *a, bool lid)
{
    size_t n = 0;

    LIST_EACH(l, (struct list *)&a->devices)
    out[n++] = sim_device_jid(LIST_ENTRY(l, struct sim_device, link), lid);
    return n;
}

static struct slice group_phash(const struct outgoing *m)
{
    size_t n = 0;
    struct wa_jid *all;

    LIST_EACH(l, &m->group->members)
    n += sim_account_device_count(LIST_ENTRY(l, struct sim_member, link)->account);
    all = arena_array(m->arena, struct wa_jid, n ? n : 1);
    n = 0;
    LIST_EACH(l, &m->group->members)
    n += add_devices(all + n, LIST_ENTRY(l, struct sim_member, link)->account, m->lid);
    return sim_phash(m->arena, all, n);
}

static bool misses_a_device(const struct outgoing *m, const struct sim_account *a)
{
    LIST_EACH(l, (struct list *)&a->devices)
    {
        struct sim_device *dev = LIST_ENTRY(l, struct sim_device, link);

        if (dev != m->c->device && !enc_for(m, dev)) return true;
    }
    return false;
}

/* Of a direct chat only when a device was left out: which set the real server hashes there is not
 * known, and a wrong value would make clients refetch for nothing. */
static struct slice direct_phash(const struct outgoing *m)
{
    const struct sim_account *own = m->c->device->account;
    struct wa_jid all[2 * SIM_DEVICES_MAX];
    size_t n;

    if (!m->participants || m->direct) return SLICE_NONE;
    if (!misses_a_device(m, m->peer) && !misses_a_device(m, own)) return SLICE_NONE;
    n = add_devices(all, m->peer, m->lid);
    if (m->peer != own) n += add_devices(all + n, own, m->lid);
    return sim_phash(m->arena, all, n);
}

static struct slice phash_of(const struct outgoing *m)
{
    if (sender_fault(m->c, SIM_FAULT_PHASH, NULL)) return SLICE("2:AAAAAAAA");
    if (m->group && m->shared) return group_phash(m);
    return m->peer ? direct_phash(m) : SLICE_NONE;
}

static void send_ack(const struct outgoing *m, int64_t error)
{
    struct sim_conn *c = m->c;
    struct wa_node *ack = wa_node_new(m->arena, "ack");

    if (sender_fault(c, SIM_FAULT_DROP_ACK, NULL)) return;
    wa_node_set(ack, m->arena, "class", SLICE("message"));
    wa_node_set(ack, m->arena, "id", wa_node_text(m->n, "id"));
    wa_node_set_jid(ack, m->arena, "from", m->to);
    wa_node_set_int(ack, m->arena, "t", sim_seconds(c->relay));
    wa_node_set_jid(ack, m->arena, "participant", m->participant);
    if (error)
        wa_node_set_int(ack, m->arena, "error", error);
    else
        wa_node_set(ack, m->arena, "phash", phash_of(m));
    sim_conn_send(c, ack);
}

static void read_message(struct outgoing *m)
{
    m->to = wa_node_jid(m->n, "to");
    m->participant = wa_node_jid(m->n, "participant");
    m->participants = wa_node_child(m->n, "participants");
    m->direct = wa_node_child(m->n, "enc");
    m->shared = m->direct && slice_is(wa_node_text(m->direct, "type"), "skmsg");
    m->peer = sim_account_of(&m->c->relay->people, m->to);
    m->group = sim_group_of(&m->c->relay->people, m->to);
    m->lid = m->group ? m->group->lid_mode : wa_jid_is_lid(&m->to) || !m->peer;
}

void sim_on_message(struct sim_conn *c, const struct wa_node *n)
{
    struct outgoing m = {.c = c, .arena = &c->relay->arena, .n = n};
    struct sim_fault f;

    if (!sim_rules_hold(c, SIM_SCOPE_MESSAGE, n)) return;
    read_message(&m);
    if (sender_fault(c, SIM_FAULT_ACK_ERROR, &f)) {
        send_ack(&m, f.value);
        return;
    }
    if (!m.peer && wa_jid_is_person(&m.to)) {
        send_ack(&m, 404); /* nobody has this number */
        return;
    }
    if (m.peer && m.peer != c->device->account)
        sim_person_add(&m.peer->watchers, c->device->account);
    route(&m);
    send_ack(&m, 0);
}
