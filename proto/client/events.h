/* What a client tells its owner: emitted during a turn, stored and published with its commit.
 * Plain data, borrowed for the duration of emit(). */
#pragma once
#include "proto/base/err.h"
#include "proto/base/slice.h"
#include "proto/wire/jid.h"

/* A person or group by both addresses; either may be absent (WA_SERVER_NONE), not both. */
struct wa_party {
    struct wa_jid pn;  /* user@s.whatsapp.net, or the group, broadcast or newsletter itself */
    struct wa_jid lid; /* user@lid */
};

enum wa_event_kind {
    WA_EVENT_QR,           /* live only: a code to scan */
    WA_EVENT_PAIRED,       /* the phone has accepted us; credentials are saved in this turn */
    WA_EVENT_PAIR_FAILED,  /* codes ran out (reason EXPIRED) or the phone's answer was refused */
    WA_EVENT_CONNECTED,    /* logged in */
    WA_EVENT_DISCONNECTED, /* the link is gone or refused; reason, and when we try again */
    WA_EVENT_UNPAIRED,     /* logged out for good; credentials are deleted in this turn: the client
                              deletes its account row, the host every other row of this account's
                              client (the client cannot list them) */
    WA_EVENT_MESSAGE,      /* a message, incoming or ours; again when a waiting one was completed */
    WA_EVENT_RECEIPT,      /* somebody got, read or played messages */
    WA_EVENT_OUTBOX,       /* keep these bytes and give them to wa_client_resend() until done */
    WA_EVENT_OUTBOX_DONE,  /* the server took (error OK) or refused what OUTBOX named; ids that no
                              outbox row has (resends to one device) are to be ignored */
    WA_EVENT_SEND_FAILED,  /* a wa_client_send_text ended before it was encrypted */
    WA_EVENT_MAPPING,      /* a phone number and a LID are one person; told before rows of either
                              are saved, so that the host can put them in one place */
    WA_EVENT_IDENTITY,     /* a contact's identity key changed */
    WA_EVENT_CONTACT,      /* a push name was seen */
    WA_EVENT_OFFLINE_DONE, /* the backlog has been delivered */
    WA_EVENT_CLIENT_EXPIRES, /* live only: the day this app version stops working */
};

enum wa_reason {
    WA_REASON_NONE,
    WA_REASON_EXPIRED,         /* no code was scanned in time */
    WA_REASON_LINK,            /* connect failed, closed, or no answer */
    WA_REASON_SERVER,          /* 5xx, stream end: the server asks to come back */
    WA_REASON_RATE_LIMITED,    /* 429 */
    WA_REASON_REPLACED,        /* connected elsewhere: no reconnect by itself */
    WA_REASON_LOGGED_OUT,      /* 401, 403, 406, device_removed, 516 */
    WA_REASON_BANNED,          /* 402: until `until_s`, cause in `code` */
    WA_REASON_CLIENT_OUTDATED, /* 405 */
    WA_REASON_REFUSED,         /* another failure, number in `code` */
    WA_REASON_CERTIFICATE,     /* the server's Noise chain is not ours */
    WA_REASON_PROTOCOL,        /* a frame or stanza nobody can read */
    WA_REASON_BY_USER,         /* logout, pairing cancelled */
    WA_REASON_SIGNATURE,       /* the phone's pairing answer was forged */
};
struct wa_down {
    enum wa_reason reason;
    int code;         /* stream:error or failure number, 0 if none */
    int64_t until_s;  /* end of a ban, 0 */
    int64_t retry_at; /* ms; 0: not by itself */
    /* <failure> as it came, encoded, when it ends with a ban or for good: a 403 may bring a token
     * for the appeal that is given once. */
    struct slice refusal;
};
enum { WA_REFUSAL_MAX = 16 * 1024 };          /* a longer one is not kept */
const char *wa_reason_text(enum wa_reason r); /* "client_outdated" */

/* Content kinds, from protocol.md 7.2/7.3: text is full, the rest is classified and kept raw. */
enum wa_content_kind {
#define WA_CONTENT(name, text) WA_KIND_##name,
#include "proto/client/content.def"
#undef WA_CONTENT
    WA_KIND_COUNT
};
const char *wa_content_kind_text(enum wa_content_kind k); /* "image" */

struct wa_message {
    struct wa_party chat;
    struct wa_party author; /* ourselves when from_me */
    uint16_t author_device;
    bool from_me, is_group, offline;
    bool waiting;    /* could not be decrypted yet; asked for again */
    bool completes;  /* completes the waiting one with the same id */
    struct slice id; /* WhatsApp's id */
    int64_t time_s;
    struct slice push_name; /* SLICE_NONE when unknown */
    enum wa_content_kind kind;
    struct slice text;      /* body or caption, UTF-8 */
    struct slice quoted_id; /* SLICE_NONE when it answers nothing */
    struct wa_jid quoted_author;
    const struct wa_jid *mentions;
    size_t mention_count;
    struct slice raw;   /* the Message protobuf, unpadded */
    uint64_t operation; /* ours: the operation of wa_client_send_text, 0 otherwise */
};

enum wa_receipt_kind { WA_RECEIPT_DELIVERED, WA_RECEIPT_READ, WA_RECEIPT_PLAYED };
struct wa_receipt {
    enum wa_receipt_kind kind;
    struct wa_party chat;
    struct wa_party who; /* who got or read it */
    bool by_us;          /* read on another device of ours */
    const struct slice *ids;
    size_t id_count;
    int64_t time_s;
};

struct wa_event {
    enum wa_event_kind kind;
    union {
        struct {
            struct slice code;  /* five fields, comma separated */
            int64_t expires_at; /* ms */
            unsigned left;      /* codes that follow */
        } qr;
        struct {
            struct wa_jid pn, lid; /* own, with device */
            struct slice platform, business_name;
        } paired;
        struct {
            struct wa_jid pn, lid;
        } connected;
        struct wa_down down; /* PAIR_FAILED, DISCONNECTED, UNPAIRED */
        struct wa_message message;
        struct wa_receipt receipt;
        struct {
            struct slice id; /* of the stanza: message id or receipt id */
            bool is_message;
            struct slice stanza; /* encoded node */
        } outbox;
        struct {
            struct slice id;
            bool is_message;
            struct wa_party chat;
            err_t error;    /* OK, or SEND_REFUSED / NEEDS_TOKEN / STALE_ADDRESSING … */
            int code;       /* the ack's error number, 0 */
            int64_t time_s; /* the server's */
        } outbox_done;
        struct {
            uint64_t operation;
            err_t error;
        } send_failed;
        struct wa_party mapping; /* both set */
        struct wa_party identity;
        struct {
            struct wa_party who;
            struct slice push_name;
        } contact;
        int64_t client_expires_s;
    };
};
