#include "proto/client/inside.h"
#include "server/account/people.h"
#include "server/account/terms.h"
#include "server/api/json.h"
#include "storage/outbox.h"
#include "tests/unit/server/account/house.h"

TestSuite(ingest, .init = house_start, .fini = house_stop, .timeout = 60);

static struct wa_jid lid(const char *user) { return wa_jid_of(WA_SERVER_LID, slice_text(user), 0); }
static struct wa_jid pn(const char *user) { return wa_jid_of(WA_SERVER_USER, slice_text(user), 0); }
static struct wa_jid group(void) { return wa_jid_of(WA_SERVER_GROUP, SLICE("120363"), 0); }

/* From Ada, in her chat. */
static struct wa_event message(const char *id, const char *text)
{
    struct wa_event e = {.kind = WA_EVENT_MESSAGE};

    e.message = (struct wa_message){.chat.lid = lid("2222"),
                                    .author.lid = lid("2222"),
                                    .id = slice_text(id),
                                    .time_s = 1800000000,
                                    .kind = WA_KIND_TEXT,
                                    .text = slice_text(text),
                                    .raw = slice_text(text)};
    return e;
}
static void receive(const char *id, const char *text)
{
    struct wa_event e = message(id, text);

    house_emit(&e);
}

/* ---- looking ---- */

static struct db_contact contact_of(const char *address)
{
    struct contact_ref ref;
    struct db_contact c = {0};

    cr_assert_eq(db_contact_of(house.aw->view, house.account->scope, slice_text(address), &ref),
                 OK);
    if (ref.peer)
        cr_assert_eq(db_contact_get(house.aw->view, house.account->scope, ref.peer, &c), OK);
    return c;
}

/* The chat with an address as one line: "2 unread, last 3: [received one][…]". */
static const char *chat(const char *address)
{
    static char line[2048];
    struct db_contact who;
    struct db_chat row = {0};
    struct db_message m;
    size_t at;

    house_settle();
    house_view();
    who = contact_of(address);
    if (who.peer)
        cr_assert_eq(db_chat_find(house.aw->view, house.account->scope, who.peer, &row), OK);
    at = (size_t)snprintf(line, sizeof line, "%u unread: ", row.unread_count);
    AUTO(message_walk) walk = {0};
    if (who.peer) {
        message_walk_init(&walk, house.aw->view, house.account->scope, &who, (struct place){0},
                          RANGE_FORWARDS);
        while (message_walk_next(&walk, &m))
            at += (size_t)snprintf(line + at, sizeof line - at, "[%s%s " SLICE_FMT "]",
                                   m.from_me ? "me " : "", message_status_text(m.status),
                                   SLICE_ARG(m.text));
        cr_assert_eq(message_walk_error(&walk), OK);
        message_walk_done(&walk);
        walk = (struct message_walk){0};
    }
    house_view_end();
    return line;
}

static size_t found(const char *query)
{
    AUTO(arena) arena = {0};
    struct search_query q = {0};
    struct search_cursor next;
    enum { HITS_MAX = 512 };
    struct db_message hits[HITS_MAX];
    size_t n;

    terms_of(slice_text(query), &arena, &q.terms);
    cr_assert_eq(db_search(house_view(), house.account->scope, &q, (struct search_cursor){0},
                           HITS_MAX, hits, &n, &next),
                 OK);
    house_view_end();
    return n;
}

/* ---- messages ---- */

Test(ingest, a_message_is_stored_told_and_found_in_one_commit)
{
    struct wa_event e = message("A1", "Good Morning");

    e.message.push_name = SLICE("Ada");
    house_emit(&e);
    cr_expect_eq(house_events("message.received"), 0);
    cr_expect_eq(found("morning"), 0u);
    cr_expect_eq(house_commit(), 1u);
    cr_expect_str_eq(chat("2222@lid"), "1 unread: [received Good Morning]");
    cr_expect_eq(house_events("message.received"), 1);
    cr_expect_eq(house_events("Good Morning"), 1);
    cr_expect_eq(found("MORNING good"), 1u);
    house_view();
    cr_expect(slice_is(contact_of("2222@lid").push_name, "Ada"));
    house_view_end();
}

