/* One worker's hub over a real log: the loop is stepped by hand, the writer runs in the test. */
#include <criterion/criterion.h>
#include <uv.h>

#include "server/events/hub.h"
#include "server/server.h"
#include "storage/contacts.h"
#include "storage/events.h"
#include "tests/unit/storage/fixture.h"

struct house {
    struct fixture f;
    struct server server;
    struct worker *worker;
    unsigned posted; /* deliveries of the last commit */
    bool deaf;       /* commits are not handed on yet */
    struct log_events *kept[8];
    size_t kept_count;
};

static void on_events(void *context, struct log_events *events)
{
    struct house *h = context;

    if (h->deaf)
        h->kept[h->kept_count++] = log_events_ref(events);
    else
        hubs_publish(h->server.hubs, events);
    h->posted = atomic_load(&events->refs) - 1;
}

static void step(struct house *h)
{
    for (int i = 0; i < 20; i++)
        uv_run(worker_loop(h->worker), UV_RUN_NOWAIT);
}

static void hear_again(struct house *h)
{
    h->deaf = false;
    for (size_t i = 0; i < h->kept_count; i++) {
        hubs_publish(h->server.hubs, h->kept[i]);
        log_events_unref(h->kept[i]);
    }
    h->kept_count = 0;
    step(h);
}

static void house_init(struct house *h)
{
    *h = (struct house){.f.on_events = on_events};
    h->f.context = h;
    fixture_init(&h->f);
    h->worker = worker_new(0);
    h->server.store = h->f.store;
    h->server.writer = h->f.writer;
    h->server.workers = &h->worker;
    h->server.worker_count = 1;
    CHECK_OK(hubs_new(&h->server, &h->server.hubs));
}

static void house_done(struct house *h)
{
    step(h);
    hubs_free(h->server.hubs);
    worker_stop(h->worker);
    worker_run(h->worker);
    worker_free(h->worker);
    fixture_done(&h->f);
}

/* `n` events of one commit; account and chat are 7 and `peer`. */
static void emit(struct house *h, unsigned n, uint16_t type, uint32_t peer, uint8_t world)
{
    struct batch b;

    batch_init(&b);
    for (unsigned i = 0; i < n; i++) {
        struct event_head head = {
            .account = 7, .peer = peer, .type = type, .world = world, .at_ms = 1000};
        batch_event(&b, 1, &head, SLICE("{\"event\":\"x\"}"));
    }
    writer_post(h->f.writer, &b);
    while (writer_step(h->f.writer)) {
    }
    cr_assert_eq(b.result, OK);
    batch_done(&b);
}

static void trim(struct house *h, uint64_t through)
{
    struct batch b;

    batch_init(&b);
    batch_trim(&b, 1, through);
    CHECK_OK(writer_commit(h->f.writer, &b));
    batch_done(&b);
}

struct listener {
    struct hub_stream s;
    struct event_filter filter;
    uint64_t seen[2000], gap_first, gap_last, key_matches;
    size_t count, gaps, caught_up, room; /* room: events taken before it is full, 0 no bound */
    bool closes, ended;
    char last_json[100];
};

static bool on_event(struct hub_stream *s, struct hub_event *e, struct hub_match match)
{
    struct listener *l = s->owner;
    struct shared_bytes *json = hub_event_json(e);

    if (l->room && l->count >= l->room) return false;
    snprintf(l->last_json, sizeof(l->last_json), "%.*s", (int)json->len, (const char *)json->data);
    l->seen[l->count++] = e->seq;
    if (match.key) l->key_matches++;
    if (l->closes) hub_stream_close(s);
    return true;
}

static void on_gap(struct hub_stream *s, uint64_t first, uint64_t last)
{
    struct listener *l = s->owner;

    l->gaps++;
    l->gap_first = first;
    l->gap_last = last;
}

static void on_caught_up(struct hub_stream *s) { ((struct listener *)s->owner)->caught_up++; }
static void on_end(struct hub_stream *s, err_t why)
{
    ((struct listener *)s->owner)->ended = true;
    hub_stream_close(s);
}

