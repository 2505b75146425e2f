/* What the account becomes, and what its row keeps of it over a restart: ingest's other half. */
#include "proto/client/inside.h"
#include "tests/unit/server/account/house.h"

TestSuite(states, .init = house_start, .fini = house_stop, .timeout = 60);

static struct account_status status(void)
{
    struct account_status s;

    house_settle();
    cr_assert(directory_status(house.server.directory, account_id(house.account), &s));
    return s;
}

Test(states, the_account_goes_through_its_states)
{
    struct wa_event qr = {.kind = WA_EVENT_QR,
                          .qr = {.code = SLICE("2@a,b,c,d,1"), .expires_at = 5, .left = 3}};
    struct wa_event paired = {.kind = WA_EVENT_PAIRED,
                              .paired = {.pn = wa_jid_of(WA_SERVER_USER, SLICE("15550001111"), 7),
                                         .lid = wa_jid_of(WA_SERVER_LID, SLICE("1111"), 0),
                                         .platform = SLICE("android")}};
    struct wa_event connected = {.kind = WA_EVENT_CONNECTED};

    house_emit(&qr);
    cr_expect_str_eq(status().code, "2@a,b,c,d,1");
    cr_expect_eq(status().codes_left, 3u);
    house_emit(&paired);
    cr_expect_str_eq(status().code, "");
    cr_expect_str_eq(status().phone, "+15550001111");
    cr_expect_eq(house_events("account.paired"), 1);
    connected.connected.pn = paired.paired.pn;
    connected.connected.lid = paired.paired.lid;
    house_emit(&connected);
    cr_expect_eq(status().state, ACCOUNT_CONNECTED);
    cr_expect_eq(house_events("account.connected"), 1);
    house_down(WA_EVENT_DISCONNECTED, WA_REASON_SERVER, 12345);
    cr_expect_eq(status().state, ACCOUNT_DISCONNECTED);
    cr_expect_eq(status().reason, WA_REASON_SERVER);
    cr_expect_eq(status().retry_at, 12345);
    cr_expect_eq(house_events("account.disconnected"), 1);
    house_down(WA_EVENT_UNPAIRED, WA_REASON_LOGGED_OUT, 0);
    cr_expect_eq(status().state, ACCOUNT_LOGGED_OUT);
    cr_expect_eq(house_events("account.unpaired"), 1);
    house_restart();
    cr_expect_eq(status().state, ACCOUNT_LOGGED_OUT);
    cr_expect_str_eq(status().phone, "+15550001111");
    cr_expect_eq(status().reason, WA_REASON_LOGGED_OUT);
}

/* The client's row of a paired account that the server holds off; then the process starts again. */
static void hold_off(struct wa_held_off why)
{
    struct account *a = house.account;
    AUTO(wa_account) row = {0};
    AUTO(buf) bytes = {0};

    wa_account_make(&row, a->host.random, a->host.ctx);
    row.paired = true;
    strcpy(row.pn_user, "15550001111");
    row.held_off = why;
    wa_account_encode(&row, &bytes);
    struct turn *t = turn_open(a);
    a->host.save(a, house_key(WA_NS_ACCOUNT, "", ""), buf_slice(&bytes));
    turn_close(t, OK);
    house_down(WA_EVENT_DISCONNECTED, (enum wa_reason)why.reason, 0);
    house_restart();
}

Test(states, a_ban_is_waited_for_after_a_restart_and_its_end_is_shown)
{
    int64_t now_s = worker_now(house.worker) / 1000, at;

    hold_off((struct wa_held_off){WA_REASON_BANNED, 101, now_s + 3600});
    cr_expect_eq(status().state, ACCOUNT_DISCONNECTED);
    cr_expect_eq(status().reason, WA_REASON_BANNED);
    cr_expect_eq(status().reason_code, 101);
    cr_expect_eq(status().until_s, now_s + 3600);
    cr_expect_eq(status().retry_at, (now_s + 3600) * 1000);
    cr_expect_eq(wa_client_wish(house.account->client, &at), WA_WISH_LINK);
    cr_expect_eq(at, (now_s + 3600) * 1000);
    cr_expect_eq(house_events("account.disconnected"), 1, "told once");
}

Test(states, who_was_replaced_comes_back_after_a_restart_but_not_after_a_break)
{
    int64_t at;

    hold_off((struct wa_held_off){WA_REASON_REPLACED, 409, 0});
    cr_expect_eq(wa_client_wish(house.account->client, &at), WA_WISH_LINK);
    account_break(house.account, ERR_STORE_DAMAGED);
    if (fake_link) fake_link_drop("broken");
    house_pass(ACCOUNT_REOPEN_MS + 1);
    house_settle();
    cr_assert(house.account->client);
    cr_expect_eq(wa_client_wish(house.account->client, &at), WA_WISH_NONE);
    cr_expect_eq(status().reason, WA_REASON_REPLACED);
}

