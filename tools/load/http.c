/* As much HTTP as parleyd's own answers need: Content-Length or an event stream. */
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
        if (left.data[0] != ':') p->frames++; /* not a keepalive */
        if (p->on_frame) p->on_frame(p, slice_sub(left, 0, end));
        left = slice_from(left, end + 2);
    }
    buf_drop_front(&p->in, all.len - left.len);
}

/* False until the whole answer is there. */
static bool take_answer(struct peer *p)
{
    struct slice all = buf_slice(&p->in);
    size_t head = find(all, "\r\n\r\n"), length;
    char line[64] = "";
    int status;

    if (head == all.len) return false;
    memcpy(line, all.data, head < sizeof line - 1 ? head : sizeof line - 1);
    if (sscanf(line, "HTTP/1.1 %d", &status) != 1) load_fail("no HTTP: %s", line);
    if (status == 200 && find(slice_sub(all, 0, head), "text/event-stream") < head) {
        p->streaming = true;
        buf_drop_front(&p->in, head + 4);
        if (p->on_stream) p->on_stream(p);
        return true;
    }
    size_t at = find(slice_sub(all, 0, head), "Content-Length: ");
    length = at < head ? strtoul((const char *)all.data + at + 16, NULL, 10) : 0;
    if (all.len < head + 4 + length) return false;
    AUTO(buf) body = {0};
    buf_put(&body, slice_sub(all, head + 4, head + 4 + length));
    buf_drop_front(&p->in, head + 4 + length);
    p->on_answer(p, status, buf_slice(&body));
    return true;
}

static void on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *bytes)
{
    struct peer *p = s->data;

    if (n == 0) return;
    if (n < 0) load_fail("parleyd closed a connection: %s", uv_strerror((int)n));
    buf_put(&p->in, slice_of(bytes->base, (size_t)n));
    p->bytes += (uint64_t)n;
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

    if (status < 0)
        load_fail("cannot connect to %s: %s", p->load->options.http, uv_strerror(status));
    p->connected = true;
    uv_read_start((uv_stream_t *)&p->tcp, on_alloc, on_read);
    flush(p);
}

void peer_init(struct load *l, struct peer *p)
{
    p->load = l;
    p->to = l->http;
    p->tcp.data = p->connect.data = p;
    uv_tcp_init(&l->loop, &p->tcp);
}

void peer_ask(struct peer *p, const char *method, const char *path, const char *body)
{
    buf_printf(&p->waiting,
               "%s %s HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\n"
               "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
               method, path, p->load->options.key ? p->load->options.key : "",
               body ? strlen(body) : 0, body ? body : "");
    if (p->connected)
        flush(p);
    else
        uv_tcp_connect(&p->connect, &p->tcp, (struct sockaddr *)&p->to, on_connected);
}

void peer_close(struct peer *p)
{
    uv_close((uv_handle_t *)&p->tcp, NULL);
    buf_done(&p->in);
    buf_done(&p->waiting);
}
