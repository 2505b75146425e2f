/* Links over libwebsockets. What it does by itself on a foreign uv loop is little and uneven, so
 * the rules here are ours: names are resolved beforehand (it would block the loop), every deadline
 * is a timer of the worker (its own do not run on an idle loop), and of all its ways to say "over"
 * only WSI_DESTROY is believed; what ended before a connection existed is ended by us. */
#include "server/account/link.h"

#include <libwebsockets.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "proto/base/list.h"
#include "proto/base/text.h"
#include "server/log.h"
#include "server/net/resolve.h"

/* Where a link stands, and what moves it:
 *   RESOLVING  link_open          -> CONNECTING on the answer, ENDED when there is none
 *   CONNECTING connect_next       -> OPEN on ESTABLISHED, again CONNECTING for the next address
 *   OPEN                          -> CLOSING by link_close, ENDED when the peer goes
 *   CLOSING                       -> ENDED by WSI_DESTROY or the deadline
 *   ENDED      on_down follows at the end of the loop turn */
enum link_state { LINK_RESOLVING, LINK_CONNECTING, LINK_OPEN, LINK_CLOSING, LINK_ENDED };

struct message {
    struct message *next;
    size_t len;
    uint8_t bytes[]; /* LWS_PRE of room, then the payload */
};

struct link {
    struct list node;
    struct links *links;
    struct link_owner owner;
    size_t target;
    enum link_state state;
    const char *why; /* first reason wins */
    char words[96];  /* what libwebsockets said, behind `why` */
    struct lookup *lookup;
    struct resolved found;
    size_t address; /* next one to try */
    struct lws *wsi;
    bool in_callback; /* of this wsi: it must not be destroyed under it */
    bool paused;
    int64_t until; /* ticks: a WebSocket must stand by then */
    struct timer deadline;
    struct deferred ending, tidying, flushing;
    struct buf received; /* pieces of one message */
    struct message *first, *last;
    size_t queued;
};

struct links {
    struct worker *worker;
    struct resolver *resolver;
    const struct link_target *targets;
    size_t target_count;
    struct lws_context *context;
    struct lws_vhost **vhosts;
    struct list open;
    size_t count;
    struct timer poll;
    void (*closed)(void *arg);
    void *closed_arg;
};

/* No pings and no hang-ups of libwebsockets' own: WhatsApp has its keepalive. Without a time to
 * hang up at, a connection gets no timer at all; the longest there is ends it after 18 hours. */
static const lws_retry_bo_t no_policy = {.secs_since_valid_ping = 0xffff};

/* ---- the end ---- */

static void drop_queue(struct link *k)
{
    while (k->first) {
        struct message *m = k->first;
        k->first = m->next;
        free(m);
    }
    k->last = NULL;
    k->queued = 0;
}

static void on_ending(struct deferred *d)
{
    struct link *k = CONTAINER_OF(d, struct link, ending);
    struct links *l = k->links;
    struct link_owner owner = k->owner;
    char why[160];

    snprintf(why, sizeof why, "%s%s%s", k->why ? k->why : "closed by the peer",
             k->words[0] ? ": " : "", k->words);
    list_remove(&k->node);
    l->count--;
    worker_undefer(&k->tidying);
    worker_undefer(&k->flushing);
    timer_disarm(l->worker, &k->deadline);
    drop_queue(k);
    buf_done(&k->received);
    free(k);
    owner.on_down(owner.context, why);
}

static void end(struct link *k, const char *why)
{
    if (k->state == LINK_ENDED) return;
    if (!k->why) k->why = why;
    k->state = LINK_ENDED;
    worker_defer(k->links->worker, &k->ending);
}

/* Takes the connection down now; WSI_DESTROY follows, here or from the loop. */
static void kill_wsi(struct link *k)
{
    if (k->in_callback || !k->wsi) return; /* the callback returns -1 instead */
    lws_set_timeout(k->wsi, PENDING_TIMEOUT_USER_OK, LWS_TO_KILL_SYNC);
}

static void give_up(struct link *k, const char *why)
{
    if (!k->why) k->why = why;
    if (k->lookup) lookup_abandon(k->lookup);
    k->lookup = NULL;
    if (k->wsi) {
        k->state = LINK_CLOSING;
        kill_wsi(k);
    } else {
        end(k, why);
    }
}

