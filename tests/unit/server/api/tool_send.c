#include "tests/unit/server/api/house.h"

TestSuite(sends, .init = house_setup, .fini = house_teardown);

static const char anna[] = "15551110001@s.whatsapp.net", ben[] = "15551110002@s.whatsapp.net";

static char text_buffer[400];
static const char *args(const char *format, const char *a, const char *b)
{
    snprintf(text_buffer, sizeof(text_buffer), format, a, b);
    return text_buffer;
}

Test(sends, by_number_and_by_chat)
{
    struct account *acc = add_account(true, ACCOUNT_CONNECTED);
    char m[ID_TEXT_MAX], c[ID_TEXT_MAX];
    struct answer a = use(&H.test, "send_message", "{\"to\":\"+15551110001\",\"text\":\"hi\"}");

    cr_assert_eq(a.error, OK);
    cr_assert_str_eq(member(&a, "status"), "sent");
    cr_assert_str_eq(H.sent_to, anna);
    answer_done(&a);
    receive(acc, ben, false, 100, "x", m, c);
    a = use(&H.test, "send_message", args("{\"chat_id\":\"%s\",\"text\":\"hello\"}", c, ""));
    cr_assert_str_eq(H.sent_to, ben);
    cr_assert_str_eq(H.sent_text, "hello");
    cr_assert_str_eq(member(&a, "chat_id"), c);
    answer_done(&a);
}

Test(sends, either_chat_or_number)
{
    struct account *acc = add_account(true, ACCOUNT_CONNECTED);
    char m[ID_TEXT_MAX], c[ID_TEXT_MAX];

    receive(acc, anna, false, 100, "x", m, c);
    expect_error(&H.test, "send_message", "{\"text\":\"hi\"}", "invalid_request");
    expect_error(&H.test, "send_message",
                 args("{\"chat_id\":\"%s\",\"to\":\"+15551110001\",\"text\":\"hi\"}", c, ""),
                 "invalid_request");
    expect_error(&H.live, "send_message", args("{\"chat_id\":\"%s\",\"text\":\"hi\"}", c, ""),
                 "not_found");
    cr_assert_eq(H.sends, 0);
}

Test(sends, quotes_a_message_of_the_chat)
{
    struct account *acc = add_account(true, ACCOUNT_CONNECTED);
    char m[ID_TEXT_MAX], other[ID_TEXT_MAX], c[ID_TEXT_MAX], c2[ID_TEXT_MAX];
    struct answer a;

    receive(acc, anna, false, 100, "x", m, c);
    receive(acc, ben, false, 100, "y", other, c2);
    a = use(&H.test, "send_message",
            args("{\"to\":\"+15551110001\",\"text\":\"yes\",\"reply_to\":\"%s\"}", m, ""));
    cr_assert_eq(a.error, OK);
    cr_assert(slice_starts_with(slice_text(H.sent_quote), SLICE("3EB0")));
    answer_done(&a);
    expect_error(&H.test, "send_message",
                 args("{\"to\":\"+15551110001\",\"text\":\"yes\",\"reply_to\":\"%s\"}", other, ""),
                 "invalid_request");
}

Test(sends, mentions_are_handed_on)
{
    struct answer a;

    add_account(true, ACCOUNT_CONNECTED);
    a = use(&H.test, "send_message",
            "{\"to\":\"+15551110001\",\"text\":\"@15551110002\",\"mentions\":[\"+15551110002\"]}");
    cr_assert_eq(a.error, OK);
    cr_assert_eq(H.sent_mentions, 1);
    answer_done(&a);
}

Test(sends, no_answer_in_time_is_pending)
{
    struct answer a;

    add_account(true, ACCOUNT_CONNECTED);
    H.ack = ACK_PENDING;
    a = use(&H.test, "send_message", "{\"to\":\"+15551110001\",\"text\":\"hi\"}");
    cr_assert_eq(a.error, OK);
    cr_assert_str_eq(member(&a, "status"), "pending");
    cr_assert(slice_starts_with(json_get_text(a.json, "id"), SLICE("msg_")));
    answer_done(&a);
}

/* Its account broke in the turn that would have ended it. */
static void break_before_the_ack(bool stored)
{
    struct account_call *c = H.unacked[--H.unacked_count];
    struct account *a = find_account(c->account);
    struct place lost = H.unacked_place[0];

    struct turn *t = open_turn(a);
    c->sent = ACCOUNT_SENT_OK;
    c->ended(c, a, t);
    close_turn(t, false);
    lost.seq++;
    if (!stored) id_message_text(ID_MESSAGE, a->scope.account, lost, c->message);
    c->sent = ACCOUNT_SENT_PENDING;
    give_back(c, fail(STORE_FULL, "the disk is full"));
    house_step();
}

/* Told of a failure, the caller would send it again, and the outbox does so anyway. */
Test(sends, one_that_is_stored_when_its_account_breaks_is_pending)
{
    static const char text[] =
        "{\"to\":\"+15551110001\",\"text\":\"hi\",\"idempotency_key\":\"k\"}";
    struct answer a = {0};

    add_account(true, ACCOUNT_CONNECTED);
    start(&H.test, "send_message", text, &a);
    break_before_the_ack(true);
    cr_assert(a.done);
    cr_assert_eq(a.error, OK);
    expect_joined(&a, text);
    answer_done(&a);
}

Test(sends, one_that_was_not_stored_when_its_account_broke_has_failed)
{
    struct answer a = {0};

    add_account(true, ACCOUNT_CONNECTED);
    start(&H.test, "send_message", "{\"to\":\"+15551110001\",\"text\":\"hi\"}", &a);
    break_before_the_ack(false);
    cr_assert(a.done);
    cr_assert_eq(a.error, ERR_STORE_FULL);
    answer_done(&a);
}

Test(sends, without_a_link_nothing_is_left_behind)
{
    struct answer a;

    add_account(true, ACCOUNT_DISCONNECTED);
    H.send_fails = true;
    expect_error(&H.test, "send_message", "{\"to\":\"+15551110001\",\"text\":\"hi\"}",
                 "account_not_paired");
    a = use(&H.test, "list_chats", "{}");
    cr_assert_eq(json_count(json_get(a.json, "chats")), 0);
    answer_done(&a);
}

Test(sends, many_to_one_chat_keep_their_order)
{
    struct answer all[30] = {0};
    char text[100];

    add_account(true, ACCOUNT_CONNECTED);
    for (int i = 0; i < 30; i++) {
        snprintf(text, sizeof(text), "{\"to\":\"+15551110001\",\"text\":\"%d\"}", i);
        start(&H.test, "send_message", text, &all[i]);
        cr_assert_eq(atoi(H.sent_text), i);
    }
    house_ack_all(ACK_OK);
    for (int i = 0; i < 30; i++) {
        cr_assert(all[i].done);
        answer_done(&all[i]);
    }
}
