/* Pairing by the eight-character code: the server only carries what companion and phone say to
 * each other under the code; what follows is the ordinary pair-success of pairing.c. Evidence:
 * tests/vectors/pair_code.json. */
#include "tools/sim/iq.h"
#include "tools/sim/rules.h"

#include <stdlib.h>

enum { HELLOS_MAX = 3 }; /* guesses a phone has for one code */

static struct slice part(const struct wa_node *reg, const char *tag)
{
    return wa_node_child_bytes(reg, tag);
}

static struct wa_node *notification(struct sim_relay *r, const char *stage, struct wa_node **out)
{
    struct wa_node *n = wa_node_new(&r->arena, "notification");

    wa_node_set_jid(n, &r->arena, "from", wa_jid_server());
    wa_node_set(n, &r->arena, "type", SLICE("link_code_companion_reg"));
    wa_node_set(n, &r->arena, "id", sim_new_id(r));
    wa_node_set_int(n, &r->arena, "t", sim_seconds(r));
    *out = wa_node_add(n, &r->arena, "link_code_companion_reg");
    wa_node_set_text(*out, &r->arena, "stage", stage);
    return n;
}

static void copy_parts(struct wa_node *to, struct arena *arena, const struct wa_node *from)
{
    for (size_t i = 0; i < from->child_count; i++)
        wa_node_set_bytes(wa_node_add(to, arena, arena_text(arena, from->children[i].tag)),
                          from->children[i].bytes);
}

static void tell_phone(struct sim_conn *c, const struct wa_node *reg, const char *stage)
{
    struct sim_registration *r = c->registration;
    struct wa_node *child, *n = notification(c->relay, stage, &child);
    struct sim_device *phone = sim_device_find(r->code_account, 0);

    copy_parts(child, &c->relay->arena, reg);
    if (slice_is(wa_node_text(reg, "stage"), "companion_hello"))
        wa_node_set_bytes(wa_node_add(child, &c->relay->arena, "link_code_pairing_ref"),
                          slice_text(r->code_ref));
    if (phone) sim_queue_put(c->relay, phone, SIM_QUEUE_NOTIFICATION, n);
}

static void on_hello(struct sim_conn *c, const struct wa_node *iq, const struct wa_node *reg)
{
    struct sim_registration *r = c->registration;
    struct wa_node *result, *answer;
    struct sim_account *account = sim_account_of(&c->relay->people, wa_node_jid(reg, "jid"));

    if (!account) {
        sim_iq_error(c, iq, 404, "item-not-found");
        return;
    }
    if (r->code_ref[0]) map_remove(&c->relay->refs, slice_text(r->code_ref));
    sim_make_ref(c->relay, r->code_ref);
    map_put(&c->relay->refs, slice_text(r->code_ref), c);
    r->code_account = account;
    r->code_at_ms = c->relay->now_ms;
    r->code_hellos = 0;
    result = sim_iq_result(c, iq);
    answer = wa_node_add(result, &c->relay->arena, "link_code_companion_reg");
    wa_node_set(answer, &c->relay->arena, "stage", SLICE("companion_hello"));
    wa_node_set_bytes(wa_node_add(answer, &c->relay->arena, "link_code_pairing_ref"),
                      slice_text(r->code_ref));
    sim_conn_send(c, result);
    tell_phone(c, reg, "companion_hello");
}

static void on_finish(struct sim_conn *c, const struct wa_node *iq, const struct wa_node *reg)
{
    struct sim_registration *r = c->registration;

    if (!r->code_ref[0] || !slice_is(part(reg, "link_code_pairing_ref"), r->code_ref)) {
        sim_iq_error(c, iq, 404, "item-not-found");
        return;
    }
    sim_conn_send(c, sim_iq_result(c, iq));
    tell_phone(c, reg, "companion_finish");
}

void sim_on_link_code(struct sim_conn *c, const struct wa_node *iq)
{
    const struct wa_node *reg = wa_node_child(iq, "link_code_companion_reg");
    struct slice stage = wa_node_text(reg, "stage");

    if (slice_is(stage, "companion_hello")) {
        if (sim_rules_hold(c, SIM_SCOPE_CODE_HELLO, iq)) on_hello(c, iq, reg);
    } else if (slice_is(stage, "companion_finish")) {
        if (sim_rules_hold(c, SIM_SCOPE_CODE_FINISH, iq)) on_finish(c, iq, reg);
    } else {
        sim_iq_error(c, iq, 400, "bad-request");
    }
}

bool sim_code_is_fresh(const struct sim_conn *c)
{
    return c->relay->now_ms - c->registration->code_at_ms <= SIM_CODE_MS;
}

/* The phone's answer to a code that its owner typed, on its way to the companion. */
void sim_on_primary_hello(struct sim_conn *phone, const struct wa_node *iq)
{
    const struct wa_node *reg = wa_node_child(iq, "link_code_companion_reg");
    struct sim_conn *c = map_find(&phone->relay->refs, part(reg, "link_code_pairing_ref"));
    struct wa_node *n, *child;

    if (phone->device->id != 0 || !c || c->registration->code_account != phone->device->account ||
        !sim_code_is_fresh(c)) {
        sim_iq_error(phone, iq, 404, "item-not-found");
        return;
    }
    if (++c->registration->code_hellos > HELLOS_MAX) {
        sim_iq_error(phone, iq, 429, "rate-overlimit");
        return;
    }
    n = notification(phone->relay, "primary_hello", &child);
    copy_parts(child, &phone->relay->arena, reg);
    sim_conn_send(c, n);
    sim_conn_send(phone, sim_iq_result(phone, iq));
}
