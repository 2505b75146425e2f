/* Listening on main, handing each connection to the worker with the fewest.
 *
 * No SO_REUSEPORT: a second server would share the port in silence. The file descriptor travels
 * in a post; the connection is built on the worker that keeps it. */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "server/http/conn.h"
#include "server/log.h"

enum { BACKLOG = 1024, ACCEPT_PER_TURN = 64, ACCEPT_PAUSE_MS = 100 };

struct listener {
    uv_poll_t poll;
    struct http_server *server;
    int fd, spare; /* spare: a descriptor to give up, so that a full table can still refuse */
    bool is_operator;
    struct timer pause;
};

struct handover {
    struct post post;
    struct http_worker *home;
    int fd;
    bool is_operator;
};

static _Thread_local struct http_worker *mine;

/* ---- workers ---- */

static void on_handover(struct post *p, struct worker *w)
{
    struct handover *h = CONTAINER_OF(p, struct handover, post);

    mine = h->home;
    conn_open(h->home, h->fd, h->is_operator);
    free(h);
}

static void worker_part_closed(struct http_worker *home)
{
    struct http_server *s = home->server;

    if (atomic_fetch_sub(&s->workers_left, 1) == 1) worker_post(s->main, &s->closed_post);
}

void http_conn_gone(struct http_worker *home)
{
    atomic_fetch_sub(&home->server->conn_total, 1);
    if (atomic_fetch_sub(&home->conn_count, 1) == 1 && home->closing) worker_part_closed(home);
}

struct request *request_find(struct worker *w, uint64_t id)
{
    return mine ? map_find(&mine->requests, slice_of(&id, sizeof(id))) : NULL;
}

void *http_context(const struct request *r) { return r->conn->home->server->config.context; }
size_t http_connections(const struct http_server *s)
{
    return atomic_load(&((struct http_server *)(uintptr_t)s)->conn_total);
}
size_t http_streams(const struct http_server *s)
{
    return atomic_load(&((struct http_server *)(uintptr_t)s)->stream_total);
}

/* ---- accepting ---- */

static void hand_over(struct http_server *s, int fd, bool is_operator)
{
    struct http_worker *best = &s->workers[0];
    struct handover *h = xcalloc(sizeof(*h));

    for (size_t i = 1; i < s->worker_count; i++)
        if (atomic_load(&s->workers[i].conn_count) < atomic_load(&best->conn_count))
            best = &s->workers[i];
    atomic_fetch_add(&best->conn_count, 1);
    *h = (struct handover){
        .post.run = on_handover, .home = best, .fd = fd, .is_operator = is_operator};
    worker_post(best->worker, &h->post);
}

static void refuse_at_limit(int fd)
{
    static const char body[] = "{\"code\":\"server_busy\",\"message\":\"too many connections; try "
                               "again\"}";
    char answer[300];
    int n = snprintf(answer, sizeof(answer),
                     "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n"
                     "Content-Length: %zu\r\nConnection: close\r\nRetry-After: 5\r\n\r\n%s",
                     sizeof(body) - 1, body);

    if (write(fd, answer, (size_t)n) < 0) errno = 0;
    close(fd);
}

static void on_acceptable(uv_poll_t *poll, int status, int events);

static void resume_accept(struct timer *t, int64_t now)
{
    struct listener *l = CONTAINER_OF(t, struct listener, pause);
    uv_poll_start(&l->poll, UV_READABLE, on_acceptable);
}

/* The table of descriptors is full: one waiting peer is refused with the spare, and accepting
 * rests for a moment, because the socket stays readable. */
static void on_no_descriptor(struct listener *l)
{
    struct worker *w = l->server->main;

    if (l->spare >= 0) close(l->spare);
    int fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC);
    if (fd >= 0) close(fd);
    l->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
    LOG(WARN, NULL, "out of file descriptors; raise the limit (ulimit -n)");
    uv_poll_stop(&l->poll);
    l->pause.fire = resume_accept;
    timer_arm(w, &l->pause, worker_now(w) + ACCEPT_PAUSE_MS);
}

static void on_acceptable(uv_poll_t *poll, int status, int events)
{
    struct listener *l = poll->data;
    struct http_server *s = l->server;

    for (int i = 0; i < ACCEPT_PER_TURN; i++) {
        int fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0) {
            if (errno == EMFILE || errno == ENFILE) on_no_descriptor(l);
            return;
        }
        if (atomic_fetch_add(&s->conn_total, 1) >= s->config.connections_max && !l->is_operator) {
            atomic_fetch_sub(&s->conn_total, 1);
            refuse_at_limit(fd);
            continue;
        }
        hand_over(s, fd, l->is_operator);
    }
}

