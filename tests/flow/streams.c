/* One tenant, accounts on every worker writing at full speed through the real writer, and streams
 * on the real hubs that stall, fill up, are cut, lose the end of what was on its way and resume,
 * on this worker or another, while retention eats the log behind them.
 *
 *     flow-streams [--seed N] [--events N] [--workers N] [--plant "skip_number=500"]
 *
 * Judged at the end, from what the writer said it gave each event (the truth) and what every
 * stream noted:
 *   - the log has no hole, and an account's events stand in it in the order it wrote them;
 *   - every stream's sequence is strictly rising and holds each event of its filter, byte for byte
 *     what was written, from where it began to the end, but for announced gaps;
 *   - a gap is announced only for what retention removed.
 * Every kind of misfortune must have happened, or the run proves nothing and fails. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "server/events/hub.h"
#include "server/server.h"
#include "storage/events.h"
#include "storage/retention.h"
#include "storage/writer.h"
#include "tests/support/arguments.h"

enum {
    TENANT = 1,
    STRANGERS = 2, /* a tenant that writes nothing, so must see nothing */
    STREAMS = 50,
    ACCOUNTS = 6,
    TURNS = 8, /* of one account under way */
    PEERS = 4,
    WORKERS_MAX = 8,
    LOG_BYTES = 256 * 1024, /* what retention leaves */
    DEADLINE_S = 500,
};
#define MAP_SIZE ((size_t)4 << 30)
#define KEY "key_streams"

struct house;

struct account {
    struct house *house;
    struct worker *worker;
    uint32_t number;
    uint32_t written; /* events, counted by the account */
    uint64_t turn;
    struct turn {
        struct batch batch;
        struct post post;
        struct account *account;
    } turns[TURNS];
};

/* What a stream was given: an event, or with `last` a gap. */
struct item {
    uint64_t seq, last;
    uint32_t account, n;
};

/* From one opening to the next; what got lost on the way is not in it. */
struct session {
    uint64_t after;
    size_t first, end; /* items */
    struct event_filter filters[2];
    size_t filter_count;
    bool follows_key, sandbox, all_worlds;
};

struct stream {
    struct house *house;
    struct hub_stream hub;
    struct event_filter filters[2];
    struct worker *worker;
    struct timer timer;
    struct post move;
    uint64_t random;
    enum { GONE, OPEN, STALLED, SETTLED } state;
    size_t room; /* events it still takes */
    struct item *items;
    size_t item_count, item_cap;
    struct session *sessions;
    size_t session_count;
    const char *wrong;
};

#define CHANCES(row)                                                                               \
    row(stalls) row(fills) row(cuts) row(drops) row(lost_tails) row(moves) row(gaps)               \
        row(live_only) row(trims)
struct chances {
#define CHANCE(name) atomic_ulong name;
    CHANCES(CHANCE)
#undef CHANCE
};

struct truth {
    uint32_t account, n, peer;
    uint16_t type;
    uint8_t world;
    bool known;
};

struct house {
    char path[64];
    struct server server;
    struct worker *workers[WORKERS_MAX];
    struct view *views[WORKERS_MAX];
    struct account accounts[ACCOUNTS];
    struct stream streams[STREAMS];
    struct chances chances;
    uint32_t wanted;
    atomic_uint begun, ended; /* events handed to the writer, turns that found nothing left */
    atomic_bool finishing;
    atomic_uint settled;
    struct trimmer {
        struct batch batch;
        struct timer timer;
        struct post post;
    } trimmer;
    /* the writer's thread, while it runs */
    struct truth *truth;
    uint64_t truth_max, last, trimmed;
    bool doubled, failed;
    struct hub_stream stranger;
    atomic_bool leaked;
};

static struct house house;

static uint64_t roll(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}
static uint64_t below(uint64_t *state, uint64_t n) { return roll(state) % n; }
#define HAPPENED(name) atomic_fetch_add(&house.chances.name, 1)

