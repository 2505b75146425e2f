/* Links of the server (link.h, played here) as wires to the relay. Bytes travel as parcels, in
 * order within each direction, with a latency that the dice choose. */
#include "tests/flow/world.h"

struct town *the_town;

/* A connection as the relay knows it; lives as long as the world, so that nobody's name for it
 * ever dangles. */
struct wire {
    struct list node;
    struct town *world;
    unsigned number;
    struct link *link;     /* NULL: our side is gone */
    struct sim_conn *conn; /* NULL: not open, or the relay's side is gone */
    int64_t clear_at[2];   /* per direction: nothing arrives before */
    bool silent;           /* swallows bytes */
};

struct links {
    struct worker *worker;
    void (*done)(void *arg); /* told when the last link is gone */
    void *arg;
};

struct link {
    struct link_owner owner;
    struct links *all;
    struct wire *wire;
    bool up, paused, closing;
    const char *why;
    struct list held; /* parcels that came while paused */
};

enum way { TO_SERVER, TO_US };
enum parcel_kind { PARCEL_OPEN, PARCEL_BYTES, PARCEL_END };
struct parcel {
    struct list node;
    int64_t at;
    struct wire *wire;
    enum way way;
    enum parcel_kind kind;
    const char *why;
    struct buf bytes;
};

static void parcel_free(struct parcel *p)
{
    list_remove(&p->node);
    buf_done(&p->bytes);
    free(p);
}

/* Sorted by time; equal times stay in the order of posting. */
static void put(struct town *w, struct parcel *p)
{
    struct list *at = &w->parcels;

    while (at->prev != &w->parcels && LIST_ENTRY(at->prev, struct parcel, node)->at > p->at)
        at = at->prev;
    list_insert(at, &p->node);
}

static struct parcel *post(struct wire *wire, enum way way, enum parcel_kind kind, int64_t in_ms)
{
    struct town *w = wire->world;
    struct parcel *p = xcalloc(sizeof *p);

    p->at = w->now + in_ms;
    if (p->at < wire->clear_at[way]) p->at = wire->clear_at[way];
    wire->clear_at[way] = p->at;
    p->wire = wire;
    p->way = way;
    p->kind = kind;
    put(w, p);
    return p;
}

static int64_t latency(struct town *w)
{
    return chance(w, 90) ? 1 + (int64_t)roll(w, 40) : (int64_t)roll(w, 1500);
}

static void post_bytes(struct wire *wire, enum way way, struct slice bytes)
{
    size_t cut = chance(wire->world, 10) ? roll(wire->world, bytes.len) : 0;

    if (bytes.len == 0) return;
    if (cut)
        buf_put(&post(wire, way, PARCEL_BYTES, latency(wire->world))->bytes,
                slice_sub(bytes, 0, cut));
    buf_put(&post(wire, way, PARCEL_BYTES, latency(wire->world))->bytes, slice_from(bytes, cut));
}

/* ---- link.h ---- */

struct link *link_open(struct links *l, size_t target, const struct link_owner *owner)
{
    struct town *w = the_town;
    struct link *k = xcalloc(sizeof *k);
    struct wire *wire = xcalloc(sizeof *wire);

    k->owner = *owner;
    k->all = l;
    k->wire = wire;
    list_init(&k->held);
    wire->world = w;
    wire->link = k;
    wire->number = ++w->wire_count;
    list_push(&w->wires, &wire->node);
    if (w->refuse || loop_due(w, LOOP_SOCKET)) {
        if (w->refuse) plan_met("refused");
        w->refuse -= w->refuse > 0;
        post(wire, TO_US, PARCEL_END, latency(w))->why = "connection refused";
    } else {
        post(wire, TO_US, PARCEL_OPEN, latency(w));
    }
    return k;
}

/* The connection is reset: what was on its way does not arrive. */
static void reset(struct wire *wire)
{
    struct town *w = wire->world;

    LIST_EACH(node, &w->parcels)
    {
        struct parcel *p = LIST_ENTRY(node, struct parcel, node);
        if (p->wire == wire && p->kind == PARCEL_BYTES) parcel_free(p);
    }
    wire->clear_at[TO_US] = wire->clear_at[TO_SERVER] = w->now;
    post(wire, TO_US, PARCEL_END, 1 + (int64_t)roll(w, 50))->why = "cut";
    post(wire, TO_SERVER, PARCEL_END, 1 + (int64_t)roll(w, 5000));
}

void link_write(struct link *k, struct slice bytes)
{
    if (k->closing || k->wire->world->deaf) return;
    if (loop_due(k->wire->world, LOOP_SOCKET))
        reset(k->wire);
    else
        post_bytes(k->wire, TO_SERVER, bytes);
}

void link_close(struct link *k, const char *why)
{
    enum { NOTICED_MS = 120 * 1000 };
    struct wire *wire = k->wire;

    if (k->closing) return;
    k->closing = true;
    post(wire, TO_SERVER, PARCEL_END, wire->silent ? NOTICED_MS : 1);
    post(wire, TO_US, PARCEL_END, wire->silent ? LINK_CLOSE_MS : 2)->why = why;
}

