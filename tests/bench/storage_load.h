/* What the storage benchmarks share: a store in a temporary folder, accounts with chats, and the
 * writes of one inbound message as the server makes them (chat, message, index by id, session,
 * tail, event). */
#pragma once
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "storage/chats.h"
#include "storage/keys.h"
#include "storage/messages.h"
#include "storage/monitor.h"
#include "storage/search.h"
#include "storage/seen.h"
#include "storage/writer.h"
#include "tests/support/arguments.h"

#define MUST(call)                                                                                 \
    do {                                                                                           \
        if ((call) != OK) {                                                                        \
            fprintf(stderr, "%s: %s\n", #call, err_trail());                                       \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

static inline double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static inline double cpu_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static inline int by_double(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* Sorts; the value that `share` of them are not above. */
static inline double percentile(double *values, size_t count, double share)
{
    qsort(values, count, sizeof(*values), by_double);
    return values[(size_t)((double)(count - 1) * share)];
}

struct load {
    char path[256];
    struct store *store;
    struct writer *writer;
    struct view *view;
    uint32_t tenant, accounts, chats;
    uint64_t secrets;
    uint32_t sec; /* the clock of the messages */
};

static inline void load_open(struct load *l, const char *folder, uint32_t accounts, uint32_t chats,
                             bool without_sync)
{
    monitor_switch(false);
    *l = (struct load){.tenant = 1, .accounts = accounts, .chats = chats, .sec = 1763632800};
    snprintf(l->path, sizeof(l->path), "%s/parley-bench-XXXXXX", folder);
    if (!mkdtemp(l->path)) {
        perror(l->path);
        exit(1);
    }
    MUST(store_open(&(struct store_options){.path = l->path, .without_sync = without_sync},
                    &l->store));
    l->writer = writer_new(&(struct writer_options){.store = l->store});
    MUST(view_new(l->store, &l->view));
}

/* The same store with the default sync, after it was filled without. */
static inline void load_reopen(struct load *l)
{
    view_free(l->view);
    writer_free(l->writer);
    store_close(l->store);
    sync();
    MUST(store_open(&(struct store_options){.path = l->path}, &l->store));
    l->writer = writer_new(&(struct writer_options){.store = l->store});
    MUST(view_new(l->store, &l->view));
}

static inline void load_close(struct load *l)
{
    static const char *const files[] = {"data.mdb", "lock.mdb", "parley.lock"};
    char name[512];
    view_free(l->view);
    writer_free(l->writer);
    store_close(l->store);
    for (size_t i = 0; i < 3; i++) {
        snprintf(name, sizeof(name), "%s/%s", l->path, files[i]);
        unlink(name);
    }
    rmdir(l->path);
}

static inline void load_person(struct load *l, struct batch *b, struct scope scope, uint32_t i)
{
    char lid[64], pn[64];
    uint32_t peer;
    snprintf(lid, sizeof(lid), "%010u%05u@lid", i * 2654435761u, scope.account);
    snprintf(pn, sizeof(pn), "4915%09u@s.whatsapp.net", i * 40503u + scope.account);
    MUST(
        db_contact_map(b, l->view, scope, slice_text(lid), slice_text(pn), ++l->secrets, 1, &peer));
}

/* The words of a text of about 60 bytes, from a vocabulary of 5,000 whose ranks are uneven. */
static inline size_t load_text(char *text, struct slice terms[16])
{
    size_t n = 0, count = 6 + (size_t)rand() % 6;
    for (size_t i = 0; i < count; i++) {
        double x = (double)rand() / RAND_MAX;
        int word = (int)(5000 * x * x * x);
        size_t len = (size_t)sprintf(text + n, "w%dord", word);
        terms[i] = slice_of(text + n, len);
        n += len;
        text[n++] = ' ';
    }
    text[n - 1] = '\0';
    return count;
}

/* The writes of one inbound message, into the batch of its turn. */
static inline void load_message(struct load *l, struct batch *b, struct scope scope, uint32_t peer)
{
    static uint8_t session[668], raw[180], event[520];
    struct db_chat chat;
    struct slice terms[16];
    char text[256], id[40], lid[64];
    size_t count = load_text(text, terms);

    MUST(db_chat_find(l->view, scope, peer, &chat));
    if (chat.next_seq == 0) chat.next_seq = 1;
    struct place place = {peer, l->sec++ / 8, chat.next_seq++, ++l->secrets * 0x9e3779b97f4a7c15u};
    snprintf(id, sizeof(id), "3EB0%016llX%02X", (unsigned long long)place.secret, peer & 255);
    snprintf(lid, sizeof(lid), "%010u%05u@lid", peer, scope.account);
    struct db_message m = {.place = place,
                           .stanza_id = slice_text(id),
                           .author = slice_text(lid),
                           .author_peer = peer,
                           .type = 1,
                           .status = 1,
                           .occurred_ms = (int64_t)place.sec * 1000,
                           .received_ms = (int64_t)place.sec * 1000 + 137,
                           .text = slice_text(text),
                           .raw = SLICE_ARRAY(raw)};
    chat.last = place;
    chat.activity_sec = place.sec;
    chat.unread_count++;
    db_message_put(b, scope, &m);
    MUST(db_seen_put(b, l->view, scope, peer, m.author, m.stanza_id, place));
    db_chat_put(b, scope, &chat);
    memcpy(session, &place, sizeof(place));
    db_key_put(b, scope, peer, 4, slice_text(lid), SLICE_ARRAY(session));
    MUST(db_tail_add(b, l->view, scope, place, &(struct terms){terms, count}));
    batch_event(b, l->tenant,
                &(struct event_head){.account = scope.account, .peer = peer, .type = 1},
                SLICE_ARRAY(event));
}

/* A turn with one message; folds like the server does. */
static inline void load_turn(struct load *l, struct batch *b, struct scope scope, uint32_t peer)
{
    struct list pending;
    batch_reset(b);
    list_init(&pending);
    list_push(&pending, &b->pending);
    MUST(view_begin(l->view));
    view_overlay(l->view, &pending);
    load_message(l, b, scope, peer);
    view_end(l->view);
    list_remove(&b->pending);
}

static inline void load_fold(struct load *l, struct scope scope)
{
    struct list pending;
    struct batch b;
    bool more = true;

    while (more) {
        size_t count;
        batch_init(&b);
        list_init(&pending);
        list_push(&pending, &b.pending);
        MUST(view_begin(l->view));
        view_overlay(l->view, &pending);
        MUST(db_tail_count(l->view, scope, &count));
        more = count >= TAIL_FOLD_AT;
        if (more) MUST(db_fold(&b, l->view, scope, TAIL_KEEP, &more));
        view_end(l->view);
        if (!batch_is_empty(&b)) MUST(writer_commit(l->writer, &b));
        batch_done(&b);
    }
}

/* Accounts, their chats, and `messages` in each chat. */
static inline void load_fill(struct load *l, uint32_t messages)
{
    for (uint32_t account = 1; account <= l->accounts; account++) {
        struct scope scope = {l->tenant, account};
        struct list pending;
        struct batch b;

        batch_init(&b);
        list_init(&pending);
        list_push(&pending, &b.pending);
        MUST(view_begin(l->view));
        view_overlay(l->view, &pending);
        for (uint32_t i = 1; i <= l->chats; i++)
            load_person(l, &b, scope, i);
        view_end(l->view);
        list_remove(&b.pending);
        MUST(writer_commit(l->writer, &b));
        for (uint32_t i = 0, left = messages * l->chats; i < left;) {
            batch_reset(&b);
            list_push(&pending, &b.pending);
            MUST(view_begin(l->view));
            view_overlay(l->view, &pending);
            for (uint32_t j = 0; j < 64 && i < left; j++, i++)
                load_message(l, &b, scope, 1 + (uint32_t)rand() % l->chats);
            view_end(l->view);
            list_remove(&b.pending);
            MUST(writer_commit(l->writer, &b));
            load_fold(l, scope);
        }
        batch_done(&b);
    }
}

/* What the disk alone needs: p50 of writing 4 KB and flushing. */
static inline double flush_p50_ms(const char *folder)
{
    enum { ROUNDS = 200 };
    static uint8_t page[4096];
    double took[ROUNDS];
    char name[300];

    snprintf(name, sizeof(name), "%s/flush", folder);
    int fd = open(name, O_RDWR | O_CREAT, 0600);
    for (int i = 0; i < ROUNDS; i++) {
        double start = now_s();
        if (pwrite(fd, page, sizeof(page), (off_t)(i % 16) * 4096) != sizeof(page)) exit(1);
        fdatasync(fd);
        took[i] = (now_s() - start) * 1000;
    }
    close(fd);
    unlink(name);
    return percentile(took, ROUNDS, 0.5);
}

static inline uint32_t argument(const char *usage, int argc, char **argv, int at,
                                uint32_t otherwise)
{
    char name[24];

    snprintf(name, sizeof name, "argument %d", at);
    return argc > at ? (uint32_t)argument_number(usage, name, argv[at], 1, 100000000) : otherwise;
}

static inline const char *bench_folder(void)
{
    const char *folder = getenv("PARLEY_BENCH_DIR");
    return folder ? folder : P_tmpdir;
}
