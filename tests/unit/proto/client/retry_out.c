#include "proto/client/retry_out.h"

#include "tests/support/sending.h"

static void start(struct cast *x, struct slice *out_id)
{
    cast_init(x);
    cast_first_message(x, "hello");
    *out_id = arena_dup(&x->w.arena, wa_node_text(world_next_node(&x->w), "id"));
    cast_ack(x, *out_id, "15550002222@s.whatsapp.net", "");
    world_skip(&x->w);
    fake_events_skip(&x->w.h);
}

static void ask(struct cast *x, const char *from, struct slice id, unsigned count,
                uint32_t registration, const char *keys)
{
    world_serve(&x->w, arena_text(&x->w.arena,
                                  arena_printf(&x->w.arena,
                                               "<receipt from=\"%s\" id=\"" SLICE_FMT
                                               "\" type=\"retry\" t=\"2\"><retry v=\"1\" "
                                               "count=\"%u\" id=\"" SLICE_FMT
                                               "\" t=\"1\"/><registration>[%08x]</registration>%s"
                                               "</receipt>",
                                               from, SLICE_ARG(id), count, SLICE_ARG(id),
                                               registration, keys)));
}

static void expect_ack(struct cast *x)
{
    const char *got = world_next(&x->w);
    cr_assert(got && strstr(got, "<ack class=\"receipt\""), "%s", got);
}

static const struct wa_node *expect_resend(struct cast *x, const char *to, const char *count)
{
    const struct wa_node *m = world_next_node(&x->w);

    cr_assert(m && wa_node_is(m, "message"), "%s", m ? x->w.last->text : "nothing");
    cr_assert(slice_is(wa_node_text(m, "to"), to));
    cr_assert(slice_is(wa_node_text(m, "device_fanout"), "false"));
    cr_assert(!wa_node_child(m, "participants"));
    cr_assert(slice_is(wa_node_text(wa_node_child(m, "enc"), "count"), count));
    return m;
}

/* To the query for the companion's keys. */
static void serve_bundle(struct cast *x)
{
    struct slice id = wa_node_text(x->w.last->stanza, "id");
    struct slice answer = arena_printf(
        &x->w.arena, "<iq type=\"result\" id=\"" SLICE_FMT "\"><list>" SLICE_FMT "</list></iq>",
        SLICE_ARG(id), SLICE_ARG(world_bundle_xml(&x->w, &x->companion, "888:2@lid")));

    expect_ack(x);
    world_serve(&x->w, arena_text(&x->w.arena, answer));
}

static struct slice text_of(struct cast *x, struct party *who, const struct wa_node *m)
{
    struct slice plain = world_decrypt(&x->w, who, wa_node_child(m, "enc"));
    return wa_pb_bytes(plain, 1);
}

#define COMPANION "15550002222:2@s.whatsapp.net"

Test(retry_out, answers_on_the_same_session_first)
{
    struct cast x;
    struct slice id;

    start(&x, &id);
    ask(&x, COMPANION, id, 1, x.companion.ks.registration_id, "");
    const struct wa_node *m = expect_resend(&x, COMPANION, "1");
    cr_assert(slice_eq(wa_node_text(m, "id"), id));
    cr_assert(slice_is(text_of(&x, &x.companion, m), "hello"));
    cr_assert(wa_node_child_bytes(m, "device-identity").len > 0);
    expect_ack(&x);
    world_expect_quiet(&x.w);
    world_expect_no_event(&x.w);
    cast_done(&x);
}

/* <keys> of the companion; with `signed_identity` as <device-identity> unless it is none. */
static const char *keys_of(struct cast *x, struct party *device, struct slice signed_identity)
{
    struct slice user = world_bundle_xml(&x->w, device, "888:2@lid");
    size_t from = (size_t)(strstr((const char *)user.data, "<type>") - (const char *)user.data);
    struct slice inner = slice_sub(user, from, user.len - strlen("</user>")), vouch = SLICE("");

    if (signed_identity.len)
        vouch = arena_printf(&x->w.arena, "<device-identity>[" SLICE_FMT "]</device-identity>",
                             SLICE_ARG(cast_hex(x, signed_identity)));
    return arena_text(&x->w.arena, arena_printf(&x->w.arena, "<keys>" SLICE_FMT SLICE_FMT "</keys>",
                                                SLICE_ARG(inner), SLICE_ARG(vouch)));
}

/* What a companion has once `phone` has linked it. */
static struct slice vouched_by(struct cast *x, struct party *phone, struct party *companion)
{
    static const uint8_t secret[WA_ADV_SECRET] = {1};
    struct wa_adv_grant grant = {.raw_id = 1, .key_index = 1, .timestamp = 1};
    struct slice box =
        wa_adv_issue(&phone->ks, &x->w.arena, secret, &companion->ks.identity->public, &grant);
    struct wa_adv_pairing pairing;

