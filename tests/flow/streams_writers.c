/* Accounts that write at full speed, and retention that eats the log behind them. See streams.h. */
#include "storage/events.h"
#include "storage/retention.h"
#include "tests/flow/streams.h"

/* ---- accounts ---- */

const enum event_kind kinds[KINDS] = {EVENT_MESSAGE_RECEIVED, EVENT_MESSAGE_SENT,
                                      EVENT_MESSAGE_READ, EVENT_ACCOUNT_CONNECTED};

/* Any thread: the writer's notes are made from the same head. */
static struct event_head head_of(const struct account *a, uint32_t n)
{
    uint64_t state = (uint64_t)a->number << 32 | n;
    return (struct event_head){.account = a->number,
                               .peer = 1 + (uint32_t)below(&state, PEERS),
                               .type = event_number(kinds[below(&state, KINDS)]),
                               .world = a->number % 3 == 0};
}

/* The bytes name the event, so that a stream can tell whose they are. */
static void add_event(struct account *a, struct batch *b)
{
    char text[400];
    uint32_t n = ++a->written;
    struct event_head head = head_of(a, n);
    int len = snprintf(text, sizeof(text), "{\"account\":%u,\"n\":%u,\"pad\":\"%0*u\"}", a->number,
                       n, 1 + (int)(n % 300), n);

    head.at_ms = worker_now(a->worker);
    batch_event(b, TENANT, &head, slice_of(text, (size_t)len));
}

static void on_turn_durable(struct batch *b);

static void write_turn(struct turn *t)
{
    struct account *a = t->account;
    struct batch *b = &t->batch;
    uint32_t events = 1 + a->written % 4;

    if (atomic_fetch_add(&house.begun, events) >= house.wanted) {
        atomic_fetch_add(&house.ended, 1);
        return;
    }
    batch_reset(b);
    b->owner = a->number;
    b->turn = ++a->turn;
    b->done = on_turn_durable;
    b->context = t;
    for (uint32_t i = 0; i < events; i++)
        add_event(a, b);
    writer_post(house.server.writer, b);
}

static void on_turn_back(struct post *p, struct worker *w)
{
    write_turn(CONTAINER_OF(p, struct turn, post));
}

static void note_truth(const struct account *a, uint64_t seq, uint32_t n)
{
    struct event_head head = head_of(a, n);

    if (seq == 0 || seq > house.truth_max || house.truth[seq].known) {
        house.doubled = true;
        return;
    }
    house.truth[seq] = (struct truth){.account = a->number,
                                      .n = n,
                                      .peer = head.peer,
                                      .type = head.type,
                                      .world = head.world,
                                      .known = true};
    if (seq > house.last) house.last = seq;
}

/* The writer's thread. */
static void on_turn_durable(struct batch *b)
{
    struct turn *t = b->context;
    unsigned account, n;

    if (b->result != OK) house.failed = true;
    for (const struct batch_op *op = b->first; op; op = op->next) {
        struct slice value = batch_op_value(op);
        char text[64] = "";
        if (op->type != BATCH_EVENT) continue;
        memcpy(text, value.data + EVENT_HEAD,
               sizeof(text) - 1 < value.len - EVENT_HEAD ? sizeof(text) - 1
                                                         : value.len - EVENT_HEAD);
        if (sscanf(text, "{\"account\":%u,\"n\":%u", &account, &n) == 2)
            note_truth(t->account, op->through, n);
    }
    worker_post(t->account->worker, &t->post);
}

/* ---- retention ---- */

static void on_trimmed(struct batch *b)
{
    for (const struct batch_op *op = b->first; op; op = op->next)
        if (op->type == BATCH_TRIM && op->through > house.trimmed) house.trimmed = op->through;
    worker_post(house.workers[0], &house.trimmer.post);
}

static void on_trim_time(struct timer *timer, int64_t now)
{
    static const struct retention limits = {.event_bytes = LOG_BYTES};
    struct trimmer *t = &house.trimmer;
    struct view *v = house.views[0];
    bool more;

    batch_reset(&t->batch);
    t->batch.done = on_trimmed;
    must(view_begin(v), "view");
    must(retention_step(&t->batch, v, TENANT, &limits, now, &more), "retention");
    view_end(v);
    if (batch_is_empty(&t->batch)) {
        timer_arm(house.workers[0], timer, now + 5);
        return;
    }
    HAPPENED(trims);
    writer_post(house.server.writer, &t->batch);
}

static void on_trimmer_back(struct post *p, struct worker *w)
{
    if (p->run && !atomic_load(&house.finishing))
        timer_arm(w, &house.trimmer.timer, worker_now(w) + 5);
}

/* ---- their life ---- */

void writers_start(void)
{
    for (size_t i = 0; i < ACCOUNTS; i++) {
        struct account *a = &house.accounts[i];
        a->number = (uint32_t)i + 1;
        a->worker = house.workers[i % house.server.worker_count];
        for (size_t k = 0; k < TURNS; k++) {
            a->turns[k].account = a;
            a->turns[k].post.run = on_turn_back;
            batch_init(&a->turns[k].batch);
            worker_post(a->worker, &a->turns[k].post);
        }
    }
    batch_init(&house.trimmer.batch);
    house.trimmer.timer.fire = on_trim_time;
    house.trimmer.post.run = on_trimmer_back;
    worker_post(house.workers[0], &house.trimmer.post);
}

void writers_done(void)
{
    for (size_t i = 0; i < ACCOUNTS; i++)
        for (size_t k = 0; k < TURNS; k++)
            batch_done(&house.accounts[i].turns[k].batch);
    batch_done(&house.trimmer.batch);
}
