/* A small house for the tools: a real store, writer, hub, keys and directory on the test's own
 * thread, and accounts that are a stand-in for server/account: they run a call's functions in turns
 * of their own and end sends as the test says. */
#pragma once
#include <criterion/criterion.h>
#include <uv.h>

#include "proto/crypto/crypto.h"
#include "server/account/account.h"
#include "server/account/turn.h"
#include "server/account/terms.h"
#include "server/api/call.h"
#include "server/api/claims.h"
#include "server/api/faces.h"
#include "server/api/json.h"
#include "server/api/schema.h"
#include "server/config.h"
#include "server/directory.h"
#include "server/events/hub.h"
#include "server/server.h"
#include "server/tenant/auth.h"
#include "storage/accounts.h"
#include "storage/chats.h"
#include "storage/seen.h"
#include "tests/unit/storage/fixture.h"

struct account {
    struct account_status status;
    struct scope scope;
};
struct turn {
    struct arena arena;
    struct batch batch;
    struct list batches;
    struct view *view;
    struct account *account;
    int64_t now;
};

enum house_ack { ACK_OK, ACK_PENDING, ACK_REFUSED, ACK_LATER };

static struct house {
    struct fixture f;
    struct server server;
    struct config config;
    struct worker *worker;
    struct account accounts[8];
    size_t account_count;
    struct principal live, test;
    enum house_ack ack;
    struct account_call *unacked[64]; /* of ACK_LATER, in order */
    struct place unacked_place[64];
    size_t unacked_count, sends, turns;
    bool send_fails, holds_commits;
    char sent_to[WA_JID_TEXT_MAX], sent_text[128], sent_quote[64];
    size_t sent_mentions;
} H;

static void house_step(void)
{
    for (int i = 0; i < 8; i++) {
        while (!H.holds_commits && writer_step(H.f.writer)) {
        }
        uv_run(worker_loop(H.worker), UV_RUN_NOWAIT);
    }
}

/* ---- server/account, by hand ---- */

struct arena *turn_arena(struct turn *t) { return &t->arena; }
struct batch *turn_batch(struct turn *t) { return &t->batch; }
struct view *turn_view(struct turn *t) { return t->view; }
int64_t turn_now(const struct turn *t) { return t->now; }
struct account *turn_account(struct turn *t) { return t->account; }
const struct account_status *account_status_of(const struct account *a) { return &a->status; }
struct slice account_id(const struct account *a) { return slice_text(a->status.id); }

const char *account_state_text(enum account_state s)
{
    static const char *const names[] = {"pairing", "connected", "disconnected", "expired",
                                        "logged_out"};
    return names[s];
}

static struct turn *open_turn(struct account *a)
{
    struct turn *t = xcalloc(sizeof(*t));

    t->account = a;
    t->now = worker_now(H.worker);
    batch_init(&t->batch);
    list_init(&t->batches);
    list_push(&t->batches, &t->batch.pending);
    CHECK_OK(view_new(H.f.store, &t->view));
    CHECK_OK(view_begin(t->view));
    view_overlay(t->view, &t->batches);
    H.turns++;
    return t;
}

static void close_turn(struct turn *t, bool keep)
{
    view_end(t->view);
    view_free(t->view);
    list_remove(&t->batch.pending);
    if (keep && !batch_is_empty(&t->batch)) CHECK_OK(writer_commit(H.f.writer, &t->batch));
    batch_done(&t->batch);
    arena_done(&t->arena);
    free(t);
}

static struct account *find_account(const char *id)
{
    for (size_t i = 0; i < H.account_count; i++)
        if (strcmp(H.accounts[i].status.id, id) == 0) return &H.accounts[i];
    return NULL;
}

static void on_back(struct post *p, struct worker *w)
{
    struct account_call *c = CONTAINER_OF(p, struct account_call, post);

    c->done(c, w);
}

static void give_back(struct account_call *c, err_t e)
{
    if (e != OK) {
        c->error = e;
        snprintf(c->words, sizeof(c->words), "%s", err_words());
    }
    c->post.run = on_back;
    worker_post(c->home, &c->post);
}

