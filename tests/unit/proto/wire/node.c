#include "proto/wire/node.h"

#include <criterion/criterion.h>
#include <stdlib.h>

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

/* ---- hostile input ---- */

typedef void (*each_fn)(struct slice wire);

static void each_vector(each_fn fn)
{
    AUTO(arena) a = {0};
    json_t *all = vectors_open("binary_nodes.json"), *row;
    static const char *const lists[] = {"encode_and_decode", "decode_only"};
    size_t i;

    for (size_t k = 0; k < ARRAY_LEN(lists); k++)
        json_array_foreach(vector_at(all, lists[k]), i, row) fn(vector_hex(row, "hex", &a));
    json_decref(all);
}

static err_t decode(struct slice wire)
{
    AUTO(arena) a = {0};
    struct wa_node *n;
    uint8_t *copy = xalloc(wire.len + 1); /* so that a read past the end is seen */

    if (wire.len) memcpy(copy, wire.data, wire.len);
    copy = xrealloc(copy, wire.len ? wire.len : 1);
    err_t e = wa_node_decode(slice_of(copy, wire.len), &a, &n);
    free(copy);
    if (e == OK) {
        AUTO(buf) text = {0};
        wa_node_to_text(n, true, &text); /* walks all of it */
    }
    return e;
}

static void cut_everywhere(struct slice wire)
{
    for (size_t n = 0; n < wire.len; n++)
        cr_assert_eq(err_class(decode(slice_of(wire.data, n))), ERR_CLASS_PEER, "%zu of %zu", n,
                     wire.len);
}

Test(node, truncated_anywhere_is_refused) { each_vector(cut_everywhere); }

static void tamper_everywhere(struct slice wire)
{
    AUTO(buf) bad = {0};

    buf_put(&bad, wire);
    for (size_t i = 0; i < bad.len && i < 64; i++) {
        for (unsigned v = 0; v < 256; v++) {
            bad.data[i] = (uint8_t)v;
            err_t e = decode(buf_slice(&bad));
            cr_assert(e == OK || err_class(e) == ERR_CLASS_PEER);
        }
        bad.data[i] = wire.data[i];
    }
}

Test(node, tampered_anywhere_is_read_or_refused) { each_vector(tamper_everywhere); }

Test(node, bytes_behind_the_end_are_refused)
{
    cr_assert_eq(decode(slice_of("\0\xf8\1\x19", 4)), OK);
    cr_assert_eq(decode(slice_of("\0\xf8\1\x19\0", 5)), ERR_TRAILING_BYTES);
}

/* `depth` nodes, each the only child of the one before. */
static err_t decode_nested(unsigned depth)
{
    AUTO(buf) wire = {0};

    buf_put_u8(&wire, 0);
    for (unsigned i = 1; i < depth; i++)
        buf_put(&wire, SLICE("\xf8\2\x19\xf8\1"));
    buf_put(&wire, SLICE("\xf8\1\x19"));
    return decode(buf_slice(&wire));
}

Test(node, nesting_has_a_limit)
{
    cr_assert_eq(decode_nested(WA_NODE_DEPTH_MAX), OK);
    cr_assert_eq(decode_nested(WA_NODE_DEPTH_MAX + 1), ERR_BAD_NODE);
    cr_assert_eq(decode_nested(100000), ERR_BAD_NODE);
}

static err_t decode_attrs(unsigned count)
{
    AUTO(buf) wire = {0};

    buf_put(&wire, slice_of("\0\xf9", 2));
    buf_put_be16(&wire, (uint16_t)(1 + 2 * count));
    buf_put_u8(&wire, 0x19);
    for (unsigned i = 0; i < count; i++)
        buf_put(&wire, SLICE("\4\4"));
    return decode(buf_slice(&wire));
}

Test(node, attributes_have_a_limit)
{
    cr_assert_eq(decode_attrs(WA_NODE_ATTRS_MAX), OK);
    cr_assert_eq(decode_attrs(WA_NODE_ATTRS_MAX + 1), ERR_TOO_LARGE);
}

Test(node, a_count_without_the_bytes_for_it_allocates_nothing)
{
    AUTO(arena) a = {0};
    struct wa_node *n;

    cr_assert_eq(wa_node_decode(slice_of("\0\xf8\2\x19\xf9\xff\xff", 7), &a, &n), ERR_TRUNCATED);
    cr_assert_lt(a.total, 1024);
    cr_assert_eq(wa_node_decode(slice_of("\0\xf8\2\x19\xfe\x7f\xff\xff\xff", 9), &a, &n),
                 ERR_TOO_LARGE);
    cr_assert_lt(a.total, 1024);
}

