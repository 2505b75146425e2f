/* Virtual phones: clients of the relay with keys of their own.
 *
 * A phone is device 0 of its account. It talks to the relay in encoded stanzas through a local
 * connection, and to other devices end to end with proto/signal; the relay cannot read it. What
 * the relay delivers is queued and handled by sim_phones_pump, so nobody calls back into anybody.
 * One thread. */
#pragma once
#include "proto/base/steps.h"
#include "proto/signal/session.h"
#include "tools/sim/relay.h"

enum {
    SIM_PHONE_PREKEYS = 100,
    SIM_INBOX_MAX = 5000,
    SIM_SENT_MAX = 1000, /* kept for retries */
    SIM_TEXT_MAX = 65536,
    SIM_ID_MAX = 128,
};

struct sim_phone;

/* A message as a phone sees it, in or out. */
struct sim_letter {
    struct list link;
    char id[SIM_ID_MAX];
    char from[SIM_NUMBER_MAX];          /* number of the author */
    uint16_t device;                    /* of the author */
    struct buf chat;                    /* number of the other person, or the group's JID */
    struct buf text, quoted;            /* quoted: id of the quoted message */
    struct buf sender;                  /* the author's JID as it came, for receipts */
    const char *kind;                   /* "text", "protocol", "other" */
    int64_t at;                         /* s */
    bool from_me, read;                 /* read: by us */
    bool sent, delivered, read_by_peer; /* of ours */
    int64_t error;                      /* of ours: the ack's error */
};

/* What we sent, for who asks again. */
struct sim_sent {
    struct list link;
    char id[SIM_ID_MAX];
    struct buf to, message; /* JID text; packed Message */
};

struct sim_device_list {
    size_t count;
    uint16_t ids[SIM_DEVICES_MAX];
};

/* A companion that wants to be linked by a code. */
struct sim_code {
    struct buf ref, wrapped; /* what it told the server */
    struct crypto_key noise;
    struct crypto_key companion; /* its ephemeral key, if the code was right */
    struct crypto_pair ephemeral;
};

struct sim_row {
    struct buf value;
};

struct sim_phone {
    struct list link;
    struct sim_phones *phones;
    struct sim_account *account; /* who we are */
    struct sim_conn *conn;       /* NULL: offline */
    struct crypto_pair identity;
    uint32_t registration_id, raw_id, next_prekey, last_index, last_iq;
    struct wa_keystore keystore;
    struct map rows;           /* struct sim_row by kind, owner and name */
    struct map lids, numbers;  /* what we learnt of other people: char * both ways */
    struct list letters, sent; /* oldest first */
    struct map letters_by_id, sent_by_id;
    uint32_t letter_count, sent_count;
    struct map device_lists; /* struct sim_device_list by JID, until the server says they changed */
    struct list operations;  /* sends; the first is under way */
    uint8_t app_key_id[6], app_key[32];
    int64_t app_key_at; /* ms */
    bool no_receipts;   /* reads in silence */
    struct sim_code code;
    char scan_iq[16]; /* the scan that waits for its companion */
    enum { SIM_SCAN_NONE, SIM_SCAN_WAITS, SIM_SCAN_DONE, SIM_SCAN_REFUSED } scan;
    uint64_t scan_error; /* what the server said to a refused one */
    struct map tokens;   /* number -> bucket in which we gave the person a token: int64_t * */
    struct map retries;  /* how often we asked for a message: uint32_t * by author and id */
};

struct sim_phones {
    struct sim_relay *relay;
    struct list phones;
    struct map by_number;
    struct list arrived; /* stanzas for phones */
    struct arena arena;
    /* Told of every text that somebody else wrote; may be NULL. */
    void (*on_letter)(void *ctx, struct sim_phone *p, const struct sim_letter *letter);
    void (*on_paired)(void *ctx, struct sim_phone *p, struct wa_jid companion);
    void *ctx;
};

void sim_phones_init(struct sim_phones *ps, struct sim_relay *relay);
void sim_phones_done(struct sim_phones *ps);
/* The host's `deliver`: queues. */
void sim_phones_deliver(struct sim_phones *ps, struct sim_conn *local, struct slice stanza);
/* Lets the phones work until nothing is left to do. */
void sim_phones_pump(struct sim_phones *ps);

/* A phone with fresh keys, online. BAD_ARGUMENT for a malformed number, CONFLICT in words when it
 * exists. `lid` may be empty. */
err_t sim_phone_new(struct sim_phones *ps, struct slice number, struct slice lid, struct slice name,
                    struct sim_phone **out) MUST_CHECK;
/* For a state file: keys come from there. */
struct sim_phone *sim_phone_restore(struct sim_phones *ps, struct sim_account *account);
struct sim_phone *sim_phone_find(const struct sim_phones *ps, struct slice number);
void sim_phone_go(struct sim_phone *p, bool online);

/* ---- what its owner does ---- */
/* Takes the QR text of a companion; the outcome shows in p->scan. BAD_TEXT, NOT_FOUND (the code
 * is not, or no longer, shown by anybody), CONFLICT in words when the account is full. */
err_t sim_phone_scan(struct sim_phone *p, struct slice qr) MUST_CHECK;
/* Types the code that a companion shows; the outcome shows in p->scan. BAD_TEXT, NOT_FOUND (no
 * companion asks for this number). */
