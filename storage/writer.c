/* The queue, the commit and the thread. Read from the bottom: writer_step() is the loop body,
 * commit_group() decides what to do when a commit cannot be done, try_commit() is one
 * transaction. */
#include <assert.h>
#include "storage/writer.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "proto/base/map.h"
#include "storage/events.h"
#include "storage/monitor.h"
#include "storage/planted.h"
#include "storage/record.h"
#include "storage/store_inner.h"

enum { ROOM_KEPT = 16 << 20 }; /* of the disk, for the pages that a commit touches */

/* An owner whose batch failed: what it posts with this epoch fails too. */
struct latch {
    uint32_t epoch;
    err_t error;
};

/* The number row of one tenant while a transaction is open. */
struct numbering {
    uint32_t tenant;
    bool changed;
    struct db_log log;
};

struct writer {
    struct writer_options options;
    struct faults faults;

    pthread_mutex_t lock; /* the queue, the statistics, stop */
    pthread_cond_t wake;
    struct list queue;
    struct writer_stats stats;
    bool stopping;
    uint64_t ownerless; /* turns of owner 0, numbered for the monitor */
    atomic_bool full;

    /* the writing thread's */
    struct map latches;
    struct numbering *numbers;
    size_t number_count, number_cap;
    struct batch **taken;
    size_t taken_count, taken_cap;
    MDB_txn *txn;
    pthread_t thread;
    bool started;
    atomic_int tid; /* the thread's, for the kernel's own count of what it writes */
};

/* --- events ------------------------------------------------------------------------------- */

struct log_events *log_events_ref(struct log_events *e)
{
    atomic_fetch_add_explicit(&e->refs, 1, memory_order_relaxed);
    return e;
}

void log_events_unref(struct log_events *e)
{
    if (e && atomic_fetch_sub_explicit(&e->refs, 1, memory_order_acq_rel) == 1) free(e);
}

static err_t numbering_of(struct writer *w, uint32_t tenant, struct numbering **out)
{
    for (size_t i = 0; i < w->number_count; i++)
        if (w->numbers[i].tenant == tenant) {
            *out = &w->numbers[i];
            return OK;
        }

    struct numbering n = {.tenant = tenant, .log = {.next_seq = 1, .first_seq = 1}};
    struct key key = event_key(tenant, EVENT_NUMBER_ROW);
    MDB_val k = store_val(key_slice(&key)), value;
    struct slice payload;
    int rc = mdb_get(w->txn, w->options.store->dbs[DB_events], &k, &value);
    if (rc != MDB_NOTFOUND) {
        TRY(store_error(rc, "number row"));
        TRY(record_open(DB_events, key_slice(&key), store_slice(value), &payload));
        TRY(log_decode(payload, &n.log));
    }
    if (w->number_count == w->number_cap) {
        w->number_cap = w->number_cap ? w->number_cap * 2 : 16;
        w->numbers = xrealloc(w->numbers, w->number_cap * sizeof(*w->numbers));
    }
    w->numbers[w->number_count] = n;
    *out = &w->numbers[w->number_count++];
    return OK;
}

/* --- one transaction ---------------------------------------------------------------------- */

static err_t put(struct writer *w, enum db db, struct slice key, struct slice payload)
{
    MDB_val k = store_val(key), value = {RECORD_HEAD + payload.len, NULL};
    int rc = mdb_put(w->txn, w->options.store->dbs[db], &k, &value, MDB_RESERVE);
    TRY(store_error(rc, store_db_name(db)));

    record_head(value.mv_data, db, key, payload);
    if (payload.len) memcpy((uint8_t *)value.mv_data + RECORD_HEAD, payload.data, payload.len);
    return OK;
}

static err_t delete (struct writer *w, enum db db, struct slice key)
{
    MDB_val k = store_val(key);
    int rc = mdb_del(w->txn, w->options.store->dbs[db], &k, NULL);
    return rc == MDB_NOTFOUND ? OK : store_error(rc, store_db_name(db));
}

