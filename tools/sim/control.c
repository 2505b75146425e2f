/* The control API's HTTP: small, loopback only, one request at a time on each connection. What
 * the requests mean stands in control_routes.c. */
#include "tools/sim/control.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include <llhttp.h>

enum { BODY_MAX = 1 << 20, URL_MAX = 4096, CLIENTS_MAX = 256, BACKLOG = 64 };

struct sim_control {
    struct sim_server *server;
    uv_tcp_t listener;
    struct list clients;
    unsigned client_count;
    int port;
    bool closed;
};

struct client {
    struct list link;
    struct sim_control *control;
    uv_tcp_t tcp;
    llhttp_t parser;
    struct buf url, body;
    char in[16384];
    bool has_origin; /* a page in a browser has no business here */
    bool keep, closing;
};

struct reply {
    uv_write_t write;
    struct client *client;
    struct buf bytes;
    bool close;
};

/* ---- answers ---- */

static void on_client_closed(uv_handle_t *h)
{
    struct client *c = h->data;

    list_remove(&c->link);
    c->control->client_count--;
    buf_done(&c->url);
    buf_done(&c->body);
    if (c->control->closed && list_empty(&c->control->clients)) free(c->control);
    free(c);
}

static void close_client(struct client *c)
{
    if (c->closing) return;
    c->closing = true;
    uv_close((uv_handle_t *)&c->tcp, on_client_closed);
}

static void on_written(uv_write_t *w, int status)
{
    struct reply *r = w->data;
    struct client *c = r->client;
    bool end = r->close || status < 0;

    buf_done(&r->bytes);
    free(r);
    if (end) close_client(c);
}

static const char *reason_of(int status)
{
    switch (status) {
    case 200: return "OK";
    case 201: return "Created";
    case 400: return "Bad Request";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 409: return "Conflict";
    default: return "Internal Server Error";
    }
}

static void send_json(struct client *c, int status, const json_t *body)
{
    struct reply *r = xcalloc(sizeof *r);
    char *text = json_dumps(body, JSON_COMPACT);
    uv_buf_t out;

    r->client = c;
    r->close = !c->keep;
    r->write.data = r;
    buf_printf(&r->bytes,
               "HTTP/1.1 %d %s\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n"
               "Connection: %s\r\n\r\n%s\n",
               status, reason_of(status), strlen(text) + 1, c->keep ? "keep-alive" : "close", text);
    free(text);
    out = uv_buf_init((char *)r->bytes.data, r->bytes.len);
    if (uv_write(&r->write, (uv_stream_t *)&c->tcp, &out, 1, on_written) == 0) return;
    buf_done(&r->bytes);
    free(r);
    close_client(c);
}

static void send_error(struct client *c, int status, const char *error, const char *words)
{
    json_t *body = json_pack("{s:s,s:s}", "error", error, "message", words);

    send_json(c, status, body);
    json_decref(body);
}

/* ---- requests ---- */

static void answer(struct client *c, json_t *body)
{
    struct slice url = buf_slice(&c->url);
    struct sim_request q = {.server = c->control->server, .body = body};
    size_t mark = slice_find(url, '?');
    json_t *out = NULL;
    int status;

    q.path = slice_sub(url, 0, mark);
    q.query = slice_from(url, mark + 1);
    status = sim_control_answer(&q, slice_text(llhttp_method_name(c->parser.method)), &out);
    sim_server_commit(q.server);
    send_json(c, status, out);
    json_decref(out);
}

static int on_request(llhttp_t *parser)
{
    struct client *c = parser->data;
    json_t *body;

    c->keep = llhttp_should_keep_alive(parser);
    if (c->has_origin) {
        send_error(c, 403, "DENIED", "not for web pages");
        return 0;
    }
    body = c->body.len > 0 ? json_loadb((char *)c->body.data, c->body.len, 0, NULL) : json_object();
    if (json_is_object(body))
        answer(c, body);
    else
        send_error(c, 400, "BAD_ARGUMENT", "the body is no JSON object");
    json_decref(body);
    return 0;
}

