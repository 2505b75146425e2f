/* The world's inputs (link, timer) become turns here, and after every turn account_settle() brings
 * the world in line with what the client wishes. */
#include <string.h>

#include "server/account/inside.h"
#include "server/log.h"
#include "storage/keys.h"
#include "storage/search.h"

/* ---- inputs ---- */

static bool is_running(const struct account *a)
{
    return a->client && !a->broken && !a->home->stopping;
}

static void on_link_up(void *owner)
{
    struct account *a = owner;

    a->link_is_up = true;
    accounts_connected(a);
    metric_add(METRIC_links_opened, 1);
    if (!is_running(a)) return;
    struct turn *t = turn_open(a);
    turn_close(t, wa_client_link_up(a->client, a->link_number, t->now));
}

static void on_link_data(void *owner, struct slice bytes)
{
    struct account *a = owner;

    metric_add(METRIC_bytes_in, bytes.len);
    if (!is_running(a)) return;
    struct turn *t = turn_open(a);
    turn_close(t, wa_client_recv(a->client, bytes, t->now));
}

/* It was good for that connection alone; the next brings others. */
static void forget_code(struct account *a)
{
    if (!a->status.code[0]) return;
    a->status.code[0] = '\0';
    a->status.code_expires_at = 0;
    a->status.codes_left = 0;
    account_status_changed(a);
}

void account_on_link_down(struct account *a, const char *why)
{
    if (!a->link_is_up) metric_add(METRIC_links_failed, 1);
    a->link = NULL;
    a->link_is_up = a->paused = false;
    accounts_dont_connect(a);
    LOG(DEBUG, account_subject(a), "the link is down: %s", why);
    if (is_running(a)) {
        struct turn *t = turn_open(a);
        a->link_why = why;
        account_note_link_end(a, why);
        err_t e = wa_client_link_down(a->client, why, t->now);
        a->link_why = NULL;
        forget_code(a);
        const char *certificate = strstr(why, LINK_CERTIFICATE);
        if (e == OK && certificate) account_refuse_pairing(a, t, ERR_NOT_TRUSTED, certificate);
        turn_close(t, e);
    } else {
        account_settle(a);
    }
}

static void on_link_down(void *owner, const char *why) { account_on_link_down(owner, why); }

const struct link_owner account_link_owner = {on_link_up, on_link_data, on_link_down, NULL};

void account_on_timer(struct timer *timer, int64_t now)
{
    struct account *a = CONTAINER_OF(timer, struct account, timer);

    if (a->home->stopping) return;
    if (a->broken) {
        account_try_reopen(a, now);
        return;
    }
    if (a->client) wa_client_clock(a->client, now);
    if (is_running(a) && wa_client_deadline(a->client) <= now) {
        struct turn *t = turn_open(a);
        turn_close(t, wa_client_tick(a->client, t->now));
        return;
    }
    account_settle(a);
}

/* ---- after every turn ---- */

static void settle_reading(struct account *a)
{
    bool full = a->undurable >= TURN_UNDURABLE_MAX || a->undurable_bytes >= TURN_UNDURABLE_BYTES;
    bool light =
        a->undurable <= TURN_UNDURABLE_MAX / 2 && a->undurable_bytes <= TURN_UNDURABLE_BYTES / 2;

    if (!a->link || !a->link_is_up) return;
    if (!a->paused && full) {
        a->paused = true;
        metric_add(METRIC_paused, 1);
        link_pause(a->link);
    } else if (a->paused && light) {
        a->paused = false;
        link_resume(a->link);
    }
}

/* The first piece goes at once, before any call of the new link; the next when this one has left.
 */
static void settle_resend(struct account *a)
{
    if (!a->resend_due || wa_client_state_of(a->client) != WA_CLIENT_ONLINE) return;
    if (a->resend_begun &&
        (!list_empty(&a->turns) || (a->link && link_queued(a->link) > OUTBOX_PIECE)))
        return;
    a->resend_begun = true;
    a->resend_due = false;
    struct turn *t = turn_open(a);
    turn_close(t, outbox_resend(a, t, &a->resend_due));
}

