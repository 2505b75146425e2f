#include "proto/client/ask_phone.h"

#include <stdio.h>
#include <stdlib.h>

#include "proto/base/reader.h"
#include "proto/client/bundles.h"
#include "proto/client/mapping.h"
#include "proto/client/message_in.h"
#include "proto/client/message_out.h"
#include "proto/client/pb.h"
#include "proto/client/receipt.h"

enum { TYPE_REQUEST = 16, TYPE_PLACEHOLDER_RESEND = 4 };

struct ask {
    struct list node;
    int64_t due, time_s;  /* of the question, then of giving it up; of the message */
    uint8_t tries, asked; /* in vain, and at all */
    char chat[WA_JID_TEXT_MAX], author[WA_JID_TEXT_MAX];
    char id[WA_MESSAGE_ID_MAX + 1];
    bool from_me, is_group, is_asked; /* over this link */
};

static struct ask *ask_of(struct list *node) { return LIST_ENTRY(node, struct ask, node); }

void wa_asks_free(struct wa_client *c)
{
    for (struct list *node; (node = list_pop(&c->asks));)
        free(ask_of(node));
    c->ask_count = c->asks_awaited = 0;
}

size_t wa_asks_memory(const struct wa_client *c)
{
    return (c->ask_count + c->asks_awaited) * sizeof(struct ask);
}

static const struct wa_jid *address_of(const struct wa_party *party)
{
    return wa_jid_is_none(&party->lid) ? &party->pn : &party->lid;
}

static void plan(struct wa_client *c, int64_t due)
{
    if (due < c->timers[WA_TIMER_ASK]) wa_timer_set(c, WA_TIMER_ASK, due);
}

/* ---- the row ---- */

enum { ROW_VERSION = 1, FROM_ME = 1, IS_GROUP = 2 };

struct noted {
    uint8_t flags, tries, asked;
    int64_t time_s;
    struct slice chat, author, id;
};

static bool next_noted(struct reader *r, struct noted *out)
{
    if (r->error != OK || reader_left(r) == 0) return false;
    out->flags = reader_u8(r);
    out->tries = reader_u8(r);
    out->asked = out->tries >> 4;
    out->tries &= 15;
    out->time_s = (int64_t)reader_be64(r);
    out->chat = reader_block(r);
    out->author = reader_block(r);
    out->id = reader_block(r);
    return r->error == OK;
}

static void put_noted(struct buf *out, const struct noted *n)
{
    buf_put_u8(out, n->flags);
    buf_put_u8(out, (uint8_t)(n->tries | n->asked << 4));
    buf_put_be64(out, (uint64_t)n->time_s);
    buf_put_block(out, n->chat);
    buf_put_block(out, n->author);
    buf_put_block(out, n->id);
}

static err_t load_row(struct wa_client *c, struct reader *out)
{
    struct slice row;

    TRY(wa_load(c, WA_NS_ASKS, SLICE(""), SLICE(""), &row));
    *out = reader_of(row);
    if (row.len && reader_u8(out) != ROW_VERSION) return fail(STORE_DAMAGED, "row of questions");
    return OK;
}

static err_t check_row(const struct reader *r)
{
    return r->error == OK ? OK : fail(STORE_DAMAGED, "row of questions");
}

static struct noted noted_of(const struct ask *ask)
{
    return (struct noted){
        .flags = (uint8_t)((ask->from_me ? FROM_ME : 0) | (ask->is_group ? IS_GROUP : 0)),
        .tries = ask->tries,
        .asked = ask->asked,
        .time_s = ask->time_s,
        .chat = slice_text(ask->chat),
        .author = slice_text(ask->author),
        .id = slice_text(ask->id)};
}

static bool is_same(const struct noted *a, const struct noted *b)
{
    return slice_eq(a->id, b->id) && slice_eq(a->author, b->author) && slice_eq(a->chat, b->chat);
}

static bool is_too_old(const struct wa_client *c, int64_t time_s)
{
    return time_s < wa_server_now(c) - WA_ASK_AGE_S;
}

/* Copies the newest `most` of the row; in the place of `now` stands `now`, or nothing once it is
 * done. */
static err_t copy_row(struct wa_client *c, const struct noted *now, bool is_open, size_t most,
                      struct buf *out)
{
    struct reader r;
    struct noted n;
    size_t count = 0;

