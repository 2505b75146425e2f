#include "server/upkeep.h"

#include "storage/jobs.h"
#include "storage/tenants.h"
#include "tests/unit/server/account/house.h"
#include "tests/unit/storage/fixture.h"

static struct upkeep *upkeep;

static void start(void)
{
    struct batch b;
    struct db_tenant tenant = {.tenant = 1, .secret = 1, .created_ms = 1};

    house_start();
    batch_init(&b);
    db_tenant_put(&b, &tenant);
    cr_assert_eq(writer_commit(house.server.writer, &b), OK);
    batch_done(&b);
    upkeep = upkeep_new(&house.server);
    upkeep_start(upkeep);
}

static void stop(void)
{
    upkeep_free(upkeep);
    house_stop();
}

TestSuite(upkeep, .init = start, .fini = stop, .timeout = 60);

/* Time passes and everything that it brings is committed. */
static void pass(int64_t ms)
{
    for (int64_t step = 500; ms > 0; ms -= step) {
        house_pass(step);
        house_settle();
    }
}

static int rows_of(uint32_t account)
{
    struct key prefix = key_of_scope((struct scope){1, account});
    int n = 0;
    AUTO(range) r = {0};

    range_prefix(&r, house_view(), DB_data, key_slice(&prefix), RANGE_FORWARDS);
    while (range_next(&r))
        n++;
    range_done(&r);
    house_view_end();
    return n;
}

static err_t act_delete(struct account *a, struct turn *t, struct account_call *c)
{
    return account_delete(a, t);
}

Test(upkeep, purges_a_deleted_account)
{
    struct errand e = {.act = act_delete};
    uint32_t number = house.account->scope.account;
    struct db_account row;

    for (int i = 0; i < 3000; i++) {
        char name[16];
        struct turn *t = turn_open(house.account);
        snprintf(name, sizeof name, "row%d", i);
        house_save("", name, "some value that takes a little room");
        turn_close(t, OK);
        house_settle();
    }
    errand_start(&e);
    house_settle();
    cr_expect_eq(e.call.error, OK, "%s", e.call.trail);
    cr_expect_null(accounts_find(house.aw, number), "nothing holds it open");
    cr_expect_eq(rows_of(number), 3000);
    pass(JOB_PURGE_AFTER_MS + 2 * UPKEEP_EVERY_MS);
    cr_expect_eq(rows_of(number), 0);
    cr_expect_eq(db_account_get(house_view(), (struct scope){1, number}, &row), ERR_NOT_FOUND);
    house_view_end();
}

Test(upkeep, purges_accounts_that_were_deleted_at_the_same_time)
{
    struct errand made[2] = {0}, e[2] = {{.act = act_delete}, {.act = act_delete}};
    uint32_t numbers[2];
    uint64_t secret;
    struct db_account row;

    for (int i = 0; i < 2; i++) {
        errand_init(&made[i]);
        account_create(&house.server, 1, true, &made[i].call);
        house_settle();
        cr_assert(
            id_number_parse(ID_ACCOUNT, slice_text(made[i].call.account), &numbers[i], &secret));
    }
    for (int i = 0; i < 2; i++) { /* neither is durable when the other begins */
        errand_init(&e[i]);
        memcpy(e[i].call.account, made[i].call.account, sizeof e[i].call.account);
        account_ask(&house.server, &e[i].call);
        fake_run(house.worker);
    }
    house_settle();
    pass(JOB_PURGE_AFTER_MS + 2 * UPKEEP_EVERY_MS);
    for (int i = 0; i < 2; i++) {
        cr_expect_eq(e[i].call.error, OK);
        cr_expect_eq(db_account_get(house_view(), (struct scope){1, numbers[i]}, &row),
                     ERR_NOT_FOUND, "account %u", numbers[i]);
        house_view_end();
    }
}

Test(upkeep, cuts_the_event_log_by_age)
{
    struct turn *t = turn_open(house.account);

    turn_event(t, EVENT_ACCOUNT_CONNECTED, 0, SLICE("{\"event\":\"old\"}"));
    turn_close(t, OK);
    house_settle();
    pass(2 * UPKEEP_EVERY_MS);
    cr_expect_eq(house_events("old"), 1);
    house.worker->now += (house.config.event_days + 1) * (int64_t)86400000;
    t = turn_open(house.account);
    turn_event(t, EVENT_ACCOUNT_CONNECTED, 0, SLICE("{\"event\":\"new\"}"));
    turn_close(t, OK);
    house_settle();
    pass(2 * UPKEEP_EVERY_MS);
    cr_expect_eq(house_events("old"), 0);
    cr_expect_eq(house_events("new"), 1);
}

Test(upkeep, cuts_the_event_log_by_size)
{
    static char event[40000];

    house.config.event_bytes = 65536;
    memset(event, ' ', sizeof event - 1);
    for (int i = 0; i < 3; i++) {
        struct turn *t = turn_open(house.account);
        int n = snprintf(event, sizeof event, "{\"event\":\"number%d\"}", i);
        event[n] = ' ';
        turn_event(t, EVENT_ACCOUNT_CONNECTED, 0, slice_text(event));
        turn_close(t, OK);
        house_settle();
    }
    cr_expect_eq(house_events("number0"), 1);
    pass(2 * UPKEEP_EVERY_MS);
    cr_expect_eq(house_events("number0"), 0);
    cr_expect_eq(house_events("number1"), 0);
    cr_expect_eq(house_events("number2"), 1);
}

