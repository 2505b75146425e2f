/* What the control API can do, by the table routes.def. A handler fills `q->out` or returns an
 * error, which becomes a status by its class. */
#include "tools/sim/control.h"

#include <stdio.h>
#include <stdlib.h>

#include "proto/base/text.h"
#include "tools/sim/faults.h"
#include "tools/sim/rules.h"

struct answer {
    struct sim_request *q;
    json_t *out; /* an object */
};

/* ---- helpers ---- */

static json_t *json_slice(struct slice s)
{
    json_t *text = json_stringn((const char *)s.data, s.len);

    return text ? text : json_string("");
}

static json_t *json_text(const char *s) { return json_slice(slice_text(s)); }

static struct slice text_member(const struct sim_request *q, const char *name)
{
    const json_t *v = json_object_get(q->body, name);

    return json_is_string(v) ? slice_of(json_string_value(v), json_string_length(v)) : SLICE_NONE;
}

static int64_t int_member(const struct sim_request *q, const char *name, int64_t absent)
{
    const json_t *v = json_object_get(q->body, name);

    return json_is_integer(v) ? json_integer_value(v) : absent;
}

static err_t need_text(const struct sim_request *q, const char *name, struct slice *out)
{
    *out = text_member(q, name);
    if (out->len == 0) return fail(BAD_ARGUMENT, "%s is missing", name);
    return OK;
}

/* "number", "+number" */
static struct slice plain_number(struct slice s)
{
    return s.len > 0 && s.data[0] == '+' ? slice_from(s, 1) : s;
}

static err_t phone_of(const struct sim_request *q, struct sim_phone **out)
{
    struct slice number = plain_number(q->segments[0]);

    *out = sim_phone_find(&q->server->phones, number);
    if (!*out) return fail(NOT_FOUND, "no phone has the number " SLICE_FMT, SLICE_ARG(number));
    return OK;
}

/* Value of a query parameter, not decoded except for %3A and %40, which device names hold. */
static struct slice query_value(const struct sim_request *q, const char *name, char *buffer,
                                size_t size)
{
    struct slice rest = q->query, pair, key;
    size_t n = 0;

    while (slice_split(&rest, '&', &pair)) {
        if (!slice_split(&pair, '=', &key) || !slice_is(key, name)) continue;
        for (size_t i = 0; i < pair.len && n + 1 < size; i++) {
            unsigned code;

            if (pair.data[i] == '%' && i + 2 < pair.len &&
                sscanf((const char *)pair.data + i + 1, "%2x", &code) == 1) {
                buffer[n++] = (char)code;
                i += 2;
            } else {
                buffer[n++] = (char)pair.data[i];
            }
        }
        return slice_of(buffer, n);
    }
    return SLICE_NONE;
}

static uint64_t query_int(const struct sim_request *q, const char *name, uint64_t absent)
{
    char buffer[32];
    uint64_t v;

    return text_u64(query_value(q, name, buffer, sizeof buffer), &v) == OK ? v : absent;
}

static void set(json_t *o, const char *key, json_t *value) { json_object_set_new(o, key, value); }

static void set_time(json_t *o, const char *key, int64_t ms)
{
    char text[TEXT_TIME_MAX];

    set(o, key, json_text(text_time(ms, text)));
}

/* ---- the server ---- */

static err_t get_root_key(struct answer *a)
{
    AUTO(buf) hex = {0};

    text_hex(SLICE_ARRAY(a->q->server->relay.keys.root.public.bytes), &hex);
    set(a->out, "root_key", json_slice(buf_slice(&hex)));
    return OK;
}

static err_t get_health(struct answer *a)
{
    set(a->out, "status", json_text("ok"));
    set(a->out, "connections", json_integer((json_int_t)a->q->server->relay.conns_by_id.count));
    return OK;
}

static err_t get_clock(struct answer *a)
{
    set(a->out, "now_ms", json_integer(sim_server_now(a->q->server)));
    set_time(a->out, "now", sim_server_now(a->q->server));
    return OK;
}

