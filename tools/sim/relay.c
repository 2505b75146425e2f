/* The relay as a whole: its inputs, its timers, its randomness. A connection's bytes go on in
 * conn.c, its stanzas in stanza.c. */
#include "tools/sim/relay.h"

#include <stdio.h>
#include <stdlib.h>

#include "proto/wire/cert.h"
#include "tools/sim/faults.h"

static void make_chain(struct sim_relay *r)
{
    enum { DAY_S = 86400, YEARS_S = 10 * 365 * DAY_S };
    struct wa_cert_plan plan;

    wa_cert_plan(&plan, &r->keys.root, &r->keys.intermediate, &r->keys.server.public,
                 sim_seconds(r) - DAY_S, sim_seconds(r) + YEARS_S);
    wa_cert_make(&plan, &r->chain);
}

void sim_relay_init(struct sim_relay *r, const struct sim_host *host,
                    const struct sim_options *options, const struct sim_keys *keys, int64_t now_ms)
{
    *r = (struct sim_relay){.host = *host, .options = *options, .keys = *keys, .now_ms = now_ms};
    r->random = options->seed;
    sim_directory_init(&r->people);
    list_init(&r->conns);
    list_init(&r->timers);
    list_init(&r->faults);
    sim_trace_init(&r->trace);
    sim_steps_init(&r->steps);
    make_chain(r);
}

void sim_relay_keys(struct sim_relay *r, const struct sim_keys *keys)
{
    r->keys = *keys;
    buf_reset(&r->chain);
    make_chain(r);
}

static void timer_free(struct sim_timer *t)
{
    list_remove(&t->link);
    buf_done(&t->bytes);
    free(t);
}

void sim_relay_done(struct sim_relay *r)
{
    LIST_EACH(l, &r->conns)
    sim_conn_gone(LIST_ENTRY(l, struct sim_conn, link), r->now_ms);
    LIST_EACH(l, &r->timers)
    timer_free(LIST_ENTRY(l, struct sim_timer, link));
    sim_faults_clear(r);
    sim_trace_done(&r->trace);
    sim_steps_done(&r->steps);
    sim_directory_done(&r->people);
    map_done(&r->conns_by_id);
    map_done(&r->refs);
    buf_done(&r->chain);
    arena_done(&r->arena);
}

struct sim_timer *sim_after(struct sim_relay *r, int64_t in_ms,
                            void (*run)(struct sim_relay *, struct sim_timer *), uint64_t conn)
{
    struct sim_timer *t = xcalloc(sizeof *t);
    struct list *at = r->timers.prev;

    t->due = r->now_ms + in_ms;
    t->run = run;
    t->conn = conn;
    /* Equal times keep their order; most timers are the latest. */
    while (at != &r->timers && LIST_ENTRY(at, struct sim_timer, link)->due > t->due)
        at = at->prev;
    list_insert(at->next, &t->link);
    return t;
}

int64_t sim_relay_due(const struct sim_relay *r)
{
    return list_empty(&r->timers) ? INT64_MAX
                                  : LIST_ENTRY(r->timers.next, struct sim_timer, link)->due;
}

void sim_relay_tick(struct sim_relay *r, int64_t now_ms)
{
    r->now_ms = now_ms;
    while (sim_relay_due(r) <= now_ms) {
        struct sim_timer *t = LIST_ENTRY(r->timers.next, struct sim_timer, link);

        list_remove(&t->link);
        arena_reset(&r->arena);
        t->run(r, t);
        timer_free(t);
    }
}

/* splitmix64: what needs no secret (ids, references, numbers) repeats with the seed. */
uint64_t sim_random(struct sim_relay *r)
{
    uint64_t z = (r->random += 0x9e3779b97f4a7c15u);

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

struct slice sim_new_id(struct sim_relay *r)
{
    return arena_printf(&r->arena, "%llu", 1000ull + ++r->last_id);
}

int64_t sim_seconds(const struct sim_relay *r) { return r->now_ms / 1000; }

struct sim_conn *sim_conn_find(const struct sim_relay *r, uint64_t id)
{
    return map_find(&r->conns_by_id, slice_of(&id, sizeof id));
}

static struct sim_conn *new_conn(struct sim_relay *r, int64_t now_ms)
{
    struct sim_conn *c;

    r->now_ms = now_ms;
    if (r->conns_by_id.count >= SIM_CONNS_MAX) return NULL;
    c = xcalloc(sizeof *c);
    c->relay = r;
    c->id = ++r->last_conn;
    wa_frames_init_server(&c->frames);
    list_push(&r->conns, &c->link);
    map_put(&r->conns_by_id, slice_of(&c->id, sizeof c->id), c);
    return c;
}

static void on_handshake_due(struct sim_relay *r, struct sim_timer *t)
{
    struct sim_conn *c = sim_conn_find(r, t->conn);

    if (c && (c->phase == SIM_HELLO || c->phase == SIM_FINISH)) sim_conn_end(c, 0);
}

struct sim_conn *sim_conn_open(struct sim_relay *r, void *socket, int64_t now_ms)
{
    struct sim_conn *c = new_conn(r, now_ms);

    if (!c) return NULL;
    c->socket = socket;
    wa_frames_limit(&c->frames, WA_HANDSHAKE_MAX);
    sim_after(r, SIM_HANDSHAKE_MS, on_handshake_due, c->id);
    return c;
}

struct sim_conn *sim_conn_local(struct sim_relay *r, struct sim_device *device, void *socket,
                                int64_t now_ms)
{
    struct sim_conn *c = new_conn(r, now_ms);

    if (!c) return NULL;
    arena_reset(&r->arena);
    c->local = true;
    c->socket = socket;
    c->phase = SIM_OPEN;
    c->device = device;
    c->device->conn = c;
    sim_backlog_start(c);
    return c;
}

void sim_conn_gone(struct sim_conn *c, int64_t now_ms)
{
    struct sim_relay *r = c->relay;

    r->now_ms = now_ms;
    arena_reset(&r->arena);
    if (c->device && c->device->conn == c) {
        c->device->conn = NULL;
        c->device->available = false;
    }
    if (c->registration) sim_pairing_done(c);
    list_remove(&c->link);
    map_remove(&r->conns_by_id, slice_of(&c->id, sizeof c->id));
    wa_frames_done(&c->frames);
    wa_transport_wipe(&c->transport);
    buf_done(&c->held);
    buf_done(&c->last_message);
    free(c);
}

const char *sim_conn_name(const struct sim_conn *c, char out[SIM_TRACE_WHO_MAX])
{
    char name[SIM_NUMBER_MAX + 8];

    if (c->device)
        snprintf(out, SIM_TRACE_WHO_MAX, "%s", sim_device_name(c->device, name));
    else
        snprintf(out, SIM_TRACE_WHO_MAX, "conn %llu", (unsigned long long)c->id);
    return out;
}

void sim_note(struct sim_conn *c, const char *text)
{
    struct sim_relay *r = c->relay;
    char who[SIM_TRACE_WHO_MAX];

    sim_trace_note(&r->trace, r->now_ms, sim_conn_name(c, who), text);
    if (r->host.note) r->host.note(r->host.ctx, who, text);
}
