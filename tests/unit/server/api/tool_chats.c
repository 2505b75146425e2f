/* Chats and the history in them. */
#include "server/metrics.h"
#include "tests/unit/server/api/house.h"

TestSuite(chats, .init = house_setup, .fini = house_teardown);

static const char anna[] = "15551110001@s.whatsapp.net", ben[] = "15551110002@s.whatsapp.net";

static char text_buffer[400];
static const char *args(const char *format, const char *a, const char *b)
{
    snprintf(text_buffer, sizeof(text_buffer), format, a, b);
    return text_buffer;
}

static const struct json *item(const struct answer *a, const char *list, size_t i)
{
    return json_at(json_get(a->json, list), i);
}

Test(chats, the_inbox_is_newest_first_with_the_last_message)
{
    struct account *acc = add_account(true, ACCOUNT_CONNECTED);
    char m[ID_TEXT_MAX], c[ID_TEXT_MAX];
    struct answer a;

    receive(acc, anna, false, 100, "one", m, c);
    receive(acc, ben, false, 200, "two", m, c);
    receive(acc, anna, false, 300, "three", m, c);
    a = use(&H.test, "list_chats", "{}");
    cr_assert_eq(json_count(json_get(a.json, "chats")), 2);
    cr_assert(slice_is(json_get_text(item(&a, "chats", 0), "phone"), "+15551110001"));
    cr_assert(
        slice_is(json_get_text(json_get(item(&a, "chats", 0), "last_message"), "text"), "three"));
    answer_done(&a);
    a = use(&H.test, "get_chat", args("{\"chat_id\":\"%s\"}", c, ""));
    cr_assert_str_eq(member(&a, "type"), "person");
    cr_assert_eq(json_count(json_get(a.json, "participants")), 1);
    answer_done(&a);
}

Test(chats, the_inbox_pages_and_filters)
{
    struct account *acc = add_account(true, ACCOUNT_CONNECTED);
    char m[ID_TEXT_MAX], c[ID_TEXT_MAX], jid[64];
    struct answer a;
    size_t seen = 0;

    for (unsigned i = 0; i < 7; i++) {
        snprintf(jid, sizeof(jid), "1555222000%u@s.whatsapp.net", i);
        receive(acc, jid, i % 2 != 0, 100 + i, "x", m, c);
    }
    a = use(&H.test, "list_chats", "{\"limit\":3}");
    for (;;) {
        struct slice next = json_get_text(a.json, "next_cursor");
        seen += json_count(json_get(a.json, "chats"));
        if (slice_is_none(next)) break;
        const char *more = args("{\"limit\":3,\"cursor\":\"%s\"}", (const char *)next.data, "");
        answer_done(&a);
        a = use(&H.test, "list_chats", more);
    }
    answer_done(&a);
    cr_assert_eq(seen, 7);
    a = use(&H.test, "list_chats", "{\"filter\":\"unread\"}");
    cr_assert_eq(json_count(json_get(a.json, "chats")), 4);
    answer_done(&a);
    expect_error(&H.test, "list_chats", "{\"cursor\":\"bm8\"}", "invalid_request");
}

Test(chats, a_cursor_of_one_account_is_none_of_another)
{
    struct account *one = add_account(true, ACCOUNT_CONNECTED), *two;
    char m[ID_TEXT_MAX], c[ID_TEXT_MAX], cursor[300];
    struct answer a;

    receive(one, anna, false, 100, "x", m, c);
    receive(one, ben, false, 100, "x", m, c);
    a = use(&H.test, "list_chats", "{\"limit\":1}");
    snprintf(cursor, sizeof(cursor), "%s", member(&a, "next_cursor"));
    answer_done(&a);
    two = add_account(true, ACCOUNT_CONNECTED);
    expect_error(&H.test, "list_chats",
                 args("{\"account_id\":\"%s\",\"cursor\":\"%s\"}", two->status.id, cursor),
                 "invalid_request");
    expect_error(&H.test, "list_chats", "{}", "invalid_request"); /* which account? */
}

