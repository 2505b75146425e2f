/* phash: what a client says of the devices it wrote to. The server knows the members' devices and
 * compares; phashes.def lists the sets that clients hash. */
#include "tools/sim/rules.h"

#include <stdlib.h>

#include "proto/signal/padding.h"

enum place { PLACE_GROUP, PLACE_BROADCAST };
enum sender { SENDER_INCLUDED, SENDER_LEFT_OUT, SENDER_AGENT_1 };

static const struct {
    enum place place;
    enum sender sender;
} phashes[] = {
#define PHASH(place, sender, source) {PLACE_##place, SENDER_##sender},
#include "tools/sim/phashes.def"
#undef PHASH
};

/* ---- rosters: who was in the group, device by device ---- */

static size_t device_count(const struct sim_group *g)
{
    size_t n = 0;

    LIST_EACH(l, (struct list *)&g->members)
    n += sim_account_device_count(LIST_ENTRY(l, struct sim_member, link)->account);
    return n;
}

static struct sim_roster *new_roster(const struct sim_group *g)
{
    struct sim_roster *roster = sim_roster_new(device_count(g));
    size_t n = 0;

    LIST_EACH(l, (struct list *)&g->members)
    {
        struct sim_account *a = LIST_ENTRY(l, struct sim_member, link)->account;

        LIST_EACH(d, &a->devices)
        roster->seats[n++] = (struct sim_seat){a, LIST_ENTRY(d, struct sim_device, link)->id};
    }
    return roster;
}

static bool is_newest(const struct sim_group *g, const struct sim_roster *roster)
{
    const struct sim_roster *newest;

    if (list_empty(&g->rosters)) return false;
    newest = LIST_ENTRY(g->rosters.prev, struct sim_roster, link);
    if (newest->count != roster->count) return false;
    for (size_t i = 0; i < roster->count; i++)
        if (newest->seats[i].account != roster->seats[i].account ||
            newest->seats[i].device != roster->seats[i].device)
            return false;
    return true;
}

static void note_roster(struct sim_group *g)
{
    struct sim_roster *roster = new_roster(g);

    if (is_newest(g, roster))
        free(roster);
    else
        sim_roster_add(g, roster);
}

void sim_rosters_note(struct sim_relay *r)
{
    LIST_EACH(l, &r->people.groups) note_roster(LIST_ENTRY(l, struct sim_group, link));
}

/* ---- sets ---- */

struct set {
    struct arena *arena;
    struct wa_jid *devices;
    size_t count;
    struct wa_jid sender; /* in the family of the set */
};

static bool is_sender(const struct set *s, const struct wa_jid *jid)
{
    return jid->device == s->sender.device && slice_eq(jid->user, s->sender.user);
}

static bool hashes_to(const struct set *s, enum sender how, struct slice phash)
{
    struct slice *names = arena_array(s->arena, struct slice, s->count + 1);
    char text[WA_PHASH_MAX];
    size_t n = 0;

    for (size_t i = 0; i < s->count; i++) {
        bool own = is_sender(s, &s->devices[i]);

        if (own && how == SENDER_LEFT_OUT) continue;
        names[n++] = wa_phash_name(&s->devices[i], own && how == SENDER_AGENT_1, s->arena);
    }
    return slice_is(phash, wa_phash_names(names, n, text));
}

static bool is_known(const struct set *s, enum place place, struct slice phash)
{
    for (size_t i = 0; i < ARRAY_LEN(phashes); i++)
        if (phashes[i].place == place && hashes_to(s, phashes[i].sender, phash)) return true;
    return false;
}

static struct set set_of_roster(struct sim_conn *c, const struct sim_group *g,
                                const struct sim_roster *roster)
{
    struct set s = {.arena = &c->relay->arena,
                    .devices = arena_array(&c->relay->arena, struct wa_jid, roster->count + 1),
                    .count = roster->count,
                    .sender = sim_device_jid(c->device, g->lid_mode)};

    for (size_t i = 0; i < roster->count; i++) {
        s.devices[i] = sim_account_jid(roster->seats[i].account, g->lid_mode);
        s.devices[i].device = roster->seats[i].device;
    }
    return s;
}

static bool is_of_group(struct sim_conn *c, struct sim_group *g, struct slice phash)
{
    note_roster(g);
    LIST_EACH(l, &g->rosters)
    {
        struct set s = set_of_roster(c, g, LIST_ENTRY(l, struct sim_roster, link));

        if (is_known(&s, PLACE_GROUP, phash)) return true;
    }
    return false;
}

static bool is_of_broadcast(struct sim_conn *c, const struct wa_node *n, struct slice phash)
{
    const struct wa_node *participants = wa_node_child(n, "participants"), *to;
    size_t max = 1 + (participants ? participants->child_count : 0);
    struct set s = {.arena = &c->relay->arena,
                    .devices = arena_array(&c->relay->arena, struct wa_jid, max)};

    for (size_t i = 0; participants && (to = wa_node_next(participants, "to", &i));)
        s.devices[s.count++] = wa_node_jid(to, "jid");
    s.sender = sim_device_jid(c->device, s.count == 0 || wa_jid_is_lid(&s.devices[0]));
    bool named = false;
    for (size_t i = 0; i < s.count; i++)
        named = named || is_sender(&s, &s.devices[i]);
    if (!named) s.devices[s.count++] = s.sender;
    return is_known(&s, PLACE_BROADCAST, phash);
}

bool sim_phash_is_known(struct sim_conn *c, const struct wa_node *n)
{
    struct slice phash = wa_node_text(n, "phash");
    struct wa_jid to = wa_node_jid(n, "to");
    struct sim_group *g = sim_group_of(&c->relay->people, to);

    if (slice_is_none(phash)) return true; /* Baileys sends none */
    if (g) return is_of_group(c, g, phash);
    return to.server == WA_SERVER_BROADCAST && is_of_broadcast(c, n, phash);
}