static err_t post_clock(struct answer *a)
{
    struct sim_server *s = a->q->server;
    struct slice text = text_member(a->q, "set");
    int64_t to = int_member(a->q, "set", 0), by = int_member(a->q, "advance_ms", 0);

    if (!slice_is_none(text)) TRY(text_parse_time(text, &to));
    if (to) by = to - sim_server_now(s);
    if (by < 0) return fail(BAD_ARGUMENT, "time does not go back");
    s->clock_ahead += by;
    return get_clock(a);
}

static err_t post_settings(struct answer *a)
{
    struct sim_options *o = &a->q->server->relay.options;
    const json_t *tokens = json_object_get(a->q->body, "require_tokens");
    const json_t *ping = json_object_get(a->q->body, "ping");

    if (tokens) o->require_tokens = json_is_true(tokens);
    o->offline_grace_ms = int_member(a->q, "offline_grace_ms", o->offline_grace_ms);
    if (ping) o->ping = json_is_true(ping);
    set(a->out, "require_tokens", json_boolean(o->require_tokens));
    set(a->out, "offline_grace_ms", json_integer(o->offline_grace_ms));
    set(a->out, "ping", json_boolean(o->ping));
    return OK;
}

static err_t get_rules(struct answer *a)
{
    json_t *rules = json_array();

    for (size_t i = 0; i < SIM_RULES; i++)
        json_array_append_new(rules,
                              json_pack("{s:s,s:s,s:s,s:i}", "rule", sim_rule_name(i), "text",
                                        sim_rule_text(i), "source", sim_rule_source(i), "broken",
                                        a->q->server->relay.broken[i]));
    set(a->out, "rules", rules);
    return OK;
}

/* ---- phones ---- */

static json_t *describe_phone(const struct sim_phone *p)
{
    static const char *const scans[] = {"none", "waiting", "paired", "refused"};
    json_t *o = json_object(), *companions = json_array();
    char name[SIM_NUMBER_MAX + 8];

    set(o, "number", json_text(p->account->number));
    set(o, "lid", json_text(p->account->lid));
    set(o, "name", json_text(p->account->name));
    set(o, "online", json_boolean(p->conn != NULL));
    set(o, "scan", json_text(scans[p->scan]));
    LIST_EACH(l, &p->account->devices)
    {
        struct sim_device *dev = LIST_ENTRY(l, struct sim_device, link);

        if (dev->id != 0) json_array_append_new(companions, json_text(sim_device_name(dev, name)));
    }
    set(o, "companions", companions);
    return o;
}

static err_t post_phones(struct answer *a)
{
    struct slice number, name = text_member(a->q, "name");
    struct sim_phone *p;

    TRY(need_text(a->q, "number", &number));
    number = plain_number(number);
    if (sim_phone_find(&a->q->server->phones, number))
        return fail(STORE_LOCKED, "there is a phone with this number");
    TRY(sim_phone_new(&a->q->server->phones, number, text_member(a->q, "lid"),
                      name.len ? name : number, &p));
    json_object_update_new(a->out, describe_phone(p));
    return OK;
}

static err_t get_phones(struct answer *a)
{
    json_t *phones = json_array();

    LIST_EACH(l, &a->q->server->phones.phones)
    json_array_append_new(phones, describe_phone(LIST_ENTRY(l, struct sim_phone, link)));
    set(a->out, "phones", phones);
    return OK;
}

static err_t get_phone(struct answer *a)
{
    struct sim_phone *p;

    TRY(phone_of(a->q, &p));
    json_object_update_new(a->out, describe_phone(p));
    return OK;
}

static err_t post_scan(struct answer *a)
{
    struct sim_phone *p;
    struct slice qr;

    TRY(phone_of(a->q, &p));
    TRY(need_text(a->q, "qr", &qr));
    TRY(sim_phone_scan(p, qr));
    json_object_update_new(a->out, describe_phone(p));
    return OK;
}

