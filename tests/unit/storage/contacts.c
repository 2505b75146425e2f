#include "chats_fixture.h"

static struct world w;
static void begin(void) { world_init(&w); }
static void end(void) { world_done(&w); }
TestSuite(contacts, .init = begin, .fini = end);

static const struct slice LID = {(const uint8_t *)"77@lid", 6};
static const struct slice PN = {(const uint8_t *)"49151@s.whatsapp.net", 20};

static struct contact_ref who(struct slice address)
{
    struct contact_ref ref;
    CHECK_OK(db_contact_of(w.f.view, w.scope, address, &ref));
    return ref;
}

static uint32_t map(struct slice lid, struct slice pn)
{
    uint32_t peer;
    CHECK_OK(db_contact_map(&w.batch, w.f.view, w.scope, lid, pn, ++w.secrets, 2000, &peer));
    return peer;
}

static struct db_contact get(uint32_t peer)
{
    struct db_contact c;
    CHECK_OK(db_contact_resolve(w.f.view, w.scope, peer, 0, &c));
    return c;
}

static size_t walk(const struct db_contact *c, enum range_direction d, struct place from,
                   char *text)
{
    AUTO(message_walk) walk = {0};
    struct db_message m;
    size_t n = 0, count = 0;

    text[0] = '\0';
    message_walk_init(&walk, w.f.view, w.scope, c, from, d);
    while (message_walk_next(&walk, &m)) {
        n += (size_t)sprintf(text + n, SLICE_FMT " ", SLICE_ARG(m.text));
        count++;
    }
    CHECK_OK(message_walk_error(&walk));
    return count;
}

Test(contacts, one_peer_per_address)
{
    uint32_t a = world_peer(&w, "77@lid"), b = world_peer(&w, "78@lid");
    cr_assert_neq(a, b);
    cr_assert_eq(world_peer(&w, "77@lid"), a);
    world_commit(&w);
    cr_assert_eq(world_peer(&w, "77@lid"), a);
    cr_assert_eq(who(SLICE("79@lid")).peer, 0);
    cr_assert(slice_eq(get(a).lid, LID));
}

Test(contacts, learn_the_other_address)
{
    uint32_t by_number = world_peer(&w, "49151@s.whatsapp.net");
    cr_assert_eq(map(LID, PN), by_number);
    cr_assert_eq(who(LID).peer, by_number);
    cr_assert_eq(map(LID, PN), by_number);
    world_commit(&w);
    cr_assert(slice_eq(get(by_number).lid, LID));
    cr_assert(slice_eq(get(by_number).pn, PN));

    uint32_t by_lid = world_peer(&w, "88@lid");
    cr_assert_eq(map(SLICE("88@lid"), SLICE("1@s.whatsapp.net")), by_lid);
    cr_assert_eq(map(SLICE("99@lid"), SLICE("2@s.whatsapp.net")), by_lid + 1);
}

/* Two chats as they stood, and a message of each. */
struct joined {
    uint32_t old, young;
    uint64_t young_secret;
    struct place of_old, of_young;
};

static struct joined write_two(void)
{
    struct joined j = {.old = world_peer(&w, "49151@s.whatsapp.net"),
                       .young = world_peer(&w, "77@lid")};

    j.of_old = world_message(&w, j.old, 100, "a");
    j.of_young = world_message(&w, j.young, 200, "b");
    world_message(&w, j.old, 300, "c");
    world_message(&w, j.young, 400, "d");
    j.young_secret = get(j.young).secret;
    world_commit(&w);
    return j;
}

static struct db_contact expect_one_person(const struct joined *j)
{
    struct db_contact c = get(j->young);

    cr_assert_eq(c.peer, j->old);
    cr_assert(slice_eq(c.lid, LID) && slice_eq(c.pn, PN));
    cr_assert_eq(who(LID).peer, j->old);
    cr_assert_eq(who(LID).home, j->young);
    cr_assert_eq(who(PN).home, j->old);
    CHECK_OK(db_contact_resolve(w.f.view, w.scope, j->young, j->young_secret, &c));
    cr_assert_eq(db_contact_resolve(w.f.view, w.scope, j->young, 12345, &c), ERR_NOT_FOUND);
    CHECK_OK(db_contact_resolve(w.f.view, w.scope, j->young, j->young_secret, &c));
    return c;
}

static void expect_walk(const struct db_contact *c, enum range_direction direction,
                        struct place from, const char *texts)
{
    char text[256];

    walk(c, direction, from, text);
    cr_assert_str_eq(text, texts);
}

