/* One hub per worker. A tenant that has streams here has a feed: the last number delivered and its
 * live streams. Streams that replay wait in one list per hub and take turns; all of them together
 * read one slice of the log per loop turn, so that a long replay, or a thousand of them, keep
 * nobody else waiting. Held streams wait for their owner.
 *
 * Callbacks may close any stream, so walks remember their next node in the hub (`next`), and a
 * callback's own stream is only touched again while `current` still names it. */
#include "server/events/hub.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "proto/base/map.h"
#include "server/api/edge.h"
#include "server/metrics.h"
#include "server/release.h"
#include "server/server.h"
#include "storage/events.h"
#include "storage/writer.h"

enum {
    ROW_COST = 512, /* what a row costs whoever it is for, as bytes */
    HUB_RUN = 32,   /* events of a commit that are shown to one stream after the other */
};

struct hub_feed {
    uint32_t tenant;
    uint64_t last;
    struct list live;
};

/* A key that streams here belong to, or that is subscribed to something: streams find it once, not
 * with every event. */
struct hub_key {
    size_t streams;
    size_t n;
    struct event_filter *filters;
    char name[PRINCIPAL_KEY_MAX];
};

struct hub {
    struct hubs *all;
    struct worker *worker;
    struct view *view, *look; /* replay; numbers of the log */
    struct map feeds;         /* tenant -> hub_feed */
    atomic_uint feed_count;   /* 0: commits need not be told here */
    struct map keys;          /* key id -> hub_key */
    struct list replaying, held;
    struct list round; /* of a walk over `replaying`: behind the last of those that wait now */
    struct list *next; /* of the walk under way */
    struct hub_stream *current; /* whose callback runs; NULL when it was closed in it */
    struct post replay;
    bool replay_posted;
    size_t read;    /* of the log in this loop turn, by all that replay */
    uint64_t shown; /* not counted yet */
};

struct hubs {
    struct server *server;
    size_t count;
    struct hub hubs[];
};

/* ---- events ---- */

struct shared_bytes *hub_event_json(struct hub_event *e)
{
    AUTO(buf) b = {0};

    if (e->json_) return e->json_;
    if (e->seq)
        event_json(&b, e->seq, e->bytes);
    else
        buf_put(&b, e->bytes);
    return e->json_ = shared_bytes_new(buf_slice(&b));
}

struct shared_bytes *hub_event_frame(struct hub_event *e, enum hub_frame kind,
                                     void (*build)(struct hub_event *e, struct buf *out))
{
    AUTO(buf) b = {0};

    if (e->frames_[kind]) return e->frames_[kind];
    build(e, &b);
    return e->frames_[kind] = shared_bytes_new(buf_slice(&b));
}

static void hub_event_done(struct hub_event *e)
{
    if (e->json_) shared_bytes_unref(e->json_);
    for (size_t i = 0; i < HUB_FRAMES; i++)
        if (e->frames_[i]) shared_bytes_unref(e->frames_[i]);
}

static struct hub_event event_of(uint32_t tenant, uint64_t seq, const struct event_head *head,
                                 struct slice bytes)
{
    return (struct hub_event){.tenant = tenant,
                              .seq = seq,
                              .head = head,
                              .kind = event_of_number(head->type),
                              .bytes = bytes};
}

/* ---- matching ---- */

static uint64_t match_all(const struct event_filter *filters, size_t n,
                          const struct event_head *head)
{
    uint64_t bits = 0;

    for (size_t i = 0; i < n && i < 64; i++)
        if (event_filter_matches(&filters[i], head)) bits |= 1ull << i;
    return bits;
}

static struct hub_match match(const struct hub_stream *s, const struct hub_event *e)
{
    struct hub_match m = {0};

    if (!principal_sees(&s->who, e->tenant, e->head->world != 0)) return m;
    m.own = match_all(s->filters, s->filter_count, e->head);
    if (s->follows_key) m.key = match_all(s->key->filters, s->key->n, e->head);
    return m;
}