static void add_tenant_with_an_old_event(uint32_t number, struct slice name)
{
    struct db_tenant tenant = {.tenant = number, .secret = number, .created_ms = 1, .name = name};
    struct event_head old = {.at_ms = 1};
    struct batch b;

    batch_init(&b);
    db_tenant_put(&b, &tenant);
    batch_event(&b, number, &old, SLICE("{}"));
    cr_assert_eq(writer_commit(house.server.writer, &b), OK);
    batch_done(&b);
}

static uint64_t events_of(uint32_t tenant)
{
    struct db_log log;

    cr_assert_eq(db_log_find(house_view(), tenant, &log), OK);
    house_view_end();
    return log.next_seq - log.first_seq;
}

static int timers_fired(int64_t ms)
{
    int64_t until = house.worker->now + ms;
    int n = 0;

    for (struct timer *t; (t = fake_due(house.worker, until)); n++) {
        house_pass(t->at - house.worker->now);
        house_settle();
    }
    return n;
}

Test(upkeep, a_round_comes_to_every_tenant_and_ends)
{
    for (uint32_t tenant = 2; tenant <= 4; tenant++)
        add_tenant_with_an_old_event(tenant, SLICE(""));
    pass(2 * UPKEEP_EVERY_MS);
    for (uint32_t tenant = 2; tenant <= 4; tenant++)
        cr_expect_eq(events_of(tenant), 0, "tenant %u", tenant);
    cr_expect_lt(timers_fired(10 * UPKEEP_PROBE_MS), 100, "a round without an end");
}

Test(upkeep, the_next_round_waits_no_longer_when_the_clock_is_set_back)
{
    pass(UPKEEP_EVERY_MS / 2);
    fake_set_back(house.worker, 7200 * 1000);
    add_tenant_with_an_old_event(2, SLICE(""));
    pass(2 * UPKEEP_EVERY_MS);
    cr_expect_eq(events_of(2), 0);
}

Test(upkeep, a_damaged_tenant_costs_no_other_its_turn)
{
    struct fixture files;

    for (uint32_t tenant = 2; tenant <= 4; tenant++)
        add_tenant_with_an_old_event(tenant, tenant == 3 ? SLICE("spoiled") : SLICE(""));
    snprintf(files.path, sizeof files.path, "%s", house.folder);
    fixture_flip(&files, "spoiled");
    pass(2 * UPKEEP_EVERY_MS);
    cr_expect_eq(events_of(2), 0);
    cr_expect_eq(events_of(4), 0);
}

/* One event more, of a tenant whose log is full: there is always something to cut. */
static void go_on_telling(void)
{
    static char event[40000];
    struct turn *t = turn_open(house.account);

    memset(event, ' ', sizeof event - 1);
    memcpy(event, "{}", 2);
    turn_event(t, EVENT_ACCOUNT_CONNECTED, 0, slice_text(event));
    turn_close(t, OK);
    house_settle();
}

Test(upkeep, a_tenant_whose_log_never_rests_keeps_nobody_waiting)
{
    struct errand made = {0}, gone = {.act = act_delete};
    uint32_t number;
    uint64_t secret;
    struct db_account row;

    house.config.event_bytes = 65536;
    add_tenant_with_an_old_event(2, SLICE(""));
    errand_init(&made);
    account_create(&house.server, 1, true, &made.call);
    house_settle();
    cr_assert(id_number_parse(ID_ACCOUNT, slice_text(made.call.account), &number, &secret));
    errand_init(&gone);
    memcpy(gone.call.account, made.call.account, sizeof gone.call.account);
    account_ask(&house.server, &gone.call);
    house_settle();
    house.worker->now += JOB_PURGE_AFTER_MS;
    for (int i = 0; i < 100; i++) {
        struct timer *t = fake_due(house.worker, house.worker->now + UPKEEP_EVERY_MS);
        go_on_telling();
        if (!t) break;
        house_pass(t->at > house.worker->now ? t->at - house.worker->now : 0);
        house_settle();
    }
    cr_expect_eq(events_of(2), 0, "the other tenant");
    cr_expect_eq(db_account_get(house_view(), (struct scope){1, number}, &row), ERR_NOT_FOUND,
                 "its own deleted account");
    house_view_end();
}

Test(upkeep, finds_out_by_itself_that_a_full_disk_has_room_again)
{
    struct turn *t = turn_open(house.account);

    atomic_store(&writer_faults(house.server.writer)->full, 1);
    house_save("", "row", "value");
    turn_close(t, OK);
    house_commit();
    cr_expect(house.account->broken);
    pass(5 * UPKEEP_PROBE_MS);
    cr_expect(house.account->broken);
    atomic_store(&writer_faults(house.server.writer)->full, 0);
    pass(5 * UPKEEP_PROBE_MS);
    cr_expect(!writer_is_full(house.server.writer));
    cr_expect(!house.account->broken);
}