    TRY(load_row(c, &r));
    for (struct reader all = r; next_noted(&all, &n);)
        count++;
    for (; next_noted(&r, &n); count--) {
        bool same = is_same(&n, now);
        if (count > most || (same && !is_open) || is_too_old(c, n.time_s)) continue;
        put_noted(out, same ? now : &n);
    }
    return check_row(&r);
}

static void save_row(struct wa_client *c, const struct buf *all)
{
    AUTO(buf) row = {0};

    if (all->len) {
        buf_put_u8(&row, ROW_VERSION);
        buf_put(&row, buf_slice(all));
    }
    wa_save(c, WA_NS_ASKS, SLICE(""), SLICE(""), buf_slice(&row));
}

static err_t note_new(struct wa_client *c, const struct noted *n)
{
    AUTO(buf) all = {0};

    TRY(copy_row(c, n, false, WA_ASKS_NOTED - 1, &all));
    put_noted(&all, n);
    save_row(c, &all);
    return OK;
}

/* Writes down what is left to do about this one, unless newer ones have pushed it out. */
static err_t note(struct wa_client *c, const struct ask *ask, bool is_open)
{
    AUTO(buf) all = {0};
    struct noted n = noted_of(ask);

    TRY(copy_row(c, &n, is_open, WA_ASKS_NOTED, &all));
    save_row(c, &all);
    return OK;
}

/* ---- what is due on this link ---- */

static void add(struct wa_client *c, const struct noted *n, int64_t due)
{
    struct ask *ask = xcalloc(sizeof(*ask));

    ask->due = due;
    ask->time_s = n->time_s;
    ask->tries = n->tries;
    ask->asked = n->asked;
    ask->from_me = n->flags & FROM_ME;
    ask->is_group = n->flags & IS_GROUP;
    snprintf(ask->chat, sizeof(ask->chat), SLICE_FMT, SLICE_ARG(n->chat));
    snprintf(ask->author, sizeof(ask->author), SLICE_FMT, SLICE_ARG(n->author));
    snprintf(ask->id, sizeof(ask->id), SLICE_FMT, SLICE_ARG(n->id));
    list_push(&c->asks, &ask->node);
    c->ask_count++;
    plan(c, due);
}

err_t wa_ask_phone(struct wa_client *c, const struct wa_info *info, int64_t after_ms)
{
    bool of_phone = info->from_me && info->author_jid.device == 0;
    bool is_group = info->place == WA_PLACE_GROUP;
    char chat[WA_JID_TEXT_MAX], author[WA_JID_TEXT_MAX];

    if (of_phone || is_too_old(c, info->time_s)) return OK;
    struct noted n = {.flags = (uint8_t)((info->from_me ? FROM_ME : 0) | (is_group ? IS_GROUP : 0)),
                      .time_s = info->time_s,
                      .chat = slice_text(wa_jid_text(address_of(&info->chat), chat)),
                      .author = slice_text(wa_jid_text(address_of(&info->author), author)),
                      .id = info->id};
    if (c->ask_count < WA_ASKS_WAITING)
        add(c, &n, c->now + after_ms);
    else
        plan(c, c->now + after_ms); /* those may still wait for a bundle that was refused */
    return note_new(c, &n);
}

err_t wa_asks_resume(struct wa_client *c)
{
    struct reader r;
    struct noted n;

    TRY(load_row(c, &r));
    while (c->ask_count < WA_ASKS_WAITING && next_noted(&r, &n))
        if (!is_too_old(c, n.time_s)) add(c, &n, c->now + WA_ASK_AFTER_MS);
    return check_row(&r);
}

void wa_asks_bring_forward(struct wa_client *c, int64_t by)
{
    LIST_EACH(node, &c->asks)
    ask_of(node)->due -= by;
}

/* ---- the question ---- */

static err_t info_of(struct wa_client *c, const struct ask *ask, struct wa_info *out)
{
    struct wa_jid chat, author;

    *out = (struct wa_info){.id = slice_text(ask->id), .from_me = ask->from_me};
    TRY(wa_jid_parse(slice_text(ask->chat), &chat));
    TRY(wa_jid_parse(slice_text(ask->author), &author));
    TRY(wa_party_of(c, &author, &out->author));
    return wa_party_of(c, &chat, &out->chat);
}