/* ---- chats become one ---- */

static void merge_in(struct event_filter *filters, size_t n, const struct event_filter *person)
{
    for (size_t i = 0; i < n; i++)
        event_filter_merge(&filters[i], person);
}

static void merge_in_streams(struct list *streams, uint32_t tenant,
                             const struct event_filter *person)
{
    LIST_EACH(node, streams)
    {
        struct hub_stream *s = LIST_ENTRY(node, struct hub_stream, link);

        if (s->who.tenant == tenant) merge_in(s->filters, s->filter_count, person);
    }
}

/* What is delivered behind the notice must find the filters changed also where it is read from the
 * log later, so streams that replay and held ones take it now like all others. */
static void take_notice(struct hub *h, const struct log_event *e)
{
    struct hub_feed *f = map_find(&h->feeds, slice_of(&e->tenant, sizeof(e->tenant)));
    struct event_filter person;
    struct hub_key *k;
    size_t at = 0;

    if (!event_merge_read(&e->head, e->bytes, &person)) return;
    if (f) merge_in_streams(&f->live, e->tenant, &person);
    merge_in_streams(&h->replaying, e->tenant, &person);
    merge_in_streams(&h->held, e->tenant, &person);
    while ((k = map_next(&h->keys, &at, NULL)))
        merge_in(k->filters, k->n, &person);
}

/* ---- states of a stream ---- */

static void run_replays(struct post *p, struct worker *w);

static void wake(struct hub *h)
{
    if (h->replay_posted) return;
    h->replay_posted = true;
    h->replay.run = run_replays;
    worker_post(h->worker, &h->replay);
}

static void set_state(struct hub_stream *s, int state)
{
    struct hub *h = s->hub;

    if (h->next == &s->link) h->next = s->link.next;
    list_remove(&s->link);
    s->state = state;
    switch (s->state) {
    case HUB_LIVE: list_push(&s->feed->live, &s->link); break;
    case HUB_HELD:
        list_push(&h->held, &s->link);
        metric_add(METRIC_stream_holds, 1);
        break;
    case HUB_REPLAYING:
        list_push(&h->replaying, &s->link);
        wake(h);
        break;
    case HUB_CLOSED: break;
    }
}

static void end(struct hub_stream *s, err_t why)
{
    set_state(s, HUB_HELD); /* a quiet one, should its owner keep it */
    if (s->on_end) s->on_end(s, why);
}

/* Shows the event to one stream. False when the stream was closed or takes no more. */
static bool show(struct hub *h, struct hub_stream *s, struct hub_event *e)
{
    struct hub_match m = match(s, e);
    bool taken = true;

    if (m.own || m.key) {
        release_check_event(e->tenant, e->seq);
        h->current = s;
        h->shown++;
        taken = s->on_event(s, e, m);
        if (h->current != s) return false;
        h->current = NULL;
    }
    if (taken && e->seq) s->cursor = e->seq;
    if (!taken && s->state != HUB_HELD) set_state(s, HUB_HELD);
    return taken;
}

/* A counter is shared with whoever scrapes: added to once for many. */
static void count_shown(struct hub *h)
{
    if (h->shown) metric_add(METRIC_events_shown, h->shown);
    h->shown = 0;
}

/* ---- the log ---- */

static bool find_log(struct view *v, uint32_t tenant, struct db_log *out)
{
    err_t e = db_log_find(v, tenant, out);

    if (e == OK) return true;
    edge_log(e, NULL, "the event log cannot be read", err_trail());
    return false;
}

static struct hub_feed *open_feed(struct hub *h, uint32_t tenant)
{
    struct slice key = slice_of(&tenant, sizeof(tenant));
    struct hub_feed *f = map_find(&h->feeds, key);
    struct db_log log = {.next_seq = 1};

