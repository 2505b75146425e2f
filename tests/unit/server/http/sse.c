/* Event streams, and readers that are slower than who writes. */
#include <stdatomic.h>

#include "server/http/conn.h"
#include "tests/support/http_door.h"

static void on_stream(struct request *r)
{
    AUTO(buf) frame = {0};
    struct sse *stream = sse_start(r, NULL, NULL);

    sse_frame(&frame, SLICE("7"), SLICE("x"), SLICE("a\nb"));
    sse_write(stream, buf_slice(&frame));
    sse_end(stream);
}

/* Above what may wait for a reader: alone it goes out, behind others it costs the stream. */
static void write_megabytes(struct sse *s, size_t n)
{
    struct buf frame = {0};

    for (size_t i = 0; i < n << 20; i++)
        buf_put_u8(&frame, 'm');
    sse_write(s, buf_slice(&frame));
    buf_done(&frame);
}

static void on_big(struct request *r)
{
    struct sse *stream = sse_start(r, NULL, NULL);

    write_megabytes(stream, 10);
    sse_end(stream);
}

static atomic_int closed_after; /* writes that were done when the stream was closed */

static void on_flood_closed(struct sse *s) { atomic_store(&closed_after, *(int *)s->owner); }

static void on_flood(struct request *r)
{
    static int writes;
    struct sse *stream = sse_start(r, &writes, on_flood_closed);

    for (writes = 0; writes < 12; writes++)
        write_megabytes(stream, 1);
    cr_expect_gt(sse_unsent(stream), 0); /* whoever writes still has it */
}

enum { DRIP_MB = 10 };
static atomic_int drained;

/* Says something more without asking again. */
static void on_stream_drained(struct sse *s)
{
    cr_expect_eq(sse_unsent(s), 0);
    atomic_fetch_add(&drained, 1);
    sse_write(s, SLICE("data: that was all\n\n"));
}

static void on_drip(struct request *r)
{
    struct sse *stream = sse_start(r, NULL, NULL);

    stream->on_drained = on_stream_drained;
    write_megabytes(stream, DRIP_MB);
    sse_await_drained(stream);
}

enum { BEHIND = 4 << 20, BEHIND_FRAME = 4096 };
static struct sse *behind; /* the stream that never gets all; NULL when its reader has left */
static atomic_uint widest;

static void on_behind_closed(struct sse *s) { behind = NULL; }

/* Each time there is as much to take as before. */
static void stay_ahead(struct post *p, struct worker *w)
{
    static uint8_t frame[BEHIND_FRAME];

    if (!behind) return;
    while (sse_unsent(behind) < BEHIND)
        sse_write(behind, SLICE_ARRAY(frame));
    unsigned cap = CONTAINER_OF(behind, struct conn, own_sse)->queue_cap;
    if (cap > atomic_load(&widest)) atomic_store(&widest, cap);
    worker_post(w, p);
}

static void on_behind(struct request *r)
{
    static struct post again = {.run = stay_ahead};

    behind = sse_start(r, NULL, on_behind_closed);
    worker_post(worker_self(), &again);
}

static const struct route routes[] = {
    {"GET", "/quiet", on_quiet},
    {"GET", "/big", on_big},
    {"GET", "/flood", on_flood},
    {"GET", "/stream", on_stream},
    {"GET", "/drip", on_drip},
    {"GET", "/behind", on_behind},
    {0},
};

static void start(void) { door_start(routes); }

TestSuite(sse, .init = start, .fini = door_stop);

Test(sse, open_streams_are_counted)
{
    int fd = dial_door();

    say(fd, "GET /quiet HTTP/1.1\r\n" H "\r\n");
    for (int i = 0; i < 3000 && http_streams(door_server) != 1; i++)
        usleep(10000);
    cr_expect_eq(http_streams(door_server), 1);
    close(fd);
    for (int i = 0; i < 3000 && http_streams(door_server) != 0; i++)
        usleep(10000);
    cr_expect_eq(http_streams(door_server), 0);
    ask("GET /stream HTTP/1.1\r\n" H "\r\n");
    cr_expect_eq(http_streams(door_server), 0);
}

Test(sse, a_stream_frames_each_line_and_ends)
{
    const char *got = ask("GET /stream HTTP/1.1\r\n" H "\r\n");
    cr_assert(strstr(got, "Content-Type: text/event-stream"));
    cr_assert(strstr(got, "X-Accel-Buffering: no"));
    cr_assert(strstr(got, "\r\n\r\nid: 7\nevent: x\ndata: a\ndata: b\n\n"));
}

Test(sse, a_frame_of_any_size_reaches_a_reader_that_keeps_up)
{
    char chunk[1 << 16];
    size_t total = 0;
    ssize_t n;
    int fd = dial_door();

    say(fd, "GET /big HTTP/1.1\r\n" H "\r\n");
    while ((n = recv(fd, chunk, sizeof(chunk), 0)) > 0)
        total += (size_t)n;
    close(fd);
    cr_expect_gt(total, (size_t)10 << 20);
}

Test(sse, a_slow_reader_is_closed_when_the_writer_is_done)
{
    int fd = dial_door();

    atomic_store(&closed_after, 0);
    say(fd, "GET /flood HTTP/1.1\r\n" H "\r\n");
    for (int i = 0; i < 3000 && !atomic_load(&closed_after); i++)
        usleep(10000);
    cr_expect_eq(atomic_load(&closed_after), 12);
    close(fd);
}

Test(sse, who_asked_hears_once_that_all_is_out)
{
    char chunk[1 << 16];
    size_t total = 0;
    ssize_t n;
    int fd = dial_door();

    atomic_store(&drained, 0);
    say(fd, "GET /drip HTTP/1.1\r\n" H "\r\n");
    usleep(50000);
    cr_expect_eq(atomic_load(&drained), 0, "a socket holds no %d MB", DRIP_MB);
    while ((n = recv(fd, chunk, sizeof(chunk), 0)) > 0) {
        total += (size_t)n;
        if (total > (size_t)DRIP_MB << 20 && chunk[n - 1] == '\n') break; /* what it said then */
    }
    cr_expect_gt(total, (size_t)DRIP_MB << 20);
    usleep(50000);
    cr_expect_eq(atomic_load(&drained), 1);
    close(fd);
}

/* He takes less than there is, so that something always waits for him. */
Test(sse, a_reader_who_never_catches_up_costs_no_more_the_longer_he_reads)
{
    char chunk[1 << 16];
    int small = 1 << 14, fd = dial_door();
    size_t total = 0;
    ssize_t n;

    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
    say(fd, "GET /behind HTTP/1.1\r\n" H "\r\n");
    while (total < (size_t)48 << 20 && (n = recv(fd, chunk, sizeof(chunk), 0)) > 0) {
        total += (size_t)n;
        usleep(1000); /* or the server is the slower one */
    }
    close(fd);
    cr_expect_geq(total, (size_t)48 << 20);
    cr_expect_geq(atomic_load(&widest), BEHIND / BEHIND_FRAME);
    cr_expect_leq(atomic_load(&widest), 4 * BEHIND / BEHIND_FRAME);
}
