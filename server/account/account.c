/* One account as an object: its row, how it is opened from disk, and how it breaks.
 *
 *              first input                commit failed, damaged row
 *   (a row) ------------------> open ------------------------------> broken
 *                                ^                                      |
 *                                +----------- pause, same row ----------+
 *
 * settle.c turns its inputs into turns; calls.c takes the calls, verbs.c does what they ask. */
#include "server/account/account.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/text.h"
#include "server/account/inside.h"
#include "server/account/host.h"
#include "storage/tenants.h"

const char *account_state_text(enum account_state s)
{
    static const char *const texts[] = {
        [ACCOUNT_PAIRING] = "pairing",           [ACCOUNT_CONNECTED] = "connected",
        [ACCOUNT_DISCONNECTED] = "disconnected", [ACCOUNT_EXPIRED] = "expired",
        [ACCOUNT_LOGGED_OUT] = "logged_out",
    };
    return texts[s];
}

const struct account_status *account_status_of(const struct account *a) { return &a->status; }
struct slice account_id(const struct account *a) { return slice_text(a->status.id); }
uint32_t account_tenant(const struct account *a) { return a->scope.tenant; }
bool account_is_sandbox(const struct account *a) { return a->status.sandbox; }

const char *account_subject(const struct account *a)
{
    static _Thread_local char text[ACCOUNT_ID_MAX + 16];

    snprintf(text, sizeof text, "account=%s", a->status.id);
    return text;
}

/* ---- the row ---- */

static void keep_text(char *out, size_t max, struct slice text)
{
    text = text_cut(text, max - 1);
    if (text.len) memcpy(out, text.data, text.len);
    out[text.len] = '\0';
}
#define KEEP(array, slice) keep_text(array, sizeof(array), slice)

static enum wa_reason reason_of(struct slice text)
{
    for (int r = WA_REASON_NONE + 1; r <= WA_REASON_SIGNATURE; r++)
        if (slice_is(text, wa_reason_text((enum wa_reason)r))) return (enum wa_reason)r;
    return WA_REASON_NONE;
}

/* While the process was down nothing was connected, and no code was shown. */
static enum account_state state_at_rest(const struct db_account *row)
{
    if (row->state == ACCOUNT_CONNECTED) return ACCOUNT_DISCONNECTED;
    if (row->state == ACCOUNT_PAIRING) return ACCOUNT_EXPIRED;
    return row->state <= ACCOUNT_LOGGED_OUT ? (enum account_state)row->state : ACCOUNT_DISCONNECTED;
}

void account_status_of_row(const struct db_account *row, struct account_status *out)
{
    size_t digits = slice_find(row->pn, '@');

    *out = (struct account_status){
        .tenant = row->tenant,
        .number = row->account,
        .sandbox = row->world != 0,
        .state = state_at_rest(row),
        .reason = reason_of(row->reason),
        .changed_at =
            row->disconnected_ms > row->connected_ms ? row->disconnected_ms : row->connected_ms,
        .paired_at = row->paired_ms,
    };
    id_number_text(ID_ACCOUNT, row->account, row->secret, out->id);
    if (row->pn.len)
        snprintf(out->phone, sizeof out->phone, "+%.*s", (int)digits, (const char *)row->pn.data);
    KEEP(out->lid, row->lid);
    KEEP(out->name, row->push_name);
}

static void take_row(struct account *a, const struct db_account *row)
{
    account_status_of_row(row, &a->status);
    KEEP(a->text.pn, row->pn);
    KEEP(a->text.lid, row->lid);
    KEEP(a->text.push_name, row->push_name);
    KEEP(a->text.platform, row->platform);
    KEEP(a->text.reason, row->reason);
    a->created_ms = row->created_ms;
    a->connected_ms = row->connected_ms;
    a->disconnected_ms = row->disconnected_ms;
    a->deleted_ms = row->deleted_ms;
    a->forgetting = row->forgetting;
    buf_reset(&a->refusal);
    buf_put(&a->refusal, row->refusal);
}

void account_write_row(struct account *a, struct turn *t)
{
    struct db_account row = {
        .tenant = a->scope.tenant,
        .account = a->scope.account,
        .secret = a->secret,
        .world = a->status.sandbox,
        .state = (uint8_t)a->status.state,
        .created_ms = a->created_ms,
        .paired_ms = a->status.paired_at,
        .connected_ms = a->connected_ms,
        .disconnected_ms = a->disconnected_ms,
        .deleted_ms = a->deleted_ms,
        .pn = slice_text(a->text.pn),
        .lid = slice_text(a->text.lid),
        .push_name = slice_text(a->text.push_name),
        .platform = slice_text(a->text.platform),
        .reason = slice_text(a->text.reason),
        .forgetting = a->forgetting,
        .refusal = buf_slice(&a->refusal),
    };

    db_account_put(&t->batch, &row);
}

void account_keep_refusal(struct account *a, struct slice refusal)
{
    buf_reset(&a->refusal);
    if (refusal.len)
        crypto_box_seal(a->home->accounts->data_key, account_id(a), refusal, &a->refusal);
}

