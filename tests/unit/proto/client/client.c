#include "proto/client/client.h"

#include <criterion/criterion.h>

#include "proto/client/inside.h"
#include "tests/support/fake_server.h"
#include "tests/support/vectors.h"

static json_t *vectors;

static void fives(void *ctx, void *out, size_t n) { memset(out, 5, n); }

static void start(void) { vectors = vectors_open("misc.json"); }
static void stop(void) { json_decref(vectors); }

TestSuite(client, .init = start, .fini = stop);

Test(client, makes_message_ids_as_in_the_vector)
{
    struct world w;

    world_init_paired(&w);
    cr_assert_str_eq(vector_text(vectors, "message_id.own_user"), "15550001111@c.us");
    w.client->host.random = fives;
    struct slice id = wa_client_message_id(
        w.client, vector_int(vectors, "message_id.unix_seconds") * 1000 + 999, &w.arena);
    cr_expect(slice_is(id, vector_text(vectors, "message_id.id")), SLICE_FMT, SLICE_ARG(id));
    world_done(&w);
}

Test(client, makes_no_message_id_twice)
{
    struct world w;
    struct slice ids[50];

    world_init_paired(&w);
    for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
        ids[i] = wa_client_message_id(w.client, w.now, &w.arena);
        cr_assert(slice_starts_with(ids[i], SLICE("3EB0")));
        cr_assert_eq(ids[i].len, 22u);
        for (size_t k = 0; k < i; k++)
            cr_assert(!slice_eq(ids[i], ids[k]));
    }
    world_done(&w);
}

Test(client, says_its_session_as_in_the_vector)
{
    struct world w;
    const struct wa_node *ib;

    world_init_paired(&w);
    w.now = vector_int(vectors, "unified_session.now_ms");
    world_connect(&w);
    world_serve(
        &w, arena_text(&w.arena, arena_printf(&w.arena, "<success t=\"%lld\" lid=\"777:5@lid\"/>",
                                              (long long)w.now / 1000)));
    ib = world_next_node(&w);
    cr_assert(wa_node_is(ib, "ib"));
    cr_expect(slice_is(wa_node_text(wa_node_child(ib, "unified_session"), "id"),
                       vector_text(vectors, "unified_session.id")));
    world_done(&w);
}
