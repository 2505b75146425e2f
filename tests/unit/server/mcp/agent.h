/* The house of the tools behind the MCP door on a real socket; one thread steps everything. An
 * agent is a connection: a request, and what has come back so far. */
#pragma once
#include <fcntl.h>
#include <unistd.h>

#include "server/mcp/inside.h"
#include "server/mcp/mcp_events.h"
#include "tests/support/dial.h"
#include "tests/support/free_port.h"
#include "tests/unit/server/api/house.h"

static struct worker *door_main;
static struct http_server *door_server;
static int door_port;
static const struct mcp_offer *door_offer = &mcp_offer; /* what stands behind it */
static const struct route *const door_mcp[] = {mcp_routes, NULL};
static const struct route *const *door_tables = door_mcp;

static bool disk_waits; /* commits do not end */

static void door_step(void)
{
    for (int i = 0; i < 6; i++) {
        uv_run(worker_loop(door_main), UV_RUN_NOWAIT);
        if (disk_waits)
            uv_run(worker_loop(H.worker), UV_RUN_NOWAIT);
        else
            house_step();
    }
}

static void door_open(void)
{
    struct http_config config = {.tables = door_tables, .context = &H.server};

    CHECK_OK(mcp_open(&H.server, door_offer, &H.server.mcp));
    door_main = worker_new(-1);
    door_port = http_open_somewhere(config, door_main, &H.worker, 1, &door_server);
}

static bool door_is_closed;
static void on_door_closed(void *arg) { door_is_closed = true; }

static void door_close(void)
{
    door_is_closed = false;
    http_close(door_server, on_door_closed, NULL);
    /* A request whose client left is given two seconds. */
    for (int i = 0; i < 400 && !door_is_closed; i++) {
        door_step();
        if (!door_is_closed) usleep(10000);
    }
    cr_assert(door_is_closed);
    worker_stop(door_main);
    worker_run(door_main);
    http_free(door_server);
    worker_free(door_main);
    mcp_close(H.server.mcp);
}

static inline void agent_setup(void)
{
    house_setup();
    door_open();
}

static inline void agent_teardown(void)
{
    door_close();
    house_teardown();
}

/* What a restart of the process does to the door: all it held in memory is gone. */
static inline void door_restart(void)
{
    door_close();
    door_open();
}

/* ---- connections ---- */

struct agent {
    int fd;
    struct buf got;
    bool closed;
};

static inline void hear(struct agent *a)
{
    uint8_t piece[65536];
    ssize_t n;

    door_step();
    while (!a->closed && (n = recv(a->fd, piece, sizeof(piece), 0)) != 0) {
        if (n < 0) return;
        buf_put(&a->got, slice_of(piece, (size_t)n));
    }
    a->closed = true;
}

static inline void leave(struct agent *a)
{
    close(a->fd);
    buf_done(&a->got);
    for (int i = 0; i < 3; i++)
        door_step();
}

static inline const char *text_of(struct agent *a) { return buf_text(&a->got); }

static inline bool has(struct agent *a, const char *text) { return strstr(text_of(a), text); }

static inline size_t count_of(struct agent *a, const char *text)
{
    size_t n = 0;

    for (const char *at = text_of(a); (at = strstr(at, text)); at += strlen(text))
        n++;
    return n;
}

/* One request on a connection of its own. */
static inline struct agent say_raw(const char *line, const char *headers, const char *body)
{
    struct agent a = {.fd = dial(door_port)};
    AUTO(buf) text = {0};

    fcntl(a.fd, F_SETFL, O_NONBLOCK);
    buf_printf(&text, "%s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n%s", line, headers);
    if (body) buf_printf(&text, "Content-Length: %zu\r\n", strlen(body));
    buf_printf(&text, "\r\n%s", body ? body : "");
    cr_assert_eq(send(a.fd, text.data, text.len, 0), (ssize_t)text.len);
    for (int i = 0; i < 4; i++)
        hear(&a);
    return a;
}