Test(chats, history_pages_both_ways)
{
    struct account *acc = add_account(true, ACCOUNT_CONNECTED);
    char m[10][ID_TEXT_MAX], c[ID_TEXT_MAX], text[20];
    struct answer a;

    for (unsigned i = 0; i < 10; i++) {
        snprintf(text, sizeof(text), "m%u", i);
        receive(acc, anna, i % 2 != 0, 1000 + i, text, m[i], c);
    }
    a = use(&H.test, "list_messages", args("{\"chat_id\":\"%s\",\"limit\":4}", c, ""));
    cr_assert_eq(json_count(json_get(a.json, "messages")), 4);
    cr_assert(slice_is(json_get_text(item(&a, "messages", 0), "text"), "m9"));
    const char *next =
        args("{\"chat_id\":\"%s\",\"limit\":200,\"cursor\":\"%s\"}", c, member(&a, "next_cursor"));
    answer_done(&a);
    a = use(&H.test, "list_messages", next);
    cr_assert_eq(json_count(json_get(a.json, "messages")), 6);
    cr_assert(slice_is(json_get_text(item(&a, "messages", 0), "text"), "m5"));
    cr_assert_eq(json_kind(json_get(a.json, "next_cursor")), JSON_NIL);
    answer_done(&a);
    a = use(&H.test, "list_messages", args("{\"chat_id\":\"%s\",\"before\":\"%s\"}", c, m[3]));
    cr_assert_eq(json_count(json_get(a.json, "messages")), 3);
    cr_assert(slice_is(json_get_text(item(&a, "messages", 0), "text"), "m2"));
    answer_done(&a);
    a = use(&H.test, "list_messages", args("{\"chat_id\":\"%s\",\"after\":\"%s\"}", c, m[7]));
    cr_assert_eq(json_count(json_get(a.json, "messages")), 2);
    cr_assert(slice_is(json_get_text(item(&a, "messages", 0), "text"), "m8"));
    answer_done(&a);
    a = use(
        &H.test, "list_messages",
        args("{\"chat_id\":\"%s\",\"after\":\"%s\",\"before\":\"1970-01-01T00:16:46Z\"}", c, m[2]));
    cr_assert_eq(json_count(json_get(a.json, "messages")), 3);
    answer_done(&a);
}

/* Pages through it all; how often `marker` was seen, and how many pages it took. */
static size_t count_all(const char *tool, const char *arguments, const char *list, size_t *pages)
{
    char cursor[256] = "";
    size_t n = 0;

    for (*pages = 0; *pages == 0 || *cursor; ++*pages) {
        struct answer a =
            use(&H.test, tool,
                *cursor ? args("{%s,\"limit\":200,\"cursor\":\"%s\"}", arguments, cursor)
                        : args("{%s,\"limit\":200%s}", arguments, ""));
        n += json_count(json_get(a.json, list));
        struct slice next = json_get_text(a.json, "next_cursor");
        snprintf(cursor, sizeof(cursor), SLICE_FMT, SLICE_ARG(next));
        answer_done(&a);
    }
    return n;
}

Test(chats, pages_of_long_texts_end_early_and_lose_none)
{
    enum { MANY = 12 };
    struct account *acc = add_account(true, ACCOUNT_CONNECTED);
    char m[ID_TEXT_MAX], c[ID_TEXT_MAX], *text = xalloc(MESSAGE_TEXT_MAX);
    size_t pages;

    memset(text, '\x01', MESSAGE_TEXT_MAX - 1); /* six bytes each as JSON */
    memcpy(text, "word ", 5);
    text[MESSAGE_TEXT_MAX - 1] = '\0';
    for (unsigned i = 0; i < MANY; i++) {
        char jid[40];
        receive(acc, anna, false, 1000 + i, text, m, c);
        snprintf(jid, sizeof(jid), "4915100%05u@s.whatsapp.net", i);
        receive(acc, jid, false, 3000 + i, text, m, (char[ID_TEXT_MAX]){0});
    }
    char of_chat[100];
    snprintf(of_chat, sizeof(of_chat), "\"chat_id\":\"%s\"", c);
    cr_expect_eq(count_all("list_messages", of_chat, "messages", &pages), MANY);
    cr_expect_gt(pages, 3);
    cr_expect_eq(count_all("list_chats", "\"filter\":\"all\"", "chats", &pages), MANY + 1);
    cr_expect_gt(pages, 3);
    cr_expect_eq(count_all("search_messages", "\"query\":\"word\"", "messages", &pages), 2 * MANY);
    cr_expect_gt(pages, 6);
    free(text);
}

Test(chats, places_of_another_chat_are_refused)
{
    struct account *acc = add_account(true, ACCOUNT_CONNECTED);
    char m1[ID_TEXT_MAX], m2[ID_TEXT_MAX], c1[ID_TEXT_MAX], c2[ID_TEXT_MAX];

    receive(acc, anna, false, 100, "x", m1, c1);
    receive(acc, ben, false, 100, "y", m2, c2);
    expect_error(&H.test, "list_messages", args("{\"chat_id\":\"%s\",\"before\":\"%s\"}", c1, m2),
                 "invalid_request");
}

