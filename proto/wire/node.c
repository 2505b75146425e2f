/* Building and reading nodes in memory. The wire is in node_decode.c and node_encode.c. */
#include "proto/wire/node.h"

#include <inttypes.h>

#include "proto/base/text.h"

enum { FIRST_ROOM = 4 };

/* ---- building ---- */

/* Room for one element more. The old array stays in the arena, where a copy of the node may still
 * point to it. */
static void *grow(struct arena *arena, const void *old, size_t count, size_t *cap, size_t size)
{
    *cap = count < FIRST_ROOM / 2 ? FIRST_ROOM : count * 2;
    void *array = arena_alloc(arena, *cap * size);
    if (count) memcpy(array, old, count * size);
    return array;
}

struct wa_node *wa_node_new(struct arena *arena, const char *tag)
{
    struct wa_node *n = arena_new(arena, struct wa_node);

    n->tag = slice_text(tag);
    return n;
}

static void add_attr(struct wa_node *n, struct arena *arena, const char *key, struct wa_value value)
{
    if (n->attr_count >= n->attr_cap)
        n->attrs = grow(arena, n->attrs, n->attr_count, &n->attr_cap, sizeof(*n->attrs));
    n->attrs[n->attr_count++] = (struct wa_attr){.key = slice_text(key), .value = value};
}

void wa_node_set(struct wa_node *n, struct arena *arena, const char *key, struct slice value)
{
    if (value.len) add_attr(n, arena, key, (struct wa_value){.text = value});
}

void wa_node_set_text(struct wa_node *n, struct arena *arena, const char *key, const char *value)
{
    wa_node_set(n, arena, key, slice_text(value));
}

void wa_node_set_int(struct wa_node *n, struct arena *arena, const char *key, int64_t value)
{
    wa_node_set(n, arena, key, arena_printf(arena, "%" PRId64, value));
}

void wa_node_set_jid(struct wa_node *n, struct arena *arena, const char *key, struct wa_jid value)
{
    if (wa_jid_is_none(&value)) return;
    add_attr(n, arena, key, (struct wa_value){.text = wa_jid_slice(&value, arena), .jid = value});
}

struct wa_node *wa_node_add_node(struct wa_node *parent, struct arena *arena,
                                 const struct wa_node *child)
{
    if (parent->child_count >= parent->child_cap)
        parent->children = grow(arena, parent->children, parent->child_count, &parent->child_cap,
                                sizeof(*parent->children));
    parent->content = WA_CONTENT_CHILDREN;
    struct wa_node *copy = &parent->children[parent->child_count++];

    /* The arrays are shared with the original, so only the original may grow them in place. */
    *copy = *child;
    copy->attr_cap = copy->child_cap = 0;
    return copy;
}

struct wa_node *wa_node_add(struct wa_node *parent, struct arena *arena, const char *tag)
{
    return wa_node_add_node(parent, arena, &(struct wa_node){.tag = slice_text(tag)});
}

void wa_node_set_bytes(struct wa_node *n, struct slice bytes)
{
    n->content = WA_CONTENT_BYTES;
    n->bytes = bytes;
    n->as_text = false;
}

void wa_node_set_bytes_as_text(struct wa_node *n, struct slice text)
{
    wa_node_set_bytes(n, text);
    n->as_text = true;
}

/* ---- reading ---- */

bool wa_node_is(const struct wa_node *n, const char *tag) { return slice_is(n->tag, tag); }

const struct wa_node *wa_node_next(const struct wa_node *n, const char *tag, size_t *at)
{
    while (*at < n->child_count) {
        const struct wa_node *child = &n->children[(*at)++];
        if (wa_node_is(child, tag)) return child;
    }
    return NULL;
}

const struct wa_node *wa_node_child(const struct wa_node *n, const char *tag)
{
    return wa_node_next(n, tag, &(size_t){0});
}

struct slice wa_node_child_bytes(const struct wa_node *n, const char *tag)
{
    const struct wa_node *child = wa_node_child(n, tag);

    return child && child->content == WA_CONTENT_BYTES ? child->bytes : SLICE_NONE;
}

const struct wa_attr *wa_node_attr(const struct wa_node *n, const char *key)
{
    for (size_t i = 0; i < n->attr_count; i++)
        if (slice_is(n->attrs[i].key, key)) return &n->attrs[i];
    return NULL;
}

struct slice wa_node_text(const struct wa_node *n, const char *key)
{
    const struct wa_attr *attr = wa_node_attr(n, key);

    return attr ? attr->value.text : SLICE_NONE;
}

struct wa_jid wa_node_jid(const struct wa_node *n, const char *key)
{
    const struct wa_attr *attr = wa_node_attr(n, key);
    struct wa_jid jid = {0};

    if (!attr) return jid;
    if (!wa_jid_is_none(&attr->value.jid)) return attr->value.jid;
    return wa_jid_parse(attr->value.text, &jid) == OK ? jid : (struct wa_jid){0};
}

/* ---- the sticky reader ---- */

struct wa_attrs wa_attrs_of(const struct wa_node *n) { return (struct wa_attrs){.node = n}; }

static void remember(struct wa_attrs *a, const char *key)
{
    if (!a->bad) a->bad = key;
}

struct slice wa_attr_text(struct wa_attrs *a, const char *key)
{
    struct slice text = wa_node_text(a->node, key);

    if (!text.len) remember(a, key);
    return text;
}

struct wa_jid wa_attr_jid(struct wa_attrs *a, const char *key)
{
    struct wa_jid jid = wa_node_jid(a->node, key);

    if (wa_jid_is_none(&jid)) remember(a, key);
    return jid;
}

uint64_t wa_attr_int_or(struct wa_attrs *a, const char *key, uint64_t absent)
{
    struct slice text = wa_node_text(a->node, key);
    uint64_t value = 0;

    if (!text.len) return absent;
    if (text_u64(text, &value) != OK) remember(a, key);
    return value;
}

uint64_t wa_attr_int(struct wa_attrs *a, const char *key)
{
    if (!wa_node_text(a->node, key).len) remember(a, key);
    return wa_attr_int_or(a, key, 0);
}

err_t wa_attrs_check(const struct wa_attrs *a)
{
    if (!a->bad) return OK;
    return fail(BAD_STANZA, "<" SLICE_FMT "> has no usable %s", SLICE_ARG(a->node->tag), a->bad);
}