static void on_connect_deadline(struct link *k, int64_t now)
{
    int64_t left = k->until - worker_ticks(k->links->worker);

    if (k->address == k->found.count || left <= 0) {
        give_up(k, "no WebSocket in time");
        return;
    }
    timer_arm(k->links->worker, &k->deadline, now + left);
    kill_wsi(k); /* on_destroyed() tries the next address */
}

static void on_deadline(struct timer *t, int64_t now)
{
    struct link *k = CONTAINER_OF(t, struct link, deadline);

    switch (k->state) {
    case LINK_RESOLVING: give_up(k, "the name was not resolved in time"); return;
    case LINK_CONNECTING: on_connect_deadline(k, now); return;
    default: give_up(k, "closed");
    }
}

/* ---- connecting ---- */

/* An address that swallows every packet must not use up the time of those behind it. */
static void arm_share(struct link *k)
{
    struct worker *w = k->links->worker;
    int64_t addresses = (int64_t)(k->found.count - k->address + 1);

    timer_arm(w, &k->deadline, worker_now(w) + (k->until - worker_ticks(w)) / addresses);
}

static void connect_next(struct link *k)
{
    struct links *l = k->links;
    const struct link_target *to = &l->targets[k->target];
    char host[LINK_HOST_MAX + 16];
    bool usual = to->port == (to->tls ? 443 : 80), six = strchr(to->host, ':') != NULL;
    struct lws_client_connect_info info = {
        .context = l->context,
        .vhost = l->vhosts[k->target],
        .address = k->found.addresses[k->address++],
        .port = to->port,
        .path = to->path,
        .host = host,
        .origin = "https://web.whatsapp.com",
        .local_protocol_name = "link",
        .alpn = "http/1.1",
        .ssl_connection = to->tls ? LCCSCF_USE_SSL : 0,
        .opaque_user_data = k,
        .retry_and_idle_policy = &no_policy,
        .pwsi = &k->wsi,
    };

    snprintf(host, sizeof host, six ? "[%s]" : "%s", to->host);
    if (!usual) snprintf(host + strlen(host), 8, ":%u", to->port);
    k->state = LINK_CONNECTING;
    arm_share(k);
    k->in_callback = true; /* errors may call back from inside */
    if (!lws_client_connect_via_info(&info)) k->wsi = NULL;
    k->in_callback = false;
    if (k->wsi) return;
    if (k->address < k->found.count)
        connect_next(k);
    else
        end(k, "cannot connect");
}

static void on_resolved(void *owner, const struct resolved *found)
{
    struct link *k = owner;

    k->lookup = NULL;
    k->found = *found;
    if (!found->count) {
        snprintf(k->words, sizeof k->words, "%s", found->why);
        end(k, "the name was not found");
        return;
    }
    connect_next(k);
}

struct link *link_open(struct links *l, size_t target, const struct link_owner *owner)
{
    struct link *k = xcalloc(sizeof *k);

    k->links = l;
    k->owner = *owner;
    k->target = target;
    k->ending.run = on_ending;
    k->deadline.fire = on_deadline;
    list_push(&l->open, &k->node);
    l->count++;
    k->until = worker_ticks(l->worker) + LINK_CONNECT_MS;
    timer_arm(l->worker, &k->deadline, worker_now(l->worker) + LINK_CONNECT_MS);
    if (l->closed)
        end(k, "shutting down");
    else
        k->lookup = lookup_start(l->resolver, l->worker, l->targets[target].host, on_resolved, k);
    return k;
}

/* ---- reading and writing ---- */

/* TLS keeps 32 KB of buffers per connection unless they are given back while it is idle. */
static void on_tidying(struct deferred *d)
{
    struct link *k = CONTAINER_OF(d, struct link, tidying);
    SSL *ssl = k->wsi ? lws_get_ssl(k->wsi) : NULL;

    if (ssl) SSL_free_buffers(ssl);
}

static void tidy_later(struct link *k)
{
    k->tidying.run = on_tidying;
    if (k->links->targets[k->target].tls) worker_defer(k->links->worker, &k->tidying);
}

