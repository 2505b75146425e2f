#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <uv.h>

#include "proto/crypto/crypto.h"
#include "server/events/hub.h"
#include "server/http/http.h"
#include "server/server.h"
#include "server/tenant/auth.h"
#include "storage/apikeys.h"
#include "tests/unit/storage/fixture.h"

static struct fixture f;
static struct server server;
static struct worker *worker;
static char path[300], live[100], test[100];

static void open_tenants(void) { CHECK_OK(tenants_open(&server, path, &server.tenants)); }

static void setup(void)
{
    crypto_start();
    f = (struct fixture){0};
    fixture_init(&f);
    worker = worker_new(0);
    server = (struct server){
        .store = f.store, .writer = f.writer, .workers = &worker, .worker_count = 1};
    snprintf(path, sizeof(path), "%s/first-keys", f.path);
    open_tenants();
    CHECK_OK(hubs_new(&server, &server.hubs));
    FILE *file = fopen(path, "r");
    cr_assert(file && fscanf(file, "%99s %99s", live, test) == 2);
    fclose(file);
}

static void teardown(void)
{
    hubs_free(server.hubs);
    tenants_close(server.tenants);
    worker_stop(worker);
    worker_run(worker);
    worker_free(worker);
    unlink(path);
    fixture_done(&f);
}
TestSuite(keys, .init = setup, .fini = teardown);

static void put_key(uint32_t number, const char *key, int64_t expires_ms)
{
    uint8_t hash[CRYPTO_SHA256];
    struct batch b;

    crypto_sha256(slice_text(key), hash);
    batch_init(&b);
    db_apikey_put(&b, &(struct db_apikey){.tenant = 1,
                                          .number = number,
                                          .secret = 5,
                                          .created_ms = 1,
                                          .expires_ms = expires_ms,
                                          .hash = slice_of(hash, APIKEY_HASH),
                                          .name = SLICE("n"),
                                          .rights = SLICE("read"),
                                          .hint = SLICE("hint")});
    CHECK_OK(writer_commit(f.writer, &b));
    batch_done(&b);
}

Test(keys, an_expired_one_opens_nothing)
{
    struct principal who;

    put_key(50, "parley_live_over", 1000);
    put_key(51, "parley_live_good", INT64_MAX);
    tenants_close(server.tenants);
    open_tenants();
    cr_assert_eq(auth_key(&server, SLICE("parley_live_over"), &who), ERR_UNAUTHORIZED);
    cr_assert_eq(auth_key(&server, SLICE("parley_live_good"), &who), OK);
    cr_assert_eq(who.rights, RIGHT_READ);
}

Test(keys, the_first_two_stand_in_a_private_file)
{
    struct stat st;

    cr_assert_eq(stat(path, &st), 0);
    cr_assert_eq(st.st_mode & 0777, 0600);
    cr_assert_eq(strlen(live), strlen("parley_live_") + 43);
    cr_assert_eq(strncmp(live, "parley_live_", 12), 0);
    cr_assert_eq(strncmp(test, "parley_test_", 12), 0);
}

Test(keys, name_their_tenant_world_and_rights)
{
    struct principal who;

    CHECK_OK(auth_key(&server, slice_text(live), &who));
    cr_assert_eq(who.world, WORLD_LIVE);
    cr_assert_eq(who.rights, RIGHTS_TOOLS);
    cr_assert(!who.all_worlds && who.tenant == 1);
    cr_assert_eq(strncmp(who.key, "key_", 4), 0);
    CHECK_OK(auth_key(&server, slice_text(test), &who));
    cr_assert_eq(who.world, WORLD_TEST);
}

/* Flips a bit wherever the data file holds the text. */
static void flip(const char *text)
{
    char data[512];
    static uint8_t file[1 << 20];

    snprintf(data, sizeof(data), "%s/data.mdb", f.path);
    int fd = open(data, O_RDWR);
    ssize_t n = pread(fd, file, sizeof(file), 0);
    cr_assert_gt(n, 0);
    for (uint8_t *at = file; (at = memmem(at, (size_t)(file + n - at), text, strlen(text))); at++) {
        uint8_t flipped = *at ^ 1;
        cr_assert_eq(pwrite(fd, &flipped, 1, at - file), 1);
    }
    close(fd);
}

Test(keys, one_that_is_damaged_closes_no_other)
{
    struct principal who;

    tenants_close(server.tenants);
    flip("first test key");
    open_tenants();
    CHECK_OK(auth_key(&server, slice_text(live), &who));
    cr_assert_eq(auth_key(&server, slice_text(test), &who), ERR_UNAUTHORIZED);
}

Test(keys, survive_a_restart_and_are_not_made_again)
{
    struct principal who;

    tenants_close(server.tenants);
    unlink(path);
    open_tenants();
    CHECK_OK(auth_key(&server, slice_text(live), &who));
    cr_assert_neq(access(path, F_OK), 0);
}

static void each_byte(struct slice bytes, struct slice secret)
{
    for (size_t i = 0; i + secret.len <= bytes.len; i++)
        cr_assert(memcmp(bytes.data + i, secret.data, secret.len) != 0);
}