static err_t post_link(struct answer *a)
{
    struct sim_phone *p;
    struct slice code;

    TRY(phone_of(a->q, &p));
    TRY(need_text(a->q, "code", &code));
    TRY(sim_phone_type_code(p, code));
    json_object_update_new(a->out, describe_phone(p));
    return OK;
}

static err_t write_letter(struct answer *a, struct sim_phone *p, struct sim_writing *w)
{
    char id[SIM_ID_MAX];
    struct sim_letter *letter;

    TRY(sim_phone_write(p, w, id));
    sim_server_settle(a->q->server);
    letter = sim_phone_letter(p, slice_text(id));
    set(a->out, "message_id", json_text(id));
    set(a->out, "status", json_text(letter->error ? "failed" : letter->sent ? "sent" : "pending"));
    if (letter->error) set(a->out, "error_code", json_integer(letter->error));
    return OK;
}

/* `message` is a packed Message in base64, for every kind of content that is no text. */
static err_t post_send(struct answer *a)
{
    struct sim_writing w = {.quote = text_member(a->q, "quote"),
                            .type = text_member(a->q, "type"),
                            .mediatype = text_member(a->q, "mediatype"),
                            .edit = text_member(a->q, "edit")};
    AUTO(buf) message = {0};
    struct sim_phone *p;

    TRY(phone_of(a->q, &p));
    w.to = text_member(a->q, "group");
    if (w.to.len == 0) TRY(need_text(a->q, "to", &w.to));
    TRY(text_unbase64(text_member(a->q, "message"), &message));
    w.message = buf_slice(&message);
    if (w.message.len == 0) TRY(need_text(a->q, "text", &w.text));
    return write_letter(a, p, &w);
}

static err_t post_reply(struct answer *a)
{
    struct sim_writing w = {0};
    struct sim_letter *letter;
    struct sim_phone *p;

    TRY(phone_of(a->q, &p));
    TRY(need_text(a->q, "message_id", &w.quote));
    TRY(need_text(a->q, "text", &w.text));
    letter = sim_phone_letter(p, w.quote);
    if (!letter) return fail(NOT_FOUND, "no message with this id");
    w.to = buf_slice(&letter->chat);
    return write_letter(a, p, &w);
}

static err_t post_read(struct answer *a)
{
    struct sim_phone *p;
    struct slice id;

    TRY(phone_of(a->q, &p));
    TRY(need_text(a->q, "message_id", &id));
    return sim_phone_read(p, id);
}

static err_t post_typing(struct answer *a)
{
    struct sim_phone *p;
    struct slice to;

    TRY(phone_of(a->q, &p));
    TRY(need_text(a->q, "to", &to));
    return sim_phone_typing(p, to, !slice_is(text_member(a->q, "state"), "paused"));
}

static err_t go(struct answer *a, bool online)
{
    struct sim_phone *p;

    TRY(phone_of(a->q, &p));
    sim_phone_go(p, online);
    return get_phone(a);
}

static err_t post_offline(struct answer *a) { return go(a, false); }
static err_t post_online(struct answer *a) { return go(a, true); }

static err_t post_unlink(struct answer *a)
{
    struct sim_phone *p;

    TRY(phone_of(a->q, &p));
    TRY(sim_phone_unlink(p, int_member(a->q, "device", 0)));
    return get_phone(a);
}

static const char *letter_status(const struct sim_letter *letter)
{
    if (!letter->from_me) return letter->read ? "read" : "received";
    if (letter->error) return "failed";
    if (letter->read_by_peer) return "read";
    return letter->delivered ? "delivered" : letter->sent ? "sent" : "pending";
}

static json_t *describe_letter(const struct sim_letter *letter)
{
    json_t *o = json_object();

    set(o, "id", json_text(letter->id));
    set(o, "from", json_text(letter->from));
    set(o, "device", json_integer(letter->device));
    set(o, "chat", json_slice(buf_slice(&letter->chat)));
    set(o, "kind", json_text(letter->kind));
    set(o, "text", json_slice(buf_slice(&letter->text)));
    if (letter->quoted.len) set(o, "quoted", json_slice(buf_slice(&letter->quoted)));
    set(o, "from_me", json_boolean(letter->from_me));
    set(o, "status", json_text(letter_status(letter)));
    if (letter->error) set(o, "error_code", json_integer(letter->error));
    set_time(o, "at", letter->at * 1000);
    return o;
}

