#include "proto/wire/node.h"

#include <criterion/criterion.h>

#include "proto/base/text.h"
#include "tests/support/vectors.h"

/* ---- the vectors ---- */

static struct slice bytes_of(json_t *value, struct arena *a)
{
    if (json_is_string(value)) return vector_hex_of(value, a);

    size_t n = (size_t)vector_int(value, "length");
    uint8_t *p = arena_alloc(a, n);
    memset(p, vector_hex(value, "fill", a).data[0], n);
    return slice_of(p, n);
}

/* A value that reads as a JID shall travel as one. */
static void set_value(struct wa_node *n, struct arena *a, const char *key, const char *value)
{
    struct wa_jid jid;

    if (wa_jid_parse(slice_text(value), &jid) == OK)
        wa_node_set_jid(n, a, key, jid);
    else
        wa_node_set_text(n, a, key, value);
}

static void build(json_t *from, struct wa_node *n, struct arena *a)
{
    const char *key;
    json_t *value, *repeated = json_object_get(from, "children_repeated");
    size_t i;

    json_object_foreach(json_object_get(from, "attrs"), key, value)
        set_value(n, a, key, json_string_value(value));
    if ((value = json_object_get(from, "text")))
        wa_node_set_bytes_as_text(n, slice_text(json_string_value(value)));
    if ((value = json_object_get(from, "bytes"))) wa_node_set_bytes(n, bytes_of(value, a));
    if ((value = json_object_get(from, "children"))) {
        n->content = WA_CONTENT_CHILDREN;
        json_t *child;
        json_array_foreach(value, i, child)
            build(child, wa_node_add(n, a, vector_text(child, "tag")), a);
    }
    for (int64_t k = 0; repeated && k < vector_int(repeated, "count"); k++)
        wa_node_add(n, a, vector_text(repeated, "tag"));
}

static void assert_same(const struct wa_node *a, const struct wa_node *b, const char *name)
{
    cr_assert(slice_eq(a->tag, b->tag), "%s", name);
    cr_assert_eq(a->attr_count, b->attr_count, "%s", name);
    for (size_t i = 0; i < a->attr_count; i++) {
        cr_assert(slice_eq(a->attrs[i].key, b->attrs[i].key), "%s", name);
        cr_assert(slice_eq(a->attrs[i].value.text, b->attrs[i].value.text), "%s", name);
        cr_assert(wa_jid_eq(&a->attrs[i].value.jid, &b->attrs[i].value.jid), "%s", name);
    }
    cr_assert_eq(a->content, b->content, "%s", name);
    cr_assert(slice_eq(a->bytes, b->bytes), "%s", name);
    cr_assert_eq(a->child_count, b->child_count, "%s", name);
    for (size_t i = 0; i < a->child_count; i++)
        assert_same(&a->children[i], &b->children[i], name);
}

/* Attributes in the order of the file: jansson keeps it. */
Test(node, encodes_and_decodes_every_vector)
{
    AUTO(arena) a = {0};
    json_t *all = vectors_open("binary_nodes.json"), *row;
    size_t i;

    json_array_foreach(vector_at(all, "encode_and_decode"), i, row)
    {
        const char *name = vector_text(row, "name");
        struct wa_node *built = wa_node_new(&a, vector_text(row, "node.tag")), *read;
        struct slice wire = vector_hex(row, "hex", &a);
        AUTO(buf) out = {0};

        build(vector_at(row, "node"), built, &a);
        wa_node_encode(built, &out);
        cr_assert(slice_eq(buf_slice(&out), wire), "%s", name);
        cr_assert_eq(wa_node_decode(wire, &a, &read), OK, "%s: %s", name, err_trail());
        assert_same(read, built, name);
    }
    cr_assert_geq(i, 27);
    json_decref(all);
}

static const struct wa_node *decode_row(json_t *all, const char *path, struct arena *a)
{
    struct wa_node *n = NULL;

    cr_assert_eq(wa_node_decode(vector_hex(vector_at(all, path), "hex", a), a, &n), OK, "%s: %s",
                 path, err_trail());
    return n;
}

Test(node, decodes_what_only_servers_send)
{
    AUTO(arena) a = {0};
    json_t *all = vectors_open("binary_nodes.json");
    const struct wa_node *n = decode_row(all, "decode_only.0", &a);

    cr_assert(wa_node_is(n, "iq"));
    cr_assert(slice_is(wa_node_text(n, "id"), "1"));
    cr_assert(slice_is(wa_node_text(n, "type"), "result"));

    struct wa_jid jid = wa_node_jid(decode_row(all, "decode_only.1", &a), "jid");
    cr_assert_eq(jid.server, WA_SERVER_INTEROP);
    cr_assert_eq(jid.device, 5);
    cr_assert_eq(jid.integrator, 7);
    cr_assert(slice_is(jid.user, "123456"));

    jid = wa_node_jid(decode_row(all, "decode_only.2", &a), "jid");
    cr_assert_eq(jid.server, WA_SERVER_MSGR);
    cr_assert_eq(jid.device, 5);

    n = decode_row(all, "decode_only.3", &a);
    cr_assert(wa_node_is(n, "xmlstreamend"));
    cr_assert_eq(n->content, WA_CONTENT_NONE);
    json_decref(all);
}

Test(node, rejects_what_is_malformed)
{
    AUTO(arena) a = {0};
    json_t *all = vectors_open("binary_nodes.json"), *row;
    size_t i;

    json_array_foreach(vector_at(all, "must_reject"), i, row)
    {
        struct wa_node *n = (struct wa_node *)&a;
        err_t e = wa_node_decode(vector_hex(row, "hex", &a), &a, &n);

        cr_assert_eq(err_class(e), ERR_CLASS_PEER, "%s", vector_text(row, "name"));
        cr_assert_eq((void *)n, (void *)&a, "out is untouched on failure");
    }
    cr_assert_geq(i, 5);
    json_decref(all);
}
