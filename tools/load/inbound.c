/* Contacts write, a subscriber of /v1/events reads; each message carries its number. With --rate
 * so many a second, else as many as keep --window of them on their way. */
#include "tools/load/load.h"

#include <stdlib.h>

enum { MESSAGES_MAX = 1 << 20 };

static struct {
    struct load *load;
    struct peer stream;
    uv_timer_t tick;
    int64_t began_us, ends_us, *sent_us, *took_us;
    size_t sent, seen;
    double cpu_parleyd, cpu_load;
    int64_t written;
    bool over;
} in;

static int by_size(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static double percentile(size_t per_mille)
{
    size_t at = in.seen ? (in.seen - 1) * per_mille / 1000 : 0;
    return in.seen ? (double)in.took_us[at] / 1000 : 0;
}

static void report(void)
{
    struct load *l = in.load;
    double seconds = (double)(load_us() - in.began_us) / 1e6;
    double parleyd = load_cpu(l->options.pid) - in.cpu_parleyd, own = load_cpu(0) - in.cpu_load;

    qsort(in.took_us, in.seen, sizeof *in.took_us, by_size);
    printf("{\"messages\": %zu, \"seconds\": %.2f, \"per_second\": %.0f, \"p50_ms\": %.2f, "
           "\"p99_ms\": %.2f, \"max_ms\": %.2f, \"parleyd_cpu_s\": %.2f, \"parleyd_us\": %.1f, "
           "\"load_cpu_s\": %.2f, \"written_per_message\": %.0f, \"accounts\": %ld, \"active\": "
           "%ld}\n",
           in.seen, seconds, (double)in.seen / seconds, percentile(500), percentile(990),
           percentile(1000), parleyd, parleyd * 1e6 / (double)in.seen, own,
           (double)(load_written(l->options.pid) - in.written) / (double)in.seen,
           (long)l->options.accounts, (long)l->options.active);
    load_stop(l);
}

static void write_one(void)
{
    char from[LOAD_NUMBER_MAX], to[LOAD_NUMBER_MAX], text[64];
    size_t i = in.sent % (size_t)in.load->options.active;

    if (in.sent == MESSAGES_MAX) load_fail("more than %d messages", MESSAGES_MAX);
    snprintf(text, sizeof text, "bench %zu, a message of the usual length.", in.sent);
    in.sent++;
    in.sent_us[in.sent - 1] = load_write(in.load, load_contact(i, from), load_account(i, to), text);
}

static void write_window(void)
{
    while (!in.over && in.sent - in.seen < (size_t)in.load->options.window)
        write_one();
}

static void on_frame(struct peer *p, struct slice frame)
{
    const char *at = memmem(frame.data, frame.len, "\"bench ", 7);
    size_t n = at ? strtoul(at + 7, NULL, 10) : MESSAGES_MAX;

    if (n >= in.sent) return;
    in.took_us[in.seen++] = load_us() - in.sent_us[n];
}

static void on_tick(uv_timer_t *t)
{
    const struct load_options *o = &in.load->options;
    int64_t now = load_us();

    if (in.over) {
        if (in.seen >= in.sent) report();
        if (now > in.ends_us + 30 * 1000000LL)
            load_fail("%zu of %zu messages never came", in.sent - in.seen, in.sent);
        return;
    }
    if (o->rate)
        while (in.sent < (size_t)((now - in.began_us) * o->rate / 1000000))
            write_one();
    else
        write_window();
    in.over = now > in.ends_us;
}

static void on_stream(struct peer *p)
{
    in.began_us = load_us();
    in.ends_us = in.began_us + in.load->options.seconds * 1000000;
    in.cpu_parleyd = load_cpu(in.load->options.pid);
    in.cpu_load = load_cpu(0);
    in.written = load_written(in.load->options.pid);
    uv_timer_start(&in.tick, on_tick, 1, 1);
}

static void on_warm(struct load *l)
{
    peer_init(l, &in.stream);
    in.stream.on_frame = on_frame;
    in.stream.on_stream = on_stream;
    peer_ask(&in.stream, "GET", "/v1/events?events=message.received", NULL);
}

void inbound_start(struct load *l)
{
    in.load = l;
    in.sent_us = xcalloc(MESSAGES_MAX * sizeof *in.sent_us);
    in.took_us = xcalloc(MESSAGES_MAX * sizeof *in.took_us);
    uv_timer_init(&l->loop, &in.tick);
    warm_start(l, (size_t)l->options.active, on_warm);
}
