/* Calls of other threads: how they arrive at an account, wait for the world and end. */
#include <stdio.h>
#include <string.h>

#include "server/account/accounts.h"
#include "server/account/inside.h"
#include "storage/tenants.h"

/* ---- calls ---- */

struct account_call *account_call_of(struct account *a, uint64_t operation)
{
    LIST_EACH(node, &a->calls)
    {
        struct account_call *c = LIST_ENTRY(node, struct account_call, link);
        if (c->operation == operation) return c;
    }
    return NULL;
}

static void end_call(struct account *a, struct turn *t, struct account_call *c, err_t e,
                     const char *words, const char *trail)
{
    bool waited = c->kind == CALL_PAIR || c->kind == CALL_SEND;

    if (waited) {
        list_remove(&c->link);
        a->call_count--;
        timer_disarm(a->home->worker, &c->timer);
    }
    c->owner = NULL;
    c->error = e;
    snprintf(c->words, sizeof c->words, "%s", words);
    snprintf(c->trail, sizeof c->trail, "%s", trail);
    if (c->ended) c->ended(c, a, t);
    turn_ends_call(t, c);
}

void account_end_call(struct account *a, struct turn *t, struct account_call *c, err_t e)
{
    end_call(a, t, c, e, e == OK ? "" : err_text(e), e == OK ? "" : err_name(e));
}

void account_stop_calls(struct account *a)
{
    LIST_EACH(node, &a->calls)
    timer_disarm(a->home->worker, &LIST_ENTRY(node, struct account_call, link)->timer);
}

void account_fail_calls(struct account *a, err_t e)
{
    for (struct list *node; (node = list_pop(&a->calls));) {
        struct account_call *c = LIST_ENTRY(node, struct account_call, link);
        timer_disarm(a->home->worker, &c->timer);
        c->error = e;
        c->sent = ACCOUNT_SENT_PENDING;
        c->owner = NULL;
        snprintf(c->words, sizeof c->words, "%s", err_text(e));
        turn_give_back(c);
    }
    a->call_count = 0;
}

void account_note_link_end(struct account *a, const char *why)
{
    LIST_EACH(node, &a->calls)
    {
        struct account_call *c = LIST_ENTRY(node, struct account_call, link);
        if (c->kind == CALL_PAIR) snprintf(c->words, sizeof c->words, "%s", why);
    }
}

/* What only we, or who runs us, can mend. */
static const char *how_to_mend(const struct account *a)
{
    if (a->status.reason != WA_REASON_NONE && a->status.reason != WA_REASON_LINK) return "";
    if (a->status.sandbox) return ": start it (parley-sim, or tools/run)";
    return ": see to network, name server and firewall (TCP 443 outwards) of the server's machine";
}

/* The link goes on trying: the caller learns what keeps the code away, what to do about it, and how
 * to come back for it. */
static void end_late_pairing(struct account *a, struct turn *t, struct account_call *c)
{
    const char *mend = how_to_mend(a), *why = *c->words ? c->words : "no answer";
    char words[ACCOUNT_WORDS_MAX];

    snprintf(words, sizeof words,
             "%s gave no code in time (%.80s)%s. It is tried again; call pair_account with "
             "account_id %s later.",
             a->status.sandbox ? "The sandbox" : "WhatsApp",
             *mend ? why : wa_reason_text(a->status.reason), mend, a->status.id);
    end_call(a, t, c, ERR_QUERY_TIMEOUT, words, err_name(ERR_QUERY_TIMEOUT));
}

void account_refuse_pairing(struct account *a, struct turn *t, err_t e, const char *why)
{
    char words[ACCOUNT_WORDS_MAX];

    snprintf(words, sizeof words,
             "%s (%s). Call pair_account with account_id %s again when that is mended.",
             err_text(e), why, a->status.id);
    a->pair_refused = true;
    LIST_EACH(node, &a->calls)
    {
        struct account_call *c = LIST_ENTRY(node, struct account_call, link);
        if (c->kind == CALL_PAIR) end_call(a, t, c, e, words, err_name(e));
    }
}

static void on_call_timer(struct timer *timer, int64_t now)
{
    struct account_call *c = CONTAINER_OF(timer, struct account_call, timer);
    struct account *a = c->owner;
    struct turn *t = turn_open(a);
    err_t e = OK;

    /* A send without a message yet is given up: it must not go out behind an answer that names
     * none, because the caller sends again. */
    if (c->kind == CALL_SEND) e = wa_client_send_cancel(a->client, c->operation, t->now);
    if (c->owner && c->kind == CALL_PAIR) end_late_pairing(a, t, c);
    if (c->owner) {
        c->sent = ACCOUNT_SENT_PENDING;
        account_end_call(a, t, c, OK);
    }
    turn_close(t, e);
}

err_t account_keep_call(struct account *a, struct turn *t, struct account_call *c,
                        enum call_kind kind, int64_t ms)
{
    if (a->call_count >= ACCOUNT_CALLS_MAX)
        return fail(TOO_BUSY, "%zu calls wait on this account", a->call_count);
    c->kind = kind;
    c->words[0] = '\0';
    list_push(&a->calls, &c->link);
    a->call_count++;
    c->timer = (struct timer){.fire = on_call_timer};
    timer_arm(a->home->worker, &c->timer, t->now + ms);
    return OK;
}

void account_drop_call(struct account *a, struct account_call *c)
{
    list_remove(&c->link);
    a->call_count--;
    timer_disarm(a->home->worker, &c->timer);
    c->kind = CALL_PLAIN;
}

/* ---- calls arrive ---- */

static void refuse(struct account_call *c, err_t e)
{
    c->error = e;
    snprintf(c->words, sizeof c->words, "%s", err_text(e));
    snprintf(c->trail, sizeof c->trail, "%s", err_name(e));
    turn_give_back(c);
}

