/* Numbers, hex, base64 and times as text. Pure functions, any thread. */
#pragma once
#include "proto/base/buf.h"
#include "proto/base/err.h"

void text_hex(struct slice bytes, struct buf *out);
err_t text_unhex(struct slice hex, struct buf *out) MUST_CHECK;
/* Standard alphabet with padding. */
void text_base64(struct slice bytes, struct buf *out);
/* URL-safe alphabet, no padding. */
void text_base64url(struct slice bytes, struct buf *out);
/* Either alphabet, with or without padding; BAD_TEXT otherwise. */
err_t text_unbase64(struct slice text, struct buf *out) MUST_CHECK;
/* The whole slice as a decimal number; BAD_TEXT when it is none or does not fit. */
err_t text_u64(struct slice text, uint64_t *out) MUST_CHECK;
err_t text_i64(struct slice text, int64_t *out) MUST_CHECK;
/* "2026-11-20T09:52:30.123Z"; unix milliseconds. */
enum { TEXT_TIME_MAX = 32 };
const char *text_time(int64_t unix_ms, char out[TEXT_TIME_MAX]);
/* ISO 8601 with Z or an offset; BAD_TEXT otherwise. */
err_t text_parse_time(struct slice text, int64_t *out_unix_ms) MUST_CHECK;
bool text_is_utf8(struct slice s);
/* Cuts to at most `max` bytes at a character boundary. */
struct slice text_cut(struct slice s, size_t max);
