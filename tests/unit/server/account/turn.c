#include <signal.h>

#include "storage/keys.h"

#include "tests/unit/server/account/house.h"

TestSuite(turn, .init = house_start, .fini = house_stop, .timeout = 60);

static size_t written(void) { return fake_link->written.len; }

/* The client drops sends for a link it does not know, so a turn's output here is its calls. */
static err_t act_nothing(struct account *a, struct turn *t, struct account_call *c) { return OK; }
static err_t act_write(struct account *a, struct turn *t, struct account_call *c)
{
    house_save("", "row", "value");
    return OK;
}
static err_t act_event(struct account *a, struct turn *t, struct account_call *c)
{
    turn_event(t, EVENT_ACCOUNT_CONNECTED, 0, SLICE("{\"event\":\"account.connected\"}"));
    return OK;
}

Test(turn, releases_nothing_before_its_commit)
{
    struct errand e = {.act = act_event};

    errand_start(&e);
    cr_expect_eq(e.ended, 1u, "the result is known in the turn");
    cr_expect_eq(e.done, 0u, "but not told before the commit");
    cr_expect_eq(house_events("account.connected"), 0);
    house_commit();
    cr_expect_eq(e.done, 1u);
    cr_expect_eq(house_events("account.connected"), 1);
}

/* The writer finds that there is room again. */
static void find_room(void)
{
    struct batch probe;

    batch_init(&probe);
    batch_probe(&probe);
    writer_post(house.server.writer, &probe);
    house_commit();
    batch_done(&probe);
    house_pass(2000);
}

static void expect_room(void)
{
    find_room();
    cr_expect(!house.account->broken);
}

static size_t figures_lag;
static void on_figures(struct accounts_ask *q)
{
    cr_assert_eq(q->count, 1u);
    figures_lag = q->items[0].lag_ms;
    free(q->items);
}
static size_t lag(void)
{
    struct accounts_ask q = {.home = house.worker, .max = 1, .done = on_figures};

    accounts_figures(house.server.accounts, &q);
    fake_run(house.worker);
    return figures_lag;
}

Test(turn, that_waits_long_shows_in_the_figures)
{
    struct errand e = {.act = act_write};

    cr_expect_eq(lag(), 0u);
    errand_start(&e);
    house_pass(1500);
    cr_expect_eq(lag(), 1500u);
    house_commit();
    cr_expect_eq(lag(), 0u);
}

Test(turn, the_time_it_took_is_counted_also_when_the_wall_clock_is_set_back)
{
    struct errand e = {.act = act_write};
    uint64_t before = metric_sum(METRIC_turn_ms);

    errand_start(&e);
    house_pass(30);
    house.worker->stepped = -5000;
    cr_expect_eq(lag(), 30u);
    house_commit();
    cr_expect_eq(metric_sum(METRIC_turn_ms) - before, 30u);
}

Test(turn, that_wrote_nothing_is_released_at_once)
{
    struct errand e = {.act = act_nothing};

    errand_start(&e);
    cr_expect_eq(e.done, 1u);
    cr_expect_eq(house_commit(), 0u);
}

Test(turn, that_wrote_nothing_waits_for_those_before_it)
{
    struct errand first = {.act = act_write}, second = {.act = act_nothing};

    errand_start(&first);
    errand_start(&second);
    cr_expect_eq(second.done, 0u);
    house_commit();
    cr_expect_eq(first.done, 1u);
    cr_expect_eq(second.done, 1u);
}

Test(turn, sees_what_earlier_ones_wrote_and_have_not_committed)
{
    struct turn *t = turn_open(house.account);

    house_save("", "a", "one");
    cr_expect_str_eq(house_load("", "a"), "one", "its own write");
    turn_close(t, OK);
    t = turn_open(house.account);
    cr_expect_str_eq(house_load("", "a"), "one");
    house_save("", "a", "two");
    turn_close(t, OK);
    t = turn_open(house.account);
    cr_expect_str_eq(house_load("", "a"), "two", "the newest wins");
    house_save("", "a", NULL);
    turn_close(t, OK);
    t = turn_open(house.account);
    cr_expect_null(house_load("", "a"), "a delete hides it");
    turn_close(t, OK);
    house_settle();
    t = turn_open(house.account);
    cr_expect_null(house_load("", "a"));
    turn_close(t, OK);
}