void link_pause(struct link *k)
{
    k->paused = true;
    note(k->wire->world, "wire %u is not read", k->wire->number);
}

void link_resume(struct link *k)
{
    struct town *w = k->wire->world;

    k->paused = false;
    for (struct list *node; (node = list_pop(&k->held));) {
        struct parcel *p = LIST_ENTRY(node, struct parcel, node);
        p->at = w->now;
        put(w, p);
    }
}

size_t link_queued(const struct link *k) { return 0; }
err_t links_new(struct worker *w, struct resolver *resolver, const struct link_target *targets,
                size_t count, struct links **out)
{
    *out = xcalloc(sizeof **out);
    (*out)->worker = w;
    return OK;
}
void links_free(struct links *l) { free(l); }
err_t link_target_open(struct link_target *t) { return OK; }
void link_target_close(struct link_target *t) {}
err_t link_target_parse(const char *url, const char *ca, struct link_target *out) { return OK; }

size_t links_count(const struct links *l)
{
    size_t n = 0;

    LIST_EACH(node, &the_town->wires)
    {
        struct wire *wire = LIST_ENTRY(node, struct wire, node);
        n += wire->link && wire->link->all == l;
    }
    return n;
}

static void tell_links_done(struct links *l)
{
    void (*done)(void *) = l->done;

    if (!done || links_count(l)) return;
    l->done = NULL;
    clock_enter(l->worker);
    done(l->arg);
    clock_leave();
}

void links_close(struct links *l, void (*done)(void *arg), void *arg)
{
    l->done = done;
    l->arg = arg;
    LIST_EACH(node, &the_town->wires)
    {
        struct wire *wire = LIST_ENTRY(node, struct wire, node);
        if (wire->link && wire->link->all == l) link_close(wire->link, "stopping");
    }
    tell_links_done(l);
}

/* ---- arrivals ---- */

static void link_free(struct link *k)
{
    for (struct list *node; (node = list_pop(&k->held));)
        parcel_free(LIST_ENTRY(node, struct parcel, node));
    k->wire->link = NULL;
    free(k);
}

static void end_ours(struct wire *wire, const char *why)
{
    struct link *k = wire->link;
    struct link_owner owner;
    struct links *all;

    if (!k) return;
    note(wire->world, "wire %u is down: %s", wire->number, why);
    owner = k->owner;
    all = k->all;
    link_free(k);
    clock_enter(all->worker);
    owner.on_down(owner.context, why);
    clock_leave();
    tell_links_done(all);
}

static void end_theirs(struct wire *wire)
{
    if (wire->conn) sim_conn_gone(wire->conn, wire->world->now);
    wire->conn = NULL;
}

static void open_both(struct wire *wire)
{
    struct town *w = wire->world;

    if (!wire->link || wire->link->closing) return;
    wire->conn = sim_conn_open(&w->relay, wire, w->now);
    note(w, "wire %u is up", wire->number);
    wire->link->up = true;
    clock_enter(wire->link->all->worker);
    wire->link->owner.on_up(wire->link->owner.context);
    clock_leave();
}

static void bytes_to_us(struct wire *wire, struct slice bytes)
{
    struct link *k = wire->link;

    if (!k || !k->up || k->closing) return;
    clock_enter(k->all->worker);
    k->owner.on_data(k->owner.context, bytes);
    clock_leave();
}

static void deliver(struct parcel *p)
{
    struct wire *wire = p->wire;
    struct slice bytes = buf_slice(&p->bytes);

    if (p->kind == PARCEL_OPEN)
        open_both(wire);
    else if (p->kind == PARCEL_END && p->way == TO_US)
        end_ours(wire, p->why);
    else if (p->kind == PARCEL_END)
        end_theirs(wire);
    else if (wire->silent)
        return;
    else if (p->way == TO_US && loop_due(wire->world, LOOP_SOCKET))
        reset(wire);
    else if (p->way == TO_US)
        bytes_to_us(wire, bytes);
    else if (wire->conn)
        sim_conn_bytes(wire->conn, bytes, wire->world->now);
}

int64_t net_due(const struct town *w)
{
    if (list_empty(&w->parcels)) return INT64_MAX;
    return LIST_ENTRY(w->parcels.next, struct parcel, node)->at;
}

void net_deliver(struct town *w)
{
    struct parcel *p = LIST_ENTRY(list_pop(&w->parcels), struct parcel, node);
    struct link *k = p->wire->link;

    if (p->way == TO_US && p->kind == PARCEL_BYTES && k && k->paused) {
        list_push(&k->held, &p->node);
        return;
    }
    mix(w, slice_of(&p->at, sizeof p->at));
    mix(w, buf_slice(&p->bytes));
    deliver(p);
    parcel_free(p);
}