    cr_assert_eq(wa_adv_accept(&companion->ks, &x->w.arena, secret, box, &pairing), OK);
    return pairing.identity;
}

static void expect_new_session(struct cast *x, struct party *device)
{
    const struct wa_node *m = expect_resend(x, COMPANION, "2");

    cr_assert(slice_is(wa_node_text(wa_node_child(m, "enc"), "type"), "pkmsg"));
    cr_assert(slice_is(text_of(x, device, m), "hello"));
}

/* The query for the device's bundle; gives its id. */
static struct slice expect_query(struct cast *x)
{
    const char *iq = world_next(&x->w);

    cr_assert(iq && strstr(iq, "<user jid=\"888:2@lid\" reason=\"identity\"/>"), "%s", iq);
    return arena_dup(&x->w.arena, wa_node_text(x->w.last->stanza, "id"));
}

static void answer_query(struct cast *x, struct slice id, struct party *device)
{
    struct slice user = world_bundle_xml(&x->w, device, "888:2@lid");

    world_serve(&x->w, arena_text(&x->w.arena, arena_printf(&x->w.arena,
                                                            "<iq type=\"result\" id=\"" SLICE_FMT
                                                            "\"><list>" SLICE_FMT "</list></iq>",
                                                            SLICE_ARG(id), SLICE_ARG(user))));
}

Test(retry_out, installs_keys_of_the_identity_it_knows)
{
    struct cast x;
    struct slice id;

    start(&x, &id);
    ask(&x, COMPANION, id, 2, x.companion.ks.registration_id,
        keys_of(&x, &x.companion, SLICE_NONE));
    expect_new_session(&x, &x.companion);
    world_expect_no_event(&x.w);
    cast_done(&x);
}

Test(retry_out, installs_keys_that_the_known_phone_vouches_for)
{
    struct cast x;
    struct slice id;
    struct party anew;

    start(&x, &id);
    party_init(&anew, "888@lid", 2, 77); /* linked again: other identity */
    ask(&x, COMPANION, id, 2, anew.ks.registration_id,
        keys_of(&x, &anew, vouched_by(&x, &x.peer, &anew)));
    expect_new_session(&x, &anew);
    world_expect_event(&x.w, "identity 888@lid");
    party_done(&anew);
    cast_done(&x);
}

/* Nobody, or a phone that is not the one we know: the server is asked, and until it has answered
 * the session stays. */
Test(retry_out, other_keys_are_fetched_before_the_session_goes)
{
    for (int forged = 0; forged < 2; forged++) {
        struct cast x;
        struct slice id, query, vouch = SLICE_NONE;
        struct party anew, liar;

        start(&x, &id);
        party_init(&anew, "888@lid", 2, 77);
        party_init(&liar, "888@lid", 0, 78);
        if (forged) vouch = vouched_by(&x, &liar, &anew);
        ask(&x, COMPANION, id, 2, anew.ks.registration_id, keys_of(&x, &anew, vouch));
        query = expect_query(&x);
        expect_ack(&x);
        world_expect_no_event(&x.w);
        ask(&x, COMPANION, id, 1, x.companion.ks.registration_id, ""); /* its session still works */
        cr_assert(slice_is(text_of(&x, &x.companion, expect_resend(&x, COMPANION, "1")), "hello"));
        expect_ack(&x);
        answer_query(&x, query, &anew);
        expect_new_session(&x, &anew);
        world_expect_event(&x.w, "identity 888@lid");
        party_done(&liar);
        party_done(&anew);
        cast_done(&x);
    }
}

Test(retry_out, fetches_a_bundle_for_a_session_that_is_gone)
{
    struct cast x;
    struct slice id;

    start(&x, &id);
    ask(&x, COMPANION, id, 1, 0x12345678, ""); /* another registration: installed anew */
    const char *iq = world_next(&x.w);
    cr_assert(strstr(iq, "<key><user jid=\"888:2@lid\" reason=\"identity\"/></key>"), "%s", iq);
    serve_bundle(&x);
    const struct wa_node *m = expect_resend(&x, COMPANION, "1");
    cr_assert(slice_is(text_of(&x, &x.companion, m), "hello"));
    cast_done(&x);
}

Test(retry_out, makes_a_new_session_when_asked_twice_but_once_an_hour)
{
    struct cast x;
    struct slice id;

    start(&x, &id);
    ask(&x, COMPANION, id, 2, x.companion.ks.registration_id, "");
    const char *first = world_next(&x.w);
    cr_assert(strstr(first, "xmlns=\"encrypt\""), "recreated once: %s", first);
    serve_bundle(&x);
    expect_resend(&x, COMPANION, "2");
    /* Within the hour: the new session is tried again. */
    ask(&x, COMPANION, id, 3, x.companion.ks.registration_id, "");
    expect_resend(&x, COMPANION, "3");
    expect_ack(&x);
    cast_done(&x);
}

