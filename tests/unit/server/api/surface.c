/* No name that is implemented differs from tests/surface.json. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "server/api/edge.h"
#include "server/api/json.h"
#include "server/api/schema.h"
#include "server/account/account.h"
#include "server/events/event.h"

static struct json *surface;

static void setup(void)
{
    AUTO(buf) text = {0};
    FILE *f = fopen(TESTS_DIR "/surface.json", "rb");

    cr_assert(f);
    for (int c; (c = fgetc(f)) != EOF;)
        buf_put_u8(&text, (uint8_t)c);
    fclose(f);
    cr_assert_eq(json_parse(buf_slice(&text), 1 << 20, &surface), OK);
}
static void teardown(void) { json_free(surface); }
TestSuite(surface, .init = setup, .fini = teardown);

static const char *category(const struct tool *t)
{
    return t->category == RIGHT_READ ? "read" : t->category == RIGHT_WRITE ? "write" : "delete";
}

Test(surface, tools_have_their_names_and_categories)
{
    const struct json *native = json_get(json_get(surface, "toolsets"), "native");
    const struct tool *t;

    for (size_t i = 0; (t = tool_at(i)); i++) {
        struct slice want = json_get_text(json_get(native, "tools"), t->name);
        if (slice_is_none(want)) want = json_get_text(json_get(native, "beyond_the_seed"), t->name);
        cr_assert(!slice_is_none(want), "%s is not in the surface", t->name);
        cr_assert(slice_is(want, category(t)), "%s is %s", t->name, category(t));
    }
}

Test(surface, tools_of_this_version_are_all_there)
{
    static const char *const now[] = {
        "pair_account",       "list_accounts",  "get_account",      "get_account_status",
        "reconnect_account",  "logout_account", "delete_account",   "list_chats",
        "get_chat",           "list_messages",  "open_chat",        "send_message",
        "get_message",        "mark_chat_read", "subscribe_events", "unsubscribe_events",
        "list_subscriptions", "list_events",    "wait_for_event",   "search_messages"};

    for (size_t i = 0; i < ARRAY_LEN(now); i++)
        cr_assert(tool_find(slice_text(now[i])), "%s", now[i]);
    cr_assert_null(tool_at(ARRAY_LEN(now)));
}

Test(surface, events_are_the_same_in_the_same_order)
{
    const struct json *events = json_get(surface, "events");

    cr_assert_eq(json_count(events), EVENT_COUNT);
    for (unsigned k = 0; k < EVENT_COUNT; k++)
        cr_assert(slice_is(json_text(json_at(events, k)), event_name(k)), "%s", event_name(k));
}

Test(surface, every_error_has_a_public_code_with_its_status)
{
    const struct json *errors = json_get(surface, "errors");

    for (err_t e = OK + 1; e < ERR_COUNT; e++) {
        const struct edge *edge = edge_of(e);
        int64_t status = 0;
        cr_assert(json_int(json_get(errors, edge->code), &status), "%s: %s", err_name(e),
                  edge->code);
        cr_assert_eq(status, edge->status, "%s: %s", err_name(e), edge->code);
    }
}

Test(surface, account_states_are_the_same)
{
    const struct json *states = json_get(surface, "account_status");

    cr_assert_eq(json_count(states), ACCOUNT_LOGGED_OUT + 1);
    for (unsigned s = 0; s <= ACCOUNT_LOGGED_OUT; s++)
        cr_assert(slice_is(json_text(json_at(states, s)), account_state_text(s)));
}

Test(surface, pages_have_the_promised_limits)
{
    const struct json *limits = json_get(surface, "limits");
    const struct tool *t;
    const struct arg *a;
    int64_t max = 0;

    cr_assert(json_int(json_get(limits, "page_max"), &max));
    for (size_t i = 0; (t = tool_at(i)); i++)
        for (size_t k = 0; (a = tool_arg(t, k)); k++)
            if (strcmp(a->name, "limit") == 0) cr_assert_eq(a->max, max, "%s", t->name);
}