/* Message{protocolMessage{peerDataOperationRequest{placeholderMessageResend{key}}}}. */
static err_t put_request(struct wa_client *c, const struct ask *ask, const struct wa_info *info,
                         struct buf *out)
{
    struct wa_jid chat, participant;
    AUTO(buf) key = {0};
    AUTO(buf) placeholder = {0};
    AUTO(buf) request = {0};
    AUTO(buf) protocol = {0};

    TRY(wa_chat_jid(c, &info->chat, &chat));
    TRY(wa_participant_jid(c, &info->chat, &info->author, ask->is_group, &participant));
    wa_pb_put_bytes(&key, 1, wa_bare_text(c, &chat));
    wa_pb_put_int(&key, 2, ask->from_me);
    wa_pb_put_bytes(&key, 3, info->id);
    if (ask->is_group) wa_pb_put_bytes(&key, 4, wa_bare_text(c, &participant));
    wa_pb_put_bytes(&placeholder, 1, buf_slice(&key));
    wa_pb_put_int(&request, 1, TYPE_PLACEHOLDER_RESEND);
    wa_pb_put_bytes(&request, 5, buf_slice(&placeholder));
    wa_pb_put_int(&protocol, 2, TYPE_REQUEST);
    wa_pb_put_bytes(&protocol, 16, buf_slice(&request));
    wa_pb_put_bytes(out, 12, buf_slice(&protocol));
    return OK;
}

static err_t send_request(struct wa_client *c, const struct wa_jid *phone, struct slice request)
{
    struct wa_node *message = wa_node_new(c->arena, "message");
    bool has_prekey = false;

    wa_node_set_jid(message, c->arena, "to", *phone);
    wa_node_set(message, c->arena, "id", wa_client_message_id(c, c->now, c->arena));
    wa_node_set_text(message, c->arena, "type", "text");
    wa_node_set_text(message, c->arena, "category", "peer");
    wa_node_set_text(message, c->arena, "push_priority", "high_force");
    wa_node_set_text(wa_node_add(message, c->arena, "meta"), c->arena, "appdata", "default");
    TRY(wa_encrypt_for(c, phone, request, message, &has_prekey));
    if (has_prekey) wa_add_device_identity(c, message);
    wa_send_node(c, message, WA_SEND_ACKED);
    return OK;
}

/* A retry may have brought it meanwhile. */
static err_t is_waiting(struct wa_client *c, const struct wa_info *info, bool *out)
{
    struct wa_held_message held;
    struct slice row;

    TRY(wa_load(c, WA_NS_MESSAGE, wa_info_owner(c, info), wa_info_name(c, info), &row));
    TRY(wa_held_decode(row, &held));
    *out = held.state == WA_HELD_WAITING;
    return OK;
}

static bool may_ask(struct wa_client *c)
{
    if (llabs(c->now - c->asks_since) >= INT64_C(3600) * 1000) { /* the clock may be set back */
        c->asks_since = c->now;
        c->asks_made = 0;
    }
    return c->asks_made < WA_ASKS_HOUR;
}

static err_t ask_now(struct wa_client *c, const struct wa_jid *phone, struct ask *ask)
{
    AUTO(buf) request = {0};
    struct wa_info info;
    bool waiting;

    TRY(info_of(c, ask, &info));
    TRY(is_waiting(c, &info, &waiting));
    if (!waiting) return note(c, ask, false);
    if (!may_ask(c)) return OK;
    TRY(put_request(c, ask, &info, &request));
    c->asks_made++;
    ask->is_asked = true;
    ask->due = c->now + WA_ASK_ANSWER_MS;
    TRY(note(c, ask, ++ask->asked < WA_ASK_LINKS));
    return send_request(c, phone, buf_slice(&request));
}

/* The link has lived long enough for an answer. */
static err_t end_try(struct wa_client *c, struct ask *ask)
{
    struct wa_info info;
    bool waiting;

    TRY(info_of(c, ask, &info));
    TRY(is_waiting(c, &info, &waiting));
    return note(c, ask, waiting && ++ask->tries < WA_ASK_TRIES);
}