Test(chats, guessed_and_foreign_ids_are_not_found)
{
    struct account *acc = add_account(false, ACCOUNT_CONNECTED);
    char m[ID_TEXT_MAX], c[ID_TEXT_MAX];

    receive(acc, anna, false, 100, "x", m, c);
    expect_error(&H.test, "get_chat", args("{\"chat_id\":\"%s\"}", c, ""), "not_found");
    expect_error(&H.test, "get_message", args("{\"message_id\":\"%s\"}", m, ""), "not_found");
    c[strlen(c) - 2] = c[strlen(c) - 2] == '0' ? '1' : '0';
    m[strlen(m) - 2] = m[strlen(m) - 2] == '0' ? '1' : '0';
    expect_error(&H.live, "get_chat", args("{\"chat_id\":\"%s\"}", c, ""), "not_found");
    expect_error(&H.live, "get_message", args("{\"message_id\":\"%s\"}", m, ""), "not_found");
    expect_error(&H.live, "mark_chat_read", args("{\"chat_id\":\"%s\"}", c, ""), "not_found");
}

Test(chats, a_message_shows_its_face)
{
    struct account *acc = add_account(true, ACCOUNT_CONNECTED);
    char m[ID_TEXT_MAX], c[ID_TEXT_MAX];
    struct answer a;

    receive(acc, anna, false, 1763632350, "hi <b>", m, c);
    a = use(&H.test, "get_message", args("{\"message_id\":\"%s\"}", m, ""));
    cr_assert_str_eq(member(&a, "id"), m);
    cr_assert_str_eq(member(&a, "chat_id"), c);
    cr_assert_str_eq(member(&a, "account_id"), acc->status.id);
    cr_assert_str_eq(member(&a, "text"), "hi <b>");
    cr_assert_str_eq(member(&a, "type"), "text");
    cr_assert_str_eq(member(&a, "status"), "received");
    cr_assert_str_eq(member(&a, "sent_at"), "2025-11-20T09:52:30.000Z");
    cr_assert(slice_is(json_get_text(json_get(a.json, "sender"), "phone"), "+15551110001"));
    answer_done(&a);
    receive(acc, anna, true, 1763632351, "mine", m, c);
    a = use(&H.test, "get_message", args("{\"message_id\":\"%s\"}", m, ""));
    cr_assert(slice_is(json_get_text(json_get(a.json, "sender"), "phone"), "+15550000001"));
    answer_done(&a);
}

Test(chats, opening_makes_a_chat_once)
{
    struct account *acc = add_account(true, ACCOUNT_CONNECTED);
    struct answer a = use(&H.test, "open_chat", "{\"phone\":\"+15551110009\"}"), b;

    cr_assert_eq(a.error, OK);
    b = use(&H.test, "open_chat", "{\"phone\":\"+15551110009\"}");
    cr_assert_str_eq(member(&a, "id"), member(&b, "id"));
    answer_done(&a);
    answer_done(&b);
    a = use(&H.test, "list_chats", "{}");
    cr_assert_eq(json_count(json_get(a.json, "chats")), 1);
    cr_assert_eq(json_kind(json_get(item(&a, "chats", 0), "last_message")), JSON_NIL);
    answer_done(&a);
    acc->status.state = ACCOUNT_LOGGED_OUT;
    expect_error(&H.test, "open_chat", "{\"phone\":\"+15551110010\"}", "account_not_paired");
}

Test(chats, marking_read_empties_the_count)
{
    struct account *acc = add_account(true, ACCOUNT_CONNECTED);
    char m[ID_TEXT_MAX], c[ID_TEXT_MAX];
    struct answer a;
    int64_t unread = 9;

    receive(acc, anna, false, 100, "x", m, c);
    a = use(&H.test, "mark_chat_read", args("{\"chat_id\":\"%s\"}", c, ""));
    cr_assert_eq(a.error, OK);
    answer_done(&a);
    a = use(&H.test, "get_chat", args("{\"chat_id\":\"%s\"}", c, ""));
    cr_assert(json_int(json_get(a.json, "unread_count"), &unread) && unread == 0);
    answer_done(&a);
}

/* ---- damage ---- */

static void expect_damage(const char *tool, const char *arguments, const char *words)
{
    struct answer a = use(&H.test, tool, arguments);

    cr_expect_eq(a.error, ERR_STORE_DAMAGED, "%s: %s", tool, err_name(a.error));
    cr_expect_str_eq(member(&a, "code"), "server_error");
    cr_expect(strstr(member(&a, "message"), words), "%s: %s", tool, member(&a, "message"));
    cr_expect(!json_get(a.json, "retry_after"), "waiting does not mend it");
    answer_done(&a);
}

static void expect_fine(const char *tool, const char *arguments)
{
    struct answer a = use(&H.test, tool, arguments);

    cr_expect_eq(a.error, OK, "%s: %s", tool, member(&a, "message"));
    answer_done(&a);
}

/* Who reads it can act: it says what is damaged, in the caller's own ids, and what helps. Nothing
 * is said of other accounts, and they go on. */
