#include "chats_fixture.h"
#include "storage/postings.h"

static struct world w;
static void begin(void) { world_init(&w); }
static void end(void) { world_done(&w); }
TestSuite(search, .init = begin, .fini = end);

/* What a query finds, as secrets, by pages. */
static size_t search(const char *words, bool prefix, uint32_t peer, size_t limit, uint64_t *out)
{
    struct slice terms[64];
    struct search_query q = {{terms, world_words(words, terms)}, prefix, peer, 0, 0};
    struct search_cursor cursor = {0};
    static struct db_message page[64];
    size_t n = 0, count;

    do {
        CHECK_OK(db_search(w.f.view, w.scope, &q, cursor, limit, page, &count, &cursor));
        for (size_t i = 0; i < count; i++)
            out[n++] = page[i].place.secret;
    } while (cursor.set);
    return n;
}

static size_t hits(const char *words)
{
    uint64_t out[1024];
    return search(words, false, 0, 50, out);
}

static bool fold_slice(size_t keep)
{
    bool more;
    CHECK_OK(db_fold(&w.batch, w.f.view, w.scope, keep, &more));
    return more;
}

static void fold(size_t keep)
{
    bool more;
    do {
        more = fold_slice(keep);
        world_commit(&w);
    } while (more);
}

Test(search, finds_a_message_in_the_moment_it_is_committed)
{
    uint32_t peer = world_peer(&w, "1@lid");
    struct view *other;

    world_message(&w, peer, 10, "the needle");
    CHECK_OK(view_new(w.f.store, &other));
    struct slice term = SLICE("needle");
    struct search_query q = {.terms = {&term, 1}};
    struct search_cursor next;
    struct db_message m;
    size_t n;
    CHECK_OK(view_begin(other));
    CHECK_OK(db_search(other, w.scope, &q, (struct search_cursor){0}, 1, &m, &n, &next));
    cr_assert_eq(n, 0);
    view_end(other);
    world_commit(&w);
    CHECK_OK(view_begin(other));
    CHECK_OK(db_search(other, w.scope, &q, (struct search_cursor){0}, 1, &m, &n, &next));
    cr_assert_eq(n, 1);
    cr_assert(slice_is(m.text, "the needle"));
    view_free(other);
}

Test(search, finds_it_at_the_edge_of_the_tail_and_during_a_fold)
{
    char text[64];
    uint32_t peer = world_peer(&w, "1@lid");

    for (uint32_t i = 0; i < TAIL_MAX + 40; i++) {
        snprintf(text, sizeof(text), "common number%u", i);
        world_message(&w, peer, 100 + i, text);
        if (i % 7 == 0) world_commit(&w);
        snprintf(text, sizeof(text), "number%u", i > TAIL_MAX ? i - TAIL_MAX : 0);
        cr_assert_eq(hits(text), 1);
        cr_assert_eq(hits("common"), i + 1);
    }
    world_commit(&w);
    for (size_t keep = TAIL_MAX + 39; keep + 20 > TAIL_KEEP;
         keep -= keep > TAIL_KEEP + 30 ? 9 : 1) {
        size_t count;
        CHECK_OK(db_fold(&w.batch, w.f.view, w.scope, keep, &(bool){false}));
        cr_assert_eq(hits("common"), TAIL_MAX + 40); /* the fold is pending */
        world_commit(&w);
        cr_assert_eq(hits("common"), TAIL_MAX + 40); /* and durable */
        CHECK_OK(db_tail_count(w.f.view, w.scope, &count));
        cr_assert_eq(count, keep);
        for (uint32_t i = 0; i < 3; i++) {
            snprintf(text, sizeof(text), "number%u", TAIL_MAX + 40 - (uint32_t)keep - 1 + i);
            cr_assert_eq(hits(text), 1, "%s", text);
        }
    }
}

Test(search, matches_all_words_prefixes_chats_and_bounds)
{
    uint64_t out[16];
    uint32_t ann = world_peer(&w, "1@lid"), bob = world_peer(&w, "2@lid");
    struct slice term = SLICE("bill");
    struct search_cursor next;
    static struct db_message page[8];
    size_t n;

    world_message(&w, ann, 10, "the bill is paid");
    world_message(&w, bob, 20, "the bill is open");
    world_message(&w, bob, 30, "billing starts");
    for (int round = 0; round < 2; round++) {
        cr_assert_eq(hits("bill"), 2);
        cr_assert_eq(hits("open bill"), 1);
        cr_assert_eq(hits("open paid"), 0);
        cr_assert_eq(hits("nothing"), 0);
        cr_assert_eq(hits(""), 0);
        cr_assert_eq(search("bill", true, 0, 1, out), 3);
        cr_assert_eq(search("the b", true, 0, 10, out), 2);
        cr_assert_eq(search("bill", true, bob, 10, out), 2);
        cr_assert_eq(search("bill", false, ann, 10, out), 1);
        struct search_query q = {.terms = {&term, 1}, .before_sec = 20};
        CHECK_OK(db_search(w.f.view, w.scope, &q, (struct search_cursor){0}, 8, page, &n, &next));
        cr_assert(n == 1 && page[0].place.sec == 10);
        q = (struct search_query){.terms = {&term, 1}, .after_sec = 10};
        CHECK_OK(db_search(w.f.view, w.scope, &q, (struct search_cursor){0}, 8, page, &n, &next));
        cr_assert(n == 1 && page[0].place.sec == 20 && !next.set);
        world_commit(&w);
        fold(0);
    }
}