static err_t number_event(struct writer *w, struct batch *b, struct batch_op *op)
{
    struct numbering *n;
    TRY(numbering_of(w, op->tenant, &n));

    if (fault_due(&w->faults.skip_number)) {
        fault_count("skip_number");
        n->log.next_seq++;
    }
    op->through = n->log.next_seq++;
    n->log.bytes += op->value_len;
    n->changed = true;
    if (b->first_seq == 0) b->first_seq = op->through;
    struct key key = event_key(op->tenant, op->through);
    return put(w, DB_events, key_slice(&key), batch_op_value(op));
}

/* The planted bug that writes an event twice. */
static err_t number_again(struct writer *w, struct batch *b, struct batch_op *op)
{
    if (!fault_due(&w->faults.repeat_event)) return OK;
    fault_count("repeat_event");
    return number_event(w, b, op);
}

/* Deletes from the oldest event on; the rows say how much the log shrinks. */
static err_t trim(struct writer *w, const struct batch_op *op)
{
    struct numbering *n;
    TRY(numbering_of(w, op->tenant, &n));

    while (n->log.first_seq <= op->through && n->log.first_seq < n->log.next_seq) {
        struct key key = event_key(op->tenant, n->log.first_seq);
        MDB_val k = store_val(key_slice(&key)), value;
        int rc = mdb_get(w->txn, w->options.store->dbs[DB_events], &k, &value);
        if (rc != MDB_NOTFOUND) {
            TRY(store_error(rc, "event"));
            size_t size = value.mv_size - RECORD_HEAD;
            n->log.bytes -= size < n->log.bytes ? size : n->log.bytes;
            TRY(delete (w, DB_events, key_slice(&key)));
        }
        n->log.first_seq++;
        n->changed = true;
    }
    return OK;
}

static err_t provoke_put(struct writer *w, const struct batch *b)
{
    if (fault_due(&w->faults.fail_put)) {
        fault_count("fail_put");
        return fail(STORE_FULL, "provoked: fail_put");
    }
    long long owner = atomic_load_explicit(&w->faults.fail_put_owner, memory_order_relaxed);
    if (owner > 0 && (uint64_t)owner == b->owner) {
        fault_count("fail_put_owner");
        return fail(STORE_FULL, "provoked: fail_put_owner");
    }
    return OK;
}

/* Counts down to the first key that is forgotten, and stays there. */
static bool is_stale_key(struct writer *w, uint32_t peer, uint8_t kind)
{
    long long left = atomic_load_explicit(&w->faults.stale_keys, memory_order_relaxed);

    if (left <= 0 || kind != KIND_keys || peer == 0) return false;
    if (left > 1) {
        atomic_store(&w->faults.stale_keys, left - 1);
        return false;
    }
    fault_count("stale_keys");
    return true;
}

static bool is_lost_claim(struct writer *w, const struct batch_op *op)
{
    if (op->db != DB_idempotency) return false;
    if (atomic_load_explicit(&w->faults.lose_claims, memory_order_relaxed) <= 0) return false;
    fault_count("lose_claims");
    return true;
}

/* The planted bugs that forget a row: an outbox row, a ratchet, a claim. */
static bool is_lost(struct writer *w, const struct batch_op *op)
{
    long long lost = atomic_load_explicit(&w->faults.lose_kind, memory_order_relaxed);
    long long stale = atomic_load_explicit(&w->faults.stale_keys, memory_order_relaxed);
    uint32_t peer;
    uint8_t kind;

    if (is_lost_claim(w, op)) return true;
    if ((lost <= 0 && stale <= 0) || op->db != DB_data) return false;
    struct reader rest = key_read_peer(batch_op_key(op), &peer, &kind);
    if (rest.error != OK) return false;
    if (is_stale_key(w, peer, kind)) return true;
    if (lost <= 0 || kind != lost) return false;
    fault_count("lose_kind");
    return true;
}