Test(chats, a_damaged_row_is_named_and_stops_its_account_alone)
{
    struct account *one = add_account(true, ACCOUNT_CONNECTED);
    struct account *two = add_account(true, ACCOUNT_CONNECTED);
    char m[ID_TEXT_MAX], c[ID_TEXT_MAX], c2[ID_TEXT_MAX], words[300], ask[300];
    AUTO(buf) scrape = {0};

    receive(one, ben, false, 100, "sound", m, c2);
    receive(one, anna, false, 200, "SPOILED", m, c); /* the index holds "spoiled", and is sound */
    fixture_flip(&H.f, "SPOILED");
    snprintf(words, sizeof(words),
             "%s of %s is damaged on disk; `parleyctl check` says how far. Bring back a backup, or "
             "delete the account and pair the phone anew",
             c, one->status.id);
    snprintf(ask, sizeof(ask), "{\"account_id\":\"%s\"}", one->status.id);
    expect_damage("list_chats", ask, words);
    snprintf(ask, sizeof(ask), "{\"account_id\":\"%s\",\"query\":\"sound\"}", one->status.id);
    expect_fine("search_messages", ask);
    expect_damage("get_chat", args("{\"chat_id\":\"%s\"}", c, ""), words);
    expect_damage("list_messages", args("{\"chat_id\":\"%s\"}", c, ""), words);
    expect_damage("get_message", args("{\"message_id\":\"%s\"}", m, ""), words);
    expect_fine("list_messages", args("{\"chat_id\":\"%s\"}", c2, ""));
    expect_fine("list_accounts", "{}");
    receive(two, anna, false, 100, "sound", m, c);
    expect_fine("list_messages", args("{\"chat_id\":\"%s\"}", c, ""));
    snprintf(ask, sizeof(ask), "{\"account_id\":\"%s\"}", two->status.id);
    expect_fine("list_chats", ask);
    metrics_write(&H.server, &scrape);
    snprintf(words, sizeof(words), "\nparley_store_damaged_total %llu\n",
             (unsigned long long)store_damaged(H.f.store));
    cr_expect(store_damaged(H.f.store) == 4 && strstr(buf_text(&scrape), words), "%s",
              buf_text(&scrape));
}

/* A call that acts is stopped by the account itself. */
Test(chats, damage_is_named_by_calls_that_act_too)
{
    struct account *acc = add_account(true, ACCOUNT_CONNECTED);
    char m[ID_TEXT_MAX], c[ID_TEXT_MAX], words[300];
    uint32_t account, peer;
    uint64_t secret;
    struct batch b;

    receive(acc, anna, false, 100, "x", m, c);
    cr_assert(id_chat_parse(ID_CHAT, slice_text(c), &account, &peer, &secret));
    struct key chat = key_of_kind(acc->scope, peer, KIND_chat);
    batch_init(&b);
    batch_put(&b, DB_data, key_slice(&chat), SLICE("spoiled"));
    CHECK_OK(writer_commit(H.f.writer, &b));
    batch_done(&b);
    fixture_flip(&H.f, "spoiled");
    snprintf(words, sizeof(words), "%s is damaged on disk", acc->status.id);
    expect_damage("open_chat", "{\"phone\":\"+15551110001\"}", words);
}

/* What is not a chat's, or not the account's, is worded without guessing. */
Test(chats, damage_without_a_chat_is_named_as_far_as_it_is_known)
{
    struct account *acc = add_account(true, ACCOUNT_CONNECTED);
    struct account *other = add_account(true, ACCOUNT_CONNECTED);
    char m[ID_TEXT_MAX], c[ID_TEXT_MAX], words[300], ask[300];
    struct key list = key_of_kind(acc->scope, 0, KIND_chatlist);
    struct db_account row = {.tenant = 1,
                             .account = other->scope.account,
                             .secret = 77,
                             .world = true,
                             .label = SLICE("misspelt")};
    struct batch b;

    receive(acc, anna, false, 100, "x", m, c);
    key_int(&list, 1);
    batch_init(&b);
    batch_put(&b, DB_data, key_slice(&list), SLICE("spoiled"));
    CHECK_OK(writer_commit(H.f.writer, &b));
    batch_done(&b);
    fixture_flip(&H.f, "spoiled");
    snprintf(ask, sizeof(ask), "{\"account_id\":\"%s\"}", acc->status.id);
    snprintf(words, sizeof(words), "%s is damaged on disk", acc->status.id);
    expect_damage("list_chats", ask, words);
    receive(other, anna, false, 100, "x", m, c);
    batch_init(&b);
    db_account_put(&b, &row);
    CHECK_OK(writer_commit(H.f.writer, &b));
    batch_done(&b);
    fixture_flip(&H.f, "misspelt");
    expect_damage("get_chat", args("{\"chat_id\":\"%s\"}", c, ""),
                  "what this call reads is damaged on disk");
}