    if (f) return f;
    atomic_fetch_add(&h->feed_count, 1);
    /* What is durable now but still on its way here comes again as a post; streams drop what is
     * not above their cursor. */
    if (view_begin(h->look) == OK) find_log(h->look, tenant, &log);
    view_end(h->look);
    f = xcalloc(sizeof(*f));
    f->tenant = tenant;
    f->last = log.next_seq - 1;
    list_init(&f->live);
    map_put(&h->feeds, key, f);
    return f;
}

/* ---- live ---- */

static void show_run(struct hub *h, struct hub_stream *s, struct hub_event *events, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct hub_event *e = &events[i];
        if (e->seq && e->seq <= s->cursor) continue;
        if (!show(h, s, e) || s->state != HUB_LIVE) return;
    }
}

/* Stream by stream, not event by event: with thousands of streams it costs more to come to one
 * than to show it an event. */
static void show_live(struct hub *h, struct hub_feed *f, struct hub_event *events, size_t n)
{
    struct list *node = f->live.next;

    while (node != &f->live) {
        struct hub_stream *s = LIST_ENTRY(node, struct hub_stream, link);
        h->next = node->next;
        __builtin_prefetch(h->next);
        show_run(h, s, events, n);
        node = h->next;
    }
    h->next = NULL;
    count_shown(h);
}

static struct hub_feed *find_feed(struct hub *h, uint32_t tenant)
{
    return map_find(&h->feeds, slice_of(&tenant, sizeof(tenant)));
}

/* The beginning of these events that goes out together: of one tenant, up to a notice, and not so
 * much that its frames are felt in memory. */
static size_t run_length(const struct log_event *items, size_t n)
{
    size_t len = 0, bytes = 0;

    while (len < n && len < HUB_RUN && bytes < HUB_TURN_BYTES && items[len].seq &&
           items[len].tenant == items[0].tenant)
        bytes += items[len++].bytes.len;
    return len;
}

static void deliver_run(struct hub *h, const struct log_event *items, size_t n)
{
    struct hub_feed *f = find_feed(h, items[0].tenant);
    struct hub_event events[HUB_RUN];

    if (!f) return; /* nobody here has asked yet */
    for (size_t i = 0; i < n; i++)
        events[i] = event_of(items[i].tenant, items[i].seq, &items[i].head, items[i].bytes);
    if (items[n - 1].seq > f->last) f->last = items[n - 1].seq;
    show_live(h, f, events, n);
    for (size_t i = 0; i < n; i++)
        hub_event_done(&events[i]);
}

/* After the commit of what is to be delivered. Nobody listens on most workers of a small server,
 * and to wake them costs more than the event. Both sides add, so either this side sees the first
 * feed, or that feed's look at the log, which comes after its addition, sees the commit. */
static bool has_feeds(struct hub *h) { return atomic_fetch_add(&h->feed_count, 0) > 0; }

struct delivery {
    struct post post;
    struct hub *hub;
    struct log_events *events;
};

static void on_delivery(struct post *p, struct worker *w)
{
    struct delivery *d = CONTAINER_OF(p, struct delivery, post);

    for (size_t i = 0, n; i < d->events->count; i += n) {
        const struct log_event *items = d->events->items + i;
        n = run_length(items, d->events->count - i);
        if (n)
            deliver_run(d->hub, items, n);
        else
            take_notice(d->hub, &items[n++]);
    }
    if (!list_empty(&d->hub->replaying)) wake(d->hub);
    log_events_unref(d->events);
    free(d);
}

/* Rare, so every worker is told of it: keys without streams too, and who has looked up a filter and
 * opens a stream with it in the same loop turn. */
static bool has_notice(const struct log_events *events)
{
    for (size_t i = 0; i < events->count; i++)
        if (!events->items[i].seq) return true;
    return false;
}

void hubs_publish(void *context, struct log_events *events)
{
    struct hubs *all = context;
    bool is_for_all = has_notice(events);

    for (size_t i = 0; i < all->count; i++) {
        if (!is_for_all && !has_feeds(&all->hubs[i])) continue;
        struct delivery *d = xcalloc(sizeof(*d));
        d->post.run = on_delivery;
        d->hub = &all->hubs[i];
        d->events = log_events_ref(events);
        worker_post(d->hub->worker, &d->post);
    }
}