static err_t apply(struct writer *w, struct batch *b)
{
    b->first_seq = 0;
    for (struct batch_op *op = b->first; op; op = op->next) {
        if (op->replaced) continue;
        TRY(provoke_put(w, b));
        switch (op->type) {
        case BATCH_PUT:
            if (is_lost(w, op)) break;
            TRY(put(w, op->db, batch_op_key(op), batch_op_value(op)));
            break;
        case BATCH_DELETE: TRY(delete (w, op->db, batch_op_key(op))); break;
        case BATCH_EVENT:
            TRY(number_event(w, b, op));
            TRY(number_again(w, b, op));
            break;
        case BATCH_TRIM: TRY(trim(w, op)); break;
        case BATCH_NOTICE: break; /* told, not stored */
        }
    }
    return OK;
}

static err_t put_numbers(struct writer *w)
{
    for (size_t i = 0; i < w->number_count; i++) {
        uint8_t payload[LOG_PAYLOAD];
        struct key key = event_key(w->numbers[i].tenant, EVENT_NUMBER_ROW);

        if (!w->numbers[i].changed) continue;
        log_encode(&w->numbers[i].log, payload);
        TRY(put(w, DB_events, key_slice(&key), SLICE_ARRAY(payload)));
    }
    return OK;
}

static void wait_ms(long long ms)
{
    struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    while (nanosleep(&t, &t) != 0 && errno == EINTR) {
    }
}

/* What one attempt came to. */
enum outcome {
    COMMITTED,
    NO_ROOM, /* aborted: some batch of it could not be put, or there was no space */
    FATAL,   /* nobody knows what reached the disk */
};

static enum outcome abort_txn(struct writer *w)
{
    mdb_txn_abort(w->txn);
    w->txn = NULL;
    return NO_ROOM;
}

static bool is_ignored(struct writer *w)
{
    if (atomic_load_explicit(&w->faults.ignore_flush, memory_order_relaxed) <= 0) return false;
    fault_count("ignore_flush");
    return true;
}

/* The commit proper. `*error` is set unless COMMITTED. */
static enum outcome flush(struct writer *w, err_t *error)
{
    long long delay = atomic_load_explicit(&w->faults.commit_delay_ms, memory_order_relaxed);
    if (delay > 0) {
        fault_count("commit_delay_ms");
        wait_ms(delay);
    }
    if (atomic_load_explicit(&w->faults.full, memory_order_relaxed) > 0) {
        fault_count("full");
        *error = fail(STORE_FULL, "provoked: full");
        return abort_txn(w);
    }
    if (fault_due(&w->faults.fail_flush)) {
        fault_count("fail_flush");
        abort_txn(w);
        if (is_ignored(w)) return COMMITTED;
        *error = fail(STORE_FAILED, "provoked: flush: %s", strerror(EIO));
        return FATAL;
    }
    int rc = mdb_txn_commit(w->txn);
    w->txn = NULL;
    *error = store_error(rc, "commit");
    if (rc == 0 || is_ignored(w)) return COMMITTED;
    return *error == ERR_STORE_FULL ? NO_ROOM : FATAL;
}

/* LMDB reports a page that was written in part, for want of space, as an I/O error, which looks
 * like a flush that failed. So a commit does not begin when the space could run out under it. */
static err_t check_room(const struct writer *w, struct batch *const *batches, size_t count)
{
    uint64_t wanted = ROOM_KEPT;
    struct statvfs disk;

    for (size_t i = 0; i < count; i++)
        wanted += 2 * (uint64_t)batches[i]->bytes;
    if (fstatvfs(w->options.store->lock_fd, &disk) != 0) return OK;
    uint64_t left = (uint64_t)disk.f_bavail * disk.f_frsize;
    if (left >= wanted) return OK;
    return fail(STORE_FULL, "%s: %llu bytes are left on the disk, %llu are wanted",
                w->options.store->path, (unsigned long long)left, (unsigned long long)wanted);
}

static struct log_events *collect_events(struct writer *w, struct batch **batches, size_t count);

/* The planted bug that shows events before they are durable. */
static void show_early(struct writer *w, struct batch **batches, size_t count)
{
    size_t events = 0;

    for (size_t i = 0; i < count; i++)
        events += batches[i]->event_count;
    if (!events || !w->options.on_events || !fault_due(&w->faults.early_event)) return;
    fault_count("early_event");
    struct log_events *early = collect_events(w, batches, count);
    w->options.on_events(w->options.context, early);
    log_events_unref(early);
    wait_ms(200); /* they arrive, on a busy machine too */
}

