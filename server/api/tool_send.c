/* send_message: from arguments to account_send_text(), and the answer from the stored message.
 *
 * At home the call only learns which account it belongs to; chat, quote and mentions are read on
 * the account's worker, in the turn that sends. */
#include <stdio.h>

#include "proto/wire/jid.h"
#include "server/api/tool.h"
#include "server/api/tools_all.h"

/* ---- whom, what ---- */

static struct wa_jid jid_or_none(struct slice text)
{
    struct wa_jid jid = {0};

    if (text.len && wa_jid_parse(text, &jid) != OK) jid = (struct wa_jid){0};
    return jid;
}

static struct slice jid_of_phone(struct arena *arena, struct slice phone)
{
    return arena_printf(arena, SLICE_FMT "@s.whatsapp.net", SLICE_ARG(slice_from(phone, 1)));
}

/* The person in `chat_id` or `to`; in->contact.peer is 0 when nobody has that number yet. */
static err_t find_person(struct call *c, struct view *v, const struct account_status *s,
                         struct call_chat *in, struct wa_party *out)
{
    struct slice to = arg_text(c, "to"), jid;
    struct contact_ref who = {0};

    if (slice_is_none(to)) {
        TRY(call_chat(c, v, arg_text(c, "chat_id"), in));
    } else {
        call_scope(s, in);
        jid = jid_of_phone(&c->arena, to);
        TRY(db_contact_of(v, in->scope, jid, &who));
        if (who.peer) TRY(db_contact_resolve(v, in->scope, who.peer, 0, &in->contact));
        out->pn = jid_or_none(jid);
    }
    if (in->contact.peer && in->contact.kind != CONTACT_PERSON)
        return fail(BAD_ARGUMENT, "chat_id names a group; this version sends to people only");
    if (in->contact.pn.len) out->pn = jid_or_none(in->contact.pn);
    out->lid = jid_or_none(in->contact.lid);
    return OK;
}

static bool is_in_chat(const struct call_chat *chat, const struct call_chat *quoted)
{
    return chat->contact.peer && chat->scope.account == quoted->scope.account &&
           chat->contact.peer == quoted->contact.peer;
}

/* Our own messages have no author in the record. */
static struct wa_jid author_of(struct call *c, const struct call_chat *in,
                               const struct db_message *m)
{
    if (!m->from_me) return jid_or_none(m->author);
    if (in->contact.lid.len && *in->account.lid) return jid_or_none(slice_text(in->account.lid));
    return jid_or_none(jid_of_phone(&c->arena, slice_text(in->account.phone)));
}

static err_t add_quote(struct call *c, struct view *v, const struct call_chat *in,
                       struct wa_text *text)
{
    struct slice id = arg_text(c, "reply_to");
    struct call_chat *quoted;
    struct db_message m;

    if (slice_is_none(id)) return OK;
    quoted = arena_new(&c->arena, struct call_chat);
    TRY(call_message(c, v, id, quoted, &m));
    if (!is_in_chat(in, quoted))
        return fail(BAD_ARGUMENT, "reply_to must be a message of the chat that is written to");
    text->quoted_id = m.stanza_id;
    text->quoted_raw = m.raw;
    text->quoted_author = author_of(c, in, &m);
    return OK;
}

static void add_mentions(struct call *c, struct wa_text *text)
{
    size_t n = arg_count(c, "mentions");
    struct wa_jid *list = arena_array(&c->arena, struct wa_jid, n ? n : 1);

    for (size_t i = 0; i < n; i++)
        list[i] = jid_or_none(jid_of_phone(&c->arena, arg_item(c, "mentions", i)));
    text->mentions = list;
    text->mention_count = n;
}

static err_t run_send(struct call *c, struct account *a, struct turn *t)
{
    struct wa_text text = {.text = arg_text(c, "text")};
    struct call_chat in = {0};

    TRY(find_person(c, turn_view(t), account_status_of(a), &in, &text.to));
    TRY(add_quote(c, turn_view(t), &in, &text));
    add_mentions(c, &text);
    return account_send_text(a, t, &c->ask, &text);
}

/* ---- the answer ---- */

