/* Callers of a world: agents that use the tools of server/api at any worker, as two doors would.
 * Some give an idempotency key and use it again: while the first call runs, after its answer, and
 * above all after a crash that left them without one. Two of them follow the event log by calls.
 *
 * What is promised to them is held against every answer at once, and against what is stored and
 * what arrived in the end (world_judge.c). */
#include "server/api/call.h"
#include "server/api/json.h"
#include "server/api/tools.h"
#include "server/upkeep.h"
#include "tests/flow/world.h"

enum {
    PROMISES_MAX = 400,
    /* A claim is kept for 24 hours of the server's clock, which jumps here. */
    KEY_GOOD_MS = 20 * 3600 * 1000,
};

struct answer {
    err_t error;
};

/* One call under way; the caller of one that is lost never hears of it. */
struct request {
    struct list node;
    struct town *world;
    struct call *call;       /* NULL: it was told that time is up */
    uint64_t id;             /* then it may still travel, under this */
    struct promise *promise; /* of send_message, NULL */
    struct agent *agent;     /* whose question this is, NULL */
    struct answer *answer;   /* who waits for it, NULL */
    bool waits;              /* for an event: ends by itself */
};

/* ---- answers ---- */

static void expect_same(struct town *w, struct promise *p, const char *message, bool pending)
{
    if (p->message[0] && strcmp(p->message, message) != 0)
        violated(w, "'%s' was answered %s and then %s", p->text, p->message, message);
    if (p->answered_sent && pending)
        violated(w, "'%s' was answered as sent and then as pending", p->text);
    snprintf(p->message, sizeof p->message, "%s", message);
    p->answered_sent |= !pending;
}

/* An answer that cannot be given in time is none; all others that follow one must agree with it. */
static bool may_follow(const struct promise *p, err_t e)
{
    if (!p->message[0] || p->deleted) return true;
    if (e == ERR_QUERY_TIMEOUT || e == ERR_STOPPING) return true;
    return !p->answered_sent && e != ERR_NOT_PAIRED && e != ERR_NOT_CONNECTED && e != ERR_TOO_BUSY;
}

static void take_promise(struct town *w, struct promise *p, struct call *c, const struct json *j)
{
    p->error = c->error;
    if (c->error == OK) {
        struct slice id = json_get_text(j, "id"), text = json_get_text(j, "text");
        if (!slice_is(text, p->text))
            violated(w, "'%s' was answered with '" SLICE_FMT "'", p->text, SLICE_ARG(text));
        struct slice chat = json_get_text(j, "chat_id");
        snprintf(w->residents[p->resident].chat, ACCOUNT_ID_MAX, SLICE_FMT, SLICE_ARG(chat));
        expect_same(w, p, (const char *)id.data, slice_is(json_get_text(j, "status"), "pending"));
    } else if (!may_follow(p, c->error)) {
        violated(w, "'%s' was answered %s and then %s", p->text, p->message, err_name(c->error));
    }
}

/* It is sent on over what was cut, and only then, and only when it is told. */
static void skip(struct town *w, struct agent *a, bool truncated, uint64_t to)
{
    if (to <= a->cursor || !truncated)
        violated(w, "an agent at %llu is sent on to %llu", (unsigned long long)a->cursor,
                 (unsigned long long)to);
    log_gap(w, "an agent", a->cursor + 1, to, a->cut);
    a->cursor = to;
    plan_met("told_truncated");
}

/* What follows the log sees every number, one behind the other, but for gaps that are told. */
static void take_events(struct town *w, struct agent *a, const struct json *j)
{
    const struct json *events = json_get(j, "events");
    uint64_t from = a->cursor, told = 0;
    bool truncated = false;
    int64_t seq;

    if (!json_bool(json_get(j, "truncated"), &truncated) || (!truncated && from < a->cut))
        violated(w, "an agent at %llu is told of no gap", (unsigned long long)from);
    for (size_t i = 0; i < json_count(events); i++, told++) {
        if (!json_int(json_get(json_at(events, i), "seq"), &seq)) seq = 0;
        if ((uint64_t)seq != a->cursor + 1) skip(w, a, truncated, (uint64_t)seq - 1);
        a->cursor = (uint64_t)seq;
    }
    uint64_t next = strtoull((const char *)json_get_text(j, "next_cursor").data, NULL, 10);
    if (next != a->cursor) skip(w, a, truncated, next);
    if (truncated && a->cursor == from + told)
        violated(w, "an agent at %llu is told of a gap that is none", (unsigned long long)from);
}

