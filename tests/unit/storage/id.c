#include <criterion/criterion.h>

#include "storage/id.h"

Test(id, comes_back_as_it_was)
{
    char text[ID_TEXT_MAX];
    uint32_t account, peer;
    uint64_t secret;
    struct place place, p = {.peer = 7, .sec = 1763632800, .seq = 9, .secret = 0xfedcba9876543210};

    id_number_text(ID_ACCOUNT, 42, p.secret, text);
    cr_assert_eq(strlen(text), 4 + 20);
    cr_assert(id_number_parse(ID_ACCOUNT, slice_text(text), &account, &secret));
    cr_assert(account == 42 && secret == p.secret);

    id_chat_text(ID_GROUP, 42, 7, p.secret, text);
    cr_assert(!id_chat_parse(ID_CHAT, slice_text(text), &account, &peer, &secret));
    cr_assert(id_chat_parse(ID_GROUP, slice_text(text), &account, &peer, &secret));
    cr_assert(account == 42 && peer == 7 && secret == p.secret);

    id_message_text(ID_MESSAGE, 42, p, text);
    cr_assert_eq(strlen(text), 4 + 39);
    cr_assert(id_message_parse(ID_MESSAGE, slice_text(text), &account, &place));
    cr_assert(account == 42 && place.peer == 7 && place_cmp(place, p) == 0);
}

/* Clients keep them: the text of an id never changes. */
Test(id, is_written_as_it_always_was)
{
    char text[ID_TEXT_MAX];
    const uint8_t random[10] = {0, 1, 2, 3, 4, 250, 251, 252, 253, 254};
    struct place p = {.peer = 7, .sec = 1763632800, .seq = 9, .secret = 0xfedcba9876543210};

    cr_assert_str_eq(id_number_text(ID_ACCOUNT, 42, p.secret, text), "acc_00000anurit9gtik6880");
    cr_assert_str_eq(id_chat_text(ID_GROUP, 42, 7, p.secret, text),
                     "grp_00000ag00000fvmsnac7cl1i20");
    cr_assert_str_eq(id_message_text(ID_MESSAGE, 42, p, text),
                     "msg_d4fed8000002k000003g000017vdpekoepa3440");
    cr_assert_str_eq(id_event_text(1763632800123, random, text), "evt_06da1d71fc0020g30jtfnv7tvo");
}

Test(id, sorts_by_time)
{
    char a[ID_TEXT_MAX], b[ID_TEXT_MAX];
    id_message_text(ID_MESSAGE, 9, (struct place){.peer = 9, .sec = 99, .seq = 9, .secret = 9}, a);
    id_message_text(ID_MESSAGE, 1, (struct place){.peer = 1, .sec = 100, .seq = 1}, b);
    cr_assert_lt(strcmp(a, b), 0);
}

Test(id, refuses_what_is_not_one)
{
    char text[ID_TEXT_MAX];
    uint32_t number;
    uint64_t secret;
    size_t len = strlen(id_number_text(ID_KEY, 1, 2, text));

    for (size_t n = 0; n < len; n++)
        cr_assert(!id_number_parse(ID_KEY, slice_of(text, n), &number, &secret));
    cr_assert(!id_number_parse(ID_TENANT, slice_text(text), &number, &secret));
    text[len - 1] = 'v'; /* bits behind the end of the body */
    cr_assert(!id_number_parse(ID_KEY, slice_text(text), &number, &secret));
    text[len - 1] = 'W';
    cr_assert(!id_number_parse(ID_KEY, slice_text(text), &number, &secret));
    strcpy(text + len, "0");
    cr_assert(!id_number_parse(ID_KEY, slice_text(text), &number, &secret));
}
