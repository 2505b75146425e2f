/* From bytes to a node. The frame is copied into the arena once (or inflated into it); texts and
 * contents then point into that copy, except packed ones.
 *
 * Every count is compared with the bytes that are left before anything is allocated for it, and
 * the arena's growth has a limit of its own, because three bytes of input make a node of eighty. */
#include <stdio.h>
#include <zlib.h>

#include "proto/base/reader.h"
#include "proto/wire/node_tags.h"
#include "proto/wire/tokens.h"

struct decoder {
    struct reader in;
    struct arena *arena;
    size_t total_max; /* of arena->total */
    unsigned depth;
};

enum {
    FLAG_COMPRESSED = 2,
    INFLATE_STEP = 64 * 1024,
    NODE_BYTES_MIN = 3, /* list tag, size, tag */
    ATTR_BYTES_MIN = 2,
};

/* ---- compression ---- */

static err_t inflate_steps(z_stream *z, struct buf *out)
{
    for (;;) {
        TRY(buf_try_reserve(out, INFLATE_STEP));
        z->next_out = buf_extend(out, INFLATE_STEP);
        z->avail_out = INFLATE_STEP;
        int result = inflate(z, Z_NO_FLUSH);
        out->len -= z->avail_out;

        ENSURE(out->len <= WA_NODE_INFLATED_MAX, TOO_LARGE);
        if (result == Z_STREAM_END) return OK;
        ENSURE(result != Z_BUF_ERROR, TRUNCATED); /* no input left, no end seen */
        ENSURE(result != Z_MEM_ERROR, NO_MEMORY);
        ENSURE(result == Z_OK, BAD_NODE);
    }
}

static err_t decompress(struct slice in, struct buf *out)
{
    z_stream z = {.next_in = (Bytef *)in.data, .avail_in = (uInt)in.len};

    ENSURE(in.len <= WA_NODE_INFLATED_MAX, TOO_LARGE);
    ENSURE(inflateInit(&z) == Z_OK, NO_MEMORY);
    err_t e = inflate_steps(&z, out);
    if (e == OK && z.avail_in) e = fail(TRAILING_BYTES, "%u behind the stream", z.avail_in);
    inflateEnd(&z);
    return e;
}

/* ---- texts ---- */

static err_t make_room(struct decoder *d, size_t bytes)
{
    size_t left = d->total_max > d->arena->total ? d->total_max - d->arena->total : 0;

    if (bytes > left) return fail(TOO_LARGE, "a stanza of more than %d bytes", WA_NODE_TOTAL_MAX);
    return arena_try_reserve(d->arena, bytes);
}

/* The character of a nibble, 0 when there is none. */
static char unpack(uint8_t tag, uint8_t nibble)
{
    return (tag == WA_TAG_NIBBLE_8 ? "0123456789-.\0\0\0\0" : "0123456789ABCDEF")[nibble];
}

static err_t read_packed(struct decoder *d, uint8_t tag, struct slice *out)
{
    uint8_t head = reader_u8(&d->in);
    bool odd = head & 0x80;
    struct slice packed = reader_bytes(&d->in, head & 0x7f);
    TRY(reader_check(&d->in));

    size_t n = packed.len * 2;
    ENSURE(n || !odd, BAD_NODE);
    n -= odd;
    TRY(make_room(d, n));
    char *text = arena_alloc(d->arena, n);
    for (size_t i = 0; i < n; i++) {
        text[i] = unpack(tag, i % 2 ? packed.data[i / 2] & 15 : packed.data[i / 2] >> 4);
        ENSURE(text[i], BAD_NODE);
    }
    *out = slice_of(text, n);
    return OK;
}

static err_t read_binary(struct decoder *d, size_t n, struct slice *out)
{
    ENSURE(n <= WA_NODE_BYTES_MAX, TOO_LARGE);
    *out = reader_bytes(&d->in, n);
    return reader_check(&d->in);
}

/* Everything that is text but not a JID. */
static err_t read_plain(struct decoder *d, uint8_t tag, struct slice *out)
{
    switch (tag) {
    case WA_TAG_LIST_EMPTY: *out = SLICE(""); return OK;
    case WA_TAG_BINARY_8: return read_binary(d, reader_u8(&d->in), out);
    case WA_TAG_BINARY_20: return read_binary(d, reader_be24(&d->in) & 0xfffff, out);
    case WA_TAG_BINARY_32: return read_binary(d, reader_be32(&d->in), out);
    case WA_TAG_NIBBLE_8:
    case WA_TAG_HEX_8: return read_packed(d, tag, out);
    case WA_TAG_DICTIONARY_0:
    case WA_TAG_DICTIONARY_1:
    case WA_TAG_DICTIONARY_2:
    case WA_TAG_DICTIONARY_3:
        *out = wa_token_double(tag - WA_TAG_DICTIONARY_0, reader_u8(&d->in));
        return reader_check(&d->in);
    default: *out = wa_token_single(tag); break;
    }
    return slice_is_none(*out) ? fail(BAD_NODE, "tag %u is no text", tag) : OK;
}

