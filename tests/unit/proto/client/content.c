#include <criterion/criterion.h>

#include "proto/client/content.h"
#include "proto/client/pb.h"

static struct slice field(struct arena *a, uint32_t number, struct slice bytes)
{
    AUTO(buf) b = {0};
    wa_pb_put_bytes(&b, number, bytes);
    return arena_dup(a, buf_slice(&b));
}

static struct slice join(struct arena *a, struct slice x, struct slice y)
{
    return arena_printf(a, SLICE_FMT SLICE_FMT, SLICE_ARG(x), SLICE_ARG(y));
}

static enum wa_content_kind kind_of(struct slice message)
{
    AUTO(arena) arena = {0};
    struct wa_body body;
    wa_body_read(message, &arena, &body);
    return body.kind;
}

Test(content, tells_every_kind_of_the_table_apart)
{
    static const struct {
        uint32_t field;
        const char *kind;
    } rows[] = {
        {1, "text"},          {3, "image"},        {4, "contact"},        {5, "location"},
        {6, "text"},          {7, "document"},     {8, "audio"},          {9, "video"},
        {12, "revoke"},       {13, "contact"},     {18, "live_location"}, {26, "sticker"},
        {28, "group_invite"}, {36, "interactive"}, {37, "view_once"},     {45, "interactive"},
        {46, "reaction"},     {49, "poll"},        {50, "poll_vote"},     {51, "protocol"},
        {53, "document"},     {55, "view_once"},   {58, "edit"},          {63, "pin"},
        {64, "poll"},         {66, "video"},       {75, "event"},         {83, "album"},
        {86, "sticker"},      {200, "unknown"},
    };
    AUTO(arena) a = {0};

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct slice m = field(&a, rows[i].field, SLICE(""));
        cr_expect_str_eq(wa_content_kind_text(kind_of(m)), rows[i].kind, "field %u", rows[i].field);
    }
}

Test(content, reads_text_quote_and_mentions)
{
    AUTO(arena) a = {0};
    struct wa_jid mentioned[2] = {wa_jid_of(WA_SERVER_LID, SLICE("888"), 0),
                                  wa_jid_of(WA_SERVER_USER, SLICE("15550001111"), 0)};
    struct wa_text text = {.text = SLICE("hello @888"),
                           .quoted_id = SLICE("ABC"),
                           .quoted_author = wa_jid_of(WA_SERVER_LID, SLICE("777"), 5),
                           .quoted_raw = field(&a, 1, SLICE("before")),
                           .mentions = mentioned,
                           .mention_count = 2};
    AUTO(buf) m = {0};
    struct wa_body body;

    wa_body_write_text(&text, SLICE("0123456789abcdef0123456789abcdef"), &m);
    wa_body_read(buf_slice(&m), &a, &body);
    cr_assert_eq(body.kind, WA_KIND_TEXT);
    cr_assert(slice_is(body.text, "hello @888"));
    cr_assert(slice_is(body.quoted_id, "ABC"));
    cr_assert(slice_is(body.quoted_author.user, "777"));
    cr_assert_eq(body.quoted_author.device, 0);
    cr_assert_eq(body.mention_count, 2);
    cr_assert(slice_is(body.mentions[1].user, "15550001111"));

    struct slice quoted = wa_pb_bytes(wa_pb_bytes(wa_pb_bytes(buf_slice(&m), 6), 17), 3);
    cr_assert(slice_is(wa_pb_bytes(quoted, 1), "before"));
}

static struct slice quoted_in(struct arena *a, struct slice raw)
{
    struct wa_text text = {.text = SLICE("yes"), .quoted_id = SLICE("ABC"), .quoted_raw = raw};
    AUTO(buf) m = {0};

    wa_body_write_text(&text, SLICE("0123456789abcdef0123456789abcdef"), &m);
    return arena_dup(a, wa_pb_bytes(wa_pb_bytes(wa_pb_bytes(buf_slice(&m), 6), 17), 3));
}

/* Two who answer each other would send the whole conversation with every message. */
Test(content, quotes_what_was_said_and_not_what_that_quoted)
{
    AUTO(arena) a = {0};
    struct wa_text text = {.text = SLICE("is it?"),
                           .quoted_id = SLICE("AAA"),
                           .quoted_raw = field(&a, 1, SLICE("it is"))};
    AUTO(buf) m = {0};

    wa_body_write_text(&text, SLICE("0123456789abcdef0123456789abcdef"), &m);
    struct slice quoted = quoted_in(&a, buf_slice(&m)), inner = wa_pb_bytes(quoted, 6);
    cr_expect(slice_is(wa_pb_bytes(inner, 1), "is it?"));
    cr_expect(slice_is_none(wa_pb_bytes(inner, 17)), "the quote of the quote");
    cr_expect(slice_is_none(wa_pb_bytes(quoted, 35)), "its secret");
    struct slice kept = quoted;
    for (int i = 0; i < 100; i++)
        kept = quoted_in(&a, kept);
    cr_expect_leq(kept.len, quoted.len);

    struct slice wrapped = field(&a, 40, field(&a, 1, buf_slice(&m)));
    cr_expect(slice_is(wa_pb_bytes(wa_pb_bytes(quoted_in(&a, wrapped), 6), 1), "is it?"));
    cr_expect_eq(quoted_in(&a, field(&a, 4000, SLICE("?"))).len, 0u);
    cr_expect_eq(quoted_in(&a, SLICE("\xff\xff")).len, 0u);
}