Test(ingest, a_text_with_a_zero_character_is_told_in_json_that_parsers_take)
{
    struct wa_event e = message("A1", "");
    struct db_event told = {0};
    struct json *j = NULL;
    AUTO(range) r = {0};

    e.message.text = slice_of("a\0b", 3);
    house_emit(&e);
    house_settle();
    db_events(&r, house_view(), 1, 0, 0, RANGE_FORWARDS);
    for (struct db_event next; db_event_next(&r, &next);)
        told = next;
    cr_assert_eq(json_parse(told.bytes, SIZE_MAX, &j), OK);
    cr_expect(slice_is(json_get_text(j, "event"), "message.received"));
    json_free(j);
    house_view_end();
}

Test(ingest, a_message_told_twice_is_stored_once)
{
    receive("A1", "one");
    receive("A1", "one");
    house_settle();
    receive("A1", "one");
    cr_expect_str_eq(chat("2222@lid"), "1 unread: [received one]");
    cr_expect_eq(house_events("message.received"), 1);
}

Test(ingest, the_same_id_of_two_people_is_two_messages)
{
    struct wa_event e = message("SAME", "by ada"), other = message("SAME", "by bob");

    e.message.chat.lid = (struct wa_jid){0};
    e.message.chat.pn = other.message.chat.pn = group();
    other.message.chat.lid = (struct wa_jid){0};
    other.message.author.lid = lid("3333");
    e.message.is_group = other.message.is_group = true;
    house_emit(&e);
    house_emit(&other);
    cr_expect_str_eq(chat("120363@g.us"), "2 unread: [received by ada][received by bob]");
}

Test(ingest, a_waiting_message_turns_into_its_text_where_it_stands)
{
    struct wa_event e = message("W1", "");

    e.message.waiting = true;
    e.message.kind = WA_KIND_UNKNOWN;
    e.message.text = e.message.raw = SLICE_NONE;
    house_emit(&e);
    receive("A2", "after");
    cr_expect_str_eq(chat("2222@lid"), "2 unread: [waiting ][received after]");
    cr_expect_eq(house_events("message.received"), 1);
    e = message("W1", "at last");
    e.message.completes = true;
    house_emit(&e);
    cr_expect_str_eq(chat("2222@lid"), "2 unread: [received at last][received after]");
    cr_expect_eq(house_events("message.received"), 2);
    cr_expect_eq(found("last"), 1u);
    house_emit(&e);
    house_settle();
    cr_expect_eq(house_events("message.received"), 2);
}

Test(ingest, what_the_owner_wrote_elsewhere_is_ours)
{
    struct wa_event e = message("M1", "from my phone");

    e.message.from_me = true;
    e.message.author.lid = lid("1111");
    house_emit(&e);
    cr_expect_str_eq(chat("2222@lid"), "0 unread: [me sent from my phone]");
    cr_expect_eq(house_events("message.sent"), 1);
    cr_expect_eq(house_events("message.received"), 0);
}

Test(ingest, text_that_is_no_text_does_no_harm)
{
    receive("B1", "bad \xff\xfe bytes");
    cr_expect_str_eq(chat("2222@lid"), "1 unread: [received ]");
    cr_expect_eq(house_events("message.received"), 1);
}

Test(ingest, a_message_whose_id_is_beyond_the_limit_is_left_out)
{
    static char id[STANZA_ID_MAX + 2];

    memset(id, 'x', sizeof id - 1);
    receive(id, "never");
    receive("", "never");
    cr_expect(!house.account->broken);
    cr_expect_str_eq(chat("2222@lid"), "0 unread: ");
}

Test(ingest, reactions_are_kept_and_are_no_news)
{
    struct wa_event e = message("R1", "+");

    receive("A1", "one");
    e.message.kind = WA_KIND_REACTION;
    house_emit(&e);
    cr_expect_str_eq(chat("2222@lid"), "1 unread: [received one][received +]");
}

