/* A stream that events are pushed on: a session's GET, an /sse client, or subscriptions/listen.
 *
 * It is a cursor of the hub with frames of MCP. When the client does not take what is written,
 * the stream holds its cursor and goes on from the log later; nothing gathers in memory. Belongs
 * to one worker; others reach it by its number (inside.h). */
#pragma once
#include "server/events/hub.h"
#include "server/http/http.h"
#include "server/mcp/mcp_session.h"

struct mcp_worker;

enum { MCP_STREAM_UNSENT_MAX = 256 * 1024 };

enum mcp_stream_kind { MCP_STREAM_GET, MCP_STREAM_SSE, MCP_STREAM_LISTEN };

struct mcp_stream_uri {
    char *uri;
    bool is_watch;
    uint64_t since;
};

struct mcp_stream {
    /* Beside the beginnings of `hub` and `session`: what each event touches. */
    struct sse *sse;
    enum mcp_stream_kind kind;
    bool told_streamed;
    struct hub_stream hub;
    struct session_info session; /* id "" for listen */
    struct slice listen_id;      /* JSON; owned */
    struct mcp_worker *home;
    uint64_t number;
    struct event_filter *filters;
    unsigned *filter_uris; /* filters[i] belongs to uris[filter_uris[i]] */
    struct mcp_stream_uri *uris;
    size_t uri_count, watch_count;
    unsigned lists; /* of enum mcp_list: those whose changes it hears of */
    /* Of /sse: what hangs on it goes with it. */
    void (*on_closed)(struct mcp_stream *s);
    void *owner;
};

/* Makes it over a request, which becomes an event stream. The number comes from the caller, who
 * may have registered it. Nothing is pushed before mcp_stream_follow(). */
struct mcp_stream *mcp_stream_new(struct mcp_worker *w, uint64_t number, enum mcp_stream_kind kind,
                                  const struct principal *who, struct request *r);
/* Sets what it is subscribed to. */
void mcp_stream_set_uris(struct mcp_stream *s, const struct session_uri *uris, size_t n);
/* The same from its session; false when that has ended. */
bool mcp_stream_load(struct mcp_stream *s);
/* Starts pushing what comes behind `after`. */
void mcp_stream_follow(struct mcp_stream *s, uint64_t after);
/* Ends it from our side. */
void mcp_stream_end(struct mcp_stream *s);
