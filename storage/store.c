/* Opening, locking and measuring the environment. Reading is in view.c, writing in writer.c. */
#include "storage/store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/base/buf.h"
#include "proto/base/text.h"
#include "proto/base/xalloc.h"
#include "storage/migrate.h"
#include "storage/pages.h"
#include "storage/record.h"
#include "storage/store_inner.h"
#include "storage/view.h"

enum { LOCK_SLOT = 64 }; /* bytes of a reader in LMDB's lock file; two more hold its head */

static const char *const names[] = {
#define DB(name, key, value, why) #name,
#include "storage/schema.def"
#undef DB
};

err_t store_error(int code, const char *what)
{
    switch (code) {
    case 0: return OK;
    case ENOSPC:
    case EDQUOT:
    case MDB_MAP_FULL:
    case MDB_TXN_FULL: return fail(STORE_FULL, "%s: %s", what, mdb_strerror(code));
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_INVALID: return fail(STORE_DAMAGED, "%s: %s", what, mdb_strerror(code));
    case MDB_VERSION_MISMATCH: return fail(STORE_VERSION, "%s: %s", what, mdb_strerror(code));
    default: return fail(STORE_FAILED, "%s: %s", what, mdb_strerror(code));
    }
}

const char *store_path(const struct store *s) { return s->path; }
uint64_t store_damaged(const struct store *s) { return atomic_load(&s->damaged); }
const char *store_db_name(enum db db) { return db < DB_COUNT ? names[db] : "?"; }
enum db store_db_of(struct slice name)
{
    int db = 0;

    while (db < DB_COUNT && !slice_is(name, names[db]))
        db++;
    return (enum db)db;
}

static err_t make_folder(const char *path)
{
    if (mkdir(path, 0700) == 0 || errno == EEXIST) return OK;
    return fail(STORE_FAILED, "cannot make the folder %s: %s", path, strerror(errno));
}

/* The lock lives as long as the descriptor, so a crash lets go of it; the pid inside is for the
 * words alone. */
