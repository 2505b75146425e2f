/* The last stanzas of everybody, both directions. They are kept as the bytes that travelled and
 * become readable XML only when somebody asks, so that tracing costs a copy. One thread. */
#pragma once
#include "proto/base/list.h"
#include "proto/wire/node.h"

enum {
    SIM_TRACE_MAX = 4000,           /* lines */
    SIM_TRACE_BYTES_MAX = 32 << 20, /* of all lines */
    SIM_TRACE_WHO_MAX = 48
};

struct sim_traced {
    struct list link;
    uint64_t seq;
    int64_t at_ms;
    char who[SIM_TRACE_WHO_MAX]; /* "15550001111:5", "conn 3" before the login */
    bool from_client;
    bool is_note;     /* `bytes` is a sentence, not a stanza */
    struct buf bytes; /* the encoded stanza */
};

struct sim_trace {
    struct list lines; /* oldest first */
    uint32_t count;
    size_t bytes;
    uint64_t last_seq;
};

void sim_trace_init(struct sim_trace *t);
void sim_trace_done(struct sim_trace *t);
void sim_trace_add(struct sim_trace *t, int64_t at_ms, const char *who, bool from_client,
                   struct slice stanza);
/* A line that is no stanza: a rule that was broken, a connection that came or went. */
void sim_trace_note(struct sim_trace *t, int64_t at_ms, const char *who, const char *text);
/* The line as XML; a note is a comment. */
void sim_trace_text(const struct sim_traced *line, struct buf *out);
