/* Events: what the log stores and every door sends.
 *
 * One shape everywhere: {seq, event, event_id, occurred_at, received_at, account_id, data}. The
 * bytes made here are a log row: eight bytes for filtering, then the JSON object without its seq
 * (the log's key is the number); event_json() puts the number in front. Builders append one row to
 * `out`; who stores rows treats them as opaque. Pure functions, any thread. */
#pragma once
#include "proto/base/buf.h"
#include "proto/base/err.h"
#include "server/api/faces.h"

enum event_kind {
#define EVENT(name, public_name, meaning) EVENT_##name,
#include "server/events/events.def"
#undef EVENT
    EVENT_COUNT
};

/* "message.received" */
const char *event_name(enum event_kind k);
/* One sentence for catalogues. */
const char *event_meaning(enum event_kind k);
/* EVENT_COUNT when there is none of this name. */
enum event_kind event_find(struct slice name);

/* What all events carry. */
struct event_head {
    struct slice account; /* "acc_…" */
    bool sandbox;         /* its world */
    int64_t occurred_at;  /* ms: when WhatsApp says it happened */
    int64_t received_at;  /* ms: when this server saw it */
};

/* ---- builders: one row appended to `out` ---- */

void event_message_received(struct buf *out, const struct event_head *h,
                            const struct face_message *m);
/* Ours, taken by WhatsApp: sent through the API or written by the owner on another device. */
void event_message_sent(struct buf *out, const struct event_head *h,
                        const struct face_message *m);

struct event_read {
    struct slice chat;            /* "chat_…" */
    const struct slice *messages; /* "msg_…" that were read */
    size_t message_count;
    struct face_person reader;
    bool by_us;                   /* read by the owner on another device */
    const char *kind;             /* "read" or "played" */
};
void event_message_read(struct buf *out, const struct event_head *h, const struct event_read *r);

void event_account_paired(struct buf *out, const struct event_head *h, struct slice phone,
                          struct slice lid, struct slice name);
void event_account_connected(struct buf *out, const struct event_head *h, struct slice phone);
/* `reason` as wa_reason_text(); code 0, until 0 and retry 0 are left out. */
struct event_down {
    const char *reason;
    int code;
    int64_t until_s;  /* end of a ban */
    int64_t retry_at; /* ms of the next try; 0: not by itself */
};
void event_account_disconnected(struct buf *out, const struct event_head *h,
                                const struct event_down *d);
void event_account_unpaired(struct buf *out, const struct event_head *h,
                            const struct event_down *d);

/* ---- reading a row ---- */

struct event_face {
    enum event_kind kind;
    bool sandbox;
    struct slice account; /* "acc_…" */
    struct slice chat;    /* "chat_…", SLICE_NONE when it is about no chat */
    struct slice json;    /* the object without seq */
};
/* Borrows from `row`. STORE_DAMAGED when it is none of ours. */
err_t event_read_row(struct slice row, struct event_face *out) MUST_CHECK;
/* Appends `{"seq":N,` and the rest of the object. */
void event_json(struct buf *out, uint64_t seq, struct slice json);

/* ---- filters ---- */

enum { EVENT_FILTER_ID_MAX = 40 };
struct event_filter {
    uint64_t kinds; /* bit 1 << enum event_kind; 0: all */
    char account[EVENT_FILTER_ID_MAX]; /* "": all the principal sees */
    char chat[EVENT_FILTER_ID_MAX];    /* "": all */
};
bool event_filter_matches(const struct event_filter *f, const struct event_face *e);
/* "message.received", "message.*", "*", or several with commas, into `kinds` (added);
 * BAD_ARGUMENT names the unknown one. */
err_t event_filter_add_names(struct event_filter *f, struct slice names) MUST_CHECK;