Test(turn, a_failed_commit_takes_the_later_ones_along_and_the_account_comes_back)
{
    struct errand first = {.act = act_write}, second = {.act = act_event},
                  third = {.act = act_nothing};
    uint32_t epoch = house.account->epoch;

    house_link_up();
    errand_start(&first);
    errand_start(&second);
    errand_start(&third);
    atomic_store(&writer_faults(house.server.writer)->fail_put_owner, house.account->scope.account);
    house_commit();
    cr_expect_eq(first.done + second.done + third.done, 3u);
    cr_expect_eq(first.call.error, ERR_STORE_FULL);
    cr_expect_eq(second.call.error, ERR_STORE_FULL);
    cr_expect_eq(third.call.error, ERR_STORE_FULL);
    cr_expect_eq(house_events("account.connected"), 0, "nothing was promised");
    cr_expect_gt(house.account->epoch, epoch);
    cr_expect(fake_link->closing);
    cr_expect_eq(written(), 0u);
    cr_expect(house.account->broken);

    struct errand early = {.act = act_nothing};
    errand_start(&early);
    cr_expect_eq(early.call.error, ERR_STORE_FULL, "not before it is open again");

    fake_link_drop("closed");
    atomic_store(&writer_faults(house.server.writer)->fail_put_owner, 0);
    expect_room();
    struct errand again = {.act = act_event};
    errand_start(&again);
    house_commit();
    cr_expect_eq(again.call.error, OK);
    cr_expect_eq(house_events("account.connected"), 1);
}

/* More than one input may write: this account starts again from disk, the process goes on. */
Test(turn, that_wrote_too_much_takes_its_account_down_and_nobody_else)
{
    static uint8_t megabyte[1 << 20];
    struct errand again = {.act = act_event};
    char name[16];

    house_link_up();
    struct turn *t = turn_open(house.account);
    for (int i = 0; i <= BATCH_MAX >> 20; i++) {
        snprintf(name, sizeof(name), "k%d", i);
        batch_put(turn_batch(t), DB_data, slice_text(name), SLICE_ARRAY(megabyte));
    }
    turn_close(t, OK);
    cr_expect(house.account->broken);
    cr_expect_eq(written(), 0u);
    fake_link_drop("closed");
    house_pass(2000);
    cr_expect(!house.account->broken);
    errand_start(&again);
    house_commit();
    cr_expect_eq(again.call.error, OK);
}

Test(turn, an_account_stays_closed_while_the_disk_is_full)
{
    struct errand e = {.act = act_write};
    struct account_status status;

    atomic_store(&writer_faults(house.server.writer)->full, 1);
    errand_start(&e);
    house_commit();
    cr_expect_eq(e.call.error, ERR_STORE_FULL);
    house_pass(30000);
    cr_expect(house.account->broken);
    cr_assert(directory_status(house.server.directory, account_id(house.account), &status));
    cr_expect(status.blocked);
    cr_expect_eq(house_events("nothing"), 0, "reads go on");

    atomic_store(&writer_faults(house.server.writer)->full, 0);
    expect_room();
    cr_assert(directory_status(house.server.directory, account_id(house.account), &status));
    cr_expect(!status.blocked);
}

Test(turn, many_undurable_ones_stop_the_reading_and_refuse_calls)
{
    static struct errand calls[TURN_UNDURABLE_MAX + 1];

    house_link_up();
    for (int i = 0; i < TURN_UNDURABLE_MAX; i++) {
        calls[i].act = act_write;
        cr_expect(!fake_link->paused, "call %d", i);
        errand_start(&calls[i]);
    }
    cr_expect(fake_link->paused);
    errand_start(&calls[TURN_UNDURABLE_MAX]);
    cr_expect_eq(calls[TURN_UNDURABLE_MAX].call.error, ERR_TOO_BUSY);
    cr_expect_eq(err_class(ERR_TOO_BUSY), ERR_CLASS_LATER);
    house_settle();
    cr_expect(!fake_link->paused, "it is read again");
    for (int i = 0; i < TURN_UNDURABLE_MAX; i++)
        cr_expect_eq(calls[i].done, 1u);
}

Test(turn, a_link_that_comes_up_meanwhile_is_not_read_either)
{
    static struct errand calls[TURN_UNDURABLE_MAX];

    house_link_up();
    house.account->link_is_up = false; /* still being opened */
    for (int i = 0; i < TURN_UNDURABLE_MAX; i++) {
        calls[i].act = act_write;
        errand_start(&calls[i]);
    }
    cr_expect(!fake_link->paused, "there is nothing to read");
    fake_link->owner.on_up(fake_link->owner.context);
    cr_expect(fake_link->paused);
    house_settle();
    cr_expect(!fake_link->paused);
}

