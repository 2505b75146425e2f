/* Answers: status line, headers, body, in one block. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "server/api/edge.h"
#include "server/http/conn.h"

static const struct {
    int status;
    const char *text;
} phrases[] = {
    {200, "OK"},
    {201, "Created"},
    {202, "Accepted"},
    {204, "No Content"},
    {302, "Found"},
    {303, "See Other"},
    {304, "Not Modified"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {406, "Not Acceptable"},
    {408, "Request Timeout"},
    {409, "Conflict"},
    {410, "Gone"},
    {411, "Length Required"},
    {413, "Content Too Large"},
    {414, "URI Too Long"},
    {415, "Unsupported Media Type"},
    {421, "Misdirected Request"},
    {422, "Unprocessable Content"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {502, "Bad Gateway"},
    {503, "Service Unavailable"},
    {504, "Gateway Timeout"},
    {505, "HTTP Version Not Supported"},
};

static const char *phrase(int status)
{
    for (size_t i = 0; i < ARRAY_LEN(phrases); i++)
        if (phrases[i].status == status) return phrases[i].text;
    return "Status";
}

struct shared_bytes *shared_bytes_new(struct slice s)
{
    struct shared_bytes *b = xalloc(sizeof(*b) + s.len);
    b->refs = 1;
    b->len = s.len;
    if (s.len) memcpy(b->data, s.data, s.len);
    return b;
}

struct shared_bytes *shared_bytes_ref(struct shared_bytes *b)
{
    b->refs++;
    return b;
}

void shared_bytes_unref(struct shared_bytes *b)
{
    if (b && --b->refs == 0) free(b);
}

static bool is_header_value(struct slice s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.data[i] == '\r' || s.data[i] == '\n' || s.data[i] == '\0') return false;
    return true;
}

void reply_header(struct request *r, const char *name, struct slice value)
{
    if (!is_header_value(value)) return;
    buf_printf(&r->extra_headers, "%s: " SLICE_FMT "\r\n", name, SLICE_ARG(value));
}

static void reply_whole(struct request *r, int status, const char *content_type, struct slice body)
{
    struct conn *c = r->conn;
    bool bodiless = status == 204 || status == 304;
    AUTO(buf) out = {0};

    if (r->ended) return;
    r->ended = true;
    buf_printf(&out, "HTTP/1.1 %d %s\r\n", status, phrase(status));
    if (content_type) buf_printf(&out, "Content-Type: %s\r\n", content_type);
    if (!bodiless) buf_printf(&out, "Content-Length: %zu\r\n", body.len);
    buf_put_text(&out, "X-Content-Type-Options: nosniff\r\nCache-Control: no-store\r\n");
    buf_put(&out, buf_slice(&r->extra_headers));
    if (!c->keep_alive || c->home->closing) buf_put_text(&out, "Connection: close\r\n");
    if (c->keep_alive && c->parser.http_minor == 0)
        buf_put_text(&out, "Connection: keep-alive\r\n");
    buf_put_text(&out, "\r\n");
    if (!bodiless && !c->head_only) buf_put(&out, body);
    conn_queue(c, shared_bytes_new(buf_slice(&out)));
    conn_request_ended(c);
}

void reply_bytes(struct request *r, int status, const char *content_type, struct slice body)
{
    reply_whole(r, status, content_type, body);
}

void reply_json(struct request *r, int status, struct slice json)
{
    reply_whole(r, status, "application/json", json);
}

void reply_empty(struct request *r, int status) { reply_whole(r, status, NULL, SLICE("")); }

static void put_json_text(struct buf *out, const char *text)
{
    buf_put_u8(out, '"');
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\') buf_put_u8(out, '\\');
        if (c < 0x20) {
            buf_printf(out, "\\u%04x", c);
        } else {
            buf_put_u8(out, c);
        }
    }
    buf_put_u8(out, '"');
}

void reply_problem(struct request *r, int status, const char *code, const char *format, ...)
{
    char words[1024];
    va_list args;
    AUTO(buf) json = {0};

    va_start(args, format);
    vsnprintf(words, sizeof(words), format, args);
    va_end(args);
    buf_put_text(&json, "{\"code\":");
    put_json_text(&json, code);
    buf_put_text(&json, ",\"message\":");
    put_json_text(&json, words);
    buf_put_text(&json, "}");
    reply_json(r, status, buf_slice(&json));
}

void reply_refuse(struct request *r, err_t e)
{
    const struct edge *edge = edge_of(e);
    AUTO(buf) body = {0};

    edge_problem(&body, e, edge_words(e), NULL, NULL);
    edge_log(e, NULL, "a request was refused", err_trail());
    if (edge->status == 401) reply_header(r, "WWW-Authenticate", SLICE("Bearer realm=\"parley\""));
    reply_json(r, edge->status, buf_slice(&body));
}
