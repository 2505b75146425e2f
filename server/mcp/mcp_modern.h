/* What is special about requests of the modern era: their envelope, and subscriptions/listen. */
#pragma once
#include "server/http/http.h"
#include "server/mcp/inside.h"

#define MCP_VERSION_HEADER "MCP-Protocol-Version"
#define MCP_META_VERSION "io.modelcontextprotocol/protocolVersion"
#define MCP_META_CAPABILITIES "io.modelcontextprotocol/clientCapabilities"

/* By the body; a message without an envelope is modern when it needs none and the header says so.
 */
bool modern_is(struct request *r, const struct rpc_message *m);
/* Serves it. */
void modern_post(struct mcp_worker *w, struct request *r, const struct principal *who,
                 struct json *take, const struct rpc_message *m);
struct slice mcp_version_header(struct request *r);

/* Ends a request with a JSON-RPC error. */
void mcp_http_refuse(struct request *r, int status, struct slice id, int code, const char *words);
void mcp_http_refuse_with(struct request *r, int status, struct slice id, int code,
                          struct slice data, const char *words);
