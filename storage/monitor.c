#include "storage/monitor.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>

#include "proto/base/map.h"
#include "storage/events.h"
#include "storage/record.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct map durable; /* owner -> turn, as a pointer */
static struct map logs;    /* tenant -> number of an event */
static atomic_ullong violations, newest_read;

atomic_bool monitor_on = true;
void monitor_switch(bool on) { atomic_store(&monitor_on, on); }

static struct slice key_of(const uint64_t *owner) { return slice_of(owner, sizeof(*owner)); }

/* ---- the journal ---- */

static atomic_int journal = -1;

err_t monitor_journal(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0) return fail(STORE_FAILED, "%s: %s", path, strerror(errno));
    atomic_store(&journal, fd);
    return OK;
}

static void append(enum monitor_record_type type, uint64_t a, uint64_t b, struct slice payload)
{
    int fd = atomic_load_explicit(&journal, memory_order_relaxed);
    struct monitor_record head = {type, (uint32_t)payload.len, a, b};
    struct iovec parts[] = {{&head, sizeof(head)}, {(void *)payload.data, payload.len}};

    if (fd < 0) return;
    if (writev(fd, parts, 2) != (ssize_t)(sizeof(head) + payload.len)) abort();
}

static void put_row(struct buf *out, const struct batch_op *op, struct slice key)
{
    uint8_t head[RECORD_HEAD] = {0};
    uint16_t key_len = (uint16_t)key.len;

    if (op->type == BATCH_PUT || op->type == BATCH_EVENT)
        record_head(head, op->db, key, batch_op_value(op));
    buf_put(out, slice_of(&op->type, 1));
    buf_put(out, slice_of(&op->db, 1));
    buf_put(out, slice_of(&key_len, sizeof(key_len)));
    buf_put(out, slice_of(head + 1, 4));
    buf_put(out, key);
}

static void journal_turn(const struct batch *b)
{
    AUTO(buf) rows = {0};

    if (atomic_load_explicit(&journal, memory_order_relaxed) < 0) return;
    for (const struct batch_op *op = batch_first(b); op; op = batch_next(op)) {
        bool in_log = op->type == BATCH_EVENT || op->type == BATCH_TRIM;
        struct key event = event_key(op->tenant, op->through);

        if (op->type == BATCH_NOTICE) continue; /* no row */
        put_row(&rows, op, in_log ? key_slice(&event) : batch_op_key(op));
    }
    append(MONITOR_TURN, b->owner, b->turn, buf_slice(&rows));
}

/* ---- what is durable ---- */

static uint64_t look(struct map *m, uint64_t key)
{
    pthread_mutex_lock(&lock);
    uint64_t value = (uintptr_t)map_find(m, key_of(&key));
    pthread_mutex_unlock(&lock);
    return value;
}

static void raise_to(struct map *m, uint64_t key, uint64_t value)
{
    pthread_mutex_lock(&lock);
    if ((uintptr_t)map_find(m, key_of(&key)) < value)
        map_put(m, key_of(&key), (void *)(uintptr_t)value);
    pthread_mutex_unlock(&lock);
}

static bool judged(bool good)
{
    if (!good) atomic_fetch_add(&violations, 1);
    return good;
}

uint64_t monitor_durable(uint64_t owner) { return look(&durable, owner); }
void monitor_note(uint64_t owner, uint64_t turn) { raise_to(&durable, owner, turn); }

void monitor_note_batch(const struct batch *b)
{
    journal_turn(b);
    for (const struct batch_op *op = batch_first(b); op; op = batch_next(op))
        if (op->type == BATCH_EVENT) raise_to(&logs, op->tenant, op->through);
    monitor_note(b->owner, b->turn);
}

bool monitor_is_durable(uint64_t owner, uint64_t turn, const char *what)
{
    if (turn) append(MONITOR_RELEASE, owner, turn, slice_text(what));
    return judged(turn <= monitor_durable(owner));
}

/* Of a log that was not written yet all is older than this process. */
bool monitor_is_shown(uint64_t tenant, uint64_t seq)
{
    uint64_t known = look(&logs, tenant);

    if (seq) append(MONITOR_SHOWN, tenant, seq, SLICE_NONE);
    return judged(known == 0 || seq <= known);
}

void monitor_reads(uint64_t commit)
{
    unsigned long long last = atomic_load_explicit(&newest_read, memory_order_relaxed);

    if (commit <= last || atomic_load_explicit(&journal, memory_order_relaxed) < 0) return;
    if (atomic_compare_exchange_strong(&newest_read, &last, commit))
        append(MONITOR_READ, commit, 0, SLICE_NONE);
}

uint64_t monitor_violations(void) { return atomic_load(&violations); }

void monitor_reset(void)
{
    pthread_mutex_lock(&lock);
    map_done(&durable);
    map_done(&logs);
    pthread_mutex_unlock(&lock);
    atomic_store(&violations, 0);
    atomic_store(&newest_read, 0);
    int fd = atomic_exchange(&journal, -1);
    if (fd >= 0) close(fd);
}
