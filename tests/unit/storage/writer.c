/* The writer's promises, each with the failure that tests it. pwrite and fdatasync are this
 * program's own, so that the disk can fill up and a flush can fail under LMDB itself. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "fixture.h"
#include "storage/check.h"
#include "storage/events.h"
#include "storage/monitor.h"

/* --- the disk ----------------------------------------------------------------------------- */

static atomic_bool disk_full, disk_nearly_full, flush_fails;
ssize_t pwrite(int fd, const void *data, size_t n, off_t at);
ssize_t pwritev(int fd, const struct iovec *v, int count, off_t at);
ssize_t pwrite64(int fd, const void *data, size_t n, off_t at);
int fdatasync(int fd);

ssize_t pwrite(int fd, const void *data, size_t n, off_t at)
{
    if (atomic_load(&disk_full)) {
        errno = ENOSPC;
        return -1;
    }
    return syscall(SYS_pwrite64, fd, data, n, at);
}

ssize_t pwrite64(int fd, const void *data, size_t n, off_t at) { return pwrite(fd, data, n, at); }

ssize_t pwritev(int fd, const struct iovec *v, int count, off_t at)
{
    if (atomic_load(&disk_full)) {
        errno = ENOSPC;
        return -1;
    }
    return syscall(SYS_pwritev, fd, v, count, (long)at, 0L);
}

int fdatasync(int fd)
{
    if (atomic_load(&flush_fails)) {
        errno = EIO;
        return -1;
    }
    return (int)syscall(SYS_fdatasync, fd);
}

int fstatvfs(int fd, struct statvfs *out)
{
    *out = (struct statvfs){.f_frsize = 4096, .f_bavail = 1 << 20};
    if (atomic_load(&disk_nearly_full)) out->f_bavail = 100;
    return 0;
}

/* --- what the tests need ------------------------------------------------------------------ */

static struct fixture f;
static char log_text[4096]; /* seqs and completions in the order they were told */