Test(ingest, more_messages_than_a_search_scans_are_folded_and_found)
{
    for (int i = 0; i < 3 * TAIL_MAX; i++) {
        char id[16], text[32];
        snprintf(id, sizeof id, "N%d", i);
        snprintf(text, sizeof text, "number%d common", i);
        receive(id, text);
        house_settle();
        cr_assert_eq(found(text), 1u, "%s", text);
    }
    cr_expect_lt(house.account->tail_rows, (size_t)TAIL_MAX);
    cr_expect_eq(found("number0"), 1u);
    cr_expect_eq(found("number300"), 1u);
}

/* So many words that a fold takes several slices: each must see what the one before wrote. */
Test(ingest, folds_of_long_messages_lose_none)
{
    enum { MESSAGES = 2 * TAIL_FOLD_AT, WORDS = 600 };
    AUTO(buf) text = {0};

    for (int i = 0; i < MESSAGES; i++) {
        char id[16];
        buf_reset(&text);
        buf_put_text(&text, "common");
        for (int k = 0; k < WORDS; k++)
            buf_printf(&text, " w%dx%d", i, k);
        snprintf(id, sizeof id, "F%d", i);
        receive(id, buf_text(&text));
        house_settle();
    }
    cr_expect_lt(house.account->tail_rows, (size_t)TAIL_MAX);
    cr_expect_eq(found("common"), (size_t)MESSAGES);
}

/* ---- people ---- */

Test(ingest, learning_a_mapping_makes_one_person_of_two)
{
    struct wa_event by_number = message("P1", "by number");
    struct wa_event mapping = {.kind = WA_EVENT_MAPPING,
                               .mapping = {.pn = pn("15550002222"), .lid = lid("2222")}};

    by_number.message.chat = by_number.message.author = (struct wa_party){.pn = pn("15550002222")};
    by_number.message.time_s -= 10;
    house_emit(&by_number);
    receive("L1", "by lid");
    house_settle();
    house_emit(&mapping);
    cr_expect_str_eq(chat("2222@lid"), "2 unread: [received by number][received by lid]");
    cr_expect_str_eq(chat("15550002222@s.whatsapp.net"),
                     "2 unread: [received by number][received by lid]");
    house_emit(&by_number);
    receive("L1", "by lid");
    cr_expect_str_eq(chat("2222@lid"), "2 unread: [received by number][received by lid]");
}

Test(ingest, a_merge_is_told_with_its_commit_and_before_what_comes_of_it)
{
    struct wa_event by_number = message("P1", "by number"), both = message("P2", "of one person");

    house_told[0] = 0;
    by_number.message.chat = by_number.message.author = (struct wa_party){.pn = pn("15550002222")};
    house_emit(&by_number);
    receive("L1", "by lid");
    house_settle();
    cr_expect_str_eq(house_told, "1 2 ");
    both.message.chat.pn = both.message.author.pn = pn("15550002222");
    house_emit(&both);
    cr_expect_str_eq(house_told, "1 2 ", "not before the commit");
    house_settle();
    cr_expect_str_eq(house_told, "1 2 (1 with 2) 3 ");
    both.message.id = SLICE("P3");
    house_emit(&both);
    receive("L2", "again");
    house_settle();
    cr_expect_str_eq(house_told, "1 2 (1 with 2) 3 4 5 ", "once, and no number is missing");
}

/* The number went to somebody else: nobody became part of anybody. */
Test(ingest, a_number_that_moves_is_no_merge)
{
    struct wa_event first = message("A1", "of Ada"), second = message("B1", "of Bob"),
                    third = message("B2", "by her number");

    house_told[0] = 0;
    first.message.chat.pn = first.message.author.pn = pn("15550002222");
    second.message.chat = second.message.author = (struct wa_party){.lid = lid("3333")};
    third.message.chat = third.message.author =
        (struct wa_party){.lid = lid("3333"), .pn = pn("15550002222")};
    house_emit(&first);
    house_emit(&second);
    house_emit(&third);
    house_settle();
    cr_expect_str_eq(house_told, "1 2 3 ");
}

