/* Stanzas from nowhere: whatever a test wants a device to hear from the server. */
#include "tools/sim/control.h"

#include "proto/base/text.h"

enum { NODE_DEPTH_MAX = 16 };

static err_t json_to_node(const json_t *in, struct arena *arena, struct wa_node *out, int depth);

static err_t add_attributes(const json_t *attrs, struct arena *arena, struct wa_node *out)
{
    const char *key;
    json_t *v;

    json_object_foreach((json_t *)attrs, key, v)
    {
        struct wa_jid jid;
        struct slice text = slice_of(json_string_value(v), json_string_length(v));
        const char *kept = arena_text(arena, slice_text(key));

        if (!json_is_string(v)) return fail(BAD_ARGUMENT, "attribute %s is no text", key);
        if (slice_find(text, '@') < text.len && wa_jid_parse(text, &jid) == OK)
            wa_node_set_jid(out, arena, kept, jid);
        else
            wa_node_set(out, arena, kept, text);
    }
    return OK;
}

static err_t add_children(const json_t *children, struct arena *arena, struct wa_node *out,
                          int depth)
{
    size_t i;
    json_t *v;

    json_array_foreach((json_t *)children, i, v)
    {
        struct slice tag = slice_of(json_string_value(json_object_get(v, "tag")),
                                    json_string_length(json_object_get(v, "tag")));

        if (tag.len == 0) return fail(BAD_ARGUMENT, "a child has no tag");
        TRY(json_to_node(v, arena, wa_node_add(out, arena, arena_text(arena, tag)), depth + 1));
    }
    return OK;
}

/* {"tag", "attrs": {}, and one of "children": [], "text", "base64"} */
static err_t json_to_node(const json_t *in, struct arena *arena, struct wa_node *out, int depth)
{
    const json_t *text = json_object_get(in, "text"), *encoded = json_object_get(in, "base64");
    AUTO(buf) bytes = {0};

    ENSURE(depth < NODE_DEPTH_MAX, TOO_LARGE);
    TRY(add_attributes(json_object_get(in, "attrs"), arena, out));
    TRY(add_children(json_object_get(in, "children"), arena, out, depth));
    if (text) buf_put_text(&bytes, json_string_value(text) ? json_string_value(text) : "");
    if (encoded)
        TRY(text_unbase64(slice_of(json_string_value(encoded), json_string_length(encoded)),
                          &bytes));
    if (text || encoded) wa_node_set_bytes(out, arena_dup(arena, buf_slice(&bytes)));
    return OK;
}

static struct sim_device *device_named(struct sim_relay *r, struct slice name)
{
    size_t colon = slice_find(name, ':');
    struct sim_account *account = sim_account_find(&r->people, slice_sub(name, 0, colon));
    uint64_t id;

    if (!account || text_u64(slice_from(name, colon + 1), &id) != OK || id > UINT16_MAX)
        return NULL;
    return sim_device_find(account, id);
}

static bool kind_of_tag(struct slice tag, enum sim_queue_kind *out)
{
    static const char *const tags[] = {"message", "receipt", "notification", "call"};

    for (size_t i = 0; i < ARRAY_LEN(tags); i++)
        if (slice_is(tag, tags[i])) {
            *out = i;
            return true;
        }
    return false;
}

/* What must be acknowledged waits for it like everything else of its kind. */
err_t sim_post_stanza(struct sim_answer *a)
{
    struct sim_relay *r = &a->q->server->relay;
    struct sim_device *dev = device_named(r, a->q->segments[0]);
    enum sim_queue_kind kind;
    struct wa_node *n;
    struct slice tag;

    if (!dev) return fail(NOT_FOUND, "no device has this name");
    TRY(sim_need_text(a->q, "tag", &tag));
    r->now_ms = sim_server_now(a->q->server);
    arena_reset(&r->arena);
    n = wa_node_new(&r->arena, arena_text(&r->arena, tag));
    TRY(json_to_node(a->q->body, &r->arena, n, 0));
    if (kind_of_tag(tag, &kind))
        sim_queue_put(r, dev, kind, n);
    else if (dev->conn)
        sim_conn_send(dev->conn, n);
    else
        return fail(NOT_CONNECTED, "the device is not connected");
    return OK;
}