static void note(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void note(const char *format, ...)
{
    size_t n = strlen(log_text);
    va_list args;
    va_start(args, format);
    vsnprintf(log_text + n, sizeof(log_text) - n, format, args);
    va_end(args);
}

static void on_events(void *context, struct log_events *events)
{
    for (size_t i = 0; i < events->count; i++)
        note("%u:%llu=" SLICE_FMT " ", events->items[i].tenant,
             (unsigned long long)events->items[i].seq, SLICE_ARG(events->items[i].bytes));
}

static void on_done(struct batch *b)
{
    note("%llu.%llu%s ", (unsigned long long)b->owner, (unsigned long long)b->turn,
         b->result == OK ? "" : "!");
}

static void begin(void)
{
    f.on_events = on_events;
    monitor_reset();
    fixture_init(&f);
}
static void end(void)
{
    atomic_store(&disk_full, false);
    atomic_store(&disk_nearly_full, false);
    fixture_done(&f);
}
TestSuite(writer, .init = begin, .fini = end);

static struct batch batches[16];
static size_t batch_count;

/* A turn that writes key "<owner>.<turn>" and emits an event of that name. */
static struct batch *post(uint64_t owner, uint32_t epoch, uint64_t turn)
{
    struct batch *b = &batches[batch_count++];
    char name[32];

    batch_init(b);
    b->owner = owner;
    b->epoch = epoch;
    b->turn = turn;
    b->done = on_done;
    snprintf(name, sizeof(name), "%llu.%llu", (unsigned long long)owner, (unsigned long long)turn);
    batch_put(b, DB_data, slice_text(name), slice_text(name));
    batch_event(b, 1, &(struct event_head){.account = (uint32_t)owner}, slice_text(name));
    writer_post(f.writer, b);
    return b;
}

static void forget_batches(void)
{
    while (batch_count > 0)
        batch_done(&batches[--batch_count]);
    log_text[0] = '\0';
}

static bool is_stored(const char *key)
{
    struct slice out;
    CHECK_OK(view_begin(f.view));
    CHECK_OK(view_find(f.view, DB_data, slice_text(key), &out));
    view_end(f.view);
    return !slice_is_none(out);
}

/* --- commits ------------------------------------------------------------------------------ */

Test(writer, commits_what_is_queued_together_and_tells_in_order)
{
    struct writer_stats s;

    cr_assert_eq(writer_step(f.writer), 0);
    post(7, 1, 1);
    post(8, 1, 1);
    post(7, 1, 2);
    cr_assert_eq(writer_step(f.writer), 3);
    cr_assert_str_eq(log_text, "1:1=7.1 1:2=8.1 1:3=7.2 7.1 8.1 7.2 ");
    cr_assert(is_stored("7.1") && is_stored("8.1") && is_stored("7.2"));
    cr_assert_eq(batches[2].first_seq, 3);
    writer_stats(f.writer, &s);
    cr_assert_eq(s.commits, 1);
    cr_assert_eq(s.batches, 3);
    cr_assert_eq(s.events, 3);
    forget_batches();
}

Test(writer, notes_the_durable_turn_before_it_tells)
{
    post(7, 1, 5);
    cr_assert(!monitor_is_durable(7, 5, ""));
    writer_step(f.writer);
    cr_assert(monitor_is_durable(7, 5, ""));
    cr_assert(!monitor_is_durable(7, 6, ""));
    cr_assert_eq(monitor_violations(), 2);
    forget_batches();
}

Test(writer, numbers_each_tenant_for_itself_and_never_counts_back)
{
    struct batch b;
    struct db_log log;

    batch_init(&b);
    for (uint32_t i = 0; i < 6; i++)
        batch_event(&b, 1 + i % 2, &(struct event_head){.type = 3}, SLICE("e"));
    fixture_commit(&f, &b);
    batch_trim(&b, 1, 3);
    fixture_commit(&f, &b);
    CHECK_OK(view_begin(f.view));
    CHECK_OK(db_log_find(f.view, 1, &log));
    view_end(f.view);
    cr_assert(log.next_seq == 4 && log.first_seq == 4 && log.bytes == 0);

    batch_event(&b, 1, &(struct event_head){0}, SLICE("after"));
    CHECK_OK(writer_commit(f.writer, &b));
    cr_assert_eq(b.first_seq, 4);
    batch_done(&b);
}

/* Told in order among the events, under no number; the numbers know nothing of it. */
Test(writer, notices_are_told_with_their_commit_and_stored_nowhere)
{
    struct event_head head = {.type = 3};
    struct writer_stats s;
    struct db_event row;
    AUTO(range) r = {0};
    struct batch b;
    unsigned rows = 0;

    batch_init(&b);
    b.owner = 7;
    b.turn = 1;
    b.done = on_done;
    batch_event(&b, 1, &head, SLICE("one"));
    batch_notice(&b, 1, &head, SLICE("notice"));
    batch_event(&b, 1, &head, SLICE("two"));
    writer_post(f.writer, &b);
    post(8, 1, 1);
    cr_assert_str_eq(log_text, "", "nothing before the commit");
    cr_assert_eq(writer_step(f.writer), 2);
    cr_assert_str_eq(log_text, "1:1=one 1:0=notice 1:2=two 1:3=8.1 7.1 8.1 ");
    forget_batches();
    batch_reset(&b);
    b.turn = 2;
    batch_notice(&b, 1, &head, SLICE("alone"));
    writer_post(f.writer, &b);
    cr_assert_eq(writer_step(f.writer), 1);
    cr_assert_str_eq(log_text, "1:0=alone 7.2 ");
    cr_assert_eq(b.first_seq, 0);
    batch_done(&b);
    CHECK_OK(view_begin(f.view));
    db_events(&r, f.view, 1, 0, 0, RANGE_FORWARDS);
    while (db_event_next(&r, &row))
        cr_assert_eq(row.seq, ++rows);
    cr_assert_eq(rows, 3);
    range_done(&r);
    view_end(f.view);
    writer_stats(f.writer, &s);
    cr_assert_eq(s.events, 3);
}

/* --- failing ------------------------------------------------------------------------------ */

Test(writer, a_commit_that_fails_tells_no_notice)
{
    struct batch b;

    atomic_store(&writer_faults(f.writer)->fail_put, 1);
    batch_init(&b);
    b.owner = 7;
    b.turn = 1;
    b.done = on_done;
    batch_put(&b, DB_data, SLICE("k"), SLICE("v"));
    batch_notice(&b, 1, &(struct event_head){.type = 3}, SLICE("notice"));
    writer_post(f.writer, &b);
    writer_step(f.writer);
    cr_assert_str_eq(log_text, "7.1! ");
    batch_done(&b);
}

Test(writer, a_batch_that_cannot_be_put_closes_only_its_account)
{
    atomic_store(&writer_faults(f.writer)->fail_put_owner, 7);
    post(8, 1, 1);
    post(7, 1, 1);
    post(8, 1, 2);
    post(7, 1, 2);
    cr_assert_eq(writer_step(f.writer), 4);
    cr_assert_str_eq(log_text, "1:1=8.1 1:2=8.2 8.1 7.1! 8.2 7.2! ");
    cr_assert_eq(batches[1].result, ERR_STORE_FULL);
    cr_assert(!is_stored("7.1") && !is_stored("7.2") && is_stored("8.2"));
    forget_batches();
}

Test(writer, a_failed_turn_takes_the_later_turns_of_its_account_with_it)
{
    atomic_store(&writer_faults(f.writer)->fail_put, 1);
    post(7, 1, 1);
    writer_step(f.writer);
    post(7, 1, 2); /* computed on top of a turn that is gone */
    post(8, 1, 1);
    writer_step(f.writer);
    cr_assert_str_eq(log_text, "7.1! 1:1=8.1 7.2! 8.1 ");
    forget_batches();

    post(7, 2, 3); /* the account was opened again */
    post(7, 2, 4);
    writer_step(f.writer);
    cr_assert_str_eq(log_text, "1:2=7.3 1:3=7.4 7.3 7.4 ");
    forget_batches();
}

Test(writer, without_an_owner_a_batch_fails_alone)
{
    atomic_store(&writer_faults(f.writer)->fail_put, 1);
    post(0, 0, 1);
    writer_step(f.writer);
    post(0, 0, 2);
    writer_step(f.writer);
    cr_assert_str_eq(log_text, "0.1! 1:1=0.2 0.2 ");
    forget_batches();
}

Test(writer, a_full_disk_keeps_reads_and_comes_back_by_itself)
{
    struct batch probe;

    post(7, 1, 1);
    writer_step(f.writer);
    atomic_store(&disk_full, true);
    post(7, 1, 2);
    post(8, 1, 1);
    writer_step(f.writer);
    cr_assert_eq(batches[1].result, ERR_STORE_FULL);
    cr_assert_eq(batches[2].result, ERR_STORE_FULL);
    cr_assert(writer_is_full(f.writer));
    cr_assert(is_stored("7.1") && !is_stored("7.2"));

    batch_init(&probe);
    batch_probe(&probe);
    cr_assert_eq(writer_commit(f.writer, &probe), ERR_STORE_FULL);
    cr_assert(writer_is_full(f.writer));
    atomic_store(&disk_full, false);
    CHECK_OK(writer_commit(f.writer, &probe));
    cr_assert(!writer_is_full(f.writer));
    batch_done(&probe);
    post(7, 2, 3);
    writer_step(f.writer);
    cr_assert(is_stored("7.3"));
    cr_assert(strstr(log_text, "1:2=7.3"), "%s", log_text);
    forget_batches();
}

/* The last pages of a disk would be written in part, which LMDB reports as an I/O error. */
Test(writer, a_nearly_full_disk_counts_as_full)
{
    struct batch probe;

    atomic_store(&disk_nearly_full, true);
    post(7, 1, 1);
    writer_step(f.writer);
    cr_assert_eq(batches[0].result, ERR_STORE_FULL);
    cr_assert(writer_is_full(f.writer) && !is_stored("7.1"));

    atomic_store(&disk_nearly_full, false);
    batch_init(&probe);
    batch_probe(&probe);
    CHECK_OK(writer_commit(f.writer, &probe));
    batch_done(&probe);
    cr_assert(!writer_is_full(f.writer));
    post(7, 2, 2);
    writer_step(f.writer);
    cr_assert(is_stored("7.2"));
    forget_batches();
}

Test(writer, a_full_map_fails_the_batch_and_not_the_store)
{
    struct fixture small = {0};
    struct batch b;
    static uint8_t large[300000];

    snprintf(small.path, sizeof(small.path), "%s/parley-small-XXXXXX", P_tmpdir);
    cr_assert(mkdtemp(small.path));
    CHECK_OK(
        store_open(&(struct store_options){.path = small.path, .map_size = 1 << 20}, &small.store));
    small.writer = writer_new(&(struct writer_options){.store = small.store});
    batch_init(&b);
    err_t e = OK;
    for (uint32_t i = 0; i < 10 && e == OK; i++) {
        batch_reset(&b);
        struct key k = key_of_tenant(i);
        batch_put(&b, DB_data, key_slice(&k), SLICE_ARRAY(large));
        e = writer_commit(small.writer, &b);
    }
    cr_assert_eq(e, ERR_STORE_FULL);
    batch_reset(&b);
    batch_delete(&b, DB_data, SLICE("\0"));
    CHECK_OK(writer_commit(small.writer, &b));
    batch_done(&b);
    writer_free(small.writer);
    store_close(small.store);
    fixture_remove(small.path);
}

/* Runs in a child: what it does must end the process by a signal. */
static int in_child(void (*run)(void))
{
    int status;
    pid_t child = fork();
    if (child == 0) {
        close(2);
        run();
        _exit(0);
    }
    waitpid(child, &status, 0);
    return status;
}

static char crash_path[256];

static struct writer *writer_that_dies(void)
{
    struct store *s;

    if (store_open(&(struct store_options){.path = crash_path, .map_size = FIXTURE_MAP}, &s) != OK)
        _exit(3);
    return writer_new(&(struct writer_options){.store = s});
}

static void fail_a_flush(void)
{
    struct writer *w = writer_that_dies();
    struct batch b;

    batch_init(&b);
    batch_put(&b, DB_data, SLICE("k"), SLICE("v"));
    atomic_store(&flush_fails, true);
    if (writer_commit(w, &b) == OK) _exit(4);
}

Test(writer, a_failing_flush_ends_the_process)
{
    snprintf(crash_path, sizeof(crash_path), "%s/parley-flush-XXXXXX", P_tmpdir);
    cr_assert(mkdtemp(crash_path));
    int status = in_child(fail_a_flush);
    cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT, "status %x", (unsigned)status);
    fixture_remove(crash_path);
}

