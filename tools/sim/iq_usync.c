/* Namespace usync: who has which devices, which LID, who is on WhatsApp at all. Each protocol that
 * the query names is a row; each user of the list gets every row's answer. */
#include "tools/sim/iq.h"

#include "proto/base/text.h"

struct asked {
    struct sim_conn *c;
    struct arena *arena;
    const struct wa_node *user;  /* as asked */
    struct wa_jid jid;           /* echoed; may be nobody's */
    struct sim_account *account; /* NULL: not on WhatsApp */
    struct wa_node *out;
};

/* Key-index of the phone is absent: clients keep device 0 without one. */
static void add_devices(struct asked *q)
{
    struct wa_node *devices = wa_node_add(q->out, q->arena, "devices");
    struct wa_node *list = wa_node_add(devices, q->arena, "device-list"), *indexes;

    if (!q->account) return;
    LIST_EACH(l, &q->account->devices)
    {
        struct sim_device *dev = LIST_ENTRY(l, struct sim_device, link);
        struct wa_node *device = wa_node_add(list, q->arena, "device");

        wa_node_set_int(device, q->arena, "id", dev->id);
        if (dev->id != 0) wa_node_set_int(device, q->arena, "key-index", dev->key_index);
    }
    if (q->account->key_indexes.len == 0) return;
    indexes = wa_node_add(devices, q->arena, "key-index-list");
    wa_node_set_int(indexes, q->arena, "ts", q->account->key_indexes_at);
    wa_node_set_bytes(indexes, buf_slice(&q->account->key_indexes));
}

static void add_lid(struct asked *q)
{
    struct wa_node *lid = wa_node_add(q->out, q->arena, "lid");

    if (q->account) wa_node_set_jid(lid, q->arena, "val", sim_account_jid(q->account, true));
}

static void add_contact(struct asked *q)
{
    struct wa_node *contact = wa_node_add(q->out, q->arena, "contact");

    wa_node_set(contact, q->arena, "type", q->account ? SLICE("in") : SLICE("out"));
    wa_node_set_bytes(contact, wa_node_child_bytes(q->user, "contact"));
}

static void add_about(struct asked *q)
{
    struct wa_node *status = wa_node_add(q->out, q->arena, "status");

    if (!q->account || q->account->about.len == 0) return;
    wa_node_set_int(status, q->arena, "t", sim_seconds(q->c->relay));
    wa_node_set_bytes(status, buf_slice(&q->account->about));
}

static void add_disappearing(struct asked *q)
{
    struct wa_node *mode = wa_node_add(q->out, q->arena, "disappearing_mode");

    wa_node_set(mode, q->arena, "duration", SLICE("0"));
    wa_node_set(mode, q->arena, "t", SLICE("0"));
}

/* Nobody here has a picture or a business account. */
static void add_nothing(struct asked *q) {}

static const struct protocol {
    const char *tag;
    void (*add)(struct asked *q);
} protocols[] = {
    {"devices", add_devices},  {"lid", add_lid},
    {"contact", add_contact},  {"status", add_about},
    {"picture", add_nothing},  {"business", add_nothing},
    {"username", add_nothing}, {"disappearing_mode", add_disappearing},
};

/* "+15550001111" or "+15550001111@c.us" */
static struct wa_jid jid_of_contact(struct slice text)
{
    if (text.len > 0 && text.data[0] == '+') text = slice_from(text, 1);
    return wa_jid_of(WA_SERVER_USER, slice_sub(text, 0, slice_find(text, '@')), 0);
}

static void add_user(struct asked *q, const struct wa_node *query, struct wa_node *list)
{
    q->jid = wa_node_jid(q->user, "jid");
    if (wa_jid_is_none(&q->jid)) q->jid = jid_of_contact(wa_node_child_bytes(q->user, "contact"));
    q->account = sim_account_of(&q->c->relay->people, q->jid);
    if (q->account && q->account != q->c->device->account)
        sim_person_add(&q->account->watchers, q->c->device->account);
    q->out = wa_node_add(list, q->arena, "user");
    wa_node_set_jid(q->out, q->arena, "jid", q->jid);
    for (size_t i = 0; i < ARRAY_LEN(protocols); i++)
        if (wa_node_child(query, protocols[i].tag)) protocols[i].add(q);
}

void sim_iq_usync(struct sim_conn *c, const struct wa_node *iq)
{
    static const char *const copied[] = {"context", "mode", "sid", "last", "index"};
    struct arena *arena = &c->relay->arena;
    const struct wa_node *asked = wa_node_child(iq, "usync"), *user;
    const struct wa_node *users = wa_node_child(asked, "list");
    struct wa_node *result = sim_iq_result(c, iq), *usync = wa_node_add(result, arena, "usync");
    struct wa_node *list;

    if (!users || !wa_node_child(asked, "query")) {
        sim_iq_error(c, iq, 400, "bad-request");
        return;
    }
    for (size_t i = 0; i < ARRAY_LEN(copied); i++)
        wa_node_set(usync, arena, copied[i], wa_node_text(asked, copied[i]));
    wa_node_add(usync, arena, "result");
    list = wa_node_add(usync, arena, "list");
    for (size_t i = 0; (user = wa_node_next(users, "user", &i));)
        add_user(&(struct asked){.c = c, .arena = arena, .user = user},
                 wa_node_child(asked, "query"), list);
    sim_conn_send(c, result);
}