/* A call that a verb keeps has a kind. */
static void run_call(struct account *a, struct account_call *c)
{
    struct turn *t = open_turn(a);
    err_t e = c->run(c, a, t);

    close_turn(t, e == OK);
    directory_update(H.server.directory, &a->status);
    if (e != OK || c->kind == 0) give_back(c, e);
}

void account_ask(struct server *s, struct account_call *c)
{
    struct account *a = find_account(c->account);

    if (a)
        run_call(a, c);
    else
        give_back(c, fail(NOT_FOUND, "no account"));
}

static struct account *add_account(bool sandbox, enum account_state state)
{
    struct account *a = &H.accounts[H.account_count++];
    struct db_account row = {
        .tenant = 1, .account = (uint32_t)H.account_count, .secret = 77, .world = sandbox};
    struct batch b;

    a->scope = (struct scope){1, row.account};
    a->status = (struct account_status){
        .tenant = 1, .number = row.account, .sandbox = sandbox, .state = state, .changed_at = 1000};
    id_number_text(ID_ACCOUNT, row.account, row.secret, a->status.id);
    if (state != ACCOUNT_PAIRING) {
        snprintf(a->status.phone, sizeof(a->status.phone), "+1555000%04u", row.account);
        snprintf(a->status.lid, sizeof(a->status.lid), "%u@lid", row.account);
        a->status.paired_at = 1000;
    }
    batch_init(&b);
    db_account_put(&b, &row);
    CHECK_OK(writer_commit(H.f.writer, &b));
    batch_done(&b);
    directory_add(H.server.directory, &a->status, &H.worker, 1, true);
    return a;
}

void account_create(struct server *s, uint32_t tenant, bool sandbox, struct account_call *c)
{
    struct account *a;

    if (H.account_count == ARRAY_LEN(H.accounts)) {
        give_back(c, fail(STORE_FULL, "the house is full"));
        return;
    }
    a = add_account(sandbox, ACCOUNT_PAIRING);
    snprintf(c->account, sizeof(c->account), "%s", a->status.id);
    run_call(a, c);
}

err_t account_pair(struct account *a, struct turn *t, struct account_call *c)
{
    a->status.state = ACCOUNT_PAIRING;
    strcpy(a->status.code, "2@abc,def,ghi,jkl,1");
    strcpy(a->status.pairing, "unguessable");
    a->status.code_expires_at = 1763632350000;
    a->status.codes_left = 5;
    return OK;
}

err_t account_reconnect(struct account *a, struct turn *t)
{
    if (a->status.state == ACCOUNT_LOGGED_OUT) return fail(NOT_PAIRED, "logged out");
    a->status.state = ACCOUNT_DISCONNECTED;
    return OK;
}

err_t account_logout(struct account *a, struct turn *t)
{
    a->status.state = ACCOUNT_LOGGED_OUT;
    a->status.reason = WA_REASON_BY_USER;
    return OK;
}

err_t account_delete(struct account *a, struct turn *t)
{
    directory_remove(H.server.directory, slice_text(a->status.id));
    return OK;
}

err_t account_mark_read(struct account *a, struct turn *t, struct slice chat)
{
    uint32_t account, peer;
    uint64_t secret;
    struct db_chat row;

    if (!id_chat_parse(ID_CHAT, chat, &account, &peer, &secret)) return fail(NOT_FOUND, "no chat");
    TRY(db_chat_find(t->view, a->scope, peer, &row));
    row.unread_count = 0;
    return db_chat_put_listed(&t->batch, t->view, a->scope, &row);
}