struct live_delivery {
    struct post post;
    struct hub *hub;
    uint32_t tenant;
    struct event_head head;
    size_t len;
    uint8_t bytes[];
};

static void on_live_delivery(struct post *p, struct worker *w)
{
    struct live_delivery *d = CONTAINER_OF(p, struct live_delivery, post);
    struct hub_event e = event_of(d->tenant, 0, &d->head, slice_of(d->bytes, d->len));
    struct hub_feed *f = find_feed(d->hub, d->tenant);

    if (f) show_live(d->hub, f, &e, 1);
    hub_event_done(&e);
    free(d);
}

void hubs_publish_live(struct hubs *all, uint32_t tenant, const struct event_head *head,
                       struct slice bytes)
{
    for (size_t i = 0; i < all->count; i++) {
        if (!has_feeds(&all->hubs[i])) continue;
        struct live_delivery *d = xcalloc(sizeof(*d) + bytes.len);
        *d = (struct live_delivery){.post.run = on_live_delivery,
                                    .hub = &all->hubs[i],
                                    .tenant = tenant,
                                    .head = *head,
                                    .len = bytes.len};
        memcpy(d->bytes, bytes.data, bytes.len);
        worker_post(d->hub->worker, &d->post);
    }
}

/* ---- replay ---- */

/* The planted bugs of tests/inject: it is silent, or too short. */
static bool spoil_gap(struct hub *h, uint64_t *first)
{
    struct faults *faults = writer_faults(h->all->server->writer);

    if (fault_due(&faults->short_gap)) {
        fault_count("short_gap");
        ++*first;
    }
    if (!fault_due(&faults->silent_gap)) return false;
    fault_count("silent_gap");
    return true;
}

/* Moves the cursor to `last` and says that what lies between is lost. False: closed meanwhile. */
static bool tell_gap(struct hub *h, struct hub_stream *s, uint64_t first, uint64_t last)
{
    s->cursor = last;
    if (!s->on_gap || spoil_gap(h, &first)) return true;
    h->current = s;
    s->on_gap(s, first, last);
    if (h->current != s) return false;
    h->current = NULL;
    return true;
}

static void tell_caught_up(struct hub *h, struct hub_stream *s)
{
    set_state(s, HUB_LIVE);
    if (!s->on_caught_up) return;
    h->current = s;
    s->on_caught_up(s);
    h->current = NULL;
}

/* What the log no longer holds, and cursors it never gave out. False: the stream is gone. */
static bool check_cursor(struct hub *h, struct hub_stream *s, const struct db_log *log)
{
    if (s->cursor >= log->next_seq) return tell_gap(h, s, s->cursor + 1, log->next_seq - 1);
    if (s->cursor + 1 < log->first_seq) return tell_gap(h, s, s->cursor + 1, log->first_seq - 1);
    return true;
}

static err_t show_slice(struct hub *h, struct hub_stream *s)
{
    AUTO(range) r = {0};
    struct db_event row;
    bool more = true;

    db_events(&r, h->view, s->feed->tenant, s->cursor, s->feed->last, RANGE_FORWARDS);
    while (h->read < HUB_TURN_BYTES && (more = db_event_next(&r, &row))) {
        h->read += row.bytes.len + ROW_COST;
        struct hub_event e = event_of(s->feed->tenant, row.seq, &row.head, row.bytes);
        bool goes_on = (row.seq == s->cursor + 1 || tell_gap(h, s, s->cursor + 1, row.seq - 1)) &&
                       s->state == HUB_REPLAYING && show(h, s, &e);
        hub_event_done(&e);
        /* `s` may be freed when show() says no. */
        if (!goes_on || s->state != HUB_REPLAYING) return OK;
    }
    TRY(range_error(&r));
    /* Rows that damage hides at the end would be looked for for ever. */
    if (!more && s->cursor < s->feed->last) tell_gap(h, s, s->cursor + 1, s->feed->last);
    return OK;
}

