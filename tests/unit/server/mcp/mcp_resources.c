#include <sys/mman.h>
#include <sys/stat.h>

#include "storage/events.h"
#include "storage/record.h"
#include "tests/unit/server/mcp/agent.h"

TestSuite(mcp_resources, .init = agent_setup, .fini = agent_teardown);

static const char anna[] = "15551110001@s.whatsapp.net";

/* The text of resources/read, as JSON; valid until the next. */
static const struct json *read_uri(const char *uri)
{
    static struct json *text;
    char params[300];
    const struct json *result, *content;

    snprintf(params, sizeof(params), "{\"uri\":\"%s\"}", uri);
    result = answer_to("resources/read", params);
    content = json_at(json_get(result, "contents"), 0);
    cr_assert_str_eq(text_at(content, "uri"), uri);
    cr_assert_str_eq(text_at(content, "mimeType"), "application/json");
    json_free(text);
    text = NULL;
    cr_assert_eq(json_parse(json_get_text(content, "text"), 1 << 20, &text), OK, "%s", uri);
    return text;
}

Test(mcp_resources, the_list_has_accounts_of_this_world)
{
    struct account *ours = add_account(true, ACCOUNT_CONNECTED);
    const struct json *list;
    char uri[100];

    add_account(false, ACCOUNT_CONNECTED);
    open_session();
    list = json_get(answer_to("resources/list", "{}"), "resources");
    cr_assert_eq(json_count(list), 3);
    snprintf(uri, sizeof(uri), "whatsapp://accounts/%s", ours->status.id);
    cr_assert_str_eq(text_at(json_at(list, 0), "uri"), "whatsapp://events");
    cr_assert_str_eq(text_at(json_at(list, 1), "uri"), "whatsapp://accounts");
    cr_assert_str_eq(text_at(json_at(list, 2), "uri"), uri);
    cr_assert_eq(
        json_count(json_get(answer_to("resources/templates/list", "{}"), "resourceTemplates")), 4);
}

Test(mcp_resources, reading_gives_what_tools_give)
{
    struct account *acc = add_account(true, ACCOUNT_CONNECTED);
    struct account *other = add_account(false, ACCOUNT_CONNECTED);
    char m[ID_TEXT_MAX], c[ID_TEXT_MAX], uri[200];
    const struct json *j;

    receive(acc, anna, false, 100, "one", m, c);
    receive(acc, anna, false, 101, "two", m, c);
    open_session();
    cr_assert_eq(json_count(json_get(read_uri("whatsapp://accounts"), "accounts")), 1);
    snprintf(uri, sizeof(uri), "whatsapp://accounts/%s", acc->status.id);
    cr_assert_str_eq(text_at(read_uri(uri), "status"), "connected");
    snprintf(uri, sizeof(uri), "whatsapp://chats/%s", c);
    j = read_uri(uri);
    cr_assert_str_eq(text_at(json_get(j, "chat"), "id"), c);
    cr_assert_eq(json_count(json_get(j, "messages")), 2);
    snprintf(uri, sizeof(uri), "{\"uri\":\"whatsapp://accounts/%s\"}", other->status.id);
    cr_assert_eq(code_of(answer_to("resources/read", uri)), RPC_NO_RESOURCE);
    cr_assert_eq(code_of(answer_to("resources/subscribe", uri)), RPC_NO_RESOURCE);
    receive(other, anna, false, 100, "not for the test key", m, c);
    snprintf(uri, sizeof(uri), "{\"uri\":\"whatsapp://chats/%s\"}", c);
    cr_assert_eq(code_of(answer_to("resources/read", uri)), RPC_NO_RESOURCE);
    cr_assert_eq(code_of(answer_to("resources/subscribe", uri)), RPC_NO_RESOURCE);
}

Test(mcp_resources, events_are_the_newest_that_match)
{
    struct account *acc = add_account(true, ACCOUNT_CONNECTED);
    struct account *other = add_account(false, ACCOUNT_CONNECTED);
    const struct json *j, *events;
    char uri[200];
    int64_t seq;

    for (int i = 0; i < 60; i++)
        log_event(acc, EVENT_MESSAGE_RECEIVED, 0);
    log_event(acc, EVENT_MESSAGE_SENT, 0);
    log_event(other, EVENT_MESSAGE_SENT, 0);
    open_session();
    j = read_uri("whatsapp://events");
    events = json_get(j, "events");
    cr_assert_eq(json_count(events), 50);
    cr_assert(json_int(json_get(json_at(events, 0), "seq"), &seq) && seq == 12);
    cr_assert(json_int(json_get(json_at(events, 49), "seq"), &seq) && seq == 61);
    cr_assert_str_eq(text_at(j, "next_cursor"), "62");
    events = json_get(read_uri("whatsapp://events/message.sent"), "events");
    cr_assert_eq(json_count(events), 1);
    snprintf(uri, sizeof(uri), "whatsapp://accounts/%s/events", acc->status.id);
    cr_assert_eq(json_count(json_get(read_uri(uri), "events")), 50);
}

