/* From bytes to one request: llhttp parses, the limits are ours. What a peer does wrong is noted
 * in conn_head and answered once the parser is out of the way. */
#include <stdlib.h>
#include <strings.h>

#include "server/http/conn.h"

/* Offsets into conn.head while a request's headers arrive. */
struct conn_head {
    struct span {
        uint32_t from, to;
    } target, names[HTTP_HEADERS_MAX], values[HTTP_HEADERS_MAX];
    size_t count, trailer_bytes;
    bool in_value;
    const char *chunk_from, *chunk_to; /* the bytes being parsed now */
    const char *name_to;               /* where the last piece of a name ended */
    const char *value_to;              /* the same of a value; NULL: at the end of its chunk */
    int status;                        /* answer of a refusal, 0: none */
    const char *code, *words;
};

static int refuse(struct conn *c, int status, const char *code, const char *words)
{
    c->parse->status = status;
    c->parse->code = code;
    c->parse->words = words;
    return HPE_USER;
}

static int keep(struct conn *c, struct span *s, const char *at, size_t n)
{
    if (c->head.len + n > HTTP_HEADER_BYTES_MAX)
        return refuse(c, 431, "headers_too_large", "the request's headers are above 16 KiB");
    if (s->to == 0) s->from = s->to = (uint32_t)c->head.len;
    buf_put(&c->head, slice_of(at, n));
    s->to = (uint32_t)c->head.len;
    return 0;
}

static int on_begin(llhttp_t *p)
{
    struct conn *c = p->data;

    if (!c->parse) c->parse = xalloc(sizeof(*c->parse));
    const char *from = c->parse->chunk_from, *to = c->parse->chunk_to;
    memset(c->parse, 0, sizeof(*c->parse));
    c->parse->chunk_from = from;
    c->parse->chunk_to = to;
    buf_reset(&c->head);
    c->state = CONN_HEADERS;
    conn_arm(c);
    return 0;
}

static int on_url(llhttp_t *p, const char *at, size_t n)
{
    struct conn *c = p->data;
    if (c->head.len + n > HTTP_TARGET_MAX)
        return refuse(c, 414, "target_too_long", "the request target is above 4 KiB");
    return keep(c, &c->parse->target, at, n);
}

/* Fields behind a chunked body: nobody asked for them, and the buffer holds the body now. */
static int skip_trailer(struct conn *c, size_t n)
{
    c->parse->trailer_bytes += n;
    if (c->parse->trailer_bytes > HTTP_HEADER_BYTES_MAX)
        return refuse(c, 431, "headers_too_large", "the request's trailers are above 16 KiB");
    return 0;
}

static int on_field(llhttp_t *p, const char *at, size_t n)
{
    struct conn *c = p->data;
    struct conn_head *h = c->parse;

    if (c->request) return skip_trailer(c, n);
    if (h->in_value) {
        h->count++;
        h->in_value = false;
    }
    h->name_to = at + n;
    if (h->count == HTTP_HEADERS_MAX)
        return refuse(c, 431, "too_many_headers", "the request has more than 64 headers");
    return keep(c, &h->names[h->count], at, n);
}

static int on_value(llhttp_t *p, const char *at, size_t n)
{
    struct conn *c = p->data;
    struct conn_head *h = c->parse;

    if (c->request) return skip_trailer(c, n);
    /* A value in two pieces is a chunk boundary, or a folded line, which we refuse: proxies and
     * servers disagree about what it means (RFC 9112 5.2). */
    bool folded = h->in_value && h->values[h->count].to != h->values[h->count].from &&
                  !(at == h->chunk_from && h->value_to == NULL);
    if (n && !h->in_value && h->name_to >= h->chunk_from && h->name_to < at)
        folded = memchr(h->name_to, '\n', (size_t)(at - h->name_to)) != NULL;
    if (folded) return refuse(c, 400, "invalid_request", "a header continues on a second line");
    h->in_value = true;
    h->value_to = at + n == h->chunk_to ? NULL : at + n;
    return keep(c, &h->values[h->count], at, n);
}

static struct slice span_of(const struct request *r, struct slice head, struct span s)
{
    return slice_sub(head, s.from, s.to);
}

static bool take_scheme(struct slice *target)
{
    static const struct slice schemes[] = {SLICE("http://"), SLICE("https://")};

    for (size_t i = 0; i < ARRAY_LEN(schemes); i++) {
        size_t n = schemes[i].len;
        if (target->len < n ||
            strncasecmp((const char *)target->data, (const char *)schemes[i].data, n) != 0)
            continue;
        *target = slice_from(*target, n);
        return true;
    }
    return false;
}

/* `http://host/path` (RFC 9112 3.2.2) names its host itself, and what Host says is nothing then:
 * everybody who asks for that header gets the name in the target. Without the header it stays an
 * unknown path. Gives the rest, which begins with the path or is empty. */
static struct slice take_authority(struct request *r, struct slice target)
{
    struct slice rest = target;
    size_t slash, question, end;

    if (slice_is_none(request_header(r, "host")) || !take_scheme(&rest)) return target;
    slash = slice_find(rest, '/');
    question = slice_find(rest, '?');
    end = slash < question ? slash : question;
    for (size_t i = 0; i < r->header_count; i++)
        if (r->headers[i].name.len == 4 &&
            strncasecmp((const char *)r->headers[i].name.data, "host", 4) == 0)
            r->headers[i].value = slice_sub(rest, 0, end);
    return slice_from(rest, end);
}

