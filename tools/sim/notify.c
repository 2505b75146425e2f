/* Notifications the server makes by itself: devices that come and go, prekeys that run low,
 * somebody who was reinstalled. */
#include "tools/sim/relay.h"

#include "proto/signal/padding.h"

struct slice sim_phash(struct arena *arena, const struct wa_jid *devices, size_t n)
{
    char text[WA_PHASH_MAX];

    return arena_dup(arena, slice_text(wa_phash(devices, n, arena, text)));
}

static struct wa_node *notification(struct sim_relay *r, const char *type, struct wa_jid from)
{
    struct wa_node *n = wa_node_new(&r->arena, "notification");

    wa_node_set_jid(n, &r->arena, "from", from);
    wa_node_set_text(n, &r->arena, "type", type);
    wa_node_set(n, &r->arena, "id", sim_new_id(r));
    wa_node_set_int(n, &r->arena, "t", sim_seconds(r));
    return n;
}

static void to_account(struct sim_relay *r, struct sim_account *a, const struct wa_node *n)
{
    LIST_EACH(l, &a->devices)
    sim_queue_put(r, LIST_ENTRY(l, struct sim_device, link), SIM_QUEUE_NOTIFICATION, n);
}

static struct slice device_hash(struct sim_relay *r, const struct sim_account *a, bool lid)
{
    struct wa_jid all[SIM_DEVICES_MAX];
    size_t n = 0;

    LIST_EACH(l, (struct list *)&a->devices)
    all[n++] = sim_device_jid(LIST_ENTRY(l, struct sim_device, link), lid);
    return sim_phash(&r->arena, all, n);
}

static void add_key_indexes(struct wa_node *to, struct sim_relay *r, const struct sim_account *a)
{
    struct wa_node *list;

    if (a->key_indexes.len == 0) return;
    list = wa_node_add(to, &r->arena, "key-index-list");
    wa_node_set_int(list, &r->arena, "ts", a->key_indexes_at);
    wa_node_set_bytes(list, buf_slice(&a->key_indexes));
}

static void add_device(struct wa_node *to, struct sim_relay *r, const struct sim_device *dev)
{
    struct wa_node *device = wa_node_add(to, &r->arena, "device");

    wa_node_set_jid(device, &r->arena, "jid", sim_device_jid(dev, false));
    wa_node_set_jid(device, &r->arena, "lid", sim_device_jid(dev, true));
    if (dev->id != 0) wa_node_set_int(device, &r->arena, "key-index", dev->key_index);
}

static void tell_others(struct sim_relay *r, struct sim_account *a, const char *what,
                        const struct sim_device *changed)
{
    struct wa_node *n = notification(r, "devices", sim_account_jid(a, false)), *change;

    wa_node_set_jid(n, &r->arena, "lid", sim_account_jid(a, true));
    change = wa_node_add(n, &r->arena, what);
    wa_node_set(change, &r->arena, "device_hash", device_hash(r, a, false));
    wa_node_set(change, &r->arena, "device_lid_hash", device_hash(r, a, true));
    add_device(change, r, changed);
    add_key_indexes(change, r, a);
    LIST_EACH(l, &a->watchers.list)
    to_account(r, LIST_ENTRY(l, struct sim_person, link)->account, n);
}

/* A new device knows about itself already. */
static void tell_own(struct sim_relay *r, struct sim_account *a, const struct sim_device *but)
{
    struct wa_node *n = notification(r, "account_sync", sim_account_jid(a, false)), *devices;

    devices = wa_node_add(n, &r->arena, "devices");
    wa_node_set(devices, &r->arena, "dhash", device_hash(r, a, false));
    LIST_EACH(l, &a->devices) add_device(devices, r, LIST_ENTRY(l, struct sim_device, link));
    add_key_indexes(devices, r, a);
    LIST_EACH(l, &a->devices)
    {
        struct sim_device *dev = LIST_ENTRY(l, struct sim_device, link);

        if (dev != but) sim_queue_put(r, dev, SIM_QUEUE_NOTIFICATION, n);
    }
}

