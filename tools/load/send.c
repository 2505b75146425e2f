/* `window` callers, each on a connection of its own, send one message after the other through
 * POST /v1/messages; the time from the request to the answer, which waits for the server's ack. */
#include "tools/load/load.h"

#include <stdlib.h>

struct caller {
    struct peer *peer;
    int64_t asked_us;
};

static struct {
    struct caller *callers;
    int64_t ends_us;
    struct meter meter;
    struct times took;
    size_t begun, pending, working;
} out;

static void finish(struct load *l)
{
    char figures[1024];

    meter_stop(l, &out.meter);
    free(out.callers);
    load_figures(&out.meter, &out.took, figures);
    times_done(&out.took);
    load_done(l, "{%s, \"pending\": %zu, \"callers\": %ld}", figures, out.pending,
              (long)l->task.window);
}

static void send_next(struct caller *c)
{
    struct load *l = c->peer->load;
    size_t n = out.begun++;
    char body[256];

    if (load_us() > out.ends_us) {
        peer_close(c->peer);
        if (--out.working == 0) finish(l);
        return;
    }
    snprintf(body, sizeof body,
             "{\"chat_id\":\"%s\",\"text\":\"message %zu, of the usual length for one.\"}",
             warm_chat(n % (size_t)l->task.active), n);
    c->asked_us = load_us();
    peer_ask(c->peer, "POST", "/v1/messages", body);
}

static void on_answer(struct peer *p, int status, struct slice body)
{
    struct caller *c = p->owner;

    if (status != 200) load_fail("send: %d " SLICE_FMT, status, SLICE_ARG(body));
    out.pending += memmem(body.data, body.len, "\"pending\"", 9) != NULL;
    times_add(&out.took, load_us() - c->asked_us);
    send_next(c);
}

static void on_warm(struct load *l)
{
    size_t count = (size_t)l->task.window;

    out.callers = xcalloc(count * sizeof *out.callers);
    out.working = count;
    out.ends_us = load_us() + l->task.seconds * 1000000;
    meter_go(l, &out.meter);
    for (size_t i = 0; i < count; i++) {
        struct caller *c = &out.callers[i];
        c->peer = peer_new(l, c);
        c->peer->on_answer = on_answer;
        send_next(c);
    }
}

void send_start(struct load *l)
{
    memset(&out, 0, sizeof out);
    out.meter.counting = true;
    warm_start(l, (size_t)l->task.active, on_warm);
}