Test(search, leaves_out_what_was_deleted_or_merged_away)
{
    uint32_t ann = world_peer(&w, "1@lid"), bob = world_peer(&w, "2@s.whatsapp.net"), peer;
    struct place revoked = world_message(&w, ann, 11, "secret one");
    struct db_message m;
    uint64_t out[8];

    world_message(&w, bob, 12, "secret two");
    world_commit(&w);
    fold(1);
    cr_assert_eq(hits("secret"), 2);
    CHECK_OK(db_message_get(w.f.view, w.scope, revoked, &m));
    m.deleted = true;
    db_message_put(&w.batch, w.scope, &m);
    cr_assert_eq(hits("secret"), 1);

    CHECK_OK(db_contact_map(&w.batch, w.f.view, w.scope, SLICE("1@lid"), SLICE("2@s.whatsapp.net"),
                            1, 1, &peer));
    cr_assert_eq(peer, ann);
    world_commit(&w);
    cr_assert_eq(search("secret", false, ann, 8, out), 1);
    fold(0);
    cr_assert_eq(search("secret", false, ann, 8, out), 1);
}

Test(search, finds_an_edited_message_once_by_its_new_text)
{
    uint32_t ann = world_peer(&w, "1@lid");
    struct place p = world_message(&w, ann, 10, "old words");
    struct slice words[] = {SLICE("new"), SLICE("words")};

    world_commit(&w);
    fold(0);
    CHECK_OK(db_tail_add(&w.batch, w.f.view, w.scope, p, &(struct terms){words, 2}));
    for (int round = 0; round < 2; round++) {
        cr_assert_eq(hits("new"), 1);
        cr_assert_eq(hits("words"), 1);
        world_commit(&w);
        fold(0);
    }
}

Test(search, a_prefix_for_too_many_words_is_refused)
{
    uint32_t ann = world_peer(&w, "1@lid");
    struct slice term = SLICE("w");
    struct search_query q = {.terms = {&term, 1}, .last_is_prefix = true};
    struct search_cursor next;
    struct db_message m;
    char text[32];
    size_t n;

    for (uint32_t i = 0; i <= SEARCH_PREFIX_MAX; i++) {
        snprintf(text, sizeof(text), "w%u", i);
        world_message(&w, ann, i + 1, text);
        if (i % 100 == 99) world_commit(&w);
    }
    world_commit(&w);
    fold(0);
    cr_assert_eq(db_search(w.f.view, w.scope, &q, (struct search_cursor){0}, 1, &m, &n, &next),
                 ERR_BAD_ARGUMENT);
}

/* --- against a model ---------------------------------------------------------------------- */

enum { MESSAGES = 1200, WORDS = 12 };
static struct model {
    uint32_t sec, peer, seq;
    uint64_t secret;
    char text[64];
} model[MESSAGES];
static size_t model_count;

static bool has_word(const char *text, const char *word)
{
    struct slice words[64];
    size_t n = world_words(text, words);
    for (size_t i = 0; i < n; i++)
        if (slice_is(words[i], word)) return true;
    return false;
}

static int newest(const void *a, const void *b)
{
    const struct model *x = *(struct model *const *)a, *y = *(struct model *const *)b;
    if (x->sec != y->sec) return x->sec > y->sec ? -1 : 1;
    if (x->peer != y->peer) return x->peer > y->peer ? -1 : 1;
    return x->seq > y->seq ? -1 : 1;
}

static void compare(const char *first, const char *second, size_t limit)
{
    static struct model *expected[MESSAGES];
    static uint64_t found[MESSAGES];
    char query[32];
    size_t n = 0;

    for (size_t i = 0; i < model_count; i++)
        if (has_word(model[i].text, first) && has_word(model[i].text, second))
            expected[n++] = &model[i];
    qsort(expected, n, sizeof(expected[0]), newest);
    snprintf(query, sizeof(query), "%s %s", first, second);
    size_t count = search(query, false, 0, limit, found);
    cr_assert_eq(count, n, "%s: %zu, not %zu of %zu", query, count, n, model_count);
    for (size_t i = 0; i < n; i++)
        cr_assert_eq(found[i], expected[i]->secret);
}

Test(search, agrees_with_a_model_at_every_commit, .timeout = 60)
{
    static const char *const words[WORDS] = {"a",     "b",     "c",    "dog", "eel", "fox",
                                             "grape", "hotel", "iris", "jam", "kit", "lime"};
    srand(11);
    for (int i = 0; i < 20; i++) {
        char address[16];
        snprintf(address, sizeof(address), "%d@lid", i);
        world_peer(&w, address);
    }
    while (model_count < MESSAGES) {
        for (int i = 0; i < 40; i++) {
            struct model *m = &model[model_count++];
            size_t n = 0;
            /* "a" is in nearly all, later words are rarer; times jump back, as history does */
            for (size_t word = 0; word < WORDS; word++)
                if ((size_t)rand() % (word + 1) == 0)
                    n += (size_t)sprintf(m->text + n, "%s%s", n ? " " : "", words[word]);
            m->peer = 1 + (uint32_t)rand() % 20;
            m->sec = 1000 + (uint32_t)rand() % 300;
            struct place p = world_message(&w, m->peer, m->sec, m->text);
            m->seq = p.seq;
            m->secret = p.secret;
        }
        if (rand() % 3 == 0) world_commit(&w);
        if (rand() % 3 == 0) {
            world_commit(&w);
            bool more = fold_slice((size_t)(50 + rand() % 50));
            if (rand() % 2) more = fold_slice((size_t)(rand() % 50)); /* over the pending one */
            if (rand() % 2) world_commit(&w);
            (void)more;
            compare(words[rand() % WORDS], words[rand() % WORDS], 50);
            if (!batch_is_empty(&w.batch)) world_commit(&w);
        }
        compare(words[rand() % 4], words[rand() % WORDS], 7);
        compare(words[0], words[1], 64);
    }
}
