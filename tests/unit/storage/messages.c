#include "chats_fixture.h"

static struct world w;
static void begin(void) { world_init(&w); }
static void end(void) { world_done(&w); }
TestSuite(messages, .init = begin, .fini = end);

Test(messages, are_found_by_their_public_id)
{
    char text[ID_TEXT_MAX];
    struct db_message m;
    struct place place;
    uint32_t account;
    uint32_t peer = world_peer(&w, "1@lid");

    id_message_text(ID_MESSAGE, 7, world_message(&w, peer, 50, "hello"), text);
    world_commit(&w);
    cr_assert(id_message_parse(ID_MESSAGE, slice_text(text), &account, &place));
    CHECK_OK(db_message_get(w.f.view, w.scope, place, &m));
    cr_assert(slice_is(m.text, "hello"));
    place.secret++;
    cr_assert_eq(db_message_get(w.f.view, w.scope, place, &m), ERR_NOT_FOUND, "a guess");
    place.secret--;
    cr_assert_eq(db_message_get(w.f.view, (struct scope){2, 7}, place, &m), ERR_NOT_FOUND,
                 "another tenant");
}

Test(messages, come_back_with_every_field)
{
    struct db_message m, full = {.place = {3, 4, 5, 6},
                                 .stanza_id = SLICE("id"),
                                 .author = SLICE("a"),
                                 .author_peer = 9,
                                 .from_me = true,
                                 .starred = true,
                                 .edited = true,
                                 .deleted = true,
                                 .forwarded = true,
                                 .view_once = true,
                                 .type = 200,
                                 .status = 7,
                                 .error = 463,
                                 .occurred_ms = 1763632800000,
                                 .received_ms = 2,
                                 .edited_ms = 3,
                                 .read_ms = 4,
                                 .played_ms = 5,
                                 .text = SLICE("text"),
                                 .raw = SLICE("raw"),
                                 .quoted_id = SLICE("q"),
                                 .quoted_author = SLICE("qa"),
                                 .mentions = SLICE("m"),
                                 .media = SLICE("media"),
                                 .reactions = SLICE("r"),
                                 .extra = SLICE("e")};

    db_message_put(&w.batch, w.scope, &full);
    CHECK_OK(db_message_get(w.f.view, w.scope, full.place, &m));
    cr_assert(m.from_me && m.starred && m.edited && m.deleted && m.forwarded && m.view_once);
    cr_assert(m.type == 200 && m.status == 7 && m.error == 463 && m.author_peer == 9);
    cr_assert(m.occurred_ms == 1763632800000 && m.received_ms == 2 && m.edited_ms == 3);
    cr_assert(m.read_ms == 4 && m.played_ms == 5 && slice_is(m.stanza_id, "id"));
    cr_assert(slice_is(m.text, "text") && slice_is(m.raw, "raw") && slice_is(m.quoted_id, "q"));
    cr_assert(slice_is(m.quoted_author, "qa") && slice_is(m.mentions, "m"));
    cr_assert(slice_is(m.media, "media") && slice_is(m.reactions, "r") && slice_is(m.extra, "e"));
    cr_assert(slice_is(m.author, "a") && place_cmp(m.place, full.place) == 0);
}
