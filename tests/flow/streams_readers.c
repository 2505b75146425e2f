/* Streams that stall, fill up, are cut, lose the end of what was on its way and resume, on this
 * worker or another; and one of a tenant that must see nothing. See streams.h. */
#include "storage/events.h"
#include "tests/flow/streams.h"

static void note(struct stream *s, struct item item)
{
    if (s->item_count == s->item_cap) {
        s->item_cap = s->item_cap ? s->item_cap * 2 : 1024;
        s->items = xrealloc(s->items, s->item_cap * sizeof(*s->items));
    }
    s->items[s->item_count++] = item;
}

static void do_later(struct stream *s, uint64_t most_ms)
{
    timer_arm(s->worker, &s->timer,
              worker_now(s->worker) + 1 + (int64_t)below(&s->random, most_ms));
}

static bool on_event(struct hub_stream *hub, struct hub_event *e, struct hub_match match)
{
    struct stream *s = hub->owner;
    struct shared_bytes *json = hub_event_json(e);
    char text[96];
    unsigned long long seq;
    struct item item = {.seq = e->seq};

    if (e->seq == 0) {
        HAPPENED(live_only);
        return true;
    }
    if (s->room == 0) {
        HAPPENED(fills);
        s->state = STALLED;
        do_later(s, 60);
        return false;
    }
    s->room--;
    snprintf(text, sizeof(text), SLICE_FMT, SLICE_ARG(slice_of(json->data, json->len)));
    if (sscanf(text, "{\"seq\":%llu,\"account\":%u,\"n\":%u", &seq, &item.account, &item.n) != 3 ||
        seq != e->seq || e->head->account != item.account)
        s->wrong = "the bytes are of another event";
    note(s, item);
    return true;
}

/* Only what the log no longer holds may be called lost. */
static void on_gap(struct hub_stream *hub, uint64_t first, uint64_t last)
{
    struct stream *s = hub->owner;
    struct view *v = house.views[worker_index(s->worker)];
    struct db_log log;

    HAPPENED(gaps);
    must(view_begin(v), "view");
    must(db_log_find(v, TENANT, &log), "log");
    view_end(v);
    if (first > last)
        s->wrong = "a cursor the log had given out was called foreign";
    else if (last >= log.first_seq)
        s->wrong = "a gap was announced for rows that the log holds";
    note(s, (struct item){.seq = first, .last = last});
}

static void on_end(struct hub_stream *hub, err_t why)
{
    ((struct stream *)hub->owner)->wrong = "the hub ended a stream";
}

/* Now and then the client asks for something else when it comes back. */
static void choose_filters(struct stream *s)
{
    struct event_filter *f = s->filters;

    if (s->session_count && below(&s->random, 4)) return;
    memset(f, 0, sizeof(s->filters));
    s->hub.filters = f;
    s->hub.filter_count = 1 + below(&s->random, 2);
    for (size_t i = 0; i < s->hub.filter_count; i++) {
        if (below(&s->random, 2)) f[i].kinds = 1ull << kinds[below(&s->random, KINDS)];
        if (below(&s->random, 3) == 0) f[i].account = 1 + (uint32_t)below(&s->random, ACCOUNTS);
        if (below(&s->random, 4) == 0) f[i].peer = 1 + (uint32_t)below(&s->random, PEERS);
    }
    s->hub.follows_key = below(&s->random, 4) == 0;
    if (s->hub.follows_key) s->hub.filter_count -= below(&s->random, 2);
}

static uint64_t last_seen(const struct stream *s)
{
    const struct session *now = &s->sessions[s->session_count - 1];
    const struct item *item;

    if (s->item_count == now->first) return now->after;
    item = &s->items[s->item_count - 1];
    return item->last ? item->last : item->seq;
}

static void open_stream(struct stream *s)
{
    uint64_t after = s->session_count ? last_seen(s) : below(&s->random, 2) ? 0 : HUB_FROM_NOW;

    choose_filters(s);
    s->room = below(&s->random, 3) ? 500 + below(&s->random, 5000) : below(&s->random, 300);
    if (atomic_load(&house.finishing)) s->room = SIZE_MAX;
    hub_stream_open(hub_at(house.server.hubs, worker_index(s->worker)), &s->hub, after);
    s->sessions = xrealloc(s->sessions, (s->session_count + 1) * sizeof(*s->sessions));
    s->sessions[s->session_count++] = (struct session){.after = s->hub.cursor,
                                                       .first = s->item_count,
                                                       .filter_count = s->hub.filter_count,
                                                       .filters = {s->filters[0], s->filters[1]},
                                                       .follows_key = s->hub.follows_key,
                                                       .sandbox = s->hub.who.world == WORLD_TEST,
                                                       .all_worlds = s->hub.who.all_worlds};
    s->state = OPEN;
    do_later(s, 80);
}

