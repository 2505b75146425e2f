#include "storage/keys.h"
#include "tests/unit/server/account/house.h"

TestSuite(host, .init = house_start, .fini = house_stop, .timeout = 60);

#define ADA_PN "15550002222@s.whatsapp.net"
#define ADA_LID "2222@lid"

Test(host, keeps_values_over_a_restart)
{
    struct turn *t = turn_open(house.account);

    house_save("", "mine", "of the account");
    house_save(ADA_LID, "", "of a person");
    house_save(ADA_LID, "0", "of her phone");
    house_save("123-456@g.us", "", "of a group");
    turn_close(t, OK);
    house_settle();
    house_restart();
    t = turn_open(house.account);
    cr_expect_str_eq(house_load("", "mine"), "of the account");
    cr_expect_str_eq(house_load(ADA_LID, ""), "of a person");
    cr_expect_str_eq(house_load(ADA_LID, "0"), "of her phone");
    cr_expect_str_eq(house_load("123-456@g.us", ""), "of a group");
    cr_expect_null(house_load(ADA_LID, "1"));
    cr_expect_null(house_load("nobody@lid", ""));
    turn_close(t, OK);
}

Test(host, an_empty_value_is_not_an_absent_one)
{
    struct turn *t = turn_open(house.account);

    house_save("", "empty", "");
    cr_expect_str_eq(house_load("", "empty"), "");
    turn_close(t, OK);
}

/* Two addresses of one person share a home: their rows must not. */
Test(host, keeps_the_addresses_of_one_person_apart)
{
    struct wa_event mapping = {.kind = WA_EVENT_MAPPING,
                               .mapping = {.pn = wa_jid_of(WA_SERVER_USER, SLICE("15550002222"), 0),
                                           .lid = wa_jid_of(WA_SERVER_LID, SLICE("2222"), 0)}};
    struct turn *t = turn_open(house.account);

    house_save(ADA_PN, "0", "by number");
    turn_close(t, OK);
    house_emit(&mapping);
    t = turn_open(house.account);
    house_save(ADA_LID, "0", "by lid");
    cr_expect_str_eq(house_load(ADA_PN, "0"), "by number", "still found after the mapping");
    cr_expect_str_eq(house_load(ADA_LID, "0"), "by lid");
    house_save(ADA_PN, "0", NULL);
    cr_expect_str_eq(house_load(ADA_LID, "0"), "by lid");
    turn_close(t, OK);
}

/* A turn remembers where the rows of the people are that it met last. */
Test(host, keeps_the_rows_of_many_people_apart_in_one_turn)
{
    char owner[32];
    struct turn *t = turn_open(house.account);

    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 2 * TURN_HOMES; i++) {
            snprintf(owner, sizeof owner, "%d@lid", 3000 + i);
            if (round == 0) cr_expect_null(house_load(owner, "0"));
            if (round == 0) house_save(owner, "0", owner);
            cr_expect_str_eq(house_load(owner, "0"), owner);
        }
    }
    turn_close(t, OK);
}

/* Every row of the keys database, in the clear or not. */
static bool stands_in_database(const char *text)
{
    bool found = false;
    AUTO(range) r = {0};

    range_prefix(&r, house_view(), DB_data, SLICE(""), RANGE_FORWARDS);
    while (range_next(&r))
        found |= memmem(r.value.data, r.value.len, text, strlen(text)) != NULL;
    cr_assert_eq(range_error(&r), OK);
    range_done(&r);
    house_view_end();
    return found;
}

Test(host, seals_what_it_stores)
{
    struct turn *t = turn_open(house.account);

    house_save("", "ratchet", "a very secret ratchet");
    turn_close(t, OK);
    house_settle();
    cr_expect(!stands_in_database("a very secret ratchet"));
    cr_expect(stands_in_database(""));
}

/* A sealed value under another name is damage, not somebody else's key. */
Test(host, binds_a_value_to_its_place)
{
    struct account *a = house.account;
    struct turn *t = turn_open(a);
    struct slice sealed, out;
    AUTO(arena) arena = {0};

    house_save("", "one", "value");
    turn_close(t, OK);
    house_settle();
    t = turn_open(a);
    cr_assert_eq(db_key_find(turn_view(t), a->scope, 0, WA_NS_TOKEN, slice_of("\0one", 4), &sealed),
                 OK);
    cr_assert(sealed.len);
    db_key_put(turn_batch(t), a->scope, 0, WA_NS_TOKEN, slice_of("\0two", 4), sealed);
    cr_expect_eq(a->host.load(a, house_key(WA_NS_TOKEN, "", "two"), &arena, &out),
                 ERR_STORE_DAMAGED);
    cr_expect_str_eq(house_load("", "one"), "value");
    turn_close(t, OK);
}

Test(host, keeps_rows_whose_names_are_too_long_for_a_key)
{
    char name[2 * KEY_NAME_MAX], other[2 * KEY_NAME_MAX];
    struct turn *t = turn_open(house.account);

    memset(name, 'n', sizeof name);
    memset(other, 'n', sizeof other);
    name[sizeof name - 1] = other[sizeof other - 2] = '\0';
    house_save("", name, "one");
    house_save("", other, "two");
    cr_expect_str_eq(house_load("", name), "one");
    cr_expect_str_eq(house_load("", other), "two");
    house_save("", name, NULL);
    cr_expect_null(house_load("", name));
    turn_close(t, OK);
    cr_expect(!house.account->broken);
}

/* ---- messages we hold ---- */

static struct wa_event message(const char *id, bool waiting)
{
    struct wa_event e = {.kind = WA_EVENT_MESSAGE};

