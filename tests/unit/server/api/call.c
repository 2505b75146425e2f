/* The pipeline of calls: arguments, rights, idempotency claims, cancellation. */
#include "tests/unit/server/api/house.h"

TestSuite(call, .init = house_setup, .fini = house_teardown);

static const char hello[] =
    "{\"to\":\"+15551230001\",\"text\":\"hello\",\"idempotency_key\":\"k\"}";

Test(call, wrong_arguments_name_the_field_and_what_is_right)
{
    static const struct {
        const char *tool, *args, *field, *words;
    } rows[] = {
        {"list_chats", "{\"limit\":0}", "limit", "limit must be an integer from 1 to 200"},
        {"list_chats", "{\"limit\":201}", "limit", "limit must be an integer from 1 to 200"},
        {"list_chats", "{\"limit\":\"5\"}", "limit", "limit must be an integer from 1 to 200"},
        {"list_chats", "{\"filter\":\"old\"}", "filter",
         "filter must be one of unread, archived, pinned, all"},
        {"list_chats", "{\"lmit\":1}", "lmit",
         "list_chats has no argument lmit; it takes account_id, filter, limit, cursor"},
        {"get_account", "{}", "account_id",
         "account_id is missing: it must be an account id (acc_…)"},
        {"get_account", "{\"account_id\":null}", "account_id",
         "account_id is missing: it must be an account id (acc_…)"},
        {"get_account", "{\"account_id\":\"chat_1\"}", "account_id",
         "account_id must be an account id (acc_…)"},
        {"open_chat", "{\"phone\":\"0049123456\"}", "phone",
         "phone must be an E.164 phone number with a leading +, such as +14155550198"},
        {"open_chat", "{\"phone\":\"+0123456789\"}", "phone",
         "phone must be an E.164 phone number with a leading +, such as +14155550198"},
        {"send_message", "{\"to\":\"+15551230001\",\"text\":\"\"}", "text",
         "text must be a text of 1 to 65536 bytes"},
        {"list_events", "{\"events\":[\"message.recieved\"]}", "events",
         "events must be an array of 1 to 64 event names such as message.received, message.* or *"},
        {"list_events", "{\"cursor\":-1}", "cursor",
         "cursor must be the next_cursor of a previous result or the seq of an event"},
        {"list_messages", "{\"chat_id\":\"chat_x\"}", "chat_id",
         "chat_id must be a chat id (chat_…)"},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct answer a = use(&H.test, rows[i].tool, rows[i].args);
        cr_assert_str_eq(member(&a, "code"), "invalid_request", "%s", rows[i].args);
        cr_assert_str_eq(member(&a, "field"), rows[i].field);
        cr_assert_str_eq(member(&a, "message"), rows[i].words);
        answer_done(&a);
    }
}

Test(call, malformed_json_is_invalid_request)
{
    expect_error(&H.test, "list_accounts", "{", "invalid_request");
    expect_error(&H.test, "list_accounts", "[]", "invalid_request");
    expect_error(&H.test, "list_accounts", "{\"limit\":1,\"limit\":2}", "invalid_request");
}

Test(call, a_key_without_the_right_is_forbidden)
{
    struct principal reader = H.test;

    reader.rights = RIGHT_READ;
    add_account(true, ACCOUNT_CONNECTED);
    expect_error(&reader, "send_message", hello, "forbidden");
    expect_error(&reader, "pair_account", "{}", "forbidden");
    cr_assert_eq(H.sends, 0);
}

/* ---- idempotency ---- */

Test(call, the_same_key_sends_once_and_answers_the_same)
{
    struct answer a, b;

    add_account(true, ACCOUNT_CONNECTED);
    a = use(&H.test, "send_message", hello);
    b = use(&H.test, "send_message", hello);
    cr_assert_eq(a.error, OK);
    cr_assert_eq(H.sends, 1);
    cr_assert_str_eq(member(&a, "id"), member(&b, "id"));
    cr_assert_str_eq(member(&b, "status"), "sent");
    answer_done(&a);
    answer_done(&b);
}