static void must(err_t e, const char *what)
{
    if (e == OK) return;
    fprintf(stderr, "%s: %s\n", what, err_trail());
    exit(2);
}

/* ---- accounts ---- */

static const enum event_kind kinds[] = {EVENT_MESSAGE_RECEIVED, EVENT_MESSAGE_SENT,
                                        EVENT_MESSAGE_READ, EVENT_ACCOUNT_CONNECTED};

/* Any thread: the writer's notes are made from the same head. */
static struct event_head head_of(const struct account *a, uint32_t n)
{
    uint64_t state = (uint64_t)a->number << 32 | n;
    return (struct event_head){.account = a->number,
                               .peer = 1 + (uint32_t)below(&state, PEERS),
                               .type = event_number(kinds[below(&state, ARRAY_LEN(kinds))]),
                               .world = a->number % 3 == 0};
}

/* The bytes name the event, so that a stream can tell whose they are. */
static void add_event(struct account *a, struct batch *b)
{
    char text[400];
    uint32_t n = ++a->written;
    struct event_head head = head_of(a, n);
    int len = snprintf(text, sizeof(text), "{\"account\":%u,\"n\":%u,\"pad\":\"%0*u\"}", a->number,
                       n, 1 + (int)(n % 300), n);

    head.at_ms = worker_now(a->worker);
    batch_event(b, TENANT, &head, slice_of(text, (size_t)len));
}

static void on_turn_durable(struct batch *b);

static void write_turn(struct turn *t)
{
    struct account *a = t->account;
    struct batch *b = &t->batch;
    uint32_t events = 1 + a->written % 4;

    if (atomic_fetch_add(&a->house->begun, events) >= a->house->wanted) {
        atomic_fetch_add(&a->house->ended, 1);
        return;
    }
    batch_reset(b);
    b->owner = a->number;
    b->turn = ++a->turn;
    b->done = on_turn_durable;
    b->context = t;
    for (uint32_t i = 0; i < events; i++)
        add_event(a, b);
    writer_post(a->house->server.writer, b);
}

static void on_turn_back(struct post *p, struct worker *w)
{
    write_turn(CONTAINER_OF(p, struct turn, post));
}

static void note_truth(const struct account *a, uint64_t seq, uint32_t n)
{
    struct event_head head = head_of(a, n);

    if (seq == 0 || seq > house.truth_max || house.truth[seq].known) {
        house.doubled = true;
        return;
    }
    house.truth[seq] = (struct truth){.account = a->number,
                                      .n = n,
                                      .peer = head.peer,
                                      .type = head.type,
                                      .world = head.world,
                                      .known = true};
    if (seq > house.last) house.last = seq;
}

/* The writer's thread. */
static void on_turn_durable(struct batch *b)
{
    struct turn *t = b->context;
    unsigned account, n;

    if (b->result != OK) house.failed = true;
    for (const struct batch_op *op = b->first; op; op = op->next) {
        struct slice value = batch_op_value(op);
        char text[64] = "";
        if (op->type != BATCH_EVENT) continue;
        memcpy(text, value.data + EVENT_HEAD,
               sizeof(text) - 1 < value.len - EVENT_HEAD ? sizeof(text) - 1
                                                         : value.len - EVENT_HEAD);
        if (sscanf(text, "{\"account\":%u,\"n\":%u", &account, &n) == 2)
            note_truth(t->account, op->through, n);
    }
    worker_post(t->account->worker, &t->post);
}

/* ---- retention ---- */

static void on_trimmed(struct batch *b)
{
    for (const struct batch_op *op = b->first; op; op = op->next)
        if (op->type == BATCH_TRIM && op->through > house.trimmed) house.trimmed = op->through;
    worker_post(house.workers[0], &house.trimmer.post);
}