Test(ingest, a_push_name_is_kept)
{
    struct wa_event e = {.kind = WA_EVENT_CONTACT,
                         .contact = {.who.lid = lid("2222"), .push_name = SLICE("Ada L.")}};

    house_emit(&e);
    house_settle();
    house_view();
    cr_expect(slice_is(contact_of("2222@lid").push_name, "Ada L."));
    house_view_end();
}

/* ---- ours, their acks and receipts ---- */

static void send(const char *id, const char *text)
{
    struct wa_event m = message(id, text), out = {.kind = WA_EVENT_OUTBOX};
    struct turn *t = turn_open(house.account);

    m.message.from_me = true;
    m.message.author.lid = lid("1111");
    m.message.operation = 77;
    out.outbox.id = slice_text(id);
    out.outbox.is_message = true;
    out.outbox.stanza = SLICE("stanza bytes");
    house.account->host.emit(house.account, &m);
    house.account->host.emit(house.account, &out);
    turn_close(t, OK);
}

static void acked(const char *id, err_t error, int code)
{
    struct wa_event e = {.kind = WA_EVENT_OUTBOX_DONE};

    e.outbox_done.id = slice_text(id);
    e.outbox_done.is_message = true;
    e.outbox_done.error = error;
    e.outbox_done.code = code;
    house_emit(&e);
}

static void receipt_of(enum wa_receipt_kind kind, bool by_us, const struct slice *ids, size_t n)
{
    struct wa_event e = {.kind = WA_EVENT_RECEIPT};

    e.receipt = (struct wa_receipt){.kind = kind,
                                    .chat.lid = lid("2222"),
                                    .who.lid = by_us ? lid("1111") : lid("2222"),
                                    .by_us = by_us,
                                    .ids = ids,
                                    .id_count = n,
                                    .time_s = 1800000100};
    house_emit(&e);
}
static void receipt(enum wa_receipt_kind kind, bool by_us, const char *id)
{
    struct slice ids[] = {slice_text(id)};

    receipt_of(kind, by_us, ids, 1);
}

static int outbox_rows(void)
{
    struct db_outbox row;
    int n = 0;
    AUTO(range) r = {0};

    house_settle();
    db_outboxes(&r, house_view(), house.account->scope);
    while (db_outbox_next(&r, &row))
        n++;
    range_done(&r);
    house_view_end();
    return n;
}

Test(ingest, a_send_is_pending_until_its_ack)
{
    send("S1", "hello");
    cr_expect_str_eq(chat("2222@lid"), "0 unread: [me pending hello]");
    cr_expect_eq(outbox_rows(), 1);
    cr_expect_eq(house_events("message.sent"), 0);
    acked("S1", OK, 0);
    cr_expect_str_eq(chat("2222@lid"), "0 unread: [me sent hello]");
    cr_expect_eq(outbox_rows(), 0);
    cr_expect_eq(house_events("message.sent"), 1);
    acked("S1", OK, 0);
    house_settle();
    cr_expect_eq(house_events("message.sent"), 1, "a second ack is nothing");
}

Test(ingest, an_ack_with_an_error_is_a_failed_message)
{
    static const struct {
        err_t error;
        int code;
    } rows[] = {{ERR_NEEDS_TOKEN, 463},
                {ERR_NEW_CHATS_CAPPED, 475},
                {ERR_INVALID_STANZA, 479},
                {ERR_STALE_ADDRESSING, 421}};

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char id[8];
        snprintf(id, sizeof id, "F%zu", i);
        send(id, "no");
        acked(id, rows[i].error, rows[i].code);
    }
    cr_expect_str_eq(chat("2222@lid"),
                     "0 unread: [me failed no][me failed no][me failed no][me failed no]");
    cr_expect_eq(house_events("message.sent"), 0);
    cr_expect_eq(outbox_rows(), 0);
}

