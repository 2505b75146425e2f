/* One account: its inputs (link, timer, calls) become turns here, and after every turn
 * account_settle() brings the world in line with what the client wishes.
 *
 *              first input                commit failed, damaged row
 *   (a row) ------------------> open ------------------------------> broken
 *                                ^                                      |
 *                                +----------- pause, same row ----------+
 */
#include "server/account/account.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/text.h"
#include "server/account/host.h"
#include "server/account/inside.h"
#include "server/account/people.h"
#include "server/api/faces.h"
#include "server/log.h"
#include "server/upkeep.h"
#include "storage/chats.h"
#include "storage/jobs.h"
#include "storage/search.h"
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
    };

    db_account_put(&t->batch, &row);
}

void account_changed(struct account *a) { a->row_dirty = true; }
void account_status_changed(struct account *a) { a->status_dirty = true; }

/* ---- life ---- */

static void on_timer(struct timer *timer, int64_t now);

struct account *account_new(struct account_worker *aw, const struct db_account *row)
{
    struct account *a = xcalloc(sizeof *a);

    a->scope = (struct scope){row->tenant, row->account};
    a->secret = row->secret;
    a->home = aw;
    a->epoch = 1;
    a->host = host_of(a);
    a->timer.fire = on_timer;
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

    TRY(db_account_get(turn_view(t), a->scope, &row));
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

static void fail_calls(struct account *a, err_t e)
{
    for (struct list *node; (node = list_pop(&a->calls));) {
        struct account_call *c = LIST_ENTRY(node, struct account_call, link);
        timer_disarm(a->home->worker, &c->timer);
        c->error = e;
        c->owner = NULL;
        snprintf(c->words, sizeof c->words, "%s", err_text(e));
        turn_give_back(c);
    }
    a->call_count = 0;
}

/* Nothing of it is left: a created account whose first commit failed, or a deleted one. */
static void vanish(struct account *a)
{
    fail_calls(a, ERR_NOT_FOUND);
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
    fail_calls(a, e);
    account_drop_turns(a, e);
    accounts_dont_connect(a);
    if (a->link) link_close(a->link, "the account is opened again");
    wa_client_free(a->client);
    a->client = NULL;
    outbox_forget(a);
    a->tail_counted = a->resend_due = a->folding = false;
    timer_arm(a->home->worker, &a->timer, now + ((int64_t)ACCOUNT_REOPEN_MS << doublings));
}

/* Old turns must have come back and the old link be gone: the disk alone tells from here. */
static void try_reopen(struct account *a, int64_t now)
{
    if (writer_is_full(a->home->accounts->server->writer) || a->link || !list_empty(&a->turns)) {
        timer_arm(a->home->worker, &a->timer, now + ACCOUNT_REOPEN_MS);
        return;
    }
    if (a->created || !directory_worker(a->home->accounts->server->directory, account_id(a)))
        vanish(a); /* it never was, or is deleted */
    else
        account_open(a);
}

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
        err_t e = wa_client_link_down(a->client, why, t->now);
        a->link_why = NULL;
        turn_close(t, e);
    } else {
        account_settle(a);
    }
}

static void on_link_down(void *owner, const char *why) { account_on_link_down(owner, why); }

const struct link_owner account_link_owner = {on_link_up, on_link_data, on_link_down, NULL};

static void on_timer(struct timer *timer, int64_t now)
{
    struct account *a = CONTAINER_OF(timer, struct account, timer);

    if (a->home->stopping) return;
    if (a->broken) {
        try_reopen(a, now);
        return;
    }
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
    a->folding = t->folds = !batch_is_empty(&t->batch);
    return OK;
}

static void settle_tail(struct account *a)
{
    if (!a->tail_counted || a->folding || a->tail_rows < TAIL_FOLD_AT) return;
    if (a->undurable > TURN_UNDURABLE_MAX / 4) return; /* the inbound path goes first */
    struct turn *t = turn_open(a);
    turn_close(t, fold(a, t));
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
        vanish(a);
}

void account_settle(struct account *a)
{
    struct account_worker *aw = a->home;

    if (aw->turn || aw->stopping) return;
    settle_reading(a);
    if (a->broken || !a->client) return;
    if (a->deleted) {
        settle_deleted(a);
        return;
    }
    settle_resend(a);
    if (!a->broken) settle_tail(a);
    if (!a->broken) settle_link(a, worker_now(aw->worker));
}

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