static err_t get_inbox(struct answer *a)
{
    struct sim_phone *p;

    TRY(phone_of(a->q, &p));
    json_t *messages = json_array();
    LIST_EACH(l, &p->letters)
    json_array_append_new(messages, describe_letter(LIST_ENTRY(l, struct sim_letter, link)));
    set(a->out, "messages", messages);
    return OK;
}

/* ---- accounts and groups ---- */

static json_t *describe_device(const struct sim_device *dev)
{
    json_t *o = json_object();
    char name[SIM_NUMBER_MAX + 8];

    set(o, "device", json_integer(dev->id));
    set(o, "name", json_text(sim_device_name(dev, name)));
    set(o, "key_index", json_integer(dev->key_index));
    set(o, "connected", json_boolean(dev->conn != NULL));
    set(o, "available", json_boolean(dev->available));
    set(o, "prekeys", json_integer(dev->bundle.prekey_count));
    set(o, "queue", json_integer(dev->queue_count));
    return o;
}

static err_t get_devices(struct answer *a)
{
    struct sim_account *account =
        sim_account_find(&a->q->server->relay.people, plain_number(a->q->segments[0]));

    if (!account) return fail(NOT_FOUND, "no account has this number");
    json_t *devices = json_array();
    LIST_EACH(l, &account->devices)
    json_array_append_new(devices, describe_device(LIST_ENTRY(l, struct sim_device, link)));
    set(a->out, "number", json_text(account->number));
    set(a->out, "lid", json_text(account->lid));
    set(a->out, "devices", devices);
    return OK;
}

static json_t *describe_group(const struct sim_group *g)
{
    json_t *o = json_object(), *members = json_array();
    char jid[SIM_NUMBER_MAX + 8];

    snprintf(jid, sizeof jid, "%s@g.us", g->id);
    set(o, "id", json_text(jid));
    set(o, "subject", json_text(g->subject));
    set(o, "addressing_mode", json_text(g->lid_mode ? "lid" : "pn"));
    LIST_EACH(l, (struct list *)&g->members)
    json_array_append_new(members,
                          json_text(LIST_ENTRY(l, struct sim_member, link)->account->number));
    set(o, "members", members);
    return o;
}

static err_t each_member(struct answer *a, const char *key, struct sim_group *g,
                         void (*run)(struct sim_relay *r, struct sim_group *g,
                                     struct sim_account *account))
{
    json_t *v;
    size_t i;

    json_array_foreach(json_object_get(a->q->body, key), i, v)
    {
        struct slice number = slice_of(json_string_value(v), json_string_length(v));
        struct sim_account *account =
            sim_account_find(&a->q->server->relay.people, plain_number(number));

        if (!account)
            return fail(NOT_FOUND, "no account has the number " SLICE_FMT, SLICE_ARG(number));
        run(&a->q->server->relay, g, account);
    }
    return OK;
}

static void just_add(struct sim_relay *r, struct sim_group *g, struct sim_account *account)
{
    struct sim_member *m = sim_member_add(g, account);

    if (g->members.next == &m->link) m->creator = m->admin = true;
}

static err_t post_groups(struct answer *a)
{
    struct sim_relay *r = &a->q->server->relay;
    struct slice subject;
    struct sim_group *g;
    char id[SIM_NUMBER_MAX];

    TRY(need_text(a->q, "subject", &subject));
    if (json_array_size(json_object_get(a->q->body, "members")) < 2)
        return fail(BAD_ARGUMENT, "members: at least two numbers");
    snprintf(id, sizeof id, "120363%012llu",
             (unsigned long long)(sim_random(r) % 1000000000000ull));
    g = sim_group_new(&r->people, slice_text(id), subject);
    g->created_at = sim_seconds(r);
    g->lid_mode = !slice_is(text_member(a->q, "addressing_mode"), "pn");
    TRY(each_member(a, "members", g, just_add));
    sim_changed(r);
    sim_notify_group(r, g, "create", NULL);
    json_object_update_new(a->out, describe_group(g));
    return OK;
}

