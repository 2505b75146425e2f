/* The ring of stanzas: bounded in lines and bytes, readable on demand. */
#include <criterion/criterion.h>

#include "tools/sim/trace.h"

static void add(struct sim_trace *t, size_t payload)
{
    AUTO(arena) arena = {0};
    AUTO(buf) stanza = {0};
    AUTO(buf) bytes = {0};
    struct wa_node *n = wa_node_new(&arena, "message");

    buf_extend(&bytes, payload);
    memset(bytes.data, 'x', payload);
    wa_node_set(n, &arena, "id", SLICE("M1"));
    wa_node_set_bytes(n, buf_slice(&bytes));
    wa_node_encode(n, &stanza);
    sim_trace_add(t, 5, "15550001111:1", true, buf_slice(&stanza));
}

Test(trace, lines_are_readable)
{
    struct sim_trace t;
    AUTO(buf) text = {0};

    sim_trace_init(&t);
    add(&t, 20);
    sim_trace_note(&t, 6, "conn 1", "rule broken");
    sim_trace_text(LIST_ENTRY(t.lines.next, struct sim_traced, link), &text);
    cr_expect_not_null(strstr(buf_text(&text), "<message"));
    cr_expect_not_null(strstr(buf_text(&text), "20 B"));
    buf_reset(&text);
    sim_trace_text(LIST_ENTRY(t.lines.prev, struct sim_traced, link), &text);
    cr_expect_str_eq(buf_text(&text), "<!-- rule broken -->");
    sim_trace_done(&t);
}

Test(trace, the_oldest_go)
{
    struct sim_trace t;

    sim_trace_init(&t);
    for (int i = 0; i < SIM_TRACE_MAX + 10; i++)
        add(&t, 10);
    cr_expect_eq(t.count, (uint32_t)SIM_TRACE_MAX);
    cr_expect_eq(LIST_ENTRY(t.lines.next, struct sim_traced, link)->seq, 11);
    for (int i = 0; i < 40; i++)
        add(&t, 1 << 20);
    cr_expect_leq(t.bytes, (size_t)SIM_TRACE_BYTES_MAX);
    cr_expect_lt(t.count, 40u);
    sim_trace_done(&t);
}
