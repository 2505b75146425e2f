/* A request's life and what handlers read of it. */
#include <stdlib.h>
#include <strings.h>

#include "server/http/conn.h"

struct request *request_new(struct conn *c)
{
    struct request *r = xcalloc(sizeof(*r));

    r->conn = c;
    r->worker = c->home->worker;
    r->id = ++c->home->next_id;
    r->peer = slice_text(c->peer);
    r->peer_is_loopback = c->peer_is_loopback;
    r->is_operator = c->is_operator;
    map_put(&c->home->requests, slice_of(&r->id, sizeof(r->id)), r);
    return r;
}

void request_free(struct request *r)
{
    r->conn->home->body_bytes -= r->body_counted;
    map_remove(&r->conn->home->requests, slice_of(&r->id, sizeof(r->id)));
    buf_done(&r->extra_headers);
    arena_done(&r->arena);
    free(r);
}

/* ---- what handlers read ---- */

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9') return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

enum decoding { OF_PATH, OF_QUERY };

static struct slice decode(struct arena *a, struct slice s, enum decoding of)
{
    uint8_t *out = arena_alloc(a, s.len + 1);
    size_t n = 0;

    for (size_t i = 0; i < s.len; i++) {
        int hi = -1, lo = -1;
        if (s.data[i] == '%' && i + 2 < s.len) {
            hi = hex_digit(s.data[i + 1]);
            lo = hex_digit(s.data[i + 2]);
        }
        if (of == OF_PATH && hi == 2 && lo == 15) hi = -1; /* %2F */
        if (hi >= 0 && lo >= 0) {
            out[n++] = (uint8_t)(hi << 4 | lo);
            i += 2;
        } else {
            out[n++] = of == OF_QUERY && s.data[i] == '+' ? ' ' : s.data[i];
        }
    }
    return slice_of(out, n);
}

struct slice request_decode_path(struct arena *a, struct slice s) { return decode(a, s, OF_PATH); }

struct slice request_header(const struct request *r, const char *name)
{
    size_t n = strlen(name);
    for (size_t i = 0; i < r->header_count; i++)
        if (r->headers[i].name.len == n &&
            strncasecmp((const char *)r->headers[i].name.data, name, n) == 0)
            return r->headers[i].value;
    return SLICE_NONE;
}

struct slice request_query(struct request *r, const char *name)
{
    struct slice rest = r->query, pair;
    while (slice_split(&rest, '&', &pair)) {
        size_t equals = slice_find(pair, '=');
        struct slice key = decode(&r->arena, slice_sub(pair, 0, equals), OF_QUERY);
        if (slice_is(key, name)) return decode(&r->arena, slice_from(pair, equals + 1), OF_QUERY);
    }
    return SLICE_NONE;
}
