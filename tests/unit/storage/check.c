#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "fixture.h"
#include "storage/check.h"
#include "storage/events.h"

static struct fixture f;
static char said[4096];

static void begin(void) { fixture_init(&f); }
static void end(void) { fixture_done(&f); }
TestSuite(check, .init = begin, .fini = end);

static void tell(void *context, const char *line)
{
    size_t n = strlen(said);
    snprintf(said + n, sizeof(said) - n, "%s\n", line);
}

static struct check_result check(void)
{
    struct check_result r;
    said[0] = '\0';
    CHECK_OK(check_store(f.store, tell, NULL, &r));
    return r;
}

static void fill(void)
{
    struct batch b;
    batch_init(&b);
    for (uint32_t i = 0; i < 500; i++) {
        struct key k = key_of_scope((struct scope){i % 2 + 1, i});
        char payload[64];
        snprintf(payload, sizeof(payload), "the payload of record %03u.", i);
        batch_put(&b, DB_data, key_slice(&k), slice_text(payload));
        batch_event(&b, 1 + i % 2, &(struct event_head){0}, SLICE("event"));
    }
    fixture_commit(&f, &b);
    batch_done(&b);
}

static void flip(const char *text) { fixture_flip(&f, text); }

Test(check, finds_a_sound_store_clean)
{
    fill();
    struct check_result r = check();
    cr_assert(check_is_clean(&r), "%s", said);
    cr_assert_geq(r.rows, 1000);
    cr_assert(strstr(said, "data: 500 records"), "%s", said);
}

Test(check, finds_every_flipped_record_and_a_reader_gets_none)
{
    fill();
    flip("the payload of record 003.");
    flip("the payload of record 499.");
    struct check_result r = check();
    cr_assert_eq(r.bad_records, 2, "%s", said);
    cr_assert_eq(r.hidden_rows, 0);

    size_t damaged = 0, good = 0;
    CHECK_OK(view_begin(f.view));
    for (uint32_t i = 0; i < 500; i++) {
        struct key k = key_of_scope((struct scope){i % 2 + 1, i});
        struct slice out;
        err_t e = view_find(f.view, DB_data, key_slice(&k), &out);
        damaged += e == ERR_STORE_DAMAGED;
        good += e == OK && slice_starts_with(out, SLICE("the payload of record "));
    }
    view_end(f.view);
    cr_assert(damaged == 2 && good == 498);
}

/* The second child of every page that leads to others is said to lie far behind the file. */
static void lead_astray(void)
{
    enum { KIND = 10, BRANCH = 1, LOWER = 12, SECOND_PLACE = 18 };
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char path[512];
    struct stat st;

    snprintf(path, sizeof(path), "%s/data.mdb", f.path);
    int fd = open(path, O_RDWR);
    cr_assert(fd >= 0 && fstat(fd, &st) == 0);
    uint8_t *file = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    for (uint8_t *p = file + 2 * page; p < file + st.st_size; p += page) {
        size_t node = p[SECOND_PLACE] + 256u * p[SECOND_PLACE + 1];
        bool leads = p[KIND] == BRANCH && p[KIND + 1] == 0 && p[LOWER] + 256u * p[LOWER + 1] >= 20;
        if (leads && node < page - 8) memset(p + node + 2, 0xff, 2);
    }
    munmap(file, (size_t)st.st_size);
    close(fd);
}

Test(check, goes_on_with_the_next_table_behind_one_that_cannot_be_read)
{
    fill();
    lead_astray();
    struct check_result r = check();
    cr_assert(!check_is_clean(&r) && r.error != OK, "%s", said);
    cr_assert(r.bad_pages > 0 && r.rows > 0, "%s", said);
    cr_assert(strstr(said, "data: cannot be read further than "), "%s", said);
    cr_assert(strstr(said, "events: cannot be read further than "), "%s", said);
    cr_assert(strstr(said, "\nmeta: ") || strstr(said, "\ntenants: "), "%s", said);
    cr_assert(!strstr(said, "BAD_TXN"), "%s", said);
}

Test(check, finds_an_event_that_is_missing)
{
    struct batch b;
    fill();
    batch_init(&b);
    struct key seventh = event_key(1, 7);
    batch_delete(&b, DB_events, key_slice(&seventh));
    fixture_commit(&f, &b);
    batch_done(&b);
    struct check_result r = check();
    cr_assert_eq(r.hidden_rows, 1, "%s", said);
    cr_assert(strstr(said, "tenant 1"), "%s", said);
}

/* What counted as missing would be made anew, and a data key or a tenant with it. */
Test(check, a_damaged_name_keeps_the_store_shut)
{
    static const char *const texts[] = {"tenants", "schema"};
    struct store_options o = {.path = f.path, .map_size = FIXTURE_MAP};
    struct store *s;

    fill();
    fixture_close(&f);
    for (size_t i = 0; i < 2; i++) {
        flip(texts[i]);
        cr_expect_eq(store_open(&o, &s), ERR_STORE_DAMAGED, "%s: %s", texts[i], err_trail());
        char damaged[16];
        snprintf(damaged, sizeof(damaged), "%s", texts[i]);
        damaged[2] ^= 0x10;
        flip(damaged);
    }
    fixture_open(&f);
}