static void log_of_another_account(void)
{
    struct event_head head = {.account = 2, .type = 1, .world = 1, .at_ms = 1};
    struct batch b;

    batch_init(&b);
    batch_event(&b, 1, &head, SLICE("{\"event\":\"spoiled\"}"));
    CHECK_OK(writer_commit(H.f.writer, &b));
    batch_done(&b);
}

/* The log is everybody's: one damaged event of it is missing, and told. */
Test(mcp_resources, a_damaged_event_is_told_and_hides_no_other)
{
    struct account *acc = add_account(true, ACCOUNT_CONNECTED);
    const struct json *j;
    bool truncated;
    char uri[200];

    log_event(acc, EVENT_MESSAGE_SENT, 0);
    log_of_another_account();
    open_session();
    snprintf(uri, sizeof(uri), "whatsapp://accounts/%s/events", acc->status.id);
    j = read_uri(uri);
    cr_assert(json_bool(json_get(j, "truncated"), &truncated) && !truncated);
    fixture_flip(&H.f, "spoiled");
    j = read_uri(uri);
    cr_assert_eq(json_count(json_get(j, "events")), 1);
    cr_assert_str_eq(text_at(j, "next_cursor"), "2");
    cr_assert(json_bool(json_get(j, "truncated"), &truncated) && truncated);
}

/* Flips a bit of the key of the event whose JSON begins with `json`, wherever the file holds it: it
 * looks like one of another tenant. */
static void flip_key_of(uint64_t seq, const char *json)
{
    struct key key = event_key(1, seq);
    size_t ahead = key.len + RECORD_HEAD + EVENT_HEAD, found = 0;
    char path[300];
    struct stat st;

    snprintf(path, sizeof(path), "%s/data.mdb", H.f.path);
    int fd = open(path, O_RDWR);
    cr_assert(fd >= 0 && fstat(fd, &st) == 0);
    uint8_t *file = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    uint8_t *end = file + st.st_size, *at = file + ahead;
    for (; (at = memmem(at, (size_t)(end - at), json, strlen(json))); at++) {
        if (memcmp(at - ahead, key.data, key.len) != 0) continue;
        at[-(ptrdiff_t)ahead] ^= 0x01;
        found++;
    }
    cr_assert_gt(found, 0u);
    munmap(file, (size_t)st.st_size);
    close(fd);
}

Test(mcp_resources, an_event_whose_key_is_damaged_is_told_and_hides_no_other)
{
    struct account *acc = add_account(true, ACCOUNT_CONNECTED);
    const struct json *j;
    bool truncated;

    log_event(acc, EVENT_MESSAGE_SENT, 0);
    log_of_another_account();
    for (int i = 0; i < 9; i++)
        log_event(acc, EVENT_MESSAGE_SENT, 0);
    open_session();
    flip_key_of(2, "{\"event\":\"spoiled\"}");
    j = read_uri("whatsapp://events");
    cr_assert_eq(json_count(json_get(j, "events")), 10);
    cr_assert_str_eq(text_at(j, "next_cursor"), "11");
    cr_assert(json_bool(json_get(j, "truncated"), &truncated) && truncated);
}

static bool is_truncated_without(uint64_t seq)
{
    struct key key = event_key(1, seq);
    bool truncated;
    struct batch b;

    batch_init(&b);
    batch_delete(&b, DB_events, key_slice(&key));
    CHECK_OK(writer_commit(H.f.writer, &b));
    batch_done(&b);
    cr_assert(json_bool(json_get(read_uri("whatsapp://events"), "truncated"), &truncated));
    return truncated;
}

/* The oldest, one in between, the newest; there is no seventh. */
Test(mcp_resources, events_that_damage_hides_are_told)
{
    static const uint64_t hidden[] = {1, 3, 6};

    open_session();
    cr_expect(!is_truncated_without(7), "an empty log");
    for (size_t i = 0; i < 3; i++) {
        struct account *acc = add_account(true, ACCOUNT_CONNECTED);
        for (int n = 0; n < 6; n++)
            log_event(acc, EVENT_MESSAGE_SENT, 0);
        cr_expect(!is_truncated_without(7 + 6 * i));
        cr_expect(is_truncated_without(6 * i + hidden[i]), "%zu", i);
        trim_log(6 * (i + 1));
    }
}
