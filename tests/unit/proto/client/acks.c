/* One row per line of protocol.md 7.5 and 7.6: what comes in, what must go out, word for word. A
 * status gets the ack of 7.6. */
#include "proto/client/acks.h"

#include <criterion/criterion.h>

#include "proto/client/pb.h"
#include "tests/support/fake_server.h"

#define OWN "15550001111:5@s.whatsapp.net"
#define SEALED "<enc v=\"2\" type=\"%s\"/>"

/* From READ on nothing comes in: we say of two messages that they were read or played, as one who
 * hides it or not, or that the file of one is lost. */
enum who {
    NOBODY,
    PEER,
    PHONE,
    GROUP_PEER,
    GROUP_PHONE,
    READ,
    READ_GROUP,
    READ_HIDDEN,
    READ_GROUP_HIDDEN,
    PLAYED,
    PLAYED_HIDDEN,
    LOST,
    LOST_GROUP
};

struct row {
    const char *line; /* of the sheet */
    const char *in;
    enum who from; /* whose <enc> is put in; NOBODY: the stanza as it is */
    const char *out[3];
};

static const struct row rows[] = {
    {"7.5 delivered, DM: device kept, inactive",
     "<message from=\"888:2@lid\" id=\"M\" type=\"text\" t=\"1\"/>",
     PEER,
     {"<receipt id=\"M\" to=\"888:2@lid\" type=\"inactive\"/>"}},
    {"7.5 delivered, DM addressed by phone number",
     "<message from=\"15550002222:2@s.whatsapp.net\" sender_lid=\"888@lid\" id=\"M\" type=\"text\" "
     "t=\"1\"/>",
     PEER,
     {"<receipt id=\"M\" to=\"15550002222:2@s.whatsapp.net\" type=\"inactive\"/>"}},
    {"7.5 delivered, DM from the backlog",
     "<message from=\"888:2@lid\" id=\"M\" type=\"text\" t=\"1\" offline=\"3\"/>",
     PEER,
     {"<receipt id=\"M\" to=\"888:2@lid\" type=\"inactive\"/>"}},
    {"7.5 delivered, group: participant with device",
     "<message from=\"120363@g.us\" participant=\"888:2@lid\" id=\"M\" type=\"text\" t=\"1\"/>",
     GROUP_PEER,
     {"<receipt id=\"M\" to=\"120363@g.us\" type=\"inactive\" participant=\"888:2@lid\"/>"}},
    {"7.5 broadcast list",
     "<message from=\"1234@broadcast\" participant=\"888:2@lid\" id=\"M\" type=\"text\" t=\"1\"/>",
     PEER,
     {"<receipt id=\"M\" to=\"1234@broadcast\" type=\"inactive\" participant=\"888:2@lid\"/>"}},
    {"7.5 own DM echoed from another own device",
     "<message from=\"777@lid\" recipient=\"888@lid\" id=\"M\" type=\"text\" t=\"1\"/>",
     PHONE,
     {"<receipt id=\"M\" to=\"777@lid\" type=\"sender\" recipient=\"888@lid\"/>"}},
    {"7.5 own DM echoed, by phone number",
     "<message from=\"15550001111@s.whatsapp.net\" recipient=\"15550002222@s.whatsapp.net\" "
     "id=\"M\" type=\"text\" t=\"1\"/>",
     PHONE,
     {"<receipt id=\"M\" to=\"15550001111@s.whatsapp.net\" type=\"sender\" "
      "recipient=\"15550002222@s.whatsapp.net\"/>"}},
    {"7.5 own group message from another own device",
     "<message from=\"120363@g.us\" participant=\"777@lid\" id=\"M\" type=\"text\" t=\"1\"/>",
     GROUP_PHONE,
     {"<receipt id=\"M\" to=\"120363@g.us\" type=\"sender\" participant=\"777@lid\"/>"}},
    {"7.5 own DM without recipient (note to self): plain ack",
     "<message from=\"777@lid\" id=\"M\" type=\"text\" t=\"1\"/>",
     PHONE,
     {"<ack class=\"message\" id=\"M\" to=\"777@lid\" from=\"" OWN "\"/>"}},
    {"7.5 category=peer",
     "<message from=\"777@lid\" category=\"peer\" id=\"M\" type=\"text\" t=\"1\"/>",
     PHONE,
     {"<receipt id=\"M\" to=\"777@lid\" type=\"peer_msg\"/>"}},
    {"7.5 read: the first id in the attribute, the others in the list, no participant",
     NULL,
     READ,
     {"<receipt id=\"A\" to=\"888@lid\" type=\"read\" t=\"1700000000\"><list><item "
      "id=\"B\"/></list>"
      "</receipt>"}},
    {"7.5 read, group: participant is the author",
     NULL,
     READ_GROUP,
     {"<receipt id=\"A\" to=\"120363@g.us\" type=\"read\" t=\"1700000000\" "
      "participant=\"888@lid\"><list><item id=\"B\"/></list></receipt>"}},
    {"7.5 read-self: read receipts are off",
     NULL,
     READ_HIDDEN,
     {"<receipt id=\"A\" to=\"888@lid\" type=\"read-self\" t=\"1700000000\"><list><item "
      "id=\"B\"/></list></receipt>"}},
    {"7.5 read-self, group",
     NULL,
     READ_GROUP_HIDDEN,
     {"<receipt id=\"A\" to=\"120363@g.us\" type=\"read-self\" t=\"1700000000\" "
      "participant=\"888@lid\"><list><item id=\"B\"/></list></receipt>"}},
    {"7.5 played",
     NULL,
     PLAYED,
     {"<receipt id=\"A\" to=\"888@lid\" type=\"played\" t=\"1700000000\"><list><item "
      "id=\"B\"/></list></receipt>"}},
    {"7.5 played-self",
     NULL,
     PLAYED_HIDDEN,
     {"<receipt id=\"A\" to=\"888@lid\" type=\"played-self\" t=\"1700000000\"><list><item "
      "id=\"B\"/></list></receipt>"}},
    {"7.5 failed blob: server-error to ourselves",
     NULL,
     LOST,
     {"<receipt id=\"A\" to=\"15550001111@s.whatsapp.net\" type=\"server-error\"><encrypt>"
      "<enc_p>[19 B]</enc_p><enc_iv>[12 B]</enc_iv></encrypt><rmr jid=\"888@lid\" "
      "from_me=\"false\"/></receipt>"}},
    {"7.5 failed blob in a group: participant",
     NULL,
     LOST_GROUP,
     {"<receipt id=\"A\" to=\"15550001111@s.whatsapp.net\" type=\"server-error\"><encrypt>"
      "<enc_p>[19 B]</enc_p><enc_iv>[12 B]</enc_iv></encrypt><rmr jid=\"120363@g.us\" "
      "from_me=\"false\" participant=\"888@lid\"/></receipt>"}},
    {"7.5 undecryptable: retry receipt, then the ack",
     "<message from=\"888:9@lid\" id=\"M\" type=\"text\" t=\"1\"><enc v=\"2\" type=\"msg\">[33]"
     "</enc></message>",
     NOBODY,
     {"<receipt id=\"M\" to=\"888:9@lid\" type=\"retry\"><retry v=\"1\" count=\"1\" id=\"M\" "
      "t=\"1\" error=\"4\"/><registration>[4 B]</registration></receipt>",
      "<ack class=\"message\" id=\"M\" to=\"888:9@lid\" from=\"" OWN "\"/>"}},
    {"7.5 undecryptable in a group: participant in both",
     "<message from=\"120363@g.us\" participant=\"888:2@lid\" id=\"M\" type=\"text\" t=\"1\"><enc "
     "v=\"2\" type=\"msg\">[33]</enc></message>",
     NOBODY,
     {"<receipt id=\"M\" to=\"120363@g.us\" type=\"retry\" participant=\"888:2@lid\"><retry "
      "v=\"1\" "
      "count=\"1\" id=\"M\" t=\"1\" error=\"4\"/><registration>[4 B]</registration></receipt>",
      "<ack class=\"message\" id=\"M\" to=\"120363@g.us\" participant=\"888:2@lid\" from=\"" OWN
      "\"/>"}},
    {"7.6 notification",
     "<notification type=\"picture\" from=\"888@lid\" id=\"N\" t=\"1\"/>",
     NOBODY,
     {"<ack class=\"notification\" id=\"N\" to=\"888@lid\" type=\"picture\"/>"}},
    {"7.6 notification of a group",
     "<notification type=\"w:gp2\" from=\"120363@g.us\" participant=\"888@lid\" id=\"N\" t=\"1\">"
     "<add/></notification>",
     NOBODY,
     {"<ack class=\"notification\" id=\"N\" to=\"120363@g.us\" participant=\"888@lid\" "
      "type=\"w:gp2\"/>"}},
    {"7.6 notification of a type nobody knows",
     "<notification type=\"waffle\" from=\"@s.whatsapp.net\" id=\"N\"/>",
     NOBODY,
     {"<ack class=\"notification\" id=\"N\" to=\"@s.whatsapp.net\" type=\"waffle\"/>"}},
    {"7.6 receipt, delivered",
     "<receipt from=\"888:2@lid\" id=\"R\" t=\"1\"/>",
     NOBODY,
     {"<ack class=\"receipt\" id=\"R\" to=\"888:2@lid\"/>"}},
    {"7.6 receipt, read",
     "<receipt from=\"888@lid\" id=\"R\" type=\"read\" t=\"1\"/>",
     NOBODY,
     {"<ack class=\"receipt\" id=\"R\" to=\"888@lid\" type=\"read\"/>"}},
    {"7.6 receipt in a group",
     "<receipt from=\"120363@g.us\" participant=\"888:2@lid\" id=\"R\" type=\"read\" t=\"1\"/>",
     NOBODY,
     {"<ack class=\"receipt\" id=\"R\" to=\"120363@g.us\" participant=\"888:2@lid\" "
      "type=\"read\"/>"}},
    {"7.6 receipt whose participant equals from",
     "<receipt from=\"888@lid\" participant=\"888@lid\" id=\"R\" type=\"read\" t=\"1\"/>",
     NOBODY,
     {"<ack class=\"receipt\" id=\"R\" to=\"888@lid\" type=\"read\"/>"}},
    {"7.6 recipient attribute: always echo",
     "<receipt from=\"777:3@lid\" recipient=\"888@lid\" id=\"R\" type=\"read\" t=\"1\"/>",
     NOBODY,
     {"<ack class=\"receipt\" id=\"R\" to=\"777:3@lid\" recipient=\"888@lid\" type=\"read\"/>"}},
    {"7.7 receipt of a type without an event",
     "<receipt from=\"888@lid\" id=\"R\" type=\"server-error\" t=\"1\"/>",
     NOBODY,
     {"<ack class=\"receipt\" id=\"R\" to=\"888@lid\" type=\"server-error\"/>"}},
    {"7.6 call of another device of ours: recipient",
     "<call from=\"777:3@lid\" recipient=\"888@lid\" id=\"C\" t=\"1\"><terminate "
     "call-id=\"x\"/></call>",
     NOBODY,
     {"<ack class=\"call\" id=\"C\" to=\"777:3@lid\" recipient=\"888@lid\"/>"}},
    {"7.6 call",
     "<call from=\"888@lid\" id=\"C\" t=\"1\"><offer call-id=\"x\" "
     "call-creator=\"888@lid\"/></call>",
     NOBODY,
     {"<ack class=\"call\" id=\"C\" to=\"888@lid\"/>"}},
    {"7.6 encrypt notification with identity: no type",
     "<notification type=\"encrypt\" from=\"888@lid\" id=\"N\" t=\"1\"><identity/></notification>",
     NOBODY,
     {"<ack class=\"notification\" id=\"N\" to=\"888@lid\"/>"}},
    {"7.6 status message",
     "<message from=\"status@broadcast\" participant=\"888:2@lid\" id=\"M\" type=\"text\" "
     "t=\"1\"><enc v=\"2\" type=\"skmsg\">[00]</enc></message>",
     NOBODY,
     {"<ack class=\"message\" id=\"M\" to=\"status@broadcast\" participant=\"888:2@lid\" "
      "from=\"" OWN "\"/>"}},
    {"7.6 top-level status",
     "<status from=\"status@broadcast\" participant=\"888:2@lid\" id=\"M\" t=\"1\"><enc v=\"2\" "
     "type=\"skmsg\">[00]</enc></status>",
     NOBODY,
     {"<ack class=\"status\" id=\"M\" to=\"status@broadcast\" participant=\"888:2@lid\" from=\"" OWN
      "\"/>"}},
    {"7.6 newsletter",
     "<message from=\"1203@newsletter\" id=\"M\" type=\"text\" server_id=\"9\" t=\"1\"><plaintext>"
     "[0a]</plaintext></message>",
     NOBODY,
     {"<ack class=\"message\" id=\"M\" to=\"1203@newsletter\" from=\"" OWN "\"/>"}},
    {"7.4 unavailable",
     "<message from=\"888:2@lid\" id=\"M\" type=\"media\" t=\"1\">"
     "<unavailable type=\"view_once_unavailable_fanout\"/></message>",
     NOBODY,
     {"<ack class=\"message\" id=\"M\" to=\"888:2@lid\" from=\"" OWN "\"/>"}},
    {"7.6 message that cannot be handled ever",
     "<message from=\"888:2@lid\" id=\"M\" type=\"text\" t=\"1\"><novelty/></message>",
     NOBODY,
     {"<ack class=\"message\" id=\"M\" to=\"888:2@lid\" from=\"" OWN "\" error=\"488\"/>"}},
    {"7.6 plain ack of a message echoes the recipient",
     "<message from=\"777:3@lid\" recipient=\"888@lid\" id=\"M\" type=\"media\" t=\"1\">"
     "<unavailable type=\"hosted_unavailable_fanout\"/></message>",
     NOBODY,
     {"<ack class=\"message\" id=\"M\" to=\"777:3@lid\" recipient=\"888@lid\" from=\"" OWN "\"/>"}},
    {"7.6 message without its author",
     "<message from=\"120363@g.us\" id=\"M\" type=\"text\" t=\"1\"><enc v=\"2\" type=\"skmsg\">[00]"
     "</enc></message>",
     NOBODY,
     {"<ack class=\"message\" id=\"M\" to=\"120363@g.us\" from=\"" OWN "\" error=\"488\"/>"}},
};

