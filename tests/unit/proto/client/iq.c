#include "proto/client/iq.h"

#include <criterion/criterion.h>
#include <stdio.h>

#include "tests/support/fake_server.h"

struct told {
    int calls, code;
    err_t error;
    bool has_iq;
};

static err_t answer(struct wa_client *c, void *op, const struct wa_node *iq, err_t e)
{
    struct told *t = op;
    *t = (struct told){t->calls + 1, wa_iq_error(iq), e, iq != NULL};
    return OK;
}

static err_t ask(struct world *w, struct told *t)
{
    AUTO(arena) arena = {0};

    fake_turn_open(&w->h);
    wa_arena_set(w->client, &arena);
    w->client->now = w->now;
    err_t e = wa_iq_ask(w->client, wa_iq_new(w->client, "get", "x"), answer, t);
    wa_arena_set(w->client, NULL);
    fake_turn_close(&w->h);
    world_settle(w);
    return e;
}

static void start(struct world *w)
{
    world_init_paired(w);
    world_login(w);
}

Test(iq, gets_its_answer_once)
{
    struct world w;
    struct told t = {0};

    start(&w);
    cr_assert_eq(ask(&w, &t), OK);
    struct slice id = arena_dup(&w.arena, wa_node_text(world_next_node(&w), "id"));
    char *xml =
        arena_text(&w.arena, arena_printf(&w.arena, "<iq type=\"result\" id=\"" SLICE_FMT "\"/>",
                                          SLICE_ARG(id)));
    world_serve(&w, "<iq type=\"result\" id=\"1-1\"/>");
    world_serve(&w, "<iq type=\"result\"/>");
    cr_assert_eq(t.calls, 0);
    world_serve(&w, xml);
    world_serve(&w, xml);
    cr_assert(t.calls == 1 && t.error == OK && t.has_iq);
    world_done(&w);
}

Test(iq, tells_the_code_of_a_refusal)
{
    struct world w;
    struct told t = {0};

    start(&w);
    cr_assert_eq(ask(&w, &t), OK);
    world_answer(&w, "get", "x", "404");
    cr_assert(t.calls == 1 && t.error == ERR_QUERY_REFUSED && t.code == 404);
    world_done(&w);
}

Test(iq, times_out_75_seconds_after_its_release)
{
    struct world w;
    struct told t = {0};

    start(&w);
    w.hold = true;
    cr_assert_eq(ask(&w, &t), OK);
    w.now += 15 * 1000; /* not released yet: no time runs */
    w.hold = false;
    world_settle(&w);
    for (int s = 0; s < 74; s++) {
        world_sleep(&w, 1000);
        world_serve(&w, "<ib/>");
    }
    cr_assert_eq(t.calls, 0);
    world_sleep(&w, 1000);
    cr_assert(t.calls == 1 && t.error == ERR_QUERY_TIMEOUT && !t.has_iq);
    world_done(&w);
}

Test(iq, ends_with_the_link_and_is_refused_without_one)
{
    struct world w;
    struct told t = {0};

    start(&w);
    cr_assert_eq(ask(&w, &t), OK);
    world_cut(&w);
    cr_assert(t.calls == 1 && t.error == ERR_NOT_CONNECTED);
    cr_assert_eq(ask(&w, &t), ERR_NOT_CONNECTED);
    cr_assert_eq(t.calls, 1);
    world_done(&w);
}

Test(iq, is_refused_when_too_many_wait)
{
    struct world w;
    struct told t = {0};
    AUTO(arena) arena = {0};
    err_t e = OK;

    start(&w);
    w.hold = true;
    fake_turn_open(&w.h);
    wa_arena_set(w.client, &arena);
    for (int i = 0; i <= WA_QUERIES_MAX && e == OK; i++)
        e = wa_iq_ask(w.client, wa_iq_new(w.client, "get", "x"), answer, &t);
    cr_assert_eq(e, ERR_TOO_BUSY);
    wa_arena_set(w.client, NULL);
    fake_turn_close(&w.h);
    world_done(&w);
}
