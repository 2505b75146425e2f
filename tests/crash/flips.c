/* Flips bits in the data file of a recorded life, one at a time, and sorts what becomes of it.
 *
 *     flips [--flips N] [--seconds N] [--seed S] [--jobs N] [--show] [--at BYTE.BIT]
 *
 * Each flip is made in a copy of the file that is opened by a process of its own: the server of
 * tests/flow's worlds with tools, hub and sessions, which answers questions, and talks with phones
 * through the sandbox. Verdicts:
 *
 *   harmless       every row, answer and message is as it was, and the check finds nothing
 *   server         the running server says so: an error that names the damage, an account stopped,
 *                  a start that put the bit right
 *   check          the server did as ever, or lacked a row; parleyctl check finds it
 *   process ended  LMDB or the server ended the process
 *   undetected     neither: what is served is not what was stored, or something is lost
 *
 * Whatever the verdict, these must not be: a row served with other bytes than were stored; a
 * message that the sandbox may forget and nobody has, without a trace; a broken rule of the
 * sandbox; anything that is not as it was after a start that put the bit right; of a flip inside a
 * row: a process ended; of one that not all depend on (the store's own, the tenant's, the number
 * row of the log): more than one account stopped, another one that does not work, a server that
 * does not start. Ends with 1 when one of them was. */
#include "tests/crash/flips.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "proto/base/err.h"
#include "storage/pages.h"

enum area { RECORD, HOUSE, STRUCTURE, UNUSED, AREAS };
enum verdict { HARMLESS, SERVER, CHECK, ENDED, UNDETECTED, VERDICTS };
enum { JOBS_MAX = 16, HANG_S = 60, SHOWN_MAX = 40 };

static const char *const area_names[] = {"key or value of a row", "... that all depend on",
                                         "structure of pages", "unused"};
static const char *const verdict_names[] = {"harmless", "server", "check", "process ended",
                                            "undetected"};

struct flip {
    size_t at;
    uint8_t bit;
    enum area area;
};

struct job {
    pid_t pid;
    struct flip flip;
    char folder[64];
    bool checking;
    struct flip_report *report; /* shared with its process */
};

static struct {
    struct slice file;
    uint8_t *areas;        /* of each byte */
    size_t *places[AREAS]; /* the bytes of each area */
    size_t counts[AREAS];
    unsigned long table[AREAS][VERDICTS], stopped[FLIP_ACCOUNTS + 1];
    unsigned long wrong, begun, done, mended, hidden, fewer, lost;
    time_t until; /* 0: no limit */
    uint64_t random;
    bool show;
    struct job jobs[JOBS_MAX];
} all;

static _Noreturn void give_up(const char *what)
{
    perror(what);
    exit(2);
}

static uint64_t draw(uint64_t n)
{
    all.random ^= all.random << 13;
    all.random ^= all.random >> 7;
    all.random ^= all.random << 17;
    return all.random * 0x2545f4914f6cdd1dull % n;
}

/* ---- where ---- */

/* Rows without which nobody is served: of the store and the tenant, and the number row of a log,
 * whose key ends with the highest number there is. Its value is told next. */
static bool is_of_house(const char *tree, struct slice part)
{
    static const uint8_t last[8] = {255, 255, 255, 255, 255, 255, 255, 255};
    static bool value_follows;
    bool value = value_follows;

    value_follows = !value && strcmp(tree, "events") == 0 && part.len > 8 && part.len < 16 &&
                    memcmp(part.data + part.len - 8, last, 8) == 0;
    return value || value_follows || strcmp(tree, "meta") == 0 || strcmp(tree, "tenants") == 0;
}

static void on_part(void *context, enum page_part what, const char *tree, size_t at, size_t len)
{
    enum area area = what == PAGE_STRUCTURE ? STRUCTURE : RECORD;

    if (area == RECORD && is_of_house(tree, slice_of(all.file.data + at, len))) area = HOUSE;
    memset(all.areas + at, area, len);
}

