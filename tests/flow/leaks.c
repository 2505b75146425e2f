/* What a long life leaves behind: pairing and unpairing again and again, and links that are lost
 * and made anew. What is allocated returns to what it was after a few rounds of warming up, and at
 * the end nothing is left (LeakSanitizer, in the server's exit code).
 *
 *     tests/flow/leaks [CYCLES RECONNECTS]     the long form, 100 and 10,000 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/flow/rig.h"
#include "tests/support/arguments.h"

#define ME "15550001111"
enum {
    ACCOUNTS = 10,
    WARM_CYCLES = 4,
    WARM_ROUNDS = 5,
#ifdef __SANITIZE_ADDRESS__
    /* Pages that LMDB keeps for its next commit (24 KB more after 60 cycles), and the monitor's
     * notes of each account that ever was (4 KB): nothing else grew. */
    SLACK_BYTES = 48 * 1024,
#else
    SLACK_BYTES = 128 * 1024, /* the C library counts what it keeps for each thread, too */
#endif
};

static struct rig rig;

static void start(void) { rig_open(&rig); }
static void stop(void) { rig_close(&rig); }

TestSuite(leaks, .init = start, .fini = stop, .timeout = 3000);

static int asked_for(const char *name, int otherwise)
{
    const char *text = getenv(name);
    return text ? (int)argument_number("tests/flow/leaks [CYCLES RECONNECTS]", name, text, 1,
                                       1 << 20)
                : otherwise;
}

static long allocated(void)
{
    long bytes = 0;

    rig_ask(&rig, "heap");
    cr_assert_eq(sscanf(rig.line, "heap %ld", &bytes), 1, "%s", rig.line);
    return bytes;
}

/* What is under way ends: the lowest of some looks. */
static long allocated_at_rest(void)
{
    long lowest = allocated();

    for (int i = 0; i < 20; i++) {
        usleep(25000);
        long now = allocated();
        if (now < lowest) lowest = now;
    }
    return lowest;
}

static long resident_kb(void)
{
    char path[64], line[256];
    long kb = 0;

    snprintf(path, sizeof path, "/proc/%d/status", (int)rig.server);
    FILE *f = fopen(path, "re");
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "RssAnon: %ld", &kb) == 1) break;
    if (f) fclose(f);
    return kb;
}

static void judge(const char *what, int times, long before, long resident)
{
    long after = allocated_at_rest();

    printf(
        "%d %s: allocated %ld bytes before, %ld after (%+ld); RssAnon %ld KB before, %ld after\n",
        times, what, before, after, after - before, resident, resident_kb());
    fflush(stdout);
    cr_expect_leq(after, before + SLACK_BYTES, "%d %s left %ld bytes", times, what, after - before);
    cr_expect_eq(rig_server_stop(&rig), 0, "the end was not clean");
}

/* ---- pairing ---- */

static void scan(const char *number, const char *code)
{
    char path[64];

    snprintf(path, sizeof path, "/phones/%s/scan", number);
    rig_sim(&rig, "POST", path, "{\"qr\":\"%s\"}", code);
}

/* Pairs anew, or again when `account` names one. */
static void pair(const char *number, char account[64])
{
    char code[1024];

    rig_ask(&rig, "pair %s", account);
    cr_assert_eq(sscanf(rig.line, "pair %63s %1023s", account, code), 2, "%s", rig.line);
    scan(number, code);
    rig_until(&rig, "status connected", 40000, "status %s", account);
}

static void make_phone(const char *number)
{
    rig_sim(&rig, "POST", "/phones", "{\"number\":\"%s\",\"name\":\"Me\"}", number);
}

/* One account is paired again each time, another one is new and deleted. */
static void cycle(int i, char kept[64])
{
    char passing[64] = "", number[32];

    pair(ME, kept);
    rig_ask(&rig, "logout %s", kept);
    rig_until(&rig, "status logged_out", 40000, "status %s", kept);
    snprintf(number, sizeof number, "1555001%04d", i);
    make_phone(number);
    pair(number, passing);
    rig_ask(&rig, "delete %s", passing);
    rig_until(&rig, "status gone", 40000, "status %s", passing);
}

Test(leaks, pairing_and_unpairing_leave_nothing)
{
    char kept[64] = "";
    int cycles = asked_for("LEAKS_CYCLES", 10);

    make_phone(ME);
    for (int i = 0; i < WARM_CYCLES; i++)
        cycle(i, kept);
    long before = allocated_at_rest(), resident = resident_kb();
    for (int i = 0; i < cycles; i++)
        cycle(WARM_CYCLES + i, kept);
    judge("pairings and unpairings of each of two accounts", cycles, before, resident);
}

/* ---- reconnecting ---- */

static long links_opened(void)
{
    long n = 0;

    rig_ask(&rig, "metric parley_links_opened_total");
    sscanf(rig.line, "metric parley_links_opened_total %ld", &n);
    return n;
}

/* All of them at once. */
static void reconnect_all(char accounts[ACCOUNTS][64])
{
    long before = links_opened();

    for (int i = 0; i < ACCOUNTS; i++)
        rig_say(&rig, "reconnect %s", accounts[i]);
    for (int i = 0; i < ACCOUNTS; i++)
        cr_assert(strstr(rig_hear(&rig, 40000), "reconnect ok"), "%s", rig.line);
    for (int tries = 0; links_opened() < before + ACCOUNTS && tries < 4000; tries++)
        usleep(10000);
    cr_assert_geq(links_opened(), before + ACCOUNTS);
    rig_until_count(&rig, ACCOUNTS, " connected ", 40000, "accounts");
}

Test(leaks, reconnecting_leaves_nothing)
{
    char accounts[ACCOUNTS][64], number[32];
    int rounds = asked_for("LEAKS_RECONNECTS", 300) / ACCOUNTS;

    for (int i = 0; i < ACCOUNTS; i++) {
        snprintf(number, sizeof number, "1555000%04d", 2000 + i);
        rig_pair(&rig, number, accounts[i]);
    }
    for (int i = 0; i < WARM_ROUNDS; i++)
        reconnect_all(accounts);
    long before = allocated_at_rest(), resident = resident_kb();
    for (int i = 0; i < rounds; i++)
        reconnect_all(accounts);
    judge("reconnects", rounds * ACCOUNTS, before, resident);
}