static err_t fatal_error;
static void on_fatal(void *context, err_t error) { fatal_error = error; }

Test(writer, a_provoked_flush_failure_is_told_once)
{
    struct writer *w = writer_new(&(struct writer_options){.store = f.store, .on_fatal = on_fatal});
    struct batch b;

    batch_init(&b);
    batch_put(&b, DB_data, SLICE("k"), SLICE("v"));
    CHECK_OK(faults_parse(writer_faults(w), SLICE("fail_flush=1")));
    cr_assert_eq(writer_commit(w, &b), ERR_STORE_FAILED);
    cr_assert_eq(fatal_error, ERR_STORE_FAILED);
    cr_assert(!is_stored("k"));
    cr_assert_eq(faults_fired("fail_flush"), 1);
    batch_done(&b);
    writer_free(w);
}

Test(writer, planted_bugs_are_bugs)
{
    CHECK_OK(faults_parse(writer_faults(f.writer), SLICE("skip_number=2 double_event=3")));
    post(7, 1, 1);
    post(7, 1, 2);
    post(7, 1, 3);
    writer_step(f.writer);
    cr_assert_str_eq(log_text, "1:1=7.1 1:3=7.2 1:4=7.3 1:4=7.3 7.1 7.2 7.3 ");
    cr_assert_eq(faults_parse(writer_faults(f.writer), SLICE("no_such=1")), ERR_BAD_ARGUMENT);
    cr_assert_neq(faults_parse(writer_faults(f.writer), SLICE("full=x")), OK);
    forget_batches();
}