/* Reads the tag too. */
static err_t read_text(struct decoder *d, struct slice *out)
{
    uint8_t tag = reader_u8(&d->in);

    TRY(reader_check(&d->in));
    return read_plain(d, tag, out);
}

/* ---- JIDs ---- */

/* What fits into the form that this server's addresses travel in. */
static unsigned device_max(enum wa_server server)
{
    return server == WA_SERVER_MSGR || server == WA_SERVER_INTEROP ? UINT16_MAX : UINT8_MAX;
}

/* An address we have no name for (a new server, a user with strange characters) stays readable as
 * text and is no JID, so that one odd entry in a list does not cost the link. */
static err_t make_jid(struct decoder *d, struct wa_jid jid, struct slice server,
                      struct wa_value *out)
{
    TRY(make_room(d, jid.user.len + server.len + 16));
    jid.server = wa_server_find(server);
    if (jid.server != WA_SERVER_INTEROP) jid.integrator = 0;
    if (jid.server != WA_SERVER_NONE && wa_jid_user_ok(jid.user) &&
        jid.device <= device_max(jid.server)) {
        *out = (struct wa_value){.text = wa_jid_slice(&jid, d->arena), .jid = jid};
        return OK;
    }
    char device[8] = "";
    if (jid.device) snprintf(device, sizeof(device), ":%u", jid.device);
    out->text = arena_printf(d->arena, SLICE_FMT "%s@" SLICE_FMT, SLICE_ARG(jid.user), device,
                             SLICE_ARG(server));
    out->jid = (struct wa_jid){0};
    return OK;
}

static err_t read_jid_pair(struct decoder *d, struct wa_value *out)
{
    struct wa_jid jid = {0};
    struct slice server;

    TRY(read_text(d, &jid.user));
    TRY(read_text(d, &server));
    ENSURE(server.len, BAD_NODE);
    return make_jid(d, jid, server, out);
}

static struct slice server_of_domain(uint8_t domain)
{
    switch (domain) {
    case WA_DOMAIN_USER: return SLICE("s.whatsapp.net");
    case WA_DOMAIN_LID: return SLICE("lid");
    case WA_DOMAIN_HOSTED: return SLICE("hosted");
    case WA_DOMAIN_HOSTED_LID: return SLICE("hosted.lid");
    default: return SLICE("unknown");
    }
}

static err_t read_ad_jid(struct decoder *d, struct wa_value *out)
{
    uint8_t domain = reader_u8(&d->in);
    struct wa_jid jid = {.device = reader_u8(&d->in)};

    TRY(read_text(d, &jid.user));
    ENSURE(jid.user.len, BAD_NODE);
    return make_jid(d, jid, server_of_domain(domain), out);
}

static err_t read_fb_jid(struct decoder *d, struct wa_value *out)
{
    struct wa_jid jid = {0};
    struct slice server;

    TRY(read_text(d, &jid.user));
    jid.device = reader_be16(&d->in);
    TRY(read_text(d, &server));
    ENSURE(server.len, BAD_NODE);
    return make_jid(d, jid, server, out);
}

static err_t read_interop_jid(struct decoder *d, struct wa_value *out)
{
    struct wa_jid jid = {0};
    struct slice server;

    TRY(read_text(d, &jid.user));
    jid.device = reader_be16(&d->in);
    jid.integrator = reader_be16(&d->in);
    TRY(read_text(d, &server));
    ENSURE(server.len, BAD_NODE);
    return make_jid(d, jid, server, out);
}

static err_t read_value(struct decoder *d, uint8_t tag, struct wa_value *out)
{
    switch (tag) {
    case WA_TAG_JID_PAIR: return read_jid_pair(d, out);
    case WA_TAG_AD_JID: return read_ad_jid(d, out);
    case WA_TAG_FB_JID: return read_fb_jid(d, out);
    case WA_TAG_INTEROP_JID: return read_interop_jid(d, out);
    default: out->jid = (struct wa_jid){0}; return read_plain(d, tag, &out->text);
    }
}

