/* An *exchange* is one POST with requests in it: it gathers the answers and sends them as JSON, or
 * becomes an event stream when something is to be said before the end (progress), when the answer
 * takes longer than MCP_LATE_MS, or when the client names streams first in its Accept header.
 *
 * In the older era such a stream is kept frame by frame with the session (mcp_session.h) and
 * written to the connection by a *tail*, so that a client whose connection broke fetches the rest
 * with GET and Last-Event-ID; a lost connection cancels nothing. In the modern era there is no
 * replay, and a client that closes the stream has cancelled. On the request's worker. */
#pragma once
#include "server/http/http.h"
#include "server/mcp/inside.h"

#define MCP_SESSION_HEADER "Mcp-Session-Id"

struct exchange;

/* Takes the document that the messages borrow from. `session` NULL: none. `is_batch`: its answers
 * are one array. */
struct exchange *exchange_new(struct mcp_worker *w, struct request *r, struct json *take,
                              enum mcp_era era, const struct session_info *session, bool is_batch);
/* A message: requests are started, notifications heard, what is neither is answered. */
void exchange_take(struct exchange *x, const struct principal *who, const struct json *message);
void exchange_ask(struct exchange *x, const struct principal *who, const struct rpc_message *m);
/* Nothing more will be added: it ends with the last answer, perhaps now. */
void exchange_started(struct exchange *x);

/* The request becomes the rest of a kept answer, behind the position. */
void tail_open(struct mcp_worker *w, struct request *r, const struct session_info *session,
               const struct kept_position *at);
/* The first frame of a resumable stream: a position without data, and how soon to come back.
 * Clients of older revisions would take the empty data for JSON, and get none. */
void mcp_prime(struct sse *sse, const struct session_info *session, struct slice id);
/* Whether the Accept header names the type, or anything; without the header anything goes. */
bool mcp_accepts(struct request *r, const char *type);
bool mcp_is_media(struct slice value, const char *type);
struct slice mcp_trim(struct slice s);
