#include "server/account/keyring.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/log.h"

static char folder[64], path[128];
static struct config config;
static struct store *store;
static struct writer *writer;

static void open_store(void)
{
    struct store_options options = {.path = folder, .map_size = (size_t)64 << 20};

    cr_assert_eq(store_open(&options, &store), OK);
    writer = writer_new(&(struct writer_options){.store = store});
}

static void close_store(void)
{
    writer_free(writer);
    store_close(store);
}

static void start(void)
{
    crypto_start();
    log_start(LOG_ERROR, false);
    unsetenv("PARLEY_MASTER_KEY");
    snprintf(folder, sizeof folder, "/tmp/parley-keyring-XXXXXX");
    cr_assert(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/master.key", folder);
    config = (struct config){.data = folder, .master_key_file = ""};
    open_store();
}

static void stop(void)
{
    char command[128];

    close_store();
    snprintf(command, sizeof command, "rm -rf %s", folder);
    cr_assert_eq(system(command), 0);
}

TestSuite(keyring, .init = start, .fini = stop);

static err_t open_keys(uint8_t out[CRYPTO_KEY])
{
    return keyring_open(&config, store, writer, out);
}

Test(keyring, makes_both_keys_once)
{
    uint8_t first[CRYPTO_KEY], second[CRYPTO_KEY];
    struct stat st;

    cr_assert_eq(open_keys(first), OK, "%s", err_trail());
    cr_assert_eq(stat(path, &st), 0);
    cr_expect_eq(st.st_mode & 0777, 0600u);
    close_store();
    open_store();
    cr_assert_eq(open_keys(second), OK);
    cr_expect_arr_eq(first, second, CRYPTO_KEY);
}

Test(keyring, refuses_another_master_key)
{
    uint8_t key[CRYPTO_KEY];

    cr_assert_eq(open_keys(key), OK);
    setenv("PARLEY_MASTER_KEY", "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff",
           1);
    cr_expect_eq(open_keys(key), ERR_BAD_ARGUMENT);
    cr_expect(strstr(err_words(), "not the master key"), "%s", err_words());
}

Test(keyring, says_which_file_is_missing)
{
    uint8_t key[CRYPTO_KEY];

    cr_assert_eq(open_keys(key), OK);
    cr_assert_eq(unlink(path), 0);
    cr_expect_eq(open_keys(key), ERR_BAD_ARGUMENT);
    cr_expect(strstr(err_words(), path), "%s", err_words());
    cr_expect_neq(access(path, F_OK), 0, "no new key is made for a sealed database");
}

Test(keyring, takes_the_environment_and_then_needs_no_file)
{
    uint8_t first[CRYPTO_KEY], second[CRYPTO_KEY];

    setenv("PARLEY_MASTER_KEY", "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff",
           1);
    cr_assert_eq(open_keys(first), OK, "%s", err_trail());
    cr_expect_neq(access(path, F_OK), 0);
    cr_assert_eq(open_keys(second), OK);
    cr_expect_arr_eq(first, second, CRYPTO_KEY);
}

Test(keyring, refuses_what_is_no_key)
{
    uint8_t key[CRYPTO_KEY];
    static const char *const bad[] = {
        "qqq", "0011", "zz112233445566778899aabbccddeeff00112233445566778899aabbccddeeff",
        "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff00"};

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        setenv("PARLEY_MASTER_KEY", bad[i], 1);
        cr_expect_eq(open_keys(key), ERR_BAD_ARGUMENT);
        cr_expect(strstr(err_words(), "64 hex digits"), "%s", err_words());
        cr_expect_null(strstr(err_words(), bad[i]), "a key is never told");
    }
}
