/* WhatsApp's addresses. A JID is user@server with a device; phone number (s.whatsapp.net) and LID
 * (lid) are two addresses of one person. Slices are borrowed from where the JID was read.
 * Pure functions, any thread. */
#pragma once
#include "proto/base/arena.h"
#include "proto/base/err.h"

enum wa_server {
    WA_SERVER_NONE,       /* no JID at all */
    WA_SERVER_USER,       /* s.whatsapp.net */
    WA_SERVER_LID,        /* lid */
    WA_SERVER_GROUP,      /* g.us */
    WA_SERVER_BROADCAST,  /* broadcast */
    WA_SERVER_NEWSLETTER, /* newsletter */
    WA_SERVER_HOSTED,     /* hosted: Cloud-API device of a phone number */
    WA_SERVER_HOSTED_LID, /* hosted.lid */
    WA_SERVER_BOT,        /* bot */
    WA_SERVER_MSGR,       /* msgr */
    WA_SERVER_INTEROP,    /* interop */
    WA_SERVER_C_US,       /* c.us, old alias of s.whatsapp.net */
    WA_SERVER_CALL,       /* call */
    WA_SERVER_COUNT
};

struct wa_jid {
    struct slice user;     /* empty for a server */
    enum wa_server server; /* WA_SERVER_NONE: absent */
    uint16_t device;       /* 0 is the phone */
    uint16_t integrator;   /* interop only */
};

enum {
    WA_JID_TEXT_MAX = 128,
    WA_JID_USER_MAX = 96,
    WA_DEVICE_MAX = 255,
    WA_DEVICE_WIDE_MAX = 65535, /* of msgr and interop */
};

/* "@s.whatsapp.net" */
struct wa_jid wa_jid_server(void);
struct wa_jid wa_jid_of(enum wa_server server, struct slice user, uint16_t device);
/* "user@server", "user:5@server", "@server" and "7-user:5@interop"; BAD_JID otherwise, also for a
 * server we do not know. Borrows from `text`. */
err_t wa_jid_parse(struct slice text, struct wa_jid *out) MUST_CHECK;
/* The canonical text, NUL-terminated in `out`; too long a user is cut (parse and decode limit it).
 */
const char *wa_jid_text(const struct wa_jid *jid, char out[WA_JID_TEXT_MAX]);
struct slice wa_jid_slice(const struct wa_jid *jid, struct arena *arena);
/* A copy that lives in the arena. */
struct wa_jid wa_jid_dup(const struct wa_jid *jid, struct arena *arena);
/* Without the device. */
struct wa_jid wa_jid_bare(const struct wa_jid *jid);
bool wa_jid_eq(const struct wa_jid *a, const struct wa_jid *b);
/* Same user and server, whatever the device. */
bool wa_jid_same_user(const struct wa_jid *a, const struct wa_jid *b);
static inline bool wa_jid_is_none(const struct wa_jid *j) { return j->server == WA_SERVER_NONE; }
bool wa_jid_is_server(const struct wa_jid *j);
bool wa_jid_is_group(const struct wa_jid *j);
/* A person: s.whatsapp.net, lid, hosted, hosted.lid, bot, c.us. */
bool wa_jid_is_person(const struct wa_jid *j);
bool wa_jid_is_lid(const struct wa_jid *j);
bool wa_jid_is_status(const struct wa_jid *j);
const char *wa_server_text(enum wa_server server);
/* WA_SERVER_NONE for an unknown one. */
enum wa_server wa_server_find(struct slice text);
/* Whether a JID can hold this user: printable ASCII without '@' and ':', at most
 * WA_JID_USER_MAX bytes. */
bool wa_jid_user_ok(struct slice user);