static void open_at(struct house *h, struct listener *l, uint64_t after)
{
    l->s.who = (struct principal){
        .tenant = 1, .key = "key_1", .world = WORLD_LIVE, .rights = RIGHTS_TOOLS};
    l->s.filters = &l->filter;
    l->s.filter_count = 1;
    l->s.on_event = on_event;
    l->s.on_gap = on_gap;
    l->s.on_caught_up = on_caught_up;
    l->s.on_end = on_end;
    l->s.owner = l;
    hub_stream_open(hub_at(h->server.hubs, 0), &l->s, after);
}

static void expect_run(const struct listener *l, uint64_t first, uint64_t last)
{
    cr_assert_eq(l->count, last - first + 1, "%zu events", l->count);
    for (size_t i = 0; i < l->count; i++)
        cr_assert_eq(l->seen[i], first + i);
}

static struct house h;
static void setup(void) { house_init(&h); }
static void teardown(void) { house_done(&h); }
TestSuite(hub, .init = setup, .fini = teardown);

Test(hub, from_now_on_gives_only_what_comes)
{
    struct listener l = {0};

    emit(&h, 3, 1, 1, 0);
    open_at(&h, &l, HUB_FROM_NOW);
    step(&h);
    cr_assert_eq(l.count, 0);
    cr_assert_eq(l.caught_up, 1);
    emit(&h, 2, 1, 1, 0);
    step(&h);
    expect_run(&l, 4, 5);
    cr_assert_str_eq(l.last_json, "{\"seq\":5,\"event\":\"x\"}");
    hub_stream_close(&l.s);
}

Test(hub, a_worker_without_feeds_is_not_woken_by_commits)
{
    struct listener l = {0};

    emit(&h, 1, 1, 1, 0);
    cr_expect_eq(h.posted, 0);
    open_at(&h, &l, 0);
    emit(&h, 1, 1, 1, 0);
    cr_expect_eq(h.posted, 1);
    step(&h);
    expect_run(&l, 1, 2);
    hub_stream_close(&l.s);
}

Test(hub, replays_then_goes_live_without_gap_or_double)
{
    struct listener l = {0};

    emit(&h, 700, 1, 1, 0);
    open_at(&h, &l, 100);
    emit(&h, 1, 1, 1, 0); /* while it replays */
    step(&h);
    emit(&h, 1, 1, 1, 0);
    step(&h);
    expect_run(&l, 101, 702);
    cr_assert_eq(l.gaps, 0);
    hub_stream_close(&l.s);
}

/* However many come back at once: the others of the worker wait for one slice, not for one each. */
Test(hub, all_replays_together_have_one_slice_of_a_loop_turn)
{
    enum { STREAMS = 100, EVENTS = 1000, ROWS_MAX = HUB_TURN_BYTES / 512 };
    static struct listener l[STREAMS];
    size_t before = 0, all = 0, turns = 0;

    emit(&h, EVENTS, 1, 1, 0);
    for (size_t i = 0; i < STREAMS; i++)
        open_at(&h, &l[i], 0);
    for (; all < STREAMS * EVENTS && turns < 10000; before = all, turns++) {
        uv_run(worker_loop(h.worker), UV_RUN_NOWAIT);
        all = 0;
        for (size_t i = 0; i < STREAMS; i++)
            all += l[i].count;
        cr_assert_leq(all - before, ROWS_MAX);
        /* Who had his turn stands behind the others. */
        if (turns == STREAMS) cr_assert_gt(l[STREAMS - 1].count, 0);
    }
    step(&h);
    for (size_t i = 0; i < STREAMS; i++) {
        expect_run(&l[i], 1, EVENTS);
        cr_assert_eq(l[i].gaps, 0);
        cr_assert_eq(l[i].caught_up, 1);
        hub_stream_close(&l[i].s);
    }
}

Test(hub, what_is_durable_but_not_delivered_yet_comes_once)
{
    struct listener l = {0};

    h.deaf = true;
    emit(&h, 5, 1, 1, 0);
    open_at(&h, &l, 0);
    step(&h);
    emit(&h, 2, 1, 1, 0);
    hear_again(&h);
    expect_run(&l, 1, 7);
    hub_stream_close(&l.s);
}

