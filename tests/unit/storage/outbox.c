#include "chats_fixture.h"
#include "storage/outbox.h"

static struct world w;
static void begin(void) { world_init(&w); }
static void end(void) { world_done(&w); }
TestSuite(outbox, .init = begin, .fini = end);

static struct db_outbox add(const char *stanza)
{
    struct db_outbox o = {.stanza = slice_text(stanza), .place = {1, 2, 3, 4}, .created_ms = 5};
    CHECK_OK(db_outbox_add(&w.batch, w.f.view, w.scope, &o));
    return o;
}

Test(outbox, keeps_order_over_pending_and_durable_turns)
{
    struct db_outbox o;
    AUTO(range) r = {0};
    bool found;

    cr_assert_eq(add("a").ordinal, 1);
    cr_assert_eq(add("b").ordinal, 2);
    world_commit(&w);
    cr_assert_eq(add("c").ordinal, 3);
    db_outbox_delete(&w.batch, w.scope, 2);
    db_outboxes(&r, w.f.view, w.scope);
    cr_assert(db_outbox_next(&r, &o) && slice_is(o.stanza, "a"));
    cr_assert(db_outbox_next(&r, &o) && slice_is(o.stanza, "c") && o.ordinal == 3);
    cr_assert(o.place.peer == 1 && o.place.secret == 4);
    cr_assert(!db_outbox_next(&r, &o));
    CHECK_OK(range_error(&r));
    CHECK_OK(db_outbox_find(w.f.view, w.scope, 2, &found, &o));
    cr_assert(!found);
    CHECK_OK(db_outbox_find(w.f.view, w.scope, 1, &found, &o));
    cr_assert(found && o.ordinal == 1);
}
