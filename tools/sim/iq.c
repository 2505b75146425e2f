/* Queries by the table iqs.def; the short answers stand here. */
#include "tools/sim/iq.h"

#include "tools/sim/faults.h"
#include "tools/sim/rules.h"

struct wa_node *sim_iq_result(struct sim_conn *c, const struct wa_node *iq)
{
    struct arena *arena = &c->relay->arena;
    struct wa_node *result = wa_node_new(arena, "iq");
    struct wa_jid to = wa_node_jid(iq, "to");

    wa_node_set_jid(result, arena, "from", wa_jid_is_group(&to) ? to : wa_jid_server());
    wa_node_set(result, arena, "type", SLICE("result"));
    wa_node_set(result, arena, "id", wa_node_text(iq, "id"));
    return result;
}

void sim_iq_error(struct sim_conn *c, const struct wa_node *iq, int code, const char *text)
{
    struct arena *arena = &c->relay->arena;
    struct wa_node *answer = sim_iq_result(c, iq), *error;

    for (size_t i = 0; i < answer->attr_count; i++)
        if (slice_is(answer->attrs[i].key, "type")) answer->attrs[i].value.text = SLICE("error");
    error = wa_node_add(answer, arena, "error");
    wa_node_set_int(error, arena, "code", code);
    wa_node_set_text(error, arena, "text", text);
    sim_conn_send(c, answer);
}

static void iq_empty(struct sim_conn *c, const struct wa_node *iq)
{
    struct wa_node *result = sim_iq_result(c, iq);

    wa_node_set_int(result, &c->relay->arena, "t", sim_seconds(c->relay));
    sim_conn_send(c, result);
}

static void iq_props(struct sim_conn *c, const struct wa_node *iq)
{
    struct arena *arena = &c->relay->arena;
    struct wa_node *result = sim_iq_result(c, iq), *props = wa_node_add(result, arena, "props");

    wa_node_set(props, arena, "protocol", SLICE("1"));
    wa_node_set(props, arena, "hash", SLICE("sim"));
    wa_node_set(props, arena, "refresh", SLICE("86400"));
    wa_node_set(props, arena, "refresh_id", SLICE("0"));
    sim_conn_send(c, result);
}

static void iq_media(struct sim_conn *c, const struct wa_node *iq)
{
    struct arena *arena = &c->relay->arena;
    struct wa_node *result = sim_iq_result(c, iq),
                   *media = wa_node_add(result, arena, "media_conn");
    struct wa_node *host;

    wa_node_set(media, arena, "auth", SLICE("sim-media-auth"));
    wa_node_set(media, arena, "ttl", SLICE("300"));
    wa_node_set(media, arena, "auth_ttl", SLICE("21600"));
    wa_node_set(media, arena, "max_buckets", SLICE("12"));
    host = wa_node_add(media, arena, "host");
    wa_node_set(host, arena, "hostname", SLICE("localhost"));
    wa_node_set(host, arena, "type", SLICE("primary"));
    sim_conn_send(c, result);
}

static void iq_no_picture(struct sim_conn *c, const struct wa_node *iq)
{
    sim_iq_error(c, iq, 404, "item-not-found");
}

static void iq_picture_set(struct sim_conn *c, const struct wa_node *iq)
{
    struct arena *arena = &c->relay->arena;
    struct wa_node *result = sim_iq_result(c, iq);

    if (iq->child_count > 0)
        wa_node_set_int(wa_node_add(result, arena, "picture"), arena, "id", sim_seconds(c->relay));
    sim_conn_send(c, result);
}

static void iq_status_privacy(struct sim_conn *c, const struct wa_node *iq)
{
    struct arena *arena = &c->relay->arena;
    struct wa_node *result = sim_iq_result(c, iq);
    struct wa_node *list = wa_node_add(wa_node_add(result, arena, "privacy"), arena, "list");

    wa_node_set(list, arena, "type", SLICE("contacts"));
    wa_node_set(list, arena, "default", SLICE("true"));
    sim_conn_send(c, result);
}

static void iq_business(struct sim_conn *c, const struct wa_node *iq)
{
    struct wa_node *result = sim_iq_result(c, iq);

    wa_node_add(result, &c->relay->arena, "business_profile");
    sim_conn_send(c, result);
}

/* No GraphQL operation is known here; the answer is one that every client parses. */
static void iq_mex(struct sim_conn *c, const struct wa_node *iq)
{
    struct wa_node *result = sim_iq_result(c, iq);

    wa_node_set_bytes(wa_node_add(result, &c->relay->arena, "result"), SLICE("{\"data\":{}}"));
    sim_conn_send(c, result);
}

static const struct iq_row {
    const char *xmlns, *type, *child;
    void (*run)(struct sim_conn *c, const struct wa_node *iq);
} iqs[] = {
#define IQ(xmlns, type, child, handler) {xmlns, type, child, handler},
#include "tools/sim/iqs.def"
#undef IQ
};

static bool matches(const struct iq_row *row, const struct wa_node *iq)
{
    struct slice child = iq->child_count > 0 ? iq->children[0].tag : SLICE_NONE;

    return slice_is(wa_node_text(iq, "xmlns"), row->xmlns) &&
           (!row->type[0] || slice_is(wa_node_text(iq, "type"), row->type)) &&
           (!row->child[0] || slice_is(child, row->child));
}

/* Results and errors of the client answer queries of ours: pair-device, pair-success, pings. */
static void on_answer(struct sim_conn *c, const struct wa_node *iq)
{
    if (c->phase == SIM_PAIRING) sim_on_pair_sign(c, iq);
}

static bool is_faulty(struct sim_conn *c, const struct wa_node *iq)
{
    struct slice xmlns = wa_node_text(iq, "xmlns");
    struct sim_fault f;

    if (c->local) return false;
    if (sim_fault_take_tag(c->relay, SIM_FAULT_NO_ANSWER, c->device, xmlns, NULL)) return true;
    if (!sim_fault_take_tag(c->relay, SIM_FAULT_IQ_ERROR, c->device, xmlns, &f)) return false;
    sim_iq_error(c, iq, (int)f.value, f.text[0] ? f.text : "error");
    return true;
}

void sim_on_iq(struct sim_conn *c, const struct wa_node *iq)
{
    struct slice type = wa_node_text(iq, "type");

    if (slice_is(type, "result") || slice_is(type, "error")) {
        on_answer(c, iq);
        return;
    }
    if (!sim_rules_hold(c, SIM_SCOPE_IQ, iq) || is_faulty(c, iq)) return;
    if (c->phase == SIM_PAIRING && wa_node_child(iq, "link_code_companion_reg")) {
        sim_on_link_code(c, iq);
        return;
    }
    for (size_t i = 0; c->device && i < ARRAY_LEN(iqs); i++)
        if (matches(&iqs[i], iq)) {
            iqs[i].run(c, iq);
            return;
        }
    sim_iq_error(c, iq, 501, "feature-not-implemented");
}
