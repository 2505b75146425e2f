#include "tests/support/fake_server.h"

#include <criterion/criterion.h>
#include <ctype.h>

#include "proto/base/text.h"
#include "proto/client/account.h"
#include "proto/client/pb.h"
#include "proto/signal/adv.h"

const char WORLD_PN[] = "15550001111:5@s.whatsapp.net", WORLD_LID[] = "777:5@lid";

enum { START_MS = 1700000000 }; /* seconds, see world_init */

/* ---- text to node ---- */

struct xml {
    struct world *w;
    const char *at;
};

static struct slice word(struct xml *x, const char *stops)
{
    const char *from = x->at;
    while (*x->at && !strchr(stops, *x->at))
        x->at++;
    return arena_dup(&x->w->arena, slice_of(from, (size_t)(x->at - from)));
}

static void spaces(struct xml *x)
{
    while (isspace((unsigned char)*x->at))
        x->at++;
}

static void parse_attr(struct xml *x, struct wa_node *n)
{
    struct slice key = word(x, "=");
    cr_assert_eq(*x->at, '=', "attribute at %s", x->at);
    x->at += 2;
    struct slice value = word(x, "\"'");
    struct wa_jid jid;
    x->at++;

    char *name = arena_text(&x->w->arena, key);
    bool is_jid = slice_find(value, '@') < value.len && wa_jid_parse(value, &jid) == OK;
    if (is_jid)
        wa_node_set_jid(n, &x->w->arena, name, jid);
    else
        wa_node_set(n, &x->w->arena, name, value);
}

static void parse_content(struct xml *x, struct wa_node *n)
{
    if (*x->at == '[') {
        AUTO(buf) bytes = {0};
        x->at++;
        struct slice hex = word(x, "]");
        cr_assert_eq(text_unhex(hex, &bytes), OK, "hex " SLICE_FMT, SLICE_ARG(hex));
        wa_node_set_bytes(n, bytes.len ? arena_dup(&x->w->arena, buf_slice(&bytes)) : SLICE(""));
        x->at++;
    } else {
        wa_node_set_bytes(n, word(x, "<"));
    }
}

static struct wa_node parse_node(struct xml *x)
{
    struct wa_node n = {0};

    spaces(x);
    cr_assert_eq(*x->at, '<', "tag at %s", x->at);
    x->at++;
    n.tag = word(x, " />");
    for (spaces(x); *x->at != '/' && *x->at != '>'; spaces(x))
        parse_attr(x, &n);
    if (*x->at++ == '/') {
        x->at++;
        return n;
    }
    for (spaces(x); strncmp(x->at, "</", 2); spaces(x)) {
        if (*x->at != '<') {
            parse_content(x, &n);
            continue;
        }
        struct wa_node child = parse_node(x);
        wa_node_add_node(&n, &x->w->arena, &child);
    }
    word(x, ">");
    x->at++;
    return n;
}

struct wa_node *world_parse(struct world *w, const char *xml)
{
    struct xml x = {w, xml};
    struct wa_node *n = arena_new(&w->arena, struct wa_node);

    *n = parse_node(&x);
    return n;
}

/* ---- the wire ---- */

static void keep_stanza(struct world *w, struct slice plain)
{
    struct fake_stanza *s = xcalloc(sizeof(*s));
    AUTO(buf) text = {0};
    struct slice copy = arena_dup(&s->arena, plain);

    cr_assert_eq(wa_node_decode(copy, &s->arena, &s->stanza), OK);
    wa_node_to_text(s->stanza, false, &text);
    s->text = xstrdup(buf_text(&text));
    list_push(&w->received, &s->node);
}

static void to_client(struct world *w, struct slice bytes)
{
    WORLD_TURN(w, wa_client_recv(w->client, bytes, w->now));
}

static void on_hello(struct world *w, struct slice hello)
{
    AUTO(buf) answer = {0};
    AUTO(buf) frame = {0};
    struct crypto_pair ephemeral;
    bool over;

    crypto_pair_new(&ephemeral);
    cr_assert_eq(
        wa_server_hello(&w->handshake, &w->keys, &ephemeral, hello, &answer, &over, &w->result),
        OK);
    cr_assert_eq(wa_frame_put(buf_slice(&answer), &frame), OK);
    to_client(w, buf_slice(&frame));
}

