/* From the QR to the backlog, at the level of stanzas. */
#include "tests/unit/tools/sim/world.h"

#include "proto/wire/handshake_server.h"

Test(login, pairs_restarts_and_succeeds)
{
    struct world *w = world_new();
    struct sim_phone *p = world_phone(w, "15550001111");
    struct companion *c = companion_new(w);
    struct wa_node *success, *ib;

    companion_pair(c, p);
    cr_expect_eq(p->scan, SIM_SCAN_DONE);
    cr_expect_eq(c->device, 1);
    world_advance(w, 1000);
    cr_expect(c->closed, "515 ends the connection");
    companion_connect(c);
    success = companion_take(c, "success");
    cr_assert_not_null(success);
    cr_expect(slice_is(wa_node_text(success, "lid"), "915550001111:1@lid"));
    ib = companion_take(c, "ib");
    cr_expect_not_null(wa_node_child(ib, "offline_preview"));
    /* The phone told its new companion its keys and its history: four peer messages. */
    cr_expect_eq(companion_count(c, "message"), 4);
    companion_free(c);
    world_free(w);
}

Test(login, six_references_each_for_a_while)
{
    struct world *w = world_new();
    struct sim_phone *p = world_phone(w, "15550001111");
    struct companion *c = companion_new(w);
    struct slice first = companion_ask_refs(c), last;
    const struct wa_node *pair = wa_node_child(c->inbox[0], "pair-device");

    cr_expect_eq(pair->child_count, (size_t)SIM_REFS);
    last = pair->children[SIM_REFS - 1].bytes;
    world_advance(w, 100000);
    cr_expect_eq(sim_phone_scan(p, slice_text(companion_qr(c, first))), ERR_NOT_FOUND);
    cr_expect_eq(sim_phone_scan(p, slice_text(companion_qr(c, last))), OK);
    companion_free(c);
    world_free(w);
}

Test(login, a_code_is_scanned_once)
{
    struct world *w = world_new();
    struct sim_phone *p = world_phone(w, "15550001111"), *q = world_phone(w, "15550002222");
    struct companion *c = companion_new(w);
    struct slice ref = companion_ask_refs(c);

    cr_expect_eq(sim_phone_scan(p, slice_text(companion_qr(c, ref))), OK);
    cr_expect_eq(sim_phone_scan(q, slice_text(companion_qr(c, ref))), ERR_NOT_FOUND);
    companion_free(c);
    world_free(w);
}

Test(login, a_code_with_another_noise_key_is_nobodys)
{
    struct world *w = world_new();
    struct sim_phone *p = world_phone(w, "15550001111");
    struct companion *c = companion_new(w);
    struct slice ref = companion_ask_refs(c);

    crypto_pair_new(&c->noise);
    cr_expect_eq(sim_phone_scan(p, slice_text(companion_qr(c, ref))), ERR_NOT_FOUND);
    companion_free(c);
    world_free(w);
}

Test(login, qr_texts)
{
    static const char *const bad[] = {"",
                                      "ref",
                                      "ref,",
                                      ",,,,",
                                      "ref,AAAA,BBBB,CCCC,1",
                                      "ref,!,!,!,1",
                                      "https://wa.me/settings/linked_devices#"};
    struct world *w = world_new();
    struct sim_phone *p = world_phone(w, "15550001111");
    struct companion *c = companion_new(w);
    struct slice ref = companion_ask_refs(c);
    const char *good = companion_qr(c, ref);
    char linked[512], four[512];

    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        cr_expect_eq(sim_phone_scan(p, slice_text(bad[i])), ERR_BAD_TEXT, "%s", bad[i]);
    for (size_t n = 0; n < strlen(good) - 6; n++) /* cut anywhere but in the client type */
        cr_expect_neq(sim_phone_scan(p, slice_of(good, n)), OK, "%zu", n);
    snprintf(four, sizeof four, "%.*s", (int)(strrchr(good, ',') - good), good);
    snprintf(linked, sizeof linked, "https://wa.me/settings/linked_devices#%s", good);
    cr_expect_eq(sim_phone_scan(p, slice_text(linked)), OK);
    companion_free(c);
    c = companion_new(w);
    ref = companion_ask_refs(c);
    snprintf(four, sizeof four, "%s", companion_qr(c, ref));
    *strrchr(four, ',') = 0;
    cr_expect_eq(sim_phone_scan(p, slice_text(four)), OK, "the old form of four fields");
    companion_free(c);
    world_free(w);
}

