/* The verbs over the host's five functions. */
#include "proto/client/inside.h"

#include <criterion/criterion.h>
#include <stdio.h>

#include "tests/support/fake_server.h"

struct input {
    struct world w;
    struct arena arena;
};

static void begin(struct input *x)
{
    wa_arena_set(x->w.client, &x->arena);
    fake_turn_open(&x->w.h);
}

static void end(struct input *x)
{
    fake_turn_close(&x->w.h);
    world_settle(&x->w);
    arena_wipe(&x->arena);
    wa_arena_set(x->w.client, NULL);
}

static struct input *opened(void)
{
    struct input *x = xcalloc(sizeof(*x));

    world_init(&x->w);
    begin(x);
    return x;
}

static void closed(struct input *x)
{
    end(x);
    world_done(&x->w);
    arena_done(&x->arena);
    free(x);
}

static struct slice row(struct input *x, enum wa_ns ns, const char *owner, const char *name)
{
    struct slice value;

    cr_assert_eq(wa_load(x->w.client, ns, slice_text(owner), slice_text(name), &value), OK);
    return value;
}

static void put(struct input *x, const char *name, const char *value)
{
    wa_save(x->w.client, WA_NS_SESSION, SLICE("1@lid"), slice_text(name), slice_text(value));
}

Test(inside, an_input_asks_the_host_for_a_row_once)
{
    struct input *x = opened();
    size_t before = x->w.h.loads;

    put(x, "1", "one");
    for (int i = 0; i < 3; i++) {
        cr_assert(slice_is(row(x, WA_NS_SESSION, "1@lid", "1"), "one"));
        cr_assert(slice_is_none(row(x, WA_NS_SESSION, "1@lid", "2")), "one that is not there");
        cr_assert(slice_is_none(row(x, WA_NS_IDENTITY, "1@lid", "1")), "of another kind");
        cr_assert(slice_is_none(row(x, WA_NS_SESSION, "2@lid", "1")), "of another person");
    }
    cr_assert_eq(x->w.h.loads - before, 4);
    closed(x);
}

Test(inside, what_was_saved_is_read_anew)
{
    struct input *x = opened();

    put(x, "1", "one");
    put(x, "2", "two");
    cr_assert(slice_is(row(x, WA_NS_SESSION, "1@lid", "1"), "one"));
    cr_assert(slice_is(row(x, WA_NS_SESSION, "1@lid", "2"), "two"));
    put(x, "1", "three");
    cr_assert(slice_is(row(x, WA_NS_SESSION, "1@lid", "1"), "three"));
    wa_save(x->w.client, WA_NS_SESSION, SLICE("1@lid"), SLICE("1"), SLICE_NONE);
    cr_assert(slice_is_none(row(x, WA_NS_SESSION, "1@lid", "1")));
    cr_assert(slice_is(row(x, WA_NS_SESSION, "1@lid", "2"), "two"));
    closed(x);
}

Test(inside, the_next_input_reads_anew)
{
    struct input *x = opened();
    size_t before;

    put(x, "1", "one");
    row(x, WA_NS_SESSION, "1@lid", "1");
    end(x);
    begin(x);
    before = x->w.h.loads;
    cr_assert(slice_is(row(x, WA_NS_SESSION, "1@lid", "1"), "one"));
    cr_assert_eq(x->w.h.loads - before, 1);
    closed(x);
}

Test(inside, rows_are_read_right_however_many_an_input_wants)
{
    struct input *x = opened();
    char name[16];

    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 50; i++) {
            snprintf(name, sizeof(name), "%d", i);
            if (round == 0) put(x, name, name);
            cr_assert(slice_is(row(x, WA_NS_SESSION, "1@lid", name), name));
        }
    }
    closed(x);
}

/* The host answers it from its own records, which an event of the same input may change. */
Test(inside, a_message_is_asked_for_every_time)
{
    struct input *x = opened();
    size_t before = x->w.h.loads;

    for (int i = 0; i < 2; i++)
        cr_assert(slice_is_none(row(x, WA_NS_MESSAGE, "1@lid", "ID")));
    cr_assert_eq(x->w.h.loads - before, 2);
    closed(x);
}

Test(inside, a_stamp_tells_where_the_servers_clock_is_at_least)
{
    struct world w;

    world_init_paired(&w);
    w.now = 1700000000700; /* the login says 1700000000 */
    world_login(&w);
    wa_client_clock(w.client, w.now += 400);
    cr_expect_eq(wa_server_now(w.client), 1700000000);
    wa_time_or_now(w.client, SLICE("1700000001"));
    cr_expect_eq(wa_server_now(w.client), 1700000001);
    wa_time_or_now(w.client, SLICE("1600000000")); /* had waited */
    cr_expect_eq(wa_server_now(w.client), 1700000001);
    wa_time_or_now(w.client, SLICE("1700000002")); /* more than a login leaves open */
    cr_expect_eq(wa_server_now(w.client), 1700000001);
    world_done(&w);
}
