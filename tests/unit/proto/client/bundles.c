#include "proto/client/bundles.h"

#include "tests/support/sending.h"

static struct wa_node *bundle(struct cast *x)
{
    struct slice xml = world_bundle_xml(&x->w, &x->peer, "888@lid");
    return world_parse(&x->w, arena_text(&x->w.arena, xml));
}

static struct wa_node *child(struct wa_node *n, const char *tag)
{
    for (size_t i = 0; i < n->child_count; i++)
        if (wa_node_is(&n->children[i], tag)) return &n->children[i];
    return NULL;
}

Test(bundles, are_read_with_and_without_a_one_time_key)
{
    struct cast x;
    struct wa_bundle b;

    cast_init(&x);
    struct wa_node *n = bundle(&x);
    cr_assert_eq(wa_bundle_read(n, SLICE_NONE, &b), OK);
    cr_assert(b.has_prekey && b.signed_prekey_id == 1);
    cr_assert_eq(b.registration_id, x.peer.ks.registration_id);
    child(n, "key")->tag = SLICE("gone");
    cr_assert_eq(wa_bundle_read(n, SLICE_NONE, &b), OK);
    cr_assert(!b.has_prekey);
    cast_done(&x);
}

Test(bundles, are_refused_when_any_length_is_wrong)
{
    static const char *const paths[][2] = {
        {"registration", NULL}, {"identity", NULL}, {"key", "id"},         {"key", "value"},
        {"skey", "id"},         {"skey", "value"},  {"skey", "signature"}, {"skey", NULL},
    };
    struct cast x;
    struct wa_bundle b;

    cast_init(&x);
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        for (int longer = 0; longer < 2; longer++) {
            struct wa_node *n = bundle(&x), *at = child(n, paths[i][0]);
            if (paths[i][1]) at = child(at, paths[i][1]);
            if (at->content == WA_CONTENT_BYTES)
                at->bytes = longer ? arena_printf(&x.w.arena, SLICE_FMT "x", SLICE_ARG(at->bytes))
                                   : slice_from(at->bytes, 1);
            else
                at->tag = SLICE("gone");
            cr_expect_eq(wa_bundle_read(n, SLICE_NONE, &b), ERR_BAD_STANZA, "%s/%s", paths[i][0],
                         paths[i][1] ? paths[i][1] : "");
        }
    }
    cast_done(&x);
}

Test(bundles, one_bad_user_does_not_spoil_the_others)
{
    struct cast x;

    cast_init(&x);
    cast_send(&x, cast_peer_lid(), "hi");
    cast_answer_usync(&x, cast_devices(&x, "888@lid", "888@lid", &x.peer, 2));
    world_answer(
        &x.w, "get", "encrypt",
        arena_text(
            &x.w.arena,
            arena_printf(&x.w.arena,
                         "<list><user jid=\"888:2@lid\"><error code=\"406\" text=\"gone\"/></user>"
                         "<user/>" SLICE_FMT "</list>",
                         SLICE_ARG(world_bundle_xml(&x.w, &x.peer, "888@lid")))));
    const struct wa_node *m = world_next_node(&x.w);
    cr_assert(cast_enc_for(m, "888@lid") && !cast_enc_for(m, "888:2@lid"));
    cast_send(&x, cast_peer_lid(), "again");
    cr_assert(slice_is(wa_node_text(world_next_node(&x.w), "xmlns"), "usync"), "the list is old");
    cast_done(&x);
}

/* The server hands out keys of its own for our phone: what we send is not encrypted for them. */
Test(bundles, our_phone_is_the_one_that_paired_us)
{
    struct cast x;
    struct party forger;

    cast_init(&x);
    party_init(&forger, "777@lid", 0, 66);
    cr_assert_eq(cast_send(&x, cast_peer_lid(), "hi"), OK);
    cast_answer_devices(&x);
    struct slice xml = arena_printf(&x.w.arena, "<list>" SLICE_FMT SLICE_FMT "</list>",
                                    SLICE_ARG(world_bundle_xml(&x.w, &forger, "777@lid")),
                                    SLICE_ARG(world_bundle_xml(&x.w, &x.peer, "888@lid")));
    world_answer(&x.w, "get", "encrypt", arena_text(&x.w.arena, xml));
    const struct wa_node *m = world_next_node(&x.w);
    cr_assert(m && wa_node_is(m, "message"));
    cr_expect(cast_enc_for(m, "888@lid"));
    cr_expect_null(cast_enc_for(m, "777@lid"));
    cr_expect(!fake_row(&x.w.h, WA_NS_SESSION, "777@lid", "0"));
    party_done(&forger);
    cast_done(&x);
}
