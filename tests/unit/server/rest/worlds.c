/* A key's world is closed: for each row of the tool table, with each argument that can name
 * something, what a key of one world gives of the other world's is neither found, shown nor
 * changed, as a call and through its route. */
#include "tests/unit/server/rest/door.h"

#define SHARED_WORD "common"
static const char anna[] = "15551110001@s.whatsapp.net";
static const char anna_phone[] = "+15551110001";

/* What a key of one world has. */
struct side {
    const struct principal *who;
    const char *headers, *mark; /* in the text of its message */
    struct account *account;
    char chat[ID_TEXT_MAX], message[ID_TEXT_MAX], subscription[ID_TEXT_MAX];
};
static struct side sides[2]; /* live, test */

static void furnish(struct side *s, bool sandbox)
{
    char text[80];

    s->who = sandbox ? &H.test : &H.live;
    s->headers = sandbox ? door_test : door_live;
    s->mark = sandbox ? "secretoftest" : "secretoflive";
    s->account = add_account(sandbox, ACCOUNT_CONNECTED);
    snprintf(text, sizeof text, SHARED_WORD " %s", s->mark);
    receive(s->account, anna, false, 1000, text, s->message, s->chat);
    receive(s->account, "15551110002@s.whatsapp.net", false, 1001, text, (char[ID_TEXT_MAX]){0},
            (char[ID_TEXT_MAX]){0});
    log_event(s->account, EVENT_ACCOUNT_CONNECTED, 0);
    struct answer a = use(s->who, "subscribe_events", "{\"events\":[\"*\"]}");
    snprintf(s->subscription, sizeof s->subscription, "%s", member(&a, "id"));
    cr_assert(s->subscription[0]);
    answer_done(&a);
}

static void begin(void)
{
    door_setup();
    for (int i = 0; i < 2; i++)
        furnish(&sides[i], i == 1);
}

static void end(void)
{
    door_teardown();
    door_is_closed = false;
    H = (struct house){0};
}

/* Everything of the account that is stored or known. */
static uint64_t state_of(const struct side *s)
{
    struct key prefix = key_of_scope(s->account->scope);
    uint64_t sum = map_hash(slice_of(&s->account->status, sizeof s->account->status));
    struct account_status shown = {0};
    AUTO(range) r = {0};

    cr_assert(directory_status(H.server.directory, slice_text(s->account->status.id), &shown),
              "the account of the other world is gone");
    sum = sum * 31 + map_hash(slice_of(&shown, sizeof shown));
    CHECK_OK(view_begin(H.f.view));
    range_prefix(&r, H.f.view, DB_data, key_slice(&prefix), RANGE_FORWARDS);
    while (range_next(&r))
        sum = (sum * 31 + map_hash(r.key)) * 31 + map_hash(r.value);
    CHECK_OK(range_error(&r));
    range_done(&r);
    view_end(H.f.view);
    struct answer a = use(s->who, "list_subscriptions", "{}");
    cr_assert_eq(json_count(json_get(a.json, "subscriptions")), 1);
    answer_done(&a);
    return sum;
}

/* ---- one call ---- */

static bool names_something(const struct arg *a)
{
    return a->type == ARG_ACCOUNT || a->type == ARG_CHAT || a->type == ARG_MESSAGE ||
           a->type == ARG_MESSAGE_OR_TIME || a->type == ARG_SUBSCRIPTION;
}

static const char *value_of(const struct arg *a, const struct side *s)
{
    switch (a->type) {
    case ARG_ACCOUNT: return s->account->status.id;
    case ARG_CHAT: return s->chat;
    case ARG_MESSAGE:
    case ARG_MESSAGE_OR_TIME: return s->message;
    case ARG_SUBSCRIPTION: return s->subscription;
    case ARG_PHONE: return anna_phone;
    default: return SHARED_WORD;
    }
}

/* `foreign` (NULL: none) is of the other side. What is optional is left out unless it is that, or
 * what it does not go without: the chat of a message, whom the account writes to. */
static bool is_given(const struct arg *a, const struct arg *foreign)
{
    bool in_chat = foreign && foreign->type == ARG_MESSAGE && a->type == ARG_CHAT;
    bool to_whom = foreign && foreign->type == ARG_ACCOUNT && a->type == ARG_PHONE;

    return a->required || a == foreign || in_chat || to_whom || strcmp(a->name, "timeout_ms") == 0;
}

struct request_text {
    char path[300], query[600], json[600];
};