static void listener_start(struct http_server *s, int slot, int fd, bool is_operator)
{
    struct listener *l = xcalloc(sizeof(*l));

    l->server = s;
    l->fd = fd;
    l->is_operator = is_operator;
    l->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
    uv_poll_init(worker_loop(s->main), &l->poll, fd);
    l->poll.data = l;
    uv_poll_start(&l->poll, UV_READABLE, on_acceptable);
    s->listeners[slot] = l;
}

static void on_listener_closed(uv_handle_t *handle)
{
    struct listener *l = handle->data;

    close(l->fd);
    if (l->spare >= 0) close(l->spare);
    free(l);
}

/* ---- binding ---- */

static err_t busy_error(const char *listen, int port)
{
    char who[128];

    if (http_find_listener(port, who, sizeof(who)))
        return fail(BAD_ARGUMENT,
                    "%s is in use (by pid %s). Stop it, or choose another with"
                    " --listen.",
                    listen, who);
    return fail(BAD_ARGUMENT, "%s is in use. Stop who uses it, or choose another with --listen.",
                listen);
}

static err_t resolve_listen(const char *listen_at, struct addrinfo **out, int *out_port)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    char host[256];
    const char *colon = strrchr(listen_at, ':');

    if (!colon || colon == listen_at || (size_t)(colon - listen_at) >= sizeof(host))
        return fail(BAD_ARGUMENT, "--listen wants HOST:PORT, got \"%s\"", listen_at);
    bool bracketed = listen_at[0] == '[' && colon[-1] == ']';
    snprintf(host, sizeof(host), "%.*s", (int)(colon - listen_at) - (bracketed ? 2 : 0),
             listen_at + (bracketed ? 1 : 0));
    *out_port = atoi(colon + 1);
    int e = getaddrinfo(host, colon + 1, &hints, out);
    if (e) return fail(BAD_ARGUMENT, "--listen %s: %s", listen_at, gai_strerror(e));
    return OK;
}

static err_t bind_tcp(const char *listen_at, int *out_fd)
{
    struct addrinfo *info;
    int port, one = 1;

    TRY(resolve_listen(listen_at, &info, &port));
    int fd = socket(info->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    int e = fd < 0 || bind(fd, info->ai_addr, info->ai_addrlen) || listen(fd, BACKLOG) ? errno : 0;
    freeaddrinfo(info);
    if (!e) {
        *out_fd = fd;
        return OK;
    }
    if (fd >= 0) close(fd);
    if (e == EADDRINUSE) return busy_error(listen_at, port);
    return fail(BAD_ARGUMENT, "cannot listen on %s: %s. Choose another with --listen.", listen_at,
                strerror(e));
}

/* The data folder is locked by us, so a socket that lies there is a leftover. */
static err_t bind_operator(const char *path, int *out_fd)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    if (strlen(path) >= sizeof(address.sun_path))
        return fail(BAD_ARGUMENT, "the path of the data folder is too long for a socket: %s", path);
    memcpy(address.sun_path, path, strlen(path) + 1);
    unlink(path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    mode_t before = umask(0177);
    int e = fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) || listen(fd, BACKLOG)
                ? errno
                : 0;
    umask(before);
    if (e) {
        if (fd >= 0) close(fd);
        return fail(SYSTEM, "cannot open the operator socket %s: %s", path, strerror(e));
    }
    *out_fd = fd;
    return OK;
}

/* ---- life ---- */

static void on_all_closed(struct post *p, struct worker *w)
{
    struct http_server *s = CONTAINER_OF(p, struct http_server, closed_post);
    s->closed(s->closed_arg);
}

err_t http_open(const struct http_config *config, struct worker *main_worker,
                struct worker *const *workers, size_t worker_count, struct http_server **out)
{
    int tcp, operator_fd = -1;

    TRY(bind_tcp(config->listen, &tcp));
    if (config->operator_socket) {
        err_t e = bind_operator(config->operator_socket, &operator_fd);
        if (e != OK) {
            close(tcp);
            return e;
        }
    }
    struct http_server *s = xcalloc(sizeof(*s));
    s->config = *config;
    if (!s->config.connections_max) s->config.connections_max = HTTP_CONNECTIONS_MAX;
    if (!s->config.bodies_max) s->config.bodies_max = HTTP_BODIES_MAX;
    s->main = main_worker;
    s->worker_count = worker_count;
    s->workers = xcalloc(worker_count * sizeof(*s->workers));
    for (size_t i = 0; i < worker_count; i++) {
        struct http_worker *home = &s->workers[i];
        home->server = s;
        home->worker = workers[i];
        /* Ids are unique in the process: the worker's number sits in the top bits. */
        home->next_id = (uint64_t)(i + 1) << 48;
        home->keepalive = shared_bytes_new(SLICE(": keepalive\n\n"));
        list_init(&home->conns);
        list_init(&home->greedy);
    }
    listener_start(s, 0, tcp, false);
    if (operator_fd >= 0) listener_start(s, 1, operator_fd, true);
    *out = s;
    return OK;
}