static int on_established(struct link *k)
{
    timer_disarm(k->links->worker, &k->deadline);
    k->state = LINK_OPEN;
    tidy_later(k);
    k->owner.on_up(k->owner.context);
    return 0;
}

static void hand_on(struct link *k, struct slice bytes)
{
    if (k->state == LINK_OPEN) k->owner.on_data(k->owner.context, bytes);
}

static int on_receive(struct link *k, struct slice piece)
{
    bool whole = lws_is_final_fragment(k->wsi) && !lws_remaining_packet_payload(k->wsi);

    tidy_later(k);
    if (whole && !k->received.len) {
        hand_on(k, piece);
    } else {
        buf_put(&k->received, piece);
        if (!whole && k->received.len < LINK_WHOLE_MAX) return 0;
        struct buf message = buf_take(&k->received);
        hand_on(k, buf_slice(&message));
        buf_done(&message);
    }
    return 0;
}

/* Writes until libwebsockets holds something that the kernel did not take: it keeps the rest and
 * never writes less. False: the connection is broken. */
static bool write_queue(struct link *k)
{
    while (k->first && !lws_partial_buffered(k->wsi)) {
        struct message *m = k->first;

        k->first = m->next;
        if (!k->first) k->last = NULL;
        k->queued -= m->len;
        int n = lws_write(k->wsi, m->bytes + LWS_PRE, m->len, LWS_WRITE_BINARY);
        size_t len = m->len;
        free(m);
        if (n < (int)len) return false;
    }
    tidy_later(k);
    if (k->first) lws_callback_on_writable(k->wsi);
    return true;
}

static int on_writable(struct link *k)
{
    if (!write_queue(k)) return -1;
    if (!k->first && k->state == LINK_CLOSING) {
        lws_close_reason(k->wsi, LWS_CLOSE_STATUS_NORMAL, NULL, 0);
        return -1;
    }
    return 0;
}

static int on_destroyed(struct link *k)
{
    bool never_up = k->state == LINK_CONNECTING;

    k->wsi = NULL;
    if (never_up && k->address < k->found.count && !k->in_callback)
        connect_next(k);
    else if (!k->in_callback || !never_up)
        end(k, never_up ? "cannot connect" : "closed by the peer");
    return 0;
}

/* libwebsockets says "reason(1)" of a certificate; OpenSSL knows what is wrong with it. */
static void note_connect_error(struct link *k, struct lws *wsi, struct slice said)
{
    SSL *ssl = lws_get_ssl(wsi);
    long verdict = ssl ? SSL_get_verify_result(ssl) : X509_V_OK;

    if (verdict != X509_V_OK)
        snprintf(k->words, sizeof k->words, LINK_CERTIFICATE "%s",
                 X509_verify_cert_error_string(verdict));
    else if (said.data)
        snprintf(k->words, sizeof k->words, SLICE_FMT, SLICE_ARG(said));
}

static int on_lws(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in,
                  size_t len)
{
    struct link *k = wsi ? lws_get_opaque_user_data(wsi) : NULL;
    int result = 0;

    if (!k) return 0;
    if (reason == LWS_CALLBACK_WSI_DESTROY) return on_destroyed(k);
    bool outer = k->in_callback;
    k->in_callback = true;
    switch (reason) {
    case LWS_CALLBACK_CLIENT_ESTABLISHED: result = on_established(k); break;
    case LWS_CALLBACK_CLIENT_RECEIVE: result = on_receive(k, slice_of(in, len)); break;
    case LWS_CALLBACK_CLIENT_WRITEABLE: result = on_writable(k); break;
    case LWS_CALLBACK_CLIENT_CONNECTION_ERROR: note_connect_error(k, wsi, slice_of(in, len)); break;
    default: break;
    }
    k->in_callback = outer;
    /* Closing with something left to write waits for on_writable, or for the deadline. */
    if (k->state == LINK_CLOSING && !k->first) result = -1;
    return result;
}

/* Straight to the socket, which takes it nearly always: to be called back as writable costs six
 * system calls a message. Not while libwebsockets closes: then it says when. */
static void on_flushing(struct deferred *d)
{
    struct link *k = CONTAINER_OF(d, struct link, flushing);

    if (!k->wsi || !k->first) return;
    if (k->state == LINK_OPEN && !write_queue(k)) give_up(k, "the connection broke");
}

