#include "server/secret_file.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[64], path[128];

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
