/* What is pushed: resource URIs as filters, and events as notifications.
 *
 *     whatsapp://events                      every event the key sees
 *     whatsapp://events/{name}               one kind, or message.*
 *     whatsapp://accounts                    the list of accounts and their states
 *     whatsapp://accounts/{account_id}       the status of one, also each new pairing code
 *     whatsapp://accounts/{account_id}/events
 *     whatsapp://chats/{chat_id}             what happens in one chat
 *
 * An event reaches a stream once: as notifications/resources/updated with the event in `_meta`
 * when a URI subscription matches it, else (subscribe_events) as notifications/message, or as
 * notifications/events/event when the client declared that extension. */
#pragma once
#include "server/events/hub.h"
#include "server/mcp/rpc.h"

struct mcp_worker;
struct principal;

/* The member of `_meta` that holds an event, and the one that announces lost ones. */
#define MCP_META_EVENT "parley/event"
#define MCP_META_GAP "parley/gap"
/* In capabilities.extensions or capabilities.experimental of who wants events/event. */
#define MCP_EVENTS_EXTENSION "io.modelcontextprotocol/events"

enum mcp_uri_kind {
    MCP_URI_NONE,
    MCP_URI_EVENTS,
    MCP_URI_EVENT, /* name */
    MCP_URI_ACCOUNTS,
    MCP_URI_ACCOUNT,        /* name: acc_… */
    MCP_URI_ACCOUNT_EVENTS, /* name: acc_… */
    MCP_URI_CHAT,           /* name: chat_… or grp_… */
};
struct mcp_uri {
    enum mcp_uri_kind kind;
    struct slice name; /* borrowed */
};
struct mcp_uri mcp_uri_parse(struct slice uri);
/* True for those whose changes are states, not events of the log. */
static inline bool mcp_uri_is_watch(enum mcp_uri_kind k)
{
    return k == MCP_URI_ACCOUNTS || k == MCP_URI_ACCOUNT;
}
/* The kinds of events behind a URI; false when it is none of ours. */
bool mcp_uri_kinds(struct slice uri, struct event_filter *out);
/* The whole filter, with a look at the database. NOT_FOUND when the key does not see what the URI
 * names, or there are no such events. */
err_t mcp_uri_resolve(struct mcp_worker *w, const struct principal *who, struct slice uri,
                      struct event_filter *out) MUST_CHECK;

/* "…" in base 36; false when it is none or does not fit. */
bool mcp_base36(struct slice text, uint64_t *out);
/* "g-2t": the id of an event on a session's standalone stream. */
void mcp_event_id(struct buf *out, uint64_t seq);
bool mcp_event_id_parse(struct slice id, uint64_t *out_seq);

/* Whole frames of standalone streams, for hub_event_frame(). */
void mcp_frame_log(struct hub_event *e, struct buf *out);
void mcp_frame_vendor(struct hub_event *e, struct buf *out);
void mcp_frame_all_events(struct hub_event *e, struct buf *out); /* whatsapp://events */
/* The same for any URI. */
void mcp_frame_resource(struct hub_event *e, struct slice uri, struct buf *out);
/* For subscriptions/listen: no id, the subscription's id (JSON) at the end. */
void mcp_frame_listen(struct hub_event *e, struct slice uri, struct slice listen_id,
                      struct buf *out);
/* A change that is no event; `listen_id` SLICE_NONE in the older era. */
void mcp_frame_changed(struct buf *out, struct slice uri, struct slice listen_id);
/* notifications/NAME/list_changed; `listen_id` as above. */
void mcp_frame_list_changed(struct buf *out, const char *name, struct slice listen_id);
/* Events first..last fell out of the log; see hub_stream.on_gap. */
void mcp_frame_gap(struct buf *out, uint64_t first, uint64_t last);
void mcp_frame_gap_listen(struct buf *out, struct slice uri, struct slice listen_id, uint64_t first,
                          uint64_t last);
