/* Work that outlives its stanza: a durable row per item, its receipt may leave with the commit
 * that stored it. What does the work reads the rows of WA_NS_JOB. */
#pragma once
#include "proto/client/inside.h"

enum wa_job_kind {
    WA_JOB_HISTORY = 1,    /* a HistorySyncNotification */
    WA_JOB_APP_STATE_KEYS, /* an AppStateSyncKeyShare */
    WA_JOB_LID_MAPPINGS,   /* a LidMigrationMappingSyncMessage */
};

struct wa_job {
    enum wa_job_kind kind;
    int64_t time_s;
    struct slice raw; /* the protobuf named above, as it came */
};

/* Named by kind and message id: a redelivered notification is the same row. */
void wa_job_save(struct wa_client *c, struct slice id, const struct wa_job *job);
/* What the row holds; `raw` borrows from it. */
err_t wa_job_decode(struct slice row, struct wa_job *out) MUST_CHECK;