void link_write(struct link *k, struct slice bytes)
{
    if (k->state != LINK_OPEN || !bytes.len) return;
    if (k->queued + bytes.len > LINK_QUEUE_MAX) {
        drop_queue(k);
        link_close(k, "the peer does not read");
        return;
    }
    struct message *m = xalloc(sizeof *m + LWS_PRE + bytes.len);
    m->next = NULL;
    m->len = bytes.len;
    memcpy(m->bytes + LWS_PRE, bytes.data, bytes.len);
    if (k->last)
        k->last->next = m;
    else
        k->first = m;
    k->last = m;
    k->queued += bytes.len;
    k->flushing.run = on_flushing;
    worker_defer(k->links->worker, &k->flushing);
}

void link_close(struct link *k, const char *why)
{
    if (k->state == LINK_CLOSING || k->state == LINK_ENDED) return;
    if (k->state != LINK_OPEN) {
        give_up(k, why);
        return;
    }
    if (!k->why) k->why = why;
    k->state = LINK_CLOSING;
    link_resume(k); /* the peer's goodbye must be read */
    lws_callback_on_writable(k->wsi);
    timer_arm(k->links->worker, &k->deadline, worker_now(k->links->worker) + LINK_CLOSE_MS);
}

void link_pause(struct link *k)
{
    if (k->state != LINK_OPEN || k->paused) return;
    k->paused = true;
    lws_rx_flow_control(k->wsi, 0);
}

void link_resume(struct link *k)
{
    if (!k->paused || !k->wsi) return;
    k->paused = false;
    lws_rx_flow_control(k->wsi, 1);
}

size_t link_queued(const struct link *k) { return k->queued; }

/* ---- all links of a worker ---- */

static const struct lws_protocols protocols[] = {
    {.name = "link",
     .callback = on_lws,
     .rx_buffer_size = LINK_RX_BYTES,
     .tx_packet_size = LINK_TX_BYTES},
    {0},
};

static void log_lws(int level, const char *line)
{
    LOG(DEBUG, NULL, "libwebsockets: %.*s", (int)strcspn(line, "\n"), line);
}

static err_t make_vhost(struct links *l, size_t i)
{
    char name[32];
    struct lws_context_creation_info info = {
        .port = CONTEXT_PORT_NO_LISTEN,
        .protocols = protocols,
        .vhost_name = name,
        .options = LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT | LWS_SERVER_OPTION_JUST_USE_RAW_ORIGIN,
        .provided_client_ssl_ctx = l->targets[i].tls_context,
        .retry_and_idle_policy = &no_policy,
        .timeout_secs = 2 * LINK_CONNECT_MS / 1000, /* ours come first */
        .connect_timeout_secs = 2 * LINK_CONNECT_MS / 1000,
    };

    snprintf(name, sizeof name, "target%zu", i);
    l->vhosts[i] = lws_create_vhost(l->context, &info);
    if (!l->vhosts[i]) return fail(SYSTEM, "libwebsockets makes no vhost");
    return OK;
}

err_t links_new(struct worker *w, struct resolver *resolver, const struct link_target *targets,
                size_t count, struct links **out)
{
    void *loops[] = {worker_loop(w)};
    struct lws_context_creation_info info = {
        .port = CONTEXT_PORT_NO_LISTEN,
        .options = LWS_SERVER_OPTION_LIBUV | LWS_SERVER_OPTION_EXPLICIT_VHOSTS |
                   LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT | LWS_SERVER_OPTION_JUST_USE_RAW_ORIGIN,
        .foreign_loops = loops,
        .retry_and_idle_policy = &no_policy,
        .timeout_secs = 2 * LINK_CONNECT_MS / 1000,
        .connect_timeout_secs = 2 * LINK_CONNECT_MS / 1000,
        .gid = -1,
        .uid = -1,
    };

    struct links *l = xcalloc(sizeof *l);
    l->worker = w;
    l->resolver = resolver;
    l->targets = targets;
    l->target_count = count;
    l->vhosts = xcalloc(count * sizeof(struct lws_vhost *));
    list_init(&l->open);
    lws_set_log_level(LLL_ERR | LLL_WARN, log_lws);
    info.pcontext = &l->context;
    l->context = lws_create_context(&info);
    if (!l->context) {
        links_free(l);
        return fail(SYSTEM, "libwebsockets does not start (is libwebsockets-evlib-uv there?)");
    }
    for (size_t i = 0; i < count; i++)
        TRY(make_vhost(l, i));
    *out = l;
    return OK;
}