static void on_line(void *context, const char *line) { printf("pages: %s\n", line); }

static void map_areas(void)
{
    struct pages p = {.file = all.file, .part = on_part, .tell = on_line};
    uint64_t txn;

    all.areas = malloc(all.file.len);
    memset(all.areas, UNUSED, all.file.len);
    if (pages_newest(p.file, &txn) != OK || pages_walk(&p, txn) != OK || p.findings) {
        printf("the recorded file is not sound: %s\n", err_trail());
        exit(2);
    }
    for (size_t i = 0; i < all.file.len; i++)
        all.counts[all.areas[i]]++;
    for (unsigned a = 0; a < AREAS; a++)
        all.places[a] = malloc((all.counts[a] + 1) * sizeof(size_t));
    memset(all.counts, 0, sizeof all.counts);
    for (size_t i = 0; i < all.file.len; i++)
        all.places[all.areas[i]][all.counts[all.areas[i]]++] = i;
}

/* Half of them inside rows, most others in the structure, some where nothing stands. */
static struct flip next_flip(void)
{
    static const enum area lots[16] = {
        RECORD,    RECORD,    RECORD,    RECORD,    RECORD,    RECORD, RECORD, HOUSE,
        STRUCTURE, STRUCTURE, STRUCTURE, STRUCTURE, STRUCTURE, UNUSED, UNUSED, STRUCTURE};
    enum area a = lots[draw(16)];

    return (struct flip){all.places[a][draw(all.counts[a])], (uint8_t)draw(8), a};
}

/* ---- one flip ---- */

static void write_file(const struct job *j)
{
    char path[100];
    uint8_t flipped = all.file.data[j->flip.at] ^ (uint8_t)(1u << j->flip.bit);

    snprintf(path, sizeof path, "%s/lock.mdb", j->folder);
    unlink(path);
    snprintf(path, sizeof path, "%s/data.mdb", j->folder);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, all.file.data, all.file.len) != (ssize_t)all.file.len ||
        pwrite(fd, &flipped, 1, (off_t)j->flip.at) != 1)
        give_up(path);
    close(fd);
}

static void begin_step(struct job *j)
{
    write_file(j);
    fflush(stdout);
    j->pid = fork();
    if (j->pid < 0) give_up("fork");
    if (j->pid > 0) return;
    alarm(HANG_S);
    int null = open("/dev/null", O_WRONLY);
    if (!all.show) dup2(null, 1);
    if (!all.show) dup2(null, 2);
    if (j->checking)
        flips_check(j->folder, j->report);
    else
        flips_serve(j->folder, j->report);
    _exit(0);
}

static bool is_calm(const struct flip_report *r)
{
    return r->ended && !r->refused && !r->hidden && !r->stale && !r->failed && !r->different &&
           !r->stopped && !r->lost && r->works == (1u << FLIP_ACCOUNTS) - 1;
}

/* The server itself says that something is wrong with its data. */
static bool server_says(const struct flip_report *r)
{
    return !r->opened || r->failed || r->stopped || r->unread || r->words[0];
}

static enum verdict verdict_of(const struct flip_report *r)
{
    if (server_says(r)) return SERVER;
    if (!r->clean) return CHECK;
    return is_calm(r) ? HARMLESS : UNDETECTED;
}

static unsigned bits(unsigned mask) { return (unsigned)__builtin_popcount(mask); }

/* What must not be, in words; NULL when all is well. */
static const char *wrong(const struct job *j, enum verdict v)
{
    const struct flip_report *r = j->report;
    bool record = j->flip.area == RECORD, house = j->flip.area == HOUSE;

    if (v == UNDETECTED) return "undetected";
    if (r->opened && r->stale) return "a row is served with other bytes";
    if (r->mended && !is_calm(r))
        return "something is not as it was behind a bit that was put right";
    if (r->lost && v == HARMLESS) return "a message is nowhere that the sandbox may forget";
    if (r->broken_rules) return "a rule of the sandbox is broken";
    if ((record || house) && v == ENDED) return "a damaged row ends the process";
    if (record && !r->opened) return "a damaged row keeps the server from starting";
    if (record && bits(r->stopped) > 1) return "a damaged row stops several accounts";
    if (record && bits(r->works) + 1 < FLIP_ACCOUNTS) return "other accounts do not work";
    return NULL;
}