/* The answer is about WhatsApp's ack, whenever it is given: what receipts have told since then
 * would make a repeated call answer something else. */
static err_t write_sent(struct call *c, struct view *v, const struct call_chat *in,
                        const struct db_message *m)
{
    struct pen p = pen_on(&c->result);
    struct db_message acked = *m;

    if (m->status > MESSAGE_SENT && m->status < MESSAGE_FAILED) acked.status = MESSAGE_SENT;
    return call_write_message(c, &p, NULL, v, in, &acked);
}

/* Pending means that there was no ack, even when the other phone has told already that it got it.
 */
static err_t on_sent(struct call *c, struct account *a, struct turn *t)
{
    struct call_chat in;
    struct db_message m;

    TRY(call_message(c, turn_view(t), slice_text(c->ask.message), &in, &m));
    if (c->ask.sent == ACCOUNT_SENT_PENDING) m.status = MESSAGE_PENDING;
    return write_sent(c, turn_view(t), &in, &m);
}

static struct slice sent_id(struct call *c) { return slice_text(c->ask.message); }

/* The account broke before the ack came. */
static err_t read_standing(struct call *c, struct view *v)
{
    struct call_chat in;
    struct db_message m;

    if (call_message(c, v, slice_text(c->ask.message), &in, &m) != OK) return OK;
    c->error = OK;
    m.status = MESSAGE_PENDING;
    buf_reset(&c->result); /* of the turn that failed */
    return write_sent(c, v, &in, &m);
}

/* What is durable goes out all the same: who was told of a failure would send it again. */
static void explain(struct call *c)
{
    struct slice to = arg_text(c, "to");

    if (c->ask.sent == ACCOUNT_SENT_PENDING && *c->ask.message) call_read(c, read_standing);
    if (c->error == ERR_NOT_ON_WHATSAPP && !slice_is_none(to))
        snprintf(c->words, sizeof(c->words), SLICE_FMT ": %s", SLICE_ARG(to), err_text(c->error));
}

static const struct act send = {
    .run = run_send,
    .failed = explain,
    .ended = on_sent,
    .effect = sent_id,
    .keeps_reply = true,
};

/* The error of a message that WhatsApp refused, by the number it gave. */
static err_t refused(const struct db_message *m)
{
    switch (m->error) {
    case 463: return fail(NEEDS_TOKEN, "%s", err_text(ERR_NEEDS_TOKEN));
    case 475: return fail(NEW_CHATS_CAPPED, "%s", err_text(ERR_NEW_CHATS_CAPPED));
    case 421: return fail(STALE_ADDRESSING, "%s", err_text(ERR_STALE_ADDRESSING));
    case 479: return fail(INVALID_STANZA, "%s", err_text(ERR_INVALID_STANZA));
    default: return fail(SEND_REFUSED, "WhatsApp refused the message (%u)", m->error);
    }
}

/* An earlier call with this idempotency key stored the message and did not live to answer. */
static err_t read_effect(struct call *c, struct view *v)
{
    struct call_chat in;
    struct db_message m;

    TRY(call_message(c, v, c->effect, &in, &m));
    return m.status == MESSAGE_FAILED ? refused(&m) : write_sent(c, v, &in, &m);
}

/* ---- the call ---- */

static err_t find_account(struct call *c, struct view *v)
{
    bool has_chat = arg_given(c, "chat_id"), has_to = arg_given(c, "to");
    struct account_status s;
    struct wa_party to = {0};
    struct call_chat in = {0};

    if (has_chat == has_to)
        return fail(BAD_ARGUMENT, "give either chat_id or to (a phone number), and not both");
    if (has_to) TRY(call_account_arg(c, &s));
    TRY(find_person(c, v, &s, &in, &to));
    c->state = arena_text(&c->arena, slice_text(in.account.id));
    return OK;
}

enum step_result tool_send_message(struct call *c)
{
    enum step_result r;

    if (!slice_is_none(c->effect)) return call_read(c, read_effect);
    r = call_read(c, find_account);
    return r == STEP_DONE ? call_act(c, slice_text(c->state), &send) : r;
}
