/* bench_bytes [accounts] [chats] [messages] [stored]: bytes written per inbound message at 1, 8 and
 * 64 messages per commit, messages spread over all accounts, and what folding the tail adds per
 * message. Budgets: under 45 KB at one message per commit, under 20 KB at eight. */
#include <sys/syscall.h>
#include <sys/uio.h>

#include "storage_load.h"

/* LMDB writes through these. The kernel's own count (/proc/self/io) takes a whole large folio for
 * every page that becomes dirty in it, so it says what the page cache does, not the disk. */
static uint64_t lmdb_bytes;
ssize_t pwrite(int fd, const void *data, size_t n, off_t at);
ssize_t writev(int fd, const struct iovec *v, int count);

ssize_t pwrite(int fd, const void *data, size_t n, off_t at)
{
    lmdb_bytes += n;
    return syscall(SYS_pwrite64, fd, data, n, at);
}

ssize_t writev(int fd, const struct iovec *v, int count) /* pages that follow each other */
{
    for (int i = 0; i < count; i++)
        lmdb_bytes += v[i].iov_len;
    return syscall(SYS_writev, fd, v, count);
}

static void measure(struct load *l, size_t per_commit, size_t messages)
{
    struct batch *batches = calloc(per_commit, sizeof(*batches));
    double *took = calloc(messages / per_commit, sizeof(*took));
    size_t commits = 0;

    for (size_t i = 0; i < per_commit; i++)
        batch_init(&batches[i]);
    uint64_t before = lmdb_bytes;
    double cpu = cpu_s();
    for (; commits < messages / per_commit; commits++) {
        for (size_t i = 0; i < per_commit; i++) {
            struct scope scope = {l->tenant, 1 + (uint32_t)rand() % l->accounts};
            load_turn(l, &batches[i], scope, 1 + (uint32_t)rand() % l->chats);
            writer_post(l->writer, &batches[i]);
        }
        double start = now_s();
        writer_step(l->writer);
        took[commits] = (now_s() - start) * 1000;
        for (size_t i = 0; i < per_commit; i++)
            MUST(batches[i].result);
    }
    size_t n = commits * per_commit;
    printf("%8zu %10zu %12.1f %10.0f %10.2f %10.2f\n", per_commit, n,
           (double)(lmdb_bytes - before) / (double)n / 1024, (cpu_s() - cpu) / (double)n * 1e6,
           percentile(took, commits, 0.5), percentile(took, commits, 0.99));
    for (size_t i = 0; i < per_commit; i++)
        batch_done(&batches[i]);
    free(batches);
    free(took);
}

/* What folding adds, later and in commits of its own: the tails of some accounts are filled up and
 * folded. */
static void measure_fold(struct load *l)
{
    uint32_t accounts = l->accounts < 50 ? l->accounts : 50;
    size_t before, after, folded = 0;
    uint64_t bytes = 0;
    double cpu = 0;

    for (uint32_t account = 1; account <= accounts; account++) {
        struct scope scope = {l->tenant, account};
        struct batch b;
        batch_init(&b);
        for (before = 0; before < TAIL_FOLD_AT;) {
            load_turn(l, &b, scope, 1 + (uint32_t)rand() % l->chats);
            MUST(writer_commit(l->writer, &b));
            MUST(view_begin(l->view));
            MUST(db_tail_count(l->view, scope, &before));
            view_end(l->view);
        }
        batch_done(&b);
        bytes -= lmdb_bytes;
        cpu -= cpu_s();
        load_fold(l, scope);
        cpu += cpu_s();
        bytes += lmdb_bytes;
        MUST(view_begin(l->view));
        MUST(db_tail_count(l->view, scope, &after));
        view_end(l->view);
        folded += before - after;
    }
    printf("%8s %10zu %12.1f %10.0f\n", "fold", folded, (double)bytes / (double)folded / 1024,
           cpu / (double)folded * 1e6);
}

int main(int argc, char **argv)
{
    static const char usage[] = "bench_bytes [ACCOUNTS [CHATS [MESSAGES [STORED]]]]";
    struct load l;
    uint32_t accounts = argument(usage, argc, argv, 1, 1000);
    uint32_t chats = argument(usage, argc, argv, 2, 20);
    uint32_t stored = argument(usage, argc, argv, 4, 10); /* messages per chat before */
    size_t messages = argument(usage, argc, argv, 3, 4096), used;

    argument_end(usage, argc, argv, 4);
    load_open(&l, bench_folder(), accounts, chats, true);
    load_fill(&l, stored);
    load_reopen(&l);
    MUST(store_used(l.store, &used));
    printf("%u accounts, %u chats each, %u messages per chat before; database %zu MB; flush p50 "
           "%.2f ms\n",
           accounts, chats, stored, used >> 20, flush_p50_ms(l.path));
    printf("%8s %10s %12s %10s %10s %10s\n", "/commit", "messages", "KB/message", "CPU us",
           "commit p50", "p99 ms");
    measure(&l, 1, messages / 4);
    measure(&l, 8, messages);
    measure(&l, 64, messages);
    measure_fold(&l);
    load_close(&l);
    return 0;
}