static void tell(const struct job *j, enum verdict v, const char *why)
{
    const struct flip_report *r = j->report;

    printf("%s%zu.%u %s: %s; opened %d, mended %d, hidden %u, stale %u, refused %u, failed %u, "
           "different %u, "
           "stopped %x, works %x, lost %u, rules %u: %s\n",
           why ? "WRONG " : "", j->flip.at, j->flip.bit, area_names[j->flip.area],
           why ? why : verdict_names[v], r->opened, r->mended, r->hidden, r->stale, r->refused,
           r->failed, r->different, r->stopped, r->works, r->lost, r->broken_rules, r->words);
}

static void finish(struct job *j, bool ended)
{
    enum verdict v = ended ? ENDED : verdict_of(j->report);
    const char *why = wrong(j, v);

    j->pid = 0;
    all.done++;
    all.table[j->flip.area][v]++;
    all.mended += j->report->mended;
    all.hidden += j->report->hidden > 0;
    all.fewer += v == CHECK && j->report->different > 0;
    all.lost += j->report->lost > 0;
    if (j->flip.area == RECORD) all.stopped[bits(j->report->stopped)]++;
    if (why && all.wrong++ < SHOWN_MAX) tell(j, v, why);
    if (!why && all.show) tell(j, v, NULL);
}

/* The process of a job is over: with a refusal to start (2), by a signal, or as it should be. */
static void on_end(struct job *j, int status)
{
    bool ended = WIFSIGNALED(status) || (WEXITSTATUS(status) != 0 && WEXITSTATUS(status) != 2);

    if (ended || j->checking || server_says(j->report)) {
        finish(j, ended);
        return;
    }
    j->checking = true;
    begin_step(j);
}

static void begin_flip(struct job *j, struct flip flip)
{
    j->flip = flip;
    j->checking = false;
    memset(j->report, 0, sizeof *j->report);
    begin_step(j);
}

/* ---- all of them ---- */

