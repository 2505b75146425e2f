/* What persons write and do, as the client tells it: stored, told, searched and read back by one
 * account of a real store. The input is blocks of an act, who, an id, and a length byte pair (big
 * endian) of content. However they come, the account goes on, what it tells is JSON, and every
 * message can be read and searched. */
#include "proto/base/reader.h"
#include "proto/base/text.h"
#include "proto/client/content.h"
#include "server/account/terms.h"
#include "server/api/json.h"
#include "tests/unit/server/account/house.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { INPUTS = 300, /* then a fresh house */ ACTS_MAX = 64 };
enum act { CONTENT, TEXT, UNREAD, RECEIPT, MAPPING, CONTACT, COMMIT, LATER, ACTS };
/* Bits of who. */
enum { PERSON = 1, BY_NUMBER = 2, BY_BOTH = 4, GROUP = 8, FROM_ME = 16, OFFLINE = 32, LATE = 64 };

/* Nobody has met them before this input. */
static struct {
    char numbers[2][16], lids[2][16], group[16];
} names;

static void invent(unsigned input)
{
    for (unsigned i = 0; i < 2; i++) {
        snprintf(names.numbers[i], sizeof(names.numbers[i]), "1555%07u", 2 * input + i);
        snprintf(names.lids[i], sizeof(names.lids[i]), "77%07u", 2 * input + i);
    }
    snprintf(names.group, sizeof(names.group), "12%07u", input);
}

static struct wa_party person(uint8_t who)
{
    size_t i = who & PERSON;
    struct wa_party p = {0};

    if (who & (BY_NUMBER | BY_BOTH))
        p.pn = wa_jid_of(WA_SERVER_USER, slice_text(names.numbers[i]), 0);
    if (!(who & BY_NUMBER) || who & BY_BOTH)
        p.lid = wa_jid_of(WA_SERVER_LID, slice_text(names.lids[i]), 0);
    return p;
}

static struct wa_party chat_of(uint8_t who)
{
    if (!(who & GROUP)) return person(who);
    return (struct wa_party){.pn = wa_jid_of(WA_SERVER_GROUP, slice_text(names.group), 0)};
}

/* ---- acts ---- */

static void tell(enum act act, uint8_t who, struct slice id, struct slice in, struct arena *arena)
{
    struct wa_event e = {.kind = WA_EVENT_MESSAGE};
    struct wa_message *m = &e.message;
    struct wa_body body;

    *m = (struct wa_message){.chat = chat_of(who),
                             .author = person(who),
                             .from_me = who & FROM_ME,
                             .is_group = who & GROUP,
                             .offline = who & OFFLINE,
                             .waiting = act == UNREAD,
                             .id = id,
                             .time_s = who & LATE ? 1800000000 : 1700000000,
                             .raw = in};
    if (act == CONTENT) {
        wa_body_read(in, arena, &body);
        if (body.is_empty) return;
        wa_body_into(&body, m);
    } else if (act == TEXT) {
        m->kind = WA_KIND_TEXT;
        m->text = in;
    }
    house_emit(&e);
}

static void confirm(uint8_t who, struct slice id, uint8_t kind)
{
    struct wa_event e = {.kind = WA_EVENT_RECEIPT};

    e.receipt = (struct wa_receipt){.kind = kind % (WA_RECEIPT_PLAYED + 1),
                                    .chat = chat_of(who),
                                    .who = person(who),
                                    .by_us = who & FROM_ME,
                                    .ids = &id,
                                    .id_count = 1,
                                    .time_s = 1800000000};
    house_emit(&e);
}

static void name(enum act act, uint8_t who, struct slice in)
{
    struct wa_event e = {.kind = act == MAPPING ? WA_EVENT_MAPPING : WA_EVENT_CONTACT};

    if (act == MAPPING) {
        e.mapping = person(who | BY_BOTH);
    } else {
        e.contact.who = person(who);
        e.contact.push_name = in;
    }
    house_emit(&e);
}