Test(hub, filtered_events_move_the_cursor)
{
    struct listener l = {.filter = {.account = 7, .peer = 2}};

    emit(&h, 3, 1, 1, 0);
    open_at(&h, &l, 0);
    step(&h);
    emit(&h, 1, 1, 2, 0);
    emit(&h, 2, 1, 1, 0);
    step(&h);
    expect_run(&l, 4, 4);
    cr_assert_eq(l.s.cursor, 6);
    hub_stream_close(&l.s);
}

Test(hub, a_key_sees_its_own_world_only)
{
    struct listener live = {0}, test = {0}, both = {0};

    open_at(&h, &live, 0);
    open_at(&h, &test, 0);
    open_at(&h, &both, 0);
    test.s.who.world = WORLD_TEST;
    both.s.who.all_worlds = true;
    emit(&h, 1, 1, 1, 0);
    emit(&h, 1, 1, 1, 1);
    step(&h);
    expect_run(&live, 1, 1);
    expect_run(&test, 2, 2);
    expect_run(&both, 1, 2);
}

Test(hub, a_strangers_tenant_sees_nothing)
{
    struct listener l = {0};

    open_at(&h, &l, 0);
    hub_stream_close(&l.s);
    l.s.who.tenant = 2;
    hub_stream_open(hub_at(h.server.hubs, 0), &l.s, 0);
    emit(&h, 2, 1, 1, 0);
    step(&h);
    cr_assert_eq(l.count, 0);
    hub_stream_close(&l.s);
}

static void emit_to_second(unsigned n)
{
    struct event_head head = {.account = 8, .peer = 1, .type = 1, .at_ms = 1000};
    struct batch b;

    batch_init(&b);
    for (unsigned i = 0; i < n; i++)
        batch_event(&b, 2, &head, SLICE("{\"event\":\"of the second\"}"));
    CHECK_OK(writer_commit(h.f.writer, &b));
    batch_done(&b);
}

/* Both logs have the same numbers; wherever a stream comes back, it reads its own. */
Test(hub, a_tenant_resumes_in_its_own_log)
{
    enum { EVENTS = 6 };

    emit(&h, EVENTS, 1, 1, 0);
    emit_to_second(EVENTS);
    for (uint64_t after = 0; after < EVENTS; after++) {
        struct listener first = {0}, second = {0};

        open_at(&h, &first, after);
        open_at(&h, &second, after);
        hub_stream_close(&second.s);
        second.s.who.tenant = 2;
        hub_stream_open(hub_at(h.server.hubs, 0), &second.s, after);
        step(&h);
        expect_run(&first, after + 1, EVENTS);
        expect_run(&second, after + 1, EVENTS);
        cr_expect_eq(first.gaps + second.gaps, 0);
        cr_expect_str_eq(first.last_json, "{\"seq\":6,\"event\":\"x\"}");
        cr_expect_str_eq(second.last_json, "{\"seq\":6,\"event\":\"of the second\"}");
        hub_stream_close(&first.s);
        hub_stream_close(&second.s);
    }
}

Test(hub, what_fell_out_of_the_log_is_announced)
{
    struct listener l = {0};

    emit(&h, 10, 1, 1, 0);
    trim(&h, 6);
    open_at(&h, &l, 2);
    step(&h);
    cr_assert_eq(l.gaps, 1);
    cr_assert_eq(l.gap_first, 3);
    cr_assert_eq(l.gap_last, 6);
    expect_run(&l, 7, 10);
    hub_stream_close(&l.s);
}

Test(hub, an_emptied_log_is_one_gap)
{
    struct listener l = {0};

    emit(&h, 4, 1, 1, 0);
    trim(&h, 4);
    open_at(&h, &l, 1);
    step(&h);
    cr_assert_eq(l.gaps, 1);
    cr_assert_eq(l.gap_last, 4);
    emit(&h, 1, 1, 1, 0);
    step(&h);
    expect_run(&l, 5, 5);
    hub_stream_close(&l.s);
}

