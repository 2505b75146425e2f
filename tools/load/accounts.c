/* The tasks that only watch the accounts: phones for others to pair with, saving, waiting until
 * all are logged in, and a connection storm. */
#include "tools/load/load.h"

enum { LOOK_MS = 10, STUCK_S = 300 };

static struct {
    struct meter meter;
    uint64_t since; /* connections above this count */
    size_t most;    /* at most_us */
    int64_t most_us;
} watch;

void phones_start(struct load *l)
{
    char number[LOAD_NUMBER_MAX];

    for (size_t i = 0; i < (size_t)l->task.accounts; i++)
        load_phone(l, load_account(i, number), "Load");
    load_done(l, "{\"phones\": %ld}", (long)l->task.accounts);
}

void save_start(struct load *l)
{
    l->sim.settings.state_dir = l->options.state;
    if (sim_state_save(&l->sim) != OK) load_fail("not saved: %s", err_trail());
    l->sim.settings.state_dir = NULL;
    load_done(l, "{\"saved\": true}");
}

static void on_look(uv_timer_t *t)
{
    struct load *l = t->data;
    size_t n = load_connected(l, watch.since, (uint32_t)l->task.prekeys);

    if (n > watch.most) {
        watch.most = n;
        watch.most_us = load_us();
    }
    if (n < (size_t)l->task.accounts) {
        if (load_us() - watch.most_us > STUCK_S * 1000000LL)
            load_fail("%zu of %ld accounts connected, no other for %d s", n, (long)l->task.accounts,
                      STUCK_S);
        return;
    }
    uv_timer_stop(t);
    meter_stop(l, &watch.meter);
    load_done(l, "{\"connected\": %zu, \"seconds\": %.3f, \"cpu_s\": %.3f, \"load_cpu_s\": %.3f}",
              n, (double)watch.meter.us / 1e6, watch.meter.target_s, watch.meter.own_s);
}

static void look(struct load *l, uint64_t since)
{
    watch.since = since;
    watch.most = 0;
    watch.most_us = load_us();
    watch.meter = (struct meter){0};
    meter_go(l, &watch.meter);
    uint64_t every = LOOK_MS + (uint64_t)l->task.accounts / 100; /* looking at many takes a while */
    uv_timer_start(&l->timer, on_look, every, every);
}

void wait_start(struct load *l) { look(l, 0); }

void drop_start(struct load *l)
{
    struct sim_relay *r = &l->sim.relay;

    look(l, r->last_conn);
    LIST_EACH(node, &r->conns)
    {
        struct sim_conn *c = LIST_ENTRY(node, struct sim_conn, link);
        if (!c->local) sim_conn_end(c, 0);
    }
    sim_server_settle(&l->sim);
}
