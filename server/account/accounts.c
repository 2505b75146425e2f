/* The accounts of each worker, the pace at which their links are opened, and start and stop of all
 * of them. Every function takes an account_worker and runs on its thread, except accounts_open(),
 * accounts_start() and accounts_stop(), which are main's. */
#include "server/account/accounts.h"

#include <stdlib.h>
#include <string.h>

#include "server/account/inside.h"
#include "server/account/keyring.h"
#include "server/config.h"
#include "server/log.h"
#include "server/net/resolve.h"
#include "server/net/rootkey.h"
#include "storage/tenants.h"

/* ---- the accounts of a worker ---- */

static struct slice number_key(const uint32_t *number) { return slice_of(number, sizeof *number); }

struct account *accounts_find(struct account_worker *aw, uint32_t number)
{
    return map_find(&aw->open, number_key(&number));
}

void accounts_add(struct account_worker *aw, struct account *a)
{
    map_put(&aw->open, number_key(&a->scope.account), a);
}

void accounts_remove(struct account_worker *aw, struct account *a)
{
    map_remove(&aw->open, number_key(&a->scope.account));
}

/* ---- pace ---- */

static void arm_pace(struct account_worker *aw, int64_t in_ms)
{
    if (timer_is_armed(&aw->pace) || aw->stopping) return;
    timer_arm(aw->worker, &aw->pace, worker_now(aw->worker) + in_ms);
}

void accounts_connect(struct account *a)
{
    struct account_worker *aw = a->home;

    if (a->link || !list_empty(&a->waiting_node)) return;
    if (a->status.state == ACCOUNT_PAIRING) /* somebody looks at the screen */
        list_push_front(&aw->waiting, &a->waiting_node);
    else
        list_push(&aw->waiting, &a->waiting_node);
    arm_pace(aw, 0);
}

void accounts_connected(struct account *a)
{
    if (!a->connecting) return;
    a->connecting = false;
    a->home->connecting--;
    if (!list_empty(&a->home->waiting)) arm_pace(a->home, 0);
}

void accounts_dont_connect(struct account *a)
{
    list_remove(&a->waiting_node);
    accounts_connected(a);
}

static void connect_now(struct account_worker *aw, struct account *a)
{
    struct link_owner owner = account_link_owner;
    size_t world = a->status.sandbox;

    owner.context = a;
    a->connecting = true;
    aw->connecting++;
    a->link_number++;
    a->link = link_open(aw->links, world, &owner);
}

/* The first waiting account whose world is known; the sandbox's may not be yet. */
static struct account *next_waiting(struct account_worker *aw)
{
    LIST_EACH(node, &aw->waiting)
    {
        struct account *a = LIST_ENTRY(node, struct account, waiting_node);
        if (!aw->has_root_key[a->status.sandbox]) continue;
        list_remove(node);
        return a;
    }
    return NULL;
}

static void open_stored(struct account_worker *aw)
{
    const struct stored *next = &aw->stored[aw->stored_at++];
    struct db_account row = {
        .tenant = next->scope.tenant, .account = next->scope.account, .secret = next->secret};

    if (accounts_find(aw, row.account)) return; /* a call came first */
    struct account *a = account_new(aw, &row);
    if (!directory_worker(aw->accounts->server->directory, account_id(a))) {
        account_free(a); /* a call deleted it */
        return;
    }
    accounts_add(aw, a);
    account_open(a);
}

static void on_pace(struct timer *t, int64_t now)
{
    struct account_worker *aw = CONTAINER_OF(t, struct account_worker, pace);
    struct account *a;

    for (int i = 0; i < ACCOUNTS_CONNECTS; i++) {
        if (aw->connecting >= ACCOUNTS_CONNECTING_MAX) break;
        if ((a = next_waiting(aw)))
            connect_now(aw, a);
        else if (aw->stored_at < aw->stored_count)
            open_stored(aw);
    }
    if (!list_empty(&aw->waiting) || aw->stored_at < aw->stored_count)
        arm_pace(aw, ACCOUNTS_CONNECTS_MS);
}