static void on_frame(struct world *w, struct slice frame)
{
    AUTO(buf) plain = {0};

    if (w->is_transport) {
        cr_assert_eq(wa_transport_open(&w->result.transport, frame, &plain), OK);
        keep_stanza(w, buf_slice(&plain));
    } else if (w->handshake.state == WA_HANDSHAKE_NEW) {
        on_hello(w, frame);
    } else {
        wa_server_result_done(&w->result);
        cr_assert_eq(wa_server_finish(&w->handshake, frame, &w->result), OK);
        w->is_transport = true;
    }
}

static void read_arrived(struct world *w)
{
    AUTO(buf) bytes = buf_take(&w->arrived);
    AUTO(buf) one = {0};
    struct slice frame;

    if (!w->is_up || bytes.len == 0) return;
    cr_assert_eq(wa_frames_feed(&w->frames, buf_slice(&bytes)), OK);
    while (wa_frames_next(&w->frames, &frame)) {
        buf_reset(&one);
        buf_put(&one, frame);
        on_frame(w, buf_slice(&one));
    }
}

static void on_send(void *ctx, const struct wa_send *send)
{
    struct world *w = ctx;

    wa_client_release(w->client, send, w->now, &w->arrived);
    if (send->link == w->link && send->kind == WA_SEND_CLOSE) w->close_asked = true;
}

void world_settle(struct world *w)
{
    if (w->hold) return;
    fake_commit_all(&w->h);
    read_arrived(w);
    if (!w->close_asked || !w->is_up) return;
    w->is_up = w->close_asked = false;
    WORLD_TURN(w, wa_client_link_down(w->client, "closed", w->now));
}

bool world_commit_one(struct world *w)
{
    bool any = fake_commit(&w->h);
    read_arrived(w);
    return any;
}

void world_resend_outbox(struct world *w)
{
    LIST_EACH(node, &w->h.outbox)
    {
        struct fake_outbox *o = LIST_ENTRY(node, struct fake_outbox, node);
        AUTO(buf) stanza = {0};
        buf_put(&stanza, buf_slice(&o->stanza)); /* the row may go meanwhile */
        WORLD_TURN(w, wa_client_resend(w->client, buf_slice(&o->id), buf_slice(&stanza), w->now));
    }
}

void world_cut(struct world *w)
{
    w->is_up = w->close_asked = false;
    WORLD_TURN(w, wa_client_link_down(w->client, "cut", w->now));
}

/* ---- life ---- */

static void free_received(struct world *w)
{
    if (w->last) list_push(&w->received, &w->last->node);
    w->last = NULL;
    for (struct list *node; (node = list_pop(&w->received));) {
        struct fake_stanza *s = LIST_ENTRY(node, struct fake_stanza, node);
        arena_done(&s->arena);
        free(s->text);
        free(s);
    }
}

static void make_chain(struct world *w)
{
    struct wa_cert_plan plan;

    wa_cert_plan(&plan, &w->root, &w->intermediate, &w->keys.static_pair.public, 0, INT32_MAX);
    buf_reset(&w->chain);
    wa_cert_make(&plan, &w->chain);
    w->keys.chain = buf_slice(&w->chain);
}

void world_init(struct world *w)
{
    static bool started;

    if (!started) crypto_start();
    started = true;
    *w = (struct world){.now = START_MS * 1000LL};
    list_init(&w->received);
    fake_host_init(&w->h, 42);
    w->h.on_send = on_send;
    w->h.ctx = w;
    crypto_pair_new(&w->root);
    crypto_pair_new(&w->intermediate);
    crypto_pair_new(&w->keys.static_pair);
    make_chain(w);
    w->config = (struct wa_config){.root_key = w->root.public,
                                   .version = {2, 3000, 1045649367},
                                   .device_name = SLICE("Parley"),
                                   .check_validity = true,
                                   .first_prekeys = 3};
    w->client = wa_client_new(&w->config, &w->h.host);
    wa_frames_init_server(&w->frames);
}

