#include <criterion/criterion.h>

#include "proto/crypto/crypto.h"
#include "server/api/json.h"
#include "server/events/event.h"
#include "storage/batch.h"

static const struct event_about about = {.account = {(const uint8_t *)"acc_1", 5},
                                         .occurred_at = 1763632350000,
                                         .received_at = 1763632350123};

static struct json *parsed(struct buf *b)
{
    struct json *j = NULL;
    AUTO(buf) whole = {0};

    event_json(&whole, 42, buf_slice(b));
    cr_assert_eq(json_parse(buf_slice(&whole), 1 << 20, &j), OK, "%s", buf_text(&whole));
    buf_done(b);
    return j;
}

static void expect_head(const struct json *j, const char *name)
{
    int64_t seq;

    cr_assert(json_int(json_get(j, "seq"), &seq) && seq == 42);
    cr_assert(slice_is(json_get_text(j, "event"), name));
    cr_assert(slice_starts_with(json_get_text(j, "event_id"), SLICE("evt_")));
    cr_assert(slice_is(json_get_text(j, "occurred_at"), "2025-11-20T09:52:30.000Z"));
    cr_assert(slice_is(json_get_text(j, "received_at"), "2025-11-20T09:52:30.123Z"));
    cr_assert(slice_is(json_get_text(j, "account_id"), "acc_1"));
    cr_assert_eq(json_kind(json_get(j, "data")), JSON_OBJ);
}

Test(events, a_message_is_its_face)
{
    struct slice mentions[] = {SLICE("+491"), SLICE("5@lid")};
    struct face_message m = {.id = SLICE("msg_1"),
                             .chat = SLICE("chat_1"),
                             .account = SLICE("acc_1"),
                             .whatsapp_id = SLICE("3EB0"),
                             .sender.name = SLICE("A \"b\""),
                             .type = "text",
                             .text = SLICE("hi\n"),
                             .mentions = mentions,
                             .mention_count = 2,
                             .sent_at = 1763632350000,
                             .status = "received"};
    struct buf b = {0};
    struct json *j;

    crypto_start();
    event_message_received(&b, &about, &m);
    j = parsed(&b);
    expect_head(j, "message.received");
    const struct json *data = json_get(j, "data");
    cr_assert(slice_is(json_get_text(data, "id"), "msg_1"));
    cr_assert(slice_is(json_get_text(data, "chat_id"), "chat_1"));
    cr_assert(slice_is(json_get_text(data, "text"), "hi\n"));
    cr_assert(slice_is(json_get_text(json_get(data, "sender"), "name"), "A \"b\""));
    cr_assert_eq(json_kind(json_get(json_get(data, "sender"), "phone")), JSON_NIL);
    cr_assert_eq(json_count(json_get(data, "mentions")), 2);
    cr_assert_eq(json_kind(json_get(data, "reply_to")), JSON_NIL);
    json_free(j);
}

Test(events, a_read_names_all_messages)
{
    struct slice ids[] = {SLICE("msg_1"), SLICE("msg_2")};
    struct event_read r = {.chat = SLICE("chat_1"),
                           .messages = ids,
                           .message_count = 2,
                           .reader.phone = SLICE("+491"),
                           .kind = "read"};
    struct buf b = {0};
    struct json *j;

    crypto_start();
    event_message_read(&b, &about, &r);
    j = parsed(&b);
    expect_head(j, "message.read");
    cr_assert_eq(json_count(json_get(json_get(j, "data"), "message_ids")), 2);
    json_free(j);
}

