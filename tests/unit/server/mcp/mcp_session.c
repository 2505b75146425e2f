/* The table of sessions: rows, idleness, limits. */
#include "server/mcp/mcp_table.h"
#include "tests/unit/server/mcp/agent.h"

TestSuite(mcp_session, .init = agent_setup, .fini = agent_teardown);

static struct mcp_worker *w(void) { return &H.server.mcp->workers[0]; }

static err_t find(struct session_info *out)
{
    return session_find(w(), &H.test, slice_text(agent_session), out);
}

Test(mcp_session, what_a_row_holds_comes_back)
{
    struct session_info info;
    struct session_uri *uris;
    size_t n;

    open_session_with("2025-03-26", "{\"experimental\":{\"io.modelcontextprotocol/events\":{}}}");
    answer_to("logging/setLevel", "{\"level\":\"warning\"}");
    answer_to("resources/subscribe", "{\"uri\":\"whatsapp://events/account.*\"}");
    answer_to("resources/subscribe", "{\"uri\":\"whatsapp://events\"}");
    answer_to("resources/subscribe", "{\"uri\":\"whatsapp://events\"}");
    answer_to("resources/unsubscribe", "{\"uri\":\"whatsapp://events/never\"}");
    door_restart();
    CHECK_OK(find(&info));
    cr_assert_str_eq(info.id, agent_session);
    cr_assert_eq(info.revision, MCP_2025_03_26);
    cr_assert_eq(info.level, MCP_WARNING);
    cr_assert(info.wants_vendor);
    cr_assert(session_uris(w(), agent_session, &info, &uris, &n));
    cr_assert_eq(n, 2);
    cr_assert_str_eq(uris[0].uri, "whatsapp://events");
    cr_assert_eq(uris[0].filter.kinds, 0);
    cr_assert_str_eq(uris[1].uri, "whatsapp://events/account.*");
    cr_assert_neq(uris[1].filter.kinds, 0);
    free(uris);
}

static void age_row(int64_t used_ms)
{
    struct db_session row = {
        .id = slice_text(agent_session), .revision = SLICE("2025-11-25"), .used_ms = used_ms};
    struct batch b;
    uint64_t secret;

    cr_assert(id_number_parse(ID_KEY, slice_text(H.test.key), &row.key, &secret));
    batch_init(&b);
    db_session_put(&b, 1, &row);
    CHECK_OK(writer_commit(H.f.writer, &b));
    batch_done(&b);
}

static size_t rows(void)
{
    AUTO(range) r = {0};
    struct db_session row;
    struct view *v;
    uint32_t tenant;
    size_t n = 0;

    CHECK_OK(view_new(H.f.store, &v));
    CHECK_OK(view_begin(v));
    db_sessions(&r, v, 0);
    while (db_session_next(&r, &tenant, &row))
        n++;
    range_done(&r);
    view_end(v);
    view_free(v);
    return n;
}

Test(mcp_session, a_row_ends_a_day_after_its_last_use)
{
    struct session_info info;
    int64_t now = worker_now(H.worker);

    open_session();
    answer_to("resources/subscribe", "{\"uri\":\"whatsapp://events\"}");
    door_restart();
    age_row(now - SESSION_ROW_MS + 60000);
    CHECK_OK(find(&info));
    house_step(); /* its use is noted */
    door_restart();
    age_row(now - SESSION_ROW_MS - 60000);
    cr_assert_eq(find(&info), ERR_NOT_FOUND);
    cr_assert_eq(rows(), 1);
    mcp_sessions_sweep(w());
    house_step();
    cr_assert_eq(rows(), 0);
}

Test(mcp_session, a_fresh_row_is_not_swept)
{
    open_session();
    door_restart();
    mcp_sessions_sweep(w());
    house_step();
    cr_assert_eq(rows(), 1);
}

Test(mcp_session, many_rows_are_swept_in_slices)
{
    enum { MANY = 9000 };
    int64_t now = worker_now(H.worker);
    struct batch b;

    batch_init(&b);
    for (int i = 0; i < MANY; i++) {
        char id[40];
        snprintf(id, sizeof(id), "session-%05d", i);
        db_session_put(&b, 1,
                       &(struct db_session){.id = slice_text(id),
                                            .key = 1,
                                            .used_ms = i % 3 ? now : now - 2 * SESSION_ROW_MS});
    }
    CHECK_OK(writer_commit(H.f.writer, &b));
    batch_done(&b);
    mcp_sessions_sweep(w());
    house_step();
    cr_assert_gt(rows(), MANY * 2 / 3);
    for (int i = 0; i < 4; i++) {
        mcp_sessions_sweep(w());
        house_step();
    }
    cr_assert_eq(rows(), MANY * 2 / 3);
}

