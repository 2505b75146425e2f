/* From method and path to a handler; Host and Origin are checked before any route. */
#include <stdio.h>
#include <strings.h>

#include "server/http/conn.h"

/* "name", "name:port", "[::1]:port" -> the name alone. */
static struct slice host_name(struct slice host)
{
    if (host.len && host.data[0] == '[') {
        size_t end = slice_find(host, ']');
        return slice_sub(host, 0, end + 1);
    }
    return slice_sub(host, 0, slice_find(host, ':'));
}

/* What stands behind the name is nothing or a port. */
static bool has_name(struct slice host, struct slice name)
{
    struct slice port = slice_from(host, name.len);

    if (!port.len) return true;
    if (port.data[0] != ':') return false;
    for (size_t i = 1; i < port.len; i++)
        if (port.data[i] < '0' || port.data[i] > '9') return false;
    return true;
}

static bool same_name(struct slice a, struct slice b)
{
    return a.len == b.len && strncasecmp((const char *)a.data, (const char *)b.data, a.len) == 0;
}

static bool is_text(struct slice s, const char *text) { return same_name(s, slice_text(text)); }

static bool has_prefix(struct slice s, const char *prefix)
{
    return s.len >= strlen(prefix) && !strncasecmp((const char *)s.data, prefix, strlen(prefix));
}

