/* bench_store_commit [rate] [seconds]: time from posting a turn to its being durable at a rate of
 * inbound messages, alone and beside a job of 64 MB in slices of 256 KB. The job must not raise
 * the p99 of the others above twice its value. */
#include <pthread.h>

#include "storage_load.h"

struct turn {
    struct batch batch;
    double posted, durable;
};

static atomic_size_t finished;

static void on_done(struct batch *b)
{
    struct turn *t = b->context;
    t->durable = now_s();
    atomic_fetch_add(&finished, 1);
}

static atomic_bool job_done, job_stop;
static atomic_size_t job_slices;
static struct load *job_load;

static void on_slice(struct batch *b) { atomic_store(&job_done, true); }

/* The job's turns: the next slice is posted when the one before is durable. */
static void *run_job(void *context)
{
    static uint8_t value[2000];
    size_t total = *(size_t *)context, done = 0;

    for (uint32_t slice = 0; done < total && !atomic_load(&job_stop); slice++) {
        struct batch b;
        batch_init(&b);
        b.owner = 999999;
        b.turn = slice + 1;
        b.done = on_slice;
        struct key k = key_of_scope((struct scope){1, 999999});
        key_be32(&k, slice);
        for (uint32_t row = 0; b.bytes + 2100 < BATCH_SLICE; row++) {
            struct key row_key = k;
            key_be32(&row_key, row);
            batch_put(&b, DB_data, key_slice(&row_key), SLICE_ARRAY(value));
        }
        done += b.bytes;
        atomic_store(&job_done, false);
        writer_post(job_load->writer, &b);
        while (!atomic_load(&job_done))
            usleep(100);
        MUST(b.result);
        atomic_fetch_add(&job_slices, 1);
        batch_done(&b);
    }
    return NULL;
}

/* What several windows of one kind measured together. */
struct series {
    const char *name;
    double *took;
    size_t count, commits;
    double posted_s, cpu;
};

/* A window of messages at the rate. */
static void measure(struct load *l, uint32_t rate, double seconds, struct series *s)
{
    size_t count = (size_t)(rate * seconds);
    struct turn *turns = calloc(count, sizeof(*turns));
    double cpu = cpu_s(), start = now_s();
    struct writer_stats before, after;

    writer_stats(l->writer, &before);
    atomic_store(&finished, 0);
    for (size_t i = 0; i < count; i++) {
        double due = start + (double)i / rate;
        batch_init(&turns[i].batch);
        struct scope scope = {l->tenant, 1 + (uint32_t)rand() % l->accounts};
        load_turn(l, &turns[i].batch, scope, 1 + (uint32_t)rand() % l->chats);
        while (now_s() < due)
            usleep(50);
        turns[i].batch.owner = scope.account;
        turns[i].batch.done = on_done;
        turns[i].batch.context = &turns[i];
        turns[i].posted = now_s();
        writer_post(l->writer, &turns[i].batch);
    }
    s->posted_s += now_s() - start;
    while (atomic_load(&finished) < count)
        usleep(1000);
    writer_stats(l->writer, &after);
    s->cpu += cpu_s() - cpu;
    s->commits += after.commits - before.commits;
    s->took = realloc(s->took, (s->count + count) * sizeof(*s->took));
    for (size_t i = 0; i < count; i++) {
        MUST(turns[i].batch.result);
        s->took[s->count++] = (turns[i].durable - turns[i].posted) * 1000;
        batch_done(&turns[i].batch);
    }
    free(turns);
}

static double report(struct series *s)
{
    double p50 = percentile(s->took, s->count, 0.5), p99 = percentile(s->took, s->count, 0.99);
    printf("%-22s %8.0f/s %8.2f %8.2f %10.1f %10.0f\n", s->name, (double)s->count / s->posted_s,
           p50, p99, (double)s->count / (double)s->commits, s->cpu / (double)s->count * 1e6);
    free(s->took);
    return p99;
}

/* Windows with and without the job take turns, so that what else the machine does hits both. */
int main(int argc, char **argv)
{
    enum { WINDOWS = 4 };
    static const char usage[] = "bench_store_commit [RATE [SECONDS]]";
    struct load l;
    uint32_t rate = argument(usage, argc, argv, 1, 1000);
    uint32_t seconds = argument(usage, argc, argv, 2, 8);
    struct series alone = {.name = "alone"}, beside = {.name = "beside a job"};
    size_t job_bytes = (size_t)64 << 20;

    argument_end(usage, argc, argv, 2);
    load_open(&l, bench_folder(), 500, 20, true);
    load_fill(&l, 5);
    load_reopen(&l);
    printf("flush p50 %.2f ms\n", flush_p50_ms(l.path));
    printf("%-22s %10s %8s %8s %10s %10s\n", "", "rate", "p50 ms", "p99 ms", "turns/commit",
           "CPU us");
    MUST(writer_start(l.writer));
    job_load = &l;
    for (int i = 0; i < WINDOWS; i++) {
        pthread_t thread;
        measure(&l, rate, (double)seconds / WINDOWS / 2, &alone);
        atomic_store(&job_stop, false);
        pthread_create(&thread, NULL, run_job, &job_bytes);
        measure(&l, rate, (double)seconds / WINDOWS / 2, &beside);
        atomic_store(&job_stop, true);
        pthread_join(thread, NULL);
    }
    double ratio = 1 / report(&alone);
    ratio *= report(&beside);
    printf("job: %zu slices of 256 KB; p99 ratio %.2f (budget 2)\n", atomic_load(&job_slices),
           ratio);
    writer_stop(l.writer);
    load_close(&l);
    return 0;
}
