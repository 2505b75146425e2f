/* tools/list and tools/call: the tool table and the calls of server/api in MCP's shape. */
#include "proto/base/text.h"
#include "server/api/call.h"
#include "server/api/tools.h"
#include "server/mcp/inside.h"

void mcp_tools_list(struct mcp_ask *a)
{
    if (!mcp_single_page(a)) return;
    mcp_begin(a);
    pen_raw(&a->pen, "tools", tools_json_for(&a->who));
    mcp_done(a);
}

static void write_text(struct pen *p, struct slice text)
{
    pen_object(p, NULL);
    pen_word(p, "type", "text");
    pen_text(p, "text", text);
    pen_end(p);
}

static void write_image(struct pen *p, const struct call_image *image)
{
    if (slice_is_none(image->base64)) return;
    pen_object(p, NULL);
    pen_word(p, "type", "image");
    pen_text(p, "data", image->base64);
    pen_word(p, "mimeType", image->media_type);
    pen_end(p);
}

/* A failed call is a result that says so. Its problem is text alone: clients hold structuredContent
 * against the tool's outputSchema even then, and would throw the problem away. */
static void on_called(struct mcp_ask *a, struct call *c)
{
    struct slice text = c->error == OK ? buf_slice(&c->result) : c->problem;

    mcp_begin(a);
    pen_array(&a->pen, "content");
    write_text(&a->pen, text);
    if (c->error == OK) write_image(&a->pen, &c->image);
    pen_end(&a->pen);
    if (c->error == OK) pen_raw(&a->pen, "structuredContent", text);
    pen_bool(&a->pen, "isError", c->error != OK);
    mcp_done(a);
}

void mcp_tools_call(struct mcp_ask *a)
{
    struct slice name = json_get_text(a->message.params, "name");
    const struct json *args = json_get(a->message.params, "arguments");
    const struct tool *tool = tool_find(name);
    AUTO(buf) text = {0};

    if (!tool) {
        mcp_refuse(a, RPC_BAD_PARAMS, "Unknown tool: " SLICE_FMT, SLICE_ARG(text_cut(name, 64)));
        return;
    }
    if (args && json_kind(args) != JSON_NIL) json_write(&text, args);
    mcp_call(a, tool->name, buf_slice(&text), on_called);
}
