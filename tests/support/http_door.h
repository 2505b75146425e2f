/* A real server on a real socket, with two workers on threads of their own; the client is the
 * test's thread with blocking calls. A test file brings the routes, some of them from here. */
#pragma once
#include <criterion/criterion.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "server/worker.h"
#include "tests/support/dial.h"
#include "tests/support/free_port.h"

#define H "Host: localhost\r\n"
#define CLOSE "Connection: close\r\n"

static struct worker *door_main, *door_workers[2];
static struct http_server *door_server;
static int door_port;
static bool door_is_stopped; /* by the test itself */
static const char *const door_hosts[] = {"parley.example", NULL};

/* ---- handlers for the routes of a test ---- */

static inline void on_echo(struct request *r)
{
    AUTO(buf) out = {0};
    buf_printf(&out, SLICE_FMT " " SLICE_FMT " q=" SLICE_FMT " ", SLICE_ARG(r->method),
               SLICE_ARG(r->path), SLICE_ARG(request_query(r, "q")));
    buf_put(&out, r->body);
    reply_bytes(r, 200, "text/plain", buf_slice(&out));
}

static inline void on_param(struct request *r) { reply_bytes(r, 200, "text/plain", r->params[0]); }

static inline void on_quiet(struct request *r) { sse_start(r, NULL, NULL); }

static atomic_int kept; /* requests whose handler does not answer */

static inline void on_keeper_gone(struct request *r) { atomic_fetch_sub(&kept, 1); }

static inline void on_keep(struct request *r)
{
    r->on_gone = on_keeper_gone;
    atomic_fetch_add(&kept, 1);
}

/* ---- the server ---- */

static inline void door_start_as(const struct route *routes, struct http_config config)
{
    static const struct route *tables[2];

    signal(SIGPIPE, SIG_IGN); /* as parleyd does */
    tables[0] = routes;
    config.tables = tables;
    door_main = worker_new(-1);
    for (int i = 0; i < 2; i++)
        door_workers[i] = worker_new(i);
    door_port = http_open_somewhere(config, door_main, door_workers, 2, &door_server);
    for (int i = 0; i < 2; i++)
        cr_assert_eq(worker_start(door_workers[i]), OK);
    cr_assert_eq(worker_start(door_main), OK);
}

static inline void door_start(const struct route *routes)
{
    door_start_as(routes, (struct http_config){.hosts = door_hosts,
                                               .public_url = "https://public.example:8443/"});
}

static inline void door_on_closed(void *arg)
{
    for (int i = 0; i < 2; i++)
        worker_stop(door_workers[i]);
    worker_stop(door_main);
}
static inline void door_close(struct post *p, struct worker *w)
{
    http_close(door_server, door_on_closed, NULL);
}

static inline void door_stop(void)
{
    struct post p = {.run = door_close};
    if (!door_is_stopped) worker_post(door_main, &p);
    for (int i = 0; i < 2; i++)
        worker_join(door_workers[i]);
    worker_join(door_main);
    http_free(door_server);
    for (int i = 0; i < 2; i++)
        worker_free(door_workers[i]);
    worker_free(door_main);
}

/* ---- the client ---- */

static inline int dial_door(void)
{
    struct timeval patience = {.tv_sec = 30}; /* for what must come, on however busy a machine */
    int fd = dial(door_port);

    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    return fd;
}

static inline void say(int fd, const char *text)
{
    cr_assert_eq(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

/* Everything until the server closes, NUL-terminated. */
static inline const char *hear(int fd)
{
    static char text[1 << 16];
    size_t n = 0;
    ssize_t got;
    while (n < sizeof(text) - 1 && (got = recv(fd, text + n, sizeof(text) - 1 - n, 0)) > 0)
        n += (size_t)got;
    text[n] = '\0';
    close(fd);
    return text;
}

static inline const char *ask(const char *text)
{
    int fd = dial_door();
    say(fd, text);
    return hear(fd);
}

static inline size_t count(const char *text, const char *what)
{
    size_t n = 0;
    for (const char *at = text; (at = strstr(at, what)); at++)
        n++;
    return n;
}
