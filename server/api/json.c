/* The reader hands jansson's values out as an opaque struct json; the depth is counted before
 * jansson sees the text, because its own limit (2048) is compiled in. The writer copies runs of
 * plain bytes and stops only at what needs an escape. */
#include "server/api/json.h"

#include <assert.h>
#include <jansson.h>
#include <stdlib.h>

#include "proto/base/text.h"

/* ---- reading ---- */

static const json_t *of(const struct json *j) { return (const json_t *)(const void *)j; }
static const struct json *as(const json_t *v) { return (const struct json *)(const void *)v; }

/* Nesting outside strings; more closers than openers is for jansson to refuse. */
static err_t check_depth(struct slice text)
{
    unsigned depth = 0;
    bool in_string = false;

    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        if (in_string) {
            if (c == '\\')
                i++;
            else if (c == '"')
                in_string = false;
        } else if (c == '"') {
            in_string = true;
        } else if (c == '{' || c == '[') {
            if (++depth > JSON_DEPTH_MAX)
                return fail(BAD_JSON, "the JSON nests deeper than %d levels", JSON_DEPTH_MAX);
        } else if ((c == '}' || c == ']') && depth) {
            depth--;
        }
    }
    return OK;
}

/* jansson does not live through a refusal everywhere, so it is asked for beforehand what the text
 * may become: three bytes ("[],") make an array of about a hundred. */
enum { BYTES_PER_BYTE = 40 };

void json_start(void) { json_set_alloc_funcs(xalloc, free); }

static err_t check_room(struct slice text)
{
    void *room = xtry(NULL, text.len * BYTES_PER_BYTE);

    if (!room) return fail(NO_MEMORY, "%zu bytes of JSON", text.len);
    free(room);
    return OK;
}

err_t json_parse(struct slice text, size_t max_bytes, struct json **out)
{
    json_error_t error;
    json_t *v;

    if (text.len > max_bytes)
        return fail(BAD_JSON, "the JSON has %zu bytes, at most %zu are accepted", text.len,
                    max_bytes);
    TRY(check_depth(text));
    /* jansson swallows a zero byte behind a number: another parser would see another document. */
    if (slice_find(text, 0) < text.len) return fail(BAD_JSON, "the JSON has a zero byte");
    TRY(check_room(text));
    v = json_loadb((const char *)(text.data ? text.data : (const uint8_t *)""), text.len,
                   JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
    if (!v)
        return fail(BAD_JSON, "the JSON is malformed at line %d, column %d", error.line,
                    error.column);
    *out = (struct json *)(void *)v;
    return OK;
}

void json_free(struct json *j) { json_decref((json_t *)(void *)j); }

enum json_kind json_kind(const struct json *j)
{
    if (!j) return JSON_ABSENT;
    switch (json_typeof(of(j))) {
    case JSON_OBJECT: return JSON_OBJ;
    case JSON_ARRAY: return JSON_ARR;
    case JSON_STRING: return JSON_STR;
    case JSON_INTEGER: return JSON_INT;
    case JSON_REAL: return JSON_NUM;
    case JSON_TRUE:
    case JSON_FALSE: return JSON_BOOL;
    default: return JSON_NIL;
    }
}

const char *json_kind_text(enum json_kind k)
{
    static const char *const names[] = {"absent",  "object", "array",   "string",
                                        "integer", "number", "boolean", "null"};
    return names[k];
}

const struct json *json_get(const struct json *o, const char *name)
{
    return o ? as(json_object_get(of(o), name)) : NULL;
}

struct slice json_text(const struct json *j)
{
    if (json_kind(j) != JSON_STR) return SLICE_NONE;
    return slice_of(json_string_value(of(j)), json_string_length(of(j)));
}

bool json_int(const struct json *j, int64_t *out)
{
    if (json_kind(j) != JSON_INT) return false;
    *out = json_integer_value(of(j));
    return true;
}

bool json_num(const struct json *j, double *out)
{
    if (json_kind(j) != JSON_INT && json_kind(j) != JSON_NUM) return false;
    *out = json_number_value(of(j));
    return true;
}

bool json_bool(const struct json *j, bool *out)
{
    if (json_kind(j) != JSON_BOOL) return false;
    *out = json_boolean_value(of(j));
    return true;
}

struct slice json_get_text(const struct json *o, const char *name)
{
    return json_text(json_get(o, name));
}

size_t json_count(const struct json *j)
{
    if (json_kind(j) == JSON_ARR) return json_array_size(of(j));
    return json_kind(j) == JSON_OBJ ? json_object_size(of(j)) : 0;
}

const struct json *json_at(const struct json *array, size_t i)
{
    return array ? as(json_array_get(of(array), i)) : NULL;
}

bool json_next(const struct json *o, void **at, struct slice *out_key, const struct json **out)
{
    json_t *object = (json_t *)(uintptr_t)o;

    if (json_kind(o) != JSON_OBJ) return false;
    *at = *at ? json_object_iter_next(object, *at) : json_object_iter(object);
    if (!*at) return false;
    *out_key = slice_text(json_object_iter_key(*at));
    *out = as(json_object_iter_value(*at));
    return true;
}

static int append(const char *bytes, size_t n, void *out)
{
    buf_put(out, slice_of(bytes, n));
    return 0;
}

static void dump(struct buf *out, const struct json *j, size_t flags)
{
    if (!j || json_dump_callback(of(j), append, out,
                                 JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(17) | flags))
        buf_put(out, SLICE("null"));
}

void json_write(struct buf *out, const struct json *j) { dump(out, j, 0); }
void json_write_sorted(struct buf *out, const struct json *j) { dump(out, j, JSON_SORT_KEYS); }

/* ---- writing ---- */

/* Length of the well-formed UTF-8 sequence at `p`, 0 when there is none. */
static size_t sequence(const uint8_t *p, size_t left)
{
    size_t n = p[0] < 0x80 ? 1 : p[0] < 0xc2 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;

    if (n == 0 || p[0] > 0xf4 || n > left) return 0;
    for (size_t i = 1; i < n; i++)
        if ((p[i] & 0xc0) != 0x80) return 0;
    if (n == 3 && ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f))) return 0;
    if (n == 4 && ((p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))) return 0;
    return n;
}

