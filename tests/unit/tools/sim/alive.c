/* Living contacts on fake time: the same seed, the same talk. */
#include "tests/unit/tools/sim/world.h"

#include "tools/sim/alive.h"

static void talk(struct world *w, struct sim_alive *a, struct sim_phone **out)
{
    struct companion *c = companion_new(w);

    sim_alive_start(a, &w->phones);
    *out = world_phone(w, "15550001111");
    companion_pair(c, *out);
    world_advance(w, 20000);
    companion_free(c);
}

Test(alive, they_write_to_who_was_paired)
{
    struct world *w = world_new();
    struct sim_alive a = {0};
    struct sim_phone *p;

    talk(w, &a, &p);
    cr_expect_eq(p->letter_count, 3);
    world_free(w);
}

Test(alive, the_seed_decides)
{
    struct world *w[2] = {world_new(), world_new()};
    struct sim_alive a[2] = {0};
    struct sim_phone *p[2];

    for (int i = 0; i < 2; i++)
        talk(w[i], &a[i], &p[i]);
    for (struct list *l = p[0]->letters.next, *m = p[1]->letters.next; l != &p[0]->letters;
         l = l->next, m = m->next) {
        cr_assert_neq(m, &p[1]->letters);
        cr_expect(slice_eq(buf_slice(&LIST_ENTRY(l, struct sim_letter, link)->text),
                           buf_slice(&LIST_ENTRY(m, struct sim_letter, link)->text)));
        cr_expect_str_eq(LIST_ENTRY(l, struct sim_letter, link)->from,
                         LIST_ENTRY(m, struct sim_letter, link)->from);
    }
    for (int i = 0; i < 2; i++)
        world_free(w[i]);
}

Test(alive, they_read_and_answer)
{
    struct world *w = world_new();
    struct sim_alive a = {0};
    struct sim_phone *p;
    char id[SIM_ID_MAX];
    uint32_t before;

    talk(w, &a, &p);
    before = p->letter_count;
    cr_assert_eq(
        sim_phone_write(
            p, &(struct sim_writing){.to = SLICE("15550100001"), .text = SLICE("hello")}, id),
        OK);
    world_advance(w, 10000);
    cr_expect_eq(p->letter_count, before + 2, "ours, and an answer");
    cr_expect(sim_phone_letter(p, slice_text(id))->read_by_peer);
    world_advance(w, 3600000);
    cr_expect_eq(p->letter_count, before + 2, "they do not talk to themselves");
    world_free(w);
}

Test(alive, nobody_is_alive_unless_asked)
{
    struct world *w = world_new();
    struct sim_phone *p = world_phone(w, "15550001111");
    struct companion *c = companion_ready(w, p);

    world_advance(w, 3600000);
    cr_expect_eq(p->letter_count, 0);
    companion_free(c);
    world_free(w);
}