/* A turn that is not the client's plans anew: by the clock that there is now. */
Test(states, the_next_link_waits_no_longer_when_the_clock_is_set_back)
{
    struct errand e = {0};

    hold_off((struct wa_held_off){0});
    house_pass(1000);
    cr_assert(fake_link);
    fake_link_drop("cut");
    house_settle();
    int64_t wait = house.account->timer.at - worker_now(house.worker);
    cr_assert(wait > 0 && wait < 60 * 1000, "%lld", (long long)wait);
    fake_set_back(house.worker, 7200 * 1000);
    errand_start(&e);
    house_settle();
    cr_expect_eq(house.account->timer.at - worker_now(house.worker), wait);
}

/* ---- pairings without a hope ---- */

static err_t pair(struct account *a, struct turn *t, struct account_call *c)
{
    return account_pair(a, t, c);
}

static void end_link(enum wa_reason reason, int code, int64_t retry_in)
{
    struct wa_event e = {.kind = WA_EVENT_DISCONNECTED,
                         .down = {.reason = reason,
                                  .code = code,
                                  .retry_at = retry_in ? worker_now(house.worker) + retry_in : 0}};

    house_emit(&e);
    house_settle();
}

Test(states, a_pairing_that_cannot_be_mended_by_waiting_ends_at_once)
{
    static const struct {
        enum wa_reason reason;
        int64_t retry_in;
        err_t error;
        const char *words;
    } rows[] = {
        {WA_REASON_CERTIFICATE, 1000, ERR_NOT_TRUSTED, "Noise certificate"},
        {WA_REASON_CLIENT_OUTDATED, 3600 * 1000, ERR_PAIRING_REFUSED, "client_outdated"},
        {WA_REASON_REFUSED, 0, ERR_PAIRING_REFUSED, "refused"},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct errand first = {.act = pair}, second = {.act = pair};

        errand_start(&first);
        errand_start(&second);
        house_settle();
        end_link(WA_REASON_LINK, 0, 1000);
        end_link(WA_REASON_SERVER, 503, 2000);
        cr_expect_eq(first.done, 0u, "these pass");
        end_link(rows[i].reason, 0, rows[i].retry_in);
        cr_expect_eq(first.done, 1u);
        cr_expect_eq(second.done, 1u);
        cr_expect_eq(first.call.error, rows[i].error);
        cr_expect(strstr(first.call.words, rows[i].words), "%s", first.call.words);
        cr_expect(strstr(first.call.words, house.account->status.id), "%s", first.call.words);
        cr_expect_eq(status().state, ACCOUNT_PAIRING);
    }
}

/* A silent server: the call ends, the pairing goes on. */
Test(states, a_pairing_without_a_code_answers_after_twenty_seconds)
{
    struct errand first = {.act = pair};

    errand_start(&first);
    house_settle();
    house_pass(19 * 1000);
    house_settle();
    cr_expect_eq(first.done, 0u);
    house_pass(1000);
    house_settle();
    cr_expect_eq(first.done, 1u);
    cr_expect_eq(first.call.error, ERR_QUERY_TIMEOUT);
    cr_expect(strstr(first.call.words, house.account->status.id), "%s", first.call.words);
    cr_expect_eq(status().state, ACCOUNT_PAIRING);
}

/* Without a network: why, what to do, and how to come back. */
Test(states, a_pairing_without_a_network_says_what_to_do)
{
    struct errand first = {.act = pair};

    house.account->status.sandbox = false; /* the words alone differ */
    errand_start(&first);
    house_settle();
    for (int i = 0; i < 2; i++) {
        house_link_up();
        house.account->link_is_up = false;
        fake_link_drop(i ? "the name was not found: temporary failure" : "an older reason");
        house_settle();
    }
    house_pass(20 * 1000);
    house_settle();
    cr_expect_eq(first.done, 1u);
    cr_expect_eq(first.call.error, ERR_QUERY_TIMEOUT);
    cr_expect(strstr(first.call.words, "(the name was not found: temporary failure)"), "%s",
              first.call.words);
    cr_expect(strstr(first.call.words, "name server and firewall"), "%s", first.call.words);
    cr_expect(strstr(first.call.words, house.account->status.id), "%s", first.call.words);
    house.account->status.sandbox = true;
}