/* --- a job beside messages --------------------------------------------------------------- */

/* 64 MB in slices of 256 KB, each posted when the one before is durable, beside four messages a
 * commit: no message ever waits for more than the commit that runs, and no commit holds more than
 * one slice. (What that means for the messages is writer_job.c's to say.) */
Test(writer, a_large_job_never_delays_a_turn_by_more_than_one_slice, .timeout = 60)
{
    static uint8_t row[2000];
    struct writer_stats before, after;
    struct batch slice;
    uint64_t turn = 0;

    batch_init(&slice);
    slice.owner = 99;
    for (uint32_t part = 0; part < 256; part++) {
        batch_reset(&slice);
        slice.turn = part + 1;
        for (uint32_t i = 0; slice.bytes + sizeof(row) + 64 < BATCH_SLICE; i++) {
            struct key k = key_of_scope((struct scope){1, 99});
            key_be32(&k, part % 16); /* the same 4 MB again and again */
            key_be32(&k, i);
            batch_put(&slice, DB_data, key_slice(&k), SLICE_ARRAY(row));
        }
        writer_stats(f.writer, &before);
        writer_post(f.writer, &slice);
        turn++;
        for (uint64_t account = 1; account <= 4; account++)
            post(account, 1, turn);
        cr_assert_eq(writer_step(f.writer), 5);
        writer_stats(f.writer, &after);
        cr_assert_eq(after.commits, before.commits + 1);
        cr_assert_leq(after.op_bytes - before.op_bytes, BATCH_SLICE + 4096);
        for (size_t i = 0; i < batch_count; i++)
            cr_assert_eq(batches[i].result, OK);
        forget_batches();
    }
    batch_done(&slice);
}

