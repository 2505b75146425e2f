#include "proto/client/peer.h"

#include "proto/client/acks.h"
#include "proto/client/ask_phone.h"
#include "proto/client/jobs.h"
#include "proto/client/pb.h"
#include "proto/schema/message.pb-c.h"

enum { FIELD_TYPE = 2 };

static err_t take_history(struct wa_client *c, const struct wa_info *info, struct slice raw)
{
    struct wa_job job = {.kind = WA_JOB_HISTORY, .time_s = info->time_s, .raw = raw};

    wa_job_save(c, info->id, &job);
    wa_receipt_history(c, info->id);
    return OK;
}

static err_t take_app_state_keys(struct wa_client *c, const struct wa_info *info, struct slice raw)
{
    struct wa_job job = {.kind = WA_JOB_APP_STATE_KEYS, .time_s = info->time_s, .raw = raw};

    wa_job_save(c, info->id, &job);
    return OK;
}

/* The phone keeps its chats by LID from now on: new stanzas go there. The list of mappings may be
 * long, so it is a job; each is also learnt from the next message anyway. */
static err_t take_lid_mappings(struct wa_client *c, const struct wa_info *info, struct slice raw)
{
    struct wa_job job = {.kind = WA_JOB_LID_MAPPINGS, .time_s = info->time_s, .raw = raw};

    wa_job_save(c, info->id, &job);
    if (c->account.lid_migrated) return OK;
    c->account.lid_migrated = true;
    wa_save_account(c);
    return OK;
}

typedef err_t peer_fn(struct wa_client *c, const struct wa_info *info, struct slice raw);

/* Types that travel between the devices of one account; `field` holds the payload. */
static const struct {
    uint8_t type, field;
    peer_fn *take; /* NULL: nothing to do yet */
} peers[] = {
    {WA__PROTOCOL_MESSAGE__TYPE__HISTORY_SYNC_NOTIFICATION, 6, take_history},
    {WA__PROTOCOL_MESSAGE__TYPE__APP_STATE_SYNC_KEY_SHARE, 7, take_app_state_keys},
    {WA__PROTOCOL_MESSAGE__TYPE__APP_STATE_SYNC_KEY_REQUEST, 8, NULL},
    {WA__PROTOCOL_MESSAGE__TYPE__MSG_FANOUT_BACKFILL_REQUEST, 0, NULL},
    {WA__PROTOCOL_MESSAGE__TYPE__INITIAL_SECURITY_NOTIFICATION_SETTING_SYNC, 9, NULL},
    {WA__PROTOCOL_MESSAGE__TYPE__APP_STATE_FATAL_EXCEPTION_NOTIFICATION, 10, NULL},
    {WA__PROTOCOL_MESSAGE__TYPE__PEER_DATA_OPERATION_REQUEST_MESSAGE, 16, NULL},
    {WA__PROTOCOL_MESSAGE__TYPE__PEER_DATA_OPERATION_REQUEST_RESPONSE_MESSAGE, 17,
     wa_phone_answered},
    {WA__PROTOCOL_MESSAGE__TYPE__LID_MIGRATION_MAPPING_SYNC, 23, take_lid_mappings},
};

static uint64_t type_of(struct slice protocol) { return wa_pb_int_or(protocol, FIELD_TYPE, 0); }

bool wa_peer_is_protocol(struct slice protocol)
{
    uint64_t type = type_of(protocol);

    for (size_t i = 0; i < ARRAY_LEN(peers); i++)
        if (peers[i].type == type) return true;
    return false;
}

err_t wa_peer_take(struct wa_client *c, const struct wa_info *info, struct slice protocol)
{
    uint64_t type = type_of(protocol);

    /* Only the phone has the right to hand these out. */
    if (!info->from_me || info->author_jid.device != 0) return OK;
    for (size_t i = 0; i < ARRAY_LEN(peers); i++)
        if (peers[i].type == type && peers[i].take)
            return peers[i].take(c, info, wa_pb_bytes(protocol, peers[i].field));
    return OK;
}
