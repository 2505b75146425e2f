#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

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

/* Flips a bit wherever the data file holds the text: copies may lie in unused parts of pages. */
static void flip(const char *text)
{
    char path[512];
    struct stat st;
    snprintf(path, sizeof(path), "%s/data.mdb", f.path);
    int fd = open(path, O_RDWR);
    cr_assert(fd >= 0 && fstat(fd, &st) == 0);
    uint8_t *file = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    uint8_t *end_of_file = file + st.st_size;
    for (uint8_t *at = file; at; at = memmem(at, (size_t)(end_of_file - at), text, strlen(text)))
        if (at != file) at[2] ^= 0x10;
    munmap(file, (size_t)st.st_size);
    close(fd);
}

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