Test(turn, large_undurable_ones_stop_the_reading)
{
    static char large[300 * 1024];
    struct turn *t;

    house_link_up();
    memset(large, 'x', sizeof large - 1);
    for (int i = 0; i < 4; i++) {
        char name[16];
        snprintf(name, sizeof name, "n%d", i);
        t = turn_open(house.account);
        house_save("", name, large);
        turn_close(t, OK);
    }
    cr_expect(fake_link->paused);
    house_settle();
    cr_expect(!fake_link->paused);
}

Test(turn, a_client_that_gives_up_on_itself_is_opened_again)
{
    struct errand e = {.act = act_write};
    struct turn *t = turn_open(house.account);

    house_save("", "bad", "value");
    turn_close(t, fail(STORE_DAMAGED, "for the test"));
    cr_expect(house.account->broken);
    house_settle();
    house_pass(2000);
    cr_expect(!house.account->broken);
    t = turn_open(house.account);
    cr_expect_null(house_load("", "bad"), "the turn left nothing");
    turn_close(t, OK);
    errand_start(&e);
    house_settle();
    cr_expect_eq(e.call.error, OK);
}

static err_t act_wait(struct account *a, struct turn *t, struct account_call *c)
{
    TRY(act_write(a, t, c));
    return account_keep_call(a, t, c, CALL_SEND, ACCOUNT_SEND_MS);
}

/* A break says nothing of what the disk is about to say. */
Test(turn, what_was_on_its_way_to_the_disk_when_its_account_broke_is_judged_by_its_commit)
{
    struct errand stored = {.act = act_event}, waits = {.act = act_wait},
                  reads = {.act = act_nothing};
    struct account_status status;

    house_link_up();
    errand_start(&stored);
    errand_start(&waits);
    errand_start(&reads);
    account_break(house.account, ERR_INTERNAL);
    fake_run(house.worker);
    house_pass(ACCOUNT_SEND_MS / 2);
    cr_expect_eq(stored.done + waits.done + reads.done, 0u);

    house_commit();
    cr_expect_eq(stored.done + waits.done + reads.done, 3u);
    cr_expect_eq(stored.call.error, OK, "it is durable");
    cr_expect_eq(reads.call.error, OK, "what it read is");
    cr_expect_eq(waits.call.error, ERR_INTERNAL);
    cr_expect_eq(waits.call.sent, ACCOUNT_SENT_PENDING);
    cr_expect_eq(fake_link->writes, 0u);
    cr_expect_eq(house_events("account.connected"), 1);
    cr_assert(directory_status(house.server.directory, account_id(house.account), &status));
    cr_expect(status.blocked, "and closed all the same");
}

Test(turn, a_call_whose_last_commit_fails_ends_behind_those_before_it)
{
    struct errand first = {.act = act_write}, last = {.act = act_write};

    errand_start(&first);
    struct turn *t = turn_open(house.account);
    errand_init(&last);
    turn_ends_call(t, &last.call);
    turn_close(t, fail(STORE_DAMAGED, "for the test"));
    fake_run(house.worker);
    cr_expect_eq(first.done + last.done, 0u);
    house_commit();
    cr_expect_eq(first.call.error, OK);
    cr_expect_eq(first.done + last.done, 2u);
    cr_expect_eq(last.call.error, ERR_STORE_DAMAGED);
}

Test(turn, an_account_that_breaks_again_and_again_comes_back_later_each_time)
{
    for (int pause = 1000; pause <= 8000; pause *= 2) {
        struct errand e = {.act = act_write};
        turn_close(turn_open(house.account), fail(STORE_DAMAGED, "for the test"));
        house_pass(pause - 500);
        cr_expect(house.account->broken, "after %d ms", pause);
        house_pass(1000);
        cr_assert(!house.account->broken, "after %d ms", pause);
        errand_start(&e);
        house_settle();
        cr_expect_eq(e.call.error, OK, "in between it works");
    }
    house_pass(ACCOUNT_SOUND_MS + 1000);
    turn_close(turn_open(house.account), fail(STORE_DAMAGED, "for the test"));
    house_pass(1500);
    cr_expect(!house.account->broken);
}

