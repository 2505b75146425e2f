#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "fixture.h"
#include "storage/check.h"
#include "storage/migrate.h"

static struct fixture f;
static void begin(void) { fixture_init(&f); }
static void end(void) { fixture_done(&f); }
TestSuite(store, .init = begin, .fini = end);

/* The library's, seen by this test (LMDB flushes its file with fdatasync). */
static unsigned folders_flushed;
static bool folder_fails;

int fsync(int fd)
{
    struct stat st;

    if (fstat(fd, &st) != 0) return -1;
    if (!S_ISDIR(st.st_mode)) return fdatasync(fd);
    folders_flushed++;
    errno = EIO;
    return folder_fails ? -1 : 0;
}

/* Else a power cut could take the names of files whose rows something had left of. */
Test(store, flushes_the_folder_of_the_files_it_made)
{
    char path[] = P_tmpdir "/parley-folder-XXXXXX";
    struct store_options o = {.map_size = FIXTURE_MAP};
    struct store *s;

    o.path = mkdtemp(path);
    folders_flushed = 0;
    CHECK_OK(store_open(&o, &s));
    store_close(s);
    cr_expect_gt(folders_flushed, 0u);
    folder_fails = true;
    cr_expect_eq(store_open(&o, &s), ERR_STORE_FAILED);
    fixture_remove(path);
}

Test(store, refuses_a_second_process_with_the_pid_of_the_first)
{
    char pid[32];
    struct store *second;
    struct store_options o = {.path = f.path, .map_size = FIXTURE_MAP};

    snprintf(pid, sizeof(pid), "%d", (int)getpid());
    cr_assert_eq(store_open(&o, &second), ERR_STORE_LOCKED);
    cr_assert(strstr(err_words(), pid), "%s", err_words());

    pid_t child = fork();
    if (child == 0) _exit(store_open(&o, &second) == ERR_STORE_LOCKED ? 0 : 1);
    int status;
    waitpid(child, &status, 0);
    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

Test(store, is_free_again_when_its_process_was_killed)
{
    char path[] = P_tmpdir "/parley-lock-XXXXXX";
    struct store_options o = {.map_size = FIXTURE_MAP};
    struct store *s;
    int ready[2], status;
    char byte = 0;

    o.path = mkdtemp(path);
    cr_assert_eq(pipe(ready), 0);
    pid_t child = fork();
    if (child == 0) {
        if (store_open(&o, &s) != OK || write(ready[1], "r", 1) != 1) _exit(1);
        for (;;)
            pause();
    }
    close(ready[1]);
    cr_assert_eq(read(ready[0], &byte, 1), 1);
    cr_assert_eq(store_open(&o, &s), ERR_STORE_LOCKED);
    kill(child, SIGKILL);
    waitpid(child, &status, 0);
    CHECK_OK(store_open(&o, &s));
    store_close(s);
    fixture_remove(path);
}

static void set_version(unsigned version)
{
    struct batch b;
    uint8_t payload[4] = {0, 0, (uint8_t)(version >> 8), (uint8_t)version};
    batch_init(&b);
    batch_put(&b, DB_meta, SLICE("schema"), SLICE_ARRAY(payload));
    fixture_commit(&f, &b);
    batch_done(&b);
}

static void file_bytes(const char *name, struct buf *out)
{
    char path[512];
    snprintf(path, sizeof(path), "%s/%s", f.path, name);
    int fd = open(path, O_RDONLY);
    cr_assert_geq(fd, 0);
    for (ssize_t n = 1; n > 0;) {
        buf_reserve(out, 65536);
        n = read(fd, out->data + out->len, 65536);
        if (n > 0) out->len += (size_t)n;
    }
    close(fd);
}

Test(store, refuses_a_newer_schema_and_touches_nothing)
{
    AUTO(buf) before = {0};
    AUTO(buf) after = {0};
    struct store_options o = {.path = f.path, .map_size = FIXTURE_MAP};
    struct store *s;

    set_version(SCHEMA_VERSION + 1);
    fixture_close(&f);
    file_bytes("data.mdb", &before);
    file_bytes("parley.lock", &before);
    cr_assert_eq(store_open(&o, &s), ERR_STORE_VERSION);
    cr_assert(strstr(err_words(), f.path), "%s", err_words());
    file_bytes("data.mdb", &after);
    file_bytes("parley.lock", &after);
    cr_assert(slice_eq(buf_slice(&before), buf_slice(&after)));

    o.read_only = true;
    cr_assert_eq(store_open(&o, &s), ERR_STORE_VERSION);
    fixture_remove(f.path);
    fixture_init(&f);
}

Test(store, is_private_to_its_owner)
{
    static const char *const files[] = {"", "/data.mdb", "/parley.lock"};
    for (size_t i = 0; i < 3; i++) {
        char path[512];
        struct stat st;
        snprintf(path, sizeof(path), "%s%s", f.path, files[i]);
        cr_assert_eq(stat(path, &st), 0);
        cr_assert_eq(st.st_mode & 077, 0, "%s", path);
    }
}

Test(store, gives_a_backup_that_opens)
{
    char path[300];
    struct batch b;
    struct store *copy;
    struct store_stat stat;

    batch_init(&b);
    batch_put(&b, DB_data, SLICE("k"), SLICE("v"));
    fixture_commit(&f, &b);
    batch_done(&b);
    snprintf(path, sizeof(path), "%s/copy", f.path);
    CHECK_OK(store_backup(f.store, path));
    CHECK_OK(store_open(&(struct store_options){.path = path, .map_size = FIXTURE_MAP}, &copy));
    CHECK_OK(store_stat(copy, DB_data, &stat));
    cr_assert_eq(stat.entries, 1);
    store_close(copy);
    fixture_remove(path);
}

Test(store, is_read_by_a_second_process_beside_the_first)
{
    struct store *other;
    struct view *v;
    struct slice out;
    struct batch b;

    batch_init(&b);
    batch_put(&b, DB_data, SLICE("k"), SLICE("v"));
    fixture_commit(&f, &b);
    batch_done(&b);
    pid_t child = fork();
    if (child == 0) {
        struct store_options o = {.path = f.path, .read_only = true}; /* in the first one's map */
        bool good = store_open(&o, &other) == OK && view_new(other, &v) == OK &&
                    store_map_size(other) == store_map_size(f.store) && view_begin(v) == OK &&
                    view_find(v, DB_data, SLICE("k"), &out) == OK && slice_is(out, "v");
        _exit(good ? 0 : 1);
    }
    int status;
    waitpid(child, &status, 0);
    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}