void world_done(struct world *w)
{
    free_received(w);
    wa_client_free(w->client);
    fake_host_done(&w->h);
    wa_frames_done(&w->frames);
    wa_server_result_done(&w->result);
    buf_done(&w->chain);
    buf_done(&w->arrived);
    arena_done(&w->arena);
}

void world_restart(struct world *w)
{
    fake_crash(&w->h);
    wa_client_free(w->client);
    w->client = wa_client_new(&w->config, &w->h.host);
    w->is_up = w->close_asked = w->is_transport = false;
    w->hold = false;
    free_received(w);
    fake_turn_open(&w->h);
    err_t e = wa_client_open(w->client, w->now);
    cr_assert(e == OK || e == ERR_NOT_FOUND);
    fake_turn_close(&w->h);
    world_settle(w);
}

void world_connect(struct world *w)
{
    int64_t at;

    cr_assert_eq(wa_client_wish(w->client, &at), WA_WISH_LINK);
    if (at > w->now) world_sleep(w, at - w->now);
    free_received(w);
    w->link++;
    w->is_up = true;
    buf_reset(&w->arrived);
    w->close_asked = w->is_transport = false;
    w->handshake = (struct wa_server_handshake){0};
    wa_frames_done(&w->frames);
    wa_frames_init_server(&w->frames);
    WORLD_TURN(w, wa_client_link_up(w->client, w->link, w->now));
}

void world_sleep(struct world *w, int64_t ms)
{
    int64_t end = w->now + ms;

    for (;;) {
        int64_t at = wa_client_deadline(w->client);
        if (at > end) break;
        if (at > w->now) w->now = at;
        WORLD_TURN(w, wa_client_tick(w->client, w->now));
    }
    w->now = end;
}

void world_login(struct world *w)
{
    world_connect(w);
    world_serve(w, "<success t=\"1700000000\" lid=\"777:5@lid\"/>");
    world_serve(w, "<notification type=\"account_sync\" from=\"15550001111@s.whatsapp.net\" "
                   "id=\"P\" t=\"1\"><privacy><category name=\"readreceipts\" "
                   "value=\"all\"/></privacy></notification>");
    world_skip(w);
    fake_events_skip(&w->h);
}

void world_login_to_count(struct world *w)
{
    world_connect(w);
    world_serve(w, "<success t=\"1700000000\" lid=\"777:5@lid\"/>");
    world_next(w);
    world_answer(w, "set", "passive", "");
    world_answer(w, "get", "privacy", "<privacy/>");
    fake_events_skip(&w->h);
}

/* ---- stanzas ---- */

void world_serve_node(struct world *w, const struct wa_node *node)
{
    AUTO(buf) plain = {0};
    AUTO(buf) frame = {0};

    wa_node_encode(node, &plain);
    cr_assert_eq(wa_transport_seal(&w->result.transport, buf_slice(&plain), &frame), OK);
    to_client(w, buf_slice(&frame));
}

void world_serve(struct world *w, const char *xml) { world_serve_node(w, world_parse(w, xml)); }

static struct fake_stanza *take(struct world *w)
{
    struct list *node = list_pop(&w->received);

    if (w->last) {
        arena_done(&w->last->arena);
        free(w->last->text);
        free(w->last);
    }
    w->last = node ? LIST_ENTRY(node, struct fake_stanza, node) : NULL;
    return w->last;
}

const char *world_next(struct world *w)
{
    struct fake_stanza *s = take(w);
    return s ? s->text : NULL;
}

const struct wa_node *world_next_node(struct world *w)
{
    struct fake_stanza *s = take(w);
    return s ? s->stanza : NULL;
}

void world_skip(struct world *w)
{
    while (take(w)) {
    }
}

void world_expect(struct world *w, const char *xml)
{
    const char *got = world_next(w);
    cr_assert_str_eq(got ? got : "(nothing)", xml);
}

void world_expect_quiet(struct world *w)
{
    const char *got = world_next(w);
    cr_assert(!got, "unexpected: %s", got);
}

void world_expect_event(struct world *w, const char *text)
{
    const char *got = fake_event(&w->h);
    cr_assert_str_eq(got ? got : "(no event)", text);
}