static err_t replay_slice(struct hub *h, struct hub_stream *s)
{
    struct db_log log;

    TRY(db_log_find(h->view, s->feed->tenant, &log));
    /* Only a disk that lied makes the log shorter than what it gave out: nobody looks for it. */
    if (s->feed->last >= log.next_seq) s->feed->last = log.next_seq - 1;
    if (!check_cursor(h, s, &log) || s->state != HUB_REPLAYING) return OK;
    if (s->cursor >= s->feed->last) {
        tell_caught_up(h, s);
        return OK;
    }
    return show_slice(h, s);
}

/* A damaged row is announced as a gap of one and passed over. */
static void replay_failed(struct hub *h, struct hub_stream *s, err_t e)
{
    edge_log(e, NULL, "the event log cannot be replayed", err_trail());
    if (e == ERR_STORE_DAMAGED && s->cursor < s->feed->last)
        tell_gap(h, s, s->cursor + 1, s->cursor + 1);
    else
        end(s, e);
}

static void run_replays(struct post *p, struct worker *w)
{
    struct hub *h = CONTAINER_OF(p, struct hub, replay);
    struct list *node, *round = &h->round;

    h->replay_posted = false;
    h->read = 0;
    list_push(&h->replaying, round);
    while ((node = h->replaying.next) != round && h->read < HUB_TURN_BYTES) {
        struct hub_stream *s = LIST_ENTRY(node, struct hub_stream, link);
        err_t e;
        list_remove(node); /* next time the others come first */
        list_push(&h->replaying, node);
        h->read += ROW_COST;
        e = view_begin(h->view);
        if (e == OK) e = replay_slice(h, s);
        view_end(h->view);
        if (e != OK) replay_failed(h, s, e);
    }
    list_remove(round);
    count_shown(h);
    if (!list_empty(&h->replaying)) wake(h);
}

/* ---- keys ---- */

static struct hub_key *open_key(struct hub *h, struct slice name)
{
    struct hub_key *k = map_find(&h->keys, name);

    if (k) return k;
    k = xcalloc(sizeof(*k));
    memcpy(k->name, name.data, name.len < sizeof(k->name) ? name.len : sizeof(k->name) - 1);
    map_put(&h->keys, slice_text(k->name), k);
    return k;
}

static void free_key(struct hub_key *k)
{
    free(k->filters);
    free(k);
}

static void drop_unused(struct hub *h, struct hub_key *k)
{
    if (k->streams || k->n) return;
    map_remove(&h->keys, slice_text(k->name));
    free_key(k);
}

/* ---- streams ---- */

void hub_stream_open(struct hub *h, struct hub_stream *s, uint64_t after)
{
    s->hub = h;
    s->feed = open_feed(h, s->who.tenant);
    s->key = open_key(h, slice_text(s->who.key));
    s->key->streams++;
    s->cursor = after == HUB_FROM_NOW ? s->feed->last : after;
    list_init(&s->link);
    set_state(s, HUB_REPLAYING);
}

void hub_stream_close(struct hub_stream *s)
{
    if (!s->hub || s->state == HUB_CLOSED) return;
    if (s->hub->current == s) s->hub->current = NULL;
    set_state(s, HUB_CLOSED);
    s->key->streams--;
    drop_unused(s->hub, s->key);
}

void hub_stream_hold(struct hub_stream *s)
{
    if (s->state == HUB_LIVE || s->state == HUB_REPLAYING) set_state(s, HUB_HELD);
}

void hub_stream_resume(struct hub_stream *s)
{
    if (s->state == HUB_HELD) set_state(s, HUB_REPLAYING);
}

uint64_t hub_last(struct hub *h, uint32_t tenant) { return open_feed(h, tenant)->last; }

/* ---- what a key is subscribed to ---- */