static void on_trim_time(struct timer *timer, int64_t now)
{
    static const struct retention limits = {.event_bytes = LOG_BYTES};
    struct trimmer *t = &house.trimmer;
    struct view *v = house.views[0];
    bool more;

    batch_reset(&t->batch);
    t->batch.done = on_trimmed;
    must(view_begin(v), "view");
    must(retention_step(&t->batch, v, TENANT, &limits, now, &more), "retention");
    view_end(v);
    if (batch_is_empty(&t->batch)) {
        timer_arm(house.workers[0], timer, now + 5);
        return;
    }
    HAPPENED(trims);
    writer_post(house.server.writer, &t->batch);
}

static void on_trimmer_back(struct post *p, struct worker *w)
{
    if (p->run && !atomic_load(&house.finishing))
        timer_arm(w, &house.trimmer.timer, worker_now(w) + 5);
}

/* ---- streams ---- */

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
        if (below(&s->random, 2)) f[i].kinds = 1ull << kinds[below(&s->random, ARRAY_LEN(kinds))];
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
    static const struct event_filter all;

    house.stranger = (struct hub_stream){
        .who = {.tenant = STRANGERS, .key = "key_2", .rights = RIGHTS_TOOLS, .all_worlds = true},
        .filters = &all,
        .filter_count = 1,
        .on_event = on_leak};
    hub_stream_open(hub_here(house.server.hubs), &house.stranger, 0);
}

/* ---- the judge ---- */

static const struct event_filter key_filters[] = {
    {.kinds = 1ull << EVENT_MESSAGE_READ},
    {.account = 2, .peer = 1},
};

static bool wanted_by(const struct session *s, const struct truth *t)
{
    struct event_head head = {.account = t->account, .peer = t->peer, .type = t->type};
    bool wanted = false;

    if (!s->all_worlds && s->sandbox != (t->world != 0)) return false;
    for (size_t i = 0; i < s->filter_count; i++)
        wanted |= event_filter_matches(&s->filters[i], &head);
    for (size_t i = 0; s->follows_key && i < ARRAY_LEN(key_filters); i++)
        wanted |= event_filter_matches(&key_filters[i], &head);
    return wanted;
}

static unsigned complain(size_t stream, size_t session, uint64_t seq, const char *what)
{
    static unsigned said;
    if (said++ < 20)
        printf("stream %zu, session %zu, seq %lu: %s\n", stream, session, (unsigned long)seq, what);
    return 1;
}

/* The events between two items, and the item itself. */
static unsigned judge_item(size_t n, size_t k, const struct session *s, uint64_t *at,
                           const struct item *item)
{
    unsigned wrong = 0;

    if (item->seq <= *at) return complain(n, k, item->seq, "is not above the one before");
    if (item->seq > house.last) return complain(n, k, item->seq, "was never written");
    for (uint64_t seq = *at + 1; seq < item->seq; seq++)
        if (house.truth[seq].known && wanted_by(s, &house.truth[seq]))
            wrong += complain(n, k, seq, "is missing, no gap was announced");
    *at = item->last ? item->last : item->seq;
    if (item->last) {
        if (item->last > house.trimmed) wrong += complain(n, k, item->last, "was not trimmed");
        return wrong;
    }
    const struct truth *t = &house.truth[item->seq];
    if (!t->known || t->account != item->account || t->n != item->n)
        wrong += complain(n, k, item->seq, "is another event than the one written");
    else if (!wanted_by(s, t))
        wrong += complain(n, k, item->seq, "was not asked for");
    return wrong;
}

static unsigned judge_session(size_t n, size_t k, const struct stream *st)
{
    const struct session *s = &st->sessions[k];
    uint64_t at = s->after;
    unsigned wrong = 0;

    for (size_t i = s->first; i < s->end; i++)
        wrong += judge_item(n, k, s, &at, &st->items[i]);
    if (k + 1 < st->session_count)
        return at == st->sessions[k + 1].after ? wrong
                                               : wrong + complain(n, k, at, "resumed elsewhere");
    for (uint64_t seq = at + 1; seq <= house.last; seq++)
        if (house.truth[seq].known && wanted_by(s, &house.truth[seq]))
            wrong += complain(n, k, seq, "is missing at the end");
    return wrong;
}

