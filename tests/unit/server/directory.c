#include "server/directory.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

static struct directory *d;
static struct worker *workers[3];

static void start(void)
{
    d = directory_new();
    for (size_t i = 0; i < 3; i++)
        workers[i] = (struct worker *)(uintptr_t)(0x1000 * (i + 1));
}
static void stop(void) { directory_free(d); }
TestSuite(directory, .init = start, .fini = stop);

static struct account_status status(uint32_t tenant, unsigned number, bool sandbox)
{
    struct account_status s = {.tenant = tenant, .number = number, .sandbox = sandbox};

    snprintf(s.id, sizeof s.id, "acc_%04u", number);
    return s;
}

static void add(uint32_t tenant, unsigned number, bool sandbox)
{
    struct account_status s = status(tenant, number, sandbox);

    directory_add(d, &s, workers, 3, true);
}

Test(directory, spreads_accounts_over_workers)
{
    int counts[3] = {0};
    char id[16];

    for (unsigned i = 0; i < 9; i++)
        add(1, i, false);
    for (unsigned i = 0; i < 9; i++) {
        snprintf(id, sizeof id, "acc_%04u", i);
        for (int w = 0; w < 3; w++)
            counts[w] += directory_worker(d, slice_text(id)) == workers[w];
    }
    for (int w = 0; w < 3; w++)
        cr_expect_eq(counts[w], 3);
    directory_remove(d, SLICE("acc_0001"));
    add(1, 100, false);
    cr_expect_eq(directory_worker(d, SLICE("acc_0100")), workers[1], "the one that has room");
}

Test(directory, lists_a_tenants_world_in_order)
{
    struct account_status out[8];

    for (unsigned i = 9; i > 0; i--)
        add(i % 2 ? 1 : 2, i, i % 3 == 0);
    cr_expect_eq(directory_list(d, 1, false, SLICE(""), out, 8), 3u);
    cr_expect_str_eq(out[0].id, "acc_0001");
    cr_expect_str_eq(out[2].id, "acc_0007");
    cr_expect_eq(directory_list(d, 1, false, SLICE("acc_0001"), out, 1), 1u);
    cr_expect_str_eq(out[0].id, "acc_0005");
    cr_expect_eq(directory_list(d, 1, true, SLICE(""), out, 8), 2u);
    cr_expect_eq(directory_list(d, 3, true, SLICE(""), out, 8), 0u);
}

Test(directory, finds_by_pairing_until_it_ends)
{
    struct account_status s = status(1, 1, false), out;

    add(1, 1, false);
    add(1, 2, false);
    cr_expect(!directory_newest_pairing(d, &out));
    snprintf(s.pairing, sizeof s.pairing, "first");
    snprintf(s.code, sizeof s.code, "2@code");
    directory_update(d, &s);
    cr_assert(directory_pairing(d, SLICE("first"), &out));
    cr_expect_str_eq(out.code, "2@code");
    struct account_status other = status(1, 2, false);
    snprintf(other.pairing, sizeof other.pairing, "second");
    directory_update(d, &other);
    cr_assert(directory_newest_pairing(d, &out));
    cr_expect_str_eq(out.id, "acc_0002");
    s.pairing[0] = s.code[0] = '\0';
    directory_update(d, &s);
    cr_expect(!directory_pairing(d, SLICE("first"), &out));
    cr_expect(!directory_pairing(d, SLICE(""), &out));
    cr_assert(directory_status(d, SLICE("acc_0001"), &out));
    cr_expect_str_eq(out.code, "");
    cr_expect_gt(out.version, 1u);
}

Test(directory, hides_what_is_not_durable)
{
    struct account_status s = status(1, 1, false), out;
    struct directory_counts counts;

    directory_add(d, &s, workers, 3, false);
    cr_expect(directory_worker(d, SLICE("acc_0001")));
    cr_expect(!directory_status(d, SLICE("acc_0001"), &out));
    cr_expect_eq(directory_list(d, 1, false, SLICE(""), &out, 1), 0u);
    directory_count(d, &counts);
    cr_expect_eq(counts.accounts, 0u);
    directory_update(d, &s);
    cr_expect(directory_status(d, SLICE("acc_0001"), &out));
}

Test(directory, an_update_of_what_is_gone_brings_nothing_back)
{
    struct account_status s = status(1, 1, false), out;

    add(1, 1, false);
    directory_remove(d, SLICE("acc_0001"));
    directory_remove(d, SLICE("acc_0001"));
    directory_update(d, &s);
    cr_expect(!directory_status(d, SLICE("acc_0001"), &out));
    cr_expect_null(directory_worker(d, SLICE("acc_0001")));
}

/* A reader sees a status whole: code and expiry always belong together. */
static atomic_bool done;
static void *write_many(void *arg)
{
    struct account_status s = status(1, 1, false);

    for (int i = 0; i < 20000; i++) {
        s.code_expires_at = i;
        snprintf(s.code, sizeof s.code, "%d", i);
        directory_update(d, &s);
    }
    atomic_store(&done, true);
    return NULL;
}

Test(directory, is_read_whole_by_other_threads)
{
    struct account_status out;
    pthread_t writer;
    char expected[32];

    add(1, 1, false);
    pthread_create(&writer, NULL, write_many, NULL);
    while (!atomic_load(&done)) {
        cr_assert(directory_status(d, SLICE("acc_0001"), &out));
        snprintf(expected, sizeof expected, "%d", (int)out.code_expires_at);
        cr_assert(out.code[0] == '\0' || strcmp(out.code, expected) == 0);
    }
    pthread_join(writer, NULL);
}
