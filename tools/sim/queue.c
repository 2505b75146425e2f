/* What a device still owes an answer for. A stanza stays until the device's receipt or ack names
 * it, over any number of connections; that is what lets a client be durable. */
#include "tools/sim/relay.h"

#include <stdlib.h>

static void item_free(struct sim_device *dev, struct sim_queued *q)
{
    list_remove(&q->link);
    dev->queue_count--;
    buf_done(&q->id);
    buf_done(&q->from);
    buf_done(&q->participant);
    buf_done(&q->stanza);
    free(q);
}

void sim_queue_put(struct sim_relay *r, struct sim_device *dev, enum sim_queue_kind kind,
                   const struct wa_node *n)
{
    struct sim_queued *q;

    if (dev->queue_count >= SIM_QUEUE_MAX) /* nobody comes to fetch it: the oldest goes */
        item_free(dev, LIST_ENTRY(dev->queue.next, struct sim_queued, link));
    q = xcalloc(sizeof *q);
    q->kind = kind;
    buf_put(&q->id, wa_node_text(n, "id"));
    buf_put(&q->from, wa_node_text(n, "from"));
    buf_put(&q->participant, wa_node_text(n, "participant"));
    wa_node_encode(n, &q->stanza);
    list_push(&dev->queue, &q->link);
    dev->queue_count++;
    sim_changed(r);
    if (!dev->conn || dev->conn->draining) return;
    if (kind == SIM_QUEUE_MESSAGE && !dev->conn->local) {
        buf_reset(&dev->conn->last_message);
        buf_put(&dev->conn->last_message, buf_slice(&q->stanza));
    }
    q->sent = true;
    q->sent_ms = r->now_ms;
    sim_conn_send(dev->conn, n);
}

void sim_redeliver_last(struct sim_conn *c)
{
    struct wa_node *n;

    if (c->last_message.len == 0) return;
    if (wa_node_decode(buf_slice(&c->last_message), &c->relay->arena, &n) == OK)
        sim_queue_put(c->relay, c->device, SIM_QUEUE_MESSAGE, n);
}

/* Who a stanza of the queue came from, against who an answer goes to. */
struct match {
    const struct sim_directory *people;
    enum sim_queue_kind kind;
    struct slice id;
    struct wa_jid to, participant;
};

static struct wa_jid jid_of(const struct buf *text)
{
    struct wa_jid jid = {0};

    if (text->len == 0 || wa_jid_parse(buf_slice(text), &jid) != OK) return (struct wa_jid){0};
    return jid;
}

static bool matches(const struct match *m, const struct sim_queued *q)
{
    struct wa_jid author = jid_of(&q->participant);

    if (q->kind != m->kind || !slice_eq(buf_slice(&q->id), m->id)) return false;
    if (!sim_same_device(m->people, jid_of(&q->from), m->to)) return false;
    return wa_jid_is_none(&author) || wa_jid_is_none(&m->participant) ||
           sim_same_device(m->people, author, m->participant);
}

/* Removes the oldest match, or all. */
static void settle(struct sim_conn *c, const struct match *m, bool all)
{
    LIST_EACH(l, &c->device->queue)
    {
        struct sim_queued *q = LIST_ENTRY(l, struct sim_queued, link);

        if (!matches(m, q)) continue;
        item_free(c->device, q);
        sim_changed(c->relay);
        if (!all) return;
    }
}

static struct match match_of(struct sim_conn *c, const struct wa_node *n, enum sim_queue_kind kind)
{
    return (struct match){.people = &c->relay->people,
                          .kind = kind,
                          .id = wa_node_text(n, "id"),
                          .to = wa_node_jid(n, "to"),
                          .participant = wa_node_jid(n, "participant")};
}

/* A retry receipt settles nothing: the ack behind it does, or the resend. */
void sim_queue_on_receipt(struct sim_conn *c, const struct wa_node *receipt)
{
    struct match m = match_of(c, receipt, SIM_QUEUE_MESSAGE);
    const struct wa_node *list = wa_node_child(receipt, "list"), *item;

    if (slice_is(wa_node_text(receipt, "type"), "retry")) return;
    settle(c, &m, true);
    if (!list) return;
    for (size_t i = 0; (item = wa_node_next(list, "item", &i));) {
        m.id = wa_node_text(item, "id");
        settle(c, &m, true);
    }
}

/* One ack, one stanza: behind a failed message the resend may already wait under the same id
 * (Baileys acks the first 250 ms late). */
void sim_queue_on_ack(struct sim_conn *c, const struct wa_node *ack)
{
    static const struct {
        const char *class;
        enum sim_queue_kind kind;
    } classes[] = {{"message", SIM_QUEUE_MESSAGE},
                   {"receipt", SIM_QUEUE_RECEIPT},
                   {"notification", SIM_QUEUE_NOTIFICATION},
                   {"call", SIM_QUEUE_CALL},
                   {"status", SIM_QUEUE_MESSAGE}};
    struct slice class = wa_node_text(ack, "class");

    for (size_t i = 0; i < ARRAY_LEN(classes); i++)
        if (slice_is(class, classes[i].class)) {
            struct match m = match_of(c, ack, classes[i].kind);

            settle(c, &m, false);
            return;
        }
}

static const char *class_of(enum sim_queue_kind kind)
{
    static const char *const names[] = {"message", "receipt", "notification", "call"};

    return names[kind];
}

/* The server recycles a stream whose client never answers for a stanza. */
bool sim_queue_claim(struct sim_conn *c)
{
    struct arena *arena = &c->relay->arena;
    struct wa_node *error, *ack;

    LIST_EACH(l, &c->device->queue)
    {
        struct sim_queued *q = LIST_ENTRY(l, struct sim_queued, link);

        if (!q->sent || c->relay->now_ms - q->sent_ms < SIM_OWED_MS) continue;
        error = wa_node_new(arena, "stream:error");
        ack = wa_node_add(error, arena, "ack");
        wa_node_set_text(ack, arena, "class", class_of(q->kind));
        wa_node_set(ack, arena, "id", buf_slice(&q->id));
        sim_conn_send(c, error);
        sim_conn_end(c, 250);
        return true;
    }
    return false;
}
