/* JSON: a strict reader for what comes in and an append writer for what goes out.
 *
 * The reader (over jansson, included nowhere else) refuses duplicate keys, trailing bytes, NUL in
 * strings, invalid UTF-8, and what is above the caller's size or JSON_DEPTH_MAX. Values are
 * immutable afterwards; one owner, any thread. The writer puts text straight into a buf and keeps
 * track of commas; strings it is given are always written as valid UTF-8. */
#pragma once
#include "proto/base/buf.h"
#include "proto/base/err.h"

enum {
    JSON_DEPTH_MAX = 32,
    JSON_PEN_DEPTH_MAX = 60, /* of the writer: our own nesting */
};

/* ---- reading ---- */

struct json;

enum json_kind {
    JSON_ABSENT,
    JSON_OBJ,
    JSON_ARR,
    JSON_STR,
    JSON_INT,
    JSON_NUM,
    JSON_BOOL,
    JSON_NIL
};

/* Once, before the first: whose memory jansson takes. */
void json_start(void);
/* BAD_JSON with words that say where, TOO_LARGE, NO_MEMORY. `*out` is the caller's: json_free. */
err_t json_parse(struct slice text, size_t max_bytes, struct json **out) MUST_CHECK;
void json_free(struct json *j);

/* All of these take NULL, which is JSON_ABSENT. */
enum json_kind json_kind(const struct json *j);
const char *json_kind_text(enum json_kind k); /* "object" */
/* A member; NULL when absent or `o` is no object. */
const struct json *json_get(const struct json *o, const char *name);
/* Borrowed from the value, NUL-terminated behind its end; SLICE_NONE when it is no string. */
struct slice json_text(const struct json *j);
bool json_int(const struct json *j, int64_t *out);
bool json_num(const struct json *j, double *out); /* integers too */
bool json_bool(const struct json *j, bool *out);
/* json_text of a member. */
struct slice json_get_text(const struct json *o, const char *name);
/* Elements of an array, members of an object, else 0. */
size_t json_count(const struct json *j);
const struct json *json_at(const struct json *array, size_t i);
/* Walks an object's members: void *at = NULL; while (json_next(o, &at, &key, &value)) … */
bool json_next(const struct json *o, void **at, struct slice *out_key, const struct json **out);
/* Appends the value as compact text; member order as it came. `j` NULL writes null. */
void json_write(struct buf *out, const struct json *j);
/* The same with sorted keys, so that equal values give equal bytes. */
void json_write_sorted(struct buf *out, const struct json *j);

/* ---- writing ---- */

/* A pen writes one value. `key` names a member inside an object and is NULL inside an array and at
 * the top. Keys are ours, written as they are. */
struct pen {
    struct buf *out;
    uint64_t arrays; /* bit per depth: this level is an array */
    unsigned depth;
    bool has_sibling; /* the current level has a value already */
    bool is_named;    /* pen_name() wrote the name of the next value */
};

static inline struct pen pen_on(struct buf *out) { return (struct pen){.out = out}; }
void pen_object(struct pen *p, const char *key);
void pen_array(struct pen *p, const char *key);
/* Closes what was opened last. */
void pen_end(struct pen *p);
/* SLICE_NONE writes null. */
void pen_text(struct pen *p, const char *key, struct slice text);
void pen_word(struct pen *p, const char *key, const char *text);
void pen_int(struct pen *p, const char *key, int64_t v);
void pen_bool(struct pen *p, const char *key, bool v);
void pen_null(struct pen *p, const char *key);
/* ISO 8601 in UTC; 0 writes null. */
void pen_time(struct pen *p, const char *key, int64_t unix_ms);
/* JSON text as it is. */
void pen_raw(struct pen *p, const char *key, struct slice json);
/* The name of the next member, when it comes from outside; the value is then written with a NULL
 * key. */
void pen_name(struct pen *p, struct slice name);
/* One string with its quotes, without commas. What is not UTF-8 becomes the replacement character,
 * and so does a zero character, which a person can send and many parsers refuse, ours too. */
void json_quote(struct buf *out, struct slice text);
