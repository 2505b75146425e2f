/* What the disk may hold after a power cut, tried out: reads the journal of a run
 * (storage/monitor.h says what stands in it) and opens the data file as it could be found at any
 * moment of that run.
 *
 *     powerloss JOURNAL FOLDER --states N --seed S [--lying-disk]
 *
 * Between two flushes any part of what was written may be on the disk: each write wholly, not at
 * all, or some of its 512-byte sectors. What was written before a flush that returned is there. The
 * meta page is one write inside a sector through an O_DSYNC descriptor: there or not, and there
 * once it returned. Of every state: the database opens; it holds exactly what one commit left, not
 * half a turn; and that commit is not older than any of which something had left before the cut: a
 * turn's stanzas and replies, a reply that waited for a batch of no account, an event that a stream
 * was shown, an answer that was read. What each commit leaves is itself held against the rows that
 * its turns say they wrote, and the numbers of its events follow those before.
 *
 * --lying-disk is the counter-proof: a disk whose flushes do nothing. It must fail. */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/base/map.h"
#include "proto/base/text.h"
#include "storage/events.h"
#include "storage/monitor.h"
#include "storage/record.h"
#include "storage/store_inner.h"
#include "storage/view.h"
#include "tests/support/arguments.h"

enum {
    SECTOR = 512,
    SHOWN_MAX = 10,        /* failures that are told in words */
    WHOLE_OPEN_EVERY = 25, /* states that are opened as parleyd does, with lock and migration */
    MAP_BYTES = 1 << 30,
};

struct record {
    struct monitor_record head;
    struct slice payload;
};

/* What one commit left. */
struct content {
    size_t txn, rows;
    uint32_t sum;
};

struct run {
    struct slice journal;
    size_t at; /* of the next record */
    char folder[256];
    int fd; /* of the data file in the folder */
    uint64_t random;
    bool lying;

    struct buf disk;       /* what is there for certain */
    struct record *writes; /* since the last flush */
    size_t write_count, write_cap;
    struct content now;        /* the newest commit; there for certain once its meta page is */
    bool meta_under_way;       /* it may still not be */
    size_t required;           /* the commit that something had left of */
    struct map turns;          /* owner and turn -> commit */
    struct map events;         /* tenant and number -> commit */
    struct map numbers;        /* tenant -> newest number, since the process began */
    struct map model;          /* database and key -> CRC of the record, as the turns tell it */
    bool model_begun, stopped; /* stopped: it was wrong once, and is not followed further */
    size_t model_turns;

    size_t all_writes;
    double per_write; /* states that are tried for each write; from 1 on each prefix is */
    double credit;
    unsigned long long states, prefixes, commits, starts, failures;
    unsigned long long stanzas, replies, shown, read; /* marks of what left */
};

enum { MARKS_WANTED = 3 }; /* of each kind: a record without them proves less than it says */

static uint64_t draw(struct run *r)
{
    r->random ^= r->random << 13;
    r->random ^= r->random >> 7;
    r->random ^= r->random << 17;
    return r->random * 0x2545f4914f6cdd1dull;
}

/* Not abort(): a signal is what a damaged database is expected to give. */
static _Noreturn void give_up(const char *what)
{
    perror(what);
    _exit(2);
}

static void broken(struct run *r, const char *what, const char *detail)
{
    if (r->failures++ < SHOWN_MAX)
        printf("BROKEN at byte %zu of the journal, commit %zu: %s%s\n", r->at, r->now.txn, what,
               detail);
    err_clear();
}

/* ---- the journal ---- */

static bool read_record(struct slice journal, size_t *at, struct record *out)
{
    if (journal.len - *at < sizeof out->head) return false;
    memcpy(&out->head, journal.data + *at, sizeof out->head);
    if (journal.len - *at - sizeof out->head < out->head.len) return false;
    out->payload = slice_of(journal.data + *at + sizeof out->head, out->head.len);
    *at += sizeof out->head + out->head.len;
    return true;
}

static size_t count_writes(struct slice journal)
{
    struct record rec;
    size_t at = 0, n = 0;

    while (read_record(journal, &at, &rec))
        n += rec.head.type == MONITOR_WRITE;
    return n;
}

/* ---- looking into a database ---- */

static sigjmp_buf trap;

static void on_fault(int number) { siglongjmp(trap, number); }

struct walk {
    struct run *run;
    bool judge; /* against the model */
    bool learn; /* into the model */
    size_t told;
    struct content found;
};

