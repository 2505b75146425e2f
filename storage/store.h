/* The database: one LMDB environment in the data folder.
 *
 * One process writes it (the lock file holds its pid), one thread of it (writer.h); any thread
 * reads through views (view.h). The map is reserved once, huge and sparse, and never resized:
 * growing it while a thread reads crashes the process (LMDB). store_open() refuses a database of
 * a newer program before it touches anything, and runs the migrations of an older one. */
#pragma once
#include "proto/base/err.h"
#include "proto/base/slice.h"

struct store;

enum db {
#define DB(name, key, value, why) DB_##name,
#include "storage/schema.def"
#undef DB
    DB_COUNT
};

enum { STORE_READERS = 1024 }; /* views open at the same time, the default */
#define STORE_MAP_SIZE ((size_t)1 << 40)

struct store_options {
    const char *path;  /* folder; made (0700) when it is missing */
    size_t map_size;   /* 0: STORE_MAP_SIZE; read only, that of who wrote */
    unsigned readers;  /* 0: STORE_READERS */
    bool read_only;    /* another process may hold the lock: check, backup, offline tools */
    bool without_sync; /* benchmarks of CPU time only; nothing is durable */
    /* What opening put right in a damaged file, a sentence each (pages.h). NULL: not told. */
    void (*tell)(void *context, const char *line);
    void *context;
};

/* STORE_LOCKED: another process has it; the words name its pid. STORE_VERSION: written by a newer
 * program; the words name the path, nothing was changed. STORE_FAILED, STORE_FULL. */
err_t store_open(const struct store_options *options, struct store **out) MUST_CHECK;
/* No view and no writer may be left. */
void store_close(struct store *store);

const char *store_path(const struct store *store);
/* "messages"; never NULL. */
const char *store_db_name(enum db db);
/* DB_COUNT: none of ours. */
enum db store_db_of(struct slice name);
/* Reserved bytes, and bytes of the data file that are in use or were once. */
size_t store_map_size(const struct store *store);
err_t store_used(struct store *store, size_t *out_bytes) MUST_CHECK;

struct store_stat {
    size_t entries, depth, leaf_pages, branch_pages, overflow_pages;
};
/* False when a read-only open did not find the sub-database. */
bool store_has(const struct store *store, enum db db);
/* How often a row was met that is damaged, since the opening; one row may be met often. */
uint64_t store_damaged(const struct store *store);
/* LMDB's own figures of one sub-database. */
err_t store_stat(struct store *store, enum db db, struct store_stat *out) MUST_CHECK;

/* Copies the newest commit, compacted, into the empty or missing folder `path`, while the writer
 * goes on. Takes as long as the disk needs: not for a worker's thread. */
err_t store_backup(struct store *store, const char *path) MUST_CHECK;
