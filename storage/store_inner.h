/* What store.c, view.c and writer.c share: the only files that include LMDB. */
#pragma once
#include <lmdb.h>

#include <stdatomic.h>

#include "storage/store.h"

enum { STORE_NO_DB = 0xffffffffu }; /* a read-only open found no such sub-database yet */

struct store {
    MDB_env *env;
    MDB_dbi dbs[DB_COUNT];
    size_t page_size;
    char *path;
    int lock_fd;           /* -1: read only */
    atomic_ullong damaged; /* store_damaged() */
};

/* LMDB's or the system's code as ours, with the trail started; OK for 0. */
err_t store_error(int code, const char *what) MUST_CHECK;
static inline MDB_val store_val(struct slice s) { return (MDB_val){s.len, (void *)s.data}; }
static inline struct slice store_slice(MDB_val v) { return slice_of(v.mv_data, v.mv_size); }