static void escape(struct buf *out, uint8_t c)
{
    static const char letters[32] = {[8] = 'b', [9] = 't', [10] = 'n', [12] = 'f', [13] = 'r'};

    if (c == '"' || c == '\\' || (c < 32 && letters[c])) {
        buf_put_u8(out, '\\');
        buf_put_u8(out, c < 32 ? (uint8_t)letters[c] : c);
    } else if (c > 0 && c < 32) {
        buf_printf(out, "\\u%04x", c);
    } else {
        buf_put(out, SLICE("\xef\xbf\xbd"));
    }
}

void json_quote(struct buf *out, struct slice text)
{
    size_t from = 0, at = 0;

    buf_reserve(out, text.len + 2);
    buf_put_u8(out, '"');
    while (at < text.len) {
        uint8_t c = text.data[at];
        size_t n = c >= 32 && c < 0x80 && c != '"' && c != '\\' ? 1
                   : c >= 0x80 ? sequence(text.data + at, text.len - at)
                               : 0;
        if (n) {
            at += n;
            continue;
        }
        buf_put(out, slice_sub(text, from, at));
        escape(out, c);
        from = ++at;
    }
    buf_put(out, slice_from(text, from));
    buf_put_u8(out, '"');
}

/* Comma and name, whatever follows. */
static void begin(struct pen *p, const char *key)
{
    bool needs_name = p->depth && !(p->arrays >> p->depth & 1) && !p->is_named;

    assert(needs_name == (key != NULL));
    if (p->has_sibling && !p->is_named) buf_put_u8(p->out, ',');
    p->has_sibling = true;
    p->is_named = false;
    if (!key) return;
    buf_put_u8(p->out, '"');
    buf_put_text(p->out, key);
    buf_put(p->out, SLICE("\":"));
}

static void open_level(struct pen *p, bool is_array)
{
    assert(p->depth < JSON_PEN_DEPTH_MAX);
    p->depth++;
    p->arrays = (p->arrays & ~(1ull << p->depth)) | (uint64_t)is_array << p->depth;
    p->has_sibling = false;
    buf_put_u8(p->out, is_array ? '[' : '{');
}

void pen_object(struct pen *p, const char *key)
{
    begin(p, key);
    open_level(p, false);
}

void pen_array(struct pen *p, const char *key)
{
    begin(p, key);
    open_level(p, true);
}

void pen_end(struct pen *p)
{
    assert(p->depth);
    buf_put_u8(p->out, p->arrays >> p->depth & 1 ? ']' : '}');
    p->depth--;
    p->has_sibling = true;
}

void pen_text(struct pen *p, const char *key, struct slice text)
{
    begin(p, key);
    if (slice_is_none(text))
        buf_put(p->out, SLICE("null"));
    else
        json_quote(p->out, text);
}

void pen_word(struct pen *p, const char *key, const char *text)
{
    pen_text(p, key, slice_text(text));
}

void pen_int(struct pen *p, const char *key, int64_t v)
{
    char digits[24];
    size_t at = sizeof(digits);
    uint64_t left = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;

    begin(p, key);
    do
        digits[--at] = (char)('0' + left % 10);
    while (left /= 10);
    if (v < 0) digits[--at] = '-';
    buf_put(p->out, slice_of(digits + at, sizeof(digits) - at));
}

void pen_bool(struct pen *p, const char *key, bool v)
{
    begin(p, key);
    buf_put_text(p->out, v ? "true" : "false");
}

void pen_null(struct pen *p, const char *key) { pen_text(p, key, SLICE_NONE); }

void pen_time(struct pen *p, const char *key, int64_t unix_ms)
{
    char text[TEXT_TIME_MAX];

    begin(p, key);
    if (unix_ms == 0) {
        buf_put(p->out, SLICE("null"));
        return;
    }
    buf_put_u8(p->out, '"');
    buf_put_text(p->out, text_time(unix_ms, text));
    buf_put_u8(p->out, '"');
}

void pen_raw(struct pen *p, const char *key, struct slice json)
{
    begin(p, key);
    buf_put(p->out, json);
}

void pen_name(struct pen *p, struct slice name)
{
    assert(p->depth && !(p->arrays >> p->depth & 1));
    if (p->has_sibling) buf_put_u8(p->out, ',');
    json_quote(p->out, name);
    buf_put_u8(p->out, ':');
    p->is_named = true;
}
