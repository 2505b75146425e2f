#include "proto/base/slice.h"

int slice_cmp(struct slice a, struct slice b)
{
    size_t n = a.len < b.len ? a.len : b.len;
    int c = n ? memcmp(a.data, b.data, n) : 0;

    if (c) return c;
    return a.len < b.len ? -1 : a.len > b.len;
}

bool slice_starts_with(struct slice s, struct slice prefix)
{
    return s.len >= prefix.len && (prefix.len == 0 || memcmp(s.data, prefix.data, prefix.len) == 0);
}

struct slice slice_sub(struct slice s, size_t from, size_t to)
{
    if (to > s.len) to = s.len;
    if (from > to) from = to;
    return slice_of(s.data ? s.data + from : NULL, to - from);
}

size_t slice_find(struct slice s, uint8_t byte)
{
    const uint8_t *hit = s.len ? memchr(s.data, byte, s.len) : NULL;
    return hit ? (size_t)(hit - s.data) : s.len;
}

bool slice_split(struct slice *s, uint8_t separator, struct slice *out)
{
    if (slice_is_none(*s)) return false;

    size_t at = slice_find(*s, separator);
    *out = slice_sub(*s, 0, at);
    *s = at < s->len ? slice_from(*s, at + 1) : SLICE_NONE;
    return true;
}
