/* JSON-RPC 2.0 as MCP speaks it: what a message is, and how answers are written.
 *
 * Ids and progress tokens are kept as JSON text, so that 1 stays a number and "1" a text. Pure
 * functions, any thread. */
#pragma once
#include "proto/base/arena.h"
#include "proto/base/buf.h"

struct json;

enum {
    RPC_MESSAGE_MAX = 4 << 20, /* bytes of one body */
    RPC_BATCH_MAX = 100,       /* messages in it, 2025-03-26 only */
    RPC_ID_MAX = 256,          /* bytes of an id as JSON */
    RPC_METHOD_MAX = 128,
};

/* Codes. -32000..-32019 are what the SDKs use for transport errors of the older revisions;
 * -32020..-32099 belong to the protocol. */
enum rpc_code {
    RPC_PARSE_ERROR = -32700,
    RPC_INVALID_REQUEST = -32600,
    RPC_NO_METHOD = -32601,
    RPC_BAD_PARAMS = -32602,
    RPC_INTERNAL = -32603,
    RPC_REFUSED = -32000,
    RPC_NO_SESSION = -32001,
    RPC_NO_RESOURCE = -32002, /* up to 2025-11-25; later it is RPC_BAD_PARAMS */
    RPC_BAD_HEADER = -32020,
    RPC_NO_CAPABILITY = -32021,
    RPC_BAD_VERSION = -32022,
};

enum rpc_kind { RPC_BAD, RPC_REQUEST, RPC_NOTIFICATION, RPC_RESPONSE };

struct rpc_message {
    enum rpc_kind kind;
    struct slice id; /* JSON text in the arena; SLICE_NONE when there is no usable one */
    struct slice method;
    const struct json *params; /* an object, or NULL */
    const struct json *result; /* of RPC_RESPONSE; NULL when it is an error */
    const char *wrong;         /* of RPC_BAD: what is wrong */
};

/* Reads one message; slices and params borrow from `j` and `arena`. */
void rpc_read(struct arena *arena, const struct json *j, struct rpc_message *out);
/* The value as JSON text in the arena when it is a text or an integer of at most RPC_ID_MAX bytes,
 * else SLICE_NONE. */
struct slice rpc_token(struct arena *arena, const struct json *j);

/* {"jsonrpc":"2.0","id":…,"error":{…}}; an absent id is null, absent `data` is left out. */
void rpc_write_error(struct buf *out, struct slice id, int code, struct slice message,
                     struct slice data);
void rpc_write_result(struct buf *out, struct slice id, struct slice result);
/* A request of ours. */
void rpc_write_request(struct buf *out, struct slice id, const char *method, struct slice params);
void rpc_write_notification(struct buf *out, const char *method, struct slice params);
