#include "server/mcp/mcp_events.h"

#include <stdio.h>

#include "server/directory.h"
#include "server/mcp/inside.h"
#include "storage/accounts.h"
#include "storage/contacts.h"
#include "storage/id.h"

/* ---- URIs ---- */

static bool take_prefix(struct slice *s, struct slice prefix)
{
    if (!slice_starts_with(*s, prefix)) return false;
    *s = slice_from(*s, prefix.len);
    return true;
}

static struct mcp_uri named(enum mcp_uri_kind kind, struct slice name)
{
    bool is_name = name.len && slice_find(name, '/') == name.len;

    return is_name ? (struct mcp_uri){kind, name} : (struct mcp_uri){0};
}

struct mcp_uri mcp_uri_parse(struct slice uri)
{
    static const struct slice events = SLICE("/events");
    struct slice rest = uri;

    if (uri.len > SESSION_URI_MAX || !take_prefix(&rest, SLICE("whatsapp://")))
        return (struct mcp_uri){0};
    if (slice_is(rest, "events")) return (struct mcp_uri){.kind = MCP_URI_EVENTS};
    if (slice_is(rest, "accounts")) return (struct mcp_uri){.kind = MCP_URI_ACCOUNTS};
    if (take_prefix(&rest, SLICE("events/"))) return named(MCP_URI_EVENT, rest);
    if (take_prefix(&rest, SLICE("chats/"))) return named(MCP_URI_CHAT, rest);
    if (!take_prefix(&rest, SLICE("accounts/"))) return (struct mcp_uri){0};
    if (rest.len > events.len && slice_eq(slice_from(rest, rest.len - events.len), events))
        return named(MCP_URI_ACCOUNT_EVENTS, slice_sub(rest, 0, rest.len - events.len));
    return named(MCP_URI_ACCOUNT, rest);
}

bool mcp_uri_kinds(struct slice uri, struct event_filter *out)
{
    struct mcp_uri u = mcp_uri_parse(uri);

    *out = (struct event_filter){0};
    if (u.kind == MCP_URI_EVENT)
        return slice_find(u.name, ',') == u.name.len && event_filter_add_names(out, u.name) == OK;
    return u.kind != MCP_URI_NONE;
}

static err_t see_account(struct mcp_worker *w, const struct principal *who, struct slice id)
{
    struct account_status status;

    if (directory_status(w->mcp->server->directory, id, &status) &&
        principal_sees(who, (uint32_t)status.tenant, status.sandbox))
        return OK;
    return ERR_NOT_FOUND;
}

/* The chat's numbers as they are now: a person learnt under two addresses was merged, and both ids
 * go on to name the same chat. */
static err_t see_chat(struct mcp_worker *w, const struct principal *who, struct slice id,
                      struct event_filter *out)
{
    struct scope scope = {.tenant = who->tenant};
    struct db_account account;
    struct db_contact contact;
    char account_id[ID_TEXT_MAX];
    uint32_t peer;
    uint64_t secret;

    if (!id_chat_parse(ID_CHAT, id, &scope.account, &peer, &secret) &&
        !id_chat_parse(ID_GROUP, id, &scope.account, &peer, &secret))
        return ERR_NOT_FOUND;
    TRY(db_account_get(w->view, scope, &account));
    id_number_text(ID_ACCOUNT, scope.account, account.secret, account_id);
    TRY(see_account(w, who, slice_text(account_id)));
    TRY(db_contact_resolve(w->view, scope, peer, secret, &contact));
    out->account = scope.account;
    event_filter_chat(out, &contact);
    return OK;
}

static err_t resolve(struct mcp_worker *w, const struct principal *who, const struct mcp_uri *u,
                     struct event_filter *out)
{
    uint64_t secret;
    err_t e;

    switch (u->kind) {
    case MCP_URI_ACCOUNT:
    case MCP_URI_ACCOUNT_EVENTS:
        if (!id_number_parse(ID_ACCOUNT, u->name, &out->account, &secret)) return ERR_NOT_FOUND;
        return see_account(w, who, u->name);
    case MCP_URI_CHAT:
        e = view_begin(w->view);
        if (e == OK) e = see_chat(w, who, u->name, out);
        view_end(w->view);
        return e;
    default: return OK;
    }
}

err_t mcp_uri_resolve(struct mcp_worker *w, const struct principal *who, struct slice uri,
                      struct event_filter *out)
{
    struct mcp_uri u = mcp_uri_parse(uri);
    err_t e;

    if (u.kind == MCP_URI_NONE || !mcp_uri_kinds(uri, out))
        return fail(NOT_FOUND, "there is no resource with this uri");
    e = resolve(w, who, &u, out);
    return e == ERR_NOT_FOUND ? fail(NOT_FOUND, "there is no resource with this uri") : e;
}

/* ---- ids of frames ---- */

bool mcp_base36(struct slice text, uint64_t *out)
{
    uint64_t n = 0;

    if (text.len == 0 || text.len > 12) return false;
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        unsigned digit = c >= '0' && c <= '9' ? c - 48u : c >= 'a' && c <= 'z' ? c - 87u : 36u;
        if (digit == 36) return false;
        n = n * 36 + digit;
    }
    *out = n;
    return true;
}

