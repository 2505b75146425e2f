/* One GET over a uv socket, with one deadline, repeated until it works. */
#include "server/net/rootkey.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "proto/base/text.h"
#include "server/log.h"

enum { AGAIN_MS = 1000 };
static const size_t KEY_DIGITS = (size_t)2 * CRYPTO_KEY;

struct rootkey {
    struct worker *worker;
    void (*found)(void *owner, const struct crypto_key *key);
    void *owner;
    struct sockaddr_storage address;
    char host[128];
    bool usable, running, done, freed, told;
    uv_tcp_t socket;
    uv_connect_t connect;
    uv_write_t write;
    char request[256];
    char answer[ROOTKEY_ANSWER_MAX + 1];
    size_t length;
    bool closing;
    struct timer again;
};

/* The first run of 64 hex digits behind the headers, whether the body is bare or JSON. */
static bool find_key(const struct rootkey *r, struct crypto_key *out)
{
    const char *body = strstr(r->answer, "\r\n\r\n");
    static const char digits[] = "0123456789abcdefABCDEF";
    AUTO(buf) bytes = {0};

    if (!body || strncmp(r->answer, "HTTP/1.", 7) != 0 || strncmp(r->answer + 8, " 200", 4) != 0)
        return false;
    for (body += 4; *body; body += strspn(body, digits) ? strspn(body, digits) : 1) {
        if (strspn(body, digits) != KEY_DIGITS) continue;
        if (text_unhex(slice_of(body, KEY_DIGITS), &bytes) != OK) return false;
        memcpy(out->bytes, bytes.data, CRYPTO_KEY);
        return true;
    }
    return false;
}

static void on_closed(uv_handle_t *handle)
{
    struct rootkey *r = handle->data;
    struct crypto_key key;

    r->running = r->closing = false;
    if (r->freed) {
        free(r);
        return;
    }
    r->answer[r->length] = '\0';
    if (find_key(r, &key)) {
        r->done = true;
        timer_disarm(r->worker, &r->again);
        LOG(INFO, NULL, "the sandbox's root key was read from %s", r->host);
        r->found(r->owner, &key);
        return;
    }
    if (!r->told) LOG(INFO, NULL, "no sandbox at %s yet; sandbox accounts wait for it", r->host);
    r->told = true;
    timer_arm(r->worker, &r->again, worker_now(r->worker) + AGAIN_MS);
}

static void close_socket(struct rootkey *r)
{
    if (r->closing) return;
    r->closing = true;
    uv_close((uv_handle_t *)&r->socket, on_closed);
}

static void on_room(uv_handle_t *handle, size_t suggested, uv_buf_t *out)
{
    struct rootkey *r = handle->data;

    *out = uv_buf_init(r->answer + r->length, (unsigned)(ROOTKEY_ANSWER_MAX - r->length));
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct rootkey *r = stream->data;
    struct crypto_key key;

    if (n > 0) r->length += (size_t)n;
    r->answer[r->length] = '\0';
    if (n < 0 || r->length == ROOTKEY_ANSWER_MAX || find_key(r, &key)) close_socket(r);
}

static void on_connected(uv_connect_t *request, int status)
{
    struct rootkey *r = request->data;
    uv_buf_t out;

    if (status < 0 || r->closing) {
        close_socket(r);
        return;
    }
    snprintf(r->request, sizeof r->request,
             "GET /root-key HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", r->host);
    out = uv_buf_init(r->request, (unsigned)strlen(r->request));
    uv_write(&r->write, (uv_stream_t *)&r->socket, &out, 1, NULL);
    uv_read_start((uv_stream_t *)&r->socket, on_room, on_read);
}

static void try_now(struct rootkey *r)
{
    if (r->running || r->done || !r->usable) return;
    r->running = true;
    r->length = 0;
    uv_tcp_init(worker_loop(r->worker), &r->socket);
    r->socket.data = r->connect.data = r;
    if (uv_tcp_connect(&r->connect, &r->socket, (struct sockaddr *)&r->address, on_connected) != 0)
        close_socket(r);
    timer_arm(r->worker, &r->again, worker_now(r->worker) + AGAIN_MS);
}

static void on_again(struct timer *t, int64_t now)
{
    struct rootkey *r = CONTAINER_OF(t, struct rootkey, again);

    if (r->running)
        close_socket(r); /* no answer in time */
    else
        try_now(r);
}

static bool parse_address(struct rootkey *r, const char *control)
{
    char host[128];
    uint64_t port;
    const char *colon = strrchr(control, ':');
    bool six = control[0] == '[';

    snprintf(r->host, sizeof r->host, "%s", control);
    if (!colon || text_u64(slice_text(colon + 1), &port) != OK || port > 65535) return false;
    int length = (int)(colon - control) - (six ? 2 : 0);
    snprintf(host, sizeof host, "%.*s", length, control + six);
    if (six) return uv_ip6_addr(host, (int)port, (struct sockaddr_in6 *)&r->address) == 0;
    if (strcmp(host, "localhost") == 0) snprintf(host, sizeof host, "127.0.0.1");
    return uv_ip4_addr(host, (int)port, (struct sockaddr_in *)&r->address) == 0;
}

struct rootkey *rootkey_new(struct worker *main_worker, const char *control,
                            void (*found)(void *owner, const struct crypto_key *key), void *owner)
{
    struct rootkey *r = xcalloc(sizeof *r);

    r->worker = main_worker;
    r->found = found;
    r->owner = owner;
    r->again.fire = on_again;
    r->usable = parse_address(r, control);
    return r;
}

void rootkey_ask(struct rootkey *r)
{
    if (!r || timer_is_armed(&r->again)) return;
    r->done = false; /* a sandbox may have been made anew */
    try_now(r);
}

void rootkey_free(struct rootkey *r)
{
    if (!r) return;
    timer_disarm(r->worker, &r->again);
    r->freed = true;
    if (!r->running)
        free(r);
    else
        close_socket(r);
}
