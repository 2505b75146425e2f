/* A node as XML for people. Not a format: nothing reads it back. */
#include "proto/base/text.h"
#include "proto/wire/node.h"

static void put_escaped(struct slice s, struct buf *out)
{
    for (size_t i = 0; i < s.len; i++) {
        uint8_t c = s.data[i];

        if (c == '"' || c == '<' || c == '>' || c == '&' || c < ' ' || c == 0x7f)
            buf_printf(out, "&#%u;", c);
        else
            buf_put_u8(out, c);
    }
}

static void put_open(const struct wa_node *n, struct buf *out)
{
    buf_put_u8(out, '<');
    put_escaped(n->tag, out);
    for (size_t i = 0; i < n->attr_count; i++) {
        const struct wa_value *v = &n->attrs[i].value;
        char jid[WA_JID_TEXT_MAX];

        buf_put_u8(out, ' ');
        put_escaped(n->attrs[i].key, out);
        buf_put_text(out, "=\"");
        put_escaped(wa_jid_is_none(&v->jid) ? v->text : slice_text(wa_jid_text(&v->jid, jid)), out);
        buf_put_u8(out, '"');
    }
}

static void put_close(const struct wa_node *n, struct buf *out)
{
    buf_put_text(out, "</");
    put_escaped(n->tag, out);
    buf_put_u8(out, '>');
}

void wa_node_to_text(const struct wa_node *n, bool with_bytes, struct buf *out)
{
    put_open(n, out);
    if (n->content == WA_CONTENT_NONE || (n->content == WA_CONTENT_CHILDREN && !n->child_count)) {
        buf_put_text(out, "/>");
        return;
    }
    buf_put_u8(out, '>');
    for (size_t i = 0; i < n->child_count; i++)
        wa_node_to_text(&n->children[i], with_bytes, out);
    if (n->content == WA_CONTENT_BYTES && with_bytes) {
        buf_put_u8(out, '[');
        text_hex(n->bytes, out);
        buf_put_u8(out, ']');
    } else if (n->content == WA_CONTENT_BYTES) {
        buf_printf(out, "[%zu B]", n->bytes.len);
    }
    put_close(n, out);
}
