/* `window` callers of the reading tools, one request after the other on a connection each; what
 * they read is a row of `kinds`, of the first account. The ids of its chats are fetched first. */
#include "tools/load/load.h"

#include <stdlib.h>

enum { CHATS_MAX = 20000 };

struct reader {
    struct peer *peer;
    int64_t asked_us;
};

static struct {
    struct reader *readers;
    char (*chats)[72];
    char account[72];
    char middle[256]; /* a cursor half way down the list of chats */
    size_t chat_count, working, rows, asked;
    int64_t ends_us;
    struct meter meter;
    struct times took;
    void (*path)(char *out, size_t size);
} rd;

/* ---- what is read ---- */

static void search(char *out, size_t size, const size_t *ranks, size_t count)
{
    AUTO(buf) query = {0};

    for (size_t i = 0; i < count; i++) {
        if (i) buf_put_text(&query, "+");
        words_word(ranks[i], &query);
    }
    snprintf(out, size, "/v1/search?account_id=%s&limit=100&query=%s", rd.account,
             buf_text(&query));
}

static void chats(char *out, size_t size)
{
    snprintf(out, size, "/v1/chats?account_id=%s&limit=100", rd.account);
}
static void chats_deep(char *out, size_t size)
{
    snprintf(out, size, "/v1/chats?account_id=%s&limit=100%s%s", rd.account,
             rd.middle[0] ? "&cursor=" : "", rd.middle);
}
static void messages(char *out, size_t size)
{
    snprintf(out, size, "/v1/chats/%s/messages?limit=100",
             rd.chats[(rd.asked * 7919) % rd.chat_count]);
}
static void messages_few(char *out, size_t size)
{
    snprintf(out, size, "/v1/chats/%s/messages?limit=20",
             rd.chats[(rd.asked * 7919) % rd.chat_count]);
}
static void search_rare(char *out, size_t size)
{
    search(out, size, (size_t[]){30000 + rd.asked % 10000}, 1);
}
static void search_usual(char *out, size_t size)
{
    search(out, size, (size_t[]){500 + rd.asked % 500}, 1);
}
static void search_frequent(char *out, size_t size) { search(out, size, (size_t[]){0}, 1); }
static void search_two(char *out, size_t size)
{
    search(out, size, (size_t[]){10 + rd.asked % 50, 3}, 2);
}
static void search_none(char *out, size_t size)
{
    search(out, size, (size_t[]){900000 + rd.asked % 100000}, 1);
}

static const struct {
    const char *name;
    void (*path)(char *out, size_t size);
} kinds[] = {
    {"chats", chats},
    {"chats_deep", chats_deep},
    {"messages", messages},
    {"messages_few", messages_few},
    {"search_rare", search_rare},
    {"search_usual", search_usual},
    {"search_frequent", search_frequent},
    {"search_two", search_two},
    {"search_none", search_none},
};

/* ---- the calls ---- */

static size_t count_rows(struct slice body)
{
    json_t *answer = json_loadb((const char *)body.data, body.len, 0, NULL);
    json_t *rows = json_object_get(answer, "messages");
    size_t n;

    if (!rows) rows = json_object_get(answer, "chats");
    if (!rows) load_fail("read: " SLICE_FMT, SLICE_ARG(body));
    n = json_array_size(rows);
    json_decref(answer);
    return n;
}

static void finish(struct load *l)
{
    char figures[1024];

    meter_stop(l, &rd.meter);
    load_figures(&rd.meter, &rd.took, figures);
    load_done(l, "{%s, \"rows\": %zu, \"chats\": %zu, \"callers\": %ld}", figures, rd.rows,
              rd.chat_count, (long)l->task.window);
}

static void read_next(struct reader *r)
{
    struct load *l = r->peer->load;
    char path[512];

    if (load_us() > rd.ends_us) {
        peer_close(r->peer);
        if (--rd.working == 0) finish(l);
        return;
    }
    rd.path(path, sizeof path);
    rd.asked++;
    r->asked_us = load_us();
    peer_ask(r->peer, "GET", path, NULL);
}

static void on_answer(struct peer *p, int status, struct slice body)
{
    struct reader *r = p->owner;

    if (status != 200) load_fail("read: %d " SLICE_FMT, status, SLICE_ARG(body));
    times_add(&rd.took, load_us() - r->asked_us);
    if (rd.took.count == 1) rd.rows = count_rows(body);
    read_next(r);
}

static void begin(struct load *l)
{
    size_t count = (size_t)l->task.window;

    rd.readers = xcalloc(count * sizeof *rd.readers);
    rd.working = count;
    rd.ends_us = load_us() + l->task.seconds * 1000000;
    meter_go(l, &rd.meter);
    for (size_t i = 0; i < count; i++) {
        struct reader *r = &rd.readers[i];
        r->peer = peer_new(l, r);
        r->peer->on_answer = on_answer;
        read_next(r);
    }
}

/* ---- the ids ---- */

static void ask_page(struct peer *p, const char *cursor)
{
    char path[512];

    snprintf(path, sizeof path, "/v1/chats?account_id=%s&limit=200%s%s", rd.account,
             cursor ? "&cursor=" : "", cursor ? cursor : "");
    peer_ask(p, "GET", path, NULL);
}

static void on_page(struct peer *p, int status, struct slice body)
{
    json_t *answer = json_loadb((const char *)body.data, body.len, 0, NULL), *row;
    const char *next = json_string_value(json_object_get(answer, "next_cursor"));
    size_t i;

    if (status != 200) load_fail("chats: %d " SLICE_FMT, status, SLICE_ARG(body));
    json_array_foreach(json_object_get(answer, "chats"), i, row)
    {
        const char *id = json_string_value(json_object_get(row, "id"));
        if (id && rd.chat_count < CHATS_MAX)
            snprintf(rd.chats[rd.chat_count++], sizeof rd.chats[0], "%s", id);
    }
    if (next && rd.chat_count <= (size_t)p->load->task.active / 2)
        snprintf(rd.middle, sizeof rd.middle, "%s", next);
    if (next) {
        ask_page(p, next);
    } else {
        struct load *l = p->load;
        peer_close(p);
        if (!rd.chat_count) load_fail("there are no chats");
        begin(l);
    }
    json_decref(answer);
}

static void on_accounts(struct peer *p, int status, struct slice body)
{
    json_t *answer = json_loadb((const char *)body.data, body.len, 0, NULL);
    json_t *first = json_array_get(json_object_get(answer, "accounts"), 0);
    const char *id = json_string_value(json_object_get(first, "id"));

    if (status != 200 || !id) load_fail("accounts: %d " SLICE_FMT, status, SLICE_ARG(body));
    snprintf(rd.account, sizeof rd.account, "%s", id);
    json_decref(answer);
    p->on_answer = on_page;
    ask_page(p, NULL);
}

void read_start(struct load *l)
{
    free(rd.readers); /* of the task before */
    free(rd.chats);
    times_done(&rd.took);
    memset(&rd, 0, sizeof rd);
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        if (strcmp(l->task.what, kinds[i].name) == 0) rd.path = kinds[i].path;
    if (!rd.path) load_fail("there is nothing to read called '%s'", l->task.what);
    rd.chats = xcalloc(CHATS_MAX * sizeof rd.chats[0]);
    struct peer *p = peer_new(l, NULL);
    p->on_answer = on_accounts;
    peer_ask(p, "GET", "/v1/accounts?limit=1", NULL);
}
