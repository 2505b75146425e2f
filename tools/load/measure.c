/* Clocks, the CPU and memory of processes, percentiles. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

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

void meter_go(struct load *l, struct meter *m)
{
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
             "\"load_cpu_s\": %.3f, \"written\": %.0f",
             t->count, (double)m->us / 1e6, (double)t->count * 1e6 / (double)(m->us ? m->us : 1),
             times_ms(t, 500), times_ms(t, 990), times_ms(t, 1000), m->target_s,
             m->target_s * 1e6 / n, m->own_s, (double)m->written / n);
    return out;
}