static void take_answer(struct request *r, struct call *c)
{
    struct town *w = r->world;
    struct json *j = NULL;

    note(w, "call of %s ends: %s", c->tool->name, err_name(c->error));
    if (c->error == OK && json_parse(buf_slice(&c->result), SIZE_MAX, &j) != OK)
        violated(w, "%s answers what is no JSON", c->tool->name);
    mix(w, c->error == OK ? buf_slice(&c->result) : c->problem);
    if (r->promise) take_promise(w, r->promise, c, j);
    if (r->answer) r->answer->error = c->error;
    if (r->agent && c->error == OK) take_events(w, r->agent, j);
    if (c->error == OK && strcmp(c->tool->name, "subscribe_events") == 0) w->subscribed = true;
    json_free(j);
}

/* Whom nobody hears any more: the answer got lost on its way. */
static bool is_lost(const struct town *w) { return w->deaf || w->leaving; }

static void on_done(struct call *c)
{
    struct request *r = c->owner;

    bool serving = r->world->serving;

    r->world->serving = false; /* the caller reads with memory of its own */
    if (is_lost(r->world)) {
        if (r->promise) r->promise->lost++;
    } else {
        take_answer(r, c);
    }
    r->world->serving = serving;
    if (r->agent) r->agent->asking = NULL;
    list_remove(&r->node);
    if (!c->travelling) {
        free(r);
        return;
    }
    r->id = c->id;
    r->call = NULL;
    list_push(&r->world->ghosts, &r->node);
}

/* ---- asking ---- */

static void ask(struct town *w, struct request *r, const char *tool, const char *args)
{
    struct worker *home = clock_any(w);

    clock_enter(home);
    r->world = w;
    list_push(&w->requests, &r->node);
    r->call = call_new(&w->server, home, &w->who, tool_find(slice_text(tool)));
    call_take_json(r->call, slice_text(args));
    note(w, "call at %d: %s %s", worker_index(home), tool, args);
    call_start(r->call, on_done, r); /* may end, and free, r */
    clock_leave();
}

static struct request *request_new(void) { return xcalloc(sizeof(struct request)); }

static void ask_promise(struct town *w, struct promise *p)
{
    char args[400], key[64] = "";
    struct request *r = request_new();

    if (p->key[0]) snprintf(key, sizeof key, ",\"idempotency_key\":\"%s\"", p->key);
    snprintf(args, sizeof args, "{\"account_id\":\"%s\",\"to\":\"+%s\",\"text\":\"%s\"%s}",
             p->account, number_of(p->person), p->text, key);
    r->promise = p;
    p->asked++;
    ask(w, r, "send_message", args);
}

static struct promise *promise_to(struct town *w, unsigned resident, unsigned person)
{
    struct promise *p = xcalloc(sizeof *p);

    p->resident = resident;
    p->person = person;
    memcpy(p->account, w->residents[p->resident].id, sizeof p->account);
    snprintf(p->text, sizeof p->text, "out %u.", ++w->text_count);
    p->first_at = w->now + w->skew;
    list_push(&w->promises, &p->node);
    return p;
}

static struct promise *promise_new(struct town *w)
{
    unsigned resident = (unsigned)roll(w, RESIDENTS), person;

    do {
        person = (unsigned)roll(w, PEOPLE);
    } while (person == resident);
    return promise_to(w, resident, person);
}

void calls_send(struct town *w)
{
    struct promise *p = promise_new(w);

    if (chance(w, 75)) snprintf(p->key, sizeof p->key, "key %u", w->text_count);
    ask_promise(w, p);
    if (p->key[0] && chance(w, 15)) ask_promise(w, p); /* at another door, at once */
}

/* ---- again ---- */

static bool is_good(const struct town *w, const struct promise *p)
{
    int64_t age = w->now + w->skew - p->first_at;

    return p->key[0] && !p->rival && age < KEY_GOOD_MS && age > -KEY_GOOD_MS;
}

