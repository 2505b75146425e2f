/* The main job, without doors: an account pairs, receives, answers, survives. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "storage/store.h"
#include "storage/view.h"
#include "tests/flow/rig.h"

#define ME RIG_ME
#define OTHER RIG_OTHER

static struct rig rig;
static char account[64];

static void start(void) { rig_open_two(&rig, account); }
static void stop(void) { rig_close(&rig); }

TestSuite(account_flow, .init = start, .fini = stop, .timeout = 120);

static void other_writes(const char *text) { rig_other_writes(&rig, text); }

Test(account_flow, pairs_and_tells)
{
    rig_until(&rig, "account.connected", 5000, "events");
    cr_expect(strstr(rig.line, "account.paired"));
    cr_expect(strstr(rig.line, "+" ME), "%s", rig.line);
    rig_ask(&rig, "pair %s", account);
    cr_expect(strstr(rig.line, "pair error ALREADY_PAIRED"), "%s", rig.line);
}

Test(account_flow, receives_and_answers)
{
    other_writes("good morning");
    rig_until(&rig, "[them received text good morning]", 10000, "messages %s", account);
    cr_expect_eq(rig_count(&rig, "message.received", "events"), 1);
    rig_ask(&rig, "send %s " OTHER "@s.whatsapp.net and to you", account);
    cr_expect(strstr(rig.line, "send sent msg_"), "%s", rig.line);
    rig_until(&rig, "[me delivered text and to you]", 10000, "messages %s", account);
    cr_expect(strstr(rig_sim(&rig, "GET", "/phones/" OTHER "/inbox", "%s", ""), "and to you"));
    cr_expect_eq(rig_count(&rig, "message.sent", "events"), 1);
}

/* How many addresses there are of which this row is one, and whether their keys lie with the
 * person: home and peer, both be32. */
static int count_addresses(bool *out_together)
{
    char path[128];
    struct store *store;
    struct view *view;
    AUTO(range) r = {0};
    int n = 0;

    snprintf(path, sizeof path, "%s/data", rig.folder);
    cr_assert_eq(store_open(&(struct store_options){.path = path, .map_size = 1 << 30}, &store), OK,
                 "%s", err_trail());
    cr_assert_eq(view_new(store, &view), OK);
    cr_assert_eq(view_begin(view), OK);
    *out_together = true;
    struct key addresses = key_of_kind((struct scope){1, 1}, 0, KIND_addresses);
    range_prefix(&r, view, DB_data, key_slice(&addresses), RANGE_FORWARDS);
    for (; range_next(&r); n++)
        *out_together &= r.value.len == 8 && memcmp(r.value.data, r.value.data + 4, 4) == 0;
    cr_assert_eq(range_error(&r), OK);
    range_done(&r);
    view_end(view);
    view_free(view);
    store_close(store);
    return n;
}

/* A stanza that names both addresses of somebody new makes one peer of them: two would lie apart,
 * and every message would write the pages of both. */
Test(account_flow, keys_of_a_new_person_lie_beside_the_chat)
{
    bool together;

    other_writes("one");
    rig_until(&rig, "one]", 10000, "messages %s", account);
    cr_assert_eq(rig_server_stop(&rig), 0);
    cr_expect_eq(count_addresses(&together), 4, "ours and theirs");
    cr_expect(together);
}

Test(account_flow, survives_a_kill)
{
    other_writes("one");
    rig_until(&rig, "one]", 10000, "messages %s", account);
    rig_server_kill(&rig);
    other_writes("two");
    rig_server_start(&rig);
    rig_until(&rig, "status connected", 20000, "status %s", account);
    rig_until(&rig, "two]", 10000, "messages %s", account);
    other_writes("three");
    rig_until(&rig, "three]", 10000, "messages %s", account);
    cr_expect_eq(rig_count(&rig, "message.received", "events"), 3);
}

Test(account_flow, stops_cleanly_and_comes_back)
{
    other_writes("one");
    rig_until(&rig, "one]", 10000, "messages %s", account);
    cr_expect_eq(rig_server_stop(&rig), 0);
    rig_server_start(&rig);
    rig_until(&rig, "status connected", 20000, "status %s", account);
    cr_expect_eq(rig_count(&rig, "account.disconnected", "events"), 0);
}

/* The stop may overtake what the start has asked of the workers. */
Test(account_flow, stops_while_it_starts)
{
    for (int i = 0; i < 20; i++) {
        cr_assert_eq(rig_server_stop(&rig), 0);
        rig_server_start(&rig);
    }
    rig_until(&rig, "status connected", 20000, "status %s", account);
}

/* Spoilt on its way, its sender gone: our own phone has read it. */
Test(account_flow, the_phone_gives_what_its_sender_does_not_repeat)
{
    rig_until(&rig, "account.connected", 5000, "events");
    cr_expect_eq(rig_server_stop(&rig), 0);
    other_writes("only the phone has it");
    rig_sim(&rig, "POST", "/phones/" OTHER "/offline", "%s", "{}");
    rig_sim(&rig, "POST", "/faults",
            "{\"fault\":\"wrong_mac\",\"device\":\"" ME ":1\",\"count\":1}");
    rig_server_start(&rig);
    rig_until(&rig, "[them received text only the phone has it]", 30000, "messages %s", account);
    cr_expect_eq(rig_count(&rig, "message.received", "events"), 1);
    rig_sim(&rig, "POST", "/phones/" OTHER "/online", "%s", "{}");
    other_writes("after");
    rig_until(&rig, "after]", 10000, "messages %s", account);
    cr_expect_eq(rig_count(&rig, "message.received", "events"), 2);
}
