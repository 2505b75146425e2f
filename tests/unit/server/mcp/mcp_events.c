#include <stdlib.h>

#include "server/mcp/mcp_events.h"
#include "server/mcp/mcp_session.h"
#include "storage/batch.h"

#include <criterion/criterion.h>

#include "server/api/json.h"

Test(mcp_events, uris_name_what_they_watch)
{
    static const struct {
        const char *uri;
        enum mcp_uri_kind kind;
        const char *name;
    } rows[] = {
        {"whatsapp://events", MCP_URI_EVENTS, NULL},
        {"whatsapp://events/message.received", MCP_URI_EVENT, "message.received"},
        {"whatsapp://accounts", MCP_URI_ACCOUNTS, NULL},
        {"whatsapp://accounts/acc_1", MCP_URI_ACCOUNT, "acc_1"},
        {"whatsapp://accounts/acc_1/events", MCP_URI_ACCOUNT_EVENTS, "acc_1"},
        {"whatsapp://chats/chat_1", MCP_URI_CHAT, "chat_1"},
        {"whatsapp://chats/", MCP_URI_NONE, NULL},
        {"whatsapp://chats", MCP_URI_NONE, NULL},
        {"whatsapp://events/", MCP_URI_NONE, NULL},
        {"whatsapp://events/a/b", MCP_URI_NONE, NULL},
        {"whatsapp://accounts/", MCP_URI_NONE, NULL},
        {"whatsapp://accounts//events", MCP_URI_NONE, NULL},
        {"whatsapp://accounts/acc_1/chats", MCP_URI_NONE, NULL},
        {"WhatsApp://events", MCP_URI_NONE, NULL},
        {"file:///etc/passwd", MCP_URI_NONE, NULL},
        {"", MCP_URI_NONE, NULL},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct mcp_uri u = mcp_uri_parse(slice_text(rows[i].uri));
        cr_assert_eq(u.kind, rows[i].kind, "%s", rows[i].uri);
        cr_assert(slice_eq(u.name, slice_text(rows[i].name)), "%s", rows[i].uri);
    }
}

Test(mcp_events, kinds_follow_from_the_uri)
{
    struct event_filter f;

    cr_assert(mcp_uri_kinds(SLICE("whatsapp://events"), &f));
    cr_assert_eq(f.kinds, 0);
    cr_assert(mcp_uri_kinds(SLICE("whatsapp://events/message.received"), &f));
    cr_assert_eq(f.kinds, 1ull << EVENT_MESSAGE_RECEIVED);
    cr_assert(mcp_uri_kinds(SLICE("whatsapp://events/account.*"), &f));
    cr_assert_eq(f.kinds, 1ull << EVENT_ACCOUNT_PAIRED | 1ull << EVENT_ACCOUNT_CONNECTED |
                              1ull << EVENT_ACCOUNT_DISCONNECTED | 1ull << EVENT_ACCOUNT_UNPAIRED);
    cr_assert_not(mcp_uri_kinds(SLICE("whatsapp://events/nothing"), &f));
    cr_assert_not(mcp_uri_kinds(SLICE("whatsapp://events/message.sent,message.read"), &f));
    cr_assert_not(mcp_uri_kinds(SLICE("whatsapp://nothing"), &f));
}

Test(mcp_events, event_ids_are_the_stream_and_the_number_in_base_36)
{
    static const uint64_t numbers[] = {0, 1, 35, 36, 101, 4294967296, 4738381338321616895};
    static const char *const bad[] = {
        "", "g", "g-", "2t", "g-2T", "g-2t ", "p-2t", "g--1", "g-1234567890123", "g-2t\n"};
    uint64_t seq;

    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        AUTO(buf) id = {0};
        mcp_event_id(&id, numbers[i]);
        cr_assert_leq(id.len, 24);
        cr_assert(mcp_event_id_parse(buf_slice(&id), &seq));
        cr_assert_eq(seq, numbers[i]);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        cr_assert_not(mcp_event_id_parse(slice_text(bad[i]), &seq), "%s", bad[i]);
}

Test(mcp_events, positions_of_kept_answers)
{
    static const char *const bad[] = {"p",     "p-",     "p1",   "p1-",      "p-1",
                                      "p1.-1", "p1.x-1", "g1-1", "p1.12-1.", "pA-1"};
    struct kept_position at;
    AUTO(buf) id = {0};

    kept_print(&id, 77, SLICE("12"), 3);
    cr_assert_str_eq(buf_text(&id), "p25.12-3");
    cr_assert(kept_parse(buf_slice(&id), &at));
    cr_assert(at.kept == 77 && at.frame == 3 && slice_is(at.rpc_id, "12"));
    buf_reset(&id);
    kept_print(&id, 77, SLICE_NONE, 0);
    cr_assert(kept_parse(buf_slice(&id), &at));
    cr_assert(slice_is_none(at.rpc_id));
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        cr_assert_not(kept_parse(slice_text(bad[i]), &at), "%s", bad[i]);
}

