#include "proto/client/iq.h"

#include <stdlib.h>

#include "proto/base/text.h"

struct wa_node *wa_iq_new(struct wa_client *c, const char *type, const char *xmlns)
{
    struct wa_node *iq = wa_node_new(c->arena, "iq");

    wa_node_set_text(iq, c->arena, "type", type);
    wa_node_set_text(iq, c->arena, "xmlns", xmlns);
    wa_node_set_jid(iq, c->arena, "to", wa_jid_server());
    return iq;
}

static size_t count(const struct list *l)
{
    size_t n = 0;
    for (const struct list *at = l->next; at != l; at = at->next)
        n++;
    return n;
}

err_t wa_iq_ask(struct wa_client *c, struct wa_node *iq, wa_answer_fn *answer, void *op)
{
    if (c->phase == WA_PHASE_DOWN || c->phase == WA_PHASE_CLOSING)
        return fail(NOT_CONNECTED, "no link");
    if (count(&c->queries) >= WA_QUERIES_MAX) return fail(TOO_BUSY, "queries");

    struct wa_query *q = xcalloc(sizeof(*q));
    *q = (struct wa_query){
        .number = ++c->iq_count, .deadline = WA_NEVER, .answer = answer, .op = op};
    list_push(&c->queries, &q->node);

    wa_node_set(iq, c->arena, "id", arena_printf(c->arena, "%u-%u", c->iq_prefix, q->number));
    wa_send_node(c, iq, q->number);
    return OK;
}

err_t wa_iq_ask_with(struct wa_client *c, struct wa_node *iq, wa_answer_fn *answer, void *take_op)
{
    err_t e = wa_iq_ask(c, iq, answer, take_op);

    if (e == OK)
        LIST_ENTRY(c->queries.prev, struct wa_query, node)->owns_op = true;
    else
        free(take_op);
    return e;
}

static void query_free(struct wa_query *q)
{
    list_remove(&q->node);
    if (q->owns_op) free(q->op);
    free(q);
}

static struct wa_query *first(const struct wa_client *c)
{
    /* The analyser does not follow a node out of an intrusive list. */
    return LIST_ENTRY(c->queries.next, struct wa_query, node); /* NOLINT(*-unix.Malloc) */
}

void wa_iq_free(struct wa_client *c)
{
    while (!list_empty(&c->queries))
        query_free(first(c));
}

void wa_iq_cancel(struct wa_client *c, const void *op)
{
    LIST_EACH(node, &c->queries)
    {
        struct wa_query *q = LIST_ENTRY(node, struct wa_query, node);
        if (q->op == op) query_free(q);
    }
}

static err_t end(struct wa_client *c, struct wa_query *q, const struct wa_node *iq, err_t e)
{
    /* Out of the list first: the answer may ask anew, or end the link and so all queries. */
    list_remove(&q->node);
    e = q->answer(c, q->op, iq, e);
    query_free(q);
    return e;
}

static struct wa_query *find(struct wa_client *c, uint32_t number)
{
    LIST_EACH(node, &c->queries)
    {
        struct wa_query *q = LIST_ENTRY(node, struct wa_query, node);
        if (q->number == number) return q;
    }
    return NULL;
}

/* "prefix-number"; 0 when it is not one of this link. */
static uint32_t number_of(const struct wa_client *c, struct slice id)
{
    uint64_t prefix, number;
    size_t dash = slice_find(id, '-');

    if (text_u64(slice_sub(id, 0, dash), &prefix) != OK || prefix != c->iq_prefix) return 0;
    if (text_u64(slice_from(id, dash + 1), &number) != OK || number > UINT32_MAX) return 0;
    return (uint32_t)number;
}

err_t wa_iq_answered(struct wa_client *c, const struct wa_node *iq)
{
    struct wa_query *q = find(c, number_of(c, wa_node_text(iq, "id")));

    if (!q) return OK; /* late, or to nobody */
    if (slice_is(wa_node_text(iq, "type"), "result")) return end(c, q, iq, OK);
    return end(c, q, iq, fail(QUERY_REFUSED, "%d", wa_iq_error(iq)));
}

err_t wa_iq_drop_all(struct wa_client *c, err_t e)
{
    /* Answers may ask anew (and are refused: the link is gone) or cancel others. */
    while (!list_empty(&c->queries))
        TRY(end(c, first(c), NULL, e));
    return OK;
}

err_t wa_iq_expire(struct wa_client *c)
{
    for (;;) {
        struct wa_query *late = NULL;
        LIST_EACH(node, &c->queries)
        {
            struct wa_query *q = LIST_ENTRY(node, struct wa_query, node);
            if (q->deadline <= c->now) late = q;
        }
        if (!late) return OK;
        TRY(end(c, late, NULL, fail(QUERY_TIMEOUT, "iq %u", late->number)));
    }
}

int64_t wa_iq_deadline(const struct wa_client *c)
{
    int64_t at = WA_NEVER;

    LIST_EACH(node, &c->queries)
    {
        const struct wa_query *q = LIST_ENTRY(node, struct wa_query, node);
        if (q->deadline < at) at = q->deadline;
    }
    return at;
}

void wa_iq_bring_forward(struct wa_client *c, int64_t by)
{
    LIST_EACH(node, &c->queries)
    {
        struct wa_query *q = LIST_ENTRY(node, struct wa_query, node);
        if (q->deadline != WA_NEVER) q->deadline -= by;
    }
}

void wa_iq_released(struct wa_client *c, uint32_t number, int64_t now)
{
    struct wa_query *q = find(c, number);
    if (q) q->deadline = now + WA_QUERY_TIMEOUT_MS;
}

int wa_iq_error(const struct wa_node *iq)
{
    const struct wa_node *error = iq ? wa_node_child(iq, "error") : NULL;
    uint64_t code = 0;

    if (!error || text_u64(wa_node_text(error, "code"), &code) != OK || code > 9999) return 0;
    return (int)code;
}

err_t wa_iq_ignore(struct wa_client *c, void *op, const struct wa_node *iq, err_t e) { return OK; }
