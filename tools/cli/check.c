/* parleyctl check: looks at a database without parleyd. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "storage/check.h"
#include "storage/store.h"
#include "tools/cli/cli.h"

static void tell_line(void *context, const char *line) { printf("%s\n", line); }

/* Told when there is none. */
static bool has_database(const char *folder)
{
    char path[4200];
    struct stat file;

    if (cli_may_not_read(folder, "data.mdb")) return false;
    snprintf(path, sizeof(path), "%s/data.mdb", folder);
    if (stat(path, &file) != 0)
        cli_failed("there is no database in %s (no data.mdb); name the data folder of parleyd",
                   folder);
    else if (file.st_size == 0)
        cli_failed("%s is empty, which parleyd takes for a new database. If there was one, bring "
                   "back a backup.",
                   path);
    else
        return true;
    return false;
}

static int check_folder(const struct store_options *options)
{
    struct check_result result = {0};
    struct store *store;

    if (store_open(options, &store) != OK) return cli_failed("%s", err_words());
    err_t e = check_store(store, tell_line, NULL, &result);
    store_close(store);
    if (e != OK) cli_failed("the check ended early: %s", err_words());
    printf("%zu rows, %zu damaged, %zu hidden, %zu out of order; %zu findings in pages\n",
           result.rows, result.bad_records, result.hidden_rows, result.disordered,
           result.bad_pages);
    if (result.error != OK)
        cli_failed("some tables of the database in %s cannot be read to their end, and what they "
                   "hold there is not in these figures. Bring back a backup.",
                   options->path);
    return e == OK && check_is_clean(&result) ? CLI_DONE : CLI_FAILED;
}

/* What a read of anywhere ends in; others come from outside, as of a pipe that nobody reads. */
static bool is_of_damage(int number)
{
    return number == SIGBUS || number == SIGSEGV || number == SIGABRT || number == SIGFPE ||
           number == SIGILL;
}

/* LMDB believes its pages, and may read anywhere when one is damaged: then the process that looks
 * ends, and this one still says what it means. */
static int check_apart(const struct store_options *options)
{
    int status;

    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        signal(SIGBUS, SIG_DFL); /* it ends by its signal, also where a sanitizer would catch it */
        signal(SIGSEGV, SIG_DFL);
        setvbuf(stdout, NULL, _IOLBF, 0); /* what was found is told, whatever comes */
        status = check_folder(options);
        fflush(NULL);
        _exit(status);
    }
    if (child < 0 || waitpid(child, &status, 0) != child)
        return cli_failed("cannot check: %s", strerror(errno));
    if (WIFEXITED(status)) return WEXITSTATUS(status);
    if (!is_of_damage(WTERMSIG(status)))
        return cli_failed("the check was ended by signal %d before it was through",
                          WTERMSIG(status));
    return cli_failed("the pages of the database in %s are damaged so far that reading on ended "
                      "the check (signal %d); what it found before stands above. The start of "
                      "parleyd puts a flipped bit among rows right and says so; if it refuses, "
                      "bring back a backup.",
                      options->path, WTERMSIG(status));
}

int cli_check(struct cli *c, int argc, char **argv)
{
    struct store_options options = {.path = argc ? argv[0] : c->data, .read_only = true};

    if (argc && strncmp(argv[0], "--", 2) == 0) return cli_not_taken("check", argc, argv);
    if (argc > 1) return cli_not_taken("check", argc - 1, argv + 1);
    return has_database(options.path) ? check_apart(&options) : CLI_FAILED;
}