Test(ingest, the_outbox_survives_and_is_finished_after_a_restart)
{
    send("S1", "hello");
    house_settle();
    house_restart();
    acked("S1", OK, 0);
    cr_expect_str_eq(chat("2222@lid"), "0 unread: [me sent hello]");
    cr_expect_eq(house_events("message.sent"), 1);
    cr_expect_eq(outbox_rows(), 0);
}

Test(ingest, receipts_raise_a_message_and_never_lower_it)
{
    send("S1", "hello");
    receipt(WA_RECEIPT_DELIVERED, false, "S1"); /* overtakes the ack */
    acked("S1", OK, 0);
    cr_expect_str_eq(chat("2222@lid"), "0 unread: [me delivered hello]");
    receipt(WA_RECEIPT_READ, false, "S1");
    receipt(WA_RECEIPT_DELIVERED, false, "S1");
    cr_expect_str_eq(chat("2222@lid"), "0 unread: [me read hello]");
    cr_expect_eq(house_events("message.read"), 1);
    receipt(WA_RECEIPT_READ, false, "S1");
    receipt(WA_RECEIPT_READ, false, "UNKNOWN");
    house_settle();
    cr_expect_eq(house_events("message.read"), 1);
    receipt(WA_RECEIPT_PLAYED, false, "S1");
    house_settle();
    cr_expect_eq(house_events("\"played\""), 1);
}

Test(ingest, a_receipt_does_not_touch_messages_of_others)
{
    receive("A1", "theirs");
    receipt(WA_RECEIPT_READ, false, "A1");
    cr_expect_str_eq(chat("2222@lid"), "1 unread: [received theirs]");
    cr_expect_eq(house_events("message.read"), 0);
}

/* As if its client had logged in on the link that is up. */
static void log_in(void)
{
    struct wa_client *c = house.account->client;
    struct wa_event e = {.kind = WA_EVENT_CONNECTED};

    house_link_up();
    c->state = WA_CLIENT_ONLINE;
    c->phase = WA_PHASE_ONLINE;
    c->link = house.account->link_number;
    house_emit(&e);
    house_settle();
}

Test(ingest, a_large_outbox_is_sent_again_in_pieces_that_the_link_can_hold)
{
    enum { ROWS = 100, ROW = 60000 };
    static char stanza[ROW + 1];
    struct wa_event e = {.kind = WA_EVENT_OUTBOX};
    size_t pieces = 0, total = 0;

    memset(stanza, 'x', ROW);
    e.outbox.stanza = slice_text(stanza);
    for (int i = 0; i < ROWS; i++) {
        char id[16];
        snprintf(id, sizeof id, "ROW%d", i);
        e.outbox.id = slice_text(id);
        house_emit(&e);
        house_settle();
    }
    log_in();
    for (; fake_link->queued; pieces++) {
        cr_expect_leq(fake_link->queued, (size_t)2 * OUTBOX_PIECE);
        total += fake_link->queued;
        fake_link->queued = 0;
        e.outbox.id = SLICE("NEW"); /* any input, such as an ack */
        house_emit(&e);
        house_settle();
    }
    cr_expect_geq(pieces, (size_t)3);
    cr_expect_geq(total, (size_t)ROWS * ROW, "each of them");
    cr_expect_lt(total, (size_t)(ROWS + 5) * ROW, "and each once");
}

Test(ingest, reading_on_another_device_empties_the_chat_here)
{
    receive("A1", "one");
    receive("A2", "two");
    receive("A3", "three");
    receipt(WA_RECEIPT_READ, true, "A2");
    cr_expect_str_eq(chat("2222@lid"), "1 unread: [received one][received two][received three]");
    receipt(WA_RECEIPT_READ, true, "A3");
    cr_expect_str_eq(chat("2222@lid"), "0 unread: [received one][received two][received three]");
    cr_expect_eq(house_events("message.read"), 2);
    receipt(WA_RECEIPT_READ, true, "A3");
    house_settle();
    cr_expect_eq(house_events("message.read"), 2);
}