Test(mcp_session, subscriptions_have_a_limit)
{
    char params[100];

    open_session();
    for (int i = 0; i < SESSION_URIS_MAX; i++) {
        struct session_uri u = {0};
        snprintf(u.uri, sizeof(u.uri), "whatsapp://events/x%d", i);
        CHECK_OK(session_subscribe(w(), agent_session, &u, (struct session_change){0}));
    }
    snprintf(params, sizeof(params), "{\"uri\":\"whatsapp://events\"}");
    cr_assert_neq(code_of(answer_to("resources/subscribe", params)), 0);
}

Test(mcp_session, requests_under_way_have_a_limit)
{
    open_session();
    for (uint64_t i = 0; i < SESSION_INFLIGHT_MAX; i++)
        cr_assert(session_ask_begins(w(), agent_session, SLICE("1"), 1000 + i));
    cr_assert_eq(code_of(answer_to("ping", "{}")), RPC_REFUSED);
    session_ask_ends(w(), agent_session, 1000);
    cr_assert_eq(code_of(answer_to("ping", "{}")), 0);
}

Test(mcp_session, kept_answers_make_room_for_new_ones)
{
    uint64_t kept[KEPT_STREAMS_MAX + 1], after = 0;
    AUTO(buf) out = {0};
    bool ended;

    open_session();
    for (int i = 0; i < KEPT_STREAMS_MAX; i++) {
        kept[i] = kept_open(w(), agent_session, SLICE("1"));
        cr_assert(kept[i]);
    }
    cr_assert_eq(kept_open(w(), agent_session, SLICE("1")), 0, "all are under way");
    kept_add(w(), agent_session, kept[3], SLICE("{}"), true);
    cr_assert(kept_read(w(), agent_session, kept[3], &after, &out, &ended));
    cr_assert(ended && after == 1 && strstr(buf_text(&out), ".1-1\nevent: message\ndata: {}\n\n"));
    cr_assert(kept_open(w(), agent_session, SLICE("1")));
    cr_assert_not(kept_read(w(), agent_session, kept[3], &after, &out, &ended));
}

Test(mcp_session, a_commit_that_fails_promises_nothing)
{
    struct session_info info;
    struct session_uri *uris;
    size_t n;

    open_session();
    CHECK_OK(faults_parse(writer_faults(H.f.writer), SLICE("fail_put=1")));
    cr_assert_neq(code_of(answer_to("resources/subscribe", "{\"uri\":\"whatsapp://events\"}")), 0);
    CHECK_OK(find(&info));
    cr_assert(session_uris(w(), agent_session, &info, &uris, &n));
    cr_assert_eq(n, 0);
    free(uris);
}

Test(mcp_session, one_that_is_being_ended_is_there_until_that_is_durable)
{
    struct session_info info;

    open_session();
    CHECK_OK(faults_parse(writer_faults(H.f.writer), SLICE("fail_put=1")));
    CHECK_OK(session_end(w(), agent_session, (struct session_change){0}));
    cr_assert_eq(find(&info), ERR_TOO_BUSY, "neither there nor gone");
    house_step();
    CHECK_OK(find(&info));

    CHECK_OK(session_end(w(), agent_session, (struct session_change){0}));
    cr_assert_eq(find(&info), ERR_TOO_BUSY);
    house_step();
    cr_assert_eq(find(&info), ERR_NOT_FOUND);
    cr_assert_eq(rows(), 0);
}

/* ---- what is under way is not seen ---- */

static const struct session_uri all_events = {.uri = "whatsapp://events"};

static void expect_shown(enum mcp_level level, size_t uris)
{
    struct session_info info;
    struct session_uri *list;
    size_t n;

    CHECK_OK(find(&info));
    cr_expect_eq(info.level, level, "a request sees %s", mcp_level_text(info.level));
    cr_assert(session_uris(w(), agent_session, &info, &list, &n));
    cr_expect_eq(info.level, level, "a stream sees %s", mcp_level_text(info.level));
    cr_expect_eq(n, uris);
    free(list);
}

