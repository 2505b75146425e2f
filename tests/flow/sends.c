/* What a call that sends is promised, with the ways in which it goes wrong. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/flow/rig.h"

#define ME RIG_ME
#define OTHER RIG_OTHER
#define TO OTHER "@s.whatsapp.net"

static struct rig rig;
static char account[64];

static void start(void) { rig_open_two(&rig, account); }
static void stop(void) { rig_close(&rig); }

TestSuite(sends, .init = start, .fini = stop, .timeout = 150);

static void fault(const char *text) { rig_sim(&rig, "POST", "/faults", "%s", text); }
#define INBOX "/phones/" OTHER "/inbox"
/* What the other phone holds, as soon as `wanted` is there. */
static const char *inbox_with(const char *wanted)
{
    return rig_sim_until(&rig, wanted, 20000, INBOX);
}
static void expect_once(const char *text)
{
    const char *first = strstr(inbox_with(text), text);
    cr_expect_null(strstr(first + 1, text), "%s came twice", text);
}

Test(sends, thirty_at_once_to_one_chat_arrive_in_call_order)
{
    enum { MANY = 30 };
    const char *at;
    char text[32];

    for (int i = 0; i < MANY; i++)
        rig_say(&rig, "send %s " TO " number %02d!", account, i);
    for (int i = 0; i < MANY; i++)
        cr_expect(strstr(rig_hear(&rig, 30000), "send sent msg_"), "%s", rig.line);
    at = inbox_with("number 29!");
    for (int i = 0; i < MANY; i++) {
        snprintf(text, sizeof text, "number %02d!", i);
        at = strstr(at, text);
        cr_assert(at, "%s is missing or too early", text);
    }
    cr_expect_eq(rig_count(&rig, "message.sent", "events"), MANY);
}

Test(sends, an_error_in_the_ack_is_a_failed_call)
{
    static const struct {
        int code;
        const char *error;
    } rows[] = {{463, "NEEDS_TOKEN"},
                {475, "NEW_CHATS_CAPPED"},
                {479, "INVALID_STANZA"},
                {421, "STALE_ADDRESSING"}};

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        rig_sim(&rig, "POST", "/faults", "{\"fault\":\"ack_error\",\"value\":%d}", rows[i].code);
        rig_ask(&rig, "send %s " TO " refused", account);
        cr_expect(strstr(rig.line, "send error"), "%s", rig.line);
        cr_expect(strstr(rig.line, rows[i].error), "%s", rig.line);
    }
    cr_expect_eq(rig_count(&rig, "message.sent", "events"), 0);
    rig_ask(&rig, "messages %s", account);
    cr_expect(strstr(rig.line, "[me failed text refused]"), "%s", rig.line);
    cr_expect_null(strstr(rig.line, "[me sent"));
}

Test(sends, without_an_ack_the_call_says_pending_and_the_outbox_goes_on)
{
    fault("{\"fault\":\"drop_ack\",\"count\":1000}");
    rig_say(&rig, "send %s " TO " slow", account);
    cr_expect(strstr(rig_hear(&rig, 60000), "send pending msg_"), "%s", rig.line);
    cr_expect_eq(rig_count(&rig, "message.sent", "events"), 0);
    rig_sim(&rig, "DELETE", "/faults", "%s", "");
    rig_ask(&rig, "reconnect %s", account);
    rig_until_count(&rig, 1, "message.sent", 40000, "events");
    expect_once("slow"); /* the twin is known by its id */
}

/* Its receipt shows that it arrived, so the error is about the twin; it was told as failed. */
Test(sends, a_refused_twin_of_what_arrived_is_a_message_that_was_sent)
{
    fault("{\"fault\":\"drop_ack\",\"count\":1}");
    rig_say(&rig, "send %s " TO " once", account);
    rig_until(&rig, "[me delivered text once]", 20000, "messages %s", account);
    fault("{\"fault\":\"ack_error\",\"value\":479}");
    rig_say(&rig, "reconnect %s", account);
    for (int i = 0; i < 2 && !strstr(rig.line, "send "); i++)
        rig_hear(&rig, 30000);
    cr_expect(strstr(rig.line, "send sent msg_"), "%s", rig.line);
    rig_ask(&rig, "messages %s", account);
    cr_expect(strstr(rig.line, "[me delivered text once]"), "%s", rig.line);
    cr_expect_eq(rig_count(&rig, "message.sent", "events"), 1);
}

