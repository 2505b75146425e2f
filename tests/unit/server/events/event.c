#include <criterion/criterion.h>

#include "proto/crypto/crypto.h"
#include "server/api/json.h"
#include "server/events/event.h"
#include "storage/batch.h"
#include "storage/contacts.h"

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
    wrong.parts[0] = 5;
    cr_assert(!event_filter_matches(&wrong, &head));
    wrong.parts[1] = 3;
    cr_assert(event_filter_matches(&wrong, &head));
}

static struct event_filter read_merge(const struct db_contact *person)
{
    struct event_head head = {.account = 7, .peer = person->peer, .type = NOTICE_MERGE};
    struct event_filter f = {.kinds = 1};
    AUTO(buf) bytes = {0};

    event_merge(&bytes, person);
    cr_assert(event_merge_read(&head, buf_slice(&bytes), &f));
    return f;
}

Test(merges, are_read_as_they_were_written)
{
    struct db_contact full = {.peer = 1, .parts = {2, 3, 4, 5, 6, 7, 8, UINT32_MAX}};
    struct event_filter f = read_merge(&full);
    struct event_head other = {.type = NOTICE_MERGE + 1};

    cr_expect(f.kinds == 0 && f.account == 7 && f.peer == 1);
    cr_expect_eq(memcmp(f.parts, full.parts, sizeof(f.parts)), 0);
    cr_expect_not(event_merge_read(&other, SLICE(""), &f));
}

/* The person 1 has just swallowed 2, of whom 3 was a part. */
Test(merges, change_the_filters_that_name_one_of_them)
{
    struct db_contact person = {.peer = 1, .parts = {2, 3}};
    struct event_filter merged = read_merge(&person);
    static const struct {
        struct event_filter f;
        bool changed;
    } rows[] = {
        {{.kinds = 5, .account = 7, .peer = 2}, true},
        {{.account = 7, .peer = 3}, true},
        {{.account = 7, .peer = 2, .parts = {3}}, true},
        {{.account = 7, .peer = 1}, true},
        {{.account = 7, .peer = 1, .parts = {2, 3}}, false},
        {{.account = 7, .peer = 1, .parts = {2, 3, 4}}, false}, /* knows of a later one */
        {{.account = 7, .peer = 4}, false},
        {{.account = 8, .peer = 2}, false},
        {{.account = 7}, false},
        {{0}, false},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct event_filter f = rows[i].f, want = rows[i].changed ? merged : rows[i].f;
        want.kinds = f.kinds;
        event_filter_merge(&f, &merged);
        cr_expect_eq(memcmp(&f, &want, sizeof(f)), 0, "row %zu", i);
    }
}