/* A message at `sec` of `phone`, ours when `from_me`; its msg_ id to `out`. */
static struct db_message put_message(struct turn *t, struct account *a, const char *jid,
                                     bool from_me, uint32_t sec, const char *text, unsigned status)
{
    struct contact_ref who;
    struct db_chat chat;
    static uint64_t counter = 1000;
    struct db_message m = {.from_me = from_me,
                           .type = WA_KIND_TEXT,
                           .status = (uint8_t)status,
                           .text = slice_text(text),
                           .occurred_ms = (int64_t)sec * 1000,
                           .author = from_me ? SLICE_NONE : slice_text(jid)};

    CHECK_OK(db_contact_open(&t->batch, t->view, a->scope, CONTACT_PERSON, slice_text(jid),
                             ++counter, t->now, &who));
    CHECK_OK(db_chat_find(t->view, a->scope, who.peer, &chat));
    if (!chat.next_seq) chat = (struct db_chat){.peer = who.peer, .next_seq = 1};
    m.place =
        (struct place){.peer = who.peer, .sec = sec, .seq = chat.next_seq++, .secret = ++counter};
    m.author_peer = from_me ? 0 : who.peer;
    m.stanza_id = arena_printf(&t->arena, "3EB0%llu", (unsigned long long)counter);
    chat.last = m.place;
    chat.activity_sec = sec;
    chat.unread_count += !from_me;
    CHECK_OK(db_chat_put_listed(&t->batch, t->view, a->scope, &chat));
    db_message_put(&t->batch, a->scope, &m);
    CHECK_OK(db_seen_put(&t->batch, t->view, a->scope, who.peer, m.author, m.stanza_id, m.place));
    struct terms terms;
    terms_of(m.text, &t->arena, &terms);
    CHECK_OK(db_tail_add(&t->batch, t->view, a->scope, m.place, &terms));
    return m;
}

static void set_status(struct account *a, struct turn *t, struct place place, unsigned status,
                       uint16_t error)
{
    struct db_message m;

    CHECK_OK(db_message_get(t->view, a->scope, place, &m));
    m.status = (uint8_t)status;
    m.error = error;
    db_message_put(&t->batch, a->scope, &m);
}

/* The server's answer, or the time that is up, in a turn of its own. */
static void end_send(struct account *a, struct account_call *c, struct place place,
                     enum house_ack ack)
{
    struct turn *t = open_turn(a);

    if (ack == ACK_OK) set_status(a, t, place, MESSAGE_SENT, 0);
    if (ack == ACK_REFUSED) set_status(a, t, place, MESSAGE_FAILED, 463);
    c->sent = ack == ACK_OK        ? ACCOUNT_SENT_OK
              : ack == ACK_PENDING ? ACCOUNT_SENT_PENDING
                                   : ACCOUNT_SENT_FAILED;
    if (ack == ACK_REFUSED) {
        c->error = fail(NEEDS_TOKEN, "%s", err_text(ERR_NEEDS_TOKEN));
        snprintf(c->words, sizeof(c->words), "%s", err_words());
    }
    c->ended(c, a, t);
    close_turn(t, true);
    give_back(c, OK);
}

err_t account_send_text(struct account *a, struct turn *t, struct account_call *c,
                        const struct wa_text *text)
{
    char jid[WA_JID_TEXT_MAX];
    struct db_message m;

    if (H.send_fails) return fail(NOT_CONNECTED, "no link");
    H.sends++;
    wa_jid_text(&text->to.pn, jid);
    snprintf(H.sent_to, sizeof(H.sent_to), "%s", jid);
    snprintf(H.sent_text, sizeof(H.sent_text), SLICE_FMT, SLICE_ARG(text->text));
    snprintf(H.sent_quote, sizeof(H.sent_quote), SLICE_FMT, SLICE_ARG(text->quoted_id));
    H.sent_mentions = text->mention_count;
    m = put_message(t, a, jid, true, 5000, H.sent_text, MESSAGE_PENDING);
    id_message_text(ID_MESSAGE, a->scope.account, m.place, c->message);
    c->stored(c, a, t);
    c->kind = 1;
    H.unacked[H.unacked_count] = c;
    H.unacked_place[H.unacked_count++] = m.place;
    return OK;
}

/* Ends what account_send_text() left open; after its turn has closed. */
static void house_ack_all(enum house_ack ack)
{
    for (size_t i = 0; i < H.unacked_count; i++)
        end_send(find_account(H.unacked[i]->account), H.unacked[i], H.unacked_place[i], ack);
    H.unacked_count = 0;
    house_step();
}

/* ---- the house ---- */

static void on_house_events(void *context, struct log_events *events)
{
    hubs_publish(H.server.hubs, events);
}

static struct principal key_of_world(enum world world)
{
    struct key_info keys[8];
    size_t n = auth_keys(H.server.tenants, 1, keys, 8);
    struct principal who = {.tenant = 1, .world = world, .rights = RIGHTS_TOOLS};