static err_t get_groups(struct answer *a)
{
    json_t *groups = json_array();

    LIST_EACH(l, &a->q->server->relay.people.groups)
    json_array_append_new(groups, describe_group(LIST_ENTRY(l, struct sim_group, link)));
    set(a->out, "groups", groups);
    return OK;
}

static void add_and_tell(struct sim_relay *r, struct sim_group *g, struct sim_account *account)
{
    sim_member_add(g, account);
    sim_notify_group(r, g, "add", account);
}

static void remove_and_tell(struct sim_relay *r, struct sim_group *g, struct sim_account *account)
{
    sim_notify_group(r, g, "remove", account);
    sim_member_remove(g, account);
}

static err_t post_members(struct answer *a)
{
    struct slice id = slice_sub(a->q->segments[0], 0, slice_find(a->q->segments[0], '@'));
    struct sim_group *g = map_find(&a->q->server->relay.people.groups_by_id, id);

    if (!g) return fail(NOT_FOUND, "no group has this id");
    TRY(each_member(a, "add", g, add_and_tell));
    TRY(each_member(a, "remove", g, remove_and_tell));
    sim_changed(&a->q->server->relay);
    json_object_update_new(a->out, describe_group(g));
    return OK;
}

/* ---- trace ---- */

/* A device by name, or all devices of a number. */
static bool is_line_of(const struct sim_traced *line, struct slice device)
{
    struct slice who = slice_text(line->who);

    return device.len == 0 || slice_eq(who, device) ||
           slice_eq(slice_sub(who, 0, slice_find(who, ':')), device);
}

static json_t *json_trace(const struct sim_traced *line)
{
    AUTO(buf) text = {0};

    sim_trace_text(line, &text);
    return json_slice(buf_slice(&text));
}

static err_t get_trace(struct answer *a)
{
    const struct sim_trace *t = &a->q->server->relay.trace;
    char buffer[64];
    struct slice device = query_value(a->q, "device", buffer, sizeof buffer);
    uint64_t since = query_int(a->q, "since", 0), limit = query_int(a->q, "limit", SIM_TRACE_MAX);
    json_t *lines = json_array();

    LIST_EACH(l, (struct list *)&t->lines)
    {
        const struct sim_traced *line = LIST_ENTRY(l, struct sim_traced, link);
        json_t *o;

        if (line->seq <= since || !is_line_of(line, device)) continue;
        o = json_object();
        set(o, "seq", json_integer((json_int_t)line->seq));
        set_time(o, "at", line->at_ms);
        set(o, "device", json_text(line->who));
        set(o, "direction", json_text(line->from_client ? "from_client" : "to_client"));
        set(o, "stanza", json_trace(line));
        json_array_append_new(lines, o);
        if (json_array_size(lines) > limit) json_array_remove(lines, 0);
    }
    set(a->out, "stanzas", lines);
    set(a->out, "last_seq", json_integer((json_int_t)t->last_seq));
    return OK;
}