/* One that was asked just now stays, until its answer is overdue. */
static err_t do_due(struct wa_client *c, const struct wa_jid *phone, struct ask *ask)
{
    err_t e;

    if (ask->is_asked) {
        c->asks_awaited--;
        e = end_try(c, ask);
        ask->is_asked = false;
    } else {
        c->ask_count--;
        e = ask_now(c, phone, ask);
    }
    if (ask->is_asked) {
        c->asks_awaited++;
        list_push(&c->asks, &ask->node);
        plan(c, ask->due);
    } else {
        free(ask);
    }
    return e;
}

static err_t ask_all_due(struct wa_client *c, const struct wa_jid *phone)
{
    LIST_EACH(node, &c->asks)
    {
        struct ask *ask = ask_of(node);
        if (ask->due > c->now) {
            plan(c, ask->due);
            continue;
        }
        list_remove(&ask->node);
        err_t e = do_due(c, phone, ask);
        if (wa_is_fatal(e)) return e;
    }
    return OK;
}

static struct wa_jid own_phone(const struct wa_client *c)
{
    struct wa_jid self = wa_self_pn(c);
    return wa_jid_bare(&self);
}

static err_t on_bundle(struct wa_client *c, void *op, const struct wa_node *iq, err_t e)
{
    struct wa_jid phone = own_phone(c);

    if (e != OK) return OK; /* asked for again with the next message that needs it */
    TRY(wa_bundles_take(c, iq, false));
    return ask_all_due(c, &phone);
}

err_t on_ask_due(struct wa_client *c)
{
    struct wa_jid phone = own_phone(c), device;
    bool has;

    if (!wa_is_online(c)) return OK;
    TRY(wa_has_session(c, &phone, &has));
    if (has) return ask_all_due(c, &phone);
    TRY(wa_session_jid(c, &phone, &device));
    return wa_bundles_ask(c, &device, 1, NULL, on_bundle, NULL, false);
}

/* ---- the answer ---- */

/* WebMessageInfo: key 1 {chat 1, from me 2, id 3, participant 4}, message 2, time 3, author 5. */
static err_t take(struct wa_client *c, struct slice web)
{
    struct slice key = wa_pb_bytes(web, 1), message = wa_pb_bytes(web, 2), by = wa_pb_text(key, 4);
    struct wa_jid chat, author;
    struct wa_info info = {.id = wa_pb_text(key, 3), .from_me = wa_pb_int_or(key, 2, 0) != 0};
    bool waiting;

    TRY(wa_jid_parse(wa_pb_text(key, 1), &chat));
    ENSURE(wa_id_ok(info.id) && chat.user.len <= WA_USER_MAX, BAD_STANZA);
    info.place = wa_jid_is_group(&chat) ? WA_PLACE_GROUP : WA_PLACE_PERSON;
    author = info.from_me ? own_phone(c) : chat;
    if (!info.from_me && info.place == WA_PLACE_GROUP)
        TRY(wa_jid_parse(slice_is_none(by) ? wa_pb_text(web, 5) : by, &author));
    ENSURE(wa_jid_is_person(&author) && author.user.len <= WA_USER_MAX, BAD_STANZA);
    info.author_jid = author;
    TRY(wa_party_of(c, &author, &info.author));
    TRY(wa_party_of(c, &chat, &info.chat));
    info.time_s = (int64_t)(wa_pb_int_or(web, 3, 0) & UINT32_MAX);
    TRY(is_waiting(c, &info, &waiting));
    return waiting ? wa_message_recovered(c, &info, message) : OK;
}

/* Result 3, several: placeholder 4 {bytes 1}. */
err_t wa_phone_answered(struct wa_client *c, const struct wa_info *info, struct slice response)
{
    struct reader r = reader_of(response);
    struct wa_pb_field field;

    if (wa_pb_int_or(response, 1, 0) != TYPE_PLACEHOLDER_RESEND) return OK;
    for (int n = 0; n < WA_ASK_ANSWERS && wa_pb_next(&r, &field);) {
        if (field.number != 3 || !field.is_bytes) continue;
        n++;
        err_t e = take(c, wa_pb_bytes(wa_pb_bytes(field.bytes, 4), 1));
        if (wa_is_fatal(e)) return e;
    }
    return OK;
}
