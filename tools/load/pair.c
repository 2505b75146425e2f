/* Pairs the accounts, a few at a time: a phone, POST /v1/accounts, a scan of the code, and then the
 * device is back, logged in and has uploaded its one-time keys. */
#include "tools/load/load.h"

#include <stdlib.h>

enum { PREKEYS_ENOUGH = 30 };

struct pairing {
    struct peer peer;
    uv_timer_t look;
    char number[LOAD_NUMBER_MAX];
};

static size_t next_account, waiting;

static void pair_next(struct pairing *p);

static bool is_done(struct load *l, const char *number)
{
    struct sim_phone *phone = sim_phone_find(&l->sim.phones, slice_text(number));

    LIST_EACH(node, &phone->account->devices)
    {
        struct sim_device *d = LIST_ENTRY(node, struct sim_device, link);
        if (d->id != 0 && d->conn && d->bundle.prekey_count >= PREKEYS_ENOUGH) return true;
    }
    if (phone->scan == SIM_SCAN_REFUSED) load_fail("the scan of %s was refused", number);
    return false;
}

static void on_look(uv_timer_t *t)
{
    struct pairing *p = t->data;

    if (!is_done(p->peer.load, p->number)) return;
    uv_timer_stop(t);
    pair_next(p);
}

static void on_code(struct peer *peer, int status, struct slice body)
{
    struct pairing *p = peer->owner;
    struct load *l = peer->load;
    json_t *answer = json_loadb((const char *)body.data, body.len, 0, NULL);
    const char *code = json_string_value(json_object_get(answer, "code"));
    struct sim_phone *phone = sim_phone_find(&l->sim.phones, slice_text(p->number));

    if (status != 200 || !code) load_fail("pair: %d " SLICE_FMT, status, SLICE_ARG(body));
    sim_server_settle(&l->sim);
    if (sim_phone_scan(phone, slice_text(code)) != OK) load_fail("scan: %s", err_trail());
    sim_server_settle(&l->sim);
    json_decref(answer);
    uv_timer_start(&p->look, on_look, 10, 10);
}

static void finish(struct load *l)
{
    if (--waiting) return;
    printf("{\"accounts\": %zu, \"seconds\": %.1f}\n", load_connected(l, PREKEYS_ENOUGH),
           (double)((int64_t)uv_now(&l->loop) - l->began_ms) / 1000);
    load_stop(l);
}

static void pair_next(struct pairing *p)
{
    struct load *l = p->peer.load;
    struct sim_phone *phone;

    if (next_account == (size_t)l->options.accounts) {
        finish(l);
        return;
    }
    if (next_account % 100 == 0) fprintf(stderr, "parley-load: %zu accounts\n", next_account);
    load_account(next_account++, p->number);
    sim_server_settle(&l->sim);
    if (sim_phone_new(&l->sim.phones, slice_text(p->number), SLICE(""), SLICE("Load"), &phone) !=
        OK)
        load_fail("phone: %s", err_trail());
    sim_server_settle(&l->sim);
    peer_ask(&p->peer, "POST", "/v1/accounts", "{}");
}

void pair_start(struct load *l)
{
    struct pairing *pairings = xcalloc(LOAD_PAIRS_AT_ONCE * sizeof *pairings);

    waiting = LOAD_PAIRS_AT_ONCE;
    for (size_t i = 0; i < LOAD_PAIRS_AT_ONCE; i++) {
        struct pairing *p = &pairings[i];
        peer_init(l, &p->peer);
        uv_timer_init(&l->loop, &p->look);
        p->look.data = p;
        p->peer.owner = p;
        p->peer.on_answer = on_code;
        pair_next(p);
    }
}
