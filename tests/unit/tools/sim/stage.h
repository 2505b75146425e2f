/* What most tests of the sandbox start with: phones of a few people, a companion of the first one
 * that is logged in, and with stage_group a group of the first two. */
#pragma once
#include "tests/unit/tools/sim/world.h"

struct stage {
    struct world *w;
    struct sim_phone *own, *other, *third;
    struct companion *c; /* device 1 of own */
    struct sim_group *group;
};

static inline struct stage stage_people(void)
{
    struct stage s = {.w = world_new()};

    s.own = world_phone(s.w, "15550001111");
    s.other = world_phone(s.w, "15550002222");
    s.third = world_phone(s.w, "15550003333");
    return s;
}

static inline void stage_group(struct stage *s, bool lid)
{
    s->group = sim_group_new(&s->w->relay.people, SLICE("120363000000000001"), SLICE("Group"));
    s->group->lid_mode = lid;
    sim_member_add(s->group, s->own->account);
    sim_member_add(s->group, s->other->account);
}

static inline void stage_login(struct stage *s) { s->c = companion_ready(s->w, s->own); }

static inline void clear_stage(struct stage *s)
{
    companion_free(s->c);
    world_free(s->w);
}