Test(login, the_second_connection_of_a_device_replaces_the_first)
{
    struct world *w = world_new();
    struct sim_phone *p = world_phone(w, "15550001111");
    struct companion *c = companion_ready(w, p), *twin = companion_new(w);
    struct wa_node *error;

    twin->identity = c->identity;
    twin->noise = c->noise;
    twin->device = c->device;
    snprintf(twin->number, sizeof twin->number, "%s", c->number);
    companion_connect(twin);
    cr_expect_not_null(companion_take(twin, "success"));
    error = companion_take(c, "stream:error");
    cr_assert_not_null(error);
    cr_expect(has_text(wa_node_child(error, "conflict"), "type", "replaced"));
    world_advance(w, 1000);
    cr_expect(c->closed);
    cr_expect_eq(sim_device_find(p->account, 1)->conn, twin->conn);
    companion_free(c);
    companion_free(twin);
    world_free(w);
}

/* ---- backlog ---- */

static struct wa_node *ask_batch(struct companion *c, int count)
{
    struct wa_node *ib = wa_node_new(&c->arena, "ib");

    wa_node_set_int(wa_node_add(ib, &c->arena, "offline_batch"), &c->arena, "count", count);
    return ib;
}

static void phone_writes(struct sim_phone *from, const char *to, unsigned n)
{
    char id[SIM_ID_MAX];

    for (unsigned i = 0; i < n; i++)
        cr_assert_eq(
            sim_phone_write(
                from, &(struct sim_writing){.to = slice_text(to), .text = SLICE("hello")}, id),
            OK);
    world_settle((struct world *)(void *)((char *)from->phones - offsetof(struct world, phones)));
}

static bool has_marker(struct companion *c)
{
    struct wa_node *ib;

    while ((ib = companion_take(c, "ib")))
        if (wa_node_child(ib, "offline")) return true;
    return false;
}

struct away {
    struct world *w;
    struct sim_phone *own, *other;
    struct companion *c;
};

/* A companion that was away while `n` messages and one token came. */
static struct away come_back(unsigned n)
{
    struct away a = {.w = world_new()};

    a.own = world_phone(a.w, "15550001111");
    a.other = world_phone(a.w, "15550002222");
    phone_writes(a.other, "15550001111", 1); /* the token is given now */
    a.c = companion_ready(a.w, a.own);
    companion_hang_up(a.c);
    phone_writes(a.other, "15550001111", n);
    companion_connect(a.c);
    return a;
}

static void end(struct away *a)
{
    companion_free(a->c);
    world_free(a->w);
}

Test(login, a_primer_comes_at_once_the_rest_when_asked)
{
    struct away a = come_back(20);

    cr_expect_eq(companion_count(a.c, "message"), (size_t)SIM_PRIMER);
    companion_send(a.c, ask_batch(a.c, 10));
    cr_expect_eq(companion_count(a.c, "message"), (size_t)SIM_PRIMER + 10);
    world_advance(a.w, 60000);
    cr_expect_eq(companion_count(a.c, "message"), (size_t)SIM_PRIMER + 10,
                 "who asks is not spoilt");
    companion_send(a.c, ask_batch(a.c, 100));
    cr_expect_eq(companion_count(a.c, "message"), 20);
    cr_expect(has_marker(a.c));
    end(&a);
}

Test(login, who_never_asks_gets_it_after_a_while)
{
    struct away a = come_back(20);

    world_advance(a.w, 4000);
    cr_expect_eq(companion_count(a.c, "message"), 20);
    cr_expect(has_marker(a.c));
    end(&a);
}