/* Three bytes make a node of about ninety: 12 lists of 65,535 would take more than the limit. */
Test(node, small_input_cannot_fill_the_memory)
{
    AUTO(buf) wire = {0};

    buf_put(&wire, slice_of("\0\xf8\2\x19\xf8\14", 6));
    for (int list = 0; list < 12; list++) {
        buf_put(&wire, SLICE("\xf8\2\x19\xf9\xff\xff"));
        for (int i = 0; i < 65535; i++)
            buf_put(&wire, SLICE("\xf8\1\x19"));
    }
    cr_assert_eq(decode(buf_slice(&wire)), ERR_TOO_LARGE);
}

/* ---- compression ---- */

static struct wa_node *node_of(struct arena *a, struct slice content)
{
    struct wa_node *n = wa_node_new(a, "iq");

    wa_node_set_text(n, a, "id", "abc");
    wa_node_set_bytes(n, content);
    return n;
}

Test(compressed, comes_back_the_same)
{
    AUTO(arena) a = {0};
    AUTO(buf) wire = {0};
    struct wa_node *n = node_of(&a, SLICE("hello hello hello")), *back;

    wa_node_encode_compressed(n, &wire);
    cr_assert_eq(wire.data[0], 2);
    cr_assert_eq(wa_node_decode(buf_slice(&wire), &a, &back), OK, "%s", err_trail());
    assert_same(back, n, "compressed");
    for (size_t i = 0; i < wire.len; i++)
        cr_assert_neq(decode(slice_of(wire.data, i)), OK, "cut at %zu", i);
    buf_put_u8(&wire, 0);
    cr_assert_eq(decode(buf_slice(&wire)), ERR_TRAILING_BYTES);
}

Test(compressed, a_bomb_is_refused)
{
    AUTO(arena) a = {0};
    AUTO(buf) wire = {0};
    AUTO(buf) zeros = {0};

    memset(buf_extend(&zeros, WA_NODE_INFLATED_MAX + 1), 0, WA_NODE_INFLATED_MAX + 1);
    wa_node_encode_compressed(node_of(&a, buf_slice(&zeros)), &wire);
    cr_assert_lt(wire.len, 100000);
    cr_assert_eq(decode(buf_slice(&wire)), ERR_TOO_LARGE);
}

/* ---- forms of text and addresses ---- */

Test(node, lives_on_when_the_frame_is_gone)
{
    AUTO(arena) a = {0};
    char frame[] = "\0\xf8\4\x19\x08\xfc\3abc\xfc\2xy";
    struct wa_node *n;

    cr_assert_eq(wa_node_decode(slice_of(frame, sizeof(frame) - 1), &a, &n), OK);
    memset(frame, 'z', sizeof(frame));
    cr_assert(slice_is(wa_node_text(n, "id"), "abc"));
    cr_assert(slice_is(n->bytes, "xy"));
}

static struct wa_value value_of(struct slice wire_value, struct arena *a)
{
    AUTO(buf) wire = {0};
    struct wa_node *n;

    buf_put(&wire, slice_of("\0\xf8\3\x11\14", 5)); /* <to jid=…/> */
    buf_put(&wire, wire_value);
    cr_assert_eq(wa_node_decode(buf_slice(&wire), a, &n), OK, "%s", err_trail());
    return wa_node_attr(n, "jid")->value;
}

Test(node, an_address_of_an_unknown_server_is_text)
{
    AUTO(arena) a = {0};
    struct wa_value v = value_of(slice_of("\xfa\xfc\1u\xfc\3new", 9), &a);

    cr_assert(wa_jid_is_none(&v.jid));
    cr_assert(slice_is(v.text, "u@new"));
    v = value_of(slice_of("\xf7\7\5\xfc\1u", 6), &a);
    cr_assert(wa_jid_is_none(&v.jid));
    cr_assert(slice_is(v.text, "u:5@unknown"));
    v = value_of(slice_of("\xfa\xfc\3u:5\3", 7), &a);
    cr_assert(wa_jid_is_none(&v.jid), "a user that looks like a device is nobody");
    v = value_of(slice_of("\xf6\xfc\1u\1\0\3", 7), &a);
    cr_assert(wa_jid_is_none(&v.jid), "a device that this server's form cannot hold");
    cr_assert(slice_is(v.text, "u:256@s.whatsapp.net"));
}

Test(node, absent_values_are_left_out)
{
    AUTO(arena) a = {0};
    AUTO(buf) wire = {0};
    struct wa_attr attrs[] = {{.key = SLICE("id")}, {.key = SLICE("t"), .value.text = SLICE("1")}};
    struct wa_node n = {.tag = SLICE("iq"), .attrs = attrs, .attr_count = 2}, *back;

    wa_node_encode(&n, &wire);
    cr_assert_eq(wa_node_decode(buf_slice(&wire), &a, &back), OK);
    cr_assert_eq(back->attr_count, 1);
    cr_assert(slice_is(wa_node_text(back, "t"), "1"));
}