err_t account_refusal(const struct account *a, struct buf *out)
{
    if (!a->refusal.len) return OK;
    return crypto_box_open(a->home->accounts->data_key, account_id(a), buf_slice(&a->refusal), out);
}

void account_changed(struct account *a) { a->row_dirty = true; }
void account_status_changed(struct account *a) { a->status_dirty = true; }

/* ---- life ---- */

struct account *account_new(struct account_worker *aw, const struct db_account *row)
{
    struct account *a = xcalloc(sizeof *a);

    a->scope = (struct scope){row->tenant, row->account};
    a->secret = row->secret;
    a->home = aw;
    a->epoch = 1;
    a->host = host_of(a);
    a->timer.fire = account_on_timer;
    list_init(&a->turns);
    list_init(&a->batches);
    list_init(&a->waiting_node);
    list_init(&a->calls);
    list_init(&a->outbox);
    take_row(a, row);
    return a;
}

void account_free(struct account *a)
{
    timer_disarm(a->home->worker, &a->timer);
    list_remove(&a->waiting_node);
    outbox_forget(a);
    wa_client_free(a->client);
    buf_done(&a->forget_at);
    buf_done(&a->refusal);
    free(a);
}

/* A break is not its operator's act, as a restart is: who was replaced or refused stays away. */
static err_t stay_held_off(struct account *a, struct turn *t)
{
    struct wa_down down;

    if (!wa_client_held_off(a->client, &down)) return OK;
    if (a->broken && !down.until_s) {
        TRY(wa_client_stop(a->client, t->now));
        down.retry_at = 0;
    }
    ingest_held_off(a, &down);
    return OK;
}

static err_t open_client(struct account *a, struct turn *t)
{
    struct db_account row;
    err_t found = db_account_get(turn_view(t), a->scope, &row);

    /* It was there at the start: the key of a neighbour may be damaged, and hide it. */
    if (found == ERR_NOT_FOUND) found = db_account_search(turn_view(t), a->scope, &row);
    TRY(found);
    a->secret = row.secret;
    take_row(a, &row);
    a->deleted = a->deleted_ms != 0; /* the commit of a deletion may have failed */
    if (a->deleted) {
        directory_remove(a->home->accounts->server->directory, account_id(a));
        return fail(NOT_FOUND, "the account was deleted");
    }
    a->client = wa_client_new(&a->home->configs[a->status.sandbox], &a->host);
    err_t e = wa_client_open(a->client, t->now);
    if (e == ERR_NOT_FOUND) return OK; /* never paired: no row of its own yet */
    return e == OK ? stay_held_off(a, t) : e;
}

void account_open(struct account *a)
{
    struct turn *t = turn_open(a);
    err_t e = open_client(a, t);

    if (e == OK) {
        a->broken = false;
        a->broken_by = OK;
        account_status_changed(a);
    }
    turn_close(t, e);
}

void account_vanish(struct account *a)
{
    account_fail_calls(a, ERR_NOT_FOUND);
    directory_remove(a->home->accounts->server->directory, account_id(a));
    accounts_remove(a->home, a);
    account_free(a);
}

/* ---- breaking ---- */

static void tell_blocked(struct account *a)
{
    struct directory *d = a->home->accounts->server->directory;
    struct account_status status;

    if (!directory_status(d, account_id(a), &status)) return;
    status.blocked = true;
    directory_update(d, &status);
}

void account_break(struct account *a, err_t e)
{
    enum { PAUSE_DOUBLINGS = 6 };
    int64_t now = worker_now(a->home->worker);

    /* A row that is damaged may break it at every login: each one must come later. */
    if (now - a->broken_at > ACCOUNT_SOUND_MS) a->failures = 0;
    unsigned doublings = a->failures < PAUSE_DOUBLINGS ? a->failures : PAUSE_DOUBLINGS;

    a->broken = true;
    a->broken_by = e;
    a->broken_at = now;
    a->failures++;
    a->epoch++;
    a->written = 0;
    metric_add(METRIC_accounts_broken, 1);
    tell_blocked(a);
    account_stop_calls(a);
    account_leave_turns(a);
    accounts_dont_connect(a);
    if (a->link) link_close(a->link, "the account is opened again");
    wa_client_free(a->client);
    a->client = NULL;
    outbox_forget(a);
    a->tail_counted = a->resend_due = a->slicing = false;
    buf_reset(&a->forget_at);
    timer_arm(a->home->worker, &a->timer, now + ((int64_t)ACCOUNT_REOPEN_MS << doublings));
    account_end_break(a);
}

void account_end_break(struct account *a)
{
    if (a->broken && list_empty(&a->turns)) account_fail_calls(a, a->broken_by);
}

/* Old turns must have come back and the old link be gone: the disk alone tells from here. */
void account_try_reopen(struct account *a, int64_t now)
{
    if (writer_is_full(a->home->accounts->server->writer) || a->link || !list_empty(&a->turns)) {
        timer_arm(a->home->worker, &a->timer, now + ACCOUNT_REOPEN_MS);
        return;
    }
    if (a->created || !directory_worker(a->home->accounts->server->directory, account_id(a)))
        account_vanish(a); /* it never was, or is deleted */
    else
        account_open(a);
}
