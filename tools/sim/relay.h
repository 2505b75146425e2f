/* The simulated WhatsApp server without sockets and without a clock: bytes of connections come in,
 * bytes go out through the host, time is an argument.
 *
 * The relay never looks inside end-to-end encryption: it moves <enc> bytes from device to device.
 * Virtual phones are connections too ("local" ones, without Noise); what they say is the same
 * encoded stanza. Nothing here calls back into the caller except through struct sim_host, and a
 * host never calls the relay from inside these callbacks. One thread. */
#pragma once
#include "proto/base/arena.h"
#include "proto/crypto/crypto.h"
#include "proto/wire/frame.h"
#include "proto/wire/handshake_server.h"
#include "tools/sim/directory.h"
#include "tools/sim/steps.h"
#include "tools/sim/trace.h"

struct sim_relay;

enum {
    SIM_CONNS_MAX = 65536,
    SIM_REFS = 6,             /* QR references of one pairing */
    SIM_REF_BYTES = 24,       /* as text */
    SIM_PRIMER = 5,           /* backlog stanzas sent before the client asks for more */
    SIM_LOW_PREKEYS = 5,      /* below this many the client is told */
    SIM_STANZA_MAX = 4 << 20, /* one frame of a client */
    SIM_CODE_MS = 180000,     /* how long a pairing code is valid */
    SIM_HANDSHAKE_MS = 30000, /* a connection that says nothing ends */
    SIM_BEAT_MS = 60000,      /* how often the debts of a connection are looked at */
    SIM_OWED_MS = 50 * 60000, /* an unanswered stanza older than this ends the stream */
};

/* What the relay asks of the world. */
struct sim_host {
    void *ctx;
    /* Bytes for a connection's socket. The host may put them into one WebSocket message. */
    void (*write)(void *ctx, void *socket, struct slice bytes);
    /* Close after what was written; the host calls sim_conn_gone later, or never. */
    void (*close)(void *ctx, void *socket);
    /* An encoded stanza for a local connection. Must only queue it. */
    void (*deliver)(void *ctx, struct sim_conn *local, struct slice stanza);
    /* Something that must survive a restart changed. */
    void (*changed)(void *ctx);
    /* A companion is logged in; may be NULL. */
    void (*logged_in)(void *ctx, struct sim_device *device);
    /* A sentence for the operator: a rule was broken, a stream was damaged. May be NULL. */
    void (*note)(void *ctx, const char *who, const char *text);
};

struct sim_options {
    uint64_t seed;
    int64_t offline_grace_ms; /* backlog goes out unasked after this (whatsmeow never asks) */
    bool ping;                /* ping at every beat */
    bool require_tokens;      /* refuse strangers without a privacy token with 463 */
    /* For thousands of accounts in minutes: one-time keys of a phone's upload, 0: as usual; and
     * the least count that a companion is told it has, so that one that would fill up from nothing
     * with hundreds of keys adds only as many as it does to a few. */
    uint32_t phone_prekeys, least_prekeys;
};

/* Who the server is: the root signs the chain that every client checks. */
struct sim_keys {
    struct crypto_pair root, intermediate, server;
};

enum sim_phase {
    SIM_HELLO,   /* no client hello yet */
    SIM_FINISH,  /* server hello sent */
    SIM_PAIRING, /* QR references shown */
    SIM_OPEN,    /* logged in; local connections start here */
    SIM_CLOSING  /* said good-bye: what still comes is swallowed */
};

/* What an unpaired client says of itself. */
struct sim_registration {
    struct sim_bundle bundle; /* without one-time keys */
    struct buf props;         /* DeviceProps */
    int64_t started_ms;
    char refs[SIM_REFS][SIM_REF_BYTES + 1];
    char iq[SIM_NUMBER_MAX];          /* id of the iq that waits for an answer: pair-device, then
                                       * pair-success */
    bool scanned;                     /* pair-success is out */
    char code_ref[SIM_REF_BYTES + 1]; /* of the pairing by code, "" without */
    struct sim_account *code_account;
    int64_t code_at_ms;
    unsigned code_hellos;
    /* Set by the scan: */
    struct sim_account *account;
    uint16_t device_id;
    uint64_t phone_conn; /* who scanned */
    char phone_iq[64];   /* its iq, answered when the companion has signed */
    uint32_t key_index;
    uint8_t account_key[32];
    struct buf details; /* ADV details */
    struct buf key_indexes;
    int64_t key_indexes_at;
    bool hosted;
};