/* ---- frames: one line of data, and JSON in it ---- */

static const char event_text[] =
    "{\"event\":\"message.received\",\"event_id\":\"evt_1\",\"occurred_at\":\"t1\",\"data\":{}}";

static struct json *data_of(struct buf *frame, const char *id)
{
    const char *text = buf_text(frame), *data = strstr(text, "data: ");
    struct json *j;

    if (id)
        cr_assert(strncmp(text, id, strlen(id)) == 0, "%s", text);
    else
        cr_assert(strncmp(text, "event: message\n", 15) == 0, "%s", text);
    cr_assert(data && strcmp(text + strlen(text) - 2, "\n\n") == 0, "%s", text);
    cr_assert_eq(strchr(data, '\n'), text + strlen(text) - 2);
    cr_assert_eq(json_parse(slice_text(data + 6), 1 << 20, &j), OK, "%s", text);
    return j;
}

Test(mcp_events, frames_carry_the_event_whole)
{
    struct event_head head = {.type = 1};
    struct hub_event e = {.tenant = 1, .seq = 101, .head = &head, .bytes = slice_text(event_text)};
    static void (*const builders[])(struct hub_event *, struct buf *) = {
        mcp_frame_log, mcp_frame_vendor, mcp_frame_all_events};
    static const char *const methods[] = {"notifications/message", "notifications/events/event",
                                          "notifications/resources/updated"};

    for (size_t i = 0; i < ARRAY_LEN(builders); i++) {
        AUTO(buf) frame = {0};
        builders[i](&e, &frame);
        struct json *j = data_of(&frame, "id: g-2t\nevent: message\n");
        const struct json *p = json_get(j, "params"), *event;
        cr_assert(slice_is(json_get_text(j, "method"), methods[i]));
        event = i == 2 ? json_get(json_get(p, "_meta"), MCP_META_EVENT) : json_get(p, "data");
        int64_t seq = 0;
        cr_assert(json_int(json_get(event, "seq"), &seq) && seq == 101);
        cr_assert(slice_is(json_get_text(event, "event_id"), "evt_1"));
        if (i == 0) cr_assert(slice_is(json_get_text(p, "level"), "info"));
        if (i == 1) {
            cr_assert(slice_is(json_get_text(p, "eventId"), "evt_1"));
            cr_assert(slice_is(json_get_text(p, "name"), "message.received"));
            cr_assert(slice_is(json_get_text(p, "timestamp"), "t1"));
            cr_assert(slice_is(json_get_text(p, "cursor"), "101"));
        }
        if (i == 2) cr_assert(slice_is(json_get_text(p, "uri"), "whatsapp://events"));
        json_free(j);
    }
    free(e.json_);
}

Test(mcp_events, frames_of_listen_have_no_id_and_end_with_the_subscription)
{
    struct event_head head = {.type = 1};
    struct hub_event e = {.tenant = 1, .seq = 101, .head = &head, .bytes = slice_text(event_text)};
    AUTO(buf) a = {0}, b = {0}, c = {0};
    struct json *j;

    mcp_frame_listen(&e, SLICE("whatsapp://chats/x"), SLICE("1"), &a);
    j = data_of(&a, NULL);
    int64_t id = 0;
    const struct json *meta = json_get(json_get(j, "params"), "_meta");
    cr_assert(json_int(json_get(meta, "io.modelcontextprotocol/subscriptionId"), &id) && id == 1);
    cr_assert(json_get(meta, MCP_META_EVENT));
    json_free(j);
    mcp_frame_changed(&b, SLICE("whatsapp://accounts/x"), SLICE("\"s\""));
    j = data_of(&b, NULL);
    meta = json_get(json_get(j, "params"), "_meta");
    cr_assert(slice_is(json_get_text(meta, "io.modelcontextprotocol/subscriptionId"), "s"));
    json_free(j);
    mcp_frame_gap_listen(&c, SLICE("whatsapp://events"), SLICE("1"), 3, 9);
    j = data_of(&c, NULL);
    meta = json_get(json_get(j, "params"), "_meta");
    cr_assert(json_int(json_get(json_get(meta, MCP_META_GAP), "last"), &id) && id == 9);
    json_free(j);
    free(e.json_);
}

Test(mcp_events, what_is_not_stored_has_no_id)
{
    struct event_head head = {.type = 16};
    struct hub_event e = {.tenant = 1, .head = &head, .bytes = slice_text(event_text)};
    AUTO(buf) frame = {0}, gap = {0};
    struct json *j;

    mcp_frame_log(&e, &frame);
    json_free(data_of(&frame, NULL));
    free(e.json_);
    mcp_frame_gap(&gap, 3, 9);
    j = data_of(&gap, "id: g-9\nevent: message\n");
    cr_assert(slice_is(json_get_text(json_get(j, "params"), "level"), "warning"));
    json_free(j);
}
