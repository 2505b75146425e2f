/* The running server of flips.c: that of tests/flow's worlds (accounts, writer, sandbox and phones
 * in one process on fake time) with tenants, hub, MCP sessions and tools on top, made as main.c
 * makes them. */
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "proto/base/map.h"
#include "server/account/inside.h"
#include "server/api/call.h"
#include "server/api/faces.h"
#include "server/api/tools.h"
#include "server/config.h"
#include "server/events/hub.h"
#include "server/mcp/inside.h"
#include "server/tenant/auth.h"
#include "storage/check.h"
#include "storage/store_inner.h"
#include "tests/crash/flips.h"
#include "tests/flow/world.h"

_Static_assert((int)FLIP_ACCOUNTS == (int)RESIDENTS, "the report has a bit for each");

enum {
    MOMENTS = 80,   /* of the recorded life */
    CLAIMS = 6,     /* calls with a key that are repeated later */
    ASKS_MAX = 100, /* questions that must be answered as before */
    LOGIN_MS = 4000,
    PATIENCE_MS = 12000,
    SESSIONS = 3,
};

/* A question and what the server answered before the flip. */
struct ask {
    char tool[24], arguments[360];
    uint64_t answer; /* its hash */
    bool truncated;  /* it says so of a sound log, which ends before the cursor */
};

static struct town *the_life;
static struct map rows; /* database and key -> value, as it was recorded */
static char key_text[AUTH_KEY_MAX], sessions[SESSIONS][SESSION_TEXT_MAX];
static unsigned session_count;
static struct ask claims[CLAIMS];
static struct {
    struct ask items[ASKS_MAX];
    size_t count;
    uint64_t events; /* a hash of what a stream is shown from the beginning */
} * asks;            /* shared: made in a child */

static void need(err_t e, const char *what)
{
    if (e == OK) return;
    printf("%s: %s\n", what, err_trail());
    exit(2);
}

static uint64_t hash_of(uint64_t h, struct slice bytes)
{
    for (size_t i = 0; i < bytes.len; i++)
        h = (h ^ bytes.data[i]) * 0x100000001b3u;
    return h;
}

/* ---- the server ---- */

static void open_server(void)
{
    house_start(the_life); /* exits when the server does not start */
    need(mcp_open(&the_life->server, &mcp_offer, &the_life->server.mcp), "MCP");
}

static struct worker *at_home(void)
{
    clock_enter(the_life->workers[0]);
    return the_life->workers[0];
}

static struct principal caller(void)
{
    struct principal who = {0};

    need(auth_key(&the_life->server, slice_text(key_text), &who), "the key");
    return who;
}

/* ---- calls ---- */

struct answer {
    err_t error;
    bool done;
    struct buf text;
};

static void on_called(struct call *c)
{
    struct answer *a = c->owner;

    a->done = true;
    a->error = c->error;
    if (c->error == OK) buf_put(&a->text, buf_slice(&c->result));
}

static void call_tool(const struct principal *who, const struct ask *ask, struct answer *out)
{
    const struct tool *tool = tool_find(slice_text(ask->tool));
    struct call *c = call_new(&the_life->server, at_home(), who, tool);

    call_take_json(c, slice_text(ask->arguments));
    call_start(c, on_called, out);
    clock_posts(the_life);
}

static bool answer_tool(const struct principal *who, const struct ask *ask, struct answer *out)
{
    call_tool(who, ask, out);
    for (int i = 0; i < 200 && !out->done; i++)
        world_pass(the_life, 100);
    return out->done;
}

/* ---- a stream from the beginning of the log ---- */

struct reading {
    struct hub_stream stream;
    struct event_filter filter;
    uint64_t hash;
    unsigned events, gaps;
    err_t why;
};

static bool on_event_shown(struct hub_stream *s, struct hub_event *e, struct hub_match match)
{
    struct reading *r = s->owner;
    struct shared_bytes *json = hub_event_json(e);

    r->hash = hash_of(r->hash, slice_of(json->data, json->len));
    r->events++;
    return true;
}

static void on_gap_shown(struct hub_stream *s, uint64_t first, uint64_t last)
{
    ((struct reading *)s->owner)->gaps++;
}

static void on_reading_ended(struct hub_stream *s, err_t why)
{
    ((struct reading *)s->owner)->why = why;
}

