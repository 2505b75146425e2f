/* The house of the tools behind a real HTTP server on a socket; one thread steps everything. */
#pragma once
#include <fcntl.h>
#include <unistd.h>

#include "server/http/pages.h"
#include "server/rest/rest.h"
#include "tests/support/dial.h"
#include "tests/support/free_port.h"
#include "tests/unit/server/api/house.h"

static struct worker *door_main;
static struct http_server *door_server;
static int door_port;
static char door_live[140], door_test[140];

static void door_step(void)
{
    for (int i = 0; i < 6; i++) {
        uv_run(worker_loop(door_main), UV_RUN_NOWAIT);
        house_step();
    }
}

static void door_setup_as(const char *const *hosts)
{
    static const struct route *const tables[] = {rest_routes, page_routes, NULL};
    struct http_config config = {.tables = tables, .hosts = hosts, .context = &H.server};

    house_setup();
    door_main = worker_new(-1);
    door_port = http_open_somewhere(config, door_main, &H.worker, 1, &door_server);
    snprintf(door_live, sizeof(door_live), "Authorization: Bearer %s\r\n", house_live_key);
    snprintf(door_test, sizeof(door_test), "Authorization: Bearer %s\r\n", house_test_key);
}

static void door_setup(void) { door_setup_as(NULL); }

static bool door_is_closed;
static void on_door_closed(void *arg) { door_is_closed = true; }

static void door_teardown(void)
{
    http_close(door_server, on_door_closed, NULL);
    for (int i = 0; i < 100 && !door_is_closed; i++)
        door_step();
    cr_assert(door_is_closed);
    worker_stop(door_main);
    worker_run(door_main);
    http_free(door_server);
    worker_free(door_main);
    house_teardown();
}

static int dial_door(void)
{
    int fd = dial(door_port);

    fcntl(fd, F_SETFL, O_NONBLOCK);
    return fd;
}

/* What has come so far, added to `got`; false when the peer has closed. */
static bool hear(int fd, struct buf *got)
{
    uint8_t piece[65536];
    ssize_t n;

    door_step();
    while ((n = recv(fd, piece, sizeof(piece), 0)) > 0)
        buf_put(got, slice_of(piece, (size_t)n));
    return n != 0;
}

static int send_request(const char *line, const char *headers, const char *body)
{
    AUTO(buf) text = {0};
    int fd = dial_door();

    bool names_host = strncmp(headers, "Host:", 5) == 0;
    buf_printf(&text, "%s HTTP/1.1\r\n%sConnection: close\r\n%s", line,
               names_host ? "" : "Host: localhost\r\n", headers);
    if (body) buf_printf(&text, "Content-Length: %zu\r\n", strlen(body));
    buf_printf(&text, "\r\n%s", body ? body : "");
    cr_assert_eq(send(fd, text.data, text.len, 0), (ssize_t)text.len);
    return fd;
}

struct reply {
    int status;
    char text[200000]; /* head and body */
    const char *body;
    struct json *json; /* of the body, NULL when it is none */
};

static struct reply *ask(const char *line, const char *headers, const char *body)
{
    static struct reply r;
    AUTO(buf) got = {0};
    int fd = send_request(line, headers, body);

    for (int i = 0; i < 1000 && hear(fd, &got); i++) {
        if (H.unacked_count) house_ack_all(H.ack);
        if (i >= 100) usleep(1000); /* the kernel of a busy machine may be late too */
    }
    close(fd);
    json_free(r.json);
    r.json = NULL;
    snprintf(r.text, sizeof(r.text), "%s", buf_text(&got));
    r.status = atoi(r.text + 9);
    r.body = strstr(r.text, "\r\n\r\n");
    cr_assert(r.body, "%s: %s", line, r.text);
    r.body += 4;
    if (json_parse(slice_text(r.body), 1 << 20, &r.json) != OK) r.json = NULL;
    return &r;
}

static inline const char *code_of(const struct reply *r)
{
    struct slice s = json_get_text(r->json, "code");

    return slice_is_none(s) ? "" : (const char *)s.data;
}
