/* Armed faults are a short list, searched at the places that can misbehave; the ones that happen
 * at once are a row of functions. */
#include "tools/sim/faults.h"

#include <stdio.h>
#include <stdlib.h>

enum when { WHEN_STANZA, WHEN_TABLE, WHEN_NOW };

static const struct fault_row {
    const char *word;
    enum when when;
    const char *text;
} rows[] = {
#define FAULT(name, word, when, text) {word, WHEN_##when, text},
#include "tools/sim/faults.def"
#undef FAULT
};

const char *sim_fault_name(enum sim_fault_kind kind) { return rows[kind].word; }
const char *sim_fault_text(enum sim_fault_kind kind) { return rows[kind].text; }

err_t sim_fault_kind_of(struct slice word, enum sim_fault_kind *out)
{
    for (size_t i = 0; i < SIM_FAULTS; i++)
        if (slice_is(word, rows[i].word)) {
            *out = i;
            return OK;
        }
    return fail(BAD_ARGUMENT, "no fault is called " SLICE_FMT, SLICE_ARG(word));
}

static bool aims_at(const struct sim_fault *f, const struct sim_device *dev)
{
    char name[SIM_NUMBER_MAX + 8];

    if (!f->device[0]) return true;
    if (!dev) return false;
    return strcmp(f->device, dev->account->number) == 0 ||
           strcmp(f->device, sim_device_name(dev, name)) == 0;
}

static bool use(struct sim_fault *f, struct sim_fault *out)
{
    if (f->skip > 0) {
        f->skip--;
        return false;
    }
    if (out) *out = *f;
    if (--f->count == 0) {
        list_remove(&f->link);
        free(f);
    }
    return true;
}

bool sim_fault_take_tag(struct sim_relay *r, enum sim_fault_kind kind, const struct sim_device *dev,
                        struct slice tag, struct sim_fault *out)
{
    LIST_EACH(l, &r->faults)
    {
        struct sim_fault *f = LIST_ENTRY(l, struct sim_fault, link);

        if (f->kind == kind && aims_at(f, dev) && (!f->tag[0] || slice_is(tag, f->tag)))
            return use(f, out);
    }
    return false;
}

bool sim_fault_take(struct sim_relay *r, enum sim_fault_kind kind, const struct sim_device *dev,
                    struct sim_fault *out)
{
    return sim_fault_take_tag(r, kind, dev, SLICE_NONE, out);
}

void sim_faults_clear(struct sim_relay *r)
{
    LIST_EACH(l, &r->faults)
    free(LIST_ENTRY(l, struct sim_fault, link));
    list_init(&r->faults);
}

/* ---- faults that happen at once ---- */

static void now_stream_error(struct sim_device *dev, const struct sim_fault *f)
{
    char code[24];

    snprintf(code, sizeof code, "%lld", (long long)f->value);
    sim_conn_stream_error(dev->conn, f->value ? code : NULL, f->text[0] ? f->text : NULL);
}

static void now_close(struct sim_device *dev, const struct sim_fault *f)
{
    sim_conn_end(dev->conn, 0);
}

static void now_stream_end(struct sim_device *dev, const struct sim_fault *f)
{
    sim_conn_send(dev->conn, wa_node_new(&dev->conn->relay->arena, "xmlstreamend"));
    sim_conn_end(dev->conn, 50);
}

static void now_server_ping(struct sim_device *dev, const struct sim_fault *f)
{
    sim_conn_ping(dev->conn);
}

static void now_device_list_change(struct sim_device *dev, const struct sim_fault *f)
{
    sim_notify_devices(dev->conn->relay, dev->account, "update", dev);
}

static void now_identity_change(struct sim_device *dev, const struct sim_fault *f)
{
    sim_notify_identity(dev->conn->relay, dev->account);
}

