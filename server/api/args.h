/* Arguments of a call: checked against the tool's rows once, then read by name without errors.
 *
 * The check names what is wrong and what would be right: all of it, up to ARGS_WRONG_MAX fields and
 * ARGS_WORDS bytes, in fail()'s words, and the first, for the problem's JSON, in struct args_wrong.
 * Any thread. */
#pragma once
#include "proto/base/buf.h"
#include "proto/base/err.h"
#include "server/api/tools.h"

struct call;
struct json;

enum { ARGS_WRONG_MAX = 5, ARGS_WORDS = 300 };

struct args_wrong {
    char field[64];
    char expected[160];
};

/* BAD_ARGUMENT. `args` NULL counts as {}. */
err_t args_check(const struct tool *t, const struct json *args,
                 struct args_wrong *wrong) MUST_CHECK;
/* "an integer from 1 to 200" */
void arg_expected(const struct arg *a, struct buf *out);

/* Reading checked arguments: absent (or null) gives the default. */
bool arg_given(const struct call *c, const char *name);
struct slice arg_text(const struct call *c, const char *name);
int64_t arg_int_or(const struct call *c, const char *name, int64_t or);
/* ARG_TIME in ms, 0 when absent. */
int64_t arg_time(const struct call *c, const char *name);
/* ARG_SEQ. */
uint64_t arg_seq_or(const struct call *c, const char *name, uint64_t or);
size_t arg_count(const struct call *c, const char *name);
struct slice arg_item(const struct call *c, const char *name, size_t i);
