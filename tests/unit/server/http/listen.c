/* Who gets in: one server to a port, no more connections and no more bytes of bodies than named. */
#include "tests/support/http_door.h"

static const struct route routes[] = {
    {"GET", "/echo", on_echo},
    {"GET", "/p/{name}", on_param},
    {"POST", "/keep", on_keep},
    {0},
};

enum { FEW = 3, SMALL = 64 * 1024 };

static void start(void) { door_start(routes); }
static void start_with_few_connections(void)
{
    door_start_as(routes, (struct http_config){.connections_max = FEW});
}
static void start_with_small_bodies(void)
{
    door_start_as(routes, (struct http_config){.bodies_max = SMALL});
}

TestSuite(listen, .init = start, .fini = door_stop);

Test(listen, a_busy_port_names_its_owner)
{
    char taken[32], pid[16];
    struct http_config config = {.listen = taken,
                                 .tables = (const struct route *const[]){routes, NULL}};
    struct http_server *second = NULL;

    snprintf(taken, sizeof(taken), "127.0.0.1:%d", door_port);
    cr_assert_eq(http_open(&config, door_main, door_workers, 2, &second), ERR_BAD_ARGUMENT);
    snprintf(pid, sizeof(pid), "pid %d", getpid());
    cr_assert(strstr(err_words(), pid), "%s", err_words());
}

Test(listen, above_the_limit_of_connections_one_is_told_so, .init = start_with_few_connections)
{
    int open[FEW];
    const char *got = NULL, *body;

    for (int i = 0; i < FEW; i++)
        open[i] = dial_door();
    got = hear(dial_door());
    cr_assert(strstr(got, "HTTP/1.1 503 ") && strstr(got, "Retry-After: "), "%s", got);
    body = strstr(got, "\r\n\r\n") + 4;
    cr_assert(strstr(body, "{\"code\":\"server_busy\""), "%s", got);
    cr_assert_eq(strlen(body), strtoul(strstr(got, "Content-Length: ") + 16, NULL, 10));

    close(open[0]);
    for (int i = 0; i < 3000; i++) { /* until the server has seen it */
        got = ask("GET /echo HTTP/1.1\r\n" H CLOSE "\r\n");
        if (strstr(got, " 200 OK")) break;
        usleep(10000);
    }
    cr_assert(strstr(got, " 200 OK"), "%s", got);
    for (int i = 1; i < FEW; i++)
        close(open[i]);
}

enum { LARGE = SMALL * 2 / 3 }; /* one fits a worker, two do not */

static void post_large(int fd, const char *target, const char *header)
{
    AUTO(buf) all = {0};

    buf_printf(&all, "POST %s HTTP/1.1\r\n" H "%sContent-Length: %d\r\n\r\n", target, header,
               LARGE);
    for (int i = 0; i < LARGE; i++)
        buf_put_u8(&all, 'z');
    cr_assert_eq(send(fd, all.data, all.len, MSG_NOSIGNAL), (ssize_t)all.len);
}

Test(listen, bodies_count_until_their_requests_have_ended, .init = start_with_small_bodies)
{
    int keepers[2] = {dial_door(), dial_door()}; /* one on each worker */
    const char *got = NULL;
    int fd;

    for (int i = 0; i < 2; i++)
        post_large(keepers[i], "/keep", "");
    for (int i = 0; i < 3000 && atomic_load(&kept) < 2; i++)
        usleep(10000);
    cr_assert_eq(atomic_load(&kept), 2);
    fd = dial_door();
    post_large(fd, "/p/x", CLOSE);
    got = hear(fd);
    cr_assert(strstr(got, "HTTP/1.1 503 ") && strstr(got, "server_busy"), "%s", got);

    for (int i = 0; i < 2; i++)
        close(keepers[i]);
    for (int i = 0; i < 3000 && atomic_load(&kept); i++)
        usleep(10000);
    fd = dial_door();
    for (int i = 0; i < 4; i++) /* one after the other, all answered */
        post_large(fd, "/p/x", i == 3 ? CLOSE : "");
    got = hear(fd);
    cr_assert_eq(count(got, "HTTP/1.1 405"), 4, "%s", got);
}
