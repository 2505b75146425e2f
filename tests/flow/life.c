/* An account's life: logged out by us, by the phone, replaced, deleted; full disks and damage. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/flow/rig.h"

#define ME RIG_ME
#define OTHER RIG_OTHER

static struct rig rig;
static char account[64];

static void start(void) { rig_open_two(&rig, account); }
static void stop(void) { rig_close(&rig); }

TestSuite(life, .init = start, .fini = stop, .timeout = 150);

static void other_writes(const char *text) { rig_other_writes(&rig, text); }

static void pair_again(void)
{
    char id[64], code[1024];

    rig_ask(&rig, "pair %s", account);
    cr_assert_eq(sscanf(rig.line, "pair %63s %1023s", id, code), 2, "%s", rig.line);
    rig_sim(&rig, "POST", "/phones/" ME "/scan", "{\"qr\":\"%s\"}", code);
    rig_until(&rig, "status connected", 20000, "status %s", account);
}

Test(life, a_logout_unpairs_and_pairing_again_keeps_the_chats)
{
    other_writes("before");
    rig_until(&rig, "before]", 10000, "messages %s", account);
    rig_ask(&rig, "send %s " OTHER "@s.whatsapp.net by the first", account); /* in a session */
    rig_until(&rig, "[me delivered text by the first]", 10000, "messages %s", account);
    rig_ask(&rig, "logout %s", account);
    cr_expect_str_eq(rig.line, "logout ok");
    rig_until(&rig, "status logged_out", 10000, "status %s", account);
    cr_expect_eq(rig_count(&rig, "account.unpaired", "events"), 1);
    rig_ask(&rig, "send %s " OTHER "@s.whatsapp.net x", account);
    cr_expect(strstr(rig.line, "NOT_PAIRED"), "%s", rig.line);
    pair_again();
    rig_ask(&rig, "messages %s", account);
    cr_expect(strstr(rig.line, "before]"));
    other_writes("after");
    rig_until(&rig, "after]", 10000, "messages %s", account);
    /* A session of the first pairing would be one that the other side cannot read. */
    rig_ask(&rig, "send %s " OTHER "@s.whatsapp.net by the second", account);
    rig_until(&rig, "[me delivered text by the second]", 10000, "messages %s", account);
    cr_expect(strstr(rig_sim(&rig, "GET", "/phones/" OTHER "/inbox", "%s", ""), "by the second"));
}

Test(life, the_phone_removes_us)
{
    rig_sim(&rig, "POST", "/faults", "{\"fault\":\"unlink\",\"device\":\"" ME ":1\"}");
    rig_until(&rig, "status logged_out", 10000, "status %s", account);
    cr_expect(strstr(rig.line, "reason=logged_out"), "%s", rig.line);
    rig_server_kill(&rig);
    rig_server_start(&rig);
    rig_ask(&rig, "status %s", account);
    cr_expect(strstr(rig.line, "status logged_out"), "%s", rig.line);
}

Test(life, a_replaced_account_waits_for_a_person)
{
    rig_sim(&rig, "POST", "/faults",
            "{\"fault\":\"stream_error\",\"device\":\"" ME ":1\",\"text\":\"replaced\"}");
    rig_until(&rig, "reason=replaced", 10000, "status %s", account);
    cr_expect(strstr(rig.line, "status disconnected"), "%s", rig.line);
    rig_ask(&rig, "reconnect %s", account);
    cr_expect_str_eq(rig.line, "reconnect ok");
    rig_until(&rig, "status connected", 20000, "status %s", account);
}

Test(life, a_ban_outlives_the_process)
{
    rig_sim(&rig, "POST", "/faults",
            "{\"fault\":\"failure\",\"device\":\"" ME ":1\",\"value\":402,\"text\":\"3600\"}");
    rig_ask(&rig, "reconnect %s", account);
    cr_expect_str_eq(rig.line, "reconnect ok");
    rig_until(&rig, "reason=banned code=101", 10000, "status %s", account);
    rig_server_kill(&rig);
    rig_server_start(&rig); /* the sandbox would let it in now */
    rig_until(&rig, "reason=banned code=101", 10000, "status %s", account);
    usleep(2000000);
    rig_ask(&rig, "status %s", account);
    cr_expect(strstr(rig.line, "status disconnected "), "%s", rig.line);
    cr_expect(strstr(rig.line, " reason=banned code=101 "), "%s", rig.line);
    cr_expect_eq(rig_count(&rig, "account.connected", "events"), 1);
    rig_ask(&rig, "reconnect %s", account);
    rig_until(&rig, "status connected", 20000, "status %s", account);
}

