/* What a client may ask of the world: five functions. Everything else, time included, comes in as
 * an argument. In the server host.c implements it over the open turn, pending turns and LMDB; in
 * tests a hash map does.
 *
 * All five are called only inside a wa_client_… call, on the account's own thread, and nothing
 * they do takes effect outside before the turn's commit: saves and events become one transaction,
 * sends leave after it, in order. */
#pragma once
#include "proto/base/arena.h"
#include "proto/base/buf.h"
#include "proto/base/err.h"
#include "proto/client/events.h"

/* Kinds of rows. A row's place is (ns, owner, name): `owner` is the bare JID of the person or
 * group it belongs to ("777@lid"), or empty for rows of the account itself, so that the host can
 * put what one message touches side by side. Values are opaque to the host, which seals them. */
enum wa_ns {
    WA_NS_ACCOUNT = 1,   /* "", "": identity, keys, addresses, counters: one row */
    WA_NS_SIGNED_PREKEY, /* "", id */
    WA_NS_PREKEYS,       /* "", block number: a block of one-time prekeys */
    WA_NS_SESSION,       /* person, device */
    WA_NS_SKIPPED,       /* person, device + chain: message keys skipped, kept out of the session */
    WA_NS_IDENTITY,      /* person, device */
    WA_NS_SENDER_KEY,    /* group, author + device */
    WA_NS_SENDER_SKIPPED, /* group, author + device */
    WA_NS_SENDER_SENT,    /* group, "": who has our sender key */
    WA_NS_DEVICES,        /* person, "": device list with its age */
    WA_NS_LID,            /* phone number JID, "": the LID */
    WA_NS_PN,             /* LID, "": the phone number JID */
    WA_NS_TOKEN,          /* person, "": privacy tokens, theirs and when ours was issued; which
                             address family the thread uses */
    WA_NS_RETRY,          /* chat, author + id: retry state of one message */
    WA_NS_JOB,            /* "", id: work to be done later (history downloads …) */
    WA_NS_BASE_KEY,       /* person, device + id: base key seen when a retry was answered */
    WA_NS_ASKS,           /* "", "": messages that the phone is to be asked for */

    /* Load only; the host answers it from its message records. owner = chat, name = author bare
     * JID, 0, message id. A person is named by the LID when the client knows it, else by the phone
     * number, so the host looks under either; for messages of ours the author is our own JID of
     * either kind. The value is struct wa_held_message as wa_held_encode() writes it. */
    WA_NS_MESSAGE = 64,
};

struct wa_key {
    enum wa_ns ns;
    struct slice owner, name;
};

/* What WA_NS_MESSAGE answers. */
enum wa_held { WA_HELD_NO, WA_HELD_WHOLE, WA_HELD_WAITING };
struct wa_held_message {
    enum wa_held state;
    bool from_me;
    int64_t time_s;
    struct slice raw; /* the Message protobuf, unpadded; empty while waiting */
};
void wa_held_encode(const struct wa_held_message *held, struct buf *out);
err_t wa_held_decode(struct slice value, struct wa_held_message *out) MUST_CHECK;

/* wa_send.query of a stanza that the server acknowledges (message, receipt): no query waits for
 * it, but silence after it means that the link is dead. */
#define WA_SEND_ACKED UINT32_MAX

enum wa_send_kind {
    WA_SEND_BYTES,  /* as they are: preamble and handshake frames */
    WA_SEND_STANZA, /* an encoded node; wa_client_release() makes the frame */
    WA_SEND_CLOSE,  /* close the link once what stands before is written */
};

struct wa_send {
    enum wa_send_kind kind;
    uint32_t link;      /* the connection it was made for; dropped when that one is gone */
    uint32_t query;     /* not 0: an answer is owed, its deadline starts at release */
    struct slice bytes; /* copied by the host before send() returns */
};

struct wa_host {
    /* The newest value, also of turns not yet committed. OK with out->data NULL when there is none;
     * an error (STORE_DAMAGED …) closes the account. `out` lives in `arena`. */
    err_t (*load)(void *ctx, struct wa_key key, struct arena *arena, struct slice *out);
    /* value.data NULL deletes. Copies. Cannot fail: the turn does. */
    void (*save)(void *ctx, struct wa_key key, struct slice value);
    /* Everything in the event is borrowed for the call. */
    void (*emit)(void *ctx, const struct wa_event *event);
    void (*send)(void *ctx, const struct wa_send *send);
    void (*random)(void *ctx, void *out, size_t n);
    void *ctx;
};
