#include "proto/base/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

static const char hex_digits[] = "0123456789abcdef";
static const char base64_std[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char base64_url[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

void text_hex(struct slice bytes, struct buf *out)
{
    for (size_t i = 0; i < bytes.len; i++) {
        buf_put_u8(out, (uint8_t)hex_digits[bytes.data[i] >> 4]);
        buf_put_u8(out, (uint8_t)hex_digits[bytes.data[i] & 15]);
    }
}

static int hex_value(uint8_t c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

err_t text_unhex(struct slice hex, struct buf *out)
{
    ENSURE(hex.len % 2 == 0, BAD_TEXT);
    for (size_t i = 0; i < hex.len; i += 2) {
        int hi = hex_value(hex.data[i]), lo = hex_value(hex.data[i + 1]);
        ENSURE(hi >= 0 && lo >= 0, BAD_TEXT);
        buf_put_u8(out, (uint8_t)(hi << 4 | lo));
    }
    return OK;
}

static void put_base64(struct slice s, const char *alphabet, bool pad, struct buf *out)
{
    for (size_t i = 0; i < s.len; i += 3) {
        size_t n = s.len - i < 3 ? s.len - i : 3;
        uint32_t v = (uint32_t)s.data[i] << 16;
        if (n > 1) v |= (uint32_t)s.data[i + 1] << 8;
        if (n > 2) v |= s.data[i + 2];
        for (size_t k = 0; k <= n; k++)
            buf_put_u8(out, (uint8_t)alphabet[v >> (18 - 6 * k) & 63]);
        for (size_t k = n; pad && k < 3; k++)
            buf_put_u8(out, '=');
    }
}

void text_base64(struct slice bytes, struct buf *out) { put_base64(bytes, base64_std, true, out); }
void text_base64url(struct slice bytes, struct buf *out)
{
    put_base64(bytes, base64_url, false, out);
}

static int base64_value(uint8_t c)
{
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    if (c == '+' || c == '-') return 62;
    if (c == '/' || c == '_') return 63;
    return -1;
}

err_t text_unbase64(struct slice text, struct buf *out)
{
    uint32_t v = 0;
    size_t n = 0;

    for (int pad = 0; pad < 2 && text.len && text.data[text.len - 1] == '='; pad++)
        text.len--;
    ENSURE(text.len % 4 != 1, BAD_TEXT);
    for (size_t i = 0; i < text.len; i++) {
        int six = base64_value(text.data[i]);
        ENSURE(six >= 0, BAD_TEXT);
        v = v << 6 | (uint32_t)six;
        if (++n % 4 == 0) buf_put_be24(out, v & 0xffffff);
    }
    if (n % 4 == 2) buf_put_u8(out, (uint8_t)(v >> 4));
    if (n % 4 == 3) buf_put_be16(out, (uint16_t)(v >> 2));
    return OK;
}

err_t text_u64(struct slice text, uint64_t *out)
{
    uint64_t v = 0;
    ENSURE(text.len > 0, BAD_TEXT);
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        ENSURE(c >= '0' && c <= '9', BAD_TEXT);
        ENSURE(!__builtin_mul_overflow(v, (uint64_t)10, &v), BAD_TEXT);
        ENSURE(!__builtin_add_overflow(v, (uint64_t)(c - '0'), &v), BAD_TEXT);
    }
    *out = v;
    return OK;
}

err_t text_i64(struct slice text, int64_t *out)
{
    bool minus = text.len && text.data[0] == '-';
    uint64_t v;

    TRY(text_u64(minus ? slice_from(text, 1) : text, &v));
    ENSURE(v <= (uint64_t)INT64_MAX, BAD_TEXT);
    *out = minus ? -(int64_t)v : (int64_t)v;
    return OK;
}

const char *text_time(int64_t unix_ms, char out[TEXT_TIME_MAX])
{
    int64_t ms = unix_ms % 1000;
    if (ms < 0) ms += 1000;
    time_t seconds = (time_t)((unix_ms - ms) / 1000);
    struct tm tm;

    if (!gmtime_r(&seconds, &tm) || tm.tm_year < -1900 || tm.tm_year > 8099) {
        snprintf(out, TEXT_TIME_MAX, "1970-01-01T00:00:00.000Z");
        return out;
    }
    size_t n = strftime(out, TEXT_TIME_MAX, "%04Y-%m-%dT%H:%M:%S", &tm);
    snprintf(out + n, TEXT_TIME_MAX - n, ".%03uZ", (unsigned)ms % 1000);
    return out;
}

/* `n` digits at *at, as a number; -1 when they are none. */
static int digits(struct slice s, size_t *at, size_t n)
{
    int v = 0;
    if (s.len - *at < n) return -1;
    for (size_t i = 0; i < n; i++) {
        uint8_t c = s.data[*at + i];
        if (c < '0' || c > '9') return -1;
        v = v * 10 + c - '0';
    }
    *at += n;
    return v;
}

static bool skip(struct slice s, size_t *at, uint8_t c)
{
    if (*at >= s.len || s.data[*at] != c) return false;
    ++*at;
    return true;
}

/* ".123" with one to nine digits; 0 when there is no dot. */
static int fraction_ms(struct slice s, size_t *at)
{
    int ms = 0, scale = 100;
    if (!skip(s, at, '.')) return 0;
    size_t from = *at;
    while (*at < s.len && s.data[*at] >= '0' && s.data[*at] <= '9' && *at - from < 9) {
        ms += (s.data[*at] - '0') * scale;
        scale /= 10;
        ++*at;
    }
    return *at > from ? ms : -1;
}

static bool parse_offset(struct slice s, size_t *at, int *out_minutes)
{
    *out_minutes = 0;
    if (skip(s, at, 'Z') || skip(s, at, 'z')) return true;
    int sign = *at < s.len && s.data[*at] == '-' ? -1 : 1;
    if (!skip(s, at, '+') && !skip(s, at, '-')) return false;
    int hours = digits(s, at, 2);
    skip(s, at, ':');
    int minutes = digits(s, at, 2);
    if (hours < 0 || hours > 23 || minutes < 0 || minutes > 59) return false;
    *out_minutes = sign * (hours * 60 + minutes);
    return true;
}

err_t text_parse_time(struct slice s, int64_t *out_unix_ms)
{
    size_t at = 0;
    int offset;
    struct tm tm = {0};

    tm.tm_year = digits(s, &at, 4) - 1900;
    ENSURE(tm.tm_year >= -1900 && skip(s, &at, '-'), BAD_TEXT);
    tm.tm_mon = digits(s, &at, 2) - 1;
    ENSURE(tm.tm_mon >= 0 && tm.tm_mon < 12 && skip(s, &at, '-'), BAD_TEXT);
    tm.tm_mday = digits(s, &at, 2);
    ENSURE(tm.tm_mday >= 1 && tm.tm_mday <= 31, BAD_TEXT);
    ENSURE(skip(s, &at, 'T') || skip(s, &at, 't') || skip(s, &at, ' '), BAD_TEXT);
    tm.tm_hour = digits(s, &at, 2);
    ENSURE(tm.tm_hour >= 0 && tm.tm_hour < 24 && skip(s, &at, ':'), BAD_TEXT);
    tm.tm_min = digits(s, &at, 2);
    ENSURE(tm.tm_min >= 0 && tm.tm_min < 60, BAD_TEXT);
    if (skip(s, &at, ':')) tm.tm_sec = digits(s, &at, 2);
    ENSURE(tm.tm_sec >= 0 && tm.tm_sec <= 60, BAD_TEXT);
    int ms = fraction_ms(s, &at);
    ENSURE(ms >= 0 && parse_offset(s, &at, &offset) && at == s.len, BAD_TEXT);
    *out_unix_ms = ((int64_t)timegm(&tm) - (int64_t)offset * 60) * 1000 + ms;
    return OK;
}

/* Length of the well-formed character at the front, 0 when it is malformed. */
static size_t utf8_char(struct slice s)
{
    uint8_t c = s.data[0];
    size_t n = c < 0x80 ? 1 : c < 0xc2 ? 0 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : c < 0xf5 ? 4 : 0;

    if (n == 0 || n > s.len) return 0;
    for (size_t i = 1; i < n; i++)
        if ((s.data[i] & 0xc0) != 0x80) return 0;
    if (c == 0xe0 && s.data[1] < 0xa0) return 0;
    if (c == 0xed && s.data[1] > 0x9f) return 0;
    if (c == 0xf0 && s.data[1] < 0x90) return 0;
    if (c == 0xf4 && s.data[1] > 0x8f) return 0;
    return n;
}

bool text_is_utf8(struct slice s)
{
    while (s.len) {
        size_t n = utf8_char(s);
        if (!n) return false;
        s = slice_from(s, n);
    }
    return true;
}

struct slice text_cut(struct slice s, size_t max)
{
    if (s.len <= max) return s;
    while (max && (s.data[max] & 0xc0) == 0x80)
        max--;
    return slice_sub(s, 0, max);
}