static void read_events(const struct principal *who, struct reading *r)
{
    *r = (struct reading){.hash = 1};
    r->stream = (struct hub_stream){.who = *who,
                                    .filters = &r->filter,
                                    .filter_count = 1,
                                    .on_event = on_event_shown,
                                    .on_gap = on_gap_shown,
                                    .on_end = on_reading_ended,
                                    .owner = r};
    at_home();
    hub_stream_open(hub_at(the_life->server.hubs, 0), &r->stream, 0);
    clock_posts(the_life);
    hub_stream_close(&r->stream);
}

/* ---- recording ---- */

static void take_key(const char *folder)
{
    char path[200], line[AUTH_KEY_MAX + 8];

    snprintf(path, sizeof path, "%s/first-keys", folder);
    FILE *f = fopen(path, "r");
    while (f && fgets(line, sizeof line, f))
        if (strncmp(line, "parley_test_", 12) == 0)
            snprintf(key_text, sizeof key_text, "%.*s", (int)strcspn(line, "\n"), line);
    if (f) fclose(f);
    if (!key_text[0]) need(fail(SYSTEM, "%s", path), "first keys");
}

static void on_session(struct mcp_worker *w, uint64_t number, err_t e, const char *id)
{
    need(e, "a session");
    snprintf(sessions[session_count++], SESSION_TEXT_MAX, "%s", id);
}

static void make_sessions(void)
{
    struct principal who = caller();
    struct session_new n = {.revision = MCP_2025_06_18,
                            .capabilities = SLICE("{\"roots\":{}}"),
                            .client = SLICE("{\"name\":\"flips\",\"version\":\"1\"}")};

    for (unsigned i = 0; i < SESSIONS; i++)
        need(session_create(&the_life->server.mcp->workers[0], &who, &n,
                            (struct session_change){.done = on_session}),
             "a session");
    world_pass(the_life, 1000);
    if (session_count != SESSIONS) need(fail(SYSTEM, "%u", session_count), "sessions");
}

static void make_claims(void)
{
    struct principal who = caller();

    for (unsigned i = 0; i < CLAIMS; i++) {
        struct answer a = {0};

        snprintf(claims[i].tool, sizeof claims[i].tool, "send_message");
        snprintf(claims[i].arguments, sizeof claims[i].arguments,
                 "{\"account_id\":\"%s\",\"to\":\"+15550004444\",\"text\":\"claimed %u\","
                 "\"idempotency_key\":\"key %u\"}",
                 the_life->residents[i % RESIDENTS].id, i, i);
        if (!answer_tool(&who, &claims[i], &a) || a.error != OK)
            need(a.error ? a.error : ERR_QUERY_TIMEOUT, "a call");
        claims[i].answer = hash_of(1, buf_slice(&a.text));
        buf_done(&a.text);
    }
}

static void subscribe(void)
{
    struct principal who = caller();
    struct ask ask = {.tool = "subscribe_events", .arguments = "{\"events\":[\"message.*\"]}"};
    struct answer a = {0};

    if (!answer_tool(&who, &ask, &a) || a.error != OK) need(a.error, "a subscription");
    buf_done(&a.text);
}

static void live_a_while(struct town *w)
{
    for (int i = 0; i < MOMENTS && !w->violations; i++) {
        world_pass(w, (int64_t)roll(w, 1500));
        traffic_act(w);
        if (i % 30 == 20) make_claims();
        world_settle(w);
    }
}

static void read_whole(const char *folder, struct slice *out)
{
    char path[200];
    struct stat st;

    snprintf(path, sizeof path, "%s/data.mdb", folder);
    FILE *f = fopen(path, "rb");
    if (!f || fstat(fileno(f), &st) != 0) need(fail(SYSTEM, "%s", path), "the data file");
    uint8_t *bytes = xalloc((size_t)st.st_size);
    if (fread(bytes, 1, (size_t)st.st_size, f) != (size_t)st.st_size)
        need(fail(SYSTEM, "%s", path), "the data file");
    fclose(f);
    *out = slice_of(bytes, (size_t)st.st_size);
}

/* Dies with sends and letters under way, and is not opened again here. */
static void die_for_good(struct town *w)
{
    for (int i = 0; i < 6; i++)
        calls_send(w);
    world_pass(w, 40);
    house_lose_queued(w);
    net_kill(w);
    traffic_lose_calls(w);
    mcp_close(w->server.mcp);
    house_stop(w);
    w->deaf = false;
}

static void key_of_row(struct buf *out, unsigned db, struct slice key)
{
    buf_reset(out);
    buf_put_u8(out, (uint8_t)db);
    buf_put(out, key);
}

