/* A job beside messages, in virtual time. The writer and LMDB are real; the disk is a model: each
 * byte that LMDB hands to write calls and each flush costs what the table below says, and nothing
 * else takes time. So the delay of a message is a property of the code, the same on every run and
 * machine. (tests/bench/store_commit takes the same ratio on the disk that is there.) */
#include <sys/syscall.h>
#include <sys/uio.h>

#include "fixture.h"
#include "storage/events.h"
#include "storage/key.h"

enum {
    FLUSH_US = 2000,      /* an ordinary SSD: 2 ms a flush … */
    BYTES_PER_US = 500,   /* … and 500 MB/s */
    ARRIVAL_US = 1000,    /* 1,000 messages a second */
    JOB_BYTES = 64 << 20, /* rows of the job */
    ALONE = 2000,         /* messages of the run without a job */
    ACCOUNTS = 200,
    PEERS = 20,
};

static size_t written;

ssize_t pwrite(int fd, const void *data, size_t n, off_t at);
ssize_t pwrite64(int fd, const void *data, size_t n, off_t at);
ssize_t pwritev(int fd, const struct iovec *v, int count, off_t at);
ssize_t writev(int fd, const struct iovec *v, int count);
int fdatasync(int fd);

ssize_t pwrite(int fd, const void *data, size_t n, off_t at)
{
    written += n;
    return syscall(SYS_pwrite64, fd, data, n, at);
}
ssize_t pwrite64(int fd, const void *data, size_t n, off_t at) { return pwrite(fd, data, n, at); }

static void count_parts(const struct iovec *v, int count)
{
    for (int i = 0; i < count; i++)
        written += v[i].iov_len;
}

ssize_t writev(int fd, const struct iovec *v, int count)
{
    count_parts(v, count);
    return syscall(SYS_writev, fd, v, count);
}

ssize_t pwritev(int fd, const struct iovec *v, int count, off_t at)
{
    count_parts(v, count);
    return syscall(SYS_pwritev, fd, v, count, (long)at, 0L);
}
int fdatasync(int fd) { return 0; }

/* --- the world ---------------------------------------------------------------------------- */

struct message {
    struct batch batch;
    int64_t arrived;
    bool durable;
};

static struct fixture f;
static uint8_t bytes[2000];
static struct message *messages;
static size_t posted, judged;
static int64_t now, *delays;

static void begin(void) { fixture_init(&f); }
static void end(void)
{
    for (size_t i = 0; i < posted; i++)
        batch_done(&messages[i].batch);
    free(messages);
    free(delays);
    fixture_done(&f);
}
TestSuite(writer_job, .init = begin, .fini = end, .timeout = 110);

static struct key key_at(uint32_t account, uint32_t peer, uint32_t row)
{
    struct key k = key_of_scope((struct scope){1, account});

    key_be32(&k, peer);
    key_be32(&k, row);
    return k;
}

/* Two rows that lie together, one of another place, and an event: what a message touches. */
static void fill_message(struct batch *b, uint32_t account, uint32_t peer, uint32_t n)
{
    struct key message = key_at(account, peer, n), session = key_at(account, peer, 0),
               seen = key_at(account, 0, n * 2654435761u);

    batch_put(b, DB_data, key_slice(&message), slice_of(bytes, 300));
    batch_put(b, DB_data, key_slice(&session), slice_of(bytes, 800));
    batch_put(b, DB_data, key_slice(&seen), slice_of(bytes, 16));
    batch_event(b, 1, &(struct event_head){.account = account}, slice_of(bytes, 400));
}

static void fill_store(void)
{
    struct batch b;

    batch_init(&b);
    for (uint32_t i = 1; i <= ACCOUNTS * PEERS; i++) {
        fill_message(&b, 1 + i % ACCOUNTS, 1 + i / ACCOUNTS, i);
        if (i % 1000 == 0) fixture_commit(&f, &b);
    }
    batch_done(&b);
}

static void on_durable(struct batch *b) { ((struct message *)b->context)->durable = true; }

static void post_message(int64_t at)
{
    struct message *m = &messages[posted];
    uint32_t n = (uint32_t)posted++;

    batch_init(&m->batch);
    m->arrived = at;
    m->batch.owner = 1 + n * 7919 % ACCOUNTS;
    m->batch.done = on_durable;
    m->batch.context = m;
    fill_message(&m->batch, (uint32_t)m->batch.owner, 1 + n * 104729 % PEERS, 10000 + n);
    writer_post(f.writer, &m->batch);
}

/* The next rows of the job, at most `most` bytes of them; false when there are none. */
static bool fill_slice(struct batch *b, uint32_t *at, size_t most)
{
    enum { ROWS = JOB_BYTES / sizeof(bytes) };

    batch_reset(b);
    for (; *at < ROWS && b->bytes + sizeof(bytes) + 64 < most; ++*at) {
        struct key k = key_at(ACCOUNTS + 1, 1 + *at / 1000, *at);
        batch_put(b, DB_data, key_slice(&k), SLICE_ARRAY(bytes));
    }
    return b->op_count > 0;
}

/* One commit, and what it takes. */
static void commit(void)
{
    size_t before = written;

    writer_step(f.writer);
    now += FLUSH_US + (int64_t)(written - before) / BYTES_PER_US;
    for (; judged < posted; judged++) {
        cr_assert(messages[judged].durable);
        cr_assert_eq(messages[judged].batch.result, OK);
        delays[judged] = now - messages[judged].arrived;
    }
}

static int by_value(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* The p99 of the messages that arrive while the job is worked off in slices of `slice` bytes, each
 * posted when the one before is durable; without a slice, while nothing else happens. */
static int64_t p99(size_t slice)
{
    enum { MOST = 50000 };
    struct batch job;
    uint32_t row = 0;
    bool works = true;

    messages = xcalloc(MOST * sizeof(*messages));
    delays = xcalloc(MOST * sizeof(*delays));
    fill_store();
    batch_init(&job);
    for (now = 0; works;) {
        while ((int64_t)posted * ARRIVAL_US <= now && posted < MOST)
            post_message((int64_t)posted * ARRIVAL_US);
        works = slice ? fill_slice(&job, &row, slice) : posted < ALONE;
        if (slice && works) writer_post(f.writer, &job);
        commit();
    }
    batch_done(&job);
    qsort(delays, posted, sizeof(*delays), by_value);
    cr_assert_gt(posted, 50u);
    cr_log_info("%zu messages, p50 %lld us, p99 %lld us", posted, (long long)delays[posted / 2],
                (long long)delays[posted * 99 / 100]);
    return delays[posted * 99 / 100];
}

static int64_t p99_alone(void)
{
    int64_t alone = p99(0);

    end();
    begin();
    posted = judged = 0;
    return alone;
}

Test(writer_job, of_64_mb_beside_1000_messages_a_second_does_not_double_their_p99)
{
    int64_t alone = p99_alone(), beside = p99(BATCH_SLICE);

    cr_assert_leq(beside, 2 * alone, "%lld us, %lld us alone", (long long)beside, (long long)alone);
}

/* What makes the test above hold: the same job in pieces of 8 MB. */
Test(writer_job, in_large_pieces_holds_everybody_up)
{
    int64_t alone = p99_alone(), beside = p99(8 << 20);

    cr_assert_gt(beside, 2 * alone, "%lld us, %lld us alone", (long long)beside, (long long)alone);
}
