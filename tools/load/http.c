/* As much HTTP as our own answers and those of the bridges need: Content-Length, chunks, or an
 * event stream. */
#include "tools/load/load.h"

#include <stdlib.h>
#include <strings.h>

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *out)
{
    static char chunk[256 * 1024];
    *out = uv_buf_init(chunk, sizeof chunk);
}

static size_t find(struct slice s, const char *what)
{
    const void *at = memmem(s.data, s.len, what, strlen(what));
    return at ? (size_t)((const uint8_t *)at - s.data) : s.len;
}

static void take_frames(struct peer *p)
{
    struct slice all = buf_slice(&p->in), left = all;
    size_t end;

    while ((end = find(left, "\n\n")) < left.len) {
        if (left.data[0] != ':') p->on_frame(p, slice_sub(left, 0, end)); /* not a keepalive */
        left = slice_from(left, end + 2);
    }
    buf_drop_front(&p->in, all.len - left.len);
}

/* The value of a header as text, "" when it is missing. */
static const char *header(struct slice head, const char *name, char out[128])
{
    size_t n = strlen(name);

    out[0] = '\0';
    for (size_t at = 0; at + n + 2 < head.len; at++) {
        const char *line = (const char *)head.data + at;
        if (line[0] != '\n' || strncasecmp(line + 1, name, n) != 0 || line[n + 1] != ':') continue;
        size_t from = at + n + 2, end;
        while (from < head.len && head.data[from] == ' ')
            from++;
        for (end = from; end < head.len && head.data[end] != '\r';)
            end++;
        snprintf(out, 128, "%.*s", (int)(end - from), (const char *)head.data + from);
        break;
    }
    return out;
}

/* A chunked body that is whole; false while it is not. `len`: bytes it took. */
static bool take_chunks(struct slice s, struct buf *body, size_t *len)
{
    for (size_t at = 0;;) {
        size_t line = find(slice_from(s, at), "\r\n");
        if (line == s.len - at) return false;
        size_t size = strtoul((const char *)s.data + at, NULL, 16);
        if (s.len < at + line + 2 + size + 2) return false;
        buf_put(body, slice_sub(s, at + line + 2, at + line + 2 + size));
        at += line + 2 + size + 2;
        if (size == 0) {
            *len = at;
            return true;
        }
    }
}

static void begin_stream(struct peer *p, size_t head)
{
    p->streaming = true;
    buf_drop_front(&p->in, head);
    if (p->on_stream) p->on_stream(p);
}

/* False until the whole answer is there. */
static bool take_answer(struct peer *p)
{
    struct slice all = buf_slice(&p->in);
    size_t end = find(all, "\r\n\r\n"), length;
    char line[64] = "", value[128];
    AUTO(buf) body = {0};
    int status;

    if (end == all.len) return false;
    struct slice head = slice_sub(all, 0, end + 2), rest = slice_from(all, end + 4);
    memcpy(line, all.data, end < sizeof line - 1 ? end : sizeof line - 1);
    if (sscanf(line, "HTTP/1.1 %d", &status) != 1) load_fail("no HTTP: %s", line);
    if (header(head, "mcp-session-id", value)[0])
        snprintf(p->session, sizeof p->session, "%s", value);
    header(head, "content-type", value);
    if (status == 200 && strncmp(value, "text/event-stream", 17) == 0) {
        begin_stream(p, end + 4);
        return true;
    }
    if (header(head, "transfer-encoding", value)[0]) {
        if (!take_chunks(rest, &body, &length)) return false;
    } else {
        length = strtoul(header(head, "content-length", value), NULL, 10);
        if (rest.len < length) return false;
        buf_put(&body, slice_sub(rest, 0, length));
    }
    buf_drop_front(&p->in, end + 4 + length);
    p->on_answer(p, status, buf_slice(&body));
    return true;
}

static void on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *bytes)
{
    struct peer *p = s->data;

    if (n == 0) return;
    if (n < 0) load_fail("a connection was closed: %s", uv_strerror((int)n));
    buf_put(&p->in, slice_of(bytes->base, (size_t)n));
    if (!p->streaming) take_answer(p);
    if (p->streaming) take_frames(p);
}

static void flush(struct peer *p)
{
    uv_buf_t out = uv_buf_init((char *)p->waiting.data, (unsigned)p->waiting.len);

    int sent = uv_try_write((uv_stream_t *)&p->tcp, &out, 1);
    if (sent < (int)p->waiting.len) load_fail("a request did not fit into the socket");
    buf_reset(&p->waiting);
}

static void on_connected(uv_connect_t *c, int status)
{
    struct peer *p = c->data;

    if (status == UV_ECANCELED) return;
    if (status < 0) load_fail("cannot connect to %s: %s", p->load->task.http, uv_strerror(status));
    p->connected = true;
    uv_read_start((uv_stream_t *)&p->tcp, on_alloc, on_read);
    flush(p);
}

struct peer *peer_new(struct load *l, void *owner)
{
    struct peer *p = xcalloc(sizeof *p);

    p->load = l;
    p->owner = owner;
    p->tcp.data = p->connect.data = p;
    uv_tcp_init(&l->loop, &p->tcp);
    return p;
}

void peer_ask(struct peer *p, const char *method, const char *path, const char *body)
{
    buf_printf(&p->waiting,
               "%s %s HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\n"
               "Accept: application/json, text/event-stream\r\n"
               "Content-Type: application/json\r\nContent-Length: %zu\r\n",
               method, path, p->load->task.key, body ? strlen(body) : 0);
    if (p->session[0])
        buf_printf(&p->waiting, "Mcp-Session-Id: %s\r\nMCP-Protocol-Version: 2025-11-25\r\n",
                   p->session);
    buf_printf(&p->waiting, "\r\n%s", body ? body : "");
    if (p->connected)
        flush(p);
    else
        uv_tcp_connect(&p->connect, &p->tcp, (struct sockaddr *)&p->load->http, on_connected);
}

static void on_closed(uv_handle_t *h)
{
    struct peer *p = h->data;

    buf_done(&p->in);
    buf_done(&p->waiting);
    free(p);
}

void peer_close(struct peer *p)
{
    if (p) uv_close((uv_handle_t *)&p->tcp, on_closed);
}
