/* A client with somebody to write to: the contact 15550002222 / 888@lid with a phone and one
 * companion (2), and our own phone. Answers of the server to the queries of a send. */
#pragma once
#include <criterion/criterion.h>
#include <stdio.h>

#include "proto/base/text.h"
#include "proto/client/pb.h"
#include "proto/signal/adv.h"
#include "tests/support/fake_server.h"

struct cast {
    struct world w;
    struct party phone, peer, companion; /* 777:0, 888:0, 888:2 */
    uint64_t operation;
};

static inline void cast_init(struct cast *x)
{
    *x = (struct cast){0};
    world_init_paired(&x->w);
    world_login(&x->w);
    party_init(&x->phone, "777@lid", 0, 7); /* the same that paired us */
    party_init(&x->peer, "888@lid", 0, 21);
    party_init(&x->companion, "888@lid", 2, 22);
}

static inline void cast_done(struct cast *x)
{
    party_done(&x->phone);
    party_done(&x->peer);
    party_done(&x->companion);
    world_done(&x->w);
}

static inline struct slice cast_hex(struct cast *x, struct slice bytes)
{
    AUTO(buf) out = {0};
    text_hex(bytes, &out);
    return arena_dup(&x->w.arena, buf_slice(&out));
}

/* <user> with a phone and a companion, as the server lists them. */
static inline const char *cast_devices(struct cast *x, const char *jid, const char *lid,
                                       struct party *phone, unsigned companion)
{
    uint32_t valid[] = {1};
    struct wa_key_index_list list = {
        .raw_id = 1, .timestamp = 1, .current_index = 1, .valid = valid, .valid_count = 1};
    struct slice bytes = wa_key_index_sign(&phone->ks, &x->w.arena, &list);
    char device[64] = "";

    if (companion)
        snprintf(device, sizeof(device), "<device id=\"%u\" key-index=\"1\"/>", companion);
    return arena_text(
        &x->w.arena,
        arena_printf(
            &x->w.arena,
            "<user jid=\"%s\"><devices><device-list hash=\"x\"><device id=\"0\"/>%s</device-list>"
            "<key-index-list ts=\"1\">[" SLICE_FMT "]</key-index-list></devices><lid val=\"%s\"/>"
            "</user>",
            jid, device, SLICE_ARG(cast_hex(x, bytes)), lid));
}

static inline err_t cast_send(struct cast *x, struct wa_party to, const char *text)
{
    struct wa_text t = {.operation = ++x->operation, .to = to, .text = slice_text(text)};
    err_t e;

    t.id = wa_client_message_id(x->w.client, x->w.now, &x->w.arena);
    fake_turn_open(&x->w.h);
    e = wa_client_send_text(x->w.client, &t, x->w.now);
    fake_turn_close(&x->w.h);
    world_settle(&x->w);
    return e;
}

static inline struct wa_party cast_peer_pn(void)
{
    return (struct wa_party){.pn = wa_jid_of(WA_SERVER_USER, SLICE("15550002222"), 0)};
}

static inline struct wa_party cast_peer_lid(void)
{
    return (struct wa_party){.lid = wa_jid_of(WA_SERVER_LID, SLICE("888"), 0)};
}

static inline void cast_answer_usync(struct cast *x, const char *users)
{
    world_answer(
        &x->w, "get", "usync",
        arena_text(&x->w.arena,
                   arena_printf(&x->w.arena, "<usync><result/><list>%s</list></usync>", users)));
}

static inline void cast_answer_contact(struct cast *x, bool in)
{
    cast_answer_usync(x, in ? "<user jid=\"15550002222@s.whatsapp.net\"><contact type=\"in\">"
                              "+15550002222</contact><lid val=\"888@lid\"/></user>"
                            : "<user jid=\"15550002222@s.whatsapp.net\"><contact type=\"out\">"
                              "+15550002222</contact></user>");
}

static inline void cast_answer_devices(struct cast *x)
{
    const char *peer = cast_devices(x, "888@lid", "888@lid", &x->peer, 2),
               *self = cast_devices(x, "777@lid", "777@lid", &x->phone, 5);
    char *both = arena_text(&x->w.arena, arena_printf(&x->w.arena, "%s%s", peer, self));

    cast_answer_usync(x, both);
}

static inline void cast_answer_bundles(struct cast *x)
{
    struct slice xml = arena_printf(&x->w.arena, "<list>" SLICE_FMT SLICE_FMT SLICE_FMT "</list>",
                                    SLICE_ARG(world_bundle_xml(&x->w, &x->peer, "888@lid")),
                                    SLICE_ARG(world_bundle_xml(&x->w, &x->companion, "888:2@lid")),
                                    SLICE_ARG(world_bundle_xml(&x->w, &x->phone, "777@lid")));

    world_answer(&x->w, "get", "encrypt", arena_text(&x->w.arena, xml));
}

/* The first message to the contact, with every query answered; the stanza comes next. */
static inline void cast_first_message(struct cast *x, const char *text)
{
    cr_assert_eq(cast_send(x, cast_peer_pn(), text), OK);
    cast_answer_contact(x, true);
    cast_answer_devices(x);
    cast_answer_bundles(x);
}

/* Whether the device list of this person would be used without asking. */
static inline bool cast_list_is_fresh(struct cast *x, const char *owner)
{
    const struct buf *row = fake_row(&x->w.h, WA_NS_DEVICES, owner, "");
    static const uint8_t never[8];

    return row && memcmp(row->data + 1, never, sizeof(never)) != 0;
}

static inline const struct wa_node *cast_enc_for(const struct wa_node *message, const char *jid)
{
    const struct wa_node *participants = wa_node_child(message, "participants"), *to;

    for (size_t i = 0; participants && (to = wa_node_next(participants, "to", &i));)
        if (slice_is(wa_node_text(to, "jid"), jid)) return wa_node_child(to, "enc");
    return NULL;
}

/* What this device reads in the message: the text, or the text inside deviceSentMessage. */
static inline struct slice cast_read(struct cast *x, struct party *who,
                                     const struct wa_node *message, const char *jid)
{
    const struct wa_node *enc = cast_enc_for(message, jid);
    cr_assert(enc, "nothing for %s", jid);
    struct slice plain = world_decrypt(&x->w, who, enc), sent = wa_pb_bytes(plain, 31);

    return wa_pb_bytes(slice_is_none(sent) ? plain : wa_pb_bytes(sent, 2), 1);
}

static inline void cast_ack(struct cast *x, struct slice id, const char *from, const char *more)
{
    world_serve(&x->w, arena_text(&x->w.arena, arena_printf(&x->w.arena,
                                                            "<ack class=\"message\" id=\"" SLICE_FMT
                                                            "\" from=\"%s\" t=\"1700000002\" "
                                                            "%s/>",
                                                            SLICE_ARG(id), from, more)));
}