#define ACCEPT_BOTH "Accept: application/json, text/event-stream\r\n"
#define ACCEPT_SSE "Accept: text/event-stream\r\n"
#define JSON_BODY "Content-Type: application/json\r\n"

static inline const char *key_header(const char *key)
{
    static char header[2][160];
    static int at;

    at = !at;
    snprintf(header[at], sizeof(header[at]), "Authorization: Bearer %s\r\n", key);
    return header[at];
}

/* Headers of the test key, with what is given behind them. */
static inline const char *with(const char *format, ...)
{
    static char headers[4][1024];
    static int at;
    va_list args;
    int n;

    at = (at + 1) % 4;
    n = snprintf(headers[at], sizeof(headers[at]), "%s", key_header(house_test_key));
    va_start(args, format);
    vsnprintf(headers[at] + n, sizeof(headers[at]) - (size_t)n, format, args);
    va_end(args);
    return headers[at];
}

static inline int status_of_agent(struct agent *a)
{
    return a->got.len > 9 ? atoi(text_of(a) + 9) : 0;
}

static inline const char *body_of(struct agent *a)
{
    const char *at = strstr(text_of(a), "\r\n\r\n");

    cr_assert(at, "%s", text_of(a));
    return at + 4;
}

/* ---- the older era ---- */

static char agent_session[SESSION_TEXT_MAX]; /* of the last open_session() */

static inline void note_session(struct agent *a)
{
    const char *at = strstr(text_of(a), "Mcp-Session-Id: ");

    cr_assert(at, "%s", text_of(a));
    cr_assert_eq(sscanf(at, "Mcp-Session-Id: %47s", agent_session), 1);
}

static inline void open_session_with(const char *revision, const char *capabilities)
{
    char body[600];
    struct agent a;

    snprintf(body, sizeof(body),
             "{\"jsonrpc\":\"2.0\",\"id\":0,\"method\":\"initialize\",\"params\":"
             "{\"protocolVersion\":\"%s\",\"capabilities\":%s,"
             "\"clientInfo\":{\"name\":\"t\",\"version\":\"1\"}}}",
             revision, capabilities);
    a = say_raw("POST /mcp", with(ACCEPT_BOTH JSON_BODY), body);
    cr_assert_eq(status_of_agent(&a), 200, "%s", text_of(&a));
    note_session(&a);
    leave(&a);
}

static inline void open_session(void) { open_session_with("2025-11-25", "{}"); }

/* A POST in the session. */
static inline struct agent post(const char *body)
{
    return say_raw("POST /mcp", with(ACCEPT_BOTH JSON_BODY "Mcp-Session-Id: %s\r\n", agent_session),
                   body);
}

/* A GET stream of the session; `last` NULL for none. */
static inline struct agent listen_from(const char *last)
{
    return say_raw(
        "GET /mcp",
        last ? with(ACCEPT_SSE "Mcp-Session-Id: %s\r\nLast-Event-ID: %s\r\n", agent_session, last)
             : with(ACCEPT_SSE "Mcp-Session-Id: %s\r\n", agent_session),
        NULL);
}

/* The answer to one request, parsed: what stands under "result", or the whole message when there
 * is none. Valid until the next. */
static inline const struct json *answer_to(const char *method, const char *params)
{
    static struct json *message;
    AUTO(buf) body = {0};
    struct agent a;

    buf_printf(&body, "{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"%s\",\"params\":%s}", method,
               params);
    a = post(buf_text(&body));
    cr_assert_eq(status_of_agent(&a), 200, "%s: %s", method, text_of(&a));
    json_free(message);
    message = NULL;
    cr_assert_eq(json_parse(slice_text(body_of(&a)), 1 << 20, &message), OK, "%s", text_of(&a));
    leave(&a);
    return json_get(message, "result") ? json_get(message, "result") : message;
}

static inline int64_t code_of(const struct json *message)
{
    int64_t code = 0;

    json_int(json_get(json_get(message, "error"), "code"), &code);
    return code;
}

static inline const char *text_at(const struct json *o, const char *name)
{
    struct slice s = json_get_text(o, name);

    return slice_is_none(s) ? "" : (const char *)s.data;
}