Test(login, what_waited_is_marked_what_is_new_is_not)
{
    struct away a = come_back(2);
    struct wa_node *n;

    for (int i = 0; i < 2; i++) {
        n = companion_take(a.c, "message");
        cr_assert_not_null(n);
        cr_expect_not_null(wa_node_attr(n, "offline"));
    }
    phone_writes(a.other, "15550001111", 1);
    n = companion_take(a.c, "message");
    cr_assert_not_null(n);
    cr_expect_null(wa_node_attr(n, "offline"));
    end(&a);
}

Test(login, what_is_not_answered_comes_again_what_is_does_not)
{
    struct away a = come_back(3);

    companion_connect(a.c);
    cr_expect_eq(companion_count(a.c, "message"), 3, "not answered");
    companion_ack_all(a.c);
    companion_connect(a.c);
    cr_expect_eq(companion_count(a.c, "message"), 0, "answered");
    end(&a);
}

Test(login, live_messages_stay_behind_the_backlog)
{
    struct away a = come_back(10);

    phone_writes(a.other, "15550001111", 1);
    cr_expect_eq(companion_count(a.c, "message"), (size_t)SIM_PRIMER);
    companion_send(a.c, ask_batch(a.c, 100));
    cr_expect_eq(companion_count(a.c, "message"), 11);
    cr_expect_null(wa_node_attr(a.c->inbox[a.c->received - 1], "offline"));
    end(&a);
}

/* ---- life ---- */

Test(login, the_server_pings_and_claims_its_debts)
{
    struct away a = come_back(1);
    struct wa_node *ping, *error;

    a.w->relay.options.ping = true;
    world_advance(a.w, SIM_BEAT_MS);
    while ((ping = companion_take(a.c, "iq")) && !has_text(ping, "xmlns", "urn:xmpp:ping")) {
    }
    cr_expect_not_null(ping);
    world_advance(a.w, SIM_OWED_MS);
    error = companion_take(a.c, "stream:error");
    cr_assert_not_null(error, "a message was never answered for");
    cr_expect(has_text(wa_node_child(error, "ack"), "class", "message"));
    end(&a);
}

Test(login, a_connection_that_says_nothing_ends)
{
    struct world *w = world_new();
    struct companion *c = companion_new(w);

    c->conn = sim_conn_open(&w->relay, c, w->now_ms);
    world_advance(w, SIM_HANDSHAKE_MS - 1);
    cr_expect_not(c->closed);
    world_advance(w, 2);
    cr_expect(c->closed);
    companion_free(c);
    world_free(w);
}

Test(login, junk_ends_the_connection)
{
    static const char *const junk[] = {"GET / HTTP/1.1\r\n\r\n", "WA\x06\x03\xff\xff\xff",
                                       "WA\x06\x03\x00\x00\x04junk",
                                       "ED\x00\x01\x00\x00\x01xWA\x06\x02"};
    static const size_t lengths[] = {18, 7, 11, 12};

    for (size_t i = 0; i < ARRAY_LEN(junk); i++) {
        struct world *w = world_new();
        struct companion *c = companion_new(w);

        c->conn = sim_conn_open(&w->relay, c, w->now_ms);
        sim_conn_bytes(c->conn, slice_of(junk[i], lengths[i]), w->now_ms);
        world_advance(w, 1);
        cr_expect(c->closed, "%zu", i);
        companion_free(c);
        world_free(w);
    }
}

Test(login, logging_out_removes_the_device)
{
    struct world *w = world_new();
    struct sim_phone *p = world_phone(w, "15550001111");
    struct companion *c = companion_ready(w, p);
    struct wa_node *iq = companion_iq(c, "set", "md"), *remove, *error;

    remove = wa_node_add(iq, &c->arena, "remove-companion-device");
    wa_node_set_jid(remove, &c->arena, "jid", jid_pn("15550001111", 1));
    wa_node_set(remove, &c->arena, "reason", SLICE("user_initiated"));
    cr_expect(has_text(companion_ask(c, iq), "type", "result"));
    error = companion_take(c, "stream:error");
    cr_assert_not_null(error);
    cr_expect(has_text(error, "code", "401"));
    cr_expect(has_text(wa_node_child(error, "conflict"), "type", "device_removed"));
    cr_expect_eq(sim_account_device_count(p->account), 1);
    companion_connect(c);
    cr_expect(has_text(companion_take(c, "failure"), "reason", "401"));
    companion_free(c);
    world_free(w);
}