static void add(struct request_text *t, const struct arg *a, const char *value)
{
    char hole[64], *at, rest[200], json[200];
    bool is_list = a->type == ARG_EVENTS, is_number = a->type == ARG_INT;
    size_t n = strlen(t->query), m = strlen(t->json);

    snprintf(json, sizeof json, is_list ? "[\"*\"]" : is_number ? "0" : "\"%s\"", value);
    snprintf(t->json + m, sizeof t->json - m, "%s\"%s\":%s", m > 1 ? "," : "", a->name, json);
    snprintf(hole, sizeof hole, "{%s}", a->name);
    if ((at = strstr(t->path, hole))) {
        snprintf(rest, sizeof rest, "%s", at + strlen(hole));
        snprintf(at, sizeof t->path - (size_t)(at - t->path), "%s%s", value, rest);
    } else {
        snprintf(t->query + n, sizeof t->query - n, "%c%s=%s", n ? '&' : '?', a->name,
                 is_list         ? "*"
                 : is_number     ? "0"
                 : *value == '+' ? anna_phone + 1
                                 : value);
    }
}

static void write_call(const struct tool *tool, const struct arg *foreign, const struct side *own,
                       const struct side *other, struct request_text *out)
{
    const struct arg *a;

    *out = (struct request_text){.json = "{"};
    snprintf(out->path, sizeof out->path, "%s", tool->path);
    for (size_t i = 0; (a = tool_arg(tool, i)); i++)
        if (is_given(a, foreign)) add(out, a, value_of(a, a == foreign ? other : own));
    strcat(out->json, "}");
}

static struct reply *ask_route(const struct tool *tool, const struct side *own,
                               const struct request_text *t)
{
    bool has_body = strcmp(tool->method, "POST") == 0;
    char line[1000], headers[400];

    snprintf(line, sizeof line, "%s %s%s", tool->method, t->path, has_body ? "" : t->query);
    snprintf(headers, sizeof headers, "%s%s", own->headers,
             has_body ? "Content-Type: application/json\r\n" : "");
    return ask(line, headers, has_body ? t->json : NULL);
}

/* ---- the table ---- */

struct asked {
    struct request_text t;
    struct reply *r;
    const struct side *own, *other;
    uint64_t before; /* of the other world */
};

/* As `side`, with `arg` its own or that of the other one, of which nothing may be told. */
static void ask_as(struct asked *a, const struct tool *tool, const struct arg *arg, int side,
                   bool foreign)
{
    a->own = &sides[side];
    a->other = &sides[!side];
    a->before = state_of(a->other);
    write_call(tool, arg, a->own, foreign ? a->other : a->own, &a->t);
    a->r = ask_route(tool, a->own, &a->t);
    cr_expect_null(strstr(a->r->body, a->other->mark), "%s: %s", tool->name, a->r->body);
    cr_expect_null(strstr(a->r->body, a->other->account->status.phone), "%s: %s", tool->name,
                   a->r->body);
}

/* Own things are found: else the rest of the test would show nothing. */
static void check_own(const struct tool *tool, const struct arg *named, int side)
{
    struct asked a;

    begin();
    ask_as(&a, tool, named, side, false);
    if (named || !strstr(a.t.path, "/messages") || tool->method[0] == 'G')
        cr_expect(a.r->status >= 200 && a.r->status < 300, "%s %s: %s", tool->name, a.t.json,
                  a.r->body);
    cr_expect_null(strstr(a.r->body, a.other->account->status.id), "%s: %s", tool->name, a.r->body);
    cr_expect_eq(state_of(a.other), a.before, "%s changed the other world", tool->name);
    end();
}

static void check_foreign(const struct tool *tool, const struct arg *foreign, int side)
{
    struct asked a;

    begin();
    ask_as(&a, tool, foreign, side, true);
    cr_expect(a.r->status >= 400 && a.r->status < 500, "%s %s: %s", tool->name, a.t.json,
              a.r->text);
    struct answer called = use(a.own->who, tool->name, a.t.json);
    cr_expect_neq(called.error, OK, "%s %s", tool->name, a.t.json);
    answer_done(&called);
    cr_expect_eq(state_of(a.other), a.before, "%s changed the other world", tool->name);
    cr_expect_eq(H.sends, 0, "%s sent", tool->name);
    end();
}

static void check_tool(const char *name, int side)
{
    const struct arg *a;
    const struct tool *tool = tool_find(slice_text(name));

    check_own(tool, NULL, side);
    for (size_t i = 0; (a = tool_arg(tool, i)); i++) {
        if (!names_something(a)) continue;
        check_own(tool, a, side);
        check_foreign(tool, a, side);
    }
}

static void check_all(int side)
{
    const struct tool *tool;
    unsigned n = 0;

    for (size_t i = 0; (tool = tool_at(i)); i++, n++)
        check_tool(tool->name, side);
    cr_expect_gt(n, 10u);
}

Test(worlds, a_live_key_has_no_hold_on_the_test_world) { check_all(0); }
Test(worlds, a_test_key_has_no_hold_on_the_live_world) { check_all(1); }