static void put_group_key(struct world *w, struct party *author, struct wa_node *stanza)
{
    struct slice distribution, sealed;
    AUTO(buf) inner = {0};
    AUTO(buf) message = {0};

    cr_assert_eq(wa_group_distribute(&author->ks, &w->arena, SLICE("120363@g.us"), &author->address,
                                     &distribution),
                 OK);
    wa_pb_put_bytes(&inner, 1, SLICE("120363@g.us"));
    wa_pb_put_bytes(&inner, 2, distribution);
    wa_pb_put_bytes(&message, 2, buf_slice(&inner));
    world_encrypt(w, author, buf_slice(&message), stanza);
    cr_assert_eq(wa_group_encrypt(&author->ks, &w->arena, SLICE("120363@g.us"), &author->address,
                                  wa_pad(&author->ks, &w->arena, world_text(w, "hi")), &sealed),
                 OK);
    struct wa_node *enc = wa_node_add(stanza, &w->arena, "enc");
    wa_node_set_text(enc, &w->arena, "v", "2");
    wa_node_set_text(enc, &w->arena, "type", "skmsg");
    wa_node_set_bytes(enc, sealed);
}

static void hide_reads(struct world *w)
{
    world_serve(w, "<notification type=\"account_sync\" from=\"15550001111@s.whatsapp.net\" "
                   "id=\"N\" t=\"1\"><privacy><category name=\"readreceipts\" "
                   "value=\"none\"/></privacy></notification>");
    world_skip(w);
}