Test(states, a_pairing_without_a_sandbox_says_how_to_start_it)
{
    struct errand first = {.act = pair};

    errand_start(&first);
    house_settle();
    house_link_up();
    house.account->link_is_up = false;
    fake_link_drop("cannot connect: connection refused");
    house_settle();
    house_pass(20 * 1000);
    house_settle();
    cr_expect_eq(first.call.error, ERR_QUERY_TIMEOUT);
    cr_expect(strstr(first.call.words, "refused): start it (parley-sim, or tools/run)"), "%s",
              first.call.words);
    cr_expect(strstr(first.call.words, house.account->status.id), "%s", first.call.words);
}

/* The first refusal ended the calls of then; who asks later is not left waiting for nothing. */
Test(states, who_pairs_again_after_a_refusal_starts_over)
{
    struct errand first = {.act = pair}, again = {.act = pair};
    int64_t at;

    errand_start(&first);
    house_settle();
    house_link_up();
    fake_link_drop("cannot connect: certificate: hostname mismatch");
    house_settle();
    cr_expect_eq(first.done, 1u);
    cr_expect_eq(first.call.error, ERR_NOT_TRUSTED);
    cr_expect(strstr(first.call.words, "hostname mismatch"), "%s", first.call.words);
    errand_start(&again);
    house_settle();
    cr_expect_eq(again.done, 0u);
    cr_expect_eq(wa_client_wish(house.account->client, &at), WA_WISH_LINK);
    cr_expect_eq(at, worker_now(house.worker), "at once, without the back-off");
    house_link_up();
    fake_link_drop("cannot connect: certificate: hostname mismatch");
    house_settle();
    cr_expect_eq(again.done, 1u);
    cr_expect_eq(again.call.error, ERR_NOT_TRUSTED);
}

static void refused(enum wa_event_kind kind, enum wa_reason reason, int code, const char *words)
{
    struct wa_event e = {.kind = kind,
                         .down = {.reason = reason, .code = code, .refusal = slice_text(words)}};

    house_emit(&e);
    house_settle();
}

static const char *refusal(void)
{
    static char text[64];
    AUTO(buf) out = {0};

    cr_assert_eq(account_refusal(house.account, &out), OK);
    snprintf(text, sizeof text, SLICE_FMT, SLICE_ARG(buf_slice(&out)));
    return text;
}

static bool file_has(const char *name, const char *text)
{
    char path[128], *bytes = xalloc(1 << 22);
    bool found;

    snprintf(path, sizeof path, "%s/%s", house.folder, name);
    FILE *f = fopen(path, "rb");
    cr_assert(f, "%s", path);
    size_t n = fread(bytes, 1, 1 << 22, f);
    found = memmem(bytes, n, text, strlen(text)) != NULL;
    fclose(f);
    free(bytes);
    return found;
}

/* What a locked account was told may be its only way back: kept, sealed, shown to nobody. */
Test(states, the_words_of_a_refusal_outlive_the_pairing)
{
    struct wa_event connected = {.kind = WA_EVENT_CONNECTED};

    refused(WA_EVENT_UNPAIRED, WA_REASON_LOGGED_OUT, 403, "appeal-token-7");
    cr_expect_str_eq(refusal(), "appeal-token-7");
    house_restart();
    cr_expect_eq(status().state, ACCOUNT_LOGGED_OUT);
    cr_expect_str_eq(refusal(), "appeal-token-7");
    cr_expect_not(file_has("data.mdb", "appeal-token-7"), "in the clear");
    cr_expect_eq(house_events("appeal-token-7"), 0);
    house_emit(&connected);
    house_settle();
    cr_expect_str_eq(refusal(), "", "it takes us again");
    refused(WA_EVENT_DISCONNECTED, WA_REASON_BANNED, 101, "banned");
    cr_expect_str_eq(refusal(), "banned");
    refused(WA_EVENT_DISCONNECTED, WA_REASON_LINK, 0, "");
    cr_expect_str_eq(refusal(), "banned", "a link that breaks says nothing of it");
}

Test(states, codes_that_run_out_leave_the_account_expired)
{
    house_down(WA_EVENT_PAIR_FAILED, WA_REASON_EXPIRED, 0);
    cr_expect_eq(status().state, ACCOUNT_EXPIRED);
}

/* The next pairing has another identity: a session of this one would be its undoing. */
Test(states, an_unpaired_account_forgets_its_keys)
{
    struct turn *t = turn_open(house.account);

    house_save("777@s.whatsapp.net", "session", "of this pairing");
    house_save("", "own", "too");
    turn_close(t, OK);
    house_settle();
    house_down(WA_EVENT_UNPAIRED, WA_REASON_LOGGED_OUT, 0);
    house_settle();
    t = turn_open(house.account);
    cr_expect_null(house_load("777@s.whatsapp.net", "session"));
    cr_expect_null(house_load("", "own"));
    turn_close(t, OK);
}