/* ---- start ---- */

static void add_stored(struct account_worker *aw, const struct db_account *row)
{
    if (aw->stored_count == aw->stored_cap) {
        aw->stored_cap = aw->stored_cap ? aw->stored_cap * 2 : 64;
        aw->stored = xrealloc(aw->stored, aw->stored_cap * sizeof *aw->stored);
    }
    aw->stored[aw->stored_count++] = (struct stored){{row->tenant, row->account}, row->secret};
}

static struct account_worker *worker_of(struct accounts *as, const struct worker *w)
{
    return &as->workers[worker_index(w)];
}

static void tell_left_out(const struct range *r)
{
    struct reader key = reader_of(r->key);
    unsigned tenant = key_read_int(&key), account = key_read_int(&key);

    LOG(ERROR, NULL,
        "account number %u of tenant %u is left out, as its row is damaged (%s): bring back a "
        "backup, or pair the phone again",
        account, tenant, err_trail());
}

/* An account whose row is damaged is left out, and nobody else. */
static bool next_account(struct range *r, struct db_account *out)
{
    while (!db_account_next(r, out)) {
        if (r->damaged) tell_left_out(r);
        if (!range_pass_damage(r)) return false;
    }
    return true;
}

static err_t load_all(struct server *s, struct accounts *as, struct view *view)
{
    struct db_account row;
    struct account_status status;
    uint64_t last = 0;
    AUTO(range) r = {0};

    TRY(db_counter_find(view, "account", &last));
    db_accounts(&r, view, 0);
    while (next_account(&r, &row)) {
        if (row.account > last) last = row.account;
        if (row.deleted_ms) continue;
        account_status_of_row(&row, &status);
        struct worker *w = directory_add(s->directory, &status, s->workers, s->worker_count, true);
        if (status.state == ACCOUNT_DISCONNECTED || row.forgetting)
            add_stored(worker_of(as, w), &row);
    }
    atomic_store(&as->next_number, (unsigned)last + 1);
    return range_error(&r);
}

static err_t load_directory(struct server *s, struct accounts *as)
{
    struct view *view = as->workers[0].view;

    TRY(view_begin(view));
    err_t e = load_all(s, as, view);
    view_end(view);
    return e;
}

static err_t open_worker(struct server *s, struct accounts *as, struct account_worker *aw,
                         struct worker *w)
{
    const struct config *c = s->config;

    aw->accounts = as;
    aw->worker = w;
    aw->pace.fire = on_pace;
    list_init(&aw->waiting);
    for (size_t world = 0; world < WORLD_COUNT; world++) {
        const struct config_key *key = world ? &c->sandbox_root_key : &c->wa_root_key;
        aw->configs[world] = (struct wa_config){
            .root_key = key->key,
            .device_name = slice_text(c->device_name),
            .check_validity = world == 0, /* the sandbox may own the clock */
            .first_prekeys = (unsigned)c->first_prekeys,
        };
        aw->has_root_key[world] = key->set;
        TRY(config_version(c->wa_version, aw->configs[world].version));
    }
    TRY(view_new(s->store, &aw->view));
    return links_new(w, as->resolver, as->targets, WORLD_COUNT, &aw->links);
}

static void on_root_key(void *owner, const struct crypto_key *key);

err_t accounts_open(struct server *s, struct accounts **out)
{
    const struct config *c = s->config;
    struct accounts *as = xcalloc(sizeof *as);

    as->server = s;
    as->resolver = resolver_new(s->main);
    as->workers = xcalloc(s->worker_count * sizeof *as->workers);
    as->count = s->worker_count;
    *out = as;
    TRY(link_target_parse(c->wa_url, c->wa_ca, &as->targets[0]));
    TRY(link_target_parse(c->sandbox_url, c->sandbox_ca, &as->targets[1]));
    for (size_t world = 0; world < WORLD_COUNT; world++)
        TRY(link_target_open(&as->targets[world]));
    TRY(keyring_open(c, s->store, s->writer, as->data_key));
    for (size_t i = 0; i < as->count; i++)
        TRY(open_worker(s, as, &as->workers[i], s->workers[i]));
    if (!c->sandbox_root_key.set && c->sandbox_control[0])
        as->rootkey = rootkey_new(s->main, c->sandbox_control, on_root_key, as);
    return load_directory(s, as);
}