Test(call, other_arguments_with_the_same_key_are_refused)
{
    struct answer a;

    add_account(true, ACCOUNT_CONNECTED);
    a = use(&H.test, "send_message", hello);
    answer_done(&a);
    expect_error(&H.test, "send_message",
                 "{\"to\":\"+15551230001\",\"text\":\"other\",\"idempotency_key\":\"k\"}",
                 "invalid_request");
    cr_assert_eq(H.sends, 1);
}

Test(call, the_order_of_arguments_does_not_matter)
{
    struct answer a, b;

    add_account(true, ACCOUNT_CONNECTED);
    a = use(&H.test, "send_message", hello);
    b = use(&H.test, "send_message",
            "{\"idempotency_key\":\"k\",\"text\":\"hello\",\"to\":\"+15551230001\"}");
    cr_assert_str_eq(member(&a, "id"), member(&b, "id"));
    answer_done(&a);
    answer_done(&b);
}

Test(call, keys_of_others_and_of_other_tools_do_not_meet)
{
    struct principal other = H.test;
    struct answer a, b;

    strcpy(other.key, "key_other");
    add_account(true, ACCOUNT_CONNECTED);
    a = use(&H.test, "send_message", hello);
    b = use(&other, "send_message", hello);
    cr_assert_str_neq(member(&a, "id"), member(&b, "id"));
    cr_assert_eq(H.sends, 2);
    answer_done(&a);
    answer_done(&b);
    a = use(&H.test, "open_chat", "{\"phone\":\"+15551230001\",\"idempotency_key\":\"k\"}");
    cr_assert_eq(a.error, OK);
    answer_done(&a);
}

Test(call, a_call_under_way_is_joined)
{
    struct answer a = {0}, b = {0}, c = {0};

    add_account(true, ACCOUNT_CONNECTED);
    start(&H.test, "send_message", hello, &a);
    start(&H.test, "send_message", hello, &b);
    start(&H.test, "send_message",
          "{\"to\":\"+15551230001\",\"text\":\"other\",\"idempotency_key\":\"k\"}", &c);
    house_step();
    cr_assert(!a.done && !b.done && c.done);
    cr_assert_eq(c.error, ERR_BAD_ARGUMENT);
    house_ack_all(ACK_OK);
    cr_assert(a.done && b.done);
    cr_assert_eq(H.sends, 1);
    cr_assert_str_eq(member(&a, "id"), member(&b, "id"));
    answer_done(&a);
    answer_done(&b);
    answer_done(&c);
}

Test(call, a_joined_call_may_leave)
{
    struct answer a = {0}, b = {0};
    struct call *joiner;

    add_account(true, ACCOUNT_CONNECTED);
    start(&H.test, "send_message", hello, &a);
    joiner = start(&H.test, "send_message", hello, &b);
    call_cancel(joiner);
    cr_assert(b.done);
    cr_assert_eq(b.error, ERR_CANCELLED);
    house_ack_all(ACK_OK);
    cr_assert(a.done);
    answer_done(&a);
    answer_done(&b);
}

Test(call, who_joined_gets_the_reply_that_came_after_the_first_ones_deadline)
{
    static const char *const tools[][3] = {{"send_message", hello, "id"},
                                           {"pair_account", "{\"idempotency_key\":\"k\"}", "code"}};

    add_account(true, ACCOUNT_CONNECTED);
    for (size_t i = 0; i < ARRAY_LEN(tools); i++) {
        struct answer first = {0}, joined = {0};
        struct call *c = start(&H.test, tools[i][0], tools[i][1], &first);

        start(&H.test, tools[i][0], tools[i][1], &joined);
        timer_disarm(H.worker, &c->deadline);
        c->deadline.fire(&c->deadline, worker_now(H.worker));
        cr_assert(first.done && !joined.done, "%s", tools[i][0]);
        cr_assert_eq(first.error, ERR_QUERY_TIMEOUT);
        house_step();
        house_ack_all(ACK_OK);
        cr_assert(joined.done, "%s", tools[i][0]);
        cr_assert_eq(joined.error, OK, "%s", member(&joined, "message"));
        cr_assert_str_neq(member(&joined, tools[i][2]), "", "%s", tools[i][0]);
        answer_done(&first);
        answer_done(&joined);
    }
}

