/* One account on a fake worker, with a fake link and a real store whose writer steps when the test
 * says so. Include it in one .c per test program. */
#pragma once
#include <criterion/criterion.h>
#include <stdio.h>

#include "server/account/account.h"
#include "server/account/accounts.h"
#include "server/account/host.h"
#include "server/account/inside.h"
#include "server/config.h"
#include "server/log.h"
#include "storage/chats.h"
#include "storage/events.h"
#include "storage/monitor.h"
#include "storage/search.h"
#include "tests/support/worker_fake.h"

/* ---- the fake link: what link.h promises, as notes ---- */

struct link {
    struct link_owner owner;
    bool paused, closing;
    struct buf written;
    unsigned writes;
    size_t queued; /* as if nothing had been taken; tests set it back */
};
static struct link *fake_link; /* the newest, NULL when none is open */
static unsigned fake_links_opened;

struct link *link_open(struct links *l, size_t target, const struct link_owner *owner)
{
    fake_link = xcalloc(sizeof *fake_link);
    fake_link->owner = *owner;
    fake_links_opened++;
    return fake_link;
}
void link_write(struct link *k, struct slice bytes)
{
    buf_put(&k->written, bytes);
    k->writes += bytes.len > 0;
    k->queued += bytes.len;
}
void link_close(struct link *k, const char *why) { k->closing = true; }
void link_pause(struct link *k) { k->paused = true; }
void link_resume(struct link *k) { k->paused = false; }
size_t link_queued(const struct link *k) { return k->queued; }
err_t links_new(struct worker *w, struct resolver *resolver, const struct link_target *targets,
                size_t count, struct links **out)
{
    *out = NULL;
    return OK;
}
void links_close(struct links *l, void (*done)(void *arg), void *arg) { done(arg); }
void links_free(struct links *l) {}
size_t links_count(const struct links *l) { return fake_link != NULL; }
err_t link_target_open(struct link_target *t) { return OK; }
void link_target_close(struct link_target *t) {}
err_t link_target_parse(const char *url, const char *ca, struct link_target *out) { return OK; }

static inline void fake_link_drop(const char *why)
{
    struct link *k = fake_link;

    fake_link = NULL;
    k->owner.on_down(k->owner.context, why);
    buf_done(&k->written);
    free(k);
}

/* ---- the house ---- */

static struct house {
    struct server server;
    struct config config;
    char folder[64];
    struct worker *worker; /* the first, whose account the tests play with */
    struct account_worker *aw;
    struct account *account;
} house;

/* Of the server that is opened next. */
static size_t house_worker_count = 1;
static bool house_without_sync; /* for many commits */

static inline void house_pass(int64_t ms) { fake_pass(house.worker, ms); }
static inline void house_run(void)
{
    for (size_t i = 0; i < house.server.worker_count; i++)
        fake_run(house.server.workers[i]);
}
static inline size_t house_commit(void)
{
    size_t n = writer_step(house.server.writer);

    house_run();
    return n;
}
/* Commits until nothing is queued. */
static inline void house_settle(void)
{
    house_run();
    while (house_commit() > 0) {
    }
}

/* What the writer told of commits since the test emptied it: numbers of events and who became one,
 * "1 2 (1 with 2 3) ". */
static char house_told[1000];
static void house_on_events(void *context, struct log_events *events)
{
    size_t at = strlen(house_told);
    struct event_filter f;

    for (size_t i = 0; i < events->count && at < sizeof house_told - 100; i++) {
        const struct log_event *e = &events->items[i];
        if (e->seq) {
            at += (size_t)sprintf(house_told + at, "%llu ", (unsigned long long)e->seq);
            continue;
        }
        cr_assert(event_merge_read(&e->head, e->bytes, &f));
        at += (size_t)sprintf(house_told + at, "(%u with", f.peer);
        for (size_t k = 0; k < ARRAY_LEN(f.parts) && f.parts[k]; k++)
            at += (size_t)sprintf(house_told + at, " %u", f.parts[k]);
        at += (size_t)sprintf(house_told + at, ") ");
    }
}

