#include "chats_fixture.h"

static struct world w;
static void begin(void) { world_init(&w); }
static void end(void) { world_done(&w); }
TestSuite(chats, .init = begin, .fini = end);

/* The list as "peer peer …", by pages of `limit`. */
static const char *list(struct chat_filter filter, size_t limit)
{
    static char text[8192];
    struct chat_cursor cursor = {0};
    struct chat_entry page[64];
    size_t n = 0, count;

    text[0] = '\0';
    do {
        CHECK_OK(db_chat_page(w.f.view, w.scope, &filter, cursor, limit, page, &count, &cursor));
        for (size_t i = 0; i < count; i++)
            n += (size_t)sprintf(text + n, "%s%u", n ? " " : "", page[i].chat.peer);
    } while (cursor.set);
    return text;
}

static void change(uint32_t peer, void (*how)(struct db_chat *c))
{
    struct db_chat c;
    CHECK_OK(db_chat_find(w.f.view, w.scope, peer, &c));
    how(&c);
    CHECK_OK(db_chat_put_listed(&w.batch, w.f.view, w.scope, &c));
}

static void pin(struct db_chat *c) { c->pinned_ms = 1; }
static void archive(struct db_chat *c) { c->archived = true; }
static void mark_read(struct db_chat *c) { c->unread_count = 0; }

static void fold(size_t keep)
{
    bool more;
    CHECK_OK(db_fold(&w.batch, w.f.view, w.scope, keep, &more));
    cr_assert(!more);
    world_commit(&w);
}

static void five_chats(void)
{
    for (uint32_t i = 1; i <= 5; i++) {
        char address[16];
        snprintf(address, sizeof(address), "%u@lid", i);
        world_peer(&w, address);
        world_message(&w, i, 100 * i, "hello");
    }
    world_peer(&w, "6@lid"); /* no conversation */
}

Test(chats, are_listed_by_last_activity_before_and_after_the_fold)
{
    five_chats();
    cr_assert_str_eq(list((struct chat_filter){0}, 2), "5 4 3 2 1");
    world_commit(&w);
    fold(2);
    cr_assert_str_eq(list((struct chat_filter){0}, 2), "5 4 3 2 1");
    fold(0);
    cr_assert_str_eq(list((struct chat_filter){0}, 64), "5 4 3 2 1");
    world_message(&w, 2, 900, "again");
    cr_assert_str_eq(list((struct chat_filter){0}, 1), "2 5 4 3 1");
    world_commit(&w);
    cr_assert_str_eq(list((struct chat_filter){0}, 3), "2 5 4 3 1");
}

Test(chats, are_filtered_by_what_is_true_now)
{
    const struct chat_filter unread = {.unread = CHAT_ONLY}, read = {.unread = CHAT_WITHOUT};

    five_chats();
    change(3, mark_read);
    change(4, archive);
    change(1, pin);
    for (int round = 0; round < 3; round++) {
        cr_assert_str_eq(list((struct chat_filter){0}, 2), "1 5 4 3 2");
        cr_assert_str_eq(list(unread, 2), "1 5 4 2");
        cr_assert_str_eq(list(read, 2), "3");
        cr_assert_str_eq(list((struct chat_filter){.archived = CHAT_ONLY}, 2), "4");
        cr_assert_str_eq(list((struct chat_filter){.pinned = CHAT_WITHOUT}, 2), "5 4 3 2");
        world_commit(&w);
        if (round == 1) fold(0);
    }
    change(5, mark_read); /* no longer in the tail */
    cr_assert_str_eq(list(read, 2), "5 3");
    world_message(&w, 3, 300, "unread again");
    cr_assert_str_eq(list(read, 2), "5");
}

Test(chats, that_became_one_are_listed_once)
{
    uint32_t peer;

    five_chats();
    world_commit(&w);
    fold(1);
    CHECK_OK(db_contact_open(&w.batch, w.f.view, w.scope, CONTACT_PERSON, SLICE("9@s.whatsapp.net"),
                             1, 1, &(struct contact_ref){0}));
    world_message(&w, 7, 800, "by number");
    cr_assert_str_eq(list((struct chat_filter){0}, 64), "7 5 4 3 2 1");
    CHECK_OK(db_contact_map(&w.batch, w.f.view, w.scope, SLICE("2@lid"), SLICE("9@s.whatsapp.net"),
                            1, 1, &peer));
    cr_assert_eq(peer, 2);
    for (int round = 0; round < 3; round++) {
        cr_assert_str_eq(list((struct chat_filter){0}, 64), "2 5 4 3 1");
        world_commit(&w);
        if (round == 1) fold(0);
    }
}

static int by_sec_down(const void *a, const void *b)
{
    const uint32_t *x = a, *y = b;
    if (x[0] != y[0]) return x[0] > y[0] ? -1 : 1;
    return x[1] > y[1] ? -1 : 1;
}

Test(chats, agree_with_a_sorted_copy_at_every_step)
{
    enum { CHATS = 300 };
    static uint32_t model[CHATS][2], sorted[CHATS][2];
    static char expected[8192];

    srand(7);
    for (uint32_t i = 0; i < CHATS; i++) {
        char address[16];
        snprintf(address, sizeof(address), "%u@lid", i);
        world_peer(&w, address);
        model[i][1] = i + 1;
    }
    for (int step = 0; step < 60; step++) {
        for (int i = 0; i < 20; i++) {
            uint32_t peer = 1 + (uint32_t)rand() % CHATS, sec = 1000 + (uint32_t)rand() % 500;
            world_message(&w, peer, sec, "x");
            if (sec > model[peer - 1][0]) model[peer - 1][0] = sec;
        }
        if (step % 3 == 0) world_commit(&w);
        if (step % 12 == 11) {
            world_commit(&w);
            fold((size_t)(rand() % 200));
        }
        memcpy(sorted, model, sizeof(model));
        qsort(sorted, CHATS, sizeof(sorted[0]), by_sec_down);
        size_t n = 0;
        expected[0] = '\0';
        for (uint32_t i = 0; i < CHATS && sorted[i][0]; i++)
            n += (size_t)sprintf(expected + n, "%s%u", n ? " " : "", sorted[i][1]);
        cr_assert_str_eq(list((struct chat_filter){0}, 64), expected, "step %d", step);
    }
}