static void keep_rows(struct view *v, enum db db)
{
    AUTO(range) r = {0};
    AUTO(buf) name = {0};

    range_prefix(&r, v, db, SLICE_NONE, RANGE_FORWARDS);
    while (range_next(&r)) {
        struct buf *value = xcalloc(sizeof *value);

        key_of_row(&name, db, r.key);
        buf_put(value, r.value);
        map_put(&rows, buf_slice(&name), value);
    }
    need(range_error(&r), "the rows");
}

static void learn_rows(const char *folder)
{
    struct store_options options = {
        .path = folder, .map_size = (size_t)64 << 20, .read_only = true};
    struct store *s;
    struct view *v;

    need(store_open(&options, &s), "the store");
    need(view_new(s, &v), "a view");
    need(view_begin(v), "a view");
    for (int db = 0; db < DB_COUNT; db++)
        keep_rows(v, (enum db)db);
    view_free(v);
    store_close(s);
}

/* ---- what it answers ---- */

static void add_ask(const char *tool, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static void add_ask(const char *tool, const char *format, ...)
{
    struct ask *a = &asks->items[asks->count];
    va_list args;

    if (asks->count == ASKS_MAX) return;
    asks->count++;
    snprintf(a->tool, sizeof a->tool, "%s", tool);
    va_start(args, format);
    vsnprintf(a->arguments, sizeof a->arguments, format, args);
    va_end(args);
}

/* Every id of this kind in a text, each once in a row. */
static void each_id(struct slice text, const char *prefix, void (*found)(const char *id))
{
    char id[64], last[64] = "";
    const uint8_t *at = text.data, *end = text.data + text.len;

    while ((at = memmem(at, (size_t)(end - at), prefix, strlen(prefix)))) {
        size_t n = 0;
        while (at + n < end && at[n] != '"' && n < sizeof id - 1) {
            id[n] = (char)at[n];
            n++;
        }
        id[n] = '\0';
        at += n;
        if (at == end) return;
        if (n > 12 && strcmp(id, last) != 0) found(id); /* not the name of a member */
        memcpy(last, id, sizeof id);
    }
}

static void ask_message(const char *id) { add_ask("get_message", "{\"message_id\":\"%s\"}", id); }

static void ask_chat(const char *id)
{
    struct principal who = caller();
    struct answer a = {0};

    if (asks->count % 4 == 0) add_ask("get_chat", "{\"chat_id\":\"%s\"}", id);
    add_ask("list_messages", "{\"chat_id\":\"%s\",\"limit\":200}", id);
    call_tool(&who, &asks->items[asks->count - 1], &a);
    if (asks->count < 6) each_id(slice_sub(buf_slice(&a.text), 0, 900), "msg_", ask_message);
    buf_done(&a.text);
}

static void plan_asks(void)
{
    struct principal who = caller();

    for (unsigned i = 0; i < RESIDENTS; i++) {
        const char *account = the_life->residents[i].id;
        struct answer a = {0};

        add_ask("get_account", "{\"account_id\":\"%s\"}", account);
        add_ask("search_messages", "{\"account_id\":\"%s\",\"query\":\"in\"}", account);
        add_ask("search_messages", "{\"account_id\":\"%s\",\"query\":\"claimed\"}", account);
        add_ask("list_chats", "{\"account_id\":\"%s\",\"filter\":\"all\"}", account);
        call_tool(&who, &asks->items[asks->count - 1], &a);
        each_id(buf_slice(&a.text), "chat_", ask_chat);
        buf_done(&a.text);
    }
    add_ask("list_accounts", "{}");
    add_ask("list_subscriptions", "{}");
    for (unsigned from = 0; from < 400; from += 200)
        add_ask("list_events", "{\"cursor\":\"%u\",\"limit\":200}", from);
    for (unsigned i = 0; i < CLAIMS; i++)
        add_ask(claims[i].tool, "%s", claims[i].arguments);
}

static bool says_truncated(struct slice text)
{
    static const char words[] = "\"truncated\":true";

    return memmem(text.data, text.len, words, sizeof words - 1);
}

static void learn_answers(void)
{
    struct principal who = caller();
    struct reading r;

    plan_asks();
    for (size_t i = 0; i < asks->count; i++) {
        struct answer a = {0};

        call_tool(&who, &asks->items[i], &a);
        if (!a.done || a.error != OK)
            need(a.error ? a.error : ERR_QUERY_TIMEOUT, asks->items[i].tool);
        asks->items[i].answer = hash_of(1, buf_slice(&a.text));
        asks->items[i].truncated = says_truncated(buf_slice(&a.text)); /* behind the log's end */
        buf_done(&a.text);
    }
    read_events(&who, &r);
    asks->events = r.hash;
}

static void compare_answers(struct flip_report *out)
{
    struct principal who = {0};
    struct session_info info;
    struct reading r;

    for (unsigned i = 0; i < SESSIONS; i++) {
        err_t e = auth_key(&the_life->server, slice_text(key_text), &who);

        if (e == OK)
            e = session_find(&the_life->server.mcp->workers[0], &who, slice_text(sessions[i]),
                             &info);
        out->failed += e != OK && e != ERR_NOT_FOUND && e != ERR_UNAUTHORIZED;
        out->different += e == ERR_NOT_FOUND || e == ERR_UNAUTHORIZED;
    }
    if (!who.tenant) return; /* nobody is let in */
    monitor_switch(false);   /* which would hold every answer against its schema, too */
    for (size_t i = 0; i < asks->count; i++) {
        struct answer a = {0};

        call_tool(&who, &asks->items[i], &a);
        bool same = a.done && hash_of(1, buf_slice(&a.text)) == asks->items[i].answer;
        bool gap = says_truncated(buf_slice(&a.text)) && !asks->items[i].truncated;
        bool says = a.done && (a.error == ERR_STORE_DAMAGED || gap);
        out->failed += says;
        out->different += !same && !says;
        buf_done(&a.text);
    }
    monitor_switch(true);
    read_events(&who, &r);
    out->failed += r.why != OK || r.gaps > 0;
    out->different += r.why == OK && r.gaps == 0 && r.hash != asks->events;
}

/* ---- what is there ---- */

static void look_up_row(struct view *v, struct slice name, const struct buf *value,
                        struct flip_report *out)
{
    struct slice found = SLICE_NONE;
    err_t e = view_find(v, (enum db)name.data[0], slice_from(name, 1), &found);

    out->refused += e != OK;
    out->hidden += e == OK && slice_is_none(found);
    out->stale += e == OK && !slice_is_none(found) && !slice_eq(found, buf_slice(value));
    if (e != OK) err_clear();
}

static void walk_rows(struct view *v, enum db db, struct flip_report *out)
{
    AUTO(range) r = {0};
    AUTO(buf) name = {0};

    range_prefix(&r, v, db, SLICE_NONE, RANGE_FORWARDS);
    while (range_next(&r)) {
        const struct buf *value;

        key_of_row(&name, db, r.key);
        value = map_find(&rows, buf_slice(&name));
        out->stale += !value || !slice_eq(r.value, buf_slice(value));
    }
    out->refused += range_error(&r) != OK;
}

static void compare_rows(struct flip_report *out)
{
    struct view *v;
    struct slice name;
    struct buf *value;

    if (view_new(the_life->server.store, &v) != OK || view_begin(v) != OK) return;
    for (size_t at = 0; (value = map_next(&rows, &at, &name));)
        look_up_row(v, name, value, out);
    for (int db = 0; db < DB_COUNT; db++)
        walk_rows(v, (enum db)db, out);
    view_free(v);
}

/* ---- what it does ---- */

struct trial {
    unsigned letters; /* index of the first of the new ones */
    struct errand *sends[RESIDENTS];
};

static void try_all(struct trial *t)
{
    struct town *w = the_life;

    t->letters = w->letter_count;
    for (unsigned i = 0; i < RESIDENTS; i++) {
        traffic_letter(w, RESIDENTS, i);
        t->sends[i] = traffic_send(w, i, RESIDENTS + 1);
    }
    traffic_write_group(w);
}

static unsigned copies_of(const struct shelf *s, const struct letter *l)
{
    unsigned n = 0;

    for (size_t i = 0; i < s->count; i++)
        n += strcmp(s->items[i].id, l->id) == 0 && strcmp(s->items[i].text, l->text) == 0;
    return n;
}

static bool is_stopped(unsigned resident)
{
    struct account_status status;
    struct account *a = house_account(the_life, resident);

    return !a || a->broken || a->failures ||
           !directory_status(the_life->server.directory,
                             slice_text(the_life->residents[resident].id), &status) ||
           status.blocked;
}

/* Everything that the sandbox has off its hands must be on the shelf. */
static bool holds_letters(unsigned resident, unsigned from, struct flip_report *out)
{
    struct town *w = the_life;
    struct shelf *s = xcalloc(sizeof *s);
    struct sim_device *dev = resident_device(w, resident);
    bool all = true;

    unsigned before = w->violations;
    judge_shelf(w, resident, s);
    if (w->violations > before) out->unread |= 1u << resident; /* it says that it is damaged */
    for (unsigned l = from; l < w->letter_count; l++) {
        unsigned n = copies_of(s, &w->letters[l]);

        if (!(w->letters[l].readers & (1u << resident)) || n == 1) continue;
        all = false;
        out->lost += dev && !dev->queue_count && w->violations == before;
    }
    free(s);
    return all;
}

static void judge_trial(const struct trial *t, struct flip_report *out)
{
    for (unsigned i = 0; i < RESIDENTS; i++) {
        const struct errand *e = t->sends[i];
        bool sent = e->done && e->call.error == OK &&
                    judge_copies(the_life->people[RESIDENTS + 1], e->text) == 1;
        bool stops = is_stopped(i);

        if (stops) out->stopped |= 1u << i;
        if (holds_letters(i, t->letters, out) && sent && !stops) out->works |= 1u << i;
    }
    for (int i = 0; i < SIM_RULES; i++)
        out->broken_rules += the_life->relay.broken[i];
}

static void note_error(struct flip_report *out)
{
    if (!out->words[0]) snprintf(out->words, sizeof out->words, "%s", clock_last_error);
}

/* The data key lies beside the data. */
static void copy_key(const char *folder)
{
    static const char *const names[] = {"master.key", "first-keys"};
    char from[200], to[200], bytes[4096];

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        snprintf(from, sizeof from, "%s/%s", the_life->folder, names[i]);
        snprintf(to, sizeof to, "%s/%s", folder, names[i]);
        FILE *f = fopen(from, "rb"), *g = f ? fopen(to, "wb") : NULL;
        size_t n = f ? fread(bytes, 1, sizeof bytes, f) : 0;
        if (g && fwrite(bytes, 1, n, g) == n) fchmod(fileno(g), 0600);
        if (f) fclose(f);
        if (g) fclose(g);
    }
}