Test(hub, rows_that_damage_hides_at_the_end_are_a_gap_too)
{
    struct listener l = {0};
    struct key key = event_key(1, 10);
    struct batch b;

    emit(&h, 10, 1, 0, 0);
    step(&h);
    batch_init(&b);
    batch_delete(&b, DB_events, key_slice(&key));
    CHECK_OK(writer_commit(h.f.writer, &b));
    batch_done(&b);
    open_at(&h, &l, 0);
    step(&h);
    expect_run(&l, 1, 9);
    cr_assert_eq(l.gap_first, 10);
    cr_assert_eq(l.gap_last, 10);
    cr_assert_eq(l.caught_up, 1, "it goes on live");
    hub_stream_close(&l.s);
}

Test(hub, a_cursor_of_another_log_starts_over_at_the_end)
{
    struct listener l = {0};

    emit(&h, 3, 1, 1, 0);
    open_at(&h, &l, 500);
    step(&h);
    cr_assert_eq(l.gaps, 1);
    cr_assert_gt(l.gap_first, l.gap_last);
    emit(&h, 1, 1, 1, 0);
    step(&h);
    expect_run(&l, 4, 4);
    hub_stream_close(&l.s);
}

Test(hub, a_full_reader_reads_on_from_the_log)
{
    struct listener l = {.room = 2};

    open_at(&h, &l, 0);
    step(&h);
    emit(&h, 5, 1, 1, 0);
    step(&h);
    emit(&h, 5, 1, 1, 0);
    step(&h);
    expect_run(&l, 1, 2);
    l.room = 0;
    hub_stream_resume(&l.s);
    step(&h);
    emit(&h, 1, 1, 1, 0);
    step(&h);
    expect_run(&l, 1, 11);
    cr_assert_eq(l.caught_up, 2);
    hub_stream_close(&l.s);
}

Test(hub, within_one_commit_each_stream_goes_as_far_as_it_can)
{
    struct listener all = {0}, full = {.room = 40}, gone = {.closes = true}, last = {0};

    open_at(&h, &all, 0);
    open_at(&h, &full, 0);
    open_at(&h, &gone, 0);
    open_at(&h, &last, 0);
    step(&h);
    emit(&h, 100, 1, 1, 0);
    step(&h);
    expect_run(&all, 1, 100);
    expect_run(&full, 1, 40);
    expect_run(&gone, 1, 1);
    expect_run(&last, 1, 100);
    full.room = 0;
    hub_stream_resume(&full.s);
    step(&h);
    expect_run(&full, 1, 100);
    hub_stream_close(&all.s);
    hub_stream_close(&full.s);
    hub_stream_close(&last.s);
}

Test(hub, a_held_stream_hears_nothing_until_resumed)
{
    struct listener l = {0};

    open_at(&h, &l, 0);
    step(&h);
    hub_stream_hold(&l.s);
    emit(&h, 3, 1, 1, 0);
    step(&h);
    cr_assert_eq(l.count, 0);
    hub_stream_resume(&l.s);
    step(&h);
    expect_run(&l, 1, 3);
    hub_stream_close(&l.s);
}

Test(hub, streams_may_close_in_their_callback)
{
    struct listener a = {.closes = true}, b = {0}, c = {.closes = true};

    open_at(&h, &a, 0);
    open_at(&h, &b, 0);
    open_at(&h, &c, HUB_FROM_NOW);
    emit(&h, 2, 1, 1, 0);
    step(&h);
    emit(&h, 2, 1, 1, 0);
    step(&h);
    expect_run(&a, 1, 1);
    expect_run(&b, 1, 4);
    cr_assert_eq(c.count, 1);
    hub_stream_close(&b.s);
}

Test(hub, subscriptions_of_the_key_match_beside_own_filters)
{
    struct listener l = {0};
    struct event_filter sent = {.kinds = 1ull << EVENT_MESSAGE_SENT};

    open_at(&h, &l, 0);
    l.s.filter_count = 0;
    l.s.follows_key = true;
    step(&h);
    emit(&h, 1, 2, 1, 0);
    step(&h);
    cr_assert_eq(l.count, 0);
    hubs_set_key_filters(h.server.hubs, SLICE("key_1"), &sent, 1);
    step(&h);
    emit(&h, 1, 2, 1, 0);
    emit(&h, 1, 1, 1, 0);
    step(&h);
    cr_assert_eq(l.count, 1);
    cr_assert_eq(l.key_matches, 1);
    hubs_set_key_filters(h.server.hubs, SLICE("key_1"), NULL, 0);
    emit(&h, 1, 2, 1, 0);
    step(&h);
    cr_assert_eq(l.count, 1);
    hub_stream_close(&l.s);
}

