#include "tools/sim/trace.h"

#include <stdio.h>
#include <stdlib.h>

void sim_trace_init(struct sim_trace *t)
{
    *t = (struct sim_trace){0};
    list_init(&t->lines);
}

static void drop_oldest(struct sim_trace *t)
{
    struct sim_traced *line = LIST_ENTRY(list_pop(&t->lines), struct sim_traced, link);

    t->bytes -= line->bytes.len;
    t->count--;
    buf_done(&line->bytes);
    free(line);
}

void sim_trace_done(struct sim_trace *t)
{
    while (t->count > 0)
        drop_oldest(t);
}

static struct sim_traced *new_line(struct sim_trace *t, int64_t at_ms, const char *who,
                                   struct slice bytes)
{
    struct sim_traced *line = xcalloc(sizeof *line);

    while (t->count > 0 &&
           (t->count >= SIM_TRACE_MAX || t->bytes + bytes.len > SIM_TRACE_BYTES_MAX))
        drop_oldest(t);
    line->seq = ++t->last_seq;
    line->at_ms = at_ms;
    snprintf(line->who, sizeof line->who, "%s", who);
    buf_put(&line->bytes, bytes);
    list_push(&t->lines, &line->link);
    t->bytes += bytes.len;
    t->count++;
    return line;
}

void sim_trace_add(struct sim_trace *t, int64_t at_ms, const char *who, bool from_client,
                   struct slice stanza)
{
    new_line(t, at_ms, who, stanza)->from_client = from_client;
}

void sim_trace_note(struct sim_trace *t, int64_t at_ms, const char *who, const char *text)
{
    new_line(t, at_ms, who, slice_text(text))->is_note = true;
}

void sim_trace_text(const struct sim_traced *line, struct buf *out)
{
    AUTO(arena) arena = {0};
    struct wa_node *n;

    if (line->is_note)
        buf_printf(out, "<!-- " SLICE_FMT " -->", (int)line->bytes.len,
                   (const char *)line->bytes.data);
    else if (wa_node_decode(buf_slice(&line->bytes), &arena, &n) == OK)
        wa_node_to_text(n, false, out);
}