void mcp_event_id(struct buf *out, uint64_t seq)
{
    char digits[16];
    size_t at = sizeof(digits);

    do {
        digits[--at] = "0123456789abcdefghijklmnopqrstuvwxyz"[seq % 36];
        seq /= 36;
    } while (seq);
    buf_put_text(out, "g-");
    buf_put(out, slice_of(digits + at, sizeof(digits) - at));
}

bool mcp_event_id_parse(struct slice id, uint64_t *out_seq)
{
    return slice_starts_with(id, SLICE("g-")) && mcp_base36(slice_from(id, 2), out_seq);
}

/* ---- frames ---- */

static void put_event(struct hub_event *e, struct buf *out)
{
    struct shared_bytes *json = hub_event_json(e);

    buf_put(out, slice_of(json->data, json->len));
}

/* "id: g-2t\nevent: message\ndata: {"jsonrpc":…,"method":"…","params":{" */
static void begin(struct buf *out, uint64_t seq, const char *method)
{
    if (seq) {
        buf_put_text(out, "id: ");
        mcp_event_id(out, seq);
        buf_put_u8(out, '\n');
    }
    buf_printf(out,
               "event: message\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/%s\","
               "\"params\":{",
               method);
}

static void end(struct buf *out) { buf_put_text(out, "}}\n\n"); }

void mcp_frame_log(struct hub_event *e, struct buf *out)
{
    begin(out, e->seq, "message");
    buf_put_text(out, "\"level\":\"info\",\"logger\":\"events\",\"data\":");
    put_event(e, out);
    end(out);
}

static void put_uri(struct buf *out, struct slice uri)
{
    buf_put_text(out, "\"uri\":");
    json_quote(out, uri);
}

static void put_meta_event(struct hub_event *e, struct buf *out)
{
    buf_put_text(out, ",\"_meta\":{\"" MCP_META_EVENT "\":");
    put_event(e, out);
}

void mcp_frame_resource(struct hub_event *e, struct slice uri, struct buf *out)
{
    begin(out, e->seq, "resources/updated");
    put_uri(out, uri);
    put_meta_event(e, out);
    buf_put_u8(out, '}');
    end(out);
}

void mcp_frame_all_events(struct hub_event *e, struct buf *out)
{
    mcp_frame_resource(e, SLICE("whatsapp://events"), out);
}

/* The events draft has a shape of its own around the whole event. */
void mcp_frame_vendor(struct hub_event *e, struct buf *out)
{
    struct json *parsed = NULL;
    struct pen p = pen_on(out);

    if (json_parse(e->bytes, EVENT_MAX, &parsed) != OK) return; /* our own bytes: never */
    begin(out, e->seq, "events/event");
    out->len--; /* its brace: the pen writes one */
    pen_object(&p, NULL);
    pen_text(&p, "eventId", json_get_text(parsed, "event_id"));
    pen_text(&p, "name", json_get_text(parsed, "event"));
    pen_text(&p, "timestamp", json_get_text(parsed, "occurred_at"));
    pen_raw(&p, "data", SLICE(""));
    put_event(e, out);
    if (e->seq) {
        buf_put_text(out, ",\"cursor\":\"");
        buf_printf(out, "%llu\"", (unsigned long long)e->seq);
    }
    json_free(parsed);
    end(out);
}

static void put_listen_id(struct buf *out, struct slice listen_id)
{
    buf_put_text(out, "\"io.modelcontextprotocol/subscriptionId\":");
    buf_put(out, listen_id);
}

void mcp_frame_listen(struct hub_event *e, struct slice uri, struct slice listen_id,
                      struct buf *out)
{
    begin(out, 0, "resources/updated");
    put_uri(out, uri);
    put_meta_event(e, out);
    buf_put_u8(out, ',');
    put_listen_id(out, listen_id);
    buf_put_u8(out, '}');
    end(out);
}

void mcp_frame_changed(struct buf *out, struct slice uri, struct slice listen_id)
{
    begin(out, 0, "resources/updated");
    put_uri(out, uri);
    if (!slice_is_none(listen_id)) {
        buf_put_text(out, ",\"_meta\":{");
        put_listen_id(out, listen_id);
        buf_put_u8(out, '}');
    }
    end(out);
}

void mcp_frame_list_changed(struct buf *out, const char *name, struct slice listen_id)
{
    char method[64];

    snprintf(method, sizeof(method), "%s/list_changed", name);
    begin(out, 0, method);
    if (!slice_is_none(listen_id)) {
        buf_put_text(out, "\"_meta\":{");
        put_listen_id(out, listen_id);
        buf_put_u8(out, '}');
    }
    end(out);
}

void mcp_frame_gap(struct buf *out, uint64_t first, uint64_t last)
{
    begin(out, last, "message");
    buf_put_text(out, "\"level\":\"warning\",\"logger\":\"events\",\"data\":{");
    event_gap(out, first, last);
    buf_put_u8(out, '}');
    end(out);
}

void mcp_frame_gap_listen(struct buf *out, struct slice uri, struct slice listen_id, uint64_t first,
                          uint64_t last)
{
    begin(out, 0, "resources/updated");
    put_uri(out, uri);
    buf_put_text(out, ",\"_meta\":{\"" MCP_META_GAP "\":{");
    event_gap(out, first, last);
    buf_put_text(out, "},");
    put_listen_id(out, listen_id);
    buf_put_u8(out, '}');
    end(out);
}