struct key_change {
    struct post post;
    struct hub *hub;
    char key[PRINCIPAL_KEY_MAX];
    bool revoked;
    size_t n;
    struct event_filter *filters; /* NULL: none */
};

static void revoke_in(struct hub *h, struct list *streams, struct slice key)
{
    struct list *node = streams->next;

    while (node != streams) {
        struct hub_stream *s = LIST_ENTRY(node, struct hub_stream, link);
        h->next = node->next;
        if (slice_is(key, s->who.key)) {
            s->who.rights = 0;
            s->filter_count = 0;
            s->follows_key = false;
            end(s, ERR_UNAUTHORIZED);
        }
        node = h->next;
    }
    h->next = NULL;
}

static void on_key_change(struct post *p, struct worker *w)
{
    struct key_change *c = CONTAINER_OF(p, struct key_change, post);
    struct hub *h = c->hub;
    struct slice key = slice_text(c->key);
    struct hub_key *k = open_key(h, key);
    struct hub_feed *f;
    size_t at = 0;

    free(k->filters);
    k->filters = c->filters;
    k->n = c->n;
    drop_unused(h, k);
    if (c->revoked) {
        while ((f = map_next(&h->feeds, &at, NULL)))
            revoke_in(h, &f->live, key);
        revoke_in(h, &h->replaying, key);
        revoke_in(h, &h->held, key);
    }
    free(c);
}

static void change_key(struct hub *h, struct slice key, bool revoked,
                       const struct event_filter *filters, size_t n)
{
    struct key_change *c = xcalloc(sizeof(*c));

    c->post.run = on_key_change;
    c->hub = h;
    c->revoked = revoked;
    memcpy(c->key, key.data, key.len < sizeof(c->key) ? key.len : sizeof(c->key) - 1);
    if (n) {
        c->n = n;
        c->filters = xalloc(n * sizeof(*filters));
        memcpy(c->filters, filters, n * sizeof(*filters));
    }
    worker_post(h->worker, &c->post);
}

void hubs_set_key_filters(struct hubs *all, struct slice key, const struct event_filter *filters,
                          size_t n)
{
    for (size_t i = 0; i < all->count; i++)
        change_key(&all->hubs[i], key, false, filters, n);
}

void hubs_revoke_key(struct hubs *all, struct slice key)
{
    for (size_t i = 0; i < all->count; i++)
        change_key(&all->hubs[i], key, true, NULL, 0);
}

/* ---- life ---- */

static void hub_init(struct hub *h, struct hubs *all, struct worker *w)
{
    h->all = all;
    h->worker = w;
    list_init(&h->replaying);
    list_init(&h->held);
}

static void hub_done(struct hub *h)
{
    void *value;
    size_t at = 0;

    while ((value = map_next(&h->feeds, &at, NULL)))
        free(value);
    for (at = 0; (value = map_next(&h->keys, &at, NULL));)
        free_key(value);
    map_done(&h->feeds);
    map_done(&h->keys);
    view_free(h->view);
    view_free(h->look);
}

err_t hubs_new(struct server *s, struct hubs **out)
{
    struct hubs *all = xcalloc(sizeof(*all) + s->worker_count * sizeof(struct hub));
    err_t e = OK;

    all->server = s;
    all->count = s->worker_count;
    for (size_t i = 0; i < all->count && e == OK; i++) {
        hub_init(&all->hubs[i], all, s->workers[i]);
        e = view_new(s->store, &all->hubs[i].view);
        if (e == OK) e = view_new(s->store, &all->hubs[i].look);
    }
    if (e != OK) {
        hubs_free(all);
        return err_pass(e, __FILE__, __LINE__);
    }
    *out = all;
    return OK;
}

void hubs_free(struct hubs *all)
{
    if (!all) return;
    for (size_t i = 0; i < all->count; i++)
        hub_done(&all->hubs[i]);
    free(all);
}

struct hub *hub_here(struct hubs *all) { return hub_at(all, worker_index(worker_self())); }
struct hub *hub_at(struct hubs *all, int index) { return &all->hubs[index]; }
