/* One lock, one map from id to entry, and the entries in order of their ids for listing. What is
 * seldom there (the code, the pairing) is apart, so that an entry at rest is small. */
#include "server/directory.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/xalloc.h"

struct entry {
    struct worker *worker;
    uint64_t paired_order; /* rises with each pairing that starts */
    bool visible;
    char *code;                   /* NULL: none */
    struct account_status status; /* without the code: see entry_size */
};

struct directory {
    pthread_mutex_t lock;
    struct map by_id, by_pairing;
    struct entry **sorted; /* by tenant, then id */
    size_t count, cap;
    struct {
        struct worker *worker;
        size_t accounts;
    } loads[256];
    uint64_t pairings;
};

static size_t entry_size(void)
{
    return offsetof(struct entry, status) + offsetof(struct account_status, code);
}

struct directory *directory_new(void)
{
    struct directory *d = xcalloc(sizeof *d);

    pthread_mutex_init(&d->lock, NULL);
    return d;
}

static void entry_free(struct entry *e)
{
    free(e->code);
    free(e);
}

void directory_free(struct directory *d)
{
    if (!d) return;
    for (size_t i = 0; i < d->count; i++)
        entry_free(d->sorted[i]);
    free(d->sorted);
    map_done(&d->by_id);
    map_done(&d->by_pairing);
    pthread_mutex_destroy(&d->lock);
    free(d);
}

/* ---- entries ---- */

static void read_entry(const struct entry *e, struct account_status *out)
{
    memcpy(out, &e->status, offsetof(struct account_status, code));
    memset(out->code, 0, sizeof out->code);
    if (e->code) memcpy(out->code, e->code, strlen(e->code));
}

static void write_entry(struct directory *d, struct entry *e, const struct account_status *s)
{
    uint64_t version = e->status.version + 1;
    bool other_pairing = strcmp(e->status.pairing, s->pairing) != 0;

    if (other_pairing && e->status.pairing[0])
        map_remove(&d->by_pairing, slice_text(e->status.pairing));
    memcpy(&e->status, s, offsetof(struct account_status, code));
    e->status.version = version;
    free(e->code);
    e->code = s->code[0] ? xstrdup(s->code) : NULL;
    if (other_pairing && s->pairing[0]) {
        map_put(&d->by_pairing, slice_text(s->pairing), e);
        e->paired_order = ++d->pairings;
    }
}

/* By tenant, then id. */
static int compare(const struct entry *e, uint32_t tenant, struct slice id)
{
    if (e->status.tenant != tenant) return e->status.tenant < tenant ? -1 : 1;
    return slice_cmp(slice_text(e->status.id), id);
}

