/* The edge: where an error of the house becomes words for a caller and one line of the log.
 *
 * Classes are mapped, not codes; the few codes with a public code of their own are rows too. Any
 * thread. */
#pragma once
#include "proto/base/buf.h"
#include "proto/base/err.h"

struct edge {
    int status;        /* HTTP */
    int rpc;           /* JSON-RPC code, for errors outside a tool result */
    const char *code;  /* public code of the native surface: "not_found" */
    int retry_after_s; /* 0: do not repeat unchanged */
};
/* Any err_t but OK. */
const struct edge *edge_of(err_t e);
/* What a caller may read of the error that fail() left on this thread: its words when the class is
 * one the caller can act on, else the row's sentence. Of damage too: fail() names rows of ours. */
const char *edge_words(err_t e);
/* {"code":…,"message":…[,"retry_after":N][,"field":…,"expected":…]}. `words` are fail()'s; they are
 * shown when the class is one the caller can act on, else the row's sentence alone. `field` and
 * `expected` name a wrong argument; NULL or "" when it is none. */
void edge_problem(struct buf *out, err_t e, const char *words, const char *field,
                  const char *expected);
/* One line, by the class's level. `subject` is "call=17 account=acc_…". */
void edge_log(err_t e, const char *subject, const char *what, const char *trail);