static err_t fold(struct account *a, struct turn *t)
{
    bool more;

    TRY(db_fold(&t->batch, turn_view(t), a->scope, TAIL_KEEP, &more));
    a->tail_rows = more ? TAIL_FOLD_AT : TAIL_KEEP;
    a->slicing = t->slices = !batch_is_empty(&t->batch);
    return OK;
}

static void settle_tail(struct account *a)
{
    if (!a->tail_counted || a->slicing || a->tail_rows < TAIL_FOLD_AT) return;
    if (a->undurable > TURN_UNDURABLE_MAX / 4) return; /* the inbound path goes first */
    struct turn *t = turn_open(a);
    turn_close(t, fold(a, t));
}

static err_t forget(struct account *a, struct turn *t)
{
    bool more;

    TRY(db_keys_forget(&t->batch, turn_view(t), a->scope, &a->forget_at, &more));
    if (!more) {
        buf_reset(&a->forget_at);
        a->forgetting = false;
        account_changed(a);
        TRY(account_pair_waiting(a, t));
    }
    /* A slice that found nothing to delete is a turn that writes all the same: only its commit
     * lets the next begin, and links and calls in between. */
    if (batch_is_empty(&t->batch)) account_changed(a);
    a->slicing = t->slices = true;
    return OK;
}

/* A pairing has as many keys as its owner has contacts: one commit for all of them would keep the
 * other accounts waiting. */
static void settle_forgetting(struct account *a)
{
    if (!a->forgetting || a->slicing) return;
    struct turn *t = turn_open(a);
    turn_close(t, forget(a, t));
}

static void settle_link(struct account *a, int64_t now)
{
    int64_t at, next = wa_client_deadline(a->client);
    enum wa_wish wish = wa_client_wish(a->client, &at);
    bool full = writer_is_full(a->home->accounts->server->writer);

    if (wish == WA_WISH_NONE) {
        accounts_dont_connect(a);
        if (a->link && !a->link_is_up) link_close(a->link, "not wanted any more");
    } else if (!a->link) {
        if (full && at < now + ACCOUNT_REOPEN_MS) at = now + ACCOUNT_REOPEN_MS;
        if (at <= now)
            accounts_connect(a);
        else if (at < next)
            next = at;
    }
    if (next == INT64_MAX)
        timer_disarm(a->home->worker, &a->timer);
    else
        timer_arm(a->home->worker, &a->timer, next > now ? next : now);
}

/* The logout is on its way; WhatsApp has a few seconds to answer it. */
static bool is_leaving(struct account *a)
{
    int64_t until = a->deleted_ms + ACCOUNT_LEAVE_MS, deadline = wa_client_deadline(a->client);

    if (!a->link || wa_client_state_of(a->client) != WA_CLIENT_ONLINE) return false;
    if (worker_now(a->home->worker) >= until) return false;
    timer_arm(a->home->worker, &a->timer, deadline < until ? deadline : until);
    return true;
}

static void settle_deleted(struct account *a)
{
    if (is_leaving(a)) return;
    accounts_dont_connect(a);
    if (a->link)
        link_close(a->link, "deleted");
    else if (list_empty(&a->turns))
        account_vanish(a);
}

void account_settle(struct account *a)
{
    struct account_worker *aw = a->home;

    if (aw->turn || aw->stopping) return;
    settle_reading(a);
    if (a->broken || !a->client) return;
    wa_client_clock(a->client, worker_now(aw->worker)); /* not every turn was the client's */
    if (a->deleted) {
        settle_deleted(a);
        return;
    }
    settle_resend(a);
    if (!a->broken) settle_forgetting(a);
    if (!a->broken) settle_tail(a);
    if (!a->broken) settle_link(a, worker_now(aw->worker));
}
