/* A stanza: tag, attributes, and content that is absent, bytes or children.
 *
 * Nodes and everything they point to live in one arena (decoded) or are borrowed from the caller
 * (built). Built nodes are encoded at once, so their slices may point to the stack. One thread. */
#pragma once
#include "proto/base/arena.h"
#include "proto/base/buf.h"
#include "proto/base/err.h"
#include "proto/wire/jid.h"

enum {
    WA_NODE_DEPTH_MAX = 64,          /* nesting of lists; deeper is BAD_NODE */
    WA_NODE_ATTRS_MAX = 512,         /* attributes of one node */
    WA_NODE_CHILDREN_MAX = 65535,    /* what LIST_16 can say */
    WA_NODE_INFLATED_MAX = 16 << 20, /* of a compressed stanza */
    WA_NODE_BYTES_MAX = 16 << 20,    /* of one BINARY_32 */
    WA_NODE_TOTAL_MAX = 64 << 20,    /* arena bytes one stanza may take */
};

/* An attribute's value: text, or a JID that travelled (or shall travel) as a JID tag. */
struct wa_value {
    struct slice text; /* for a JID decoded from the wire: its canonical text too */
    struct wa_jid jid; /* server WA_SERVER_NONE: plain text */
};

struct wa_attr {
    struct slice key;
    struct wa_value value;
};

enum wa_content { WA_CONTENT_NONE, WA_CONTENT_BYTES, WA_CONTENT_CHILDREN };

struct wa_node {
    struct slice tag;
    struct wa_attr *attrs;
    size_t attr_count, attr_cap; /* cap: room that wa_node_set has made */
    enum wa_content content;
    bool as_text;             /* the bytes go out like an attribute's value: token, packed, raw */
    struct slice bytes;       /* WA_CONTENT_BYTES */
    struct wa_node *children; /* WA_CONTENT_CHILDREN, an array */
    size_t child_count, child_cap;
};

/* ---- decoding ---- */

/* One stanza as it comes out of Noise: flags byte, perhaps compressed, one node, nothing behind.
 * Accepts every tag of the codec; BAD_NODE, TRUNCATED, TRAILING_BYTES, TOO_LARGE otherwise.
 * Texts are bytes as they came, not checked for UTF-8. A JID of a server we do not know is text. */
err_t wa_node_decode(struct slice frame, struct arena *arena, struct wa_node **out) MUST_CHECK;

/* ---- encoding ---- */

/* Flags byte 00, then the node. Attributes whose value is absent or empty are left out. */
void wa_node_encode(const struct wa_node *node, struct buf *out);
/* The same, deflated with flags 02; what a server may send. */
void wa_node_encode_compressed(const struct wa_node *node, struct buf *out);

/* ---- building ----
 *   struct wa_node *iq = wa_node_new(arena, "iq");
 *   wa_node_set(iq, arena, "type", SLICE("get"));
 *   wa_node_set_jid(iq, arena, "to", wa_jid_server());
 *   struct wa_node *ping = wa_node_add(iq, arena, "ping");
 * Children are added to arrays that grow in the arena: a pointer returned by wa_node_add is valid
 * until the next wa_node_add on the same parent. Keys are string literals. */
struct wa_node *wa_node_new(struct arena *arena, const char *tag);
/* An absent or empty value sets nothing. */
void wa_node_set(struct wa_node *n, struct arena *arena, const char *key, struct slice value);
void wa_node_set_text(struct wa_node *n, struct arena *arena, const char *key, const char *value);
void wa_node_set_int(struct wa_node *n, struct arena *arena, const char *key, int64_t value);
/* WA_SERVER_NONE sets nothing. */
void wa_node_set_jid(struct wa_node *n, struct arena *arena, const char *key, struct wa_jid value);
struct wa_node *wa_node_add(struct wa_node *parent, struct arena *arena, const char *tag);
/* Adds a copy of the struct (slices stay borrowed). */
struct wa_node *wa_node_add_node(struct wa_node *parent, struct arena *arena,
                                 const struct wa_node *child);
/* Content bytes; borrowed. They go out as BINARY_x, never as a token. */
void wa_node_set_bytes(struct wa_node *n, struct slice bytes);
/* Content as some clients write theirs: as a token or packed where possible (a decoder gives back
 * the same bytes). */
void wa_node_set_bytes_as_text(struct wa_node *n, struct slice text);

/* ---- reading ---- */

bool wa_node_is(const struct wa_node *n, const char *tag);
/* First child with the tag, NULL if none. */
const struct wa_node *wa_node_child(const struct wa_node *n, const char *tag);
/* Content bytes of the first child with the tag, SLICE_NONE if none. */
struct slice wa_node_child_bytes(const struct wa_node *n, const char *tag);
const struct wa_attr *wa_node_attr(const struct wa_node *n, const char *key);
/* SLICE_NONE when absent. */
struct slice wa_node_text(const struct wa_node *n, const char *key);
/* WA_SERVER_NONE when absent or not a JID (a plain text that parses as a JID counts). */
struct wa_jid wa_node_jid(const struct wa_node *n, const char *key);
/* Loops: for (size_t i = 0; (c = wa_node_next(n, "user", &i)); ) with i = 0 at the start. */
const struct wa_node *wa_node_next(const struct wa_node *n, const char *tag, size_t *at);

/* A sticky reader of attributes: remembers the first missing or malformed one. */
struct wa_attrs {
    const struct wa_node *node;
    const char *bad; /* key of the first one that was wrong */
};
struct wa_attrs wa_attrs_of(const struct wa_node *n);
struct slice wa_attr_text(struct wa_attrs *a, const char *key);
struct wa_jid wa_attr_jid(struct wa_attrs *a, const char *key);
uint64_t wa_attr_int(struct wa_attrs *a, const char *key);
/* Absent is fine; malformed is remembered. */
uint64_t wa_attr_int_or(struct wa_attrs *a, const char *key, uint64_t absent);
/* BAD_STANZA naming tag and attribute. */
err_t wa_attrs_check(const struct wa_attrs *a) MUST_CHECK;

/* Readable XML for traces and tests; bytes as [n B], or hex with `with_bytes`. */
void wa_node_to_text(const struct wa_node *n, bool with_bytes, struct buf *out);
