/* Calls on two workers: what makes an account, and the number it gets. */
#include "storage/accounts.h"

#include "tests/unit/server/account/house.h"

static void two_workers(void)
{
    house_worker_count = 2;
    house_start();
}

TestSuite(calls, .init = two_workers, .fini = house_stop, .timeout = 60);

static err_t act_nothing(struct account *a, struct turn *t, struct account_call *c) { return OK; }

static void create(struct errand *e)
{
    if (!e->act) e->act = act_nothing;
    errand_init(e);
    account_create(&house.server, 1, true, &e->call);
}

static uint32_t number_of(const struct errand *e)
{
    uint32_t number = 0;
    uint64_t secret;

    cr_assert_eq(e->call.error, OK, "%s", e->call.trail);
    cr_assert(id_number_parse(ID_ACCOUNT, slice_text(e->call.account), &number, &secret));
    return number;
}

static struct worker *worker_with(const struct errand *e)
{
    return directory_worker(house.server.directory, slice_text(e->call.account));
}

/* ---- two pairings at once ---- */

static struct errand slow, fast;

/* All of it between the slow one's turn and that turn's post. */
static void create_fast(void)
{
    create(&fast);
    cr_assert_neq(worker_with(&fast), worker_with(&slow));
    fake_run(worker_with(&fast));
    cr_assert_eq(fast.ended, 1u, "its batch is posted");
    cr_assert_eq(slow.ended, 1u);
}

static err_t act_slowly(struct account *a, struct turn *t, struct account_call *c)
{
    fake_on_ticks = create_fast;
    return OK;
}

static void purge(uint32_t account)
{
    struct batch b;

    batch_init(&b);
    db_account_delete(&b, (struct scope){1, account});
    cr_assert_eq(writer_commit(house.server.writer, &b), OK);
    batch_done(&b);
}

Test(calls, a_number_never_comes_again_whichever_of_two_workers_commits_last)
{
    struct errand again = {0};

    slow = fast = (struct errand){.act = act_nothing};
    slow.act = act_slowly;
    create(&slow);
    fake_run(worker_with(&slow));
    house_settle();
    cr_assert_eq(slow.done + fast.done, 2u);
    uint32_t newest = number_of(&fast);
    cr_assert_gt(newest, number_of(&slow));

    purge(newest);
    house_close_server();
    house.account = NULL;
    house_open_server();
    create(&again);
    house_settle();
    cr_assert_eq(number_of(&again), newest + 1, "%u was given before", number_of(&again));
}
