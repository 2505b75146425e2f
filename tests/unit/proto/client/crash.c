/* Two people write to each other while the client is killed, cut off and committed at random
 * moments. What came in is shown exactly once; what we show as sent is read exactly once, and
 * nothing else ever leaves. */
#include "tests/support/sending.h"

enum { MESSAGES = 60, QUEUE = 256 };

struct run {
    struct cast x;
    uint64_t seed;
    /* The server's queue for the client: stays until its receipt. */
    struct {
        char id[16];
        struct wa_node *stanza;
    } queue[QUEUE];
    size_t queued;
    int to_client, from_client; /* texts made so far */
    unsigned read_by_peer[QUEUE * 4];
    char *seen_ids[1024];
    size_t seen;
};

static unsigned dice(struct run *r, unsigned n)
{
    r->seed = r->seed * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(r->seed >> 33) % n;
}

static void peer_writes(struct run *r)
{
    struct world *w = &r->x.w;
    char text[16];
    int n = r->to_client++;
    char *xml = arena_text(
        &w->arena,
        arena_printf(&w->arena, "<message from=\"888@lid\" id=\"IN%d\" type=\"text\" t=\"1\"/>",
                     n));
    struct wa_node *stanza = world_parse(w, xml);

    snprintf(text, sizeof(text), "in%d", n);
    world_encrypt(w, &r->x.peer, world_text(w, text), stanza);
    snprintf(r->queue[r->queued].id, sizeof(r->queue[0].id), "IN%d", n);
    r->queue[r->queued++].stanza = stanza;
    if (w->is_transport && w->is_up) world_serve_node(w, stanza);
}

static void client_writes(struct run *r)
{
    char text[16];

    snprintf(text, sizeof(text), "out%d", r->from_client);
    if (cast_send(&r->x, cast_peer_lid(), text) == OK) r->from_client++;
}

static void on_receipt(struct run *r, const struct wa_node *receipt)
{
    struct slice id = wa_node_text(receipt, "id");

    cr_assert(!slice_is(wa_node_text(receipt, "type"), "retry"), "nothing was spoilt");
    for (size_t i = 0; i < r->queued; i++) {
        if (!slice_is(id, r->queue[i].id)) continue;
        r->queue[i] = r->queue[--r->queued];
        return;
    }
}

static bool is_new(struct run *r, struct slice id)
{
    for (size_t i = 0; i < r->seen; i++)
        if (slice_is(id, r->seen_ids[i])) return false;
    r->seen_ids[r->seen++] = arena_text(&r->x.w.arena, id);
    return true;
}

static void on_message(struct run *r, const struct wa_node *message)
{
    struct slice id = arena_dup(&r->x.w.arena, wa_node_text(message, "id"));
    const struct wa_node *enc = cast_enc_for(message, "888@lid");

    cr_assert(enc);
    if (is_new(r, id)) {
        struct slice text = wa_pb_bytes(world_decrypt(&r->x.w, &r->x.peer, enc), 1);
        cr_assert(text.len > 3, "the peer cannot read %s", r->x.w.last->text);
        r->read_by_peer[atoi(arena_text(&r->x.w.arena, slice_from(text, 3)))]++;
    }
    cast_ack(&r->x, id, "888@lid", "");
}

static void on_iq(struct run *r, const struct wa_node *iq)
{
    struct world *w = &r->x.w;
    struct slice id = wa_node_text(iq, "id"), xmlns = wa_node_text(iq, "xmlns");
    const char *inner = "";

    if (slice_is(xmlns, "usync"))
        inner = arena_text(&w->arena,
                           arena_printf(&w->arena, "<usync><list>%s%s</list></usync>",
                                        cast_devices(&r->x, "888@lid", "888@lid", &r->x.peer, 0),
                                        cast_devices(&r->x, "777@lid", "777@lid", &r->x.phone, 5)));
    if (slice_is(xmlns, "encrypt") && wa_node_child(iq, "key"))
        inner = arena_text(&w->arena,
                           arena_printf(&w->arena, "<list>" SLICE_FMT SLICE_FMT "</list>",
                                        SLICE_ARG(world_bundle_xml(w, &r->x.peer, "888@lid")),
                                        SLICE_ARG(world_bundle_xml(w, &r->x.phone, "777@lid"))));
    if (slice_is(xmlns, "encrypt") && wa_node_child(iq, "count")) inner = "<count value=\"100\"/>";
    world_serve(
        w, arena_text(&w->arena,
                      arena_printf(&w->arena,
                                   "<iq type=\"result\" from=\"@s.whatsapp.net\" id=\"" SLICE_FMT
                                   "\">%s</iq>",
                                   SLICE_ARG(id), inner)));
}