Test(content, quotes_by_its_id_alone_what_is_too_long)
{
    AUTO(arena) a = {0};
    struct slice thumbnail = slice_of(arena_calloc(&a, WA_QUOTED_MAX), WA_QUOTED_MAX);
    struct slice image = field(&a, 3, field(&a, 16, thumbnail));

    cr_expect_eq(quoted_in(&a, image).len, 0u);
    cr_expect(!slice_is_none(quoted_in(&a, image)), "the field is there all the same");
}

Test(content, writes_a_plain_text_as_conversation_with_a_secret)
{
    AUTO(buf) m = {0};
    struct wa_text text = {.text = SLICE("hi")};

    wa_body_write_text(&text, SLICE("0123456789abcdef0123456789abcdef"), &m);
    cr_assert(slice_is(wa_pb_bytes(buf_slice(&m), 1), "hi"));
    cr_assert_eq(wa_pb_bytes(wa_pb_bytes(buf_slice(&m), 35), 3).len, 32);
}

Test(content, looks_through_wrappers_but_not_for_ever)
{
    AUTO(arena) a = {0};
    struct slice m = field(&a, 1, SLICE("deep"));
    struct wa_body body;

    wa_body_read(field(&a, 40, field(&a, 1, m)), &a, &body);
    cr_assert_eq(body.kind, WA_KIND_TEXT);
    cr_assert(slice_is(body.text, "deep"));

    for (int i = 0; i < 40; i++)
        m = field(&a, 40, field(&a, 1, m));
    wa_body_read(m, &a, &body);
    cr_assert_eq(body.kind, WA_KIND_UNKNOWN);
    cr_assert(!body.is_empty);
}

Test(content, reads_an_edit_and_a_view_once)
{
    AUTO(arena) a = {0};
    AUTO(buf) edit = {0};
    struct wa_body body;

    wa_pb_put_int(&edit, 2, 14);
    wa_pb_put_bytes(&edit, 14, field(&a, 1, SLICE("new words")));
    struct slice m = field(&a, 12, buf_slice(&edit));
    wa_body_read(field(&a, 58, field(&a, 1, m)), &a, &body);
    cr_assert_eq(body.kind, WA_KIND_EDIT);
    cr_assert(slice_is(body.text, "new words"));

    struct slice image = field(&a, 3, field(&a, 3, SLICE("caption")));
    wa_body_read(field(&a, 55, field(&a, 1, image)), &a, &body);
    cr_assert_eq(body.kind, WA_KIND_VIEW_ONCE);
    cr_assert(slice_is(body.text, "caption"));
}

Test(content, calls_keys_and_context_alone_empty)
{
    AUTO(arena) a = {0};
    struct slice keys = field(&a, 2, SLICE("x")), context = field(&a, 35, SLICE(""));
    struct wa_body body;

    wa_body_read(join(&a, keys, context), &a, &body);
    cr_assert(body.is_empty);
    wa_body_read(SLICE(""), &a, &body);
    cr_assert(body.is_empty);
    wa_body_read(join(&a, keys, field(&a, 1, SLICE("t"))), &a, &body);
    cr_assert(!body.is_empty);
    cr_assert_eq(body.kind, WA_KIND_TEXT);
}

Test(content, survives_every_truncation_and_refuses_bad_utf8)
{
    AUTO(arena) a = {0};
    AUTO(buf) m = {0};
    struct wa_text text = {.text = SLICE("hello"),
                           .quoted_id = SLICE("ABC"),
                           .quoted_author = wa_jid_of(WA_SERVER_LID, SLICE("777"), 0)};
    struct wa_body body;

    wa_body_write_text(&text, SLICE("0123456789abcdef0123456789abcdef"), &m);
    for (size_t n = 0; n < m.len; n++) {
        wa_body_read(slice_of(m.data, n), &a, &body);
        cr_assert_eq(wa_pb_is_whole(slice_of(m.data, n)), n == 0 || n == m.len - 37);
    }
    wa_body_read(field(&a, 1, SLICE("\xff\xfe")), &a, &body);
    cr_assert_eq(body.kind, WA_KIND_TEXT);
    cr_assert(slice_is_none(body.text));
}