static void on_start(struct post *p, struct worker *w)
{
    arm_pace(CONTAINER_OF(p, struct account_worker, start), 0);
}

void accounts_start(struct accounts *as)
{
    for (size_t i = 0; i < as->count; i++) {
        as->workers[i].start.run = on_start;
        worker_post(as->workers[i].worker, &as->workers[i].start);
    }
    rootkey_ask(as->rootkey);
}

/* ---- changes at run time ---- */

struct change {
    struct post post;
    struct accounts *accounts;
    bool is_key;
    struct crypto_key key;
    uint32_t version[3];
};

static void on_change(struct post *p, struct worker *w)
{
    struct change *change = CONTAINER_OF(p, struct change, post);
    struct account_worker *aw = worker_of(change->accounts, w);

    if (change->is_key) {
        aw->configs[1].root_key = change->key;
        aw->has_root_key[1] = true;
        if (!list_empty(&aw->waiting)) arm_pace(aw, 0);
    } else {
        for (size_t world = 0; world < WORLD_COUNT; world++)
            memcpy(aw->configs[world].version, change->version, sizeof change->version);
    }
    free(change);
}

/* A sandbox that was made anew has another key; the accounts find out by its certificate. */
static void on_doubt(struct post *p, struct worker *w)
{
    struct accounts *as = CONTAINER_OF(p, struct accounts, doubt);

    atomic_store(&as->in_doubt, false);
    rootkey_ask(as->rootkey);
}

void accounts_doubt_root_key(struct accounts *as)
{
    bool expected = false;

    if (!atomic_compare_exchange_strong(&as->in_doubt, &expected, true)) return;
    as->doubt.run = on_doubt;
    worker_post(as->server->main, &as->doubt);
}

static void tell_all(const struct change *change)
{
    struct accounts *as = change->accounts;

    for (size_t i = 0; i < as->count; i++) {
        struct change *own = xalloc(sizeof *own);
        *own = *change;
        own->post.run = on_change;
        worker_post(as->workers[i].worker, &own->post);
    }
}

static void on_root_key(void *owner, const struct crypto_key *key)
{
    struct change change = {.accounts = owner, .is_key = true, .key = *key};

    tell_all(&change);
}

void accounts_set_version(struct accounts *as, const uint32_t version[3])
{
    struct change change = {.accounts = as};

    memcpy(change.version, version, sizeof change.version);
    tell_all(&change);
}

/* ---- figures ---- */

static void on_figures_done(struct post *p, struct worker *w)
{
    struct accounts_ask *q = CONTAINER_OF(p, struct accounts_ask, post);

    q->done(q);
}

static size_t lag_of(const struct account *a)
{
    if (list_empty(&a->turns)) return 0;
    const struct turn *oldest = LIST_ENTRY(a->turns.next, struct turn, node);
    return (size_t)(worker_ticks(a->home->worker) - oldest->closed_ticks);
}

static void take_figures(struct accounts_ask *q, struct account *a)
{
    struct account_figures *f = &q->items[q->count++];

    *f = (struct account_figures){
        .state = a->status.state,
        .memory_bytes = sizeof *a + (a->client ? wa_client_memory(a->client) : 0),
        .undurable = a->undurable,
        .lag_ms = lag_of(a),
        .waiting_calls = a->call_count,
        .reconnects = a->link_number,
    };
    memcpy(f->id, a->status.id, sizeof f->id);
    for (struct list *node = a->outbox.next; node != &a->outbox; node = node->next)
        f->outbox++;
}

