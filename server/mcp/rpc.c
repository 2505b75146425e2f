#include "server/mcp/rpc.h"

#include "server/api/json.h"

struct slice rpc_token(struct arena *arena, const struct json *j)
{
    AUTO(buf) text = {0};

    if (json_kind(j) != JSON_STR && json_kind(j) != JSON_INT) return SLICE_NONE;
    json_write(&text, j);
    return text.len <= RPC_ID_MAX ? arena_dup(arena, buf_slice(&text)) : SLICE_NONE;
}

static void bad(struct rpc_message *out, const char *wrong)
{
    out->kind = RPC_BAD;
    out->wrong = wrong;
}

static bool is_response(const struct json *j)
{
    return json_get(j, "result") || json_kind(json_get(j, "error")) == JSON_OBJ;
}

void rpc_read(struct arena *arena, const struct json *j, struct rpc_message *out)
{
    const struct json *id = json_get(j, "id"), *params = json_get(j, "params");

    *out = (struct rpc_message){.method = json_get_text(j, "method")};
    if (json_kind(j) != JSON_OBJ) {
        bad(out, "a message must be an object");
        return;
    }
    out->id = rpc_token(arena, id);
    if (!slice_is(json_get_text(j, "jsonrpc"), "2.0")) {
        bad(out, "jsonrpc must be \"2.0\"");
    } else if (id && slice_is_none(out->id)) {
        bad(out, "id must be a text or an integer");
    } else if (slice_is_none(out->method) && is_response(j)) {
        out->kind = RPC_RESPONSE;
        out->result = json_get(j, "result");
    } else if (out->method.len == 0 || out->method.len > RPC_METHOD_MAX) {
        bad(out, "method must be a text of 1 to 128 bytes");
    } else if (params && json_kind(params) != JSON_OBJ) {
        bad(out, "params must be an object");
    } else {
        out->kind = id ? RPC_REQUEST : RPC_NOTIFICATION;
        out->params = params;
    }
}

static void begin(struct buf *out, struct slice id)
{
    buf_put_text(out, "{\"jsonrpc\":\"2.0\",\"id\":");
    buf_put(out, slice_is_none(id) ? SLICE("null") : id);
}

void rpc_write_error(struct buf *out, struct slice id, int code, struct slice message,
                     struct slice data)
{
    begin(out, id);
    buf_printf(out, ",\"error\":{\"code\":%d,\"message\":", code);
    json_quote(out, message);
    if (!slice_is_none(data)) {
        buf_put_text(out, ",\"data\":");
        buf_put(out, data);
    }
    buf_put_text(out, "}}");
}

void rpc_write_result(struct buf *out, struct slice id, struct slice result)
{
    buf_reserve(out, result.len + id.len + 64);
    begin(out, id);
    buf_put_text(out, ",\"result\":");
    buf_put(out, result);
    buf_put_u8(out, '}');
}

static void write_method(struct buf *out, const char *method, struct slice params)
{
    buf_printf(out, "\"method\":\"%s\"", method);
    if (!slice_is_none(params)) {
        buf_put_text(out, ",\"params\":");
        buf_put(out, params);
    }
    buf_put_u8(out, '}');
}

void rpc_write_request(struct buf *out, struct slice id, const char *method, struct slice params)
{
    begin(out, id);
    buf_put_u8(out, ',');
    write_method(out, method, params);
}

void rpc_write_notification(struct buf *out, const char *method, struct slice params)
{
    buf_put_text(out, "{\"jsonrpc\":\"2.0\",");
    write_method(out, method, params);
}