Test(life, a_deleted_account_is_gone_for_ever)
{
    other_writes("to be forgotten");
    rig_until(&rig, "forgotten]", 10000, "messages %s", account);
    rig_ask(&rig, "delete %s", account);
    cr_expect_str_eq(rig.line, "delete ok");
    rig_ask(&rig, "status %s", account);
    cr_expect_str_eq(rig.line, "status gone");
    cr_expect_eq(rig_count(&rig, "[acc_", "accounts"), 0);
    rig_until(&rig, "account.unpaired", 10000, "events");
    rig_server_kill(&rig);
    rig_server_start(&rig);
    cr_expect_eq(rig_count(&rig, "[acc_", "accounts"), 0);
    rig_ask(&rig, "pair %s", account);
    cr_expect(strstr(rig.line, "NOT_FOUND"), "%s", rig.line);
}

Test(life, a_full_disk_stops_the_links_not_the_reads)
{
    other_writes("one");
    rig_until(&rig, "one]", 10000, "messages %s", account);
    rig_ask(&rig, "faults full=1");
    cr_expect_str_eq(rig.line, "faults ok");
    other_writes("two");
    rig_until(&rig, "blocked=1", 20000, "status %s", account);
    rig_ask(&rig, "messages %s", account);
    cr_expect(strstr(rig.line, "one]"), "reads go on");
    cr_expect_null(strstr(rig.line, "two]"));
    rig_ask(&rig, "faults full=0");
    rig_until(&rig, "two]", 30000, "messages %s", account);
    rig_until(&rig, "blocked=0", 20000, "status %s", account);
    cr_expect_eq(rig_count(&rig, "message.received", "events"), 2);
}

Test(life, slow_commits_hold_the_link_up_and_lose_nothing)
{
    enum { MANY = 200 };
    char text[64];

    rig_ask(&rig, "faults commit_delay_ms=50");
    for (int i = 0; i < MANY; i++) {
        snprintf(text, sizeof text, "flood %03d", i);
        other_writes(text);
    }
    rig_until_count(&rig, MANY, "message.received", 60000, "events");
    rig_ask(&rig, "metric parley_release_before_commit_total");
    cr_expect_str_eq(rig.line, "metric parley_release_before_commit_total 0");
}

Test(life, the_sandbox_may_restart_under_us)
{
    rig_sim_stop(&rig);
    rig_until(&rig, "status disconnected", 30000, "status %s", account);
    rig_sim_start(&rig);
    rig_until(&rig, "status connected", 60000, "status %s", account);
    other_writes("back again");
    rig_until(&rig, "back again]", 10000, "messages %s", account);
}

Test(life, killed_again_and_again_in_the_middle_of_traffic)
{
    enum { ROUNDS = 8, EACH = 6 };
    char text[64];

    for (int round = 0; round < ROUNDS; round++) {
        if (round % 2) rig_ask(&rig, "faults commit_delay_ms=50");
        for (int i = 0; i < EACH; i++) {
            snprintf(text, sizeof text, "r%d m%d.", round, i);
            other_writes(text);
            if (i == round % EACH) {
                rig_server_kill(&rig);
                rig_server_start(&rig);
            }
        }
        rig_until(&rig, "status connected", 30000, "status %s", account);
        /* What waited for us, and what could not be read and is asked for again, comes in any
         * order. */
        rig_until_count(&rig, (round + 1) * EACH, "message.received", 40000, "events");
    }
    rig_ask(&rig, "messages %s", account);
    for (int round = 0; round < ROUNDS; round++)
        for (int i = 0; i < EACH; i++) {
            snprintf(text, sizeof text, "received text r%d m%d.", round, i);
            const char *at = strstr(rig.line, text);
            cr_assert(at, "%s is lost", text);
            cr_expect_null(strstr(at + 1, text), "%s is there twice", text);
        }
}

Test(life, a_sandbox_made_anew_is_trusted_again)
{
    char command[128];

    rig_sim_stop(&rig);
    snprintf(command, sizeof command, "rm -rf %s/sim", rig.folder);
    cr_assert_eq(system(command), 0);
    rig_sim_start(&rig); /* another root key, and it knows nobody */
    rig_until(&rig, "status logged_out", 60000, "status %s", account);
    rig_sim(&rig, "POST", "/phones", "{\"number\":\"" ME "\"}");
    rig_sim(&rig, "POST", "/phones", "{\"number\":\"" OTHER "\"}");
    pair_again();
    other_writes("a new world");
    rig_until(&rig, "a new world]", 10000, "messages %s", account);
}
