/* Clocks, the CPU and memory of processes, percentiles. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "tools/load/load.h"

int64_t load_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

double load_cpu(int64_t pid)
{
    struct timespec t;
    clockid_t clock;

    if (clock_getcpuclockid((pid_t)pid, &clock) || clock_gettime(clock, &t)) return -1;
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static int64_t read_field(int64_t pid, const char *file, const char *name)
{
    char path[64], line[256];
    long value = 0;

    snprintf(path, sizeof path, "/proc/%ld/%s", (long)pid, file);
    FILE *f = fopen(path, "re");
    while (f && fgets(line, sizeof line, f))
        if (strncmp(line, name, strlen(name)) == 0) value = atol(line + strlen(name));
    if (f) fclose(f);
    return value;
}

int64_t load_anon(int64_t pid) { return read_field(pid, "status", "RssAnon:") * 1024; }

/* What parleyd hands to write calls: the database, and its events (libwebsockets uses another
 * call). The count of the block layer is of no use: it takes a whole large folio for each page. */
static int64_t written(int64_t pid) { return read_field(pid, "io", "wchar:"); }

/* All of /metrics, which the sandbox's loop waits for: it must not count as work. */
static void read_metrics(struct load *l, struct buf *out)
{
    static const char ask[] = "GET /metrics HTTP/1.1\r\nHost: localhost\r\n"
                              "Connection: close\r\n\r\n";
    struct timeval patience = {.tv_sec = 30};
    char piece[16384];
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (fd < 0 || connect(fd, (struct sockaddr *)&l->http, sizeof l->http) ||
        write(fd, ask, sizeof ask - 1) != sizeof ask - 1)
        load_fail("no way to the metrics");
    for (ssize_t n; (n = read(fd, piece, sizeof piece)) > 0;)
        buf_put(out, slice_of(piece, (size_t)n));
    close(fd);
}

static int64_t metric(struct buf *all, const char *name)
{
    const char *at = strstr(buf_text(all), name);

    return at ? strtoll(at + strlen(name), NULL, 10) : 0;
}

static struct counts read_counts(struct load *l)
{
    AUTO(buf) all = {0};

    read_metrics(l, &all);
    return (struct counts){.commits = metric(&all, "\nparley_commits_total "),
                           .bytes = metric(&all, "\nparley_commit_bytes_total ")};
}

void meter_go(struct load *l, struct meter *m)
{
    if (m->counting) m->began_counts = read_counts(l);
    m->began_us = load_us();
    m->began_target = load_cpu(l->task.pid);
    m->began_own = load_cpu(0);
    m->began_written = written(l->task.pid);
}

void meter_stop(struct load *l, struct meter *m)
{
    m->us += load_us() - m->began_us;
    m->target_s += load_cpu(l->task.pid) - m->began_target;
    m->own_s += load_cpu(0) - m->began_own;
    m->written += written(l->task.pid) - m->began_written;
    if (!m->counting) return;
    struct counts now = read_counts(l);
    m->counts.commits += now.commits - m->began_counts.commits;
    m->counts.bytes += now.bytes - m->began_counts.bytes;
}

void times_add(struct times *t, int64_t us)
{
    if (t->count == t->room) {
        t->room = t->room ? 2 * t->room : 4096;
        t->us = xrealloc(t->us, t->room * sizeof *t->us);
    }
    t->us[t->count++] = us;
    t->sorted = false;
}

static int by_size(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

double times_ms(struct times *t, unsigned per_mille)
{
    size_t at = t->count ? (t->count - 1) * per_mille / 1000 : 0;

    if (!t->count) return 0;
    if (!t->sorted) qsort(t->us, t->count, sizeof *t->us, by_size);
    t->sorted = true;
    return (double)t->us[at] / 1000;
}

void times_done(struct times *t)
{
    free(t->us);
    *t = (struct times){0};
}

const char *load_figures(struct meter *m, struct times *t, char out[1024])
{
    double n = t->count ? (double)t->count : 1;

    snprintf(out, 1024,
             "\"count\": %zu, \"seconds\": %.3f, \"per_second\": %.0f, \"p50_ms\": %.3f, "
             "\"p99_ms\": %.3f, \"max_ms\": %.3f, \"cpu_s\": %.3f, \"cpu_us\": %.1f, "
             "\"load_cpu_s\": %.3f, \"written\": %.0f, \"stored\": %.0f, \"per_commit\": %.2f",
             t->count, (double)m->us / 1e6, (double)t->count * 1e6 / (double)(m->us ? m->us : 1),
             times_ms(t, 500), times_ms(t, 990), times_ms(t, 1000), m->target_s,
             m->target_s * 1e6 / n, m->own_s, (double)m->written / n, (double)m->counts.bytes / n,
             m->counts.commits ? n / (double)m->counts.commits : 0);
    return out;
}