static void drop(struct stream *s)
{
    struct session *now = &s->sessions[s->session_count - 1];
    size_t mine = s->item_count - now->first;

    HAPPENED(drops);
    hub_stream_close(&s->hub);
    if (mine && below(&s->random, 3) == 0) { /* the last frames never arrived */
        HAPPENED(lost_tails);
        s->item_count -= below(&s->random, mine < 50 ? mine + 1 : 50);
    }
    now->end = s->item_count;
    s->state = GONE;
    do_later(s, 120);
}

static void act_open(struct stream *s)
{
    if (below(&s->random, 2)) {
        drop(s);
        return;
    }
    HAPPENED(stalls);
    hub_stream_hold(&s->hub);
    s->state = STALLED;
    do_later(s, 100);
}

static void act_stalled(struct stream *s)
{
    if (below(&s->random, 3) == 0) {
        HAPPENED(cuts);
        drop(s);
        return;
    }
    s->room = 200 + below(&s->random, 5000);
    s->state = OPEN;
    hub_stream_resume(&s->hub);
    do_later(s, 80);
}

static void on_moved(struct post *p, struct worker *w)
{
    struct stream *s = CONTAINER_OF(p, struct stream, move);

    s->worker = w;
    open_stream(s);
}

static void come_back(struct stream *s)
{
    struct worker *to = house.workers[below(&s->random, house.server.worker_count)];

    if (to != s->worker) HAPPENED(moves);
    worker_post(to, &s->move); /* whose the stream is from here on */
}

/* Nothing is written any more: read to the end and stop. */
static void finish(struct stream *s)
{
    s->room = SIZE_MAX;
    if (s->state == STALLED) {
        s->state = OPEN;
        hub_stream_resume(&s->hub);
    }
    if (s->hub.cursor < house.last) {
        do_later(s, 20);
        return;
    }
    hub_stream_close(&s->hub);
    s->sessions[s->session_count - 1].end = s->item_count;
    s->state = SETTLED;
    atomic_fetch_add(&house.settled, 1);
}

static void on_time(struct timer *t, int64_t now)
{
    struct stream *s = CONTAINER_OF(t, struct stream, timer);

    if (s->state == GONE)
        come_back(s);
    else if (atomic_load(&house.finishing))
        finish(s);
    else if (s->state == OPEN)
        act_open(s);
    else
        act_stalled(s);
}

/* ---- another tenant ---- */

static bool on_leak(struct hub_stream *s, struct hub_event *e, struct hub_match match)
{
    atomic_store(&house.leaked, true);
    return true;
}

static void open_stranger(struct post *p, struct worker *w)
{
    static struct event_filter all;

    house.stranger = (struct hub_stream){
        .who = {.tenant = STRANGERS, .key = "key_2", .rights = RIGHTS_TOOLS, .all_worlds = true},
        .filters = &all,
        .filter_count = 1,
        .on_event = on_leak};
    hub_stream_open(hub_here(house.server.hubs), &house.stranger, 0);
}

/* ---- their life ---- */

void readers_start(uint64_t seed)
{
    static struct post stranger = {.run = open_stranger};

    worker_post(house.workers[0], &stranger);
    for (size_t i = 0; i < STREAMS; i++) {
        struct stream *s = &house.streams[i];
        s->random = seed * 1000 + i;
        s->timer.fire = on_time;
        s->move.run = on_moved;
        s->hub.on_event = on_event;
        s->hub.on_gap = on_gap;
        s->hub.on_end = on_end;
        s->hub.owner = s;
        s->hub.who = (struct principal){.tenant = TENANT,
                                        .key = KEY,
                                        .rights = RIGHTS_TOOLS,
                                        .world = i % 5 == 0 ? WORLD_TEST : WORLD_LIVE,
                                        .all_worlds = i % 5 == 1};
        worker_post(house.workers[i % house.server.worker_count], &s->move);
    }
}

void readers_done(void)
{
    for (size_t i = 0; i < STREAMS; i++) {
        free(house.streams[i].items);
        free(house.streams[i].sessions);
    }
}