/* --- the thread --------------------------------------------------------------------------- */

enum { TURNS = 300, ACCOUNTS = 4 };
static atomic_int finished;

static void count_done(struct batch *b)
{
    cr_assert_eq(b->result, OK);
    atomic_fetch_add(&finished, 1);
}

static void *post_turns(void *context)
{
    uint32_t account = *(uint32_t *)context;
    struct batch *turns = xcalloc(TURNS * sizeof(*turns));

    for (uint32_t i = 0; i < TURNS; i++) {
        struct key k = key_of_scope((struct scope){1, account});
        key_be32(&k, i);
        batch_init(&turns[i]);
        turns[i].owner = account;
        turns[i].turn = i + 1;
        turns[i].done = count_done;
        batch_put(&turns[i], DB_data, key_slice(&k), SLICE("turn"));
        batch_event(&turns[i], 1, &(struct event_head){.account = account}, SLICE("{}"));
        writer_post(f.writer, &turns[i]);
    }
    return turns;
}

static uint64_t last_seq;
static void check_order(void *context, struct log_events *events)
{
    for (size_t i = 0; i < events->count; i++)
        if (events->items[i].seq == last_seq + 1) last_seq++;
    log_events_unref(log_events_ref(events));
}

Test(writer, threads_post_while_it_commits_and_stopping_loses_nothing)
{
    pthread_t threads[ACCOUNTS];
    uint32_t accounts[ACCOUNTS];
    struct store_stat stat;

    writer_free(f.writer);
    f.writer = writer_new(&(struct writer_options){.store = f.store, .on_events = check_order});
    CHECK_OK(writer_start(f.writer));
    for (uint32_t i = 0; i < ACCOUNTS; i++) {
        accounts[i] = i + 1;
        pthread_create(&threads[i], NULL, post_turns, &accounts[i]);
    }
    void *turns[ACCOUNTS];
    for (int i = 0; i < ACCOUNTS; i++)
        pthread_join(threads[i], &turns[i]);
    writer_stop(f.writer);
    cr_assert_eq(atomic_load(&finished), ACCOUNTS * TURNS);
    cr_assert_eq(last_seq, ACCOUNTS * TURNS);
    CHECK_OK(store_stat(f.store, DB_data, &stat));
    cr_assert_eq(stat.entries, ACCOUNTS * TURNS);
    for (int i = 0; i < ACCOUNTS; i++) {
        for (int j = 0; j < TURNS; j++)
            batch_done(&((struct batch *)turns[i])[j]);
        free(turns[i]);
    }
}