Test(call, a_failure_that_left_nothing_may_be_tried_again)
{
    struct answer a;

    add_account(true, ACCOUNT_CONNECTED);
    H.send_fails = true;
    expect_error(&H.test, "send_message", hello, "account_not_paired");
    H.send_fails = false;
    a = use(&H.test, "send_message", hello);
    cr_assert_eq(a.error, OK);
    cr_assert_eq(H.sends, 1);
    answer_done(&a);
}

Test(call, a_refused_message_stays_refused)
{
    add_account(true, ACCOUNT_CONNECTED);
    H.ack = ACK_REFUSED;
    expect_error(&H.test, "send_message", hello, "server_error");
    expect_error(&H.test, "send_message", hello, "server_error");
    cr_assert_eq(H.sends, 1);
}

Test(call, after_a_crash_the_reply_is_read_from_the_message)
{
    struct answer a;

    add_account(true, ACCOUNT_CONNECTED);
    H.ack = ACK_PENDING;
    a = use(&H.test, "send_message", hello);
    expect_joined(&a, hello);
    answer_done(&a);
}

/* Receipts go on raising the message; the answer was about the ack. */
Test(call, a_reply_that_is_read_from_the_message_stays_what_the_ack_made_it)
{
    static const unsigned later[] = {MESSAGE_SENT, MESSAGE_DELIVERED, MESSAGE_READ, MESSAGE_PLAYED};
    struct account *a = add_account(true, ACCOUNT_CONNECTED);
    struct answer first, again;
    struct place place;

    H.ack = ACK_PENDING;
    first = use(&H.test, "send_message", hello);
    place = H.unacked_place[0]; /* the only send */
    for (size_t i = 0; i < ARRAY_LEN(later); i++) {
        struct turn *t = open_turn(a);
        set_status(a, t, place, later[i], 0);
        close_turn(t, true);
        again = use(&H.test, "send_message", hello);
        cr_expect_str_eq(member(&again, "status"), "sent");
        cr_expect_str_eq(member(&again, "id"), member(&first, "id"));
        answer_done(&again);
    }
    cr_assert_eq(H.sends, 1);
    answer_done(&first);
}

/* ---- cancellation ---- */

Test(call, one_that_waits_is_cancelled_at_once)
{
    struct answer a = {0};
    struct call *c = start(&H.test, "wait_for_event", "{}", &a);

    house_step();
    cr_assert_eq(call_find(H.worker, c->id), c);
    call_cancel(c);
    cr_assert(a.done);
    cr_assert_eq(a.error, ERR_CANCELLED);
    answer_done(&a);
}

Test(call, one_on_its_way_ends_with_its_reply)
{
    struct answer a = {0};
    struct call *c;

    add_account(true, ACCOUNT_CONNECTED);
    c = start(&H.test, "send_message", hello, &a);
    call_cancel(c);
    cr_assert(!a.done);
    house_ack_all(ACK_OK);
    cr_assert(a.done);
    cr_assert_eq(a.error, OK);
    answer_done(&a);
}

Test(call, an_abandoned_one_goes_on_without_its_door)
{
    struct answer a = {0};

    add_account(true, ACCOUNT_CONNECTED);
    call_abandon(start(&H.test, "send_message", hello, &a));
    call_abandon(start(&H.test, "wait_for_event", "{}", &a));
    house_ack_all(ACK_OK);
    cr_assert(!a.done);
    cr_assert_eq(H.sends, 1);
}
