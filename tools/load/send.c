/* --window callers, each on a connection of its own, send one message after the other through
 * POST /v1/messages; the time from the request to the answer, which waits for the server's ack. */
#include "tools/load/load.h"

#include <stdlib.h>

enum { SENDS_MAX = 1 << 20 };

struct caller {
    struct peer peer;
    int64_t asked_us;
};

static struct {
    struct load *load;
    struct caller *callers;
    int64_t began_us, ends_us, *took_us, written;
    size_t begun, answered, pending, working;
    double cpu_parleyd, cpu_load;
} out;

static int by_size(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static double percentile(size_t per_mille)
{
    size_t at = out.answered ? (out.answered - 1) * per_mille / 1000 : 0;
    return out.answered ? (double)out.took_us[at] / 1000 : 0;
}

static void report(void)
{
    struct load *l = out.load;
    double seconds = (double)(load_us() - out.began_us) / 1e6;
    double parleyd = load_cpu(l->options.pid) - out.cpu_parleyd;

    qsort(out.took_us, out.answered, sizeof *out.took_us, by_size);
    printf("{\"messages\": %zu, \"pending\": %zu, \"callers\": %ld, \"seconds\": %.2f, "
           "\"per_second\": %.0f, \"p50_ms\": %.2f, \"p99_ms\": %.2f, \"max_ms\": %.2f, "
           "\"parleyd_cpu_s\": %.2f, \"parleyd_us\": %.1f, \"load_cpu_s\": %.2f, "
           "\"written_per_message\": %.0f}\n",
           out.answered, out.pending, (long)l->options.window, seconds,
           (double)out.answered / seconds, percentile(500), percentile(990), percentile(1000),
           parleyd, parleyd * 1e6 / (double)out.answered, load_cpu(0) - out.cpu_load,
           (double)(load_written(l->options.pid) - out.written) / (double)out.answered);
    load_stop(l);
}

static void send_next(struct caller *c)
{
    char body[256];

    if (load_us() > out.ends_us || out.begun == SENDS_MAX) {
        if (--out.working == 0) report();
        return;
    }
    size_t n = out.begun++;
    snprintf(body, sizeof body,
             "{\"chat_id\":\"%s\",\"text\":\"message %zu, of the usual length for one.\"}",
             warm_chat(n % (size_t)out.load->options.active), n);
    c->asked_us = load_us();
    peer_ask(&c->peer, "POST", "/v1/messages", body);
}

static void on_answer(struct peer *p, int status, struct slice body)
{
    struct caller *c = p->owner;

    if (status != 200) load_fail("send: %d " SLICE_FMT, status, SLICE_ARG(body));
    out.pending += memmem(body.data, body.len, "\"pending\"", 9) != NULL;
    out.took_us[out.answered++] = load_us() - c->asked_us;
    send_next(c);
}

static void on_warm(struct load *l)
{
    out.callers = xcalloc((size_t)l->options.window * sizeof *out.callers);
    out.working = (size_t)l->options.window;
    out.began_us = load_us();
    out.ends_us = out.began_us + l->options.seconds * 1000000;
    out.cpu_parleyd = load_cpu(l->options.pid);
    out.cpu_load = load_cpu(0);
    out.written = load_written(l->options.pid);
    for (int64_t i = 0; i < l->options.window; i++) {
        struct caller *c = &out.callers[i];
        peer_init(l, &c->peer);
        c->peer.owner = c;
        c->peer.on_answer = on_answer;
        send_next(c);
    }
}

void send_start(struct load *l)
{
    out.load = l;
    out.took_us = xcalloc(SENDS_MAX * sizeof *out.took_us);
    warm_start(l, (size_t)l->options.active, on_warm);
}