void sim_notify_devices(struct sim_relay *r, struct sim_account *a, const char *what,
                        const struct sim_device *changed)
{
    sim_rosters_note(r);
    tell_others(r, a, what, changed);
    tell_own(r, a, strcmp(what, "add") == 0 ? changed : NULL);
}

void sim_notify_privacy(struct sim_relay *r, struct sim_account *a, const struct sim_device *but)
{
    struct wa_node *n = notification(r, "account_sync", sim_account_jid(a, false));

    sim_privacy_node(n, &r->arena, a);
    LIST_EACH(l, &a->devices)
    {
        struct sim_device *dev = LIST_ENTRY(l, struct sim_device, link);

        if (dev != but) sim_queue_put(r, dev, SIM_QUEUE_NOTIFICATION, n);
    }
}

void sim_tell_prekeys(struct sim_relay *r, struct sim_device *dev, int64_t left)
{
    struct wa_node *n = notification(r, "encrypt", wa_jid_server());

    wa_node_set_int(wa_node_add(n, &r->arena, "count"), &r->arena, "value", left);
    sim_queue_put(r, dev, SIM_QUEUE_NOTIFICATION, n);
}

void sim_notify_low_prekeys(struct sim_relay *r, struct sim_device *dev)
{
    if (dev->low_told || dev->bundle.prekey_count >= SIM_LOW_PREKEYS) return;
    dev->low_told = true;
    sim_tell_prekeys(r, dev, dev->bundle.prekey_count);
}

void sim_notify_identity(struct sim_relay *r, struct sim_account *a)
{
    struct wa_node *n = notification(r, "encrypt", sim_account_jid(a, false));

    wa_node_add(n, &r->arena, "identity");
    LIST_EACH(l, &a->watchers.list)
    to_account(r, LIST_ENTRY(l, struct sim_person, link)->account, n);
}

static const struct sim_member *creator_of(const struct sim_group *g)
{
    return list_empty(&g->members) ? NULL : LIST_ENTRY(g->members.next, struct sim_member, link);
}

static void add_change(struct wa_node *n, struct sim_relay *r, struct sim_group *g,
                       const char *what, struct sim_account *who)
{
    struct wa_node *change = wa_node_add(n, &r->arena, what), *p;

    wa_node_set_int(change, &r->arena, "prev_v_id", g->version > 1 ? g->version - 1 : 1);
    wa_node_set_int(change, &r->arena, "v_id", g->version);
    p = wa_node_add(change, &r->arena, "participant");
    wa_node_set_jid(p, &r->arena, "jid", sim_account_jid(who, g->lid_mode));
    wa_node_set_jid(p, &r->arena, g->lid_mode ? "phone_number" : "lid",
                    sim_account_jid(who, !g->lid_mode));
}

void sim_notify_group(struct sim_relay *r, struct sim_group *g, const char *what,
                      struct sim_account *who)
{
    struct wa_node *n = notification(r, "w:gp2", wa_jid_of(WA_SERVER_GROUP, slice_text(g->id), 0));
    const struct sim_member *creator = creator_of(g);

    if (!creator) return;
    wa_node_set_jid(n, &r->arena, "participant", sim_account_jid(creator->account, g->lid_mode));
    if (g->lid_mode)
        wa_node_set_jid(n, &r->arena, "participant_pn", sim_account_jid(creator->account, false));
    wa_node_set_text(n, &r->arena, "addressing_mode", g->lid_mode ? "lid" : "pn");
    wa_node_set_text(n, &r->arena, "notify", creator->account->name);
    if (who)
        add_change(n, r, g, what, who);
    else
        sim_group_node(wa_node_add(n, &r->arena, what), &r->arena, g);
    LIST_EACH(l, &g->members)
    to_account(r, LIST_ENTRY(l, struct sim_member, link)->account, n);
}
