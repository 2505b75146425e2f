/* Who exists: accounts, their devices, and what the server keeps for each.
 *
 * Everything is owned by the directory and lives until it is removed. One thread. */
#pragma once
#include "proto/base/buf.h"
#include "proto/base/list.h"
#include "proto/base/map.h"
#include "proto/wire/jid.h"
#include "proto/wire/node.h"

enum {
    SIM_NUMBER_MAX = 24,
    SIM_PREKEYS_MAX = 2000, /* one-time keys kept for a device */
    SIM_DEVICES_MAX = 32,   /* devices of an account */
    SIM_QUEUE_MAX = 20000,  /* stanzas that wait for a device */
    SIM_NAME_MAX = 100,
    SIM_ROSTERS_MAX = 32, /* device lists of a group that its members may still have in mind */
};

struct sim_conn;
struct sim_account;

struct sim_prekey {
    uint32_t id;
    uint8_t public[32];
};

/* What a device uploaded for others to start a session with it. */
struct sim_bundle {
    uint8_t registration[4];
    uint8_t identity[32];
    uint32_t signed_id;
    uint8_t signed_public[32], signed_signature[64];
    struct sim_prekey *prekeys; /* oldest first */
    uint32_t prekey_count;
};

enum sim_queue_kind {
    SIM_QUEUE_MESSAGE,
    SIM_QUEUE_RECEIPT,
    SIM_QUEUE_NOTIFICATION,
    SIM_QUEUE_CALL
};

/* A stanza that the device still owes a receipt or an ack for. */
struct sim_queued {
    struct list link;
    enum sim_queue_kind kind;
    struct buf id, from, participant; /* texts, as in the stanza */
    struct buf stanza;                /* encoded, without `offline` */
    bool backlog;                     /* was already waiting when the device logged in */
    bool sent;                        /* given to the connection that stands now */
    int64_t sent_ms;                  /* when */
};

struct sim_device {
    struct list link;
    struct sim_account *account;
    uint16_t id; /* 0 is the phone */
    uint32_t key_index;
    uint8_t noise[32];
    struct sim_bundle bundle;
    struct buf identity; /* AdvSignedDeviceIdentity with both signatures and the account key */
    struct list queue;
    uint32_t queue_count;
    struct sim_conn *conn; /* NULL: offline */
    bool available;        /* last presence */
    bool low_told;         /* the low-prekey notification is out */
};

/* One collection of app state; patches as their senders encrypted them. */
struct sim_patch {
    struct list link;
    uint64_t version;
    struct buf bytes;
};
struct sim_collection {
    struct list link;
    struct buf name;
    uint64_t version;
    struct list patches;
};

/* A privacy token that `from` gave to the owner of the list. */
struct sim_token {
    struct list link;
    struct sim_account *from;
    int64_t at; /* s */
    uint8_t bytes[16];
};

/* A person of a list: a blocked one, or one to be told when our devices change. */
struct sim_person {
    struct list link;
    struct sim_account *account;
};

/* A set of them in the order they came. */
struct sim_people {
    struct list list;
    struct map by_account; /* sim_person */
};

struct sim_account {
    struct list link;
    char number[SIM_NUMBER_MAX], lid[SIM_NUMBER_MAX];
    char name[SIM_NAME_MAX];
    struct list devices;
    uint16_t last_device;
    struct buf key_indexes; /* AdvSignedKeyIndexList by the phone */
    int64_t key_indexes_at; /* s */
    struct buf about;
    bool hides_reads; /* privacy setting readreceipts is none */
    struct list collections, tokens;
    struct map token_from; /* account that issued it -> one of the tokens */
    struct sim_people blocked, watchers;
    struct sim_people presence_watchers; /* told of our presence */
};

struct sim_member {
    struct list link;
    struct sim_account *account;
    bool admin, creator;
};

/* The devices that a group's message went to at some time. */
struct sim_seat {
    struct sim_account *account;
    uint16_t device;
};
struct sim_roster {
    struct list link;
    size_t count;
    struct sim_seat seats[];
};

struct sim_group {
    struct list link;
    char id[SIM_NUMBER_MAX]; /* without @g.us */
    char subject[SIM_NAME_MAX];
    bool lid_mode;
    int64_t created_at; /* s */
    struct list members;
    uint32_t version;
    struct list rosters; /* the newest last; at most SIM_ROSTERS_MAX */
    uint32_t roster_count;
};

struct sim_directory {
    struct list accounts, groups;
    struct map by_number, by_lid, groups_by_id;
};

void sim_directory_init(struct sim_directory *d);
void sim_directory_done(struct sim_directory *d);

/* NULL when the number or LID is taken or malformed (digits only). */
struct sim_account *sim_account_new(struct sim_directory *d, struct slice number, struct slice lid,
                                    struct slice name);
struct sim_account *sim_account_find(const struct sim_directory *d, struct slice number);
/* By phone number or LID, whatever the device; NULL if nobody. */
struct sim_account *sim_account_of(const struct sim_directory *d, struct wa_jid jid);
struct sim_device *sim_device_find(const struct sim_account *a, uint16_t id);
struct sim_device *sim_device_of(const struct sim_directory *d, struct wa_jid jid);
/* The number of the next companion: an address has one byte for it, so the one that was free for
 * the longest comes again after 254. 0 when the account is full. */
uint16_t sim_device_reserve(struct sim_account *a);
/* A device without keys. */
struct sim_device *sim_device_add(struct sim_account *a, uint16_t id);
void sim_device_free(struct sim_device *dev);
uint32_t sim_account_device_count(const struct sim_account *a);

/* Addresses; slices point into the account. */
struct wa_jid sim_account_jid(const struct sim_account *a, bool lid);
struct wa_jid sim_device_jid(const struct sim_device *dev, bool lid);
/* "15550001111:5" for traces and the control API. */
const char *sim_device_name(const struct sim_device *dev, char out[SIM_NUMBER_MAX + 8]);
/* Both are addresses of one account and device, whichever family. */
bool sim_same_device(const struct sim_directory *d, struct wa_jid a, struct wa_jid b);

struct sim_collection *sim_collection_of(struct sim_account *a, struct slice name);
/* False when the list held the account already. */
bool sim_person_add(struct sim_people *people, struct sim_account *account);
bool sim_person_remove(struct sim_people *people, const struct sim_account *account);
bool sim_person_in(const struct sim_people *people, const struct sim_account *account);
/* The token that `from` gave to the owner; _find NULL, _of a new one when there is none. */
struct sim_token *sim_token_find(const struct sim_account *owner, const struct sim_account *from);
struct sim_token *sim_token_of(struct sim_account *owner, struct sim_account *from);

struct sim_group *sim_group_new(struct sim_directory *d, struct slice id, struct slice subject);
struct sim_group *sim_group_of(const struct sim_directory *d, struct wa_jid jid);
struct sim_member *sim_member_find(const struct sim_group *g, const struct sim_account *a);
struct sim_member *sim_member_add(struct sim_group *g, struct sim_account *a);
void sim_member_remove(struct sim_group *g, const struct sim_account *a);
/* Empty seats, to be freed or added. */
struct sim_roster *sim_roster_new(size_t count);
void sim_roster_add(struct sim_group *g, struct sim_roster *take);