void world_expect_no_event(struct world *w)
{
    const char *got = fake_event(&w->h);
    cr_assert(!got, "unexpected event: %s", got);
}

void world_answer(struct world *w, const char *type, const char *xmlns, const char *children)
{
    const struct wa_node *iq = world_next_node(w);

    cr_assert(iq && wa_node_is(iq, "iq"), "no iq %s %s", type, xmlns);
    cr_assert(slice_is(wa_node_text(iq, "type"), type) &&
                  slice_is(wa_node_text(iq, "xmlns"), xmlns),
              "expected iq %s %s, got %s", type, xmlns, w->last->text);
    struct slice id = arena_dup(&w->arena, wa_node_text(iq, "id"));
    bool is_error = isdigit((unsigned char)children[0]);
    struct slice xml =
        is_error ? arena_printf(&w->arena,
                                "<iq from=\"@s.whatsapp.net\" type=\"error\" id=\"" SLICE_FMT
                                "\"><error code=\"%s\" text=\"x\"/></iq>",
                                SLICE_ARG(id), children)
                 : arena_printf(&w->arena,
                                "<iq from=\"@s.whatsapp.net\" type=\"result\" id=\"" SLICE_FMT
                                "\">%s</iq>",
                                SLICE_ARG(id), children);
    world_serve(w, arena_text(&w->arena, xml));
}

/* ---- peers ---- */

struct slice world_text(struct world *w, const char *text)
{
    AUTO(buf) m = {0};
    wa_pb_put_bytes(&m, 1, slice_text(text));
    return arena_dup(&w->arena, buf_slice(&m));
}

static struct wa_address client_address(void)
{
    return (struct wa_address){.name = SLICE("777@lid"), .device = 5};
}

void world_encrypt(struct world *w, struct party *peer, struct slice message,
                   struct wa_node *stanza)
{
    struct wa_address to = client_address();
    struct wa_encrypted sealed;

    cr_assert_eq(wa_session_encrypt(&peer->ks, &w->arena, &to,
                                    wa_pad(&peer->ks, &w->arena, message), &sealed),
                 OK);
    struct wa_node *enc = wa_node_add(stanza, &w->arena, "enc");
    wa_node_set_text(enc, &w->arena, "v", "2");
    wa_node_set_text(enc, &w->arena, "type", sealed.is_prekey ? "pkmsg" : "msg");
    wa_node_set_bytes(enc, sealed.bytes);
}

struct slice world_decrypt(struct world *w, struct party *peer, const struct wa_node *enc)
{
    struct wa_address from = client_address();
    struct wa_decrypted d;
    struct slice plain;

    bool is_prekey = slice_is(wa_node_text(enc, "type"), "pkmsg");
    if (wa_session_decrypt(&peer->ks, &w->arena, &from, is_prekey, enc->bytes, &d) != OK)
        return SLICE_NONE;
    if (wa_unpad(d.padded, &plain) != OK) return SLICE_NONE;
    return arena_dup(&w->arena, plain);
}

/* The client's side of a bundle, read from its durable rows. */
void world_introduce(struct world *w, struct party *peer)
{
    const struct buf *row = fake_row(&w->h, WA_NS_ACCOUNT, "", "");
    struct wa_account account = {0};
    struct wa_keystore ks = {0};
    struct wa_signed_prekey skey;
    struct wa_address to = client_address();
    bool changed;

    cr_assert(row);
    cr_assert_eq(wa_account_decode(buf_slice(row), &account), OK);
    /* The signed prekey row is opened through a party that borrows the host's rows. */
    struct party reader = {.seed = 1};
    const struct buf *value = fake_row(&w->h, WA_NS_SIGNED_PREKEY, "", "1");
    cr_assert(value, "no signed prekey row");
    ks = (struct wa_keystore){
        .load = party_load, .save = party_save, .random = party_random, .ctx = &reader};
    party_save(&reader, (struct wa_row){WA_SIGNAL_SIGNED_PREKEY, SLICE(""), SLICE("1")},
               buf_slice(value));
    cr_assert_eq(wa_signed_prekey_load(&ks, &w->arena, 1, &skey), OK);

    struct wa_bundle bundle = {.registration_id = account.registration_id,
                               .identity = account.identity.public,
                               .signed_prekey_id = 1,
                               .signed_prekey = skey.pair.public};
    memcpy(bundle.signature, skey.signature, sizeof(bundle.signature));
    cr_assert_eq(wa_session_from_bundle(&peer->ks, &w->arena, &to, &bundle, &changed), OK);
    party_done(&reader);
    wa_account_done(&account);
}