static unsigned judge_log(void)
{
    uint32_t n[ACCOUNTS + 1] = {0};
    unsigned wrong = 0;

    if (house.failed) wrong += complain(0, 0, 0, "a batch failed");
    if (house.leaked) wrong += complain(0, 0, 0, "another tenant was shown an event");
    if (house.doubled) wrong += complain(0, 0, 0, "a number was given twice");
    for (uint64_t seq = 1; seq <= house.last; seq++) {
        const struct truth *t = &house.truth[seq];
        if (!t->known)
            wrong += complain(0, 0, seq, "was never given to an event");
        else if (t->n != ++n[t->account])
            wrong += complain(0, 0, seq, "is out of its account's order");
    }
    return wrong;
}

static unsigned judge_chances(void)
{
    unsigned wrong = 0;

#define CHANCE(name)                                                                               \
    printf(" " #name " %lu", (unsigned long)house.chances.name);                                   \
    wrong += house.chances.name == 0;
    CHANCES(CHANCE)
#undef CHANCE
    printf("\n");
    if (wrong) printf("%u kinds of misfortune never happened: the run proves nothing\n", wrong);
    return wrong;
}

static unsigned judge(void)
{
    unsigned wrong = judge_log();
    size_t sessions = 0, items = 0;

    for (size_t i = 0; i < STREAMS; i++) {
        const struct stream *s = &house.streams[i];
        if (s->wrong) wrong += complain(i, 0, 0, s->wrong);
        for (size_t k = 0; k < s->session_count; k++)
            wrong += judge_session(i, k, s);
        sessions += s->session_count;
        items += s->item_count;
    }
    printf("%lu events, %lu trimmed; %d streams, %zu sessions, %zu items:",
           (unsigned long)house.last, (unsigned long)house.trimmed, STREAMS, sessions, items);
    return wrong + judge_chances();
}

/* ---- the run ---- */

static void open_house(const char *plant)
{
    struct store_options store = {.path = house.path, .map_size = MAP_SIZE};
    struct server *s = &house.server;

    snprintf(house.path, sizeof(house.path), "%s/parley-flow-XXXXXX", P_tmpdir);
    if (!mkdtemp(house.path)) must(fail(SYSTEM, "cannot make a folder"), "temporary folder");
    must(store_open(&store, &s->store), "store");
    s->workers = house.workers;
    for (size_t i = 0; i < s->worker_count; i++) {
        house.workers[i] = worker_new((int)i);
        must(view_new(s->store, &house.views[i]), "view");
    }
    must(hubs_new(s, &s->hubs), "hubs");
    hubs_set_key_filters(s->hubs, SLICE(KEY), key_filters, ARRAY_LEN(key_filters));
    s->writer = writer_new(
        &(struct writer_options){.store = s->store, .on_events = hubs_publish, .context = s->hubs});
    must(faults_parse(writer_faults(s->writer), slice_text(plant)), "--plant");
    must(writer_start(s->writer), "writer");
}

static void start_accounts(void)
{
    for (size_t i = 0; i < ACCOUNTS; i++) {
        struct account *a = &house.accounts[i];
        a->house = &house;
        a->number = (uint32_t)i + 1;
        a->worker = house.workers[i % house.server.worker_count];
        for (size_t k = 0; k < TURNS; k++) {
            a->turns[k].account = a;
            a->turns[k].post.run = on_turn_back;
            batch_init(&a->turns[k].batch);
            worker_post(a->worker, &a->turns[k].post);
        }
    }
    batch_init(&house.trimmer.batch);
    house.trimmer.timer.fire = on_trim_time;
    house.trimmer.post.run = on_trimmer_back;
    worker_post(house.workers[0], &house.trimmer.post);
}

static void start_streams(uint64_t seed)
{
    static struct post stranger = {.run = open_stranger};

    worker_post(house.workers[0], &stranger);
    for (size_t i = 0; i < STREAMS; i++) {
        struct stream *s = &house.streams[i];
        s->house = &house;
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

static void pause_ms(long ms)
{
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

/* Typing and the like: reaches who listens now, moves no cursor. */
static void say_something_passing(void)
{
    struct event_head head = {.account = 1, .peer = 1, .type = event_number(EVENT_TYPING_STARTED)};
    hubs_publish_live(house.server.hubs, TENANT, &head, SLICE("{\"event\":\"typing.started\"}"));
}

static bool wait_for(atomic_uint *count, unsigned target, time_t deadline)
{
    while (atomic_load(count) < target) {
        if (time(NULL) > deadline) return false;
        say_something_passing();
        pause_ms(5);
    }
    return true;
}

static void close_house(void)
{
    struct server *s = &house.server;
    static const char *const files[] = {"data.mdb", "lock.mdb", "parley.lock"};
    char name[96];

    writer_stop(s->writer);
    for (size_t i = 0; i < s->worker_count; i++)
        worker_stop(house.workers[i]);
    for (size_t i = 0; i < s->worker_count; i++)
        worker_join(house.workers[i]);
    hubs_free(s->hubs);
    for (size_t i = 0; i < s->worker_count; i++) {
        view_free(house.views[i]);
        worker_free(house.workers[i]);
    }
    writer_free(s->writer);
    store_close(s->store);
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        snprintf(name, sizeof(name), "%s/%s", house.path, files[i]);
        unlink(name);
    }
    rmdir(house.path);
}

static void free_notes(void)
{
    for (size_t i = 0; i < STREAMS; i++) {
        free(house.streams[i].items);
        free(house.streams[i].sessions);
    }
    for (size_t i = 0; i < ACCOUNTS; i++)
        for (size_t k = 0; k < TURNS; k++)
            batch_done(&house.accounts[i].turns[k].batch);
    batch_done(&house.trimmer.batch);
    free(house.truth);
}

static bool run(uint64_t seed, const char *plant)
{
    time_t deadline = time(NULL) + DEADLINE_S;
    bool ended;

    house.truth_max = house.wanted + 16;
    house.truth = xcalloc((house.truth_max + 1) * sizeof(*house.truth));
    open_house(plant);
    start_accounts();
    start_streams(seed);
    for (size_t i = 0; i < house.server.worker_count; i++)
        must(worker_start(house.workers[i]), "worker");
    ended = wait_for(&house.ended, ACCOUNTS * TURNS, deadline);
    atomic_store(&house.finishing, true);
    ended = ended && wait_for(&house.settled, STREAMS, deadline);
    if (!ended) {
        printf("not at its end after %d s: %u of %d turns, %u of %d streams\n", DEADLINE_S,
               house.ended, ACCOUNTS * TURNS, house.settled, STREAMS);
        _exit(1);
    }
    close_house();
    return judge() == 0;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"seed", 1, NULL, 's'},
                                            {"events", 1, NULL, 'e'},
                                            {"workers", 1, NULL, 'w'},
                                            {"plant", 1, NULL, 'p'},
                                            {0}};
    static const char usage[] =
        "flow_streams [--seed S] [--events N] [--workers N] [--plant FAULT]";
    uint64_t seed = (uint64_t)time(NULL);
    const char *plant = "";
    int c;
    bool good;

    house.wanted = 200000;
    house.server.worker_count = 2;
    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1)
        switch (c) {
        case 's': seed = argument_number(usage, "--seed", optarg, 0, UINT64_MAX); break;
        case 'e':
            house.wanted = (uint32_t)argument_number(usage, "--events", optarg, 1, 100000000);
            break;
        case 'w':
            house.server.worker_count = argument_number(usage, "--workers", optarg, 1, WORKERS_MAX);
            break;
        case 'p': plant = optarg; break;
        default: return fprintf(stderr, "usage: %s\n", usage), 2;
        }
    argument_end(usage, argc, argv, optind - 1);
    printf("seed %lu, %zu workers\n", (unsigned long)seed, house.server.worker_count);
    good = run(seed, plant);
    free_notes();
    printf("%s\n", good ? "complete" : "BROKEN");
    return good ? 0 : 1;
}