static void fill_request(struct conn *c, struct request *r)
{
    struct conn_head *h = c->parse;
    struct slice head = arena_dup(&r->arena, buf_slice(&c->head));
    struct slice target, path;
    size_t question;

    if (h->in_value) h->count++;
    h->in_value = false;
    r->method = slice_text(llhttp_method_name((llhttp_method_t)c->parser.method));
    for (size_t i = 0; i < h->count; i++) {
        r->headers[i].name = span_of(r, head, h->names[i]);
        r->headers[i].value = span_of(r, head, h->values[i]);
    }
    r->header_count = h->count;
    target = take_authority(r, span_of(r, head, h->target));
    question = slice_find(target, '?');
    path = slice_sub(target, 0, question);
    r->path = request_decode_path(&r->arena, path.len ? path : SLICE("/"));
    r->query = question < target.len ? slice_from(target, question + 1) : SLICE("");
}

static bool has_nameless(const struct request *r)
{
    for (size_t i = 0; i < r->header_count; i++)
        if (!r->headers[i].name.len) return true;
    return false;
}

/* A body in a coding that we do not undo is not the body that was meant. */
static bool is_coded(const struct request *r)
{
    struct slice coding = request_header(r, "transfer-encoding");

    while (coding.len &&
           (coding.data[coding.len - 1] == ' ' || coding.data[coding.len - 1] == '\t'))
        coding.len--;
    return coding.len && (coding.len != 7 || strncasecmp((const char *)coding.data, "chunked", 7));
}

static void send_continue(struct conn *c)
{
    conn_queue(c, shared_bytes_new(SLICE("HTTP/1.1 100 Continue\r\n\r\n")));
}

static int on_headers(llhttp_t *p)
{
    struct conn *c = p->data;
    struct request *r = c->request = request_new(c);

    fill_request(c, r);
    c->head_only = p->method == HTTP_HEAD;
    if (p->method == HTTP_CONNECT)
        return refuse(c, 501, "not_implemented", "this server does not change protocols");
    p->upgrade = 0; /* an offer that need not be taken */
    if (p->http_major != 1) return refuse(c, 505, "version_not_supported", "use HTTP/1.1");
    if ((p->flags & F_CONTENT_LENGTH) && p->content_length > HTTP_BODY_MAX)
        return refuse(c, 413, "body_too_large", "the body is above 4 MiB");
    if (has_nameless(r)) return refuse(c, 400, "invalid_request", "a header has no name");
    if (is_coded(r))
        return refuse(c, 501, "not_implemented", "no transfer coding is understood but chunked");
    if (slice_is(request_header(r, "expect"), "100-continue")) send_continue(c);
    c->state = CONN_BODY;
    conn_arm(c);
    return 0;
}

static int on_body(llhttp_t *p, const char *at, size_t n)
{
    struct conn *c = p->data;
    struct buf *body = &c->head; /* the headers were copied; the buffer is free for the body */

    if (c->request->state == NULL) {
        buf_reset(body);
        c->request->state = c; /* marks that the body has begun */
    }
    if (body->len + n > HTTP_BODY_MAX)
        return refuse(c, 413, "body_too_large", "the body is above 4 MiB");
    if (c->home->body_bytes + n > c->home->server->config.bodies_max)
        return refuse(c, 503, "server_busy", "too many large requests at once; try again");
    if (buf_try_reserve(body, n) != OK)
        return refuse(c, 503, "server_busy", "there is no memory for this request; try again");
    buf_put(body, slice_of(at, n));
    c->home->body_bytes += n;
    c->request->body_counted += n;
    return 0;
}

static int on_complete(llhttp_t *p)
{
    struct conn *c = p->data;
    struct request *r = c->request;

    if (r->state) {
        r->body = arena_dup(&r->arena, buf_slice(&c->head));
        r->state = NULL;
    } else {
        r->body = SLICE("");
    }
    buf_done(&c->head);
    c->keep_alive = llhttp_should_keep_alive(p);
    c->state = CONN_BUSY;
    return HPE_PAUSED; /* the next request waits for this one's end */
}

static const llhttp_settings_t settings = {
    .on_message_begin = on_begin,
    .on_url = on_url,
    .on_header_field = on_field,
    .on_header_value = on_value,
    .on_headers_complete = on_headers,
    .on_body = on_body,
    .on_message_complete = on_complete,
};

void parse_answer_refusal(struct conn *c)
{
    struct conn_head *h = c->parse;
    struct request *r = c->request ? c->request : (c->request = request_new(c));
    int status = h && h->status ? h->status : 400;

    r->state = NULL;
    buf_reset(&c->input);
    c->keep_alive = false;
    c->state = CONN_BUSY;
    reply_problem(r, status, h && h->code ? h->code : "invalid_request", "%s",
                  h && h->words ? h->words : "the request is not well-formed HTTP");
}

void parse_init(struct conn *c)
{
    llhttp_init(&c->parser, HTTP_REQUEST, &settings);
    c->parser.data = c;
}

void parse_time_out(struct conn *c)
{
    refuse(c, 408, "request_timeout", "the request did not arrive in time");
}

bool parse_was_refused(const struct conn *c) { return c->parse && c->parse->status; }

enum parsed parse_input(struct conn *c)
{
    const char *from = (const char *)c->input.data;

    if (!c->parse) c->parse = xcalloc(sizeof(*c->parse));
    c->parse->chunk_from = from;
    c->parse->chunk_to = from + c->input.len;
    llhttp_errno_t e = llhttp_execute(&c->parser, from, c->input.len);
    if (e == HPE_OK) {
        buf_reset(&c->input);
        return PARSED_ALL;
    }
    if (e != HPE_PAUSED) return PARSED_BADLY;
    buf_drop_front(&c->input, (size_t)(llhttp_get_error_pos(&c->parser) - from));
    llhttp_resume(&c->parser);
    return PARSED_REQUEST;
}