static void expect_one_chat(const struct joined *j, const struct db_contact *c)
{
    struct db_chat chat;
    struct db_message m;
    struct place found;
    char stanza[32];

    expect_walk(c, RANGE_FORWARDS, (struct place){0}, "a b c d ");
    expect_walk(c, RANGE_BACKWARDS, (struct place){0}, "d c b a ");
    expect_walk(c, RANGE_BACKWARDS, j->of_young, "a ");
    expect_walk(c, RANGE_FORWARDS, j->of_young, "c d ");
    expect_walk(c, RANGE_FORWARDS, place_at(200), "b c d ");
    CHECK_OK(db_message_get(w.f.view, w.scope, j->of_young, &m));
    CHECK_OK(db_message_get(w.f.view, w.scope, j->of_old, &m));
    snprintf(stanza, sizeof(stanza), "3EB0%llX", (unsigned long long)j->of_young.secret);
    CHECK_OK(db_seen_find(w.f.view, w.scope, c, SLICE("1@lid"), slice_text(stanza), &found));
    cr_assert(found.peer == j->young && place_cmp(found, j->of_young) == 0);
    CHECK_OK(db_chat_find(w.f.view, w.scope, j->old, &chat));
    cr_assert_eq(chat.unread_count, 4);
    cr_assert_eq(chat.activity_sec, 400);
    cr_assert_eq(chat.next_seq, 3);
}

Test(contacts, two_become_one_in_one_batch)
{
    struct joined j = write_two();
    struct db_contact page[8], c;
    size_t n;

    cr_assert_eq(map(LID, PN), j.old);
    for (int round = 0; round < 2; round++) { /* pending, then durable */
        c = expect_one_person(&j);
        expect_one_chat(&j, &c);
        world_commit(&w);
    }
    /* What arrives now belongs to the one chat. */
    world_message(&w, j.old, 500, "e");
    c = get(j.old);
    expect_walk(&c, RANGE_FORWARDS, (struct place){0}, "a b c d e ");
    CHECK_OK(db_contact_page(w.f.view, w.scope, 0, 8, page, &n));
    cr_assert_eq(n, 1);
    cr_assert_eq(page[0].peer, j.old);
}

Test(contacts, a_number_moves_to_another_person)
{
    uint32_t first = map(LID, PN), second = map(SLICE("88@lid"), PN);
    cr_assert_neq(first, second);
    cr_assert(slice_is_none(get(first).pn));
    cr_assert(slice_eq(get(second).pn, PN));
    cr_assert_eq(who(PN).peer, second);
    cr_assert_eq(who(LID).peer, first);

    cr_assert_eq(map(LID, PN), first); /* and back */
    cr_assert_eq(who(PN).peer, first);
    cr_assert_eq(who(PN).home, first);
    cr_assert(slice_is_none(get(second).pn));
    world_commit(&w);
    cr_assert_eq(who(PN).peer, first);
}

Test(contacts, a_person_changes_the_number)
{
    uint32_t person = map(LID, PN);
    uint32_t number = world_peer(&w, "2@s.whatsapp.net");
    world_message(&w, number, 10, "from the new number");
    cr_assert_eq(map(LID, SLICE("2@s.whatsapp.net")), person);
    world_commit(&w);
    cr_assert_eq(who(PN).peer, 0);
    cr_assert_eq(who(PN).home, person); /* keys of that address stay where they are */
    uint32_t other = world_peer(&w, "49151@s.whatsapp.net");
    cr_assert_neq(other, person);
    cr_assert(who(PN).home == person && who(PN).peer == other);
    cr_assert_eq(who(SLICE("2@s.whatsapp.net")).peer, person);
    cr_assert(slice_is(get(person).pn, "2@s.whatsapp.net"));

    char text[64];
    struct db_contact c = get(person);
    cr_assert_eq(walk(&c, RANGE_FORWARDS, (struct place){0}, text), 1);
}

Test(contacts, refuses_bad_addresses)
{
    struct contact_ref ref;
    char longest[ADDRESS_MAX + 2];
    memset(longest, 'x', sizeof(longest));
    cr_assert_eq(db_contact_open(&w.batch, w.f.view, w.scope, CONTACT_PERSON,
                                 slice_of(longest, ADDRESS_MAX + 1), 1, 1, &ref),
                 ERR_BAD_ARGUMENT);
    cr_assert_eq(
        db_contact_open(&w.batch, w.f.view, w.scope, CONTACT_PERSON, SLICE(""), 1, 1, &ref),
        ERR_BAD_ARGUMENT);
    cr_assert_eq(who(slice_of(longest, sizeof(longest))).peer, 0);
    cr_assert(batch_is_empty(&w.batch));
}

Test(contacts, page_over_everything_an_account_has)
{
    struct db_contact page[3];
    uint32_t from = 0, seen = 0;
    char address[32];
    size_t n;

    for (int i = 0; i < 10; i++) {
        snprintf(address, sizeof(address), "%d@lid", i);
        uint32_t peer = world_peer(&w, address);
        for (int j = 0; j < i; j++)
            world_message(&w, peer, 10, "x");
    }
    world_commit(&w);
    do {
        CHECK_OK(db_contact_page(w.f.view, w.scope, from, 3, page, &n));
        for (size_t i = 0; i < n; i++)
            cr_assert_eq(page[i].peer, ++seen);
        if (n) from = page[n - 1].peer + 1;
    } while (n == 3);
    cr_assert_eq(seen, 10);
}