/* The client hands text on that is UTF-8. */
static void run(enum act act, uint8_t who, uint8_t number, struct slice in, struct arena *arena)
{
    struct slice id = arena_printf(arena, "3EB0%u", number & 15);
    bool is_text = text_is_utf8(in);

    switch (act) {
    case TEXT:
        if (is_text) tell(act, who, id, in, arena);
        break;
    case CONTENT:
    case UNREAD: tell(act, who, id, in, arena); break;
    case RECEIPT: confirm(who, id, number >> 4); break;
    case CONTACT:
        if (is_text) name(act, who, in);
        break;
    case MAPPING: name(act, who, in); break;
    case COMMIT: house_settle(); break;
    default: house_pass(1000 * number);
    }
}

/* ---- what came of it ---- */

static uint64_t seen; /* events looked at */

static void check_events(void)
{
    struct db_event e;
    struct json *j;
    AUTO(range) r = {0};

    db_events(&r, house_view(), 1, seen, 0, RANGE_FORWARDS);
    while (db_event_next(&r, &e)) {
        if (json_parse(e.bytes, SIZE_MAX, &j) != OK) abort();
        json_free(j);
        seen = e.seq;
    }
    if (range_error(&r) != OK) abort();
    range_done(&r);
    house_view_end();
}

/* Its first word finds it, or others that hold it too. */
static void search(struct slice text)
{
    AUTO(arena) arena = {0};
    struct search_query q = {0};
    struct search_cursor next;
    struct db_message hits[8];
    size_t n = 0;

    terms_of(text, &arena, &q.terms);
    if (q.terms.count > 1) q.terms.count = 1;
    if (q.terms.count == 0) return;
    if (db_search(house.aw->view, house.account->scope, &q, (struct search_cursor){0}, 8, hits, &n,
                  &next) != OK)
        abort();
    if (n == 0) abort();
}

static void check_chat(const struct wa_jid *jid)
{
    struct contact_ref ref;
    struct db_contact who;
    struct db_message m;
    char address[WA_JID_TEXT_MAX];

    house_view();
    wa_jid_text(jid, address);
    if (db_contact_of(house.aw->view, house.account->scope, slice_text(address), &ref) != OK)
        abort();
    if (ref.peer) {
        AUTO(message_walk) walk = {0};
        if (db_contact_get(house.aw->view, house.account->scope, ref.peer, &who) != OK) abort();
        message_walk_init(&walk, house.aw->view, house.account->scope, &who, (struct place){0},
                          RANGE_FORWARDS);
        while (message_walk_next(&walk, &m)) {
            if (!text_is_utf8(m.text)) abort();
            search(m.text);
        }
        if (message_walk_error(&walk) != OK) abort();
    }
    house_view_end();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static unsigned inputs;
    struct reader r = reader_of(slice_of(data, size));
    struct arena arena = {0};

    if (inputs % INPUTS == 0) {
        if (inputs) house_stop();
        house_without_sync = true;
        house_start();
        seen = 0;
    }
    invent(inputs++);
    for (int i = 0; i < ACTS_MAX && reader_left(&r) > 4; i++) {
        enum act act = (enum act)(reader_u8(&r) % ACTS);
        uint8_t who = reader_u8(&r), number = reader_u8(&r);
        size_t n = reader_be16(&r);
        run(act, who, number, reader_bytes(&r, n < reader_left(&r) ? n : reader_left(&r)), &arena);
    }
    house_settle();
    if (house.account->broken) abort();
    check_events();
    for (unsigned who = 0; who <= PERSON; who++) {
        struct wa_party p = person((uint8_t)(who | BY_BOTH));
        check_chat(&p.lid);
        check_chat(&p.pn);
    }
    struct wa_party g = chat_of(GROUP);
    check_chat(&g.pn);
    arena_done(&arena);
    return 0;
}