static void close_worker_part(struct post *p, struct worker *w)
{
    struct http_worker *home = CONTAINER_OF(p, struct http_worker, close_post);

    home->closing = true;
    /* A post of ours counts as one connection, so that the part ends exactly once. */
    LIST_EACH(node, &home->conns)
    {
        struct conn *c = LIST_ENTRY(node, struct conn, link);
        if (c->state == CONN_BUSY || c->unsent) {
            c->close_after = true;
            conn_arm(c);
        } else {
            conn_close(c);
        }
    }
    http_conn_gone(home);
}

void http_close(struct http_server *s, void (*done)(void *arg), void *arg)
{
    s->closed = done;
    s->closed_arg = arg;
    s->closed_post.run = on_all_closed;
    atomic_store(&s->workers_left, s->worker_count);
    for (size_t i = 0; i < ARRAY_LEN(s->listeners); i++) {
        struct listener *l = s->listeners[i];
        if (!l) continue;
        timer_disarm(s->main, &l->pause);
        uv_close((uv_handle_t *)&l->poll, on_listener_closed);
        s->listeners[i] = NULL;
    }
    if (s->config.operator_socket) unlink(s->config.operator_socket);
    for (size_t i = 0; i < s->worker_count; i++) {
        struct http_worker *home = &s->workers[i];
        atomic_fetch_add(&home->conn_count, 1);
        atomic_fetch_add(&s->conn_total, 1);
        home->close_post.run = close_worker_part;
        worker_post(home->worker, &home->close_post);
    }
}

void http_free(struct http_server *s)
{
    if (!s) return;
    for (size_t i = 0; i < s->worker_count; i++) {
        shared_bytes_unref(s->workers[i].keepalive);
        map_done(&s->workers[i].requests);
    }
    free(s->workers);
    free(s);
}

int http_port(const struct http_server *s)
{
    struct sockaddr_in6 at = {0}; /* an IPv4 address has its port at the same place */
    socklen_t n = sizeof(at);

    if (getsockname(s->listeners[0]->fd, (struct sockaddr *)&at, &n) != 0) return 0;
    return ntohs(at.sin6_port);
}

/* ---- who has the port ---- */

static unsigned long listening_inode(const char *file, int port)
{
    FILE *f = fopen(file, "re");
    char line[512];
    unsigned long inode = 0;

    while (f && !inode && fgets(line, sizeof(line), f)) {
        unsigned local_port, state;
        unsigned long n;
        if (sscanf(line, " %*d: %*[0-9A-Fa-f]:%x %*s %x %*s %*s %*s %*s %*s %lu", &local_port,
                   &state, &n) == 3 &&
            local_port == (unsigned)port && state == 0x0a)
            inode = n;
    }
    if (f) fclose(f);
    return inode;
}

static bool process_has(const char *pid, const char *want)
{
    char path[320], link[64];
    struct dirent *entry;
    bool found = false;

    snprintf(path, sizeof(path), "/proc/%.20s/fd", pid);
    DIR *fds = opendir(path);
    while (fds && !found && (entry = readdir(fds))) {
        snprintf(path, sizeof(path), "/proc/%.20s/fd/%.20s", pid, entry->d_name);
        ssize_t n = readlink(path, link, sizeof(link) - 1);
        if (n <= 0) continue;
        link[n] = '\0';
        found = strcmp(link, want) == 0;
    }
    if (fds) closedir(fds);
    return found;
}

bool http_find_listener(int port, char *out, size_t out_len)
{
    char want[64], path[64], name[64] = "?";
    struct dirent *entry;
    bool found = false;
    unsigned long inode = listening_inode("/proc/net/tcp", port);

    if (!inode) inode = listening_inode("/proc/net/tcp6", port);
    if (!inode) return false;
    snprintf(want, sizeof(want), "socket:[%lu]", inode);
    DIR *proc = opendir("/proc");
    while (proc && !found && (entry = readdir(proc))) {
        if (entry->d_name[0] < '0' || entry->d_name[0] > '9') continue;
        if (!process_has(entry->d_name, want)) continue;
        found = true;
        snprintf(path, sizeof(path), "/proc/%.20s/comm", entry->d_name);
        FILE *f = fopen(path, "re");
        if (f && fgets(name, sizeof(name), f)) name[strcspn(name, "\n")] = '\0';
        if (f) fclose(f);
        snprintf(out, out_len, "%.20s, %s", entry->d_name, name);
    }
    if (proc) closedir(proc);
    return found;
}