static struct slice hex(struct world *w, struct slice bytes)
{
    AUTO(buf) out = {0};
    text_hex(bytes, &out);
    return arena_dup(&w->arena, buf_slice(&out));
}

static struct slice hex_number(struct world *w, uint32_t v, unsigned n)
{
    uint8_t b[4] = {(uint8_t)(v >> 24), (uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v};
    return hex(w, slice_of(b + 4 - n, n));
}

struct slice world_bundle_xml(struct world *w, struct party *peer, const char *jid)
{
    struct wa_bundle b = party_bundle(peer, true);

    return arena_printf(
        &w->arena,
        "<user jid=\"%s\" t=\"1\"><registration>[" SLICE_FMT "]</registration><type>[05]</type>"
        "<identity>[" SLICE_FMT "]</identity><key><id>[" SLICE_FMT "]</id><value>[" SLICE_FMT
        "]</value></key><skey><id>[" SLICE_FMT "]</id><value>[" SLICE_FMT
        "]</value><signature>[" SLICE_FMT "]</signature></skey></user>",
        jid, SLICE_ARG(hex_number(w, b.registration_id, 4)),
        SLICE_ARG(hex(w, SLICE_ARRAY(b.identity.bytes))), SLICE_ARG(hex_number(w, b.prekey_id, 3)),
        SLICE_ARG(hex(w, SLICE_ARRAY(b.prekey.bytes))),
        SLICE_ARG(hex_number(w, b.signed_prekey_id, 3)),
        SLICE_ARG(hex(w, SLICE_ARRAY(b.signed_prekey.bytes))),
        SLICE_ARG(hex(w, SLICE_ARRAY(b.signature))));
}

/* ---- pairing ---- */

static void find_secret(const char *qr, uint8_t out[32])
{
    AUTO(buf) secret = {0};
    struct slice rest = slice_text(qr + strlen("qr ")), field = SLICE_NONE;

    for (int i = 0; i < 4; i++)
        cr_assert(slice_split(&rest, ',', &field));
    cr_assert_eq(text_unbase64(field, &secret), OK);
    memcpy(out, secret.data, 32);
}

void world_init_paired(struct world *w)
{
    struct party phone;
    uint8_t secret[32];
    struct wa_account account = {0};

    world_init(w);
    party_init(&phone, "777@lid", 0, 7);
    WORLD_TURN(w, wa_client_pair(w->client, w->now));
    world_connect(w);
    world_serve(w, "<iq from=\"@s.whatsapp.net\" type=\"set\" id=\"1\" xmlns=\"md\">"
                   "<pair-device><ref>abc</ref></pair-device></iq>");
    find_secret(fake_event(&w->h), secret);

    cr_assert_eq(wa_account_decode(buf_slice(fake_row(&w->h, WA_NS_ACCOUNT, "", "")), &account),
                 OK);
    struct wa_adv_grant grant = {.raw_id = 1, .key_index = 1, .timestamp = 1700000000};
    struct slice identity =
        wa_adv_issue(&phone.ks, &w->arena, secret, &account.identity.public, &grant);
    struct slice xml = arena_printf(
        &w->arena,
        "<iq from=\"@s.whatsapp.net\" type=\"set\" id=\"2\" xmlns=\"md\"><pair-success>"
        "<device-identity>[" SLICE_FMT "]</device-identity><device jid=\"%s\" lid=\"%s\"/>"
        "<platform name=\"android\"/></pair-success></iq>",
        SLICE_ARG(hex(w, identity)), WORLD_PN, WORLD_LID);
    world_serve(w, arena_text(&w->arena, xml));
    world_serve(w, "<stream:error code=\"515\"/>");
    world_skip(w);
    fake_events_skip(&w->h);
    wa_account_done(&account);
    party_done(&phone);
}
