#include <signal.h>
#include <sys/wait.h>

#include "fixture.h"
#include "storage/planted.h"

static struct fixture f;
static void begin(void) { fixture_init(&f); }
static void end(void) { fixture_done(&f); }
TestSuite(planted, .init = begin, .fini = end);

static unsigned answers;
static void on_done(struct batch *b) { answers += b->result == OK; }

static struct key outbox_key(uint32_t account)
{
    return key_of_kind((struct scope){1, account}, 0, KIND_outbox);
}

static bool is_stored(struct key k)
{
    struct slice out;

    CHECK_OK(view_begin(f.view));
    CHECK_OK(view_find(f.view, DB_data, key_slice(&k), &out));
    view_end(f.view);
    return !slice_is_none(out);
}

Test(planted, a_batch_is_answered_before_its_copy_is_committed)
{
    struct key k = outbox_key(1);
    struct batch b;

    batch_init(&b);
    b.done = on_done;
    batch_put(&b, DB_data, key_slice(&k), SLICE("row"));
    CHECK_OK(faults_parse(writer_faults(f.writer), SLICE("early_reply=1")));
    writer_post(f.writer, &b);
    cr_expect_eq(answers, 1);
    cr_expect_not(is_stored(k));
    batch_done(&b); /* it is ours again */
    writer_step(f.writer);
    cr_expect(is_stored(k));
    cr_expect_eq(answers, 1);
}

/* Commits of three accounts, each with an outbox row, in a process that is to be killed. */
static void die(const char *faults)
{
    int status;
    pid_t child = fork();

    if (child == 0) {
        if (faults_parse(writer_faults(f.writer), slice_text(faults)) != OK) _exit(3);
        for (uint32_t n = 1; n <= 3; n++) {
            struct key k = outbox_key(n);
            struct batch b;
            batch_init(&b);
            batch_put(&b, DB_meta, SLICE("other"), SLICE("row"));
            batch_put(&b, DB_data, key_slice(&k), SLICE("row"));
            if (writer_commit(f.writer, &b) != OK) _exit(3);
            batch_done(&b);
        }
        _exit(2);
    }
    waitpid(child, &status, 0);
    cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "status %x", status);
}

Test(planted, a_kill_falls_behind_the_first_commit_that_puts_the_row)
{
    die("kill_after=70");
    cr_expect(is_stored(outbox_key(1)));
    cr_expect_not(is_stored(outbox_key(2)));
}

Test(planted, a_kill_falls_before_the_flush_of_a_later_one)
{
    die("kill_before=70 kill_wait=1");
    cr_expect(is_stored(outbox_key(1)));
    cr_expect_not(is_stored(outbox_key(2)));
}