static void tell(struct world *w, enum who who)
{
    static const uint8_t key[32];
    bool is_group = who == READ_GROUP || who == READ_GROUP_HIDDEN || who == LOST_GROUP;
    struct slice ids[] = {SLICE("A"), SLICE("B")};
    struct wa_party peer = {.lid = wa_jid_of(WA_SERVER_LID, SLICE("888"), 0)};
    struct wa_party group = {.pn = wa_jid_of(WA_SERVER_GROUP, SLICE("120363"), 0)};
    struct wa_read read = {.is_group = is_group,
                           .played = who == PLAYED || who == PLAYED_HIDDEN,
                           .ids = ids,
                           .id_count = 2,
                           .chat = is_group ? group : peer,
                           .author = peer};
    struct wa_lost_media lost = {.is_group = is_group,
                                 .id = ids[0],
                                 .media_key = SLICE_ARRAY(key),
                                 .chat = read.chat,
                                 .author = peer};

    if (who == READ_HIDDEN || who == READ_GROUP_HIDDEN || who == PLAYED_HIDDEN) hide_reads(w);
    if (who >= LOST)
        WORLD_TURN(w, wa_client_ask_media(w->client, &lost, w->now));
    else
        WORLD_TURN(w, wa_client_mark_read(w->client, &read, w->now));
}