/* The newest are asked for most, those without an answer always. */
static struct promise *pick_promise(struct town *w)
{
    for (struct list *node = w->promises.prev; node != &w->promises; node = node->prev) {
        struct promise *p = LIST_ENTRY(node, struct promise, node);
        if (is_good(w, p) && chance(w, p->lost ? 90 : 25)) return p;
    }
    return NULL;
}

/* The same key for another text: whoever came first has it. */
static void ask_rival(struct town *w, const struct promise *p)
{
    struct promise *rival = promise_new(w);

    rival->resident = p->resident;
    rival->person = p->person;
    memcpy(rival->account, p->account, sizeof rival->account);
    memcpy(rival->key, p->key, sizeof rival->key);
    rival->rival = p;
    ask_promise(w, rival);
}

void calls_repeat(struct town *w)
{
    struct promise *p = pick_promise(w);

    if (!p) return;
    if (chance(w, 8))
        ask_rival(w, p);
    else
        ask_promise(w, p);
}

/* ---- other tools ---- */

static const char *known_chat(struct town *w) { return w->residents[roll(w, RESIDENTS)].chat; }

static const char *known_message(struct town *w)
{
    for (struct list *node = w->promises.prev; node != &w->promises; node = node->prev) {
        struct promise *p = LIST_ENTRY(node, struct promise, node);
        if (p->message[0] && chance(w, 30)) return p->message;
    }
    return "";
}

/* %a an account, %c a chat, %m a message. */
static const struct {
    const char *tool, *args;
    unsigned weight;
} others[] = {
    {"list_accounts", "{}", 2},
    {"get_account_status", "{\"account_id\":\"%a\"}", 2},
    {"list_chats", "{\"account_id\":\"%a\",\"limit\":3}", 3},
    {"get_chat", "{\"chat_id\":\"%c\"}", 2},
    {"list_messages", "{\"chat_id\":\"%c\",\"limit\":20}", 3},
    {"get_message", "{\"message_id\":\"%m\"}", 2},
    {"search_messages", "{\"account_id\":\"%a\",\"query\":\"in\"}", 2},
    {"mark_chat_read", "{\"chat_id\":\"%c\"}", 3},
    {"open_chat", "{\"account_id\":\"%a\",\"phone\":\"+15550007777\"}", 1},
    {"reconnect_account", "{\"account_id\":\"%a\"}", 1},
    {"subscribe_events", "{\"events\":[\"message.*\"]}", 1},
    {"list_subscriptions", "{}", 1},
};

static void fill(struct town *w, const char *pattern, struct buf *out)
{
    for (; *pattern; pattern++) {
        if (*pattern != '%') {
            buf_put_u8(out, (uint8_t)*pattern);
            continue;
        }
        switch (*++pattern) {
        case 'a': buf_put_text(out, w->residents[roll(w, RESIDENTS)].id); break;
        case 'c': buf_put_text(out, known_chat(w)); break;
        case 'm': buf_put_text(out, known_message(w)); break;
        }
    }
}

void calls_other(struct town *w)
{
    unsigned total = 0, at;
    size_t i;
    AUTO(buf) args = {0};

    for (i = 0; i < ARRAY_LEN(others); i++)
        total += others[i].weight;
    at = (unsigned)roll(w, total);
    for (i = 0; at >= others[i].weight; i++)
        at -= others[i].weight;
    fill(w, others[i].args, &args);
    ask(w, request_new(), others[i].tool, buf_text(&args));
}

void calls_subscribe(struct town *w)
{
    ask(w, request_new(), "subscribe_events", "{\"events\":[\"message.*\"]}");
}

/* ---- agents ---- */

static void cancel(struct request *r)
{
    clock_enter(r->call->home);
    call_cancel(r->call); /* frees those that only wait */
    clock_leave();
}

static void ask_next(struct town *w, struct agent *a)
{
    char args[80];
    struct request *r = request_new();
    bool waits = chance(w, 60);

    snprintf(args, sizeof args, "{\"cursor\":%llu,\"%s\":%llu}", (unsigned long long)a->cursor,
             waits ? "timeout_ms" : "limit",
             (unsigned long long)(waits ? roll(w, 15000) : 1 + roll(w, 60)));
    r->agent = a;
    r->waits = waits;
    a->asking = r;
    a->cut = w->past.cut;
    ask(w, r, waits ? "wait_for_event" : "list_events", args);
}