static enum outcome try_commit(struct writer *w, struct batch **batches, size_t count, err_t *error)
{
    w->number_count = 0;
    *error = check_room(w, batches, count);
    if (*error != OK) return NO_ROOM;
    *error = store_error(mdb_txn_begin(w->options.store->env, NULL, 0, &w->txn), "transaction");
    if (*error != OK) return FATAL;

    for (size_t i = 0; i < count && *error == OK; i++)
        if (batches[i]->result == OK) *error = apply(w, batches[i]);
    if (*error == OK) *error = put_numbers(w);
    if (*error != OK) return abort_txn(w);
    show_early(w, batches, count);
    planted_kill(&w->faults, &w->faults.kill_before, batches, count);
    enum outcome outcome = flush(w, error);
    if (outcome == COMMITTED) planted_kill(&w->faults, &w->faults.kill_after, batches, count);
    return outcome;
}

/* --- failing ------------------------------------------------------------------------------ */

static struct slice owner_key(const struct batch *b)
{
    return slice_of(&b->owner, sizeof(b->owner));
}

static struct latch *latch_of(struct writer *w, const struct batch *b)
{
    struct latch *l = b->owner ? map_find(&w->latches, owner_key(b)) : NULL;
    if (!l || l->epoch == b->epoch) return l;

    /* The account was opened again: what it posts now was computed from the disk. */
    map_remove(&w->latches, owner_key(b));
    free(l);
    return NULL;
}

static void fail_batch(struct writer *w, struct batch *b, err_t error)
{
    b->result = error;
    b->first_seq = 0;
    if (b->owner == 0 || latch_of(w, b)) return;

    struct latch *l = xalloc(sizeof(*l));
    *l = (struct latch){b->epoch, error};
    map_put(&w->latches, owner_key(b), l);
}

static void fail_latched(struct writer *w, struct batch *b)
{
    struct latch *l = latch_of(w, b);
    if (l) b->result = l->error;
}

static void die(struct writer *w, err_t error)
{
    if (w->options.on_fatal) {
        w->options.on_fatal(w->options.context, error);
        return;
    }
    fprintf(stderr, "the database cannot be written: %s\n", err_trail());
    abort();
}

/* --- one commit --------------------------------------------------------------------------- */

static uint64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static void count_commit(struct writer *w, uint64_t started_us)
{
    uint64_t took = now_us() - started_us;
    pthread_mutex_lock(&w->lock);
    w->stats.commits++;
    w->stats.commit_us_total += took;
    if (took > w->stats.commit_us_max) w->stats.commit_us_max = took;
    pthread_mutex_unlock(&w->lock);
}

/* Tries these batches in one transaction; the results are set when it is COMMITTED or FATAL. */
static enum outcome attempt(struct writer *w, struct batch **batches, size_t count, err_t *error)
{
    uint64_t started = now_us();
    enum outcome outcome = try_commit(w, batches, count, error);

    count_commit(w, started);
    if (outcome == COMMITTED) atomic_store(&w->full, false);
    if (outcome == FATAL) {
        die(w, *error);
        for (size_t i = 0; i < count; i++)
            if (batches[i]->result == OK) fail_batch(w, batches[i], ERR_STORE_FAILED);
    }
    return outcome;
}

static void commit_alone(struct writer *w, struct batch *b)
{
    err_t error;

    fail_latched(w, b);
    if (b->result != OK || attempt(w, &b, 1, &error) != NO_ROOM) return;
    if (error == ERR_STORE_FULL) atomic_store(&w->full, true);
    fail_batch(w, b, error);
}

static void commit_group(struct writer *w, struct batch **batches, size_t count)
{
    err_t error;

    for (size_t i = 0; i < count; i++) {
        batches[i]->result = OK;
        fail_latched(w, batches[i]);
    }
    if (count > 1 && attempt(w, batches, count, &error) != NO_ROOM) return;
    for (size_t i = 0; i < count; i++)
        if (batches[i]->result == OK) commit_alone(w, batches[i]);
}

