/* Device lists of people: asked by usync, cached until the server says that they changed. */
#pragma once
#include "proto/client/inside.h"

enum {
    WA_DEVICES_MAX = 128,                 /* of one person; the server allows far fewer */
    WA_USYNC_USERS_MAX = 16,              /* read of one answer; we ask for two */
    WA_DEVICES_AGE_MS = 24 * 3600 * 1000, /* asked again after this, in case a notice was lost */
};

struct wa_device {
    uint16_t id;
    bool hosted; /* a Cloud-API device, on a server of its own */
};

struct wa_devices {
    bool known; /* false: ask */
    size_t count;
    struct wa_device list[WA_DEVICES_MAX];
};

err_t wa_devices_load(struct wa_client *c, const struct wa_party *who,
                      struct wa_devices *out) MUST_CHECK;
/* The device's address in the family of `bare`. */
struct wa_jid wa_device_jid(const struct wa_jid *bare, const struct wa_device *device);
/* The list is out of date: the next send asks anew. One that is already on its way goes on with
 * what it has. */
err_t wa_devices_expire(struct wa_client *c, const struct wa_jid *who) MUST_CHECK;
/* <user jid> of a usync answer: learns the LID, stores the list. out_count is the number of
 * devices, 0 when the answer holds none. */
err_t wa_devices_store(struct wa_client *c, const struct wa_node *user,
                       size_t *out_count) MUST_CHECK;

/* ---- usync queries ---- */

/* <usync> with an empty <query> and <list>; sets both. */
struct wa_node *wa_usync_new(struct wa_client *c, const char *mode, const char *context,
                             struct wa_node **out_query, struct wa_node **out_list);
/* The users of an answer, one after another, as many as were asked for at most; NULL at the end,
 * and for an answer that is none. */
const struct wa_node *wa_usync_next(const struct wa_node *iq, size_t *at);
/* Asks for the LID of a phone number anew (ack refresh_lid). */
err_t wa_usync_refresh_lid(struct wa_client *c, const struct wa_jid *who) MUST_CHECK;