Test(ingest, a_receipt_for_more_than_an_event_holds_is_told_in_parts)
{
    enum { MANY = 30000 };
    static struct slice ids[MANY];

    receive("A1", "one");
    for (size_t i = 0; i < MANY; i++)
        ids[i] = SLICE("A1");
    receipt_of(WA_RECEIPT_READ, true, ids, MANY);
    cr_expect_str_eq(chat("2222@lid"), "0 unread: [received one]");
    cr_expect_eq(house_events("message.read"), MANY / 1024 + 1);
}

Test(ingest, an_unpaired_account_fails_what_was_on_its_way)
{
    send("S1", "hello");
    house_down(WA_EVENT_UNPAIRED, WA_REASON_LOGGED_OUT, 0);
    cr_expect_str_eq(chat("2222@lid"), "0 unread: [me failed hello]");
    cr_expect_eq(outbox_rows(), 0);
}

/* ---- reading ---- */

static char read_chat[ACCOUNT_ID_MAX];
static err_t mark_read(struct account *a, struct turn *t, struct account_call *c)
{
    struct db_contact contact;

    TRY(db_contact_get(turn_view(t), a->scope, 1, &contact));
    people_chat_id(a, &contact, read_chat);
    return account_mark_read(a, t, slice_text(read_chat));
}

/* A read receipt for it would tell the server that it has arrived, and it never came again. */
Test(ingest, a_waiting_message_is_not_reported_as_read)
{
    struct wa_event e = message("W1", "");
    struct errand read = {.act = mark_read};

    e.message.waiting = true;
    e.message.kind = WA_KIND_UNKNOWN;
    e.message.text = e.message.raw = SLICE_NONE;
    house_emit(&e);
    house_settle();
    errand_start(&read);
    house_settle();
    cr_assert_eq(read.call.error, OK, "%s", read.call.trail);
    cr_expect_str_eq(chat("2222@lid"), "0 unread: [waiting ]");
    cr_expect_eq(outbox_rows(), 0);
    receive("A2", "after");
    read = (struct errand){.act = mark_read};
    errand_start(&read);
    cr_expect_eq(outbox_rows(), 1);
}

/* What counts as unread is what is reported. */
Test(ingest, reactions_do_not_take_the_receipts_of_what_they_are_about)
{
    struct wa_event e = message("R1", "+");
    struct errand read = {.act = mark_read};
    struct db_outbox row;
    AUTO(range) r = {0};

    receive("A1", "one");
    e.message.kind = WA_KIND_REACTION;
    house_emit(&e);
    house_settle();
    errand_start(&read);
    house_settle();
    cr_assert_eq(read.call.error, OK, "%s", read.call.trail);
    cr_expect_eq(outbox_rows(), 1);
    db_outboxes(&r, house_view(), house.account->scope);
    cr_assert(db_outbox_next(&r, &row));
    cr_expect(slice_is(row.stanza_id, "A1"), SLICE_FMT, SLICE_ARG(row.stanza_id));
    range_done(&r);
    house_view_end();
}

Test(ingest, a_waiting_message_that_turns_out_to_be_a_reaction_is_no_news)
{
    struct wa_event e = message("W1", "+");
    struct slice text = e.message.text, raw = e.message.raw;

    receive("A1", "one");
    e.message.waiting = true;
    e.message.kind = WA_KIND_UNKNOWN;
    e.message.text = e.message.raw = SLICE_NONE;
    house_emit(&e);
    house_settle();
    cr_expect_str_eq(chat("2222@lid"), "2 unread: [received one][waiting ]");
    e.message.waiting = false;
    e.message.kind = WA_KIND_REACTION;
    e.message.text = text;
    e.message.raw = raw;
    house_emit(&e);
    house_settle();
    cr_expect_str_eq(chat("2222@lid"), "1 unread: [received one][received +]");
}
