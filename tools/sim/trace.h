/* The last stanzas of everybody as readable XML, both directions. One thread. */
#pragma once
#include "proto/base/list.h"
#include "proto/wire/node.h"

enum { SIM_TRACE_MAX = 4000, SIM_TRACE_TEXT_MAX = 16 << 10, SIM_TRACE_WHO_MAX = 48 };

struct sim_traced {
    struct list link;
    uint64_t seq;
    int64_t at_ms;
    char who[SIM_TRACE_WHO_MAX]; /* "15550001111:5", "conn 3" before the login */
    bool from_client;
    struct buf text;
};

struct sim_trace {
    struct list lines; /* oldest first */
    uint32_t count;
    uint64_t last_seq;
};

void sim_trace_init(struct sim_trace *t);
void sim_trace_done(struct sim_trace *t);
void sim_trace_add(struct sim_trace *t, int64_t at_ms, const char *who, bool from_client,
                   const struct wa_node *n);
/* A line that is no stanza: a rule that was broken, a connection that came or went. */
void sim_trace_note(struct sim_trace *t, int64_t at_ms, const char *who, const char *text);