Test(node, addresses_travel_in_their_own_forms)
{
    static const char *const texts[] = {
        "1@s.whatsapp.net", "1:5@s.whatsapp.net", "1:255@lid",       "1@hosted", "1:99@hosted.lid",
        "123:300@msgr",     "7-123:300@interop",  "12@bot",          "1@c.us",   "@call",
        "1-2@g.us",         "1@newsletter",       "@s.whatsapp.net",
    };

    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        AUTO(arena) a = {0};
        AUTO(buf) wire = {0};
        struct wa_node *n = wa_node_new(&a, "to"), *back;

        set_value(n, &a, "jid", texts[i]);
        wa_node_encode(n, &wire);
        cr_assert_eq(wa_node_decode(buf_slice(&wire), &a, &back), OK);
        cr_assert(slice_is(wa_node_text(back, "jid"), texts[i]), "%s", texts[i]);
        cr_assert(!wa_jid_is_none(&wa_node_attr(back, "jid")->value.jid));
    }
}

/* ---- in memory ---- */

Test(node, grows_and_may_be_copied)
{
    AUTO(arena) a = {0};
    struct wa_node *list = wa_node_new(&a, "list"), *other = wa_node_new(&a, "other");

    for (int i = 0; i < 100; i++) {
        wa_node_set_int(list, &a, "n", i);
        wa_node_set_int(wa_node_add(list, &a, i % 2 ? "odd" : "even"), &a, "n", i);
    }
    struct wa_node *copy = wa_node_add_node(other, &a, list);
    wa_node_add(copy, &a, "new");
    wa_node_add(list, &a, "newer");
    cr_assert(wa_node_is(&copy->children[100], "new"));
    cr_assert(wa_node_is(&list->children[100], "newer"));

    const struct wa_node *c;
    uint64_t expected = 1;
    for (size_t i = 0; (c = wa_node_next(list, "odd", &i)); expected += 2) {
        struct wa_attrs attrs = wa_attrs_of(c);
        cr_assert_eq(wa_attr_int(&attrs, "n"), expected);
    }
    cr_assert_eq(expected, 101);
    cr_assert_eq(list->attr_count, 100);
}

Test(node, absent_things_are_not_set)
{
    AUTO(arena) a = {0};
    struct wa_node *n = wa_node_new(&a, "iq");

    wa_node_set(n, &a, "x", SLICE_NONE);
    wa_node_set_text(n, &a, "x", "");
    wa_node_set_text(n, &a, "x", NULL);
    wa_node_set_jid(n, &a, "x", (struct wa_jid){0});
    cr_assert_eq(n->attr_count, 0);
    cr_assert(slice_is_none(wa_node_text(n, "x")));
    cr_assert_null(wa_node_child(n, "x"));
    cr_assert(slice_is_none(wa_node_child_bytes(n, "x")));
}

Test(attrs, remembers_the_first_that_was_wrong)
{
    AUTO(arena) a = {0};
    struct wa_node *n = wa_node_new(&a, "receipt");
    struct wa_attrs attrs = wa_attrs_of(n);

    wa_node_set_text(n, &a, "id", "3EB0");
    wa_node_set_text(n, &a, "t", "soon");
    wa_node_set_text(n, &a, "from", "1@lid");
    cr_assert(slice_is(wa_attr_text(&attrs, "id"), "3EB0"));
    cr_assert_eq(wa_attr_jid(&attrs, "from").server, WA_SERVER_LID);
    cr_assert_eq(wa_attr_int_or(&attrs, "count", 7), 7);
    cr_assert_eq(wa_attrs_check(&attrs), OK);

    wa_attr_int_or(&attrs, "t", 0);
    wa_attr_text(&attrs, "missing");
    cr_assert_eq(wa_attrs_check(&attrs), ERR_BAD_STANZA);
    cr_assert(strstr(err_trail(), "<receipt> has no usable t"), "%s", err_trail());
}

Test(text, is_readable)
{
    AUTO(arena) a = {0};
    AUTO(buf) out = {0};
    struct wa_node *iq = wa_node_new(&a, "iq");

    wa_node_set_jid(iq, &a, "to", wa_jid_server());
    wa_node_set_text(iq, &a, "id", "a\"<\n");
    wa_node_add(iq, &a, "ping");
    wa_node_set_bytes(wa_node_add(iq, &a, "ref"), SLICE("\1\2"));
    wa_node_to_text(iq, false, &out);
    cr_assert_str_eq(buf_text(&out), "<iq to=\"@s.whatsapp.net\" id=\"a&#34;&#60;&#10;\"><ping/>"
                                     "<ref>[2 B]</ref></iq>");
    buf_reset(&out);
    wa_node_to_text(&iq->children[1], true, &out);
    cr_assert_str_eq(buf_text(&out), "<ref>[0102]</ref>");
}
