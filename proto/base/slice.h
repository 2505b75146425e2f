/* Borrowed bytes: valid as long as what they point into. {NULL, 0} means absent, which an empty
 * slice with a pointer does not. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct slice {
    const uint8_t *data;
    size_t len;
};

#define SLICE(literal) ((struct slice){(const uint8_t *)(literal), sizeof(literal) - 1})
#define SLICE_NONE ((struct slice){NULL, 0})
#define SLICE_ARRAY(array) ((struct slice){(const uint8_t *)(array), sizeof(array)})
/* For printf: printf(SLICE_FMT, SLICE_ARG(s)) */
#define SLICE_FMT "%.*s"
#define SLICE_ARG(s) (int)(s).len, (const char *)(s).data

static inline struct slice slice_of(const void *data, size_t len)
{
    return (struct slice){data, len};
}
static inline struct slice slice_text(const char *text)
{
    return text ? (struct slice){(const uint8_t *)text, strlen(text)} : SLICE_NONE;
}
static inline bool slice_is_none(struct slice s) { return s.data == NULL; }
static inline bool slice_eq(struct slice a, struct slice b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}
static inline bool slice_is(struct slice s, const char *text)
{
    return slice_eq(s, slice_text(text));
}
/* Bytewise order, shorter first. */
int slice_cmp(struct slice a, struct slice b);
bool slice_starts_with(struct slice s, struct slice prefix);
/* Bytes from..to; both are cut to the length. */
struct slice slice_sub(struct slice s, size_t from, size_t to);
static inline struct slice slice_from(struct slice s, size_t from)
{
    return slice_sub(s, from, s.len);
}
/* Index of the first `byte`, s.len when there is none. */
size_t slice_find(struct slice s, uint8_t byte);
/* Takes what stands before the next `separator` off the front; false when `s` is used up (absent:
 * an empty slice holds one empty item). */
bool slice_split(struct slice *s, uint8_t separator, struct slice *out);