    for (size_t i = 0; i < n; i++)
        if (keys[i].world == world) memcpy(who.key, keys[i].id, sizeof(who.key));
    return who;
}

static char house_live_key[100], house_test_key[100];

static void read_first_keys(const char *path)
{
    FILE *f = fopen(path, "r");

    cr_assert(f && fscanf(f, "%99s %99s", house_live_key, house_test_key) == 2);
    fclose(f);
    unlink(path);
}

static void house_setup(void)
{
    char first_keys[300];

    crypto_start();
    tools_start();
    H.f.on_events = on_house_events;
    fixture_init(&H.f);
    H.worker = worker_new(0);
    H.config.listen = "127.0.0.1:8790";
    H.server = (struct server){.config = &H.config,
                               .store = H.f.store,
                               .writer = H.f.writer,
                               .workers = &H.worker,
                               .worker_count = 1};
    H.server.directory = directory_new();
    snprintf(first_keys, sizeof(first_keys), "%s/first-keys", H.f.path);
    CHECK_OK(tenants_open(&H.server, first_keys, &H.server.tenants));
    H.server.claims = claims_new();
    CHECK_OK(hubs_new(&H.server, &H.server.hubs));
    CHECK_OK(tenants_start(&H.server));
    read_first_keys(first_keys);
    H.live = key_of_world(WORLD_LIVE);
    H.test = key_of_world(WORLD_TEST);
}

static void house_teardown(void)
{
    house_step();
    hubs_free(H.server.hubs);
    claims_free(H.server.claims);
    tenants_close(H.server.tenants);
    directory_free(H.server.directory);
    worker_stop(H.worker);
    worker_run(H.worker);
    worker_free(H.worker);
    fixture_done(&H.f);
    tools_stop();
}

/* ---- calling tools ---- */

struct answer {
    bool done;
    err_t error;
    struct json *json; /* result, or problem */
    struct buf image;
};

static void on_answered(struct call *c)
{
    struct answer *a = c->owner;
    struct slice text = c->error == OK ? buf_slice(&c->result) : c->problem;

    cr_assert(!a->done, "answered twice");
    a->done = true;
    a->error = c->error;
    cr_assert_eq(json_parse(text, 8 << 20, &a->json), OK, SLICE_FMT, SLICE_ARG(text));
    buf_put(&a->image, c->image.base64);
    if (c->error == OK) {
        AUTO(buf) why = {0};
        cr_assert(shape_accepts(tool_result(c->tool), a->json, &why), "%s: %s in " SLICE_FMT,
                  c->tool->name, buf_text(&why), SLICE_ARG(text));
    }
}

static struct call *start(const struct principal *who, const char *tool, const char *args,
                          struct answer *a)
{
    const struct tool *t = tool_find(slice_text(tool));
    struct call *c;

    cr_assert(t, "%s", tool);
    c = call_new(&H.server, H.worker, who, t);
    call_take_json(c, slice_text(args));
    call_start(c, on_answered, a);
    return c;
}

static void answer_done(struct answer *a)
{
    json_free(a->json);
    buf_done(&a->image);
    *a = (struct answer){0};
}

/* The whole call; sends end as H.ack says. */
static inline struct answer use(const struct principal *who, const char *tool, const char *args)
{
    struct answer a = {0};

    start(who, tool, args, &a);
    house_step();
    if (H.unacked_count && H.ack != ACK_LATER) house_ack_all(H.ack);
    house_step();
    cr_assert(a.done, "%s did not answer", tool);
    return a;
}

static const char *member(const struct answer *a, const char *name)
{
    struct slice s = json_get_text(a->json, name);

    return slice_is_none(s) ? "" : (const char *)s.data;
}

static inline void expect_error(const struct principal *who, const char *tool, const char *args,
                                const char *code)
{
    struct answer a = use(who, tool, args);

    cr_assert_neq(a.error, OK, "%s %s", tool, args);
    cr_assert_str_eq(member(&a, "code"), code, "%s %s: %s", tool, args, member(&a, "message"));
    answer_done(&a);
}