Test(turn, calls_for_nobody_come_back)
{
    struct errand e = {.act = act_nothing};

    errand_init(&e);
    snprintf(e.call.account, sizeof e.call.account, "acc_00000000000000000000");
    account_ask(&house.server, &e.call);
    house_settle();
    cr_expect_eq(e.done, 1u);
    cr_expect_eq(e.call.error, ERR_NOT_FOUND);
}

static err_t act_fail(struct account *a, struct turn *t, struct account_call *c)
{
    return fail(BAD_ARGUMENT, "for the test");
}

Test(turn, a_creation_that_fails_leaves_no_account)
{
    struct errand e = {.act = act_fail};
    struct account_status all[4];

    errand_init(&e);
    account_create(&house.server, 1, true, &e.call);
    house_settle();
    cr_expect_eq(e.call.error, ERR_BAD_ARGUMENT);
    cr_expect_str_eq(e.call.words, "for the test");
    cr_expect_eq(directory_list(house.server.directory, 1, true, SLICE(""), all, 4), 1u);
}

Test(turn, a_creation_whose_commit_fails_leaves_no_account)
{
    struct errand e = {.act = act_nothing};
    struct account_status all[4];

    errand_init(&e);
    account_create(&house.server, 1, true, &e.call);
    fake_run(house.worker);
    cr_expect_eq(directory_list(house.server.directory, 1, true, SLICE(""), all, 4), 1u,
                 "not seen before it is durable");
    atomic_store(&writer_faults(house.server.writer)->fail_put, 1);
    house_commit();
    cr_expect_eq(e.call.error, ERR_STORE_FULL);
    find_room();
    cr_expect_eq(directory_list(house.server.directory, 1, true, SLICE(""), all, 4), 1u);
    cr_expect_null(directory_worker(house.server.directory, slice_text(e.call.account)));
}

/* A commit that succeeds tells everybody that there is room again. */
static void probe_and_reopen(void)
{
    struct batch probe;

    batch_init(&probe);
    batch_probe(&probe);
    writer_post(house.server.writer, &probe);
    house_commit();
    batch_done(&probe);
    house_pass(5000);
    house_settle();
}

static bool is_listed(const char *account)
{
    struct account_status status;

    return directory_status(house.server.directory, slice_text(account), &status);
}

Test(turn, a_creation_that_was_stored_survives_a_break_before_its_release)
{
    struct errand e = {.act = act_nothing};
    uint32_t number;
    uint64_t secret;

    errand_init(&e);
    account_create(&house.server, 1, true, &e.call);
    fake_run(house.worker);
    cr_assert(id_number_parse(ID_ACCOUNT, slice_text(e.call.account), &number, &secret));
    struct account *a = accounts_find(house.aw, number);
    account_break(a, ERR_INTERNAL);
    house_commit();
    house_pass(5000);
    house_settle();
    cr_expect(is_listed(e.call.account), "its row is in the database");
    cr_expect(!a->broken);
}

static err_t act_delete(struct account *a, struct turn *t, struct account_call *c)
{
    return account_delete(a, t);
}

Test(turn, a_deletion_whose_commit_fails_leaves_the_account)
{
    struct errand e = {.act = act_delete}, again = {.act = act_nothing};

    errand_start(&e);
    atomic_store(&writer_faults(house.server.writer)->fail_put, 1);
    house_commit();
    cr_expect_eq(e.call.error, ERR_STORE_FULL);
    probe_and_reopen();
    cr_expect(is_listed(e.call.account));
    errand_start(&again);
    house_settle();
    cr_expect_eq(again.call.error, OK);
}

Test(turn, nobody_is_told_of_a_deletion_before_its_commit)
{
    struct errand e = {.act = act_delete}, other = {.act = act_nothing}, again = other;

    errand_start(&e);
    errand_start(&other);
    cr_expect_eq(other.done, 0u);
    atomic_store(&writer_faults(house.server.writer)->fail_put, 1);
    house_commit();
    cr_expect_eq(other.done, 1u);
    cr_expect_eq(other.call.error, ERR_STORE_FULL, "it is not deleted");

    probe_and_reopen();
    errand_start(&e);
    errand_start(&again);
    cr_expect_eq(again.done, 0u);
    house_settle();
    cr_expect_eq(again.done, 1u);
    cr_expect_eq(again.call.error, ERR_NOT_FOUND);
}