static struct slice model_key(uint8_t out[KEY_MAX + 1], unsigned db, struct slice key)
{
    out[0] = (uint8_t)db;
    memcpy(out + 1, key.data, key.len);
    return slice_of(out, key.len + 1);
}

static bool is_number_row(unsigned db, struct slice key)
{
    static const uint8_t last[8] = {255, 255, 255, 255, 255, 255, 255, 255};

    return db == DB_events && key.len > 8 && memcmp(key.data + key.len - 8, last, 8) == 0;
}

static void *crc_of(const uint8_t *head)
{
    uint32_t crc;

    memcpy(&crc, head, 4);
    return (void *)(uintptr_t)((uint64_t)crc + 1);
}

static void look_at(struct walk *w, unsigned db, struct slice key, struct slice value)
{
    uint8_t room[KEY_MAX + 1];
    struct slice name = model_key(room, db, key);
    void *crc = crc_of(value.data + 1);

    if (is_number_row(db, key)) return;
    w->told++;
    if (w->learn) map_put(&w->run->model, name, crc);
    if (w->judge && map_find(&w->run->model, name) != crc)
        broken(w->run, "half a turn: a row is not what it wrote, in ", store_db_name(db));
}

static err_t walk_db(struct walk *w, MDB_txn *txn, unsigned db, MDB_dbi dbi)
{
    MDB_cursor *cursor;
    MDB_val key, value;
    struct slice payload;
    int rc;

    TRY(store_error(mdb_cursor_open(txn, dbi, &cursor), "cursor"));
    while ((rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0) {
        TRY(record_open(db, store_slice(key), store_slice(value), &payload));
        w->found.rows++;
        w->found.sum = crc32c(crc32c(w->found.sum, store_slice(key)), store_slice(value));
        look_at(w, db, store_slice(key), store_slice(value));
    }
    mdb_cursor_close(cursor);
    return rc == MDB_NOTFOUND ? OK : store_error(rc, "walk");
}

static err_t walk_env(struct walk *w, MDB_env *env, const MDB_dbi dbs[DB_COUNT])
{
    MDB_txn *txn;
    err_t e = OK;

    TRY(store_error(mdb_txn_begin(env, NULL, MDB_RDONLY, &txn), "transaction"));
    w->found.txn = mdb_txn_id(txn);
    for (unsigned db = 0; db < DB_COUNT && e == OK; db++)
        if (dbs[db] != STORE_NO_DB) e = walk_db(w, txn, db, dbs[db]);
    mdb_txn_abort(txn);
    return e;
}

/* Opens as the server does, without its lock unless `wholly`. */
static err_t look(struct run *r, bool wholly, struct walk *w)
{
    struct store_options options = {.path = r->folder, .map_size = MAP_BYTES, .read_only = !wholly};
    struct store *s;

    TRY(store_open(&options, &s));
    err_t e = walk_env(w, s->env, s->dbs);
    store_close(s);
    return e;
}

static err_t look_safely(struct run *r, bool wholly, struct walk *w)
{
    int number = sigsetjmp(trap, 1);

    if (number) return fail(STORE_DAMAGED, "signal %d", number);
    return look(r, wholly, w);
}

/* ---- states ---- */

static void put_bytes(struct run *r, const uint8_t *data, size_t n, uint64_t at)
{
    if (pwrite(r->fd, data, n, (off_t)at) != (ssize_t)n) give_up("write");
}

/* Back to what is there for certain, where these writes may have changed it. */
static void take_back(struct run *r)
{
    for (size_t i = 0; i < r->write_count; i++) {
        const struct record *w = &r->writes[i];
        uint64_t end = w->head.a + w->payload.len;

        if (end > r->disk.len) end = r->disk.len;
        if (w->head.a < end) put_bytes(r, r->disk.data + w->head.a, end - w->head.a, w->head.a);
    }
    if (ftruncate(r->fd, (off_t)r->disk.len) != 0) give_up("truncate");
}

static void tear(struct run *r, const struct record *w)
{
    for (size_t at = 0; at < w->payload.len; at += SECTOR) {
        size_t n = w->payload.len - at < SECTOR ? w->payload.len - at : SECTOR;

        if (draw(r) & 1) put_bytes(r, w->payload.data + at, n, w->head.a + at);
    }
}

/* Each of the first `cut` writes: there, not there, or torn. */
static void put_some(struct run *r, size_t cut)
{
    for (size_t i = 0; i < cut; i++) {
        const struct record *w = &r->writes[i];
        unsigned fate = draw(r) % 3;

        if (fate == 0) put_bytes(r, w->payload.data, w->payload.len, w->head.a);
        if (fate == 1) tear(r, w);
    }
    /* The file may have its new length and nothing in it yet. */
    if (cut && draw(r) % 4 == 0) {
        const struct record *w = &r->writes[cut - 1];
        struct stat st;

        if (fstat(r->fd, &st) != 0) give_up("stat");
        if ((uint64_t)st.st_size < w->head.a + w->payload.len &&
            ftruncate(r->fd, (off_t)(w->head.a + w->payload.len)) != 0)
            give_up("truncate");
    }
}

static void put_all(struct run *r, size_t cut)
{
    for (size_t i = 0; i < cut; i++)
        put_bytes(r, r->writes[i].payload.data, r->writes[i].payload.len, r->writes[i].head.a);
}

/* The state that stands in the folder must hold what `wanted` left. */
static void judge(struct run *r, const struct content *wanted)
{
    struct walk w = {.run = r};
    /* While the server starts for the first time, opening would go on with what it was making. */
    bool wholly = r->states++ % WHOLE_OPEN_EVERY == 0 && r->model_turns > 0;
    err_t e = look_safely(r, wholly, &w);

    if (e != OK) {
        broken(r, "it does not open: ", err_trail());
        return;
    }
    if (w.found.txn < r->required) broken(r, "a turn is lost of which something had left", "");
    if (w.found.txn != wanted->txn || w.found.rows != wanted->rows || w.found.sum != wanted->sum)
        broken(r, "it holds something that no commit left", "");
}

/* A cut between two flushes, before the next record of the journal. */
static void try_prefix(struct run *r)
{
    put_all(r, r->write_count);
    judge(r, &r->now);
    r->prefixes++;
    take_back(r);
}

static void try_some(struct run *r)
{
    put_some(r, r->write_count);
    judge(r, &r->now);
    take_back(r);
}

/* ---- commits ---- */

/* The writer gives each log its numbers one after the other. */
static void take_number(struct run *r, struct slice key)
{
    struct reader parts = reader_of(key);
    uint64_t name[2] = {key_read_int(&parts), reader_be64(&parts)};
    struct slice tenant = slice_of(name, 8);
    uint64_t last = (uintptr_t)map_find(&r->numbers, tenant);

    if (parts.error != OK) give_up("an event in the journal");
    if (last && name[1] != last + 1) broken(r, "an event has not the number behind the last", "");
    map_put(&r->numbers, tenant, (void *)(uintptr_t)name[1]);
    map_put(&r->events, slice_of(name, sizeof name), (void *)(uintptr_t)(r->now.txn + 1));
}

static void take_row(struct run *r, struct reader *rows)
{
    uint8_t room[KEY_MAX + 1], type = reader_u8(rows), db = reader_u8(rows);
    uint16_t key_len;
    struct slice len = reader_bytes(rows, 2), crc = reader_bytes(rows, 4);

    if (rows->error != OK) give_up("a turn in the journal");
    memcpy(&key_len, len.data, 2);
    struct slice key = reader_bytes(rows, key_len);
    if (rows->error != OK || key_len > KEY_MAX) give_up("a turn in the journal");
    if (type == BATCH_EVENT) take_number(r, key);
    if (type == BATCH_PUT || type == BATCH_EVENT)
        map_put(&r->model, model_key(room, db, key), crc_of(crc.data));
    else if (type == BATCH_DELETE)
        map_remove(&r->model, model_key(room, db, key));
    else
        give_up("a trimmed log"); /* no run of a few seconds is old enough */
}

static struct slice turn_key(const struct record *rec) { return slice_of(&rec->head.a, 16); }

static void on_turn(struct run *r, const struct record *rec)
{
    struct reader rows = reader_of(rec->payload);

    while (rows.error == OK && reader_left(&rows) > 0)
        take_row(r, &rows);
    r->model_begun = true;
    r->model_turns++;
    map_put(&r->turns, turn_key(rec), (void *)(uintptr_t)(r->now.txn + 1));
}

/* Killed and started again: what it wrote last before it was killed it may not have told. */
static void on_start(struct run *r)
{
    r->model_begun = r->meta_under_way = false;
    r->starts++;
    map_done(&r->turns);
    map_done(&r->numbers);
}

/* Something that this commit left is out: no later state may be without it. */
static void require(struct run *r, size_t commit)
{
    if (commit > r->required) r->required = commit;
}

static void on_release(struct run *r, const struct record *rec)
{
    uintptr_t commit = (uintptr_t)map_find(&r->turns, turn_key(rec));
    char what[100];

    snprintf(what, sizeof what, SLICE_FMT, SLICE_ARG(slice_sub(rec->payload, 0, 90)));
    if (rec->head.a)
        r->stanzas++;
    else
        r->replies++;
    if (commit == 0)
        broken(r, "something was released before its commit: ", what);
    else
        require(r, commit - 1);
}

/* A row of the newest commit that is there for certain. */
static bool has_row(struct run *r, enum db db, struct slice key)
{
    struct store_options options = {.path = r->folder, .map_size = MAP_BYTES, .read_only = true};
    struct slice found = SLICE_NONE;
    struct store *s;
    struct view *v;

    if (store_open(&options, &s) != OK) return false;
    err_t e = view_new(s, &v);
    if (e == OK) e = view_begin(v);
    if (e == OK) e = view_find(v, db, key, &found);
    view_free(v);
    store_close(s);
    return e == OK && !slice_is_none(found);
}

/* Told by its turn, or older than the process: what it wrote last before it was killed it may not
 * have told. */
static void on_shown(struct run *r, const struct record *rec)
{
    struct slice name = slice_of(&rec->head.a, 16);
    struct key key = event_key((uint32_t)rec->head.a, rec->head.b);
    uintptr_t commit = (uintptr_t)map_find(&r->events, name);

    r->shown++;
    if (commit == 0 && r->starts > 1 && has_row(r, DB_events, key_slice(&key))) {
        commit = r->now.txn + 1;
        map_put(&r->events, name, (void *)commit);
    }
    if (commit == 0)
        broken(r, "an event is shown before its commit", "");
    else
        require(r, commit - 1);
}

static void on_read(struct run *r, const struct record *rec)
{
    r->read++;
    if (rec->head.a > r->now.txn - r->meta_under_way)
        broken(r, "a commit is read before it is durable", "");
    else
        require(r, rec->head.a);
}

/* The turns of the last commit are all told: it must have left what they say. */
static void follow_model(struct run *r)
{
    struct walk w = {.run = r, .judge = r->model_begun, .learn = !r->model_begun};
    unsigned long long before = r->failures;

    if (r->now.txn == 0 || r->stopped) return;
    if (w.learn) map_done(&r->model);
    if (look_safely(r, false, &w) != OK) {
        broken(r, "a commit does not open: ", err_trail());
        return;
    }
    if (w.judge && w.told != r->model.count) broken(r, "half a turn: rows of it are missing", "");
    r->stopped = r->failures > before;
}

static void settle_disk(struct run *r)
{
    for (size_t i = 0; i < r->write_count; i++) {
        const struct record *w = &r->writes[i];
        size_t end = w->head.a + w->payload.len;

        if (end > r->disk.len) {
            size_t more = end - r->disk.len;
            memset(buf_extend(&r->disk, more), 0, more);
        }
        memcpy(r->disk.data + w->head.a, w->payload.data, w->payload.len);
    }
    put_all(r, r->write_count);
    r->write_count = 0;
}

static void remember(struct run *r, const struct record *rec)
{
    if (r->write_count == r->write_cap) {
        r->write_cap = r->write_cap ? r->write_cap * 2 : 64;
        r->writes = xrealloc(r->writes, r->write_cap * sizeof *r->writes);
    }
    r->writes[r->write_count++] = *rec;
}

static void on_write(struct run *r, const struct record *rec)
{
    if (r->write_count == 0) follow_model(r);
    remember(r, rec);
    if (r->now.txn == 0) return;
    r->credit += r->per_write;
    if (r->credit >= 1) {
        try_prefix(r);
        r->credit -= 1;
    }
    for (; r->credit >= 1; r->credit -= 1)
        try_some(r);
}

/* The flush did nothing: of what it should have flushed any part may be missing behind the meta
 * page. */
static void try_lie(struct run *r, const struct record *meta, const struct content *wanted)
{
    put_some(r, r->write_count);
    put_bytes(r, meta->payload.data, meta->payload.len, meta->head.a);
    judge(r, wanted);
}

static void on_meta(struct run *r, const struct record *rec)
{
    struct walk w = {.run = r};

    if (!r->lying && r->write_count > 0) broken(r, "the meta page is written before a flush", "");
    if (rec->head.a % SECTOR + rec->payload.len > SECTOR)
        broken(r, "the meta page's write is not inside one sector", "");
    if (r->now.txn) judge(r, &r->now); /* it did not get there */
    put_all(r, r->write_count);
    put_bytes(r, rec->payload.data, rec->payload.len, rec->head.a);
    if (look_safely(r, false, &w) != OK) broken(r, "a commit does not open: ", err_trail());
    r->states++; /* it got there */
    if (r->lying && r->now.txn) {
        take_back(r);
        try_lie(r, rec, &w.found);
    }
    remember(r, rec);
    r->now = w.found;
    r->meta_under_way = true;
    r->commits++;
}

static void take_record(struct run *r, const struct record *rec)
{
    switch (rec->head.type) {
    case MONITOR_WRITE: on_write(r, rec); break;
    case MONITOR_BARRIER:
        if (!r->lying) settle_disk(r);
        break;
    case MONITOR_META: on_meta(r, rec); break;
    case MONITOR_META_DURABLE:
        settle_disk(r);
        r->meta_under_way = false;
        break;
    case MONITOR_TURN: on_turn(r, rec); break;
    case MONITOR_RELEASE: on_release(r, rec); break;
    case MONITOR_SHOWN: on_shown(r, rec); break;
    case MONITOR_READ: on_read(r, rec); break;
    case MONITOR_START: on_start(r); break;
    default: give_up("the journal");
    }
}

/* ---- the program ---- */

static struct slice map_file(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;

    if (fd < 0 || fstat(fd, &st) != 0) {
        perror(path);
        exit(2);
    }
    void *at = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    close(fd);
    if (at == MAP_FAILED) exit(2);
    return slice_of(at, (size_t)st.st_size);
}

static void set_up(struct run *r, const char *journal, const char *folder)
{
    char path[300];
    struct sigaction act = {.sa_handler = on_fault, .sa_flags = SA_NODEFER};

    r->journal = map_file(journal);
    snprintf(r->folder, sizeof r->folder, "%s", folder);
    snprintf(path, sizeof path, "%s/data.mdb", folder);
    if (mkdir(folder, 0700) != 0) perror(folder);
    r->fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (r->fd < 0) exit(2);
    sigaction(SIGSEGV, &act, NULL);
    sigaction(SIGBUS, &act, NULL);
    sigaction(SIGABRT, &act, NULL);
}

static int finish(const struct run *r)
{
    const unsigned long long marks[] = {r->stanzas, r->replies, r->shown, r->read};
    bool enough = r->model_turns > 0;

    printf("states %llu (%llu prefixes, for %zu writes), starts %llu, commits %llu, turns %zu; "
           "left: %llu turns of "
           "accounts, %llu replies of no account, %llu events shown, %llu commits read; failures "
           "%llu\n",
           r->states, r->prefixes, r->all_writes, r->starts, r->commits, r->model_turns, r->stanzas,
           r->replies, r->shown, r->read, r->failures);
    for (size_t i = 0; i < sizeof marks / sizeof marks[0]; i++)
        enough = enough && marks[i] >= MARKS_WANTED;
    if (!enough) printf("BROKEN: too little left the run to judge it\n");
    return !enough || r->failures > 0;
}

int main(int argc, char **argv)
{
    static const char usage[] = "powerloss JOURNAL FOLDER [--states N] [--seed S] [--lying-disk]";
    struct run r = {.random = 1};
    uint64_t states = 3000;
    struct record rec;

    if (argc < 3) return fprintf(stderr, "usage: %s\n", usage), 2;
    for (int i = 3; i < argc; i++) {
        const char *name = argv[i];

        if (strcmp(name, "--lying-disk") == 0)
            r.lying = true;
        else if (strcmp(name, "--states") == 0)
            states = argument_number(usage, name, argv[++i], 1, UINT32_MAX);
        else if (strcmp(name, "--seed") == 0)
            r.random = argument_number(usage, name, argv[++i], 0, UINT64_MAX) | 1;
        else
            argument_refuse(usage, "powerloss", "one of its options", name);
    }
    set_up(&r, argv[1], argv[2]);
    r.all_writes = count_writes(r.journal);
    r.per_write = (double)states / (double)(r.all_writes + 1);
    while (read_record(r.journal, &r.at, &rec))
        take_record(&r, &rec);
    follow_model(&r);
    return finish(&r);
}