Test(mcp_session, a_level_and_a_subscription_are_seen_when_they_are_durable)
{
    struct session_change none = {0};

    open_session();
    CHECK_OK(session_set_level(w(), agent_session, MCP_WARNING, none));
    CHECK_OK(session_subscribe(w(), agent_session, &all_events, none));
    expect_shown(MCP_DEBUG, 0);
    house_step();
    expect_shown(MCP_WARNING, 1);

    CHECK_OK(session_unsubscribe(w(), agent_session, slice_text(all_events.uri), none));
    CHECK_OK(session_set_level(w(), agent_session, MCP_INFO, none));
    expect_shown(MCP_WARNING, 1);
    house_step();
    expect_shown(MCP_INFO, 0);
    door_restart();
    expect_shown(MCP_INFO, 0);
}

Test(mcp_session, limits_count_what_is_under_way)
{
    struct session_change none = {0};
    struct session_uri u = {.since = 0};

    open_session();
    for (int i = 0; i < SESSION_URIS_MAX; i++) {
        snprintf(u.uri, sizeof(u.uri), "whatsapp://events/%d", i);
        CHECK_OK(session_subscribe(w(), agent_session, &u, none));
    }
    CHECK_OK(session_subscribe(w(), agent_session, &u, none));
    cr_assert_eq(session_subscribe(w(), agent_session, &all_events, none), ERR_TOO_BUSY);
    CHECK_OK(session_unsubscribe(w(), agent_session, slice_text(u.uri), none));
    CHECK_OK(session_subscribe(w(), agent_session, &all_events, none));
    expect_shown(MCP_DEBUG, 0);
    house_step();
    expect_shown(MCP_DEBUG, SESSION_URIS_MAX);
}

/* The commit in the middle fails: what came before and after it holds, in memory as in the row. */
Test(mcp_session, a_change_that_fails_leaves_the_others)
{
    struct session_change none = {0};

    open_session();
    CHECK_OK(session_set_level(w(), agent_session, MCP_WARNING, none));
    house_step();
    CHECK_OK(faults_parse(writer_faults(H.f.writer), SLICE("fail_put=1")));
    CHECK_OK(session_set_level(w(), agent_session, MCP_NOTICE, none));
    cr_assert_eq(writer_step(H.f.writer), 1u);
    CHECK_OK(session_subscribe(w(), agent_session, &all_events, none));
    house_step();
    expect_shown(MCP_WARNING, 1);
    door_restart();
    expect_shown(MCP_WARNING, 1);
}

/* As if the row had learnt of the last use long ago. */
static void forget_use(void)
{
    struct mcp_sessions *t = table_lock(w());

    table_get(t, agent_session)->used_ms = 0;
    table_unlock(t);
}

/* A use is noted while a level is under way, whose commit fails: nothing of that level is in the
 * row of the use. */
Test(mcp_session, a_level_that_failed_does_not_come_back_with_a_use)
{
    struct session_change none = {0};

    open_session();
    CHECK_OK(session_set_level(w(), agent_session, MCP_WARNING, none));
    house_step();
    forget_use();
    CHECK_OK(faults_parse(writer_faults(H.f.writer), SLICE("fail_put=1")));
    CHECK_OK(session_set_level(w(), agent_session, MCP_NOTICE, none));
    cr_assert_eq(writer_step(H.f.writer), 1u);
    expect_shown(MCP_WARNING, 0); /* a use */
    house_step();
    expect_shown(MCP_WARNING, 0);
    house_step();
    door_restart();
    expect_shown(MCP_WARNING, 0);
}

/* Both are durable; the worker of the second hears of it first. */
Test(mcp_session, two_workers_leave_the_last_level)
{
    struct worker *both[] = {H.worker, worker_new(1)};
    struct session_change none = {0};

    H.server.workers = both;
    H.server.worker_count = 2;
    door_restart();
    open_session();
    CHECK_OK(session_set_level(&w()[1], agent_session, MCP_WARNING, none));
    CHECK_OK(session_set_level(&w()[0], agent_session, MCP_NOTICE, none));
    house_step();
    expect_shown(MCP_NOTICE, 0);
    uv_run(worker_loop(both[1]), UV_RUN_NOWAIT);
    expect_shown(MCP_NOTICE, 0);

    H.server.workers = &H.worker;
    H.server.worker_count = 1;
    door_restart();
    expect_shown(MCP_NOTICE, 0);
    worker_stop(both[1]);
    worker_run(both[1]);
    worker_free(both[1]);
}