Test(writer, tells_what_its_thread_wrote)
{
    static uint8_t row[64 * 1024];
    struct writer_stats s;
    struct batch b;

    if (access("/proc/self/io", R_OK) != 0) return; /* a kernel that does not count */
    writer_stats(f.writer, &s);
    cr_assert_eq(s.written, 0, "no thread");
    CHECK_OK(writer_start(f.writer));
    batch_init(&b);
    b.done = count_done;
    batch_put(&b, DB_meta, SLICE("row"), SLICE_ARRAY(row));
    writer_post(f.writer, &b);
    while (atomic_load(&finished) == 0)
        usleep(1000);
    writer_stats(f.writer, &s);
    cr_assert_geq(s.written, sizeof(row));
    cr_assert_leq(s.written, 2 * sizeof(row));
    writer_stop(f.writer);
    batch_done(&b);
}

/* --- crashes ------------------------------------------------------------------------------ */

/* Writes turns of two events for ever and reports each durable number through the pipe. */
static void write_until_killed(int report)
{
    struct writer *w = writer_that_dies();
    struct batch b;

    batch_init(&b);
    for (;;) {
        batch_reset(&b);
        batch_event(&b, 9, &(struct event_head){0}, SLICE("one"));
        batch_event(&b, 9, &(struct event_head){0}, SLICE("two"));
        if (writer_commit(w, &b) != OK) _exit(4);
        uint64_t durable = b.first_seq + 1;
        if (write(report, &durable, sizeof(durable)) != sizeof(durable)) _exit(5);
    }
}

static uint64_t last_reported(int fd)
{
    uint64_t seq, last = 0;
    while (read(fd, &seq, sizeof(seq)) == sizeof(seq))
        last = seq;
    return last;
}

/* All numbers from 1 to the end of the log are there. */
static uint64_t check_numbers(void)
{
    struct store *s;
    struct view *v;
    struct db_event e;
    struct db_log log;
    uint64_t seq = 0;

    CHECK_OK(store_open(&(struct store_options){.path = crash_path, .map_size = FIXTURE_MAP}, &s));
    CHECK_OK(view_new(s, &v));
    CHECK_OK(view_begin(v));
    CHECK_OK(db_log_find(v, 9, &log));
    AUTO(range) r = {0};
    db_events(&r, v, 9, 0, 0, RANGE_FORWARDS);
    while (db_event_next(&r, &e))
        cr_assert_eq(e.seq, ++seq);
    CHECK_OK(range_error(&r));
    cr_assert_eq(seq + 1, log.next_seq);
    cr_assert_eq(seq % 2, 0, "half a turn");
    range_done(&r);
    view_free(v);
    store_close(s);
    return seq;
}

Test(writer, numbers_have_no_holes_over_crashes, .timeout = 60)
{
    snprintf(crash_path, sizeof(crash_path), "%s/parley-crash-XXXXXX", P_tmpdir);
    cr_assert(mkdtemp(crash_path));
    for (int round = 0; round < 10; round++) {
        int pipes[2], status;
        cr_assert_eq(pipe(pipes), 0);
        pid_t child = fork();
        if (child == 0) write_until_killed(pipes[1]);
        close(pipes[1]);
        usleep((useconds_t)(20000 + round * 7919));
        kill(child, SIGKILL);
        waitpid(child, &status, 0);
        cr_assert(WIFSIGNALED(status), "status %x", (unsigned)status);
        uint64_t durable = last_reported(pipes[0]);
        close(pipes[0]);
        cr_assert_geq(check_numbers(), durable);
    }
    fixture_remove(crash_path);
}