static void prepare_jobs(unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        struct job *j = &all.jobs[i];
        snprintf(j->folder, sizeof j->folder, "%s/parley-flips-XXXXXX",
                 access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
        if (!mkdtemp(j->folder)) give_up(j->folder);
        j->report = mmap(NULL, sizeof *j->report, PROT_READ | PROT_WRITE,
                         MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (j->report == MAP_FAILED) give_up("mmap");
    }
}

static void remove_jobs(unsigned count)
{
    static const char *const names[] = {"data.mdb", "lock.mdb", "parley.lock", "first-keys",
                                        "master.key"};
    char path[120];

    for (unsigned i = 0; i < count; i++) {
        for (size_t n = 0; n < sizeof names / sizeof names[0]; n++) {
            snprintf(path, sizeof path, "%s/%s", all.jobs[i].folder, names[n]);
            unlink(path);
        }
        rmdir(all.jobs[i].folder);
    }
}

static struct job *job_of(pid_t pid, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        if (all.jobs[i].pid == pid) return &all.jobs[i];
    give_up("an unknown process");
}

/* True when there was another one to begin. */
static bool begin_next(struct job *j, unsigned long flips)
{
    if (all.begun == flips || (all.until && time(NULL) >= all.until)) return false;
    all.begun++;
    begin_flip(j, next_flip());
    return true;
}

static void try_flips(unsigned long flips, unsigned jobs)
{
    int status;

    for (unsigned i = 0; i < jobs; i++)
        begin_next(&all.jobs[i], flips);
    while (all.done < all.begun) {
        pid_t pid = wait(&status);
        if (pid < 0) give_up("wait");
        struct job *j = job_of(pid, jobs);
        on_end(j, status);
        if (j->pid) continue; /* the check of the same flip */
        if (all.done % 10000 == 0) printf("%lu flips, %lu wrong\n", all.done, all.wrong);
        begin_next(j, flips);
    }
}

static void print_table(void)
{
    printf("%-24s %10s", "bit flipped in", "bytes");
    for (unsigned v = 0; v < VERDICTS; v++)
        printf(" %14s", verdict_names[v]);
    printf("\n");
    for (unsigned a = 0; a < AREAS; a++) {
        printf("%-24s %10zu", area_names[a], all.counts[a]);
        for (unsigned v = 0; v < VERDICTS; v++)
            printf(" %14lu", all.table[a][v]);
        printf("\n");
    }
    printf("flips that the start put right, and said so, after which all was as ever %lu\n",
           all.mended);
    printf("flips in rows that stopped no account %lu, one %lu, more %lu\n", all.stopped[0],
           all.stopped[1], all.stopped[2] + all.stopped[3]);
    printf(
        "flips that hid a row %lu; of which an answer lacked something and only the check says so "
        "%lu; after which a new message was not found again, where server or check say so %lu\n",
        all.hidden, all.fewer, all.lost);
    printf("%lu flips, %lu wrong\n", all.done, all.wrong);
}

static _Noreturn void usage(void)
{
    fprintf(stderr, "usage: flips [--flips N] [--seconds N] [--seed S] [--jobs N] [--show] "
                    "[--at BYTE.BIT]\n");
    exit(2);
}

struct options {
    unsigned long flips, jobs, seed;
    const char *at; /* NULL: many */
};

static void take_option(struct options *o, const char *name, const char *value)
{
    if (strcmp(name, "--flips") == 0)
        o->flips = strtoul(value, NULL, 10);
    else if (strcmp(name, "--seed") == 0)
        o->seed = strtoul(value, NULL, 10);
    else if (strcmp(name, "--jobs") == 0)
        o->jobs = strtoul(value, NULL, 10);
    else if (strcmp(name, "--seconds") == 0)
        all.until = time(NULL) + (time_t)strtoul(value, NULL, 10);
    else if (strcmp(name, "--at") == 0)
        o->at = value;
    else
        usage();
}

static struct options read_options(int argc, char **argv)
{
    struct options o = {.flips = 1000, .jobs = 2, .seed = 1};

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--show") == 0) {
            all.show = true;
        } else {
            if (i + 1 == argc) usage();
            take_option(&o, argv[i], argv[i + 1]);
            i++;
        }
    }
    if (o.jobs < 1 || o.jobs > JOBS_MAX || o.flips < 1) usage();
    return o;
}

static void try_one(const char *at)
{
    char *dot;
    size_t byte = strtoul(at, &dot, 10);
    int status;

    if (*dot != '.' || byte >= all.file.len) usage();
    all.show = true;
    begin_flip(&all.jobs[0], (struct flip){byte, (uint8_t)(dot[1] & 7), all.areas[byte]});
    while (all.jobs[0].pid && waitpid(all.jobs[0].pid, &status, 0) > 0)
        on_end(&all.jobs[0], status);
}

int main(int argc, char **argv)
{
    struct options o = read_options(argc, argv);

    setvbuf(stdout, NULL, _IOLBF, 0);
    all.random = o.seed * 0x9e3779b97f4a7c15u + 1;
    flips_record(o.seed, &all.file);
    map_areas();
    prepare_jobs((unsigned)o.jobs);
    if (o.at) {
        try_one(o.at);
    } else {
        try_flips(o.flips, (unsigned)o.jobs);
        print_table();
    }
    remove_jobs((unsigned)o.jobs);
    flips_forget();
    return all.wrong != 0;
}