/* --- telling ------------------------------------------------------------------------------ */

static size_t told_count(const struct batch *b)
{
    return b->result == OK ? b->event_count + b->notice_count : 0;
}

/* What is told of an event or a notice; its bytes go to `*at`. */
static struct log_event told(const struct batch_op *op, uint8_t **at)
{
    struct log_event e = {.tenant = op->tenant, .seq = op->through};

    if (event_decode(batch_op_value(op), &e.head, &e.bytes) != OK) abort();
    if (e.bytes.len) memcpy(*at, e.bytes.data, e.bytes.len);
    e.bytes.data = *at;
    *at += e.bytes.len;
    return e;
}

/* With the planted bug that keeps notices back. */
static bool is_told(struct writer *w, const struct batch_op *op)
{
    if (op->type != BATCH_NOTICE) return op->type == BATCH_EVENT;
    if (atomic_load_explicit(&w->faults.lose_notice, memory_order_relaxed) <= 0) return true;
    fault_count("lose_notice");
    return false;
}

static struct log_events *collect_events(struct writer *w, struct batch **batches, size_t count)
{
    size_t all = 0, bytes = 0;
    for (size_t i = 0; i < count; i++) {
        all += told_count(batches[i]);
        bytes += told_count(batches[i]) ? batches[i]->bytes : 0;
    }
    if (all == 0) return NULL;

    /* One more item, for the planted bug that doubles an event. */
    struct log_events *out = xalloc(sizeof(*out) + (all + 1) * sizeof(struct log_event) + bytes);
    *out = (struct log_events){.refs = 1, .items = (struct log_event *)(void *)(out + 1)};
    uint8_t *at = (uint8_t *)(out->items + all + 1);

    for (size_t i = 0; i < count; i++) {
        if (!told_count(batches[i])) continue;
        for (const struct batch_op *op = batches[i]->first; op; op = op->next) {
            if (!is_told(w, op)) continue;
            struct log_event e = told(op, &at);
            if (e.seq && fault_due(&w->faults.wrong_tenant)) {
                fault_count("wrong_tenant");
                e.tenant++;
            }
            out->items[out->count++] = e;
            if (e.seq && out->count <= all && fault_due(&w->faults.double_event)) {
                fault_count("double_event");
                out->items[out->count++] = e;
            }
        }
    }
    return out;
}

static void tell(struct writer *w, struct batch **batches, size_t count)
{
    struct log_events *events = collect_events(w, batches, count);
    size_t failed = 0, bytes = 0, numbered = 0;

    for (size_t i = 0; i < count; i++) {
        failed += batches[i]->result != OK;
        bytes += batches[i]->bytes;
        numbered += batches[i]->result == OK ? batches[i]->event_count : 0;
    }
    pthread_mutex_lock(&w->lock);
    w->stats.batches += count;
    w->stats.failed_batches += failed;
    w->stats.op_bytes += bytes;
    w->stats.events += numbered;
    pthread_mutex_unlock(&w->lock);

    for (size_t i = 0; monitor_is_on() && i < count; i++)
        if (batches[i]->result == OK) monitor_note_batch(batches[i]);
    if (events && w->options.on_events) w->options.on_events(w->options.context, events);
    log_events_unref(events);
    for (size_t i = 0; i < count; i++)
        if (batches[i]->done) batches[i]->done(batches[i]); /* from here on it may be gone */
}

/* --- the loop ----------------------------------------------------------------------------- */

static void take(struct writer *w, struct batch *b)
{
    if (w->taken_count == w->taken_cap) {
        w->taken_cap = w->taken_cap ? w->taken_cap * 2 : 64;
        w->taken = xrealloc(w->taken, w->taken_cap * sizeof(struct batch *));
    }
    w->taken[w->taken_count++] = b;
}

static void take_queued(struct writer *w)
{
    size_t bytes = 0;

    w->taken_count = 0;
    pthread_mutex_lock(&w->lock);
    while (bytes < WRITER_COMMIT_BYTES && !list_empty(&w->queue)) {
        struct batch *b = LIST_ENTRY(list_pop(&w->queue), struct batch, queued);
        w->stats.queued--;
        bytes += b->bytes;
        take(w, b);
    }
    pthread_mutex_unlock(&w->lock);
}