static void on_figures(struct post *p, struct worker *w)
{
    struct accounts_ask *q = CONTAINER_OF(p, struct accounts_ask, post);
    struct account_worker *aw = worker_of(q->accounts, w);
    struct slice key;
    struct account *a;

    for (size_t at = 0; q->count < q->max && (a = map_next(&aw->open, &at, &key));)
        take_figures(q, a);
    if (++q->at < q->accounts->count) {
        worker_post(q->accounts->workers[q->at].worker, &q->post);
    } else {
        q->post.run = on_figures_done;
        worker_post(q->home, &q->post);
    }
}

void accounts_figures(struct accounts *as, struct accounts_ask *q)
{
    q->accounts = as;
    q->at = q->count = 0;
    q->items = xcalloc((q->max ? q->max : 1) * sizeof *q->items);
    q->post.run = on_figures;
    worker_post(as->workers[0].worker, &q->post);
}

/* ---- stop ---- */

static void on_stopped_home(struct post *p, struct worker *w)
{
    struct account_worker *aw = CONTAINER_OF(p, struct account_worker, stop);
    struct accounts *as = aw->accounts;

    if (--as->left_to_stop) return;
    as->stopped(as->stopped_arg);
}

static bool all_released(struct account_worker *aw)
{
    struct slice key;
    struct account *a;

    for (size_t at = 0; (a = map_next(&aw->open, &at, &key));)
        if (!list_empty(&a->turns)) return false;
    return true;
}

static void on_drain(struct timer *t, int64_t now)
{
    struct account_worker *aw = CONTAINER_OF(t, struct account_worker, drain);

    if (!all_released(aw)) {
        timer_arm(aw->worker, &aw->drain, now + 2);
        return;
    }
    aw->stop.run = on_stopped_home;
    worker_post(aw->accounts->server->main, &aw->stop);
}

static void on_links_closed(void *arg)
{
    struct account_worker *aw = arg;

    aw->drain.fire = on_drain;
    timer_arm(aw->worker, &aw->drain, worker_now(aw->worker));
}

static void stop_account(struct account *a)
{
    timer_disarm(a->home->worker, &a->timer);
    for (struct list *node; (node = list_pop(&a->calls));) {
        struct account_call *c = LIST_ENTRY(node, struct account_call, link);
        timer_disarm(a->home->worker, &c->timer);
        c->error = ERR_STOPPING;
        turn_give_back(c);
    }
    a->call_count = 0;
}

static void on_stop(struct post *p, struct worker *w)
{
    struct account_worker *aw = CONTAINER_OF(p, struct account_worker, stop);
    struct slice key;
    struct account *a;

    aw->stopping = true;
    timer_disarm(w, &aw->pace);
    for (size_t at = 0; (a = map_next(&aw->open, &at, &key));)
        stop_account(a);
    links_close(aw->links, on_links_closed, aw);
}

void accounts_stop(struct accounts *as, void (*done)(void *arg), void *arg)
{
    as->stopped = done;
    as->stopped_arg = arg;
    as->left_to_stop = as->count;
    rootkey_free(as->rootkey);
    as->rootkey = NULL;
    for (size_t i = 0; i < as->count; i++) {
        as->workers[i].stop.run = on_stop;
        worker_post(as->workers[i].worker, &as->workers[i].stop);
    }
}

bool accounts_are_quiet(const struct accounts *as) { return resolver_is_quiet(as->resolver); }

void accounts_free(struct accounts *as)
{
    if (!as) return;
    for (size_t i = 0; i < as->count; i++) {
        struct account_worker *aw = &as->workers[i];
        struct slice key;
        struct account *a;

        for (size_t at = 0; (a = map_next(&aw->open, &at, &key));)
            account_free(a);
        map_done(&aw->open);
        if (aw->view) view_free(aw->view);
        links_free(aw->links);
        free(aw->stored);
    }
    resolver_free(as->resolver);
    for (size_t world = 0; world < WORLD_COUNT; world++)
        link_target_close(&as->targets[world]);
    crypto_wipe(as->data_key, sizeof as->data_key);
    free(as->workers);
    free(as);
}
