/* A client, its host and the server it talks to, in one struct on one thread: time is a number, a
 * commit happens after every input unless the test holds it.
 *
 * Stanzas are written and compared as text, as wa_node_to_text prints them; [hex] is content in
 * bytes. In what the client sends, [n B] stands for content. */
#pragma once
#include "proto/wire/frame.h"
#include "proto/wire/handshake_server.h"
#include "proto/wire/node.h"
#include "tests/support/fake_host.h"
#include "tests/support/signal_party.h"

struct fake_stanza {
    struct list node;
    struct arena arena;
    struct wa_node *stanza;
    char *text;
};

struct world {
    struct fake_host h;
    struct wa_config config;
    struct wa_client *client;
    int64_t now;

    struct crypto_pair root, intermediate;
    struct wa_server_keys keys;
    struct buf chain;

    bool is_up; /* the socket, as the host sees it */
    uint32_t link;
    bool close_asked; /* the client sent CLOSE */
    bool is_transport;
    bool hold; /* no commit by itself */
    struct wa_server_handshake handshake;
    struct wa_server_result result; /* payload of the last connect, ciphers */
    struct wa_frames frames;
    struct buf arrived;       /* bytes on the socket that the server has not read yet */
    struct list received;     /* struct fake_stanza not looked at yet */
    struct fake_stanza *last; /* what world_take gave last */
    struct arena arena;
};

extern const char WORLD_PN[], WORLD_LID[]; /* "15550001111:5@s.whatsapp.net", "777:5@lid" */

/* An unpaired client. */
void world_init(struct world *w);
void world_done(struct world *w);
/* A client that is paired, without going through it. */
void world_init_paired(struct world *w);
/* Opens the wished link and shakes hands. */
void world_connect(struct world *w);
/* From connect to online: success, answers to the login queries; what was sent is forgotten and
 * the events too. */
void world_login(struct world *w);
/* The same, with each query answered but the last: how many one-time keys the server holds. */
void world_login_to_count(struct world *w);
/* The client is freed and opened again from what is durable. */
void world_restart(struct world *w);
/* The socket is gone without the client's doing. */
void world_cut(struct world *w);
/* Time passes; tick is called at every deadline on the way. */
void world_sleep(struct world *w, int64_t ms);

/* One stanza from the server, as text. */
void world_serve(struct world *w, const char *xml);
void world_serve_node(struct world *w, const struct wa_node *node);
/* A text as a node in the world's arena. */
struct wa_node *world_parse(struct world *w, const char *xml);

/* The next stanza the client sent; NULL when there is none. Valid until the next call. */
const char *world_next(struct world *w);
/* The same with the node itself, valid until the next call. */
const struct wa_node *world_next_node(struct world *w);
void world_skip(struct world *w);

/* Checks: the next stanza is exactly this; there is none; the next event is exactly this. */
void world_expect(struct world *w, const char *xml);
void world_expect_quiet(struct world *w);
void world_expect_event(struct world *w, const char *text);
void world_expect_no_event(struct world *w);
/* The next stanza is an iq of this kind ("get encrypt count"); answers it with `children` under
 * type=result, or with an error when `children` is a number. */
void world_answer(struct world *w, const char *type, const char *xmlns, const char *children);

/* Every input of the client goes through these. */
#define WORLD_TURN(w, call)                                                                        \
    do {                                                                                           \
        fake_turn_open(&(w)->h);                                                                   \
        cr_assert_eq(call, OK);                                                                    \
        fake_turn_close(&(w)->h);                                                                  \
        world_settle(w);                                                                           \
    } while (0)
void world_settle(struct world *w);
/* Makes the oldest turn durable while commits are held; false when there was none. */
bool world_commit_one(struct world *w);
/* What a host does after CONNECTED. */
void world_resend_outbox(struct world *w);

/* ---- peers ---- */

/* <enc> from a peer's device to the client, padded Message bytes inside. */
struct slice world_text(struct world *w, const char *text);
/* Adds <enc type v=2> to a message. */
void world_encrypt(struct world *w, struct party *peer, struct slice message,
                   struct wa_node *stanza);
/* What the peer reads from <enc>, unpadded; SLICE_NONE when it cannot. */
struct slice world_decrypt(struct world *w, struct party *peer, const struct wa_node *enc);
/* The peer learns the client's prekeys (no one-time key), as from a bundle query. */
void world_introduce(struct world *w, struct party *peer);
/* <user jid>… of a bundle answer. */
struct slice world_bundle_xml(struct world *w, struct party *peer, const char *jid);