size_t writer_step(struct writer *w)
{
    take_queued(w);
    if (w->taken_count == 0) return 0;

    commit_group(w, w->taken, w->taken_count);
    tell(w, w->taken, w->taken_count);
    return w->taken_count;
}

err_t writer_commit(struct writer *w, struct batch *b)
{
    assert(!w->started);
    commit_group(w, &b, 1);
    if (b->result == OK) return OK;
    return err_pass(b->result, __FILE__, __LINE__);
}

static void *run(void *context)
{
    struct writer *w = context;

    atomic_store(&w->tid, gettid());
    for (;;) {
        pthread_mutex_lock(&w->lock);
        while (list_empty(&w->queue) && !w->stopping)
            pthread_cond_wait(&w->wake, &w->lock);
        bool over = list_empty(&w->queue);
        pthread_mutex_unlock(&w->lock);
        if (over) return NULL;
        writer_step(w);
    }
}

struct writer *writer_new(const struct writer_options *options)
{
    struct writer *w = xcalloc(sizeof(*w));
    w->options = *options;
    list_init(&w->queue);
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->wake, NULL);
    return w;
}

err_t writer_start(struct writer *w)
{
    w->stopping = false;
    int rc = pthread_create(&w->thread, NULL, run, w);
    if (rc != 0) return fail(SYSTEM, "writer thread: %s", strerror(rc));
    w->started = true;
    return OK;
}

void writer_stop(struct writer *w)
{
    if (!w->started) return;
    pthread_mutex_lock(&w->lock);
    w->stopping = true;
    pthread_cond_signal(&w->wake);
    pthread_mutex_unlock(&w->lock);
    pthread_join(w->thread, NULL);
    w->started = false;
}

void writer_free(struct writer *w)
{
    struct latch *l;
    size_t at = 0;

    if (!w) return;
    writer_stop(w);
    while ((l = map_next(&w->latches, &at, NULL)))
        free(l);
    map_done(&w->latches);
    pthread_cond_destroy(&w->wake);
    pthread_mutex_destroy(&w->lock);
    free(w->numbers);
    free(w->taken);
    free(w);
}

void writer_post(struct writer *w, struct batch *b)
{
    assert(!b->overfull);
    pthread_mutex_lock(&w->lock);
    if (monitor_is_on() && !b->owner) b->turn = ++w->ownerless;
    if (monitor_is_on()) b = planted_copy(&w->faults, b);
    bool first = list_empty(&w->queue);
    list_push(&w->queue, &b->queued);
    w->stats.queued++;
    pthread_mutex_unlock(&w->lock);
    if (first) pthread_cond_signal(&w->wake); /* outside, or who wakes up waits for the lock */
}

/* LMDB does not tell what a commit writes; the kernel knows it of every thread. Asked for here and
 * not after each commit: a counter of ours would cost a system call for every one. */
static uint64_t written_by(int tid)
{
    char name[64], line[128];
    unsigned long long bytes = 0;

    snprintf(name, sizeof(name), "/proc/self/task/%d/io", tid);
    FILE *f = tid ? fopen(name, "re") : NULL;
    while (f && fgets(line, sizeof(line), f))
        if (sscanf(line, "wchar: %llu", &bytes) == 1) break;
    if (f) fclose(f);
    return bytes;
}

void writer_stats(struct writer *w, struct writer_stats *out)
{
    pthread_mutex_lock(&w->lock);
    *out = w->stats;
    pthread_mutex_unlock(&w->lock);
    out->full = atomic_load(&w->full);
    out->written = written_by(atomic_load(&w->tid));
}

bool writer_is_full(struct writer *w) { return atomic_load(&w->full); }

/* As much as a few messages need: a single page is often free in a file that cannot grow. */
void batch_probe(struct batch *b)
{
    static const uint8_t room[64 * 1024];
    batch_put(b, DB_meta, SLICE("probe"), SLICE_ARRAY(room));
}

struct faults *writer_faults(struct writer *w) { return &w->faults; }
