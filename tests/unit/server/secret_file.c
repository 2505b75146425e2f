#include "server/secret_file.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[64], path[128];

/* The library's, seen by this test: what was on its way to the disk, and in which order. */
static struct {
    off_t size;         /* of the file, when it was flushed; -1: never */
    bool early, behind; /* flushed before it had its name; the folder flushed when it had it */
    bool fails;
} flushed = {.size = -1};

int fsync(int fd)
{
    struct stat st;

    if (flushed.fails) {
        errno = EIO;
        return -1;
    }
    if (fstat(fd, &st) != 0) return -1;
    if (S_ISDIR(st.st_mode)) {
        flushed.behind = access(path, F_OK) == 0;
    } else {
        flushed.size = st.st_size;
        flushed.early = access(path, F_OK) != 0;
    }
    return 0;
}

static void start(void)
{
    snprintf(folder, sizeof folder, "/tmp/parley-secret-XXXXXX");
    cr_assert(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/key", folder);
}
static void stop(void)
{
    char command[128];

    snprintf(command, sizeof command, "rm -rf %s", folder);
    cr_assert_eq(system(command), 0);
}

TestSuite(secret_file, .init = start, .fini = stop);

static const char *read_back(void)
{
    static char text[64];
    FILE *f = fopen(path, "re");

    cr_assert(f);
    text[fread(text, 1, sizeof text - 1, f)] = '\0';
    fclose(f);
    return text;
}

Test(secret_file, is_for_its_owner_and_replaced_whole)
{
    struct stat st;

    umask(0);
    cr_assert_eq(secret_file_write(path, SLICE("the first, which is longer\n")), OK);
    cr_assert_eq(secret_file_write(path, SLICE("second\n")), OK, "%s", err_words());
    cr_expect_str_eq(read_back(), "second\n");
    cr_assert_eq(stat(path, &st), 0);
    cr_expect_eq(st.st_mode & 0777, 0600u);
}

Test(secret_file, does_not_write_into_what_somebody_else_prepared)
{
    char prepared[160];
    struct stat st;

    umask(0);
    snprintf(prepared, sizeof prepared, "%s.new", path);
    int fd = open(prepared, O_WRONLY | O_CREAT, 0666);
    cr_assert_geq(fd, 0);
    close(fd);
    cr_assert_eq(secret_file_write(path, SLICE("secret\n")), OK);
    cr_assert_eq(stat(path, &st), 0);
    cr_expect_eq(st.st_mode & 0777, 0600u);
}

Test(secret_file, says_where_it_cannot_be_written)
{
    cr_expect_eq(secret_file_write("/nonexistent/key", SLICE("x")), ERR_SYSTEM);
    cr_expect_str_eq(err_words(), "cannot write /nonexistent/key: No such file or directory");
}

Test(secret_file, is_on_the_disk_before_it_has_its_name_and_the_name_too)
{
    cr_assert_eq(secret_file_write(path, SLICE("secret\n")), OK);
    cr_expect_eq(flushed.size, 7);
    cr_expect(flushed.early);
    cr_expect(flushed.behind);
}

Test(secret_file, stays_what_it_was_when_its_flush_fails)
{
    cr_assert_eq(secret_file_write(path, SLICE("first\n")), OK);
    flushed.fails = true;
    cr_expect_eq(secret_file_write(path, SLICE("second\n")), ERR_SYSTEM);
    cr_expect_str_eq(read_back(), "first\n");
}