/* Noted by a clock that was ahead: it would be years until the hour is over. */
Test(retry_out, makes_a_new_session_when_the_clock_was_set_back)
{
    struct cast x;
    struct slice id;

    start(&x, &id);
    ask(&x, COMPANION, id, 2, x.companion.ks.registration_id, "");
    world_next(&x.w);
    serve_bundle(&x);
    expect_resend(&x, COMPANION, "2");
    x.w.now -= 2 * 3600 * 1000;
    wa_client_clock(x.w.client, x.w.now);
    ask(&x, COMPANION, id, 3, x.companion.ks.registration_id, "");
    const char *iq = world_next(&x.w);
    cr_assert(strstr(iq, "xmlns=\"encrypt\""), "%s", iq);
    serve_bundle(&x);
    expect_resend(&x, COMPANION, "3");
    cast_done(&x);
}

Test(retry_out, gives_our_own_phone_the_copy)
{
    struct cast x;
    struct slice id;

    start(&x, &id);
    world_serve(
        &x.w, arena_text(&x.w.arena,
                         arena_printf(
                             &x.w.arena,
                             "<receipt from=\"15550001111@s.whatsapp.net\" "
                             "recipient=\"15550002222@s.whatsapp.net\" "
                             "id=\"" SLICE_FMT
                             "\" type=\"retry\" t=\"2\"><retry v=\"1\" count=\"1\" id=\"" SLICE_FMT
                             "\" t=\"1\"/><registration>[%08x]</registration></receipt>",
                             SLICE_ARG(id), SLICE_ARG(id), x.phone.ks.registration_id)));
    const struct wa_node *m = expect_resend(&x, "15550001111@s.whatsapp.net", "1");
    cr_assert(slice_is(wa_node_text(m, "recipient"), "15550002222@s.whatsapp.net"));
    struct slice plain = world_decrypt(&x.w, &x.phone, wa_node_child(m, "enc"));
    struct slice sent = wa_pb_bytes(plain, 31);
    cr_assert(slice_is(wa_pb_bytes(sent, 1), "15550002222@s.whatsapp.net"));
    cr_assert(slice_is(wa_pb_bytes(wa_pb_bytes(sent, 2), 1), "hello"));
    cast_done(&x);
}

Test(retry_out, stops_after_five_answers_and_at_a_count_above)
{
    struct cast x;
    struct slice id;

    start(&x, &id);
    ask(&x, COMPANION, id, 6, x.companion.ks.registration_id, "");
    expect_ack(&x);
    for (int i = 0; i < 5; i++) {
        ask(&x, COMPANION, id, 1, x.companion.ks.registration_id, "");
        expect_resend(&x, COMPANION, "1");
        expect_ack(&x);
    }
    ask(&x, COMPANION, id, 1, x.companion.ks.registration_id, "");
    expect_ack(&x);
    world_expect_quiet(&x.w);
    cast_done(&x);
}

Test(retry_out, acknowledges_what_it_does_not_know)
{
    struct cast x;
    struct slice id;

    start(&x, &id);
    ask(&x, COMPANION, SLICE("UNKNOWN"), 1, x.companion.ks.registration_id, "");
    expect_ack(&x);
    world_serve(&x.w, "<receipt from=\"120363@g.us\" participant=\"888:2@lid\" id=\"G\" "
                      "type=\"retry\"><retry v=\"1\" count=\"1\" id=\"G\" t=\"1\"/></receipt>");
    expect_ack(&x);
    world_expect_quiet(&x.w);
    cr_assert_null(fake_row(&x.w.h, WA_NS_BASE_KEY, "888@lid", "2 UNKNOWN"), "nothing to keep");
    cast_done(&x);
}

/* We write to no group: whoever asks there, even for an id of ours, gets the ack and nothing. */
Test(retry_out, a_group_is_acknowledged_and_told_nothing)
{
    struct cast x;
    struct slice id;

    start(&x, &id);
    world_serve(
        &x.w,
        arena_text(&x.w.arena, arena_printf(&x.w.arena,
                                            "<receipt from=\"120363@g.us\" participant=\"" COMPANION
                                            "\" id=\"" SLICE_FMT "\" type=\"retry\" t=\"2\"><retry "
                                            "v=\"1\" count=\"1\" id=\"" SLICE_FMT
                                            "\" t=\"1\"/><registration>[00000001]</registration>"
                                            "</receipt>",
                                            SLICE_ARG(id), SLICE_ARG(id))));
    expect_ack(&x);
    world_expect_quiet(&x.w);
    cast_done(&x);
}

Test(retry_out, answers_after_a_restart)
{
    struct cast x;
    struct slice id;

    start(&x, &id);
    world_restart(&x.w);
    world_login(&x.w);
    ask(&x, COMPANION, id, 1, x.companion.ks.registration_id, "");
    const struct wa_node *m = expect_resend(&x, COMPANION, "1");
    cr_assert(slice_is(text_of(&x, &x.companion, m), "hello"));
    cast_done(&x);
}