static err_t check_ready(const struct account *a)
{
    if (a->home->stopping) return ERR_STOPPING;
    if (a->broken) return a->broken_by;
    if (a->undurable >= TURN_UNDURABLE_MAX || a->undurable_bytes >= TURN_UNDURABLE_BYTES)
        return ERR_TOO_BUSY;
    return OK;
}

static void begin_call(struct account *a, struct account_call *c)
{
    c->owner = a;
    c->operation = ++a->operation;
    c->kind = CALL_PLAIN;
    list_init(&c->link);
}

/* That it is deleted may not be durable yet: the answer waits in line. */
static void refuse_deleted(struct account *a, struct account_call *c)
{
    struct turn *t = turn_open(a);

    begin_call(a, c);
    account_end_call(a, t, c, ERR_NOT_FOUND);
    turn_close(t, OK);
}

/* The highest number drawn so far, by whatever worker: in this worker's own row it only rises. */
static void put_counter(struct account *a, struct turn *t)
{
    struct account_worker *aw = a->home;

    db_counter_put(&t->batch, "account", (unsigned)worker_index(aw->worker),
                   atomic_load(&aw->accounts->next_number) - 1);
}

/* What a verb says is the call's error, unless the account's own rows are damaged. */
static void run_call(struct account *a, struct account_call *c, bool creates)
{
    struct turn *t = turn_open(a);

    begin_call(a, c);
    err_clear();
    err_t e = c->run(c, a, t);
    char words[ACCOUNT_WORDS_MAX], trail[ACCOUNT_WORDS_MAX];
    snprintf(words, sizeof words, "%s", e == OK ? "" : err_words());
    snprintf(trail, sizeof trail, "%s", e == OK ? "" : err_trail());
    if (e != OK && creates) {
        c->owner = NULL;
        c->error = e;
        memcpy(c->words, words, sizeof words);
        memcpy(c->trail, trail, sizeof trail);
        turn_discard(t);
        turn_give_back(c);
        return;
    }
    if (c->owner && c->kind == CALL_PLAIN) end_call(a, t, c, e, words, trail);
    if (creates) {
        put_counter(a, t);
        account_changed(a);
    }
    turn_close(t, e != OK && err_class(e) == ERR_CLASS_BROKEN ? e : OK);
}

static struct account *find_or_open(struct account_worker *aw, const struct account_call *c,
                                    err_t *out_error)
{
    uint32_t number;
    uint64_t secret;
    struct account_status status;

    *out_error = ERR_NOT_FOUND;
    if (!id_number_parse(ID_ACCOUNT, slice_text(c->account), &number, &secret)) return NULL;
    struct account *a = accounts_find(aw, number);
    if (a && a->secret == secret) return a;
    if (a || !directory_status(c->server->directory, slice_text(c->account), &status)) return NULL;
    struct db_account row = {.tenant = status.tenant, .account = number, .secret = secret};
    a = account_new(aw, &row);
    accounts_add(aw, a);
    account_open(a);
    return a;
}

static void on_ask(struct post *p, struct worker *w)
{
    struct account_call *c = CONTAINER_OF(p, struct account_call, post);
    struct account_worker *aw = &c->server->accounts->workers[worker_index(w)];
    err_t e = aw->stopping ? ERR_STOPPING : OK;
    struct account *a = e == OK ? find_or_open(aw, c, &e) : NULL;

    if (a) e = check_ready(a);
    if (e != OK || !a)
        refuse(c, e);
    else if (a->deleted)
        refuse_deleted(a, c);
    else
        run_call(a, c, false);
}

static void on_create(struct post *p, struct worker *w)
{
    struct account_call *c = CONTAINER_OF(p, struct account_call, post);
    struct account_worker *aw = &c->server->accounts->workers[worker_index(w)];
    struct db_account row = {.tenant = c->create.tenant,
                             .world = c->create.sandbox,
                             .state = ACCOUNT_PAIRING,
                             .created_ms = worker_now(w)};

    id_number_parse(ID_ACCOUNT, slice_text(c->account), &row.account, &row.secret);
    if (aw->stopping) {
        directory_remove(c->server->directory, slice_text(c->account));
        refuse(c, ERR_STOPPING);
        return;
    }
    struct account *a = account_new(aw, &row);
    a->created = true;
    accounts_add(aw, a);
    a->client = wa_client_new(&aw->configs[a->status.sandbox], &a->host);
    run_call(a, c, true);
    if (a->turn_number == 0) account_vanish(a); /* the call failed before it wrote */
}

void account_ask(struct server *s, struct account_call *c)
{
    struct worker *w = directory_worker(s->directory, slice_text(c->account));

    c->server = s;
    c->owner = NULL;
    c->error = OK;
    c->post.run = on_ask;
    if (w)
        worker_post(w, &c->post);
    else
        refuse(c, ERR_NOT_FOUND);
}

void account_create(struct server *s, uint32_t tenant, bool sandbox, struct account_call *c)
{
    struct account_status status = {.tenant = tenant, .sandbox = sandbox, .state = ACCOUNT_PAIRING};
    uint64_t secret;

    crypto_random(&secret, sizeof secret);
    status.number = atomic_fetch_add(&s->accounts->next_number, 1);
    id_number_text(ID_ACCOUNT, status.number, secret, status.id);
    snprintf(c->account, sizeof c->account, "%s", status.id);
    c->server = s;
    c->owner = NULL;
    c->error = OK;
    c->create.tenant = tenant;
    c->create.sandbox = sandbox;
    c->post.run = on_create;
    worker_post(directory_add(s->directory, &status, s->workers, s->worker_count, false), &c->post);
}