void flips_serve(const char *folder, struct flip_report *out)
{
    struct trial t;

    copy_key(folder);
    clock_last_error[0] = '\0';
    snprintf(the_life->folder, sizeof the_life->folder, "%s", folder);
    open_server();
    out->opened = true;
    out->mended = the_life->mended > 0;
    note_error(out);
    compare_rows(out);
    compare_answers(out);
    note_error(out);
    world_pass(the_life, LOGIN_MS);
    try_all(&t);
    world_pass(the_life, PATIENCE_MS);
    note_error(out);
    judge_trial(&t, out);
    out->ended = true;
}

static void tell_finding(void *context, const char *line) { printf("  check: %s\n", line); }

void flips_check(const char *folder, struct flip_report *out)
{
    struct store_options options = {
        .path = folder, .map_size = (size_t)64 << 20, .read_only = true};
    struct check_result result = {0};
    struct store *s;
    err_t e = store_open(&options, &s);

    if (e == OK) e = check_store(s, tell_finding, NULL, &result);
    out->clean = e == OK && check_is_clean(&result);
    out->checked = true;
}

/* ---- the recorded life ---- */

/* The answers of a server that finds the file as it was left. */
static void learn_in_child(void)
{
    int status;
    pid_t child;

    asks = mmap(NULL, sizeof *asks, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    fflush(stdout);
    child = fork();
    if (child == 0) {
        open_server();
        learn_answers();
        _exit(0);
    }
    if (waitpid(child, &status, 0) != child || status != 0)
        need(fail(SYSTEM, "status %d", status), "the recorded answers");
}

void flips_record(uint64_t seed, struct slice *out)
{
    struct town *w = the_life = xcalloc(sizeof *w);

    crypto_start();
    tools_start();
    world_begin(w, seed, false);
    w->storm = false;
    need(mcp_open(&w->server, &mcp_offer, &w->server.mcp), "MCP");
    take_key(w->folder);
    traffic_settle_in(w);
    make_sessions();
    subscribe();
    make_claims();
    live_a_while(w);
    if (w->violations) exit(2);
    die_for_good(w);
    read_whole(w->folder, out);
    learn_rows(w->folder);
    learn_in_child();
}

void flips_forget(void) { house_remove_folder(the_life); }