Test(events, account_events_carry_what_is_known)
{
    struct event_down d = {.reason = "banned", .code = 402, .until_s = 1763632350};
    struct buf b = {0};
    struct json *j;
    const struct json *data;
    int64_t code;

    crypto_start();
    event_account_paired(&b, &about, SLICE("+491"), SLICE("5@lid"), SLICE_NONE);
    j = parsed(&b);
    expect_head(j, "account.paired");
    data = json_get(j, "data");
    cr_assert(slice_is(json_get_text(data, "phone"), "+491"));
    cr_assert(slice_is(json_get_text(data, "lid"), "5@lid"));
    json_free(j);
    event_account_connected(&b, &about, SLICE("+491"));
    j = parsed(&b);
    expect_head(j, "account.connected");
    cr_assert(slice_is(json_get_text(json_get(j, "data"), "phone"), "+491"));
    json_free(j);
    event_account_disconnected(&b, &about, &d);
    j = parsed(&b);
    expect_head(j, "account.disconnected");
    cr_assert(slice_is(json_get_text(json_get(j, "data"), "reason"), "banned"));
    cr_assert(json_int(json_get(json_get(j, "data"), "code"), &code) && code == 402);
    cr_assert(slice_is(json_get_text(json_get(j, "data"), "until"), "2025-11-20T09:52:30.000Z"));
    cr_assert_null(json_get(json_get(j, "data"), "retry_at"));
    json_free(j);
    event_account_unpaired(&b, &about, &d);
    j = parsed(&b);
    expect_head(j, "account.unpaired");
    cr_assert(slice_is(json_get_text(json_get(j, "data"), "reason"), "banned"));
    json_free(j);
}

Test(events, two_of_the_same_have_different_ids)
{
    struct buf a = {0}, b = {0};

    crypto_start();
    event_account_connected(&a, &about, SLICE("+491"));
    event_account_connected(&b, &about, SLICE("+491"));
    cr_assert(!slice_eq(buf_slice(&a), buf_slice(&b)));
    buf_done(&a);
    buf_done(&b);
}

Test(events, numbers_never_change)
{
    cr_assert_eq(event_number(EVENT_MESSAGE_RECEIVED), 1);
    cr_assert_eq(event_number(EVENT_ACCOUNT_UNPAIRED), 11);
    cr_assert_eq(event_number(EVENT_PRESENCE_CHANGED), 18);
    for (unsigned k = 0; k < EVENT_COUNT; k++) {
        cr_assert_eq(event_of_number(event_number(k)), k);
        cr_assert_eq(event_find(slice_text(event_name(k))), k);
    }
    cr_assert_eq(event_of_number(0), EVENT_COUNT);
    cr_assert_eq(event_find(SLICE("message")), EVENT_COUNT);
}

Test(filters, names_and_wildcards)
{
    static const struct {
        const char *names;
        int count; /* -1: refused */
    } rows[] = {
        {"message.received", 1},    {"message.received,account.paired", 2},
        {"message.*", 7},           {"account.*", 4},
        {"message.reaction.*", 2},  {"*", 18},
        {"*,message.received", 18}, {"message*", -1},
        {"message.", -1},           {"Message.received", -1},
        {"message.received,", -1},  {"message.received,,account.paired", -1},
        {"nothing.*", -1},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct event_filter f = {0};
        err_t e = event_filter_add_names(&f, slice_text(rows[i].names));
        cr_assert_eq(e == OK, rows[i].count >= 0, "%s", rows[i].names);
        if (e == OK)
            cr_assert_eq(__builtin_popcountll(f.kinds), rows[i].count, "%s", rows[i].names);
    }
}

Test(filters, match_by_kind_account_and_chat)
{
    struct event_head head = {.account = 7, .peer = 3, .type = 1};
    struct event_filter any = {0}, kind = {.kinds = 1ull << EVENT_MESSAGE_RECEIVED},
                        other = {.kinds = 1ull << EVENT_MESSAGE_SENT},
                        chat = {.account = 7, .peer = 3}, wrong = {.account = 7, .peer = 4},
                        stranger = {.account = 8};

    cr_assert(event_filter_matches(&any, &head));
    cr_assert(event_filter_matches(&kind, &head));
    cr_assert(!event_filter_matches(&other, &head));
    cr_assert(event_filter_matches(&chat, &head));
    cr_assert(!event_filter_matches(&wrong, &head));
    cr_assert(!event_filter_matches(&stranger, &head));
}
