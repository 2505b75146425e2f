/* Accounts as the server sees them, and groups, which only the control API makes. */
#include "tools/sim/control.h"

#include <stdio.h>

static json_t *describe_device(const struct sim_device *dev)
{
    json_t *o = json_object();
    char name[SIM_NUMBER_MAX + 8];

    sim_json_set(o, "device", json_integer(dev->id));
    sim_json_set(o, "name", sim_json_text(sim_device_name(dev, name)));
    sim_json_set(o, "key_index", json_integer(dev->key_index));
    sim_json_set(o, "connected", json_boolean(dev->conn != NULL));
    sim_json_set(o, "available", json_boolean(dev->available));
    sim_json_set(o, "prekeys", json_integer(dev->bundle.prekey_count));
    sim_json_set(o, "queue", json_integer(dev->queue_count));
    return o;
}

static err_t account_of_path(const struct sim_request *q, struct sim_account **out)
{
    struct sim_account *account =
        sim_account_find(&q->server->relay.people, sim_plain_number(q->segments[0]));

    if (!account) return fail(NOT_FOUND, "no account has this number");
    *out = account;
    return OK;
}

err_t sim_post_privacy(struct sim_answer *a)
{
    struct slice reads = sim_text_member(a->q, "readreceipts");
    struct sim_account *account;

    TRY(account_of_path(a->q, &account));
    if (!slice_is(reads, "all") && !slice_is(reads, "none"))
        return fail(BAD_ARGUMENT, "readreceipts: all or none");
    sim_hide_reads(&a->q->server->relay, account, NULL, slice_is(reads, "none"));
    sim_json_set(a->out, "readreceipts", sim_json_text(account->hides_reads ? "none" : "all"));
    return OK;
}

err_t sim_get_devices(struct sim_answer *a)
{
    struct sim_account *account;

    TRY(account_of_path(a->q, &account));
    json_t *devices = json_array();
    LIST_EACH(l, &account->devices)
    json_array_append_new(devices, describe_device(LIST_ENTRY(l, struct sim_device, link)));
    sim_json_set(a->out, "number", sim_json_text(account->number));
    sim_json_set(a->out, "lid", sim_json_text(account->lid));
    sim_json_set(a->out, "devices", devices);
    return OK;
}

static json_t *describe_group(const struct sim_group *g)
{
    json_t *o = json_object(), *members = json_array();
    char jid[SIM_NUMBER_MAX + 8];

    snprintf(jid, sizeof jid, "%s@g.us", g->id);
    sim_json_set(o, "id", sim_json_text(jid));
    sim_json_set(o, "subject", sim_json_text(g->subject));
    sim_json_set(o, "addressing_mode", sim_json_text(g->lid_mode ? "lid" : "pn"));
    LIST_EACH(l, (struct list *)&g->members)
    json_array_append_new(members,
                          sim_json_text(LIST_ENTRY(l, struct sim_member, link)->account->number));
    sim_json_set(o, "members", members);
    return o;
}

static err_t each_member(struct sim_answer *a, const char *key, struct sim_group *g,
                         void (*run)(struct sim_relay *r, struct sim_group *g,
                                     struct sim_account *account))
{
    json_t *v;
    size_t i;

    json_array_foreach(json_object_get(a->q->body, key), i, v)
    {
        struct slice number = slice_of(json_string_value(v), json_string_length(v));
        struct sim_account *account =
            sim_account_find(&a->q->server->relay.people, sim_plain_number(number));

        if (!account)
            return fail(NOT_FOUND, "no account has the number " SLICE_FMT, SLICE_ARG(number));
        run(&a->q->server->relay, g, account);
    }
    return OK;
}

static void just_add(struct sim_relay *r, struct sim_group *g, struct sim_account *account)
{
    struct sim_member *m = sim_member_add(g, account);

    if (g->members.next == &m->link) m->creator = m->admin = true;
}

err_t sim_post_groups(struct sim_answer *a)
{
    struct sim_relay *r = &a->q->server->relay;
    struct slice subject;
    struct sim_group *g;
    char id[SIM_NUMBER_MAX];

    TRY(sim_need_text(a->q, "subject", &subject));
    if (json_array_size(json_object_get(a->q->body, "members")) < 2)
        return fail(BAD_ARGUMENT, "members: at least two numbers");
    snprintf(id, sizeof id, "120363%012llu",
             (unsigned long long)(sim_random(r) % 1000000000000ull));
    g = sim_group_new(&r->people, slice_text(id), subject);
    g->created_at = sim_seconds(r);
    g->lid_mode = !slice_is(sim_text_member(a->q, "addressing_mode"), "pn");
    TRY(each_member(a, "members", g, just_add));
    sim_changed(r);
    sim_rosters_note(r);
    sim_notify_group(r, g, "create", NULL);
    json_object_update_new(a->out, describe_group(g));
    return OK;
}

err_t sim_get_groups(struct sim_answer *a)
{
    json_t *groups = json_array();

    LIST_EACH(l, &a->q->server->relay.people.groups)
    json_array_append_new(groups, describe_group(LIST_ENTRY(l, struct sim_group, link)));
    sim_json_set(a->out, "groups", groups);
    return OK;
}

static void add_and_tell(struct sim_relay *r, struct sim_group *g, struct sim_account *account)
{
    sim_member_add(g, account);
    sim_rosters_note(r);
    sim_notify_group(r, g, "add", account);
}

static void remove_and_tell(struct sim_relay *r, struct sim_group *g, struct sim_account *account)
{
    sim_notify_group(r, g, "remove", account);
    sim_member_remove(g, account);
    sim_rosters_note(r);
}

err_t sim_post_members(struct sim_answer *a)
{
    struct slice id = slice_sub(a->q->segments[0], 0, slice_find(a->q->segments[0], '@'));
    struct sim_group *g = map_find(&a->q->server->relay.people.groups_by_id, id);

    if (!g) return fail(NOT_FOUND, "no group has this id");
    TRY(each_member(a, "add", g, add_and_tell));
    TRY(each_member(a, "remove", g, remove_and_tell));
    sim_changed(&a->q->server->relay);
    json_object_update_new(a->out, describe_group(g));
    return OK;
}
