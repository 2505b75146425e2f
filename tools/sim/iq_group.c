/* Namespace w:g2: groups are made by the control API; here they are shown to their members. */
#include "tools/sim/iq.h"

static void add_member(struct wa_node *group, struct arena *arena, const struct sim_group *g,
                       const struct sim_member *m)
{
    struct wa_node *p = wa_node_add(group, arena, "participant");

    wa_node_set_jid(p, arena, "jid", sim_account_jid(m->account, g->lid_mode));
    wa_node_set_jid(p, arena, g->lid_mode ? "phone_number" : "lid",
                    sim_account_jid(m->account, !g->lid_mode));
    if (m->creator)
        wa_node_set(p, arena, "type", SLICE("superadmin"));
    else if (m->admin)
        wa_node_set(p, arena, "type", SLICE("admin"));
}

static uint32_t count_members(const struct sim_group *g)
{
    uint32_t n = 0;

    LIST_EACH(l, (struct list *)&g->members) n++;
    return n;
}

static void set_owner(struct wa_node *group, struct arena *arena, const struct sim_group *g)
{
    LIST_EACH(l, (struct list *)&g->members)
    {
        const struct sim_member *m = LIST_ENTRY(l, struct sim_member, link);

        if (!m->creator) continue;
        wa_node_set_jid(group, arena, "s_o", sim_account_jid(m->account, g->lid_mode));
        wa_node_set_jid(group, arena, "creator", sim_account_jid(m->account, g->lid_mode));
        if (!g->lid_mode) return;
        wa_node_set_jid(group, arena, "s_o_pn", sim_account_jid(m->account, false));
        wa_node_set_jid(group, arena, "creator_pn", sim_account_jid(m->account, false));
        return;
    }
}

void sim_group_node(struct wa_node *parent, struct arena *arena, const struct sim_group *g)
{
    struct wa_node *group = wa_node_add(parent, arena, "group");

    wa_node_set_text(group, arena, "id", g->id);
    wa_node_set_text(group, arena, "subject", g->subject);
    wa_node_set_int(group, arena, "s_t", g->created_at);
    wa_node_set_int(group, arena, "creation", g->created_at);
    set_owner(group, arena, g);
    wa_node_set_int(group, arena, "size", count_members(g));
    wa_node_set_text(group, arena, "addressing_mode", g->lid_mode ? "lid" : "pn");
    wa_node_set_int(group, arena, "a_v_id", g->version);
    wa_node_set_int(group, arena, "p_v_id", g->version);
    LIST_EACH(l, (struct list *)&g->members)
    add_member(group, arena, g, LIST_ENTRY(l, struct sim_member, link));
}

void sim_iq_group(struct sim_conn *c, const struct wa_node *iq)
{
    struct sim_group *g = sim_group_of(&c->relay->people, wa_node_jid(iq, "to"));
    struct wa_node *result;

    if (!g) {
        sim_iq_error(c, iq, 404, "item-not-found");
        return;
    }
    if (!sim_member_find(g, c->device->account)) {
        sim_iq_error(c, iq, 403, "forbidden");
        return;
    }
    result = sim_iq_result(c, iq);
    sim_group_node(result, &c->relay->arena, g);
    sim_conn_send(c, result);
}

void sim_iq_groups(struct sim_conn *c, const struct wa_node *iq)
{
    struct wa_node *result = sim_iq_result(c, iq);
    struct wa_node *groups = wa_node_add(result, &c->relay->arena, "groups");

    LIST_EACH(l, &c->relay->people.groups)
    {
        const struct sim_group *g = LIST_ENTRY(l, struct sim_group, link);

        if (sim_member_find(g, c->device->account)) sim_group_node(groups, &c->relay->arena, g);
    }
    sim_conn_send(c, result);
}