bool calls_rest(struct town *w)
{
    struct agent *a = &w->agents[roll(w, AGENTS)];

    a->next_at = w->now + UPKEEP_EVERY_MS + (int64_t)roll(w, 3 * UPKEEP_EVERY_MS);
    return true;
}

void calls_follow(struct town *w)
{
    for (size_t i = 0; i < AGENTS; i++) {
        struct agent *a = &w->agents[i];

        if (a->asking) {
            if (chance(w, 4)) cancel(a->asking);
            continue;
        }
        if (w->now < a->next_at) continue;
        a->next_at = w->now + (int64_t)roll(w, 4000);
        ask_next(w, a);
    }
}

/* ---- for the flows ---- */

struct promise *calls_promise(struct town *w, unsigned resident, unsigned person)
{
    struct promise *p = promise_to(w, resident, person);

    snprintf(p->key, sizeof p->key, "key %u", w->text_count);
    return p;
}

static struct request *asking(struct town *w, const struct promise *p, const struct answer *a)
{
    LIST_EACH(node, &w->requests)
    {
        struct request *r = LIST_ENTRY(node, struct request, node);
        if ((p && r->promise == p) || (a && r->answer == a)) return r;
    }
    return NULL;
}

/* Every call ends by itself. */
static void await(struct town *w, const struct promise *p, const struct answer *a)
{
    enum { LONGEST_MS = 2 * CALL_MS, STEP_MS = 200 };
    struct request *r = NULL;

    for (int64_t ms = 0; ms < LONGEST_MS && (r = asking(w, p, a)); ms += STEP_MS)
        world_pass(w, STEP_MS);
    if (!r) return;
    r->answer = NULL;
    violated(w, "a call does not end");
}

void calls_ask(struct town *w, struct promise *p)
{
    ask_promise(w, p);
    await(w, p, NULL);
    world_pass(w, 2000);
}

err_t calls_use(struct town *w, const char *tool, const char *args)
{
    struct answer answer = {.error = ERR_STOPPING};
    struct request *r = request_new();

    r->answer = &answer;
    ask(w, r, tool, args);
    await(w, NULL, &answer);
    return answer.error;
}

/* ---- ends ---- */

bool calls_are_over(struct town *w)
{
    LIST_EACH(node, &w->requests)
    if (!LIST_ENTRY(node, struct request, node)->waits) return false;
    for (size_t i = 0; i < AGENTS; i++)
        if (w->agents[i].cursor != w->last_seq) return false;
    return true;
}

void calls_deleted(struct town *w, unsigned resident)
{
    LIST_EACH(node, &w->promises)
    {
        struct promise *p = LIST_ENTRY(node, struct promise, node);
        p->deleted |= p->resident == resident;
    }
}

void calls_cut(struct town *w)
{
    struct list *node = w->requests.next;

    while (node != &w->requests) {
        struct request *r = LIST_ENTRY(node, struct request, node);
        node = node->next;
        cancel(r);
    }
}

static void bury_ghosts(struct town *w)
{
    for (struct list *node; (node = list_pop(&w->ghosts));) {
        struct request *r = LIST_ENTRY(node, struct request, node);
        struct call *c = call_find(NULL, r->id);

        if (c) list_remove(&c->link);
        if (c) call_free(c);
        free(r);
    }
}

void calls_bury(struct town *w)
{
    struct list *node;

    bury_ghosts(w);
    while ((node = list_pop(&w->requests))) {
        struct request *r = LIST_ENTRY(node, struct request, node);
        if (r->promise) r->promise->lost++;
        if (r->agent) r->agent->asking = NULL;
        list_remove(&r->call->link);
        call_free(r->call);
        free(r);
    }
}

void calls_init(struct town *w)
{
    list_init(&w->requests);
    list_init(&w->ghosts);
    list_init(&w->promises);
}

void calls_done(struct town *w)
{
    for (struct list *node; (node = list_pop(&w->promises));)
        free(LIST_ENTRY(node, struct promise, node));
}