static err_t lock(struct store *s)
{
    AUTO(buf) path = {0};
    char pid[32] = "";

    buf_printf(&path, "%s/parley.lock", s->path);
    s->lock_fd = open(buf_text(&path), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (s->lock_fd < 0)
        return fail(STORE_FAILED, "cannot open %s: %s", buf_text(&path), strerror(errno));
    if (flock(s->lock_fd, LOCK_EX | LOCK_NB) != 0) {
        ssize_t n = pread(s->lock_fd, pid, sizeof(pid) - 1, 0);
        if (n > 0 && pid[n - 1] == '\n') pid[n - 1] = '\0';
        return fail(STORE_LOCKED,
                    "%s is in use by another parleyd (pid %s). Stop it, or choose another folder "
                    "with --data.",
                    s->path, n > 0 ? pid : "unknown");
    }
    return OK;
}

/* Only after the version was found good: a refused store stays as it was. */
static err_t sign_lock(struct store *s)
{
    char pid[32];
    int n = snprintf(pid, sizeof(pid), "%ld\n", (long)getpid());
    if (ftruncate(s->lock_fd, 0) == 0 && pwrite(s->lock_fd, pid, (size_t)n, 0) == n) return OK;
    return store_error(errno, "lock file");
}

/* LMDB writes its lock file through a map, where a page that a full disk cannot give is a SIGBUS:
 * all of its pages are taken before. */
static err_t reserve_lock_file(struct store *s, unsigned readers)
{
    AUTO(buf) path = {0};

    buf_printf(&path, "%s/lock.mdb", s->path);
    int fd = open(buf_text(&path), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    int rc = fd < 0 ? errno : posix_fallocate(fd, 0, (off_t)(readers + 2) * LOCK_SLOT);
    if (fd >= 0) close(fd);
    if (rc == 0) return OK;
    return fail(STORE_FAILED,
                "cannot write %s: %s. Make room, or choose another folder with --data.",
                buf_text(&path), strerror(rc));
}

static err_t read_newest(int fd)
{
    enum { BOTH = 2 * 65536 }; /* of the largest pages */
    AUTO(buf) head = {0};
    uint64_t txn;
    ssize_t n = pread(fd, buf_extend(&head, BOTH), BOTH, 0);

    if (n < 0) return fail(STORE_FAILED, "data.mdb: %s", strerror(errno));
    return n == 0 ? OK : pages_newest(slice_of(head.data, (size_t)n), &txn);
}

/* LMDB takes the meta page with the higher number; one that is higher by a flipped bit leads to an
 * old commit, all of whose pages may still be there. Asked again in case a server is writing. */
static err_t check_newest(const char *path)
{
    enum { TRIES = 5 };
    err_t e = ERR_STORE_DAMAGED;

    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return errno == ENOENT ? OK : store_error(errno, path);
    for (int i = 0; e == ERR_STORE_DAMAGED && i < TRIES; i++) {
        err_clear();
        e = read_newest(fd);
    }
    close(fd);
    return e;
}

/* Who writes looks at every page first: damage there shows old rows as if they were new, or gives
 * pages that are in use to the next commit, and both without an error. */
static err_t check_file(struct store *s, const struct store_options *o)
{
    AUTO(buf) path = {0};

    buf_printf(&path, "%s/data.mdb", s->path);
    err_t e = o->read_only ? check_newest(buf_text(&path))
                           : pages_open_check(buf_text(&path), o->tell, o->context);
    if (e != ERR_STORE_DAMAGED) return e;
    AUTO(buf) why = {0};
    buf_put_text(&why, err_words());
    if (o->read_only)
        return fail(STORE_DAMAGED,
                    "the database in %s is damaged: %s. That is where reading begins, so nothing "
                    "more can be checked. Bring back a backup.",
                    s->path, buf_text(&why));
    return fail(
        STORE_DAMAGED,
        "the database in %s is damaged: %s. Nothing was changed; `parleyctl check %s` tells "
        "more. Bring back a backup.",
        s->path, buf_text(&why), s->path);
}

static err_t open_env(struct store *s, const struct store_options *o)
{
    unsigned readers = o->readers ? o->readers : STORE_READERS;
    unsigned flags = MDB_NOTLS | MDB_NORDAHEAD | (o->read_only ? MDB_RDONLY : 0) |
                     (o->without_sync ? MDB_NOSYNC : 0);
    /* Who only reads takes the map of who wrote, which LMDB keeps in the file. */
    size_t map_size = o->map_size || o->read_only ? o->map_size : STORE_MAP_SIZE;

    TRY(store_error(mdb_env_create(&s->env), "environment"));
    TRY(store_error(mdb_env_set_maxdbs(s->env, DB_COUNT + 8), "environment"));
    if (map_size) TRY(store_error(mdb_env_set_mapsize(s->env, map_size), "map size"));
    TRY(store_error(mdb_env_set_maxreaders(s->env, readers), "readers"));
    if (!o->read_only) TRY(reserve_lock_file(s, readers));
    TRY(check_file(s, o));
    TRY(store_error(mdb_env_open(s->env, s->path, flags, 0600), s->path));
    MDB_stat stat;
    TRY(store_error(mdb_env_stat(s->env, &stat), "pages"));
    s->page_size = stat.ms_psize;
    int dead; /* slots of readers that were killed */
    return store_error(mdb_reader_check(s->env, &dead), "readers");
}

/* Opens what is there; what is missing stays STORE_NO_DB. */
static err_t open_dbs(struct store *s)
{
    MDB_txn *txn;
    TRY(store_error(mdb_txn_begin(s->env, NULL, MDB_RDONLY, &txn), "transaction"));

    int rc = 0;
    for (int i = 0; i < DB_COUNT && rc == 0; i++) {
        rc = mdb_dbi_open(txn, names[i], 0, &s->dbs[i]);
        if (rc == MDB_NOTFOUND) {
            s->dbs[i] = STORE_NO_DB;
            rc = 0;
        }
    }
    if (rc == 0)
        rc = mdb_txn_commit(txn);
    else
        mdb_txn_abort(txn);
    return store_error(rc, "sub-databases");
}

/* A sub-database whose name is damaged would count as missing, and be made anew. */
static err_t refuse_strange_names(struct store *s)
{
    MDB_txn *txn;
    MDB_dbi dbi;
    MDB_cursor *cursor = NULL;
    MDB_val name, value;
    err_t e = OK;

    TRY(store_error(mdb_txn_begin(s->env, NULL, MDB_RDONLY, &txn), "transaction"));
    int rc = mdb_dbi_open(txn, NULL, 0, &dbi);
    if (rc == 0) rc = mdb_cursor_open(txn, dbi, &cursor);
    while (rc == 0 && e == OK && (rc = mdb_cursor_get(cursor, &name, &value, MDB_NEXT)) == 0)
        if (store_db_of(store_slice(name)) == DB_COUNT)
            e = fail(STORE_DAMAGED,
                     "%s has a sub-database \"" SLICE_FMT "\", which is none of ours", s->path,
                     SLICE_ARG(text_cut(store_slice(name), 40)));
    if (cursor) mdb_cursor_close(cursor);
    mdb_txn_abort(txn);
    return e != OK || rc == 0 || rc == MDB_NOTFOUND ? e : store_error(rc, "sub-databases");
}

static err_t make_dbs(struct store *s)
{
    bool missing = false;
    for (int i = 0; i < DB_COUNT; i++)
        missing |= s->dbs[i] == STORE_NO_DB;
    if (!missing) return OK;

    TRY(refuse_strange_names(s));

    MDB_txn *txn;
    TRY(store_error(mdb_txn_begin(s->env, NULL, 0, &txn), "transaction"));
    int rc = 0;
    for (int i = 0; i < DB_COUNT && rc == 0; i++)
        if (s->dbs[i] == STORE_NO_DB) rc = mdb_dbi_open(txn, names[i], MDB_CREATE, &s->dbs[i]);
    if (rc == 0)
        rc = mdb_txn_commit(txn);
    else
        mdb_txn_abort(txn);
    return store_error(rc, "sub-databases");
}

/* The store's own rows are few and all depend on them: one whose key is damaged would count as
 * missing, and be made anew. */
static err_t check_meta(struct view *view)
{
    AUTO(range) r = {0};

    range_prefix(&r, view, DB_meta, SLICE_NONE, RANGE_FORWARDS);
    while (range_next(&r)) {
    }
    return range_error(&r);
}

static err_t refuse_newer(struct store *s, bool writes)
{
    struct view *view;
    unsigned version = 0;

    TRY(view_new(s, &view));
    err_t e = view_begin(view);
    if (e == OK && writes) e = check_meta(view);
    if (e == OK) e = schema_version(view, &version);
    view_free(view);
    TRY(e);
    if (version > SCHEMA_VERSION)
        return fail(
            STORE_VERSION,
            "%s was written by a newer version (schema %u, this program knows %d). Start that "
            "version; nothing was changed.",
            s->path, version, SCHEMA_VERSION);
    return OK;
}

/* The entries of the files made on first start are durable only when their folder is. */
static err_t sync_folder(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = fd < 0 || fsync(fd) != 0 ? errno : 0;
    if (fd >= 0) close(fd);
    return store_error(rc, path);
}

static err_t open_all(struct store *s, const struct store_options *o)
{
    if (!o->read_only) {
        TRY(make_folder(s->path));
        TRY(lock(s));
    }
    TRY(open_env(s, o));
    TRY(open_dbs(s));
    TRY(refuse_newer(s, !o->read_only));
    if (o->read_only) return OK;

    TRY(sign_lock(s));
    TRY(make_dbs(s));
    TRY(migrate(s, migrations, SCHEMA_VERSION));
    return sync_folder(s->path);
}

err_t store_open(const struct store_options *o, struct store **out)
{
    struct store *s = xcalloc(sizeof(*s));
    s->path = xstrdup(o->path);
    s->lock_fd = -1;

    err_t e = open_all(s, o);
    if (e != OK) {
        store_close(s);
        return err_pass(e, __FILE__, __LINE__);
    }
    *out = s;
    return OK;
}

void store_close(struct store *s)
{
    if (!s) return;
    if (s->env) mdb_env_close(s->env);
    if (s->lock_fd >= 0) close(s->lock_fd);
    free(s->path);
    free(s);
}

size_t store_map_size(const struct store *s)
{
    MDB_envinfo info;
    return mdb_env_info(s->env, &info) == 0 ? info.me_mapsize : 0;
}

err_t store_used(struct store *s, size_t *out)
{
    MDB_envinfo info;
    MDB_stat stat;
    TRY(store_error(mdb_env_info(s->env, &info), "info"));
    TRY(store_error(mdb_env_stat(s->env, &stat), "stat"));
    *out = (info.me_last_pgno + 1) * stat.ms_psize;
    return OK;
}

bool store_has(const struct store *s, enum db db) { return s->dbs[db] != STORE_NO_DB; }

err_t store_stat(struct store *s, enum db db, struct store_stat *out)
{
    MDB_txn *txn;
    MDB_stat stat = {0};

    if (s->dbs[db] != STORE_NO_DB) {
        TRY(store_error(mdb_txn_begin(s->env, NULL, MDB_RDONLY, &txn), "transaction"));
        int rc = mdb_stat(txn, s->dbs[db], &stat);
        mdb_txn_abort(txn);
        TRY(store_error(rc, names[db]));
    }
    *out = (struct store_stat){stat.ms_entries, stat.ms_depth, stat.ms_leaf_pages,
                               stat.ms_branch_pages, stat.ms_overflow_pages};
    return OK;
}

err_t store_backup(struct store *s, const char *path)
{
    TRY(make_folder(path));
    return store_error(mdb_env_copy2(s->env, path, MDB_CP_COMPACT), path);
}
