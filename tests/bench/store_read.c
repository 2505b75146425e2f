/* bench_store_read [chats] [messages]: list_chats, list_messages, search and get by id in one
 * account, as the tools read them. Budget: p99 under 2 ms with 10,000 chats and 1 M messages. Wall
 * time, and CPU time of the thread, which other programs on the machine do not change. */
#include "storage_load.h"

enum { PAGE = 100 };

enum { ROUNDS_MAX = 1000 };

/* One kind of read, timed. */
struct timing {
    double wall[ROUNDS_MAX], cpu[ROUNDS_MAX], wall_start, cpu_start;
    size_t count;
};

static double thread_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void begin(struct timing *t)
{
    t->wall_start = now_s();
    t->cpu_start = thread_s();
}

static void end(struct timing *t)
{
    t->cpu[t->count] = (thread_s() - t->cpu_start) * 1000;
    t->wall[t->count++] = (now_s() - t->wall_start) * 1000;
}

static void report(const char *name, struct timing *t, size_t rows)
{
    double wall = percentile(t->wall, t->count, 0.5), cpu = percentile(t->cpu, t->count, 0.5);
    printf("%-34s %8zu %9.3f %9.3f %9.3f %9.3f\n", name, rows, wall,
           percentile(t->wall, t->count, 0.99), cpu, percentile(t->cpu, t->count, 0.99));
    t->count = 0;
}

static void chats(struct load *l, struct scope scope, struct chat_filter filter, const char *name)
{
    enum { ROUNDS = 300 };
    static struct chat_entry page[PAGE];
    static struct timing took;
    struct chat_cursor cursor = {0};
    size_t n = 0;

    for (int i = 0; i < ROUNDS; i++) {
        begin(&took);
        MUST(view_begin(l->view));
        MUST(db_chat_page(l->view, scope, &filter, cursor, PAGE, page, &n, &cursor));
        view_end(l->view);
        end(&took);
    }
    report(name, &took, n);
}

static void messages(struct load *l, struct scope scope)
{
    enum { ROUNDS = 1000 };
    static struct timing took, get;
    size_t rows = 0;

    for (int i = 0; i < ROUNDS; i++) {
        struct db_message m = {0};
        struct db_contact c;
        begin(&took);
        MUST(view_begin(l->view));
        MUST(db_contact_get(l->view, scope, 1 + (uint32_t)rand() % l->chats, &c));
        AUTO(message_walk) w = {0};
        message_walk_init(&w, l->view, scope, &c, (struct place){0}, RANGE_BACKWARDS);
        for (rows = 0; rows < PAGE && message_walk_next(&w, &m);)
            rows++;
        MUST(message_walk_error(&w));
        message_walk_done(&w);
        end(&took);
        struct place place = m.place;
        begin(&get);
        if (place.peer) MUST(db_message_get(l->view, scope, place, &m));
        end(&get);
        view_end(l->view);
    }
    report("messages of a chat, backwards", &took, rows);
    report("message by id", &get, 1);
}

static void search(struct load *l, struct scope scope, const char *words[], size_t count,
                   bool prefix, const char *name)
{
    enum { ROUNDS = 200 };
    static struct db_message page[PAGE];
    static struct timing took;
    struct slice terms[4];
    struct search_query q = {.terms = {terms, count}, .last_is_prefix = prefix};
    struct search_cursor next;
    size_t n = 0;

    for (size_t i = 0; i < count; i++)
        terms[i] = slice_text(words[i]);
    for (int i = 0; i < ROUNDS; i++) {
        begin(&took);
        MUST(view_begin(l->view));
        MUST(db_search(l->view, scope, &q, (struct search_cursor){0}, PAGE, page, &n, &next));
        view_end(l->view);
        end(&took);
    }
    report(name, &took, n);
}

int main(int argc, char **argv)
{
    static const char usage[] = "bench_store_read [CHATS [MESSAGES]]";
    struct load l;
    uint32_t chat_count = argument(usage, argc, argv, 1, 10000);
    uint32_t message_count = argument(usage, argc, argv, 2, 1000000);
    struct scope scope = {1, 1};
    size_t used, tail;

    argument_end(usage, argc, argv, 2);
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
    printf("%-34s %8s %9s %9s %9s %9s\n", "", "rows", "p50 ms", "p99 ms", "CPU p50", "CPU p99");
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
