/* Contacts write, a subscriber of /v1/events reads; each message carries its number. With `rate`
 * so many a second, else as many as keep `window` of them on their way.
 *
 * Chains run on, as nobody answers. With `turn=1` the work is cut into rounds: every account
 * answers its contact, which is not measured, nor is the rest of what that brings about; then every
 * contact writes once, so each message that is measured brings a new ratchet key. */
#include "tools/load/load.h"

#include <stdlib.h>

enum {
    STUCK_US = 180 * 1000000,
    SETTLE_MS = 100, /* the receipts of the answers, and the events of those */
    AT_ONCE = 16     /* then the loop gets its turn: nothing leaves the sandbox before */
};

static struct {
    struct load *load;
    struct peer *stream;
    struct meter meter;
    struct times took;
    int64_t *sent_us, round_us, ends_us, said_us;
    size_t sent, seen, round_from, round_end; /* numbers of messages */
    bool filling;
} in;

static void next_round(struct load *l);

static void finish(struct load *l)
{
    char figures[1024];

    uv_timer_stop(&l->timer);
    peer_close(in.stream);
    free(in.sent_us);
    load_figures(&in.meter, &in.took, figures);
    times_done(&in.took);
    load_done(l, "{%s, \"accounts\": %ld, \"active\": %ld, \"turn\": %ld}", figures,
              (long)l->task.accounts, (long)l->task.active, (long)l->task.turn);
}

/* The round is over when all it sent has come. */
static void look_for_end(void)
{
    struct load *l = in.load;
    bool over = in.filling ? false : load_us() > in.ends_us;

    if (over && !l->task.turn) in.round_end = in.sent;
    if (in.sent < in.round_end || in.seen < in.sent) return;
    meter_stop(l, &in.meter);
    if (l->task.turn && !over)
        next_round(l);
    else
        finish(l);
}

static void write_one(void)
{
    size_t n = in.sent++;
    char text[64];
    AUTO(buf) words = {0};

    if (in.filling)
        words_message(n, &words);
    else
        snprintf(text, sizeof text, "bench %zu, a message of the usual length.", n);
    in.sent_us[n] = load_write(in.load, (n - in.round_from) % (size_t)in.load->task.active,
                               in.filling ? buf_text(&words) : text);
}

/* What is left over is written at the next tick or frame. On a machine with other work a window
 * written in one go kept the sandbox silent for the 20 seconds after which a link counts as dead.
 */
static void write_due(void)
{
    const struct load_task *t = &in.load->task;
    size_t due = in.seen + (size_t)t->window;

    if (t->rate) due = in.round_from + (size_t)((load_us() - in.round_us) * t->rate / 1000000);
    if (due > in.round_end) due = in.round_end;
    for (size_t n = 0; n < AT_ONCE && in.sent < due; n++)
        write_one();
}

static void on_frame(struct peer *p, struct slice frame)
{
    const char *mark = in.filling ? "\"fill " : "\"bench ";
    const char *at = memmem(frame.data, frame.len, mark, strlen(mark));
    size_t n = at ? strtoul(at + strlen(mark), NULL, 10) : SIZE_MAX;

    if (n >= in.sent) return;
    in.said_us = load_us();
    times_add(&in.took, in.said_us - in.sent_us[n]);
    in.seen++;
    if (!in.load->task.rate) write_due();
}

static void on_tick(uv_timer_t *t)
{
    if (load_us() > in.ends_us && !in.filling && !in.load->task.turn) in.round_end = in.sent;
    write_due();
    if (in.seen < in.sent && load_us() - in.said_us > STUCK_US)
        load_fail("%zu of %zu messages never came", in.sent - in.seen, in.sent);
    look_for_end();
}

static void begin_round(struct load *l)
{
    size_t room = LOAD_MESSAGES_MAX - in.sent;

    in.round_from = in.sent;
    in.round_end = in.sent + (l->task.turn ? (size_t)l->task.active : room);
    if (in.filling) in.round_end = (size_t)l->task.messages;
    if (in.round_end > LOAD_MESSAGES_MAX) load_fail("more than %d messages", LOAD_MESSAGES_MAX);
    in.round_us = in.said_us = load_us();
    meter_go(l, &in.meter);
    uv_timer_start(&l->timer, on_tick, 1, 1);
}

static void on_settled(uv_timer_t *t) { begin_round(in.load); }

static void settle(struct load *l) { uv_timer_start(&l->timer, on_settled, SETTLE_MS, 0); }

static void next_round(struct load *l)
{
    uv_timer_stop(&l->timer);
    if (l->task.turn)
        warm_answer(l, (size_t)l->task.active, settle);
    else
        begin_round(l);
}

static void on_stream(struct peer *p)
{
    in.ends_us = load_us() + in.load->task.seconds * 1000000;
    next_round(in.load);
}

static void on_warm(struct load *l)
{
    in.stream = peer_new(l, NULL);
    in.stream->on_frame = on_frame;
    in.stream->on_stream = on_stream;
    peer_ask(in.stream, "GET", "/v1/events?events=message.received", NULL);
}

static void start(struct load *l, bool filling)
{
    memset(&in, 0, sizeof in);
    in.load = l;
    in.filling = filling;
    in.meter.counting = true;
    in.sent_us = xcalloc(LOAD_MESSAGES_MAX * sizeof *in.sent_us);
    if (filling)
        on_warm(l); /* nobody answers: it is the texts that matter */
    else
        warm_start(l, (size_t)l->task.active, on_warm);
}

void inbound_start(struct load *l) { start(l, false); }
void fill_start(struct load *l) { start(l, true); }
