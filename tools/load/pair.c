/* Pairs the accounts, a few at a time: a phone, POST /v1/accounts, a scan of the code, and then the
 * device is back, logged in and has uploaded its one-time keys. */
#include "tools/load/load.h"

#include <stdlib.h>

struct pairing {
    struct load *load;
    uv_timer_t look;
    char number[LOAD_NUMBER_MAX];
};

static size_t next_account, waiting;
static struct meter meter;

static void pair_next(struct pairing *p);

static bool is_done(struct load *l, const char *number)
{
    struct sim_phone *phone = sim_phone_find(&l->sim.phones, slice_text(number));

    LIST_EACH(node, &phone->account->devices)
    {
        struct sim_device *d = LIST_ENTRY(node, struct sim_device, link);
        if (d->id != 0 && d->conn && d->bundle.prekey_count >= (uint32_t)l->task.prekeys)
            return true;
    }
    if (phone->scan == SIM_SCAN_REFUSED) load_fail("the scan of %s was refused", number);
    return false;
}

static void on_look(uv_timer_t *t)
{
    struct pairing *p = t->data;

    if (!is_done(p->load, p->number)) return;
    uv_timer_stop(t);
    pair_next(p);
}

static void on_code(struct peer *peer, int status, struct slice body)
{
    struct pairing *p = peer->owner;
    struct load *l = peer->load;
    json_t *answer = json_loadb((const char *)body.data, body.len, 0, NULL);
    const char *code = json_string_value(json_object_get(answer, "code"));

    if (status != 200 || !code) load_fail("pair: %d " SLICE_FMT, status, SLICE_ARG(body));
    sim_server_settle(&l->sim);
    if (sim_phone_scan(load_phone(l, p->number, "Load"), slice_text(code)) != OK)
        load_fail("scan: %s", err_trail());
    sim_server_settle(&l->sim);
    json_decref(answer);
    peer_close(peer); /* it may be a while until the next one, and idle connections are closed */
    uv_timer_start(&p->look, on_look, 10, 10);
}

static void finish(struct load *l)
{
    if (--waiting) return;
    meter_stop(l, &meter);
    load_done(l, "{\"accounts\": %zu, \"seconds\": %.1f, \"cpu_s\": %.2f}",
              load_connected(l, 0, (uint32_t)l->task.prekeys), (double)meter.us / 1e6,
              meter.target_s);
}

static void on_closed(uv_handle_t *h) { free(h->data); }

static void pair_next(struct pairing *p)
{
    struct load *l = p->load;
    struct peer *peer;

    if (next_account == (size_t)l->task.accounts) {
        uv_close((uv_handle_t *)&p->look, on_closed);
        finish(l);
        return;
    }
    if (next_account % 500 == 0) fprintf(stderr, "parley-load: %zu accounts\n", next_account);
    load_account(next_account++, p->number);
    load_phone(l, p->number, "Load");
    peer = peer_new(l, p);
    peer->on_answer = on_code;
    peer_ask(peer, "POST", "/v1/accounts", "{}");
}

void pair_start(struct load *l)
{
    waiting = LOAD_PAIRS_AT_ONCE;
    next_account = 0;
    meter = (struct meter){0};
    meter_go(l, &meter);
    for (size_t i = 0; i < LOAD_PAIRS_AT_ONCE; i++) {
        struct pairing *p = xcalloc(sizeof *p);
        p->load = l;
        uv_timer_init(&l->loop, &p->look);
        p->look.data = p;
        pair_next(p);
    }
}