    e.message = (struct wa_message){
        .chat = {.lid = wa_jid_of(WA_SERVER_LID, SLICE("2222"), 0)},
        .author = {.lid = wa_jid_of(WA_SERVER_LID, SLICE("2222"), 0)},
        .id = slice_text(id),
        .time_s = 1800000000,
        .kind = waiting ? WA_KIND_UNKNOWN : WA_KIND_TEXT,
        .waiting = waiting,
        .text = waiting ? SLICE_NONE : SLICE("hello"),
        .raw = waiting ? SLICE_NONE : SLICE("raw bytes"),
    };
    return e;
}

static void receive(const char *id, bool waiting)
{
    struct wa_event e = message(id, waiting);

    house_emit(&e);
}

static struct wa_held_message held_now(const char *owner, const char *author, const char *id)
{
    static struct arena arena;
    struct wa_held_message out = {0};
    struct slice value;
    AUTO(buf) name = {0};
    struct wa_key key = {.ns = WA_NS_MESSAGE, .owner = slice_text(owner)};

    buf_put_text(&name, author);
    buf_put_u8(&name, 0);
    buf_put_text(&name, id);
    key.name = buf_slice(&name);
    arena_done(&arena);
    cr_assert_eq(house.account->host.load(house.account, key, &arena, &value), OK);
    if (!slice_is_none(value)) cr_assert_eq(wa_held_decode(value, &out), OK);
    return out;
}

/* In a turn of its own. */
static struct wa_held_message held(const char *owner, const char *author, const char *id)
{
    struct turn *t = turn_open(house.account);
    struct wa_held_message out = held_now(owner, author, id);

    turn_close(t, OK);
    return out;
}

Test(host, answers_which_messages_are_held)
{
    receive("WHOLE", false);
    receive("LATE", true);
    cr_expect_eq(held(ADA_LID, ADA_LID, "WHOLE").state, WA_HELD_WHOLE);
    cr_expect(slice_is(held(ADA_LID, ADA_LID, "WHOLE").raw, "raw bytes"));
    cr_expect_eq(held(ADA_LID, ADA_LID, "WHOLE").time_s, 1800000000);
    cr_expect_eq(held(ADA_LID, ADA_LID, "LATE").state, WA_HELD_WAITING);
    cr_expect_eq(held(ADA_LID, ADA_LID, "OTHER").state, WA_HELD_NO);
    cr_expect_eq(held("9999@lid", "9999@lid", "WHOLE").state, WA_HELD_NO);
    cr_expect_eq(held(ADA_LID, "9999@lid", "WHOLE").state, WA_HELD_NO);
}

Test(host, knows_a_message_by_either_address_once_they_are_mapped)
{
    struct wa_event mapping = {.kind = WA_EVENT_MAPPING,
                               .mapping = {.pn = wa_jid_of(WA_SERVER_USER, SLICE("15550002222"), 0),
                                           .lid = wa_jid_of(WA_SERVER_LID, SLICE("2222"), 0)}};

    receive("ONE", false);
    house_emit(&mapping);
    cr_expect_eq(held(ADA_PN, ADA_PN, "ONE").state, WA_HELD_WHOLE);
    cr_expect_eq(held(ADA_LID, ADA_PN, "ONE").state, WA_HELD_WHOLE);
    cr_expect_eq(held(ADA_LID, ADA_LID, "ONE").state, WA_HELD_WHOLE);
}

/* What was not there when the turn looked first is there once the turn has stored it. */
Test(host, a_turn_sees_the_messages_that_it_stores)
{
    struct wa_event e;
    struct turn *t;

    receive("FIRST", false);
    t = turn_open(house.account);
    for (int i = 0; i < 2; i++)
        cr_expect_eq(held_now(ADA_LID, ADA_LID, "ONE").state, WA_HELD_NO);
    cr_expect_eq(held_now(ADA_LID, ADA_LID, "FIRST").state, WA_HELD_WHOLE);
    e = message("ONE", true);
    house.account->host.emit(house.account, &e);
    cr_expect_eq(held_now(ADA_LID, ADA_LID, "ONE").state, WA_HELD_WAITING);
    cr_expect_eq(held_now(ADA_LID, ADA_LID, "TWO").state, WA_HELD_NO);
    e = message("ONE", false);
    house.account->host.emit(house.account, &e);
    cr_expect_eq(held_now(ADA_LID, ADA_LID, "ONE").state, WA_HELD_WHOLE);
    cr_expect_eq(held_now(ADA_LID, ADA_LID, "TWO").state, WA_HELD_NO);
    turn_close(t, OK);
}

Test(host, a_turn_that_learns_a_mapping_finds_what_it_did_not_find_before)
{
    struct wa_event mapping = {.kind = WA_EVENT_MAPPING,
                               .mapping = {.pn = wa_jid_of(WA_SERVER_USER, SLICE("15550002222"), 0),
                                           .lid = wa_jid_of(WA_SERVER_LID, SLICE("2222"), 0)}};
    struct wa_event by_number = message("NUMBER", false);
    struct turn *t;

    by_number.message.chat = by_number.message.author =
        (struct wa_party){.pn = wa_jid_of(WA_SERVER_USER, SLICE("15550002222"), 0)};
    house_emit(&by_number);
    receive("LID", false);
    t = turn_open(house.account);
    cr_expect_eq(held_now(ADA_PN, ADA_PN, "LID").state, WA_HELD_NO);
    cr_expect_eq(held_now(ADA_LID, ADA_LID, "NUMBER").state, WA_HELD_NO);
    house.account->host.emit(house.account, &mapping);
    cr_expect_eq(held_now(ADA_PN, ADA_PN, "LID").state, WA_HELD_WHOLE);
    cr_expect_eq(held_now(ADA_LID, ADA_LID, "NUMBER").state, WA_HELD_WHOLE);
    turn_close(t, OK);
}