/* The link goes on trying: the caller learns how to come back for the code. */
static void end_late_pairing(struct account *a, struct turn *t, struct account_call *c)
{
    char words[ACCOUNT_WORDS_MAX];

    snprintf(words, sizeof words,
             "WhatsApp gave no code in time (%s); it is tried again. Call pair_account with "
             "account_id %s later.",
             a->status.reason == WA_REASON_NONE ? "no answer" : wa_reason_text(a->status.reason),
             a->status.id);
    end_call(a, t, c, ERR_QUERY_TIMEOUT, words, err_name(ERR_QUERY_TIMEOUT));
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

/* The call waits for the world: an event of a later turn ends it, or this timer. */
static err_t keep_call(struct account *a, struct turn *t, struct account_call *c,
                       enum call_kind kind, int64_t ms)
{
    if (a->call_count >= ACCOUNT_CALLS_MAX)
        return fail(TOO_BUSY, "%zu calls wait on this account", a->call_count);
    c->kind = kind;
    list_push(&a->calls, &c->link);
    a->call_count++;
    c->timer = (struct timer){.fire = on_call_timer};
    timer_arm(a->home->worker, &c->timer, t->now + ms);
    return OK;
}

static void drop_call(struct account *a, struct account_call *c)
{
    list_remove(&c->link);
    a->call_count--;
    timer_disarm(a->home->worker, &c->timer);
    c->kind = CALL_PLAIN;
}

/* ---- verbs ---- */

static void name_pairing(struct account *a)
{
    uint8_t random[16];
    AUTO(buf) text = {0};

    crypto_random(random, sizeof random);
    text_base64url(SLICE_ARRAY(random), &text);
    snprintf(a->status.pairing, sizeof a->status.pairing, "%s", buf_text(&text));
}

static err_t start_pairing(struct account *a, struct turn *t)
{
    name_pairing(a);
    a->status.code[0] = '\0';
    a->status.reason = WA_REASON_NONE;
    a->status.reason_code = 0;
    a->text.reason[0] = '\0';
    if (a->status.state != ACCOUNT_PAIRING) a->status.changed_at = t->now;
    a->status.state = ACCOUNT_PAIRING;
    account_changed(a);
    return wa_client_pair(a->client, t->now);
}

err_t account_pair(struct account *a, struct turn *t, struct account_call *c)
{
    enum wa_client_state state = wa_client_state_of(a->client);

    if (state == WA_CLIENT_OFFLINE || state == WA_CLIENT_ONLINE)
        return fail(ALREADY_PAIRED, "the account is paired as %s; log it out first",
                    a->status.phone);
    if (state != WA_CLIENT_PAIRING) TRY(start_pairing(a, t));
    if (a->status.code[0]) return OK;
    return keep_call(a, t, c, CALL_PAIR, ACCOUNT_PAIR_MS);
}

err_t account_send_text(struct account *a, struct turn *t, struct account_call *c,
                        const struct wa_text *text)
{
    struct wa_text own = *text;

    if (wa_client_state_of(a->client) != WA_CLIENT_ONLINE)
        return fail(NOT_PAIRED, "the account is %s", account_state_text(a->status.state));
    own.operation = c->operation;
    own.id = wa_client_message_id(a->client, t->now, &t->arena);
    TRY(keep_call(a, t, c, CALL_SEND, ACCOUNT_SEND_MS));
    err_t e = wa_client_send_text(a->client, &own, t->now);
    if (e != OK && c->owner) drop_call(a, c);
    return e;
}

/* Unread messages of one author, gathered from the newest on. */
struct unread {
    struct slice author;
    struct slice *ids;
    size_t count;
};
enum { UNREAD_MAX = 1024, UNREAD_AUTHORS_MAX = 64 };

static err_t gather_unread(struct account *a, struct turn *t, const struct db_contact *contact,
                           const struct db_chat *chat, struct unread *authors, size_t *out_authors)
{
    struct db_message m;
    uint32_t left = chat->unread_count < UNREAD_MAX ? chat->unread_count : UNREAD_MAX;
    size_t n = 0;
    AUTO(message_walk) walk = {0};

    message_walk_init(&walk, turn_view(t), a->scope, contact, (struct place){0}, RANGE_BACKWARDS);
    while (left && message_walk_next(&walk, &m)) {
        size_t at = 0;
        if (m.from_me || (m.place.peer == chat->peer && m.place.seq <= chat->read_seq)) continue;
        left--;
        /* A receipt would end its delivery before anybody has read a word. */
        if (m.status == MESSAGE_WAITING) continue;
        while (at < n && !slice_eq(authors[at].author, m.author))
            at++;
        if (at == UNREAD_AUTHORS_MAX) break;
        if (at == n)
            authors[n++] = (struct unread){.author = m.author,
                                           .ids = arena_array(&t->arena, struct slice, UNREAD_MAX)};
        authors[at].ids[authors[at].count++] = m.stanza_id;
    }
    *out_authors = n;
    return message_walk_error(&walk);
}

static err_t party_of(const struct db_contact *c, struct wa_party *out)
{
    *out = (struct wa_party){0};
    if (c->lid.len) TRY(wa_jid_parse(c->lid, &out->lid));
    if (c->pn.len) TRY(wa_jid_parse(c->pn, &out->pn));
    if (!c->lid.len && !c->pn.len) TRY(wa_jid_parse(c->address, &out->pn));
    return OK;
}

static err_t send_read(struct account *a, struct turn *t, const struct db_contact *contact,
                       const struct unread *u)
{
    struct wa_read read = {
        .is_group = contact->kind == CONTACT_GROUP, .ids = u->ids, .id_count = u->count};
    struct contact_ref ref;
    struct db_contact author;

    TRY(party_of(contact, &read.chat));
    TRY(db_contact_of(turn_view(t), a->scope, u->author, &ref));
    if (!ref.peer) return OK;
    TRY(db_contact_get(turn_view(t), a->scope, ref.peer, &author));
    TRY(party_of(&author, &read.author));
    return wa_client_mark_read(a->client, &read, t->now);
}

err_t account_mark_read(struct account *a, struct turn *t, struct slice chat_id)
{
    struct unread authors[UNREAD_AUTHORS_MAX];
    struct db_contact contact;
    struct db_chat chat;
    uint32_t account, peer;
    uint64_t secret;
    size_t n;

    if (!id_chat_parse(ID_CHAT, chat_id, &account, &peer, &secret) || account != a->scope.account)
        return fail(NOT_FOUND, "there is no such chat");
    TRY(db_contact_resolve(turn_view(t), a->scope, peer, secret, &contact));
    TRY(db_chat_find(turn_view(t), a->scope, contact.peer, &chat));
    if (!chat.next_seq) return fail(NOT_FOUND, "there is no such chat");
    if (!chat.unread_count && !chat.marked_unread) return OK;
    TRY(gather_unread(a, t, &contact, &chat, authors, &n));
    for (size_t i = 0; i < n; i++)
        TRY(send_read(a, t, &contact, &authors[i]));
    chat.unread_count = 0;
    chat.marked_unread = false;
    chat.read_seq = chat.next_seq - 1;
    return db_chat_put_listed(&t->batch, turn_view(t), a->scope, &chat);
}

static bool has_credentials(const struct account *a)
{
    enum wa_client_state state = wa_client_state_of(a->client);

    return state == WA_CLIENT_OFFLINE || state == WA_CLIENT_ONLINE;
}

err_t account_reconnect(struct account *a, struct turn *t)
{
    if (!has_credentials(a))
        return fail(NOT_PAIRED, "the account is %s", account_state_text(a->status.state));
    return wa_client_reconnect(a->client, t->now);
}

err_t account_logout(struct account *a, struct turn *t)
{
    if (!has_credentials(a) && wa_client_state_of(a->client) != WA_CLIENT_PAIRING)
        return fail(NOT_PAIRED, "the account is %s", account_state_text(a->status.state));
    return wa_client_logout(a->client, t->now);
}

err_t account_delete(struct account *a, struct turn *t)
{
    struct scope tenant = {a->scope.tenant, 0};
    AUTO(buf) input = {0};
    /* The account's number, because this turn does not see the jobs that other accounts add now. */
    struct db_job job = {.number = a->scope.account,
                         .kind = JOB_PURGE_ACCOUNT,
                         .created_ms = t->now,
                         .due_ms = t->now + JOB_PURGE_AFTER_MS};

    if (has_credentials(a)) TRY(wa_client_logout(a->client, t->now));
    buf_put_be32(&input, a->scope.account);
    job.input = buf_slice(&input);
    db_job_put(&t->batch, tenant, &job);
    a->deleted_ms = t->now;
    if (a->status.state != ACCOUNT_LOGGED_OUT) a->status.changed_at = t->now;
    a->status.state = ACCOUNT_LOGGED_OUT;
    account_changed(a);
    a->deleted = t->removes = true;
    return OK;
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
    if (a->deleted) return ERR_NOT_FOUND;
    if (a->broken) return a->broken_by;
    if (a->undurable >= TURN_UNDURABLE_MAX || a->undurable_bytes >= TURN_UNDURABLE_BYTES)
        return ERR_TOO_BUSY;
    return OK;
}

/* What a verb says is the call's error, unless the account's own rows are damaged. */
static void run_call(struct account *a, struct account_call *c, bool creates)
{
    struct turn *t = turn_open(a);

    c->owner = a;
    c->operation = ++a->operation;
    c->kind = CALL_PLAIN;
    list_init(&c->link);
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
        db_counter_put(&t->batch, "account", atomic_load(&c->server->accounts->next_number) - 1);
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
    if (a->turn_number == 0) vanish(a); /* the call failed before it wrote */
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