static void check(const struct row *row)
{
    struct world w;
    struct party peer, phone;

    world_init_paired(&w);
    world_login(&w);
    party_init(&peer, "888@lid", 2, 11);
    party_init(&phone, "777@lid", 0, 7); /* that paired us */
    world_introduce(&w, &peer);
    world_introduce(&w, &phone);

    struct wa_node *in = row->in ? world_parse(&w, row->in) : NULL;
    if (row->from == PEER) world_encrypt(&w, &peer, world_text(&w, "hi"), in);
    if (row->from == PHONE) world_encrypt(&w, &phone, world_text(&w, "hi"), in);
    if (row->from == GROUP_PEER) put_group_key(&w, &peer, in);
    if (row->from == GROUP_PHONE) put_group_key(&w, &phone, in);
    if (in)
        world_serve_node(&w, in);
    else
        tell(&w, row->from);
    for (int i = 0; i < 3 && row->out[i]; i++) {
        const char *got = world_next(&w);
        cr_expect_str_eq(got ? got : "(nothing)", row->out[i], "%s:\n got %s", row->line,
                         got ? got : "(nothing)");
    }
    const char *more = world_next(&w);
    cr_expect(!more, "%s: also %s", row->line, more);
    party_done(&peer);
    party_done(&phone);
    world_done(&w);
}

Test(acks, every_line_of_the_sheet)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        check(&rows[i]);
}

Test(acks, a_history_notification_gets_both_receipts)
{
    struct world w;
    struct party phone;
    AUTO(buf) protocol = {0};
    AUTO(buf) message = {0};

    world_init_paired(&w);
    world_login(&w);
    party_init(&phone, "777@lid", 0, 7); /* that paired us */
    world_introduce(&w, &phone);
    wa_pb_put_int(&protocol, 2, 5);
    wa_pb_put_bytes(&protocol, 6, SLICE("x"));
    wa_pb_put_bytes(&message, 12, buf_slice(&protocol));
    struct wa_node *in = world_parse(&w, "<message from=\"777@lid\" category=\"peer\" id=\"H\" "
                                         "type=\"text\" t=\"1\"/>");
    world_encrypt(&w, &phone, buf_slice(&message), in);
    world_serve_node(&w, in);
    world_expect(&w, "<receipt id=\"H\" to=\"15550001111@s.whatsapp.net\" type=\"hist_sync\"/>");
    world_expect(&w, "<receipt id=\"H\" to=\"777@lid\" type=\"peer_msg\"/>");
    world_expect_quiet(&w);
    party_done(&phone);
    world_done(&w);
}