struct sim_conn {
    struct list link;
    struct sim_relay *relay;
    uint64_t id;
    void *socket; /* NULL: local */
    bool local;
    enum sim_phase phase;
    struct wa_frames frames;
    struct wa_server_handshake handshake;
    struct wa_transport transport;
    uint8_t noise_key[32]; /* the client's static key */
    struct sim_device *device;
    struct sim_registration *registration;
    struct buf held;                      /* a frame that waits to travel with the next (fault) */
    uint32_t credit;                      /* backlog stanzas the client may still get */
    uint32_t backlog_total, backlog_left; /* backlog stanzas: all, not sent yet */
    bool draining;                        /* the `offline` marker is not out yet */
    bool has_pulled;                      /* the client asks for its backlog itself */
    struct buf last_message;              /* what was delivered last, for the fault redeliver */
};

struct sim_timer {
    struct list link;
    int64_t due;
    void (*run)(struct sim_relay *r, struct sim_timer *t);
    uint64_t conn; /* looked up when due */
    struct buf bytes;
    int64_t value;
};

struct sim_relay {
    struct sim_directory people;
    struct sim_host host;
    struct sim_options options;
    struct sim_keys keys;
    struct buf chain; /* CertChain made of them */
    struct list conns;
    struct map conns_by_id, refs;
    struct list timers; /* by due time */
    struct list faults;
    struct sim_trace trace;
    struct sim_steps steps;
    struct arena arena; /* of the stanza being handled */
    int64_t now_ms;
    uint64_t last_conn, last_id, random;
    uint32_t broken[96]; /* how often each rule was broken */
};

/* A relay without people. The certificates are valid around now_ms for years. */
void sim_relay_init(struct sim_relay *r, const struct sim_host *host,
                    const struct sim_options *options, const struct sim_keys *keys, int64_t now_ms);
/* Other keys, before the first connection. */
void sim_relay_keys(struct sim_relay *r, const struct sim_keys *keys);
void sim_relay_done(struct sim_relay *r);

/* ---- inputs; each sets the time and empties the stanza arena ---- */
/* NULL when there are too many. */
struct sim_conn *sim_conn_open(struct sim_relay *r, void *socket, int64_t now_ms);
void sim_conn_bytes(struct sim_conn *c, struct slice bytes, int64_t now_ms);
/* The socket is gone; frees the connection. */
void sim_conn_gone(struct sim_conn *c, int64_t now_ms);
/* A phone's connection, logged in as this device at once; `socket` is the phone's name for it. */
struct sim_conn *sim_conn_local(struct sim_relay *r, struct sim_device *device, void *socket,
                                int64_t now_ms);
/* An encoded stanza of a local connection. */
void sim_conn_stanza(struct sim_conn *c, struct slice stanza, int64_t now_ms);
/* Runs what is due. */
void sim_relay_tick(struct sim_relay *r, int64_t now_ms);
/* When sim_relay_tick has something to do, INT64_MAX if never. */
int64_t sim_relay_due(const struct sim_relay *r);

/* ---- for the files of this folder ---- */
/* "15550001111:5", or "conn 3" before the login. */
const char *sim_conn_name(const struct sim_conn *c, char out[SIM_TRACE_WHO_MAX]);
struct sim_conn *sim_conn_find(const struct sim_relay *r, uint64_t id);
void sim_conn_send(struct sim_conn *c, const struct wa_node *n);
/* Sends bytes of an encoded stanza, faults applied. */
void sim_conn_send_encoded(struct sim_conn *c, struct slice stanza);
/* Swallows what still comes, closes the socket after `in_ms`. */
void sim_conn_end(struct sim_conn *c, int64_t in_ms);
/* <stream:error code="…"/> or with a conflict child, then the end. */
void sim_conn_stream_error(struct sim_conn *c, const char *code, const char *conflict);
void sim_conn_failure(struct sim_conn *c, int reason, const char *code, const char *expire);

struct sim_timer *sim_after(struct sim_relay *r, int64_t in_ms,
                            void (*run)(struct sim_relay *, struct sim_timer *), uint64_t conn);
uint64_t sim_random(struct sim_relay *r);
/* A fresh stanza id in the relay's arena. */
struct slice sim_new_id(struct sim_relay *r);
int64_t sim_seconds(const struct sim_relay *r);
/* Into the trace and to the operator. */
void sim_note(struct sim_conn *c, const char *text);
static inline void sim_changed(struct sim_relay *r) { r->host.changed(r->host.ctx); }