/* ---- the relay's side ---- */

static void host_write(void *ctx, void *socket, struct slice bytes)
{
    post_bytes(socket, TO_US, bytes);
}

static void host_close(void *ctx, void *socket)
{
    struct wire *wire = socket;

    if (!wire->silent)
        post(wire, TO_US, PARCEL_END, latency(wire->world))->why = "closed by the server";
    post(wire, TO_SERVER, PARCEL_END, 5);
}

static void host_deliver(void *ctx, struct sim_conn *local, struct slice stanza)
{
    sim_phones_deliver(&((struct town *)ctx)->phones, local, stanza);
}

static void host_changed(void *ctx) {}

static void host_note(void *ctx, const char *who, const char *text)
{
    note(ctx, "relay: %s: %s", who, text);
}

struct sim_host net_host(struct town *w)
{
    return (struct sim_host){.ctx = w,
                             .write = host_write,
                             .close = host_close,
                             .deliver = host_deliver,
                             .changed = host_changed,
                             .note = host_note};
}

/* ---- faults ---- */

static struct wire *pick(struct town *w)
{
    struct wire *up[64];
    size_t n = 0;

    LIST_EACH(node, &w->wires)
    {
        struct wire *wire = LIST_ENTRY(node, struct wire, node);
        if (wire->link && wire->link->up && !wire->silent && n < ARRAY_LEN(up)) up[n++] = wire;
    }
    return n ? up[roll(w, n)] : NULL;
}

/* Half of what would have come next still does. */
static void deliver_half(struct wire *wire)
{
    LIST_EACH(node, &wire->world->parcels)
    {
        struct parcel *p = LIST_ENTRY(node, struct parcel, node);

        if (p->wire != wire || p->kind != PARCEL_BYTES || p->bytes.len < 2) continue;
        struct slice half = slice_sub(buf_slice(&p->bytes), 0, p->bytes.len / 2);
        if (p->way == TO_US)
            bytes_to_us(wire, half);
        else if (wire->conn)
            sim_conn_bytes(wire->conn, half, wire->world->now);
        return;
    }
}

static bool has_bytes(const struct town *w, const struct wire *wire)
{
    LIST_EACH(node, (struct list *)&w->parcels)
    {
        struct parcel *p = LIST_ENTRY(node, struct parcel, node);
        if (p->wire == wire && p->kind == PARCEL_BYTES && p->bytes.len >= 2) return true;
    }
    return false;
}

bool net_cut(struct town *w, bool inside_frame)
{
    struct wire *wire = pick(w);

    if (!wire || wire->link->paused || (inside_frame && !has_bytes(w, wire))) return false;
    if (inside_frame) deliver_half(wire);
    reset(wire);
    return true;
}

bool net_silence(struct town *w)
{
    struct wire *wire = pick(w);

    if (wire) wire->silent = true;
    return wire != NULL;
}

bool net_stall(struct town *w, int64_t ms)
{
    struct wire *wire = pick(w);
    enum way way = chance(w, 50) ? TO_US : TO_SERVER;

    if (!wire) return false;
    if (wire->clear_at[way] < w->now + ms) wire->clear_at[way] = w->now + ms;
    return true;
}

bool net_swizzle(struct town *w)
{
    enum { LONGEST_MS = 20 * 1000 };
    unsigned hit = 0;

    LIST_EACH(node, &w->wires)
    {
        struct wire *wire = LIST_ENTRY(node, struct wire, node);
        int64_t until = w->now + 500 + (int64_t)roll(w, LONGEST_MS);

        if (!wire->link || !wire->link->up || chance(w, 30)) continue;
        for (int way = TO_SERVER; way <= TO_US; way++)
            if (wire->clear_at[way] < until) wire->clear_at[way] = until;
        hit++;
    }
    return hit > 1;
}

void net_kill(struct town *w)
{
    LIST_EACH(node, &w->parcels)
    {
        struct parcel *p = LIST_ENTRY(node, struct parcel, node);
        if (p->way == TO_US) parcel_free(p);
    }
    LIST_EACH(node, &w->wires)
    {
        struct wire *wire = LIST_ENTRY(node, struct wire, node);
        if (!wire->link) continue;
        link_free(wire->link);
        wire->clear_at[TO_SERVER] = w->now;
        post(wire, TO_SERVER, PARCEL_END, 1 + (int64_t)roll(w, 3000));
    }
}

/* ---- life ---- */

void net_init(struct town *w)
{
    list_init(&w->parcels);
    list_init(&w->wires);
    the_town = w;
}

void net_done(struct town *w)
{
    for (struct list *node; (node = list_pop(&w->parcels));)
        parcel_free(LIST_ENTRY(node, struct parcel, node));
    for (struct list *node; (node = list_pop(&w->wires));) {
        struct wire *wire = LIST_ENTRY(node, struct wire, node);
        end_theirs(wire);
        free(wire);
    }
}
