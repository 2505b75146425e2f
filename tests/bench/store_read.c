/* bench_store_read [chats] [messages]: list_chats, list_messages, search and get by id in one
 * account, as the tools read them. Budget: p99 under 2 ms with 10,000 chats and 1 M messages. */
#include "storage_load.h"

enum { PAGE = 100 };

static void report(const char *name, double *took, size_t count, size_t rows)
{
    double p50 = percentile(took, count, 0.5), p99 = percentile(took, count, 0.99);
    printf("%-34s %8zu %8.3f %8.3f %8.3f\n", name, rows, p50, p99, took[count - 1]);
}

static void chats(struct load *l, struct scope scope, struct chat_filter filter, const char *name)
{
    enum { ROUNDS = 300 };
    static struct chat_entry page[PAGE];
    static double took[ROUNDS];
    struct chat_cursor cursor = {0};
    size_t n = 0;

    for (int i = 0; i < ROUNDS; i++) {
        double start = now_s();
        MUST(view_begin(l->view));
        MUST(db_chat_page(l->view, scope, &filter, cursor, PAGE, page, &n, &cursor));
        view_end(l->view);
        took[i] = (now_s() - start) * 1000;
    }
    report(name, took, ROUNDS, n);
}

static void messages(struct load *l, struct scope scope)
{
    enum { ROUNDS = 1000 };
    static double took[ROUNDS], get[ROUNDS];
    size_t rows = 0;

    for (int i = 0; i < ROUNDS; i++) {
        struct db_message m = {0};
        struct db_contact c;
        double start = now_s();
        MUST(view_begin(l->view));
        MUST(db_contact_get(l->view, scope, 1 + (uint32_t)rand() % l->chats, &c));
        AUTO(message_walk) w = {0};
        message_walk_init(&w, l->view, scope, &c, (struct place){0}, RANGE_BACKWARDS);
        for (rows = 0; rows < PAGE && message_walk_next(&w, &m);)
            rows++;
        MUST(message_walk_error(&w));
        message_walk_done(&w);
        took[i] = (now_s() - start) * 1000;
        struct place place = m.place;
        start = now_s();
        if (place.peer) MUST(db_message_get(l->view, scope, place, &m));
        get[i] = (now_s() - start) * 1000;
        view_end(l->view);
    }
    report("messages of a chat, backwards", took, ROUNDS, rows);
    report("message by id", get, ROUNDS, 1);
}

static void search(struct load *l, struct scope scope, const char *words[], size_t count,
                   bool prefix, const char *name)
{
    enum { ROUNDS = 200 };
    static struct db_message page[PAGE];
    static double took[ROUNDS];
    struct slice terms[4];
    struct search_query q = {.terms = {terms, count}, .last_is_prefix = prefix};
    struct search_cursor next;
    size_t n = 0;

    for (size_t i = 0; i < count; i++)
        terms[i] = slice_text(words[i]);
    for (int i = 0; i < ROUNDS; i++) {
        double start = now_s();
        MUST(view_begin(l->view));
        MUST(db_search(l->view, scope, &q, (struct search_cursor){0}, PAGE, page, &n, &next));
        view_end(l->view);
        took[i] = (now_s() - start) * 1000;
    }
    report(name, took, ROUNDS, n);
}

int main(int argc, char **argv)
{
    struct load l;
    uint32_t chat_count = argument(argc, argv, 1, 10000);
    uint32_t message_count = argument(argc, argv, 2, 1000000);
    struct scope scope = {1, 1};
    size_t used, tail;

    load_open(&l, bench_folder(), 1, chat_count, true);
    double start = now_s();
    load_fill(&l, message_count / chat_count);
    MUST(store_used(l.store, &used));
    MUST(view_begin(l.view));
    MUST(db_tail_count(l.view, scope, &tail));
    view_end(l.view);
    printf("%u chats, %u messages, %zu in the tail; database %zu MB; filled in %.0f s "
           "(%.0f us a message with folding)\n",
           chat_count, message_count, tail, used >> 20, now_s() - start,
           (now_s() - start) / message_count * 1e6);
    printf("%-34s %8s %8s %8s %8s\n", "", "rows", "p50 ms", "p99 ms", "max ms");
    chats(&l, scope, (struct chat_filter){0}, "list of chats");
    chats(&l, scope, (struct chat_filter){.unread = CHAT_ONLY}, "unread chats");
    chats(&l, scope, (struct chat_filter){.archived = CHAT_ONLY}, "archived chats (none)");
    messages(&l, scope);
    search(&l, scope, (const char *[]){"w0ord"}, 1, false, "search: the most frequent word");
    search(&l, scope, (const char *[]){"w4900ord"}, 1, false, "search: a rare word");
    search(&l, scope, (const char *[]){"w0ord", "w1ord"}, 2, false, "search: two frequent words");
    search(&l, scope, (const char *[]){"w4900ord", "w4800ord"}, 2, false, "search: two rare words");
    search(&l, scope, (const char *[]){"w0ord", "w4900ord"}, 2, false, "search: frequent and rare");
    search(&l, scope, (const char *[]){"w490"}, 1, true, "search: a beginning of 11 words");
    search(&l, scope, (const char *[]){"w49"}, 1, true, "search: a beginning of 111 words");
    search(&l, scope, (const char *[]){"nothing"}, 1, false, "search: a word that is not there");
    load_close(&l);
    return 0;
}