Test(turn, a_deletion_that_was_stored_survives_a_break_before_its_release)
{
    struct errand e = {.act = act_delete};
    uint32_t number = house.account->scope.account;

    errand_start(&e);
    account_break(house.account, ERR_INTERNAL);
    house_commit();
    house_pass(60000);
    house_settle();
    cr_expect(!is_listed(e.call.account));
    cr_expect_null(accounts_find(house.aw, number), "nothing tries to open it");
}

static err_t act_pair(struct account *a, struct turn *t, struct account_call *c)
{
    return account_pair(a, t, c);
}

Test(turn, a_deletion_ends_the_calls_that_wait)
{
    struct errand pair = {.act = act_pair}, delete = {.act = act_delete};

    errand_start(&pair);
    house_settle();
    cr_expect_eq(pair.done, 0u, "it waits for its first code");
    errand_start(&delete);
    house_settle();
    if (fake_link) fake_link_drop("deleted");
    house_settle();
    cr_expect_eq(delete.call.error, OK);
    house_pass(2 * ACCOUNT_PAIR_MS);
    house_settle();
    cr_expect_eq(pair.done, 1u);
    cr_expect_eq(pair.call.error, ERR_NOT_FOUND);
}

/* A pairing whose link is up. */
static void start_pairing(struct errand *pair)
{
    pair->act = act_pair;
    errand_start(pair);
    house_settle();
    house_pass(1000);
    cr_assert(fake_link, "it connects");
    fake_link->owner.on_up(fake_link->owner.context);
    house_settle();
}

static void show_code(const char *code)
{
    struct wa_event qr = {.kind = WA_EVENT_QR,
                          .qr = {.code = slice_text(code),
                                 .expires_at = worker_now(house.worker) + 60000,
                                 .left = 5}};

    house_emit(&qr);
    house_settle();
}

/* WhatsApp knows a code for as long as the connection it gave it to. */
Test(turn, a_code_goes_with_its_link)
{
    struct errand pair = {0}, again = {.act = act_pair};
    struct account_status status;

    start_pairing(&pair);
    show_code("first");
    cr_assert_eq(pair.done, 1u);
    fake_link_drop("gone");
    house_settle();
    cr_assert(directory_status(house.server.directory, account_id(house.account), &status));
    cr_expect_str_eq(status.code, "");
    cr_expect_eq(status.codes_left, 0u);
    cr_expect_eq(status.state, ACCOUNT_PAIRING);
    errand_start(&again);
    house_settle();
    cr_expect_eq(again.done, 0u, "it waits for the next code");
    show_code("second");
    cr_expect_eq(again.done, 1u);
    cr_expect_eq(again.call.error, OK);
}

Test(turn, a_deletion_in_the_middle_of_a_pairing_is_no_disconnect)
{
    struct errand pair = {0}, delete = {.act = act_delete};

    start_pairing(&pair);
    show_code("first");
    errand_start(&delete);
    house_settle();
    cr_assert_eq(delete.call.error, OK);
    if (fake_link) fake_link_drop("deleted");
    house_settle();
    cr_expect_eq(house_events("account.disconnected"), 0);
}

/* A writer that reports before it commits: the monitor does not believe it. */
Test(turn, the_monitor_ends_the_process_when_something_leaves_too_early, .signal = SIGABRT)
{
    struct errand e = {.act = act_write};

    errand_start(&e);
    struct turn *t = LIST_ENTRY(house.account->turns.next, struct turn, node);
    t->batch.result = OK;
    t->batch.done(&t->batch);
    fake_run(house.worker);
}

/* A damaged row stops its own account, with a clear error, and nobody else. */
Test(turn, a_damaged_account_row_stops_that_account_alone)
{
    struct errand other = {0}, call = {.act = act_nothing};
    struct account_status status;
    struct turn *t = turn_open(house.account);

    db_key_put(turn_batch(t), house.account->scope, 0, WA_NS_ACCOUNT, slice_of("\0", 1),
               SLICE("this was never sealed"));
    turn_close(t, OK);
    house_settle();
    house_restart();
    cr_expect(house.account->broken);
    errand_start(&call);
    cr_expect_eq(call.call.error, ERR_STORE_DAMAGED);
    cr_assert(directory_status(house.server.directory, account_id(house.account), &status));
    cr_expect(status.blocked);
    errand_init(&other);
    account_create(&house.server, 1, true, &other.call);
    house_settle();
    cr_expect_eq(other.call.error, OK, "%s", other.call.trail);
    house_pass(10 * 60 * 1000);
    cr_expect_lt(house.account->failures, 20u, "the pauses grow");
}
