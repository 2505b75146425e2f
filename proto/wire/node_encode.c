/* From a node to bytes, in the forms the official client chooses: the shortest token, else packed,
 * else raw. */
#include <assert.h>
#include <zlib.h>

#include "proto/wire/node_tags.h"
#include "proto/wire/tokens.h"

enum {
    FLAG_PLAIN = 0,
    FLAG_COMPRESSED = 2,
};

static void put_list(struct buf *out, size_t n)
{
    assert(n <= WA_NODE_CHILDREN_MAX);
    if (n == 0) {
        buf_put_u8(out, WA_TAG_LIST_EMPTY);
    } else if (n < 256) {
        buf_put_u8(out, WA_TAG_LIST_8);
        buf_put_u8(out, (uint8_t)n);
    } else {
        buf_put_u8(out, WA_TAG_LIST_16);
        buf_put_be16(out, (uint16_t)n);
    }
}

static void put_binary(struct buf *out, struct slice s)
{
    assert(s.len <= INT32_MAX);
    if (s.len < 256) {
        buf_put_u8(out, WA_TAG_BINARY_8);
        buf_put_u8(out, (uint8_t)s.len);
    } else if (s.len < 1 << 20) {
        buf_put_u8(out, WA_TAG_BINARY_20);
        buf_put_be24(out, (uint32_t)s.len);
    } else {
        buf_put_u8(out, WA_TAG_BINARY_32);
        buf_put_be32(out, (uint32_t)s.len);
    }
    buf_put(out, s);
}

/* What a character is worth in a packed text: bits 0-3 its nibble, and whether either alphabet
 * has it. */
enum { IN_NIBBLE = 16, IN_HEX = 32, IN_BOTH = IN_NIBBLE | IN_HEX };

static uint8_t pack_class(uint8_t c)
{
    if (c >= '0' && c <= '9') return (uint8_t)(IN_BOTH | (c - '0'));
    if (c >= 'A' && c <= 'F') return (uint8_t)(IN_HEX | (c - 'A' + 10));
    if (c == '-') return IN_NIBBLE | 10;
    if (c == '.') return IN_NIBBLE | 11;
    return 0;
}

/* The tag that can pack all of `s`, 0 if none. */
static uint8_t packing_of(struct slice s)
{
    uint8_t all = IN_BOTH;

    if (s.len == 0 || s.len > WA_PACKED_MAX) return 0;
    for (size_t i = 0; i < s.len && all; i++)
        all &= pack_class(s.data[i]);
    if (all & IN_NIBBLE) return WA_TAG_NIBBLE_8;
    return all & IN_HEX ? WA_TAG_HEX_8 : 0;
}

static void put_packed(struct buf *out, uint8_t tag, struct slice s)
{
    size_t n = (s.len + 1) / 2;

    buf_put_u8(out, tag);
    buf_put_u8(out, (uint8_t)(n | (s.len % 2 ? 0x80 : 0)));
    for (size_t i = 0; i < s.len; i += 2) {
        unsigned high = pack_class(s.data[i]) & 15;
        unsigned low = i + 1 < s.len ? pack_class(s.data[i + 1]) & 15 : 15;

        buf_put_u8(out, (uint8_t)(high << 4 | low));
    }
}

static void put_text(struct buf *out, struct slice s)
{
    uint8_t token[2];
    size_t n = wa_token_find(s, token);
    uint8_t packing = n ? 0 : packing_of(s);

    if (n)
        buf_put(out, slice_of(token, n));
    else if (packing)
        put_packed(out, packing, s);
    else
        put_binary(out, s);
}

static void put_user(struct buf *out, struct slice user)
{
    if (user.len)
        put_text(out, user);
    else
        buf_put_u8(out, WA_TAG_LIST_EMPTY);
}

/* The domain byte of servers whose devices travel in an AD_JID, -1 for the others. */
static int domain_of(enum wa_server server)
{
    switch (server) {
    case WA_SERVER_USER: return WA_DOMAIN_USER;
    case WA_SERVER_LID: return WA_DOMAIN_LID;
    case WA_SERVER_HOSTED: return WA_DOMAIN_HOSTED;
    case WA_SERVER_HOSTED_LID: return WA_DOMAIN_HOSTED_LID;
    default: return -1;
    }
}

static void put_ad_jid(struct buf *out, const struct wa_jid *jid, int domain)
{
    assert(jid->device <= WA_DEVICE_MAX);
    buf_put_u8(out, WA_TAG_AD_JID);
    buf_put_u8(out, (uint8_t)domain);
    buf_put_u8(out, (uint8_t)jid->device);
    put_user(out, jid->user);
}

static void put_wide_jid(struct buf *out, const struct wa_jid *jid)
{
    bool interop = jid->server == WA_SERVER_INTEROP;

    buf_put_u8(out, interop ? WA_TAG_INTEROP_JID : WA_TAG_FB_JID);
    put_user(out, jid->user);
    buf_put_be16(out, jid->device);
    if (interop) buf_put_be16(out, jid->integrator);
    put_text(out, slice_text(wa_server_text(jid->server)));
}

static void put_jid(struct buf *out, const struct wa_jid *jid)
{
    bool hosted = jid->server == WA_SERVER_HOSTED || jid->server == WA_SERVER_HOSTED_LID;
    int domain = domain_of(jid->server);

    if (jid->server == WA_SERVER_INTEROP || jid->server == WA_SERVER_MSGR) {
        put_wide_jid(out, jid);
        return;
    }
    if (domain >= 0 && jid->user.len && (jid->device || hosted)) {
        put_ad_jid(out, jid, domain);
        return;
    }
    buf_put_u8(out, WA_TAG_JID_PAIR);
    put_user(out, jid->user);
    put_text(out, slice_text(wa_server_text(jid->server)));
}

static bool is_absent(const struct wa_value *v)
{
    return wa_jid_is_none(&v->jid) && v->text.len == 0;
}

static void put_attrs(struct buf *out, const struct wa_node *node)
{
    for (size_t i = 0; i < node->attr_count; i++) {
        const struct wa_value *v = &node->attrs[i].value;

        if (is_absent(v)) continue;
        put_text(out, node->attrs[i].key);
        if (wa_jid_is_none(&v->jid))
            put_text(out, v->text);
        else
            put_jid(out, &v->jid);
    }
}

static void put_node(struct buf *out, const struct wa_node *node)
{
    size_t size = 1 + (node->content != WA_CONTENT_NONE);

    for (size_t i = 0; i < node->attr_count; i++)
        if (!is_absent(&node->attrs[i].value)) size += 2;
    put_list(out, size);
    put_text(out, node->tag);
    put_attrs(out, node);

    if (node->content == WA_CONTENT_BYTES) {
        if (node->as_text)
            put_text(out, node->bytes);
        else
            put_binary(out, node->bytes);
    } else if (node->content == WA_CONTENT_CHILDREN) {
        put_list(out, node->child_count);
        for (size_t i = 0; i < node->child_count; i++)
            put_node(out, &node->children[i]);
    }
}

void wa_node_encode(const struct wa_node *node, struct buf *out)
{
    buf_put_u8(out, FLAG_PLAIN);
    put_node(out, node);
}

void wa_node_encode_compressed(const struct wa_node *node, struct buf *out)
{
    AUTO(buf) plain = {0};
    put_node(&plain, node);

    buf_put_u8(out, FLAG_COMPRESSED);
    uLongf n = compressBound(plain.len);
    buf_reserve(out, n);
    int result = compress(out->data + out->len, &n, plain.data, plain.len);
    assert(result == Z_OK);
    (void)result;
    out->len += n;
}