static int on_begin(llhttp_t *parser)
{
    struct client *c = parser->data;

    buf_reset(&c->url);
    buf_reset(&c->body);
    c->has_origin = false;
    return 0;
}

static int append(struct buf *to, const char *at, size_t n, size_t max)
{
    if (to->len + n > max) return HPE_USER;
    buf_put(to, slice_of(at, n));
    return 0;
}

static int on_url(llhttp_t *parser, const char *at, size_t n)
{
    return append(&((struct client *)parser->data)->url, at, n, URL_MAX);
}

static int on_body(llhttp_t *parser, const char *at, size_t n)
{
    return append(&((struct client *)parser->data)->body, at, n, BODY_MAX);
}

static int on_field(llhttp_t *parser, const char *at, size_t n)
{
    struct client *c = parser->data;

    if (n == 6 && strncasecmp(at, "Origin", 6) == 0) c->has_origin = true;
    return 0;
}

static const llhttp_settings_t callbacks = {
    .on_message_begin = on_begin,
    .on_url = on_url,
    .on_header_field = on_field,
    .on_body = on_body,
    .on_message_complete = on_request,
};

/* ---- connections ---- */

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *out)
{
    struct client *c = h->data;

    *out = uv_buf_init(c->in, sizeof c->in);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *in)
{
    struct client *c = stream->data;

    if (n == 0 || c->closing) return;
    if (n < 0) {
        close_client(c);
        return;
    }
    if (llhttp_execute(&c->parser, in->base, n) == HPE_OK) return;
    c->keep = false;
    uv_read_stop(stream);
    send_error(c, 400, "BAD_ARGUMENT", "not a request that this API takes");
}

static void on_connection(uv_stream_t *listener, int status)
{
    struct sim_control *control = listener->data;
    struct client *c;

    if (status < 0) return;
    c = xcalloc(sizeof *c);
    c->control = control;
    c->tcp.data = c;
    uv_tcp_init(listener->loop, &c->tcp);
    list_push(&control->clients, &c->link);
    control->client_count++;
    llhttp_init(&c->parser, HTTP_REQUEST, &callbacks);
    c->parser.data = c;
    if (uv_accept(listener, (uv_stream_t *)&c->tcp) != 0 || control->client_count > CLIENTS_MAX ||
        uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read) != 0)
        close_client(c);
}

static err_t bind_listener(struct sim_control *c, const struct sim_endpoint *at)
{
    struct sockaddr_in address;
    struct sockaddr_storage bound;
    int size = sizeof bound, e;

    if (uv_ip4_addr(at->host, at->port, &address) != 0)
        return fail(BAD_ARGUMENT, "not an IPv4 address: %s", at->host);
    if ((ntohl(address.sin_addr.s_addr) >> 24) != 127)
        return fail(BAD_ARGUMENT, "the control API listens on loopback only, not on %s", at->host);
    e = uv_tcp_bind(&c->listener, (struct sockaddr *)&address, 0);
    if (e == 0) e = uv_listen((uv_stream_t *)&c->listener, BACKLOG, on_connection);
    if (e != 0)
        return fail(SYSTEM, "cannot listen on %s:%d: %s; another address: --control", at->host,
                    at->port, uv_strerror(e));
    uv_tcp_getsockname(&c->listener, (struct sockaddr *)&bound, &size);
    c->port = ntohs(((struct sockaddr_in *)&bound)->sin_port);
    return OK;
}

err_t sim_control_open(struct sim_server *s, struct sim_control **out)
{
    struct sim_control *c = xcalloc(sizeof *c);

    c->server = s;
    list_init(&c->clients);
    uv_tcp_init(s->loop, &c->listener);
    c->listener.data = c;
    *out = c;
    return bind_listener(c, &s->settings.control);
}

int sim_control_port(const struct sim_control *c) { return c->port; }

static void on_listener_closed(uv_handle_t *h)
{
    struct sim_control *c = h->data;

    c->closed = true;
    if (list_empty(&c->clients)) free(c);
}

void sim_control_stop(struct sim_control *c)
{
    LIST_EACH(l, &c->clients) close_client(LIST_ENTRY(l, struct client, link));
    uv_close((uv_handle_t *)&c->listener, on_listener_closed);
}
