#include "proto/wire/jid.h"

#include <criterion/criterion.h>

#include "proto/base/xalloc.h"

static struct wa_jid parsed(const char *text)
{
    struct wa_jid jid = {0};

    cr_assert_eq(wa_jid_parse(slice_text(text), &jid), OK, "%s", text);
    return jid;
}

Test(jid, reads_and_writes_the_same_text)
{
    static const struct {
        const char *text, *user;
        enum wa_server server;
        uint16_t device, integrator;
    } rows[] = {
        {"15550001111@s.whatsapp.net", "15550001111", WA_SERVER_USER, 0, 0},
        {"15550001111:5@s.whatsapp.net", "15550001111", WA_SERVER_USER, 5, 0},
        {"777:255@lid", "777", WA_SERVER_LID, 255, 0},
        {"@s.whatsapp.net", "", WA_SERVER_USER, 0, 0},
        {"123456-789@g.us", "123456-789", WA_SERVER_GROUP, 0, 0},
        {"status@broadcast", "status", WA_SERVER_BROADCAST, 0, 0},
        {"120363000000000001@newsletter", "120363000000000001", WA_SERVER_NEWSLETTER, 0, 0},
        {"1:99@hosted", "1", WA_SERVER_HOSTED, 99, 0},
        {"1:99@hosted.lid", "1", WA_SERVER_HOSTED_LID, 99, 0},
        {"867051314767696@bot", "867051314767696", WA_SERVER_BOT, 0, 0},
        {"123:65535@msgr", "123", WA_SERVER_MSGR, 65535, 0},
        {"7-123:300@interop", "123", WA_SERVER_INTEROP, 300, 7},
        {"15550001111@c.us", "15550001111", WA_SERVER_C_US, 0, 0},
        {"@call", "", WA_SERVER_CALL, 0, 0},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct wa_jid jid = parsed(rows[i].text);
        char text[WA_JID_TEXT_MAX];

        cr_assert(slice_is(jid.user, rows[i].user), "%s", rows[i].text);
        cr_assert_eq(jid.server, rows[i].server);
        cr_assert_eq(jid.device, rows[i].device);
        cr_assert_eq(jid.integrator, rows[i].integrator);
        cr_assert_str_eq(wa_jid_text(&jid, text), rows[i].text);
    }
}

Test(jid, refuses_what_is_none)
{
    static const char *const rows[] = {
        "",
        "15550001111",
        "a@",
        "a@example.org",
        "a@b@lid",
        "a:@lid",
        "a:x@lid",
        "a:256@lid",
        "a:-1@lid",
        "a:65536@msgr",
        ":5@lid",
        "a b@lid",
        "a\n@lid",
        "h\xc3\xa9@lid",
        "a:1:2@lid",
        "123@interop",
        "x-123@interop",
        "65536-1@interop",
        "a@S.WHATSAPP.NET",
    };
    struct wa_jid jid = {.device = 77};
    char long_user[WA_JID_USER_MAX + 8];

    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        cr_assert_eq(wa_jid_parse(slice_text(rows[i]), &jid), ERR_BAD_JID, "%s", rows[i]);
    memset(long_user, '1', sizeof(long_user));
    memcpy(long_user + WA_JID_USER_MAX + 1, "@lid", 5);
    cr_assert_eq(wa_jid_parse(slice_text(long_user), &jid), ERR_BAD_JID);
    cr_assert(wa_jid_parse(slice_text(long_user + 1), &jid) == OK, "the longest user");
    cr_assert_eq(jid.user.len, WA_JID_USER_MAX);
}

Test(jid, the_longest_text_fits)
{
    char user[200], text[WA_JID_TEXT_MAX];
    struct wa_jid jid = {.user = slice_of(user, sizeof(user)),
                         .server = WA_SERVER_INTEROP,
                         .device = UINT16_MAX,
                         .integrator = UINT16_MAX};

    memset(user, 'u', sizeof(user));
    wa_jid_text(&jid, text);
    cr_assert_eq(strlen(text), 6 + WA_JID_USER_MAX + strlen(":65535@interop"));
}

Test(jid, a_user_with_a_zero_character_ends_there)
{
    char text[WA_JID_TEXT_MAX];
    struct wa_jid jid = wa_jid_of(WA_SERVER_LID, slice_of("1\0002", 3), 10);

    cr_assert_str_eq(wa_jid_text(&jid, text), "1:10@lid");
}

Test(jid, knows_kinds_and_equality)
{
    struct wa_jid user = parsed("1@s.whatsapp.net"), device = parsed("1:5@s.whatsapp.net");
    struct wa_jid lid = parsed("1@lid"), none = {0}, server = wa_jid_server();
    struct wa_jid group = parsed("1@g.us"), status = parsed("status@broadcast");

    cr_assert(!wa_jid_eq(&user, &device) && wa_jid_same_user(&user, &device));
    cr_assert(!wa_jid_same_user(&user, &lid));
    struct wa_jid bare = wa_jid_bare(&device);
    cr_assert(wa_jid_eq(&bare, &user));
    cr_assert(wa_jid_is_none(&none) && !wa_jid_is_none(&server));
    cr_assert(wa_jid_is_server(&server) && !wa_jid_is_server(&user));
    cr_assert(wa_jid_is_person(&user) && wa_jid_is_person(&lid) && !wa_jid_is_person(&server));
    cr_assert(wa_jid_is_group(&group) && !wa_jid_is_person(&group));
    cr_assert(wa_jid_is_lid(&lid) && !wa_jid_is_lid(&user));
    cr_assert(wa_jid_is_status(&status) && !wa_jid_is_status(&group));
}