Test(keys, are_nowhere_in_the_database)
{
    char name[400];
    AUTO(buf) bytes = {0};
    FILE *file;

    snprintf(name, sizeof(name), "%s/data.mdb", f.path);
    file = fopen(name, "rb");
    cr_assert(file);
    for (int c; (c = fgetc(file)) != EOF;)
        buf_put_u8(&bytes, (uint8_t)c);
    fclose(file);
    each_byte(buf_slice(&bytes), slice_text(live + 12));
    each_byte(buf_slice(&bytes), slice_text(test + 12));
}

static err_t ask(const char *header, bool operator, struct principal * who)
{
    struct request r = {.is_operator = operator};

    if (header) {
        r.headers[0] = (struct header){SLICE("Authorization"), slice_text(header)};
        r.header_count = 1;
    }
    return auth_request(&server, &r, who);
}

Test(keys, come_as_bearer_and_no_other_way)
{
    struct principal who;
    char header[200];
    static const char *const bad[] = {
        "", "Bearer", "Bearer ", "Basic abc", "Bearer parley_live_xxx", "parley_live_xxx"};

    snprintf(header, sizeof(header), "Bearer %s", live);
    CHECK_OK(ask(header, false, &who));
    snprintf(header, sizeof(header), "bearer   %s ", test);
    CHECK_OK(ask(header, false, &who));
    cr_assert_eq(who.world, WORLD_TEST);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        cr_assert_eq(ask(bad[i], false, &who), ERR_UNAUTHORIZED, "%s", bad[i]);
    cr_assert_eq(ask(NULL, false, &who), ERR_UNAUTHORIZED);
    snprintf(header, sizeof(header), "Bearer %.*s", (int)strlen(live) - 1, live);
    cr_assert_eq(ask(header, false, &who), ERR_UNAUTHORIZED);
    cr_assert_null(strstr(err_words(), "parley_live_"));
}

Test(keys, the_operators_socket_needs_none)
{
    struct principal who;
    char header[200];

    CHECK_OK(ask(NULL, true, &who));
    cr_assert(who.all_worlds && principal_may(&who, RIGHT_ADMIN));
    snprintf(header, sizeof(header), "Bearer %s", test);
    CHECK_OK(ask(header, true, &who));
    cr_assert(!who.all_worlds);
}

static bool done;
static err_t done_with;
static void on_done(struct key_change *k, err_t e)
{
    done = true;
    done_with = e;
}

static void finish_with(err_t e)
{
    done = false;
    for (int i = 0; i < 10; i++) {
        while (writer_step(f.writer)) {
        }
        uv_run(worker_loop(worker), UV_RUN_NOWAIT);
    }
    cr_assert(done);
    cr_assert_eq(done_with, e);
}

static void finish(void) { finish_with(OK); }

Test(keys, are_made_and_revoked)
{
    struct key_change k = {.done = on_done, .home = worker},
                      gone = {.done = on_done, .home = worker};
    struct key_info list[8];
    struct principal who;

    auth_key_new(&server, 1, WORLD_TEST, RIGHT_READ, SLICE("dashboard"), &k);
    cr_assert_eq(auth_key(&server, slice_text(k.key), &who), ERR_UNAUTHORIZED); /* not durable */
    finish();
    CHECK_OK(auth_key(&server, slice_text(k.key), &who));
    cr_assert_eq(who.rights, RIGHT_READ);
    cr_assert_eq(auth_keys(server.tenants, 1, list, 8), 3);
    cr_assert_str_eq(list[2].name, "dashboard");
    cr_assert_eq(auth_keys(server.tenants, 2, list, 8), 0);

    cr_assert_eq(auth_key_revoke(&server, 2, slice_text(k.id), &gone), ERR_NOT_FOUND);
    CHECK_OK(auth_key_revoke(&server, 1, slice_text(k.id), &gone));
    CHECK_OK(auth_key(&server, slice_text(k.key), &who)); /* not durable */
    finish();
    cr_assert_eq(auth_key(&server, slice_text(k.key), &who), ERR_UNAUTHORIZED);
    tenants_close(server.tenants);
    open_tenants();
    cr_assert_eq(auth_key(&server, slice_text(k.key), &who), ERR_UNAUTHORIZED);
    CHECK_OK(auth_key(&server, slice_text(live), &who));
}

/* What is told to have failed must not come true until the next start, and can be asked again. */
Test(keys, a_revocation_whose_commit_fails_changes_nothing)
{
    struct key_change first = {.done = on_done, .home = worker}, again = first, twice = first;
    struct key_info list[8];
    struct principal who;

    CHECK_OK(auth_key(&server, slice_text(live), &who));
    atomic_store(&writer_faults(f.writer)->full, 1);
    CHECK_OK(auth_key_revoke(&server, 1, slice_text(who.key), &first));
    finish_with(ERR_STORE_FULL);
    CHECK_OK(auth_key(&server, slice_text(live), &who));
    cr_assert_eq(auth_keys(server.tenants, 1, list, 8), 2);

    atomic_store(&writer_faults(f.writer)->full, 0);
    CHECK_OK(auth_key_revoke(&server, 1, slice_text(who.key), &again));
    CHECK_OK(auth_key_revoke(&server, 1, slice_text(who.key), &twice)); /* nor is it gone yet */
    finish();
    cr_assert_eq(auth_key(&server, slice_text(live), &who), ERR_UNAUTHORIZED);
    cr_assert_eq(auth_keys(server.tenants, 1, list, 8), 1);
}
