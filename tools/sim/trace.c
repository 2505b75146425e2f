#include "tools/sim/trace.h"

#include <stdio.h>
#include <stdlib.h>

#include "proto/base/text.h"

void sim_trace_init(struct sim_trace *t)
{
    *t = (struct sim_trace){0};
    list_init(&t->lines);
}

static void drop_oldest(struct sim_trace *t)
{
    struct sim_traced *line = LIST_ENTRY(list_pop(&t->lines), struct sim_traced, link);

    buf_done(&line->text);
    free(line);
    t->count--;
}

void sim_trace_done(struct sim_trace *t)
{
    while (t->count > 0) drop_oldest(t);
}

static struct sim_traced *new_line(struct sim_trace *t, int64_t at_ms, const char *who)
{
    struct sim_traced *line = xcalloc(sizeof *line);

    if (t->count >= SIM_TRACE_MAX) drop_oldest(t);
    line->seq = ++t->last_seq;
    line->at_ms = at_ms;
    snprintf(line->who, sizeof line->who, "%s", who);
    list_push(&t->lines, &line->link);
    t->count++;
    return line;
}

void sim_trace_add(struct sim_trace *t, int64_t at_ms, const char *who, bool from_client,
                   const struct wa_node *n)
{
    struct sim_traced *line = new_line(t, at_ms, who);

    line->from_client = from_client;
    wa_node_to_text(n, false, &line->text);
    line->text.len = text_cut(buf_slice(&line->text), SIM_TRACE_TEXT_MAX).len;
}

void sim_trace_note(struct sim_trace *t, int64_t at_ms, const char *who, const char *text)
{
    buf_printf(&new_line(t, at_ms, who)->text, "<!-- %s -->", text);
}
