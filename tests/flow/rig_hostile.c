#include "tests/flow/rig_hostile.h"

#include "proto/base/text.h"
#include "tests/flow/rig_door.h"

/* ---- its thread ---- */

static void run_job(uv_async_t *wake)
{
    struct hostile *h = wake->data;

    pthread_mutex_lock(&h->lock);
    if (h->job) h->job(h, h->job_arg);
    h->job = NULL;
    pthread_cond_signal(&h->changed);
    pthread_mutex_unlock(&h->lock);
    if (!h->sim.stopping) sim_server_settle(&h->sim);
}

void hostile_do(struct hostile *h, void (*job)(struct hostile *h, void *arg), void *arg)
{
    pthread_mutex_lock(&h->lock);
    h->job_arg = arg;
    h->job = job;
    uv_async_send(&h->wake);
    while (h->job)
        pthread_cond_wait(&h->changed, &h->lock);
    pthread_mutex_unlock(&h->lock);
}

static void *live(void *arg)
{
    struct hostile *h = arg;

    uv_run(&h->loop, UV_RUN_DEFAULT);
    sim_server_done(&h->sim);
    uv_loop_close(&h->loop);
    return NULL;
}

static void stop(struct hostile *h, void *arg)
{
    sim_server_stop(&h->sim);
    uv_close((uv_handle_t *)&h->wake, NULL);
}

/* ---- what it says ---- */

static struct sim_conn *of_socket(struct sim_relay *r, const void *socket)
{
    LIST_EACH(l, &r->conns)
    {
        struct sim_conn *c = LIST_ENTRY(l, struct sim_conn, link);
        if (c->socket == socket) return c;
    }
    return NULL;
}

static void write_or_mangle(void *ctx, void *socket, struct slice bytes)
{
    struct hostile *h = CONTAINER_OF((struct sim_server *)ctx, struct hostile, sim);
    struct sim_conn *c = of_socket(&h->sim.relay, socket);
    AUTO(buf) other = {0};

    if (!h->mangle || !c || c->phase != SIM_HELLO) {
        h->write(ctx, socket, bytes);
        return;
    }
    h->mangle(&h->sim.relay, slice_from(bytes, WA_FRAME_HEAD), &other);
    h->write(ctx, socket, buf_slice(&other));
}

struct sim_conn *hostile_victim(struct hostile *h, enum sim_phase phase)
{
    LIST_EACH(l, &h->sim.relay.conns)
    {
        struct sim_conn *c = LIST_ENTRY(l, struct sim_conn, link);
        if (!c->local && c->phase == phase && (phase != SIM_OPEN || c->device)) return c;
    }
    return NULL;
}

void hostile_write(struct sim_conn *c, struct slice bytes)
{
    c->relay->host.write(c->relay->host.ctx, c->socket, bytes);
}

void hostile_seal(struct sim_conn *c, struct slice stanza)
{
    AUTO(buf) frame = {0};

    if (wa_transport_seal(&c->transport, stanza, &frame) != OK) door_failed("seal", err_trail());
    hostile_write(c, buf_slice(&frame));
}

void hostile_ping(struct sim_conn *c, const char *id)
{
    struct arena *arena = &c->relay->arena;
    AUTO(buf) stanza = {0};

    arena_reset(arena);
    struct wa_node *iq = wa_node_new(arena, "iq");
    wa_node_set_jid(iq, arena, "from", wa_jid_server());
    wa_node_set_text(iq, arena, "type", "get");
    wa_node_set_text(iq, arena, "xmlns", "urn:xmpp:ping");
    wa_node_set_text(iq, arena, "id", id);
    wa_node_encode(iq, &stanza);
    hostile_seal(c, buf_slice(&stanza));
}

bool hostile_heard(const struct hostile *h, const char *id)
{
    const struct list *lines = &h->sim.relay.trace.lines;

    for (const struct list *l = lines->prev; l != lines; l = l->prev) {
        const struct sim_traced *t = LIST_ENTRY(l, struct sim_traced, link);
        if (t->from_client && memmem(t->bytes.data, t->bytes.len, id, strlen(id))) return true;
    }
    return false;
}

/* ---- life ---- */

void hostile_open(struct hostile *h)
{
    static const struct sim_settings settings = {
        .listen.host = "127.0.0.1", .control.host = "127.0.0.1", .relay.seed = 1};
    AUTO(buf) key = {0};

    pthread_mutex_init(&h->lock, NULL);
    pthread_cond_init(&h->changed, NULL);
    uv_loop_init(&h->loop);
    uv_async_init(&h->loop, &h->wake, run_job);
    h->wake.data = h;
    if (sim_server_init(&h->sim, &h->loop, &settings) != OK || sim_server_open(&h->sim) != OK)
        door_failed("the hostile server does not open", err_trail());
    h->write = h->sim.relay.host.write;
    h->sim.relay.host.write = write_or_mangle;
    h->port = sim_listener_port(h->sim.listener);
    h->control_port = sim_control_port(h->sim.control);
    text_hex(SLICE_ARRAY(h->sim.relay.keys.root.public.bytes), &key);
    snprintf(h->root_key, sizeof(h->root_key), "%s", buf_text(&key));
    if (pthread_create(&h->thread, NULL, live, h)) door_failed("thread", NULL);
}

void hostile_close(struct hostile *h)
{
    hostile_do(h, stop, NULL);
    pthread_join(h->thread, NULL);
}
