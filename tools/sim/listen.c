/* The WebSocket listener: libwebsockets as a server on the sim's loop. The only file here that
 * includes it. Each write of the relay is one WebSocket message. */
#include "tools/sim/server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <libwebsockets.h>

enum { PENDING_MAX = 64 << 20 }; /* bytes a client may leave unread */

struct message {
    struct list link;
    size_t len;
    uint8_t bytes[]; /* LWS_PRE free, then the payload */
};

struct socket {
    struct lws *wsi;
    struct sim_conn *conn;
    struct list out;
    size_t pending;
    bool closing;
};

struct sim_listener {
    struct sim_server *server;
    struct lws_context *context;
    struct lws_vhost *vhost;
};

static void drop_message(struct socket *s, struct message *m)
{
    list_remove(&m->link);
    s->pending -= m->len;
    free(m);
}

void sim_listener_write(void *ctx, struct slice bytes)
{
    struct socket *s = ctx;
    struct message *m;

    if (s->closing) return;
    m = xalloc(sizeof *m + LWS_PRE + bytes.len);
    m->len = bytes.len;
    memcpy(m->bytes + LWS_PRE, bytes.data, bytes.len);
    list_push(&s->out, &m->link);
    s->pending += m->len;
    if (s->pending > PENDING_MAX) s->closing = true;
    lws_callback_on_writable(s->wsi);
}

void sim_listener_close(void *ctx)
{
    struct socket *s = ctx;

    s->closing = true;
    lws_callback_on_writable(s->wsi);
}

/* The one path, and the origin that the real server wants (whatsapp-rust had to add it in 2026). */
static int accept_upgrade(struct lws *wsi)
{
    char text[256];

    if (lws_hdr_copy(wsi, text, sizeof text, WSI_TOKEN_GET_URI) <= 0) return -1;
    if (strcmp(text, "/ws/chat") != 0) return -1;
    if (lws_hdr_copy(wsi, text, sizeof text, WSI_TOKEN_ORIGIN) <= 0) return -1;
    return strcmp(text, "https://web.whatsapp.com") == 0 ? 0 : -1;
}

static int on_established(struct sim_server *server, struct lws *wsi, struct socket *s)
{
    *s = (struct socket){.wsi = wsi};
    list_init(&s->out);
    s->conn = sim_conn_open(&server->relay, s, sim_server_now(server));
    return s->conn ? 0 : -1;
}

static int on_receive(struct sim_server *server, struct socket *s, void *in, size_t n)
{
    if (s->closing) return 0;
    sim_conn_bytes(s->conn, slice_of(in, n), sim_server_now(server));
    sim_server_settle(server);
    return 0;
}

static int on_writable(struct socket *s)
{
    if (!list_empty(&s->out)) {
        struct message *m = LIST_ENTRY(s->out.next, struct message, link);
        int n = lws_write(s->wsi, m->bytes + LWS_PRE, m->len, LWS_WRITE_BINARY);

        drop_message(s, m);
        if (n < 0) return -1;
        if (!list_empty(&s->out) || s->closing) lws_callback_on_writable(s->wsi);
        return 0;
    }
    return s->closing ? -1 : 0;
}

/* Also called for an upgrade that was refused, whose socket never began. */
static int on_closed(struct sim_server *server, struct socket *s)
{
    if (!s || !s->wsi) return 0;
    LIST_EACH(l, &s->out)
    drop_message(s, LIST_ENTRY(l, struct message, link));
    sim_server_forget(server, s);
    if (!s->conn) return 0;
    sim_conn_gone(s->conn, sim_server_now(server));
    s->conn = NULL;
    if (!server->stopping) sim_server_settle(server);
    return 0;
}