/* ---- nodes ---- */

static bool is_list(uint8_t tag)
{
    return tag == WA_TAG_LIST_EMPTY || tag == WA_TAG_LIST_8 || tag == WA_TAG_LIST_16;
}

static size_t read_list_size(struct decoder *d, uint8_t tag)
{
    if (tag == WA_TAG_LIST_EMPTY) return 0;
    return tag == WA_TAG_LIST_8 ? reader_u8(&d->in) : reader_be16(&d->in);
}

/* Makes sure that `n` things of at least `min` bytes can follow, and that they fit. */
static err_t expect(struct decoder *d, size_t n, size_t min, size_t size)
{
    ENSURE(n * min <= reader_left(&d->in), TRUNCATED);
    return make_room(d, n * size);
}

static err_t read_attrs(struct decoder *d, size_t n, struct wa_node *node)
{
    ENSURE(n <= WA_NODE_ATTRS_MAX, TOO_LARGE);
    TRY(expect(d, n, ATTR_BYTES_MIN, sizeof(*node->attrs)));
    node->attrs = n ? arena_array(d->arena, struct wa_attr, n) : NULL;
    for (; node->attr_count < n; node->attr_count++) {
        struct wa_attr *attr = &node->attrs[node->attr_count];

        TRY(read_text(d, &attr->key));
        ENSURE(attr->key.len, BAD_NODE);
        uint8_t tag = reader_u8(&d->in);
        TRY(reader_check(&d->in));
        TRY(read_value(d, tag, &attr->value));
    }
    return OK;
}

static err_t read_node(struct decoder *d, struct wa_node *node);

static err_t read_children(struct decoder *d, uint8_t tag, struct wa_node *node)
{
    size_t n = read_list_size(d, tag);

    TRY(reader_check(&d->in));
    TRY(expect(d, n, NODE_BYTES_MIN, sizeof(*node->children)));
    node->content = WA_CONTENT_CHILDREN;
    node->children = n ? arena_array(d->arena, struct wa_node, n) : NULL;
    for (; node->child_count < n; node->child_count++)
        TRY(read_node(d, &node->children[node->child_count]));
    return OK;
}

static err_t read_content(struct decoder *d, struct wa_node *node)
{
    uint8_t tag = reader_u8(&d->in);
    struct wa_value value;

    TRY(reader_check(&d->in));
    if (is_list(tag)) return read_children(d, tag, node);
    TRY(read_value(d, tag, &value)); /* any form of text: some peers pack their contents */
    node->content = WA_CONTENT_BYTES;
    node->bytes = value.text;
    return OK;
}

static err_t read_node(struct decoder *d, struct wa_node *node)
{
    uint8_t tag = reader_u8(&d->in);

    TRY(reader_check(&d->in));
    ENSURE(is_list(tag), BAD_NODE);
    size_t size = read_list_size(d, tag);
    TRY(reader_check(&d->in));
    ENSURE(size, BAD_NODE);
    ENSURE(d->depth < WA_NODE_DEPTH_MAX, BAD_NODE);

    d->depth++;
    TRY(read_text(d, &node->tag));
    ENSURE(node->tag.len, BAD_NODE);
    TRY(read_attrs(d, (size - 1) / 2, node));
    if (size % 2 == 0) TRY(read_content(d, node));
    d->depth--;
    return OK;
}

static err_t decode_body(struct slice body, struct arena *arena, size_t start_at,
                         struct wa_node **out)
{
    struct decoder d = {.arena = arena, .total_max = start_at + WA_NODE_TOTAL_MAX};
    struct wa_node *node = arena_new(arena, struct wa_node);

    TRY(arena_try_reserve(arena, body.len));
    d.in = reader_of(arena_dup(arena, body));
    TRY(read_node(&d, node));
    TRY(reader_end(&d.in));
    *out = node;
    return OK;
}

err_t wa_node_decode(struct slice frame, struct arena *arena, struct wa_node **out)
{
    AUTO(buf) inflated = {0};
    struct slice body = slice_from(frame, 1);

    ENSURE(frame.len, TRUNCATED);
    if (frame.data[0] & FLAG_COMPRESSED) {
        TRY(decompress(body, &inflated));
        body = buf_slice(&inflated);
    }
    ENSURE(body.len, TRUNCATED);
    ENSURE(body.len <= WA_NODE_INFLATED_MAX, TOO_LARGE);
    return decode_body(body, arena, arena->total, out);
}