static void server_reads(struct run *r)
{
    const struct wa_node *n;

    while (r->x.w.is_up && (n = world_next_node(&r->x.w))) {
        if (wa_node_is(n, "iq")) on_iq(r, n);
        if (wa_node_is(n, "receipt")) on_receipt(r, n);
        if (wa_node_is(n, "message")) on_message(r, n);
    }
}

static void come_back(struct run *r)
{
    struct world *w = &r->x.w;

    w->hold = false;
    world_connect(w);
    world_serve(w, "<success t=\"1700000000\" lid=\"777:5@lid\"/>");
    w->hold = true;
    world_resend_outbox(w);
    for (size_t i = 0; i < r->queued; i++)
        world_serve_node(w, r->queue[i].stanza);
}

static void step(struct run *r)
{
    struct world *w = &r->x.w;

    switch (dice(r, 20)) {
    case 0:
        world_restart(w);
        come_back(r);
        break;
    case 1:
        w->is_up = false;
        fake_turn_open(&w->h);
        cr_assert_eq(wa_client_link_down(w->client, "cut", w->now), OK);
        fake_turn_close(&w->h);
        come_back(r);
        break;
    case 2 ... 5:
        if (r->to_client < MESSAGES) peer_writes(r);
        break;
    case 6 ... 8:
        if (r->from_client < MESSAGES) client_writes(r);
        break;
    default:
        world_commit_one(w);
        server_reads(r);
        break;
    }
}

static unsigned count_events(struct run *r, const char *text)
{
    unsigned n = 0;

    for (size_t i = 0; i < r->x.w.h.event_count; i++)
        n += strstr(r->x.w.h.events[i], text) != NULL;
    return n;
}

static void check(struct run *r)
{
    char text[32];

    for (int i = 0; i < r->to_client; i++) {
        snprintf(text, sizeof(text), " \"in%d\"", i);
        cr_assert_eq(count_events(r, text), 1, "%s came %u times", text, count_events(r, text));
    }
    for (int i = 0; i < r->from_client; i++) {
        snprintf(text, sizeof(text), " \"out%d\" ours", i);
        unsigned shown = count_events(r, text);
        cr_assert_leq(shown, 1);
        cr_assert_eq(r->read_by_peer[i], shown, "%s: shown %u, read %u", text, shown,
                     r->read_by_peer[i]);
    }
    cr_assert_eq(r->queued, 0, "%zu not receipted", r->queued);
    cr_assert(list_empty(&r->x.w.h.outbox));
}

static void run(uint64_t seed)
{
    struct run *r = xcalloc(sizeof(*r));

    r->seed = seed;
    cast_init(&r->x);
    world_introduce(&r->x.w, &r->x.peer);
    r->x.w.hold = true;
    for (int i = 0; i < 1500; i++)
        step(r);
    for (int i = 0; i < 3; i++) { /* quiet: everything settles */
        for (bool more = true; more;) {
            more = world_commit_one(&r->x.w);
            server_reads(r);
        }
        if (i == 0) come_back(r);
    }
    check(r);
    cast_done(&r->x);
    free(r);
}

Test(crash, nothing_is_lost_or_doubled_whatever_the_moment)
{
    for (uint64_t seed = 1; seed <= 8; seed++)
        run(seed);
}