static void count_closing(uv_handle_t *handle, void *arg)
{
    *(unsigned *)arg += uv_is_closing(handle) != 0;
}

/* libwebsockets leaves a foreign loop in two steps: it closes its handles, the loop runs until
 * they are gone, it frees itself, and the loop runs once more. */
static void on_poll(struct timer *t, int64_t now)
{
    struct links *l = CONTAINER_OF(t, struct links, poll);
    unsigned closing = 0;

    uv_walk(worker_loop(l->worker), count_closing, &closing);
    if (l->count == 0 && closing == 0 && l->context) {
        lws_context_destroy(l->context); /* the last step makes it NULL */
    } else if (l->count == 0 && closing == 0) {
        l->closed(l->closed_arg);
        return;
    }
    timer_arm(l->worker, &l->poll, now + 2);
}

void links_close(struct links *l, void (*done)(void *arg), void *arg)
{
    l->closed = done;
    l->closed_arg = arg;
    LIST_EACH(node, &l->open) link_close(LIST_ENTRY(node, struct link, node), "shutting down");
    l->poll.fire = on_poll;
    timer_arm(l->worker, &l->poll, worker_now(l->worker));
}

void links_free(struct links *l)
{
    if (!l) return;
    free(l->vhosts);
    free(l);
}

size_t links_count(const struct links *l) { return l->count; }

/* ---- targets ---- */

err_t link_target_open(struct link_target *t)
{
    bool own_ca = t->ca_file && t->ca_file[0];
    SSL_CTX *c = SSL_CTX_new(TLS_client_method());

    if (!c) return fail(SYSTEM, "OpenSSL makes no context");
    t->tls_context = c;
    SSL_CTX_set_min_proto_version(c, TLS1_2_VERSION);
    SSL_CTX_set_verify(c, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_session_cache_mode(c, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_mode(c, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                            SSL_MODE_RELEASE_BUFFERS);
    if (own_ca && SSL_CTX_load_verify_locations(c, t->ca_file, NULL) != 1)
        return fail(BAD_ARGUMENT,
                    "%s is not a readable PEM file of authorities (--wa-ca, --sandbox-ca)",
                    t->ca_file);
    if (!own_ca) SSL_CTX_set_default_verify_paths(c);
    return OK;
}

void link_target_close(struct link_target *t)
{
    SSL_CTX_free(t->tls_context);
    t->tls_context = NULL;
}

err_t link_target_parse(const char *url, const char *ca_file, struct link_target *out)
{
    struct link_target t = {.tls = strncmp(url, "wss://", 6) == 0, .ca_file = ca_file};
    const char *host = strstr(url, "://"), *end;
    uint64_t port;

    if (!host || (!t.tls && strncmp(url, "ws://", 5) != 0))
        return fail(BAD_ARGUMENT, "'%s' is not a ws:// or wss:// address", url);
    host += 3;
    t.port = t.tls ? 443 : 80;
    bool six = host[0] == '[';
    host += six;
    end = host + strcspn(host, six ? "]/" : ":/");
    if (end == host || (size_t)(end - host) >= sizeof t.host || (six && *end != ']'))
        return fail(BAD_ARGUMENT, "'%s' has no host", url);
    memcpy(t.host, host, (size_t)(end - host));
    end += six;
    if (*end == ':') {
        size_t digits = strcspn(end + 1, "/");
        if (text_u64(slice_of(end + 1, digits), &port) != OK || port < 1 || port > 65535)
            return fail(BAD_ARGUMENT, "'%s' has a bad port", url);
        t.port = (uint16_t)port;
        end += 1 + digits;
    }
    if (*end && *end != '/') return fail(BAD_ARGUMENT, "'%s' is malformed", url);
    if (strlen(end) >= sizeof t.path) return fail(BAD_ARGUMENT, "'%s' is too long", url);
    snprintf(t.path, sizeof t.path, "%s", *end ? end : "/");
    *out = t;
    return OK;
}