static inline void house_open_server(void)
{
    struct server *s = &house.server;
    char *args[] = {(char *)"test",
                    (char *)"--data",
                    house.folder,
                    (char *)"--sandbox-root-key",
                    (char *)"142375574d0a587166aae71ebe516437c4a28b73e3695c6ce1f7f9545da8ee6b",
                    NULL};
    struct store_options options = {
        .path = house.folder, .map_size = (size_t)256 << 20, .without_sync = house_without_sync};

    cr_assert_eq(config_load(&house.config, 5, args, NULL), OK, "%s", err_words());
    cr_assert_eq(store_open(&options, &s->store), OK, "%s", err_trail());
    s->config = &house.config;
    s->writer =
        writer_new(&(struct writer_options){.store = s->store, .on_events = house_on_events});
    s->worker_count = house_worker_count;
    s->workers = xcalloc(s->worker_count * sizeof(struct worker *));
    for (size_t i = s->worker_count; i-- > 0;) /* the first is the one that tests run on */
        s->workers[i] = worker_new((int)i);
    s->main = house.worker = s->workers[0];
    s->directory = directory_new();
    cr_assert_eq(accounts_open(s, &s->accounts), OK, "%s", err_trail());
    house.aw = &s->accounts->workers[0];
    fake_run(house.worker);
}

static inline void house_close_server(void)
{
    struct server *s = &house.server;

    house_settle();
    accounts_free(s->accounts);
    directory_free(s->directory);
    writer_free(s->writer);
    store_close(s->store);
    for (size_t i = 0; i < s->worker_count; i++)
        worker_free(s->workers[i]);
    free(s->workers);
    config_done(&house.config);
    if (fake_link) buf_done(&fake_link->written);
    free(fake_link);
    fake_link = NULL;
    house.server = (struct server){0};
}

/* Calls that only count their end. */
struct errand {
    struct account_call call;
    err_t (*act)(struct account *a, struct turn *t, struct account_call *c);
    unsigned done, stored, ended;
};
static inline err_t errand_run(struct account_call *c, struct account *a, struct turn *t)
{
    struct errand *e = CONTAINER_OF(c, struct errand, call);

    return e->act ? e->act(a, t, c) : OK;
}
static inline void errand_stored(struct account_call *c, struct account *a, struct turn *t)
{
    CONTAINER_OF(c, struct errand, call)->stored++;
}
static inline void errand_ended(struct account_call *c, struct account *a, struct turn *t)
{
    CONTAINER_OF(c, struct errand, call)->ended++;
}
static inline void errand_done(struct account_call *c, struct worker *home)
{
    CONTAINER_OF(c, struct errand, call)->done++;
}
static inline void errand_init(struct errand *e)
{
    e->call.home = house.worker;
    e->call.run = errand_run;
    e->call.stored = errand_stored;
    e->call.ended = errand_ended;
    e->call.done = errand_done;
    if (house.account)
        snprintf(e->call.account, sizeof e->call.account, "%s", house.account->status.id);
}
static inline void errand_start(struct errand *e)
{
    errand_init(e);
    account_ask(&house.server, &e->call);
    fake_run(house.worker);
}

/* A new sandbox account, durable, without credentials; its client wants nothing. */
static inline void house_start(void)
{
    struct errand e = {0};

    crypto_start();
    log_start(LOG_ERROR, false);
    snprintf(house.folder, sizeof house.folder, "/tmp/parley-house-XXXXXX");
    cr_assert(mkdtemp(house.folder));
    house_open_server();
    errand_init(&e);
    account_create(&house.server, 1, true, &e.call);
    house_settle();
    cr_assert_eq(e.done, 1u);
    cr_assert_eq(e.call.error, OK, "%s", e.call.trail);
    uint32_t number;
    uint64_t secret;
    cr_assert(id_number_parse(ID_ACCOUNT, slice_text(e.call.account), &number, &secret));
    house.account = accounts_find(house.aw, number);
    cr_assert(house.account);
}