static int on_event(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in,
                    size_t n)
{
    struct sim_listener *l = lws_context_user(lws_get_context(wsi));

    switch (reason) {
    case LWS_CALLBACK_FILTER_PROTOCOL_CONNECTION: return accept_upgrade(wsi);
    case LWS_CALLBACK_ESTABLISHED: return on_established(l->server, wsi, user);
    case LWS_CALLBACK_RECEIVE: return on_receive(l->server, user, in, n);
    case LWS_CALLBACK_SERVER_WRITEABLE: return on_writable(user);
    case LWS_CALLBACK_CLOSED: return on_closed(l->server, user);
    case LWS_CALLBACK_HTTP: lws_return_http_status(wsi, HTTP_STATUS_NOT_FOUND, NULL); return -1;
    default: return 0;
    }
}

static const struct lws_protocols protocols[] = {
    {.name = "parley-sim",
     .callback = on_event,
     .per_session_data_size = sizeof(struct socket),
     .rx_buffer_size = 4096},
    {0},
};

static void log_line(int level, const char *line)
{
    fprintf(stderr, "parley-sim: websocket: %s", line);
}

/* libwebsockets reports a busy port in its log only, so it is tried first. */
static err_t check_port(const struct sim_endpoint *at)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(at->port)};
    int on = 1, fd, failed;

    if (inet_pton(AF_INET, at->host, &address.sin_addr) != 1)
        return fail(BAD_ARGUMENT, "not an IPv4 address: %s", at->host);
    fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ENSURE(fd >= 0, SYSTEM);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    failed = bind(fd, (struct sockaddr *)&address, sizeof address) != 0 || listen(fd, 1) != 0;
    failed = failed ? errno : 0;
    close(fd);
    if (failed)
        return fail(SYSTEM, "cannot listen on %s:%d: %s; another address: --listen", at->host,
                    at->port, strerror(failed));
    return OK;
}

/* Pings and hang-ups are WhatsApp's own business. Without a time to hang up at, a connection gets
 * no timer for them. */
static const lws_retry_bo_t policy = {.secs_since_valid_ping = 60000};

err_t sim_listener_open(struct sim_server *s, struct sim_listener **out)
{
    struct sim_listener *l;
    struct lws_context_creation_info info = {0};
    void *loops[1] = {s->loop};

    TRY(check_port(&s->settings.listen));
    l = xcalloc(sizeof *l);
    l->server = s;
    lws_set_log_level(LLL_ERR, log_line);
    info.options = LWS_SERVER_OPTION_LIBUV | LWS_SERVER_OPTION_EXPLICIT_VHOSTS |
                   LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT;
    info.foreign_loops = loops;
    info.user = l;
    info.port = s->settings.listen.port;
    info.iface = s->settings.listen.host;
    info.protocols = protocols;
    info.retry_and_idle_policy = &policy;
    info.vhost_name = "sim";
    info.ssl_cert_filepath = s->settings.tls_cert;
    info.ssl_private_key_filepath = s->settings.tls_key;
    l->context = lws_create_context(&info);
    if (!l->context) {
        free(l);
        return fail(SYSTEM, "libwebsockets does not start (is libwebsockets-evlib-uv installed?)");
    }
    info.options |= LWS_SERVER_OPTION_FAIL_UPON_UNABLE_TO_BIND;
    /* With IPv6 on, libwebsockets 4.1 ignores an IPv4 address and listens on every interface. */
    if (!strchr(s->settings.listen.host, ':')) info.options |= LWS_SERVER_OPTION_DISABLE_IPV6;
    l->vhost = lws_create_vhost(l->context, &info);
    *out = l;
    if (!l->vhost)
        return fail(SYSTEM, "cannot listen on %s:%d, or the certificate is not usable",
                    s->settings.listen.host, s->settings.listen.port);
    return OK;
}

int sim_listener_port(const struct sim_listener *l) { return lws_get_vhost_listen_port(l->vhost); }

void sim_listener_stop(struct sim_listener *l) { lws_context_destroy(l->context); }

/* libwebsockets on a foreign loop is destroyed in two steps with the loop run between them. */
void sim_listener_free(struct sim_listener *l)
{
    if (!l) return;
    lws_context_destroy(l->context);
    uv_run(l->server->loop, UV_RUN_DEFAULT);
    free(l);
}