Test(login, the_phone_can_remove_it_too)
{
    struct world *w = world_new();
    struct sim_phone *p = world_phone(w, "15550001111");
    struct companion *c = companion_ready(w, p);

    cr_expect_eq(sim_phone_unlink(p, 9), ERR_NOT_FOUND);
    cr_expect_eq(sim_phone_unlink(p, 1), OK);
    cr_expect(has_text(companion_take(c, "stream:error"), "code", "401"));
    companion_free(c);
    world_free(w);
}

Test(login, numbers_of_devices_come_again)
{
    enum { ROUNDS = 300 };
    struct world *w = world_new();
    struct sim_phone *p = world_phone(w, "15550001111");
    struct companion *stays = companion_ready(w, p), *c;
    bool had[256] = {0};

    for (int i = 0; i < ROUNDS; i++) {
        c = companion_new(w);
        companion_pair(c, p);
        cr_assert(c->device != 0 && c->device != 99 && c->device != stays->device, "%u", c->device);
        cr_assert_lt(c->device, ARRAY_LEN(had));
        had[c->device] = true;
        cr_assert_eq(sim_phone_unlink(p, c->device), OK);
        world_settle(w);
        companion_ack_all(stays);
        companion_skip(stays);
        companion_free(c);
    }
    for (unsigned id = 1; id < ARRAY_LEN(had); id++)
        cr_expect_eq(had[id], id != 99 && id != stays->device, "%u", id);
    companion_free(stays);
    world_free(w);
}

Test(login, a_full_account_links_no_more_and_says_so)
{
    struct world *w = world_new();
    struct sim_phone *p = world_phone(w, "15550001111");
    struct companion *c[SIM_DEVICES_MAX];

    for (size_t i = 1; i < ARRAY_LEN(c); i++) {
        c[i] = companion_new(w);
        companion_pair(c[i], p);
    }
    c[0] = companion_new(w);
    struct slice ref = companion_ask_refs(c[0]);
    cr_expect_eq(sim_phone_scan(p, slice_text(companion_qr(c[0], ref))), ERR_STORE_LOCKED);
    cr_expect_eq(sim_phone_unlink(p, 1), OK);
    cr_expect_eq(sim_phone_scan(p, slice_text(companion_qr(c[0], ref))), OK);
    for (size_t i = 0; i < ARRAY_LEN(c); i++)
        companion_free(c[i]);
    world_free(w);
}

Test(login, others_and_own_devices_hear_of_new_devices)
{
    struct world *w = world_new();
    struct sim_phone *p = world_phone(w, "15550001111"), *q = world_phone(w, "15550002222");
    struct companion *watcher = companion_ready(w, q), *first, *second;
    struct wa_node *n;

    phone_writes(q, "15550001111", 1); /* q knows p from now on */
    companion_ack_all(watcher);
    companion_skip(watcher);
    first = companion_ready(w, p);
    n = companion_take(watcher, "notification");
    cr_assert_not_null(n);
    cr_expect(has_text(n, "type", "devices"));
    cr_assert_not_null(wa_node_child(n, "add"));
    cr_expect(slice_is(wa_node_text(wa_node_child(wa_node_child(n, "add"), "device"), "jid"),
                       "15550001111:1@s.whatsapp.net"));
    second = companion_ready(w, p);
    n = companion_take(first, "notification");
    cr_assert_not_null(n);
    cr_expect(has_text(n, "type", "account_sync"));
    cr_expect_eq(wa_node_child(n, "devices")->child_count, 4, "phone, two companions, indexes");
    companion_free(watcher);
    companion_free(first);
    companion_free(second);
    world_free(w);
}