/* ---- stanzas from nowhere ---- */

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
static err_t post_stanza(struct answer *a)
{
    struct sim_relay *r = &a->q->server->relay;
    struct sim_device *dev = device_named(r, a->q->segments[0]);
    enum sim_queue_kind kind;
    struct wa_node *n;
    struct slice tag;

    if (!dev) return fail(NOT_FOUND, "no device has this name");
    TRY(need_text(a->q, "tag", &tag));
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

/* ---- faults ---- */

static void copy_member(const struct sim_request *q, const char *name, char *out, size_t size)
{
    snprintf(out, size, SLICE_FMT, SLICE_ARG(text_member(q, name)));
}

static err_t post_faults(struct answer *a)
{
    struct sim_fault f = {.count = 1};
    struct slice word;

    TRY(need_text(a->q, "fault", &word));
    TRY(sim_fault_kind_of(word, &f.kind));
    copy_member(a->q, "device", f.device, sizeof f.device);
    copy_member(a->q, "tag", f.tag, sizeof f.tag);
    copy_member(a->q, "text", f.text, sizeof f.text);
    f.value = int_member(a->q, "value", 0);
    f.count = int_member(a->q, "count", 1);
    f.skip = int_member(a->q, "skip", 0);
    a->q->server->relay.now_ms = sim_server_now(a->q->server);
    arena_reset(&a->q->server->relay.arena);
    return sim_fault_put(&a->q->server->relay, &f);
}

static err_t get_faults(struct answer *a)
{
    json_t *armed = json_array(), *known = json_array();

    LIST_EACH(l, &a->q->server->relay.faults)
    {
        const struct sim_fault *f = LIST_ENTRY(l, struct sim_fault, link);

        json_array_append_new(armed, json_pack("{s:s,s:s,s:s,s:I,s:i,s:i}", "fault",
                                               sim_fault_name(f->kind), "device", f->device, "tag",
                                               f->tag, "value", (json_int_t)f->value, "count",
                                               f->count, "skip", f->skip));
    }
    for (size_t i = 0; i < SIM_FAULTS; i++)
        json_array_append_new(
            known, json_pack("{s:s,s:s}", "fault", sim_fault_name(i), "text", sim_fault_text(i)));
    set(a->out, "armed", armed);
    set(a->out, "known", known);
    return OK;
}

static err_t delete_faults(struct answer *a)
{
    sim_faults_clear(&a->q->server->relay);
    return OK;
}

/* ---- the table ---- */

static const struct route {
    const char *method, *path;
    err_t (*run)(struct answer *a);
} routes[] = {
#define ROUTE(method, path, handler, text) {method, path, handler},
#include "tools/sim/routes.def"
#undef ROUTE
};

static bool matches(const struct route *route, struct sim_request *q)
{
    struct slice pattern = slice_text(route->path), path = q->path, want, have;
    size_t n = 0;

    for (;;) {
        bool more = slice_split(&pattern, '/', &want);

        if (more != slice_split(&path, '/', &have)) return false;
        if (!more) return true;
        if (slice_is(want, "{}") && have.len > 0)
            q->segments[n++] = have;
        else if (!slice_eq(want, have))
            return false;
    }
}

static int status_of(err_t e)
{
    if (e == ERR_STORE_LOCKED) return 409;
    switch (err_class(e)) {
    case ERR_CLASS_CALLER:
    case ERR_CLASS_PEER: return 400;
    case ERR_CLASS_MISSING: return 404;
    case ERR_CLASS_LATER:
    case ERR_CLASS_STATE: return 409;
    default: return 500;
    }
}

int sim_control_answer(struct sim_request *q, struct slice method, json_t **out)
{
    struct answer a = {.q = q, .out = json_object()};
    bool known = false;
    err_t e;

    *out = a.out;
    for (size_t i = 0; i < ARRAY_LEN(routes); i++) {
        if (!matches(&routes[i], q)) continue;
        known = true;
        if (!slice_is(method, routes[i].method)) continue;
        sim_server_settle(q->server);
        e = routes[i].run(&a);
        if (e == OK) sim_server_settle(q->server);
        if (e == OK) return 200;
        json_object_clear(a.out);
        set(a.out, "error", json_text(e == ERR_STORE_LOCKED ? "CONFLICT" : err_name(e)));
        set(a.out, "message", json_text(err_words()));
        sim_server_settle(q->server);
        return status_of(e);
    }
    set(a.out, "error", json_text(known ? "METHOD" : "NOT_FOUND"));
    set(a.out, "message",
        json_text(known ? "another method" : "no such path; README.md lists them"));
    return known ? 405 : 404;
}