static inline void house_stop(void)
{
    char command[128];

    house_close_server();
    house.account = NULL;
    snprintf(command, sizeof command, "rm -rf %s", house.folder);
    cr_assert_eq(system(command), 0);
}

/* The process dies and comes back: what was not committed is gone. */
static inline void house_restart(void)
{
    uint32_t number = house.account->scope.account;
    char id[ACCOUNT_ID_MAX];
    struct errand wake = {0};

    memcpy(id, house.account->status.id, sizeof id);
    house_close_server();
    house.account = NULL;
    house_open_server();
    errand_init(&wake);
    memcpy(wake.call.account, id, sizeof id);
    account_ask(&house.server, &wake.call);
    house_settle();
    house.account = accounts_find(house.aw, number);
    cr_assert(house.account);
}

/* An open link for the account, as if its client had wished for one. */
static inline void house_link_up(void)
{
    struct account *a = house.account;
    struct link_owner owner = account_link_owner;

    owner.context = a;
    a->link = link_open(NULL, 0, &owner);
    a->link_number++;
    a->link_is_up = true;
}

/* ---- turns by hand ---- */

static inline struct wa_key house_key(enum wa_ns ns, const char *owner, const char *name)
{
    return (struct wa_key){ns, slice_text(owner), slice_text(name)};
}
static inline void house_save(const char *owner, const char *name, const char *value)
{
    house.account->host.save(house.account, house_key(WA_NS_TOKEN, owner, name),
                             value ? slice_text(value) : SLICE_NONE);
}
/* NULL when there is none. */
static inline const char *house_load(const char *owner, const char *name)
{
    static char text[256];
    AUTO(arena) arena = {0};
    struct slice value;

    cr_assert_eq(house.account->host.load(house.account, house_key(WA_NS_TOKEN, owner, name),
                                          &arena, &value),
                 OK, "%s", err_trail());
    if (slice_is_none(value)) return NULL;
    snprintf(text, sizeof text, SLICE_FMT, SLICE_ARG(value));
    return text;
}
/* Bytes as they are, for the link that is open now. */
static inline void house_send(const char *bytes)
{
    struct wa_send send = {
        .kind = WA_SEND_BYTES, .link = house.account->link_number, .bytes = slice_text(bytes)};

    house.account->host.send(house.account, &send);
}
/* One event in a turn of its own. */
static inline void house_emit(const struct wa_event *event)
{
    struct turn *t = turn_open(house.account);

    house.account->host.emit(house.account, event);
    turn_close(t, OK);
}

/* ---- looking ---- */

/* The link ends, a pairing fails or the account is unpaired. */
static inline void house_down(enum wa_event_kind kind, enum wa_reason reason, int64_t retry_at)
{
    struct wa_event e = {.kind = kind, .down = {.reason = reason, .retry_at = retry_at}};

    house_emit(&e);
    house_settle();
}

static inline struct view *house_view(void)
{
    cr_assert_eq(view_begin(house.aw->view), OK);
    return house.aw->view;
}
static inline void house_view_end(void) { view_end(house.aw->view); }

/* Events of the tenant's log that contain `part`. */
static inline int house_events(const char *part)
{
    struct db_event e;
    int n = 0;
    AUTO(range) r = {0};

    db_events(&r, house_view(), 1, 0, 0, RANGE_FORWARDS);
    while (db_event_next(&r, &e))
        n += memmem(e.bytes.data, e.bytes.len, part, strlen(part)) != NULL;
    cr_assert_eq(range_error(&r), OK);
    range_done(&r);
    house_view_end();
    return n;
}
