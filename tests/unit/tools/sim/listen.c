/* The WebSocket listener over real sockets: who may come in, and a clean end with clients on it. */
#include "tests/unit/tools/sim/world.h"

#include <arpa/inet.h>
#include <unistd.h>

#include "tests/support/dial.h"
#include "tools/sim/server.h"

struct run {
    uv_loop_t loop;
    struct sim_server server;
};

static struct run *run_new(void)
{
    struct run *r = xcalloc(sizeof *r);
    struct sim_settings s = {.listen = {"127.0.0.1", 0}, .control = {"127.0.0.1", 0}};

    uv_loop_init(&r->loop);
    cr_assert_eq(sim_server_init(&r->server, &r->loop, &s), OK);
    cr_assert_eq(sim_server_open(&r->server), OK, "%s", err_trail());
    return r;
}

static void run_free(struct run *r)
{
    sim_server_stop(&r->server);
    uv_run(&r->loop, UV_RUN_DEFAULT);
    sim_server_done(&r->server);
    uv_run(&r->loop, UV_RUN_DEFAULT);
    cr_expect_eq(uv_loop_close(&r->loop), 0);
    free(r);
}

/* The same socket at another address of this machine: 127.0.0.2 is one too. */
static bool answers_at(struct run *r, const char *address)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons(sim_listener_port(r->server.listener))};
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    inet_pton(AF_INET, address, &to.sin_addr);
    bool answers = connect(fd, (struct sockaddr *)&to, sizeof to) == 0;
    close(fd);
    return answers;
}

Test(listen, only_at_the_address_it_was_told)
{
    struct run *r = run_new();

    cr_expect(answers_at(r, "127.0.0.1"));
    cr_expect_not(answers_at(r, "127.0.0.2"));
    run_free(r);
}

static int dial_sim(struct run *r) { return dial(sim_listener_port(r->server.listener)); }

/* What comes back, up to `size`; 0 when the other side closed or said nothing. */
static size_t hear(struct run *r, int fd, char *out, size_t size)
{
    ssize_t n = -1;

    for (int i = 0; i < 5000 && n < 0; i++) {
        uv_run(&r->loop, UV_RUN_NOWAIT);
        usleep(1000);
        n = recv(fd, out, size - 1, MSG_DONTWAIT);
    }
    out[n > 0 ? n : 0] = 0;
    return n > 0 ? n : 0;
}

static void ask(int fd, const char *path, const char *origin)
{
    char text[512];

    snprintf(
        text, sizeof text,
        "GET %s HTTP/1.1\r\nHost: web.whatsapp.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%s%s%s\r\n",
        path, origin ? "Origin: " : "", origin ? origin : "", origin ? "\r\n" : "");
    cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
}

static bool is_let_in(const char *path, const char *origin)
{
    struct run *r = run_new();
    int fd = dial_sim(r);
    char out[1024];
    bool in;

    ask(fd, path, origin);
    hear(r, fd, out, sizeof out);
    in = strncmp(out, "HTTP/1.1 101", 12) == 0;
    if (in) cr_expect_eq(r->server.relay.conns_by_id.count, 1);
    run_free(r); /* with the client still there */
    close(fd);
    return in;
}

Test(listen, the_path_and_the_origin)
{
    cr_expect(is_let_in("/ws/chat", "https://web.whatsapp.com"));
    cr_expect_not(is_let_in("/ws/chat", NULL));
    cr_expect_not(is_let_in("/ws/chat", "https://evil.example"));
    cr_expect_not(is_let_in("/", "https://web.whatsapp.com"));
}

/* A masked binary frame with junk inside: the relay closes, the sim lives. */
Test(listen, junk_in_a_websocket)
{
    struct run *r = run_new();
    int fd = dial_sim(r);
    char out[1024];
    static const uint8_t frame[] = {0x82, 0x84, 0, 0, 0, 0, 'j', 'u', 'n', 'k'};

    ask(fd, "/ws/chat", "https://web.whatsapp.com");
    hear(r, fd, out, sizeof out);
    cr_assert_eq(write(fd, frame, sizeof frame), (ssize_t)sizeof frame);
    hear(r, fd, out, sizeof out);
    for (int i = 0; i < 5000 && r->server.relay.conns_by_id.count; i++) {
        uv_run(&r->loop, UV_RUN_NOWAIT);
        usleep(1000);
    }
    cr_expect_eq(r->server.relay.conns_by_id.count, 0);
    close(fd);
    run_free(r);
}

Test(listen, plain_http_is_not_found)
{
    struct run *r = run_new();
    int fd = dial_sim(r);
    char out[1024];
    static const char get[] = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";

    cr_assert_eq(write(fd, get, sizeof get - 1), (ssize_t)sizeof get - 1);
    hear(r, fd, out, sizeof out);
    cr_expect_eq(strncmp(out, "HTTP/1.1 404", 12), 0, "%s", out);
    close(fd);
    run_free(r);
}