static void now_redeliver(struct sim_device *dev, const struct sim_fault *f)
{
    /* Another fault may end the connection on the way. */
    for (int64_t i = 0; dev->conn && i < (f->value > 0 ? f->value : 1); i++)
        sim_redeliver_last(dev->conn);
}

static void now_low_prekeys(struct sim_device *dev, const struct sim_fault *f)
{
    sim_tell_prekeys(dev->conn->relay, dev, f->value);
}

static void now_lose_prekeys(struct sim_device *dev, const struct sim_fault *f)
{
    dev->bundle.prekey_count = 0;
    sim_changed(dev->conn->relay);
}

static void now_dirty(struct sim_device *dev, const struct sim_fault *f)
{
    struct arena *arena = &dev->conn->relay->arena;
    struct wa_node *ib = wa_node_new(arena, "ib"), *dirty;

    wa_node_set_jid(ib, arena, "from", wa_jid_server());
    dirty = wa_node_add(ib, arena, "dirty");
    wa_node_set_text(dirty, arena, "type", f->text[0] ? f->text : "account_sync");
    wa_node_set_int(dirty, arena, "timestamp", sim_seconds(dev->conn->relay));
    sim_conn_send(dev->conn, ib);
}

static void now_edge_routing(struct sim_device *dev, const struct sim_fault *f)
{
    struct arena *arena = &dev->conn->relay->arena;
    struct wa_node *ib = wa_node_new(arena, "ib"), *edge;

    wa_node_set_jid(ib, arena, "from", wa_jid_server());
    edge = wa_node_add(ib, arena, "edge_routing");
    wa_node_set_bytes(wa_node_add(edge, arena, "routing_info"), SLICE("\x08\x02\x08\x05"));
    sim_conn_send(dev->conn, ib);
}

static void now_unlink(struct sim_device *dev, const struct sim_fault *f)
{
    sim_device_unlink(dev->conn->relay, dev);
}

static void (*const now[SIM_FAULTS])(struct sim_device *dev, const struct sim_fault *f) = {
    [SIM_FAULT_STREAM_ERROR] = now_stream_error,
    [SIM_FAULT_CLOSE] = now_close,
    [SIM_FAULT_STREAM_END] = now_stream_end,
    [SIM_FAULT_SERVER_PING] = now_server_ping,
    [SIM_FAULT_DEVICE_LIST_CHANGE] = now_device_list_change,
    [SIM_FAULT_IDENTITY_CHANGE] = now_identity_change,
    [SIM_FAULT_REDELIVER] = now_redeliver,
    [SIM_FAULT_LOW_PREKEYS] = now_low_prekeys,
    [SIM_FAULT_LOSE_PREKEYS] = now_lose_prekeys,
    [SIM_FAULT_DIRTY] = now_dirty,
    [SIM_FAULT_EDGE_ROUTING] = now_edge_routing,
    [SIM_FAULT_UNLINK] = now_unlink,
};

/* Every connected device that the fault names; phones only when named in full. */
static err_t happen(struct sim_relay *r, const struct sim_fault *f)
{
    unsigned hit = 0;

    LIST_EACH(l, &r->conns)
    {
        struct sim_conn *c = LIST_ENTRY(l, struct sim_conn, link);

        if (!c->device || c->device->conn != c || !aims_at(f, c->device)) continue;
        if (c->local && !strchr(f->device, ':')) continue;
        now[f->kind](c->device, f);
        hit++;
    }
    ENSURE(hit > 0, NOT_FOUND);
    return OK;
}

err_t sim_fault_put(struct sim_relay *r, const struct sim_fault *f)
{
    struct sim_fault *copy;

    if (rows[f->kind].when == WHEN_NOW) return happen(r, f);
    copy = xcalloc(sizeof *copy);
    *copy = *f;
    if (copy->count == 0) copy->count = 1;
    if (rows[f->kind].when == WHEN_STANZA && !copy->tag[0])
        snprintf(copy->tag, sizeof copy->tag, "message");
    list_push(&r->faults, &copy->link);
    return OK;
}