static bool is_loopback_name(struct slice name)
{
    static const char *const names[] = {"localhost", "127.0.0.1", "[::1]"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (is_text(name, names[i])) return true;
    return false;
}

/* https://parley.example.org:8443 -> parley.example.org:8443 */
static struct slice url_host(struct slice url)
{
    size_t at = slice_find(url, ':');

    return at + 3 < url.len ? slice_from(url, at + 3) : SLICE("");
}

static bool in_list(const char *const *list, struct slice s)
{
    for (size_t i = 0; list && list[i]; i++)
        if (is_text(s, list[i])) return true;
    return false;
}

/* A name that resolves to us from a foreign page (DNS rebinding) is not one of ours. */
static bool host_is_ours(const struct http_config *config, struct slice host)
{
    struct slice name = host_name(host);

    if (!has_name(host, name)) return false;
    return is_loopback_name(name) || in_list(config->hosts, name) ||
           (config->public_url && name.len &&
            same_name(name, host_name(url_host(slice_text(config->public_url)))));
}

static bool host_is_allowed(const struct http_config *config, struct slice host)
{
    return host_is_ours(config, host) || in_list(config->hosts, host);
}

static bool origin_is_allowed(const struct http_config *config, struct slice origin)
{
    bool is_url = has_prefix(origin, "http://") || has_prefix(origin, "https://");

    return in_list(config->origins, origin) || (is_url && host_is_ours(config, url_host(origin)));
}

/* Headers of which there is one, or two parties read two different ones. */
static const char *twice(const struct request *r)
{
    static const char *const once[] = {"host", "origin", "authorization"};

    for (size_t k = 0; k < ARRAY_LEN(once); k++) {
        unsigned n = 0;
        for (size_t i = 0; i < r->header_count; i++)
            n += is_text(r->headers[i].name, once[k]);
        if (n > 1) return once[k];
    }
    return NULL;
}

static bool check_names(struct http_server *s, struct request *r)
{
    struct slice host = request_header(r, "host"), origin = request_header(r, "origin");
    bool keep_alive = r->conn->keep_alive;

    if (r->is_operator) return true;
    r->conn->keep_alive = false; /* who is refused here has nothing more to say */
    if (twice(r)) {
        reply_problem(r, 400, "invalid_request", "the header %s stands twice", twice(r));
        return false;
    }
    if (slice_is_none(host) && r->conn->parser.http_minor > 0) {
        reply_problem(r, 400, "invalid_request", "the Host header is missing");
        return false;
    }
    if (!slice_is_none(host) && !host_is_allowed(&s->config, host)) {
        reply_problem(r, 403, "forbidden",
                      "this Host is not served here; allow it with --host NAME");
        return false;
    }
    if (!slice_is_none(origin) && !origin_is_allowed(&s->config, origin)) {
        reply_problem(r, 403, "forbidden",
                      "this Origin is not allowed; allow it with --origin ORIGIN");
        return false;
    }
    r->conn->keep_alive = keep_alive;
    return true;
}

static bool is_of_proxy(struct slice header)
{
    return is_text(header, "forwarded") || is_text(header, "via") || is_text(header, "x-real-ip") ||
           has_prefix(header, "x-forwarded-");
}

/* A person's browser. What runs as our own user is that as well, unless we were told of another
 * name: then there is a proxy, which may run as this user. */
static bool peer_is_person(const struct request *r)
{
    const struct http_config *config = &r->conn->home->server->config;
    bool has_url = config->public_url && config->public_url[0];
    bool has_names = has_url || (config->hosts && config->hosts[0]);
    enum peer_kind kind = peer_kind(r->conn);

    return kind == PEER_PERSON || (kind == PEER_SAME_USER && !has_names);
}

/* HTTP/1.0 is what nginx speaks to a server unless it is told otherwise; browsers and curl do not.
 */
bool request_is_local(const struct request *r)
{
    if (r->is_operator) return true;
    if (!r->peer_is_loopback || r->conn->parser.http_minor == 0) return false;
    for (size_t i = 0; i < r->header_count; i++)
        if (is_of_proxy(r->headers[i].name)) return false;
    return is_loopback_name(host_name(request_header(r, "host"))) && peer_is_person(r);
}

/* Compares segment by segment; {name} matches one non-empty segment. */
static bool path_matches(const char *pattern, struct request *r)
{
    struct slice want = slice_text(pattern), have = r->path, a, b;
    size_t n = 0;

    for (;;) {
        bool more_want = slice_split(&want, '/', &a), more_have = slice_split(&have, '/', &b);
        if (!more_want || !more_have) {
            if (more_want != more_have) return false;
            r->param_count = n;
            return true;
        }
        if (a.len && a.data[0] == '{') {
            if (!b.len || n == ARRAY_LEN(r->params)) return false;
            r->params[n++] = b;
        } else if (!slice_eq(a, b)) {
            return false;
        }
    }
}

static void allow_add(struct buf *allow, const char *method)
{
    if (strcmp(method, "*") == 0) return;
    if (allow->len) buf_put_text(allow, ", ");
    buf_put_text(allow, method);
    if (strcmp(method, "GET") == 0) buf_put_text(allow, ", HEAD");
}

static const struct route *find_route(struct http_server *s, struct request *r, struct buf *allow)
{
    struct slice method = slice_is(r->method, "HEAD") ? SLICE("GET") : r->method;

    for (const struct route *const *table = s->config.tables; *table; table++) {
        for (const struct route *route = *table; route->path; route++) {
            if (!path_matches(route->path, r)) continue;
            if (slice_is(method, route->method) || strcmp(route->method, "*") == 0) return route;
            allow_add(allow, route->method);
        }
    }
    return NULL;
}

void router_dispatch(struct http_server *s, struct request *r)
{
    AUTO(buf) allow = {0};

    if (!check_names(s, r)) return; /* answered */
    const struct route *route = find_route(s, r, &allow);
    if (route) {
        route->handle(r);
        return;
    }
    if (!allow.len) {
        reply_problem(
            r, 404, "not_found",
            "there is nothing at this path; GET /openapi.json lists those of REST, MCP is "
            "at /mcp");
        return;
    }
    buf_put_text(&allow, ", OPTIONS");
    reply_header(r, "Allow", buf_slice(&allow));
    if (slice_is(r->method, "OPTIONS")) {
        reply_empty(r, 204);
        return;
    }
    reply_problem(r, 405, "method_not_allowed", "this path takes " SLICE_FMT, (int)allow.len,
                  (const char *)allow.data);
}