/* The first place that is not before (tenant, id). */
static size_t lower_bound(const struct directory *d, uint32_t tenant, struct slice id)
{
    size_t low = 0, high = d->count;

    while (low < high) {
        size_t middle = (low + high) / 2;
        if (compare(d->sorted[middle], tenant, id) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static struct worker *take_worker(struct directory *d, struct worker *const *workers, size_t n)
{
    size_t best = 0;

    assert(n > 0 && n <= ARRAY_LEN(d->loads));
    for (size_t i = 0; i < n; i++) {
        d->loads[i].worker = workers[i];
        if (d->loads[i].accounts < d->loads[best].accounts) best = i;
    }
    d->loads[best].accounts++;
    return workers[best];
}

static void leave_worker(struct directory *d, const struct worker *w)
{
    for (size_t i = 0; i < ARRAY_LEN(d->loads); i++)
        if (d->loads[i].worker == w) {
            d->loads[i].accounts--;
            return;
        }
}

static struct worker *add(struct directory *d, const struct account_status *status,
                          struct worker *const *workers, size_t n, bool visible)
{
    struct slice id = slice_of(status->id, strlen(status->id));
    struct entry *e = map_find(&d->by_id, id);

    if (e) return e->worker;
    e = xcalloc(entry_size());
    write_entry(d, e, status);
    e->visible = visible;
    e->worker = take_worker(d, workers, n);
    map_put(&d->by_id, id, e);
    if (d->count == d->cap) {
        d->cap = d->cap ? d->cap * 2 : 64;
        d->sorted = xrealloc(d->sorted, d->cap * sizeof(struct entry *));
    }
    size_t at = lower_bound(d, status->tenant, id);
    memmove(d->sorted + at + 1, d->sorted + at, (d->count - at) * sizeof(struct entry *));
    d->sorted[at] = e;
    d->count++;
    return e->worker;
}

static void drop(struct directory *d, struct slice account)
{
    struct entry *e = map_remove(&d->by_id, account);

    if (!e) return;
    size_t at = lower_bound(d, e->status.tenant, account);
    memmove(d->sorted + at, d->sorted + at + 1, (d->count - at - 1) * sizeof(struct entry *));
    d->count--;
    if (e->status.pairing[0]) map_remove(&d->by_pairing, slice_text(e->status.pairing));
    leave_worker(d, e->worker);
    entry_free(e);
}

/* ---- under the lock ---- */

struct worker *directory_add(struct directory *d, const struct account_status *status,
                             struct worker *const *workers, size_t n, bool visible)
{
    pthread_mutex_lock(&d->lock);
    struct worker *w = add(d, status, workers, n, visible);
    pthread_mutex_unlock(&d->lock);
    return w;
}

void directory_remove(struct directory *d, struct slice account)
{
    pthread_mutex_lock(&d->lock);
    drop(d, account);
    pthread_mutex_unlock(&d->lock);
}

void directory_update(struct directory *d, const struct account_status *status)
{
    assert(status);
    pthread_mutex_lock(&d->lock);
    struct entry *e = map_find(&d->by_id, slice_text(status->id));
    if (e) {
        write_entry(d, e, status);
        e->visible = true;
    }
    pthread_mutex_unlock(&d->lock);
}

struct worker *directory_worker(struct directory *d, struct slice account)
{
    pthread_mutex_lock(&d->lock);
    struct entry *e = map_find(&d->by_id, account);
    struct worker *w = e ? e->worker : NULL;
    pthread_mutex_unlock(&d->lock);
    return w;
}

static bool copy_out(struct directory *d, struct map *map, struct slice key,
                     struct account_status *out)
{
    pthread_mutex_lock(&d->lock);
    struct entry *e = key.len ? map_find(map, key) : NULL;
    bool found = e && e->visible;
    if (found) read_entry(e, out);
    pthread_mutex_unlock(&d->lock);
    return found;
}

bool directory_status(struct directory *d, struct slice account, struct account_status *out)
{
    return copy_out(d, &d->by_id, account, out);
}

bool directory_pairing(struct directory *d, struct slice pairing, struct account_status *out)
{
    return copy_out(d, &d->by_pairing, pairing, out);
}

bool directory_newest_pairing(struct directory *d, struct account_status *out)
{
    struct entry *newest = NULL, *e;
    size_t at = 0;
    struct slice key;

    pthread_mutex_lock(&d->lock);
    while ((e = map_next(&d->by_pairing, &at, &key)))
        if (e->visible && (!newest || e->paired_order > newest->paired_order)) newest = e;
    if (newest) read_entry(newest, out);
    pthread_mutex_unlock(&d->lock);
    return newest != NULL;
}

size_t directory_list(struct directory *d, uint32_t tenant, bool sandbox, struct slice after,
                      struct account_status *out, size_t max)
{
    size_t n = 0;

    pthread_mutex_lock(&d->lock);
    for (size_t i = lower_bound(d, tenant, after); i < d->count && n < max; i++) {
        const struct entry *e = d->sorted[i];
        if (e->status.tenant != tenant) break;
        if (e->visible && e->status.sandbox == sandbox && !slice_is(after, e->status.id))
            read_entry(e, &out[n++]);
    }
    pthread_mutex_unlock(&d->lock);
    return n;
}

void directory_count(struct directory *d, struct directory_counts *out)
{
    *out = (struct directory_counts){0};
    pthread_mutex_lock(&d->lock);
    for (size_t i = 0; i < d->count; i++) {
        out->accounts += d->sorted[i]->visible;
        out->by_state[d->sorted[i]->status.state] += d->sorted[i]->visible;
    }
    pthread_mutex_unlock(&d->lock);
}