/* Without a message the answer must not be `pending`: the caller sends again, and it arrived twice.
 * A link that was silent for so long is given up in the same moment, before or after the call: who
 * sends again may be told that there is none yet, which leaves nothing either. */
Test(sends, that_never_got_as_far_as_a_message_fail_and_leave_nothing)
{
    fault("{\"fault\":\"no_answer\",\"tag\":\"usync\",\"count\":1}");
    rig_say(&rig, "send %s " TO " again", account);
    rig_hear(&rig, 60000);
    cr_expect(strstr(rig.line, "send error QUERY_TIMEOUT") ||
                  strstr(rig.line, "send error NOT_CONNECTED"),
              "%s", rig.line);
    rig_ask(&rig, "messages %s", account);
    cr_expect_null(strstr(rig.line, "again"), "%s", rig.line);
    rig_until(&rig, "send sent", 40000, "send %s " TO " again", account);
    expect_once("again");
}

Test(sends, a_link_lost_before_the_ack_repeats_the_same_bytes)
{
    fault("{\"fault\":\"drop_ack\",\"count\":1}");
    rig_say(&rig, "send %s " TO " once", account);
    inbox_with("once");
    rig_sim(&rig, "POST", "/faults", "{\"fault\":\"close\",\"device\":\"" ME "\"}");
    cr_expect(strstr(rig_hear(&rig, 60000), "send sent msg_"), "%s", rig.line);
    expect_once("once");
    cr_expect_eq(rig_count(&rig, "message.sent", "events"), 1);
}

Test(sends, a_kill_between_outbox_and_ack_loses_nothing)
{
    fault("{\"fault\":\"drop_ack\",\"count\":1}");
    rig_say(&rig, "send %s " TO " survivor", account);
    inbox_with("survivor");
    rig_server_kill(&rig);
    rig_server_start(&rig);
    rig_until(&rig, "message.sent", 40000, "events");
    rig_ask(&rig, "messages %s", account);
    cr_expect(strstr(rig.line, "text survivor]"), "%s", rig.line);
    cr_expect_null(strstr(rig.line, "pending"));
    expect_once("survivor");
}

Test(sends, without_a_link_nothing_is_left_behind)
{
    rig_sim_stop(&rig);
    rig_until(&rig, "status disconnected", 20000, "status %s", account);
    rig_ask(&rig, "send %s " TO " nobody hears", account);
    cr_expect(strstr(rig.line, "send error NOT_PAIRED"), "%s", rig.line);
    rig_ask(&rig, "messages %s", account);
    cr_expect_null(strstr(rig.line, "nobody hears"));
    rig_sim_start(&rig);
    rig_until(&rig, "status connected", 60000, "status %s", account);
    rig_ask(&rig, "send %s " TO " now it does", account);
    cr_expect(strstr(rig.line, "send sent"), "%s", rig.line);
}

Test(sends, read_receipts_travel_both_ways)
{
    char id[128], chat[64];
    const char *at;

    rig_ask(&rig, "send %s " TO " look at this", account);
    at = inbox_with("look at this");
    cr_assert_eq(sscanf(strstr(at, "\"id\":\""), "\"id\":\"%127[^\"]", id), 1);
    rig_sim(&rig, "POST", "/phones/" OTHER "/read", "{\"message_id\":\"%s\"}", id);
    rig_until(&rig, "message.read", 10000, "events");
    rig_ask(&rig, "messages %s", account);
    cr_expect(strstr(rig.line, "[me read text look at this]"), "%s", rig.line);

    rig_sim(&rig, "POST", "/phones/" OTHER "/send", "{\"to\":\"" ME "\",\"text\":\"seen it\"}");
    rig_until(&rig, "unread=1", 10000, "chats %s", account);
    cr_assert_eq(sscanf(strstr(rig.line, "[chat_"), "[%63s", chat), 1);
    rig_ask(&rig, "read %s %s", account, chat);
    cr_expect_str_eq(rig.line, "read ok");
    rig_until(&rig, "unread=0", 10000, "chats %s", account);
    /* The status of one message stands behind its text. */
    for (int64_t tries = 0; tries < 1000; tries++) {
        at = strstr(inbox_with("seen it"), "seen it");
        if (strstr(at, "\"read\"")) return;
        usleep(20000);
    }
    cr_expect(false, "the phone does not see that it was read: %s", at);
}