/* ---- chats become one ---- */

/* In one commit: an event of chat `from`, its merge into `into`, an event of that one. */
static err_t emit_merge(struct house *house, uint32_t from, uint32_t into, uint32_t part)
{
    struct db_contact person = {.peer = into, .parts = {from, part}};
    struct event_head head = {.account = 7, .peer = from, .type = 1, .at_ms = 1000};
    AUTO(buf) parts = {0};
    struct batch b;
    err_t e;

    batch_init(&b);
    batch_event(&b, 1, &head, SLICE("{\"event\":\"x\"}"));
    head.type = NOTICE_MERGE;
    head.peer = into;
    event_merge(&parts, &person);
    batch_notice(&b, 1, &head, buf_slice(&parts));
    head.type = 1;
    batch_event(&b, 1, &head, SLICE("{\"event\":\"x\"}"));
    writer_post(house->f.writer, &b);
    while (writer_step(house->f.writer)) {
    }
    e = b.result;
    batch_done(&b);
    return e;
}

/* Three chats become one, twice: the streams asked for the youngest and for another. */
Test(hub, a_stream_hears_the_chat_that_its_own_became_part_of)
{
    struct listener live = {.filter = {.account = 7, .peer = 3}}, held = live,
                    late = {.filter = {.account = 7, .peer = 1, .parts = {2, 3}}},
                    other = {.filter = {.account = 7, .peer = 4}},
                    foreign = {.filter = {.account = 8, .peer = 3}};

    open_at(&h, &live, 0);
    open_at(&h, &held, 0);
    open_at(&h, &other, 0);
    open_at(&h, &foreign, 0);
    step(&h);
    hub_stream_hold(&held.s);
    emit(&h, 1, 1, 1, 0);
    cr_assert_eq(emit_merge(&h, 3, 2, 0), OK);
    cr_assert_eq(emit_merge(&h, 2, 1, 3), OK);
    step(&h);
    hub_stream_resume(&held.s);
    open_at(&h, &late, 0);
    step(&h);
    expect_run(&live, 2, 5);
    expect_run(&held, 1, 5); /* what it hears from the log is what it would hear opened anew */
    expect_run(&late, 1, 5);
    cr_expect_eq(other.count + foreign.count, 0);
    cr_expect_eq(live.s.cursor, 5, "a notice has no number");
    cr_expect_eq(hub_last(hub_at(h.server.hubs, 0), 1), 5);
    cr_expect_eq(live.gaps + held.gaps + late.gaps + other.gaps, 0);
    hub_stream_close(&live.s);
    hub_stream_close(&held.s);
    hub_stream_close(&late.s);
    hub_stream_close(&other.s);
    hub_stream_close(&foreign.s);
}

Test(hub, a_stream_that_replays_hears_it_too)
{
    struct listener l = {.filter = {.account = 7, .peer = 3}};

    emit(&h, 1200, 1, 3, 0);
    open_at(&h, &l, 0);
    uv_run(worker_loop(h.worker), UV_RUN_NOWAIT);
    cr_assert(l.count && l.count < 1200 && l.s.state == HUB_REPLAYING, "%zu events", l.count);
    cr_assert_eq(emit_merge(&h, 3, 1, 0), OK);
    step(&h);
    expect_run(&l, 1, 1202);
    cr_expect_eq(l.gaps, 0);
    hub_stream_close(&l.s);
}

/* Its filter was read from the database before the commit, and nobody had streams here. */
Test(hub, a_stream_that_was_about_to_open_hears_it_too)
{
    struct listener l = {.filter = {.account = 7, .peer = 3}};

    cr_assert_eq(emit_merge(&h, 3, 1, 0), OK);
    open_at(&h, &l, HUB_FROM_NOW);
    step(&h);
    emit(&h, 1, 1, 1, 0);
    step(&h);
    expect_run(&l, 3, 3);
    hub_stream_close(&l.s);
}