/* stanza.c: a decrypted stanza of a client, by tag. */
void sim_on_stanza(struct sim_conn *c, const struct wa_node *n);
/* login.c: the payload of the handshake. */
void sim_on_payload(struct sim_conn *c, struct slice payload);
/* The device's connection is up: backlog, then the marker. */
void sim_backlog_start(struct sim_conn *c);
void sim_backlog_pull(struct sim_conn *c, uint32_t count);
/* pairing.c */
void sim_pairing_start(struct sim_conn *c);
void sim_pairing_done(struct sim_conn *c);
void sim_make_ref(struct sim_relay *r, char out[SIM_REF_BYTES + 1]);
/* pairing_code.c */
void sim_on_link_code(struct sim_conn *c, const struct wa_node *iq);
void sim_on_primary_hello(struct sim_conn *phone, const struct wa_node *iq);
bool sim_code_is_fresh(const struct sim_conn *c);
void sim_on_pair_sign(struct sim_conn *c, const struct wa_node *iq);
void sim_on_link_device(struct sim_conn *phone, const struct wa_node *iq);
void sim_on_remove_device(struct sim_conn *c, const struct wa_node *iq);
/* Takes a device from its account: its connection ends, everybody concerned is told. */
void sim_device_unlink(struct sim_relay *r, struct sim_device *dev);
/* queue.c: a stanza that stays until a receipt or an ack; sent at once to who is connected. */
void sim_queue_put(struct sim_relay *r, struct sim_device *dev, enum sim_queue_kind kind,
                   const struct wa_node *n);
void sim_queue_on_receipt(struct sim_conn *c, const struct wa_node *receipt);
void sim_queue_on_ack(struct sim_conn *c, const struct wa_node *ack);
/* True when a stanza is owed for too long; the stream ends then. */
bool sim_queue_claim(struct sim_conn *c);
/* message.c, receipt.c, stanza.c */
void sim_on_message(struct sim_conn *c, const struct wa_node *n);
void sim_on_receipt(struct sim_conn *c, const struct wa_node *n);
void sim_on_ack(struct sim_conn *c, const struct wa_node *n);
void sim_on_presence(struct sim_conn *c, const struct wa_node *n);
void sim_on_chatstate(struct sim_conn *c, const struct wa_node *n);
void sim_on_call(struct sim_conn *c, const struct wa_node *n);
void sim_on_ib(struct sim_conn *c, const struct wa_node *n);
void sim_on_iq(struct sim_conn *c, const struct wa_node *n);
/* The newest message given to this connection once more. */
void sim_redeliver_last(struct sim_conn *c);
void sim_conn_ping(struct sim_conn *c);
/* notify.c */
void sim_tell_prekeys(struct sim_relay *r, struct sim_device *dev, int64_t left);
void sim_notify_devices(struct sim_relay *r, struct sim_account *a, const char *what,
                        const struct sim_device *changed);
void sim_notify_low_prekeys(struct sim_relay *r, struct sim_device *dev);
void sim_notify_identity(struct sim_relay *r, struct sim_account *a);
/* "create", or "add" / "remove" of one member, to every member. */
void sim_notify_group(struct sim_relay *r, struct sim_group *g, const char *what,
                      struct sim_account *who);
/* iq_group.c: the whole description of a group. */
void sim_group_node(struct wa_node *parent, struct arena *arena, const struct sim_group *g);
/* What clients call phash: a hash of the set of devices, as text. */
struct slice sim_phash(struct arena *arena, const struct wa_jid *devices, size_t n);
/* phash.c: the stanza's phash is that of a set which phashes.def knows, or there is none. */
bool sim_phash_is_known(struct sim_conn *c, const struct wa_node *n);
/* Devices or members changed: who has not heard of it hashes what was before. */
void sim_rosters_note(struct sim_relay *r);
/* A privacy setting changed: to every device but the one that changed it (NULL: to all). */
void sim_notify_privacy(struct sim_relay *r, struct sim_account *a, const struct sim_device *but);
/* iq_account.c: the setting readreceipts, changed by a device or (NULL) by its owner elsewhere. */
void sim_hide_reads(struct sim_relay *r, struct sim_account *a, const struct sim_device *by,
                    bool hides);
/* <privacy> with every setting. */
void sim_privacy_node(struct wa_node *parent, struct arena *arena, const struct sim_account *a);