/* The same call once more is the same message, and there was one send. */
static inline void expect_joined(const struct answer *first, const char *args)
{
    struct answer again = use(&H.test, "send_message", args);

    cr_assert_str_eq(member(first, "status"), "pending");
    cr_assert_str_eq(member(&again, "id"), member(first, "id"));
    cr_assert_eq(H.sends, 1);
    answer_done(&again);
}

/* ---- filling it ---- */

/* An inbound (or own) message, committed; its id and its chat's. */
static inline void receive(struct account *a, const char *jid, bool from_me, uint32_t sec,
                           const char *text, char out_message[ID_TEXT_MAX],
                           char out_chat[ID_TEXT_MAX])
{
    struct turn *t = open_turn(a);
    struct db_message m =
        put_message(t, a, jid, from_me, sec, text, from_me ? MESSAGE_SENT : MESSAGE_RECEIVED);
    struct db_contact contact;

    CHECK_OK(db_contact_get(t->view, a->scope, m.place.peer, &contact));
    id_message_text(ID_MESSAGE, a->scope.account, m.place, out_message);
    id_chat_text(ID_CHAT, a->scope.account, contact.peer, contact.secret, out_chat);
    close_turn(t, true);
}

/* An event in the log, published. */
static inline void log_event(struct account *a, enum event_kind kind, uint32_t peer)
{
    struct event_about about = {.account = slice_text(a->status.id),
                                .occurred_at = 1763632350000,
                                .received_at = 1763632350123};
    struct event_head head = {.account = a->scope.account,
                              .peer = peer,
                              .type = event_number(kind),
                              .world = a->status.sandbox,
                              .at_ms = 1};
    struct batch b;
    AUTO(buf) bytes = {0};

    event_account_connected(&bytes, &about, SLICE("+1"));
    batch_init(&b);
    batch_event(&b, 1, &head, buf_slice(&bytes));
    writer_post(H.f.writer, &b);
    house_step();
    batch_done(&b);
}

/* Two peers are one person from now on, as server/account learns it, and in the same commit comes a
 * message of hers. Gives the person. */
static inline uint32_t merge_people(struct account *a, const char *lid, const char *pn)
{
    struct event_about about = {
        .account = slice_text(a->status.id), .occurred_at = 1000, .received_at = 1000};
    struct event_head head = {.account = a->scope.account, .world = a->status.sandbox, .at_ms = 1};
    struct turn *t = open_turn(a);
    AUTO(buf) parts = {0}, bytes = {0};
    struct db_contact person;
    uint32_t peer;

    CHECK_OK(
        db_contact_map(&t->batch, t->view, a->scope, slice_text(lid), slice_text(pn), 7, 1, &peer));
    CHECK_OK(db_contact_get(t->view, a->scope, peer, &person));
    event_merge(&parts, &person);
    head.type = NOTICE_MERGE;
    head.peer = peer;
    batch_notice(&t->batch, 1, &head, buf_slice(&parts));
    head.type = event_number(EVENT_MESSAGE_RECEIVED);
    event_account_connected(&bytes, &about, SLICE("+1"));
    batch_event(&t->batch, 1, &head, buf_slice(&bytes));
    writer_post(H.f.writer, &t->batch);
    house_step();
    close_turn(t, false);
    return peer;
}

/* What retention does to the oldest events. */
static inline void trim_log(uint64_t through)
{
    struct batch b;

    batch_init(&b);
    batch_trim(&b, 1, through);
    CHECK_OK(writer_commit(H.f.writer, &b));
    batch_done(&b);
}

/* `n` (a multiple of 100) sandbox events of 4 KB: more than a reader takes at once. `step` lets the
 * house work between the commits. */
static inline void log_large_events(const struct account *acc, int n, void (*step)(void))
{
    struct event_head head = {.account = acc->scope.account, .type = 1, .world = 1, .at_ms = 1};
    char bytes[4100];

    for (int i = 0; i < n / 100; i++) {
        struct batch b;
        batch_init(&b);
        for (int k = 0; k < 100; k++) {
            snprintf(bytes, sizeof(bytes), "{\"event\":\"x\",\"pad\":\"%04000d\"}", k);
            batch_event(&b, 1, &head, slice_text(bytes));
        }
        writer_post(H.f.writer, &b);
        step();
        batch_done(&b);
    }
}