Test(hub, a_merge_that_failed_is_told_to_nobody)
{
    struct listener l = {.filter = {.account = 7, .peer = 3}};

    open_at(&h, &l, 0);
    step(&h);
    atomic_store(&writer_faults(h.f.writer)->fail_put, 1);
    cr_assert_eq(emit_merge(&h, 3, 1, 0), ERR_STORE_FULL);
    emit(&h, 1, 1, 1, 0);
    step(&h);
    cr_expect_eq(l.count, 0);
    cr_expect(l.filter.peer == 3 && l.filter.parts[0] == 0);
    hub_stream_close(&l.s);
}

Test(hub, a_key_hears_the_chat_that_its_own_became_part_of)
{
    struct event_filter sent = {.account = 7, .peer = 3};
    struct listener l = {0};

    hubs_set_key_filters(h.server.hubs, SLICE("key_1"), &sent, 1);
    cr_assert_eq(emit_merge(&h, 3, 2, 0), OK); /* nobody listens yet */
    cr_assert_eq(emit_merge(&h, 2, 1, 3), OK);
    step(&h);
    l.s.follows_key = true;
    open_at(&h, &l, 0);
    l.s.filter_count = 0;
    step(&h);
    emit(&h, 1, 1, 1, 0);
    emit(&h, 1, 1, 9, 0);
    step(&h);
    expect_run(&l, 1, 5);
    cr_expect_eq(l.key_matches, 5);
    hub_stream_close(&l.s);
}

Test(hub, a_key_is_forgotten_with_its_last_stream_and_subscription)
{
    struct listener one = {0}, two = {0};
    struct event_filter sent = {.kinds = 1ull << EVENT_MESSAGE_SENT};
    struct slice key = SLICE("key_1");

    hubs_set_key_filters(h.server.hubs, key, &sent, 1);
    step(&h);
    one.s.follows_key = two.s.follows_key = true;
    open_at(&h, &one, 0);
    one.s.filter_count = 0;
    hub_stream_close(&one.s);
    hubs_set_key_filters(h.server.hubs, key, NULL, 0); /* the last that named it */
    step(&h);
    open_at(&h, &two, 0);
    two.s.filter_count = 0;
    step(&h);
    emit(&h, 1, 2, 1, 0);
    step(&h);
    cr_assert_eq(two.count, 0);
    hubs_set_key_filters(h.server.hubs, key, &sent, 1);
    step(&h);
    emit(&h, 1, 2, 1, 0);
    step(&h);
    cr_assert_eq(two.key_matches, 1);
    hub_stream_close(&two.s);
}

Test(hub, a_revoked_key_loses_its_streams)
{
    struct listener live = {0}, held = {0}, other = {0};

    open_at(&h, &live, 0);
    open_at(&h, &held, 0);
    open_at(&h, &other, 0);
    strcpy(other.s.who.key, "key_2");
    step(&h);
    hub_stream_hold(&held.s);
    hubs_revoke_key(h.server.hubs, SLICE("key_1"));
    step(&h);
    cr_assert(live.ended && held.ended && !other.ended);
    emit(&h, 1, 1, 1, 0);
    step(&h);
    cr_assert_eq(live.count + held.count, 0);
    expect_run(&other, 1, 1);
    hub_stream_close(&other.s);
}

Test(hub, live_events_have_no_number_and_are_not_replayed)
{
    struct listener l = {0}, late = {0};
    struct event_head head = {.account = 7, .peer = 1, .type = 16};

    open_at(&h, &l, 0);
    step(&h);
    hubs_publish_live(h.server.hubs, 1, &head, SLICE("{\"event\":\"typing.started\"}"));
    step(&h);
    cr_assert_eq(l.count, 1);
    cr_assert_str_eq(l.last_json, "{\"event\":\"typing.started\"}");
    cr_assert_eq(l.s.cursor, 0);
    open_at(&h, &late, 0);
    step(&h);
    cr_assert_eq(late.count, 0);
    hub_stream_close(&l.s);
    hub_stream_close(&late.s);
}