err_t sim_phone_type_code(struct sim_phone *p, struct slice code) MUST_CHECK;
struct sim_writing {
    struct slice to; /* number, a group's JID, or status@broadcast: everybody we know */
    struct slice text;
    struct slice quote;   /* id of a letter, may be empty */
    struct slice message; /* a packed Message instead of a text, may be empty */
    struct slice type; /* of the stanza, "text" when empty; "media", "reaction", "poll", "event" */
    struct slice mediatype; /* on every enc of type "media" */
    struct slice edit;      /* attribute of the stanza, may be empty */
};
/* Gives the message's id; sending goes on by itself. */
err_t sim_phone_write(struct sim_phone *p, const struct sim_writing *w,
                      char out_id[SIM_ID_MAX]) MUST_CHECK;
err_t sim_phone_read(struct sim_phone *p, struct slice id) MUST_CHECK;
err_t sim_phone_typing(struct sim_phone *p, struct slice to, bool composing) MUST_CHECK;
/* Removes a companion, as in the settings. */
err_t sim_phone_unlink(struct sim_phone *p, uint16_t device) MUST_CHECK;

/* ---- for the phone_*.c files ---- */
void sim_phone_send_node(struct sim_phone *p, const struct wa_node *n);
/* An iq with a fresh id, which is also copied to `out_id`. */
struct wa_node *sim_phone_iq(struct sim_phone *p, struct arena *arena, const char *type,
                             const char *xmlns, char out_id[16]);
/* Name of a device in our store: by LID where we know it. */
struct wa_address sim_phone_address(struct sim_phone *p, struct arena *arena, struct wa_jid jid);
void sim_phone_learn(struct sim_phone *p, struct slice number, struct slice lid);
/* The number behind an address as text; the LID when we do not know it. */
const char *sim_phone_number(struct sim_phone *p, struct wa_jid jid, char out[SIM_NUMBER_MAX]);
struct sim_letter *sim_phone_letter(struct sim_phone *p, struct slice id);
struct sim_letter *sim_phone_keep(struct sim_phone *p, const struct sim_letter *letter,
                                  struct slice chat, struct slice text);
void sim_phone_new_id(char out[SIM_ID_MAX]);
void sim_letter_free(struct sim_phone *p, struct sim_letter *letter);
void sim_sent_free(struct sim_phone *p, struct sim_sent *sent);
/* Makes a letter or a sent message findable; its id must not change any more. */
void sim_phone_index_letter(struct sim_phone *p, struct sim_letter *letter);
struct sim_sent *sim_phone_sent(struct sim_phone *p, struct slice id);
void sim_phone_keep_sent(struct sim_phone *p, const char *id, struct slice to,
                         struct slice message);
/* The devices of a person are asked for again; both of its addresses. */
void sim_phone_forget_devices(struct sim_phone *p, struct wa_jid person);

enum sim_operation_kind {
    SIM_SEND,   /* to a person or a group, with copies for our companions */
    SIM_PEER,   /* to one of our companions */
    SIM_RESEND, /* to a device that asked again */
};
struct sim_operation {
    struct list link;
    struct sim_phone *phone;
    enum sim_operation_kind kind;
    struct arena arena;
    struct steps steps;
    char id[SIM_ID_MAX], iq[16];
    struct wa_jid to, participant;
    struct wa_jid chat;   /* of a resend to a companion of ours: where the message went */
    struct slice message; /* packed Message */
    struct slice type, mediatype, edit;
    int64_t count;                /* of the retry */
    bool fresh;                   /* forget the session first */
    bool running;                 /* has begun */
    const struct wa_node *answer; /* of the query that is waited for; one call long */
    struct wa_jid *people, *devices;
    size_t people_count, device_count;
};
/* Copies what it gets; starts when those before it are done. */
struct sim_operation *sim_operation_new(struct sim_phone *p, enum sim_operation_kind kind,
                                        struct wa_jid to, const char *id, struct slice message);
void sim_operations_go(struct sim_phone *p);
/* An iq result or a message ack; false when no operation waits for it. */
bool sim_operations_answer(struct sim_phone *p, const struct wa_node *n);
void sim_operations_drop(struct sim_phone *p);

/* Gives a person the token that lets it write to us, once a week. */
void sim_phone_give_token(struct sim_phone *p, struct wa_jid to);
void sim_phone_on_message(struct sim_phone *p, const struct wa_node *n);
void sim_phone_on_receipt(struct sim_phone *p, const struct wa_node *n);
void sim_phone_on_code(struct sim_phone *p, const struct wa_node *notification);
/* Vouches for a companion: signs and registers it with the server. */
void sim_phone_grant(struct sim_phone *p, struct slice ref, const struct crypto_key *noise,
                     const struct crypto_key *companion, const uint8_t secret[32]);
void sim_phone_on_linked(struct sim_phone *p, const struct wa_node *iq);
void sim_phone_share_keys(struct sim_phone *p, struct wa_jid companion);
void sim_phone_send_peer(struct sim_phone *p, struct wa_jid companion, struct slice message);
/* A bundle out of a <user> or <keys> node; false when a part is missing. */
bool sim_phone_read_bundle(const struct wa_node *user, struct wa_bundle *out);