/* The keys 100, 101 … 120 of one tenant, of which one in the middle is damaged. */
Test(check, a_walk_does_not_end_in_silence_at_a_damaged_key)
{
    struct key prefix = {0};
    struct batch b;
    size_t rows = 0;

    batch_init(&b);
    for (int i = 0; i < 20; i++) {
        char key[16];
        snprintf(key, sizeof(key), "abc%03d", i);
        batch_put(&b, DB_data, slice_text(key), SLICE("value"));
    }
    fixture_commit(&f, &b);
    batch_done(&b);
    flip("abc010");
    key_bytes(&prefix, SLICE("abc"));
    CHECK_OK(view_begin(f.view));
    AUTO(range) r = {0};
    range_prefix(&r, f.view, DB_data, key_slice(&prefix), RANGE_FORWARDS);
    while (range_next(&r))
        rows++;
    cr_expect(rows >= 20 || range_error(&r) == ERR_STORE_DAMAGED, "%zu rows", rows);
    range_done(&r);
    view_end(f.view);
}

/* --- random damage ------------------------------------------------------------------------ */

enum { ROWS = 1500, FLIPS = 100 };
enum verdict { HARMLESS, FOUND, UNDETECTED, SERVED_WRONG };

static struct key key_of_row(uint32_t i)
{
    struct key k = key_of_kind((struct scope){1 + i % 3, i % 17}, i, KIND_message);
    key_be32(&k, i * 2654435761u);
    return k;
}

static struct slice value_of_row(uint32_t i, char text[64])
{
    return slice_of(text, (size_t)snprintf(text, 64, "row %u says %08x", i, i * 2246822519u));
}

static void quiet(void *context, const char *line) {}

/* In a process of its own: reads everything, then checks. */
static enum verdict look(const char *path)
{
    struct store_options o = {.path = path, .map_size = FIXTURE_MAP, .read_only = true};
    struct check_result r;
    struct store *s;
    struct view *v;
    size_t missing = 0;

    if (store_open(&o, &s) != OK || view_new(s, &v) != OK || view_begin(v) != OK) return FOUND;
    for (uint32_t i = 0; i < ROWS; i++) {
        struct key k = key_of_row(i);
        struct slice out;
        char text[64];
        err_t e = view_find(v, DB_data, key_slice(&k), &out);
        bool is_there = e == OK && !slice_is_none(out);
        if (is_there && !slice_eq(out, value_of_row(i, text))) return SERVED_WRONG;
        missing += !is_there;
    }
    view_end(v);
    bool clean = check_store(s, quiet, NULL, &r) == OK && check_is_clean(&r);
    if (clean) return missing ? UNDETECTED : HARMLESS;
    return FOUND;
}

/* A compact copy, in which nearly every page is in use. */
static void write_copy(const char *path)
{
    struct batch b;

    batch_init(&b);
    for (uint32_t i = 0; i < ROWS; i++) {
        char text[64];
        struct key k = key_of_row(i);
        batch_put(&b, DB_data, key_slice(&k), value_of_row(i, text));
        if (i % 300 == 299) fixture_commit(&f, &b);
    }
    batch_done(&b);
    CHECK_OK(store_backup(f.store, path));
}

/* What a process of its own makes of it: how it ended. */
static int look_apart(const char *path)
{
    int status;
    pid_t child = fork();

    if (child == 0) {
        alarm(20);
        close(2);
        _exit(look(path));
    }
    waitpid(child, &status, 0);
    return status;
}

static off_t flip_somewhere(int fd, off_t size, bool in_head, uint8_t *out_before)
{
    off_t page = 8192 + rand() % (size / 4096 - 2) * 4096; /* behind the meta pages */
    off_t at = page + (in_head ? rand() % 128 : rand() % 4096);

    cr_assert_eq(pread(fd, out_before, 1, at), 1);
    uint8_t flipped = *out_before ^ (uint8_t)(1 << rand() % 8);
    cr_assert_eq(pwrite(fd, &flipped, 1, at), 1);
    return at;
}

Test(check, damage_is_found_and_never_served, .timeout = 100)
{
    char path[300], data[512];
    unsigned count[4] = {0}, ended = 0;
    struct stat st;

    snprintf(path, sizeof(path), "%s/copy", f.path);
    write_copy(path);
    snprintf(data, sizeof(data), "%s/data.mdb", path);
    int fd = open(data, O_RDWR);
    cr_assert(fd >= 0 && fstat(fd, &st) == 0);

    srand(5);
    for (int i = 0; i < FLIPS; i++) {
        uint8_t before;
        off_t at = flip_somewhere(fd, st.st_size, i % 2 == 0, &before);
        int status = look_apart(path);
        if (WIFEXITED(status) && WEXITSTATUS(status) < 4)
            count[WEXITSTATUS(status)]++;
        else
            ended++;
        cr_assert(!WIFEXITED(status) || WEXITSTATUS(status) != SERVED_WRONG, "at %ld", (long)at);
        cr_assert(!WIFEXITED(status) || WEXITSTATUS(status) != UNDETECTED, "at %ld", (long)at);
        cr_assert_eq(pwrite(fd, &before, 1, at), 1);
    }
    close(fd);
    cr_log_info("harmless %u, found %u, process ended %u", count[HARMLESS], count[FOUND], ended);
    cr_assert_geq(count[FOUND], FLIPS / 4);
    fixture_remove(path);
}
