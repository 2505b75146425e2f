/* What a client tells becomes records and log rows of the same batch. One function per kind of
 * event, in a table at the end. A message is known by (chat, author, id): told twice, it is stored
 * once. */
#include <stdio.h>
#include <string.h>

#include "proto/base/text.h"
#include "server/account/host.h"
#include "server/account/inside.h"
#include "server/account/people.h"
#include "server/account/terms.h"
#include "server/api/faces.h"
#include "server/log.h"
#include "storage/chats.h"
#include "storage/seen.h"
#include "storage/tail.h"

/* ---- events about messages ---- */

static struct event_about about(const struct account *a, const struct turn *t, int64_t occurred_at)
{
    return (struct event_about){
        .account = account_id(a), .occurred_at = occurred_at, .received_at = t->now};
}

static err_t log_message(struct account *a, struct turn *t, enum event_kind kind,
                         const struct db_contact *chat, const struct db_message *m)
{
    struct face_person self = people_self(a);
    struct event_about head = about(a, t, m->occurred_ms);
    struct face_message face;
    AUTO(buf) json = {0};

    TRY(face_message_read(&t->arena, turn_view(t), a->scope, account_id(a), &self, chat, m, &face));
    if (kind == EVENT_MESSAGE_RECEIVED)
        event_message_received(&json, &head, &face);
    else
        event_message_sent(&json, &head, &face);
    turn_event(t, kind, chat->peer, buf_slice(&json));
    return OK;
}

err_t ingest_message_sent(struct account *a, struct turn *t, const struct db_message *m)
{
    struct db_contact chat;

    TRY(db_contact_get(turn_view(t), a->scope, m->place.peer, &chat));
    if (chat.alias_of) TRY(db_contact_get(turn_view(t), a->scope, chat.alias_of, &chat));
    return log_message(a, t, EVENT_MESSAGE_SENT, &chat, m);
}

/* ---- messages ---- */

/* Seconds that fit the key; the server's clock is believed, garbage is not. */
static uint32_t key_seconds(int64_t time_s)
{
    return time_s < 0 ? 0 : time_s > UINT32_MAX ? UINT32_MAX : (uint32_t)time_s;
}

bool ingest_is_news(unsigned kind)
{
    switch (kind) {
    case WA_KIND_REACTION:
    case WA_KIND_EDIT:
    case WA_KIND_REVOKE:
    case WA_KIND_POLL_VOTE:
    case WA_KIND_PIN:
    case WA_KIND_PROTOCOL: return false;
    default: return true;
    }
}

static uint8_t first_status(const struct wa_message *w)
{
    if (w->waiting) return MESSAGE_WAITING;
    if (!w->from_me) return MESSAGE_RECEIVED;
    return w->operation ? MESSAGE_PENDING : MESSAGE_SENT;
}

/* What is read out of the content: for a new message, and for one that was waited for. */
static void fill_content(struct turn *t, const struct wa_message *w, struct db_message *m)
{
    AUTO(buf) mentions = {0};

    m->type = (uint8_t)w->kind;
    m->status = first_status(w);
    m->view_once = w->kind == WA_KIND_VIEW_ONCE;
    m->text = text_is_utf8(w->text) ? text_cut(w->text, MESSAGE_TEXT_MAX) : SLICE_NONE;
    m->raw = w->raw;
    m->quoted_id = w->quoted_id.len <= STANZA_ID_MAX ? w->quoted_id : SLICE_NONE;
    m->quoted_author = people_text(t, &w->quoted_author);
    for (size_t i = 0; i < w->mention_count; i++)
        face_mentions_add(&mentions, people_text(t, &w->mentions[i]));
    m->mentions = mentions.len ? arena_dup(&t->arena, buf_slice(&mentions)) : SLICE_NONE;
}

static err_t make_searchable(struct account *a, struct turn *t, const struct db_message *m)
{
    struct terms terms;

    terms_of(m->text, &t->arena, &terms);
    TRY(db_tail_add(&t->batch, turn_view(t), a->scope, m->place, &terms));
    if (a->tail_counted) {
        a->tail_rows++;
        return OK;
    }
    a->tail_counted = true;
    return db_tail_count(turn_view(t), a->scope, &a->tail_rows);
}

static err_t put_in_chat(struct account *a, struct turn *t, const struct wa_message *w,
                         const struct db_contact *who, struct db_message *m)
{
    struct db_chat chat;

    TRY(db_chat_find(turn_view(t), a->scope, who->peer, &chat));
    if (!chat.next_seq) chat = (struct db_chat){.peer = who->peer, .next_seq = 1};
    m->place = (struct place){.peer = who->peer, .sec = key_seconds(w->time_s)};
    m->place.seq = chat.next_seq++;
    crypto_random(&m->place.secret, sizeof m->place.secret);
    if (ingest_is_news(w->kind)) {
        if (m->place.sec >= chat.activity_sec) {
            chat.activity_sec = m->place.sec;
            chat.last = m->place;
        }
        chat.unread_count += !w->from_me;
        chat.deleted = false;
    }
    db_chat_put(&t->batch, a->scope, &chat);
    return OK;
}

static void count(const struct wa_message *w)
{
    if (w->waiting)
        metric_add(METRIC_messages_waiting, 1);
    else if (!w->from_me)
        metric_add(METRIC_messages_in, 1);
}

/* Ours go out as an event when the server has them, a waiting one when it can be read. */
static err_t tell(struct account *a, struct turn *t, const struct wa_message *w,
                  const struct db_contact *chat, const struct db_message *m)
{
    if (w->waiting || w->operation || w->kind == WA_KIND_PROTOCOL) return OK;
    return log_message(a, t, w->from_me ? EVENT_MESSAGE_SENT : EVENT_MESSAGE_RECEIVED, chat, m);
}

static void note_own(struct account *a, struct turn *t, const struct wa_message *w,
                     const struct db_contact *chat, const struct db_message *m)
{
    struct account_call *c = w->operation ? account_call_of(a, w->operation) : NULL;

    t->own.id = arena_dup(&t->arena, w->id);
    t->own.place = m->place;
    t->own.operation = w->operation;
    if (!c) return;
    _Static_assert(sizeof c->message >= ID_TEXT_MAX, "an id fits");
    id_message_text(ID_MESSAGE, a->scope.account, m->place, c->message);
    people_chat_id(a, chat, c->chat);
    if (c->stored) c->stored(c, a, t);
}

static err_t add_message(struct account *a, struct turn *t, const struct wa_message *w,
                         const struct db_contact *chat, const struct db_contact *author)
{
    struct slice by = w->from_me ? SLICE_NONE : people_address(author);
    struct db_message m = {.stanza_id = w->id,
                           .author = by,
                           .author_peer = w->from_me ? 0 : author->peer,
                           .from_me = w->from_me,
                           .occurred_ms = w->time_s * 1000,
                           .received_ms = t->now};

    fill_content(t, w, &m);
    TRY(put_in_chat(a, t, w, chat, &m));
    db_message_put(&t->batch, a->scope, &m);
    TRY(db_seen_put(&t->batch, turn_view(t), a->scope, chat->peer, by, w->id, m.place));
    t->unseen_count = 0;
    TRY(make_searchable(a, t, &m));
    count(w);
    if (w->from_me) note_own(a, t, w, chat, &m);
    return tell(a, t, w, chat, &m);
}

/* It was counted while nobody knew what it was. */
static err_t count_out(struct account *a, struct turn *t, const struct db_contact *who,
                       const struct db_message *m)
{
    struct db_chat chat;

    TRY(db_chat_find(turn_view(t), a->scope, who->peer, &chat));
    bool was_read = m->place.peer == chat.peer && m->place.seq <= chat.read_seq;
    if (m->from_me || was_read || !chat.unread_count) return OK;
    chat.unread_count--;
    return db_chat_put_listed(&t->batch, turn_view(t), a->scope, &chat);
}

/* The row keeps its place and id; its content comes now. */
static err_t complete_message(struct account *a, struct turn *t, const struct wa_message *w,
                              const struct db_contact *chat, struct place place)
{
    struct db_message m;

    TRY(db_message_get(turn_view(t), a->scope, place, &m));
    if (m.status != MESSAGE_WAITING || w->waiting) return OK;
    bool was_news = ingest_is_news(m.type);
    fill_content(t, w, &m);
    m.received_ms = t->now;
    db_message_put(&t->batch, a->scope, &m);
    if (was_news && !ingest_is_news(m.type)) TRY(count_out(a, t, chat, &m));
    TRY(make_searchable(a, t, &m));
    count(w);
    return tell(a, t, w, chat, &m);
}

/* Under the same addresses, so that who was looked up is both. */
static bool writes_in_own_chat(const struct wa_message *w)
{
    return wa_jid_same_user(&w->author.pn, &w->chat.pn) &&
           wa_jid_same_user(&w->author.lid, &w->chat.lid);
}

static err_t on_message(struct account *a, struct turn *t, const struct wa_event *event)
{
    const struct wa_message *w = &event->message;
    struct db_contact chat, author = {0};
    struct place place;

    if (!w->id.len || w->id.len > STANZA_ID_MAX) { /* nobody's client makes such ids */
        LOG(WARN, account_subject(a), "a message with an id of %zu bytes is left out", w->id.len);
        return OK;
    }
    TRY(people_open(a, t, &w->chat, &chat));
    if (!w->from_me) {
        author = chat;
        if (!writes_in_own_chat(w)) TRY(people_open(a, t, &w->author, &author));
        people_name(a, t, &author, w->push_name);
        if (author.peer == chat.peer) chat = author;
    }
    struct slice by = w->from_me ? SLICE_NONE : people_address(&author);
    TRY(host_find_message(a, t, &chat, by, w->id, &place));
    if (!place_is_none(place)) return complete_message(a, t, w, &chat, place);
    return add_message(a, t, w, &chat, &author);
}

/* ---- receipts ---- */

static uint8_t status_of(enum wa_receipt_kind kind)
{
    static const uint8_t statuses[] = {[WA_RECEIPT_DELIVERED] = MESSAGE_DELIVERED,
                                       [WA_RECEIPT_READ] = MESSAGE_READ,
                                       [WA_RECEIPT_PLAYED] = MESSAGE_PLAYED};
    return statuses[kind];
}

/* Only upwards: receipts may overtake each other, and the ack. */
static bool rises(const struct db_message *m, uint8_t to)
{
    return m->from_me && m->status != MESSAGE_FAILED && m->status >= MESSAGE_PENDING &&
           to > m->status;
}

static err_t raise_message(struct account *a, struct turn *t, const struct wa_receipt *r,
                           const struct db_contact *chat, struct slice id, struct slice *out_id)
{
    struct db_message m;
    struct place place;
    char text[ID_TEXT_MAX];

    *out_id = SLICE_NONE;
    TRY(host_find_message(a, t, chat, SLICE_NONE, id, &place));
    if (place_is_none(place)) return OK;
    TRY(db_message_get(turn_view(t), a->scope, place, &m));
    if (!rises(&m, status_of(r->kind))) return OK;
    m.status = status_of(r->kind);
    if (r->kind == WA_RECEIPT_READ) m.read_ms = r->time_s * 1000;
    if (r->kind == WA_RECEIPT_PLAYED) m.played_ms = r->time_s * 1000;
    db_message_put(&t->batch, a->scope, &m);
    id_message_text(ID_MESSAGE, a->scope.account, place, text);
    *out_id = arena_dup(&t->arena, slice_text(text));
    return OK;
}

static void log_part(struct account *a, struct turn *t, const struct wa_receipt *r,
                     const struct db_contact *chat, const struct face_person *reader,
                     const struct slice *ids, size_t n)
{
    struct event_about head = about(a, t, r->time_s ? r->time_s * 1000 : t->now);
    char chat_id[ID_TEXT_MAX];
    struct event_read read = {
        .chat = slice_text(people_chat_id(a, chat, chat_id)),
        .messages = ids,
        .message_count = n,
        .reader = *reader,
        .by_us = r->by_us,
        .kind = r->kind == WA_RECEIPT_PLAYED ? "played" : "read",
    };
    AUTO(buf) json = {0};

    event_message_read(&json, &head, &read);
    turn_event(t, EVENT_MESSAGE_READ, chat->peer, buf_slice(&json));
}

/* A receipt may name more messages than one event holds. */
static void log_read(struct account *a, struct turn *t, const struct wa_receipt *r,
                     const struct db_contact *chat, const struct face_person *reader,
                     const struct slice *ids, size_t n)
{
    for (; n > ACCOUNT_EVENT_IDS_MAX; ids += ACCOUNT_EVENT_IDS_MAX, n -= ACCOUNT_EVENT_IDS_MAX)
        log_part(a, t, r, chat, reader, ids, ACCOUNT_EVENT_IDS_MAX);
    log_part(a, t, r, chat, reader, ids, n);
}

static err_t read_by_others(struct account *a, struct turn *t, const struct wa_receipt *r,
                            const struct db_contact *chat)
{
    struct slice *ids = arena_array(&t->arena, struct slice, r->id_count + 1);
    struct face_person reader = {0};
    struct db_contact who;
    size_t n = 0;

    for (size_t i = 0; i < r->id_count; i++) {
        TRY(raise_message(a, t, r, chat, r->ids[i], &ids[n]));
        n += !slice_is_none(ids[n]);
    }
    if (!n || r->kind == WA_RECEIPT_DELIVERED) return OK;
    TRY(people_find(a, t, &r->who, &who));
    if (who.peer) face_person_of(&t->arena, &who, &reader);
    log_read(a, t, r, chat, &reader, ids, n);
    return OK;
}

/* Messages of others behind `read_seq`: what is still unread when another device of ours read up
 * to there. */
static err_t count_unread(struct account *a, struct turn *t, const struct db_contact *contact,
                          const struct db_chat *chat, uint32_t *out)
{
    enum { LOOK_AT_MOST = 1000 };
    struct db_message m;
    uint32_t unread = 0;
    AUTO(message_walk) walk = {0};

    message_walk_init(&walk, turn_view(t), a->scope, contact, (struct place){0}, RANGE_BACKWARDS);
    for (int i = 0; i < LOOK_AT_MOST && message_walk_next(&walk, &m); i++) {
        if (m.place.peer == chat->peer && m.place.seq <= chat->read_seq) break;
        unread += !m.from_me && ingest_is_news(m.type);
    }
    *out = unread < chat->unread_count ? unread : chat->unread_count;
    return message_walk_error(&walk);
}

static err_t read_by_us(struct account *a, struct turn *t, const struct wa_receipt *r,
                        const struct db_contact *contact)
{
    struct slice *ids = arena_array(&t->arena, struct slice, r->id_count + 1);
    struct face_person self = people_self(a);
    struct db_chat chat;
    struct place place;
    char text[ID_TEXT_MAX];
    size_t n = 0;

    TRY(db_chat_find(turn_view(t), a->scope, contact->peer, &chat));
    if (!chat.next_seq) return OK;
    uint32_t before = chat.read_seq, unread = chat.unread_count;
    for (size_t i = 0; i < r->id_count; i++) {
        TRY(host_find_message(a, t, contact, people_address(contact), r->ids[i], &place));
        if (place_is_none(place)) continue;
        if (place.peer == chat.peer && place.seq > chat.read_seq) chat.read_seq = place.seq;
        id_message_text(ID_MESSAGE, a->scope.account, place, text);
        ids[n++] = arena_dup(&t->arena, slice_text(text));
    }
    if (!n) chat.read_seq = chat.next_seq - 1; /* a group: its authors are not named here */
    TRY(count_unread(a, t, contact, &chat, &chat.unread_count));
    if (chat.read_seq == before && chat.unread_count == unread) return OK;
    chat.marked_unread = false;
    TRY(db_chat_put_listed(&t->batch, turn_view(t), a->scope, &chat));
    log_read(a, t, r, contact, &self, ids, n);
    return OK;
}

static err_t on_receipt(struct account *a, struct turn *t, const struct wa_event *event)
{
    const struct wa_receipt *r = &event->receipt;
    struct db_contact chat;

    TRY(people_find(a, t, &r->chat, &chat));
    if (!chat.peer) return OK;
    if (r->by_us) return r->kind == WA_RECEIPT_DELIVERED ? OK : read_by_us(a, t, r, &chat);
    return read_by_others(a, t, r, &chat);
}

/* ---- people ---- */

static err_t on_mapping(struct account *a, struct turn *t, const struct wa_event *event)
{
    struct db_contact who;

    return people_open(a, t, &event->mapping, &who);
}

static err_t on_contact(struct account *a, struct turn *t, const struct wa_event *event)
{
    struct db_contact who;

    TRY(people_open(a, t, &event->contact.who, &who));
    people_name(a, t, &who, event->contact.push_name);
    return OK;
}

static err_t on_identity(struct account *a, struct turn *t, const struct wa_event *event)
{
    LOG(INFO, account_subject(a), "a contact's identity key changed");
    return OK;
}

/* ---- the account itself ---- */

static void set_state(struct account *a, struct turn *t, enum account_state state)
{
    if (a->status.state != state) a->status.changed_at = t->now;
    a->status.state = state;
    account_changed(a);
}

static void forget_pairing(struct account *a)
{
    a->status.code[0] = a->status.pairing[0] = '\0';
    a->status.code_expires_at = 0;
    a->status.codes_left = 0;
}

static void set_reason(struct account *a, enum wa_reason reason, int code, int64_t until_s,
                       int64_t retry_at)
{
    a->status.reason = reason;
    a->status.reason_code = code;
    a->status.until_s = until_s;
    a->status.retry_at = retry_at;
    snprintf(a->text.reason, sizeof a->text.reason, "%s",
             reason == WA_REASON_NONE ? "" : wa_reason_text(reason));
}

static void keep_address(struct turn *t, const struct wa_jid *jid, char out[ACCOUNT_ADDRESS_MAX])
{
    struct slice text = people_text(t, jid);

    if (text.len) snprintf(out, ACCOUNT_ADDRESS_MAX, SLICE_FMT, SLICE_ARG(text));
}

static void keep_self(struct account *a, struct turn *t, const struct wa_jid *pn,
                      const struct wa_jid *lid)
{
    keep_address(t, pn, a->text.pn);
    keep_address(t, lid, a->text.lid);
    snprintf(a->status.phone, sizeof a->status.phone, "%s%.*s", a->text.pn[0] ? "+" : "",
             (int)strcspn(a->text.pn, "@"), a->text.pn);
    snprintf(a->status.lid, sizeof a->status.lid, "%s", a->text.lid);
}

/* Calls that wait for a code, or for the end of the pairing. */
static void end_pair_calls(struct account *a, struct turn *t, err_t e)
{
    LIST_EACH(node, &a->calls)
    {
        struct account_call *c = LIST_ENTRY(node, struct account_call, link);
        if (c->kind == CALL_PAIR) account_end_call(a, t, c, e);
    }
}

void ingest_held_off(struct account *a, const struct wa_down *down)
{
    set_reason(a, down->reason, down->code, down->until_s, down->retry_at);
}

static err_t on_qr(struct account *a, struct turn *t, const struct wa_event *event)
{
    if (event->qr.code.len >= ACCOUNT_CODE_MAX)
        return fail(TOO_LARGE, "a pairing code of %zu bytes", event->qr.code.len);
    snprintf(a->status.code, sizeof a->status.code, SLICE_FMT, SLICE_ARG(event->qr.code));
    a->status.code_expires_at = event->qr.expires_at;
    a->status.codes_left = event->qr.left;
    account_status_changed(a);
    end_pair_calls(a, t, OK);
    return OK;
}

static err_t on_paired(struct account *a, struct turn *t, const struct wa_event *event)
{
    struct event_about head = about(a, t, t->now);
    struct slice name = text_cut(event->paired.business_name, ACCOUNT_NAME_MAX - 1);
    struct slice platform = text_cut(event->paired.platform, sizeof a->text.platform - 1);
    AUTO(buf) json = {0};

    keep_self(a, t, &event->paired.pn, &event->paired.lid);
    snprintf(a->text.platform, sizeof a->text.platform, SLICE_FMT, SLICE_ARG(platform));
    if (name.len) {
        snprintf(a->text.push_name, sizeof a->text.push_name, SLICE_FMT, SLICE_ARG(name));
        snprintf(a->status.name, sizeof a->status.name, SLICE_FMT, SLICE_ARG(name));
    }
    a->status.paired_at = t->now;
    forget_pairing(a);
    set_reason(a, WA_REASON_NONE, 0, 0, 0);
    set_state(a, t, ACCOUNT_DISCONNECTED); /* until the login that follows at once */
    event_account_paired(&json, &head, slice_text(a->status.phone), slice_text(a->text.lid),
                         slice_text(a->status.name));
    turn_event(t, EVENT_ACCOUNT_PAIRED, 0, buf_slice(&json));
    end_pair_calls(a, t, OK);
    LOG(INFO, account_subject(a), "paired");
    return OK;
}

static err_t on_pair_failed(struct account *a, struct turn *t, const struct wa_event *event)
{
    forget_pairing(a);
    set_reason(a, event->down.reason, event->down.code, 0, 0);
    set_state(a, t, ACCOUNT_EXPIRED);
    end_pair_calls(a, t, fail(QUERY_TIMEOUT, "the pairing ended: %s", a->text.reason));
    return OK;
}

static err_t on_connected(struct account *a, struct turn *t, const struct wa_event *event)
{
    struct event_about head = about(a, t, t->now);
    AUTO(buf) json = {0};

    keep_self(a, t, &event->connected.pn, &event->connected.lid);
    set_reason(a, WA_REASON_NONE, 0, 0, 0);
    account_keep_refusal(a, SLICE_NONE);
    a->connected_ms = t->now;
    set_state(a, t, ACCOUNT_CONNECTED);
    event_account_connected(&json, &head, slice_text(a->status.phone));
    turn_event(t, EVENT_ACCOUNT_CONNECTED, 0, buf_slice(&json));
    accounts_connected(a);
    a->resend_due = true;
    a->resend_begun = false;
    LOG(INFO, account_subject(a), "connected");
    return OK;
}

static struct event_down down_of(const struct account *a)
{
    return (struct event_down){.reason = wa_reason_text(a->status.reason),
                               .code = a->status.reason_code,
                               .until_s = a->status.until_s,
                               .retry_at = a->status.retry_at};
}

/* Another try cannot bring a code before the calls that wait for one give up. The sandbox's key is
 * asked for again, where that is how we know it. */
static void end_hopeless_pairing(struct account *a, struct turn *t, const struct wa_down *down)
{
    bool asks_again = a->status.sandbox && a->home->accounts->rootkey;

    if (down->reason == WA_REASON_CERTIFICATE) {
        if (!asks_again) account_refuse_pairing(a, t, ERR_NOT_TRUSTED, "its Noise certificate");
    } else if (!down->retry_at || down->retry_at > t->now + ACCOUNT_PAIR_MS) {
        account_refuse_pairing(a, t, ERR_PAIRING_REFUSED, a->text.reason);
    }
}

static err_t on_disconnected(struct account *a, struct turn *t, const struct wa_event *event)
{
    struct event_about head = about(a, t, t->now);
    struct event_down down;
    AUTO(buf) json = {0};

    set_reason(a, event->down.reason, event->down.code, event->down.until_s, event->down.retry_at);
    if (event->down.refusal.len) account_keep_refusal(a, event->down.refusal);
    LOG(INFO, account_subject(a), "disconnected reason=%s code=%d%s%s", a->text.reason,
        event->down.code, a->link_why ? ": " : "", a->link_why ? a->link_why : "");
    if (event->down.reason == WA_REASON_CERTIFICATE && a->status.sandbox)
        accounts_doubt_root_key(a->home->accounts);
    if (a->status.state == ACCOUNT_PAIRING) { /* its link may come and go */
        end_hopeless_pairing(a, t, &event->down);
        account_status_changed(a);
        return OK;
    }
    a->disconnected_ms = t->now;
    set_state(a, t, ACCOUNT_DISCONNECTED);
    down = down_of(a);
    event_account_disconnected(&json, &head, &down);
    turn_event(t, EVENT_ACCOUNT_DISCONNECTED, 0, buf_slice(&json));
    return OK;
}

static err_t on_unpaired(struct account *a, struct turn *t, const struct wa_event *event)
{
    struct event_about head = about(a, t, t->now);
    struct event_down down;
    AUTO(buf) json = {0};

    forget_pairing(a);
    set_reason(a, event->down.reason, event->down.code, event->down.until_s, 0);
    a->disconnected_ms = t->now;
    set_state(a, t, ACCOUNT_LOGGED_OUT);
    down = down_of(a);
    event_account_unpaired(&json, &head, &down);
    turn_event(t, EVENT_ACCOUNT_UNPAIRED, 0, buf_slice(&json));
    LOG(INFO, account_subject(a), "unpaired reason=%s", a->text.reason);
    account_keep_refusal(a, event->down.refusal);
    /* A session of this pairing would speak for the next one, with an identity that is gone: no
     * pairing begins before settle.c has deleted them all. */
    a->forgetting = true;
    return outbox_fail_all(a, t);
}

static err_t on_send_failed(struct account *a, struct turn *t, const struct wa_event *event)
{
    struct account_call *c = account_call_of(a, event->send_failed.operation);

    if (c) account_end_call(a, t, c, event->send_failed.error);
    return OK;
}

static err_t on_offline_done(struct account *a, struct turn *t, const struct wa_event *event)
{
    LOG(DEBUG, account_subject(a), "the backlog has been delivered");
    return OK;
}

static err_t on_client_expires(struct account *a, struct turn *t, const struct wa_event *event)
{
    char day[TEXT_TIME_MAX];

    LOG(WARN, account_subject(a),
        "this version of WhatsApp Web stops working at %s; see --wa-version",
        text_time(event->client_expires_s * 1000, day));
    return OK;
}

typedef err_t ingest_fn(struct account *a, struct turn *t, const struct wa_event *event);
static ingest_fn *const rows[] = {
    [WA_EVENT_QR] = on_qr,
    [WA_EVENT_PAIRED] = on_paired,
    [WA_EVENT_PAIR_FAILED] = on_pair_failed,
    [WA_EVENT_CONNECTED] = on_connected,
    [WA_EVENT_DISCONNECTED] = on_disconnected,
    [WA_EVENT_UNPAIRED] = on_unpaired,
    [WA_EVENT_MESSAGE] = on_message,
    [WA_EVENT_RECEIPT] = on_receipt,
    [WA_EVENT_OUTBOX] = outbox_add,
    [WA_EVENT_OUTBOX_DONE] = outbox_finish,
    [WA_EVENT_SEND_FAILED] = on_send_failed,
    [WA_EVENT_MAPPING] = on_mapping,
    [WA_EVENT_IDENTITY] = on_identity,
    [WA_EVENT_CONTACT] = on_contact,
    [WA_EVENT_OFFLINE_DONE] = on_offline_done,
    [WA_EVENT_CLIENT_EXPIRES] = on_client_expires,
};

err_t ingest_event(struct account *a, struct turn *t, const struct wa_event *event)
{
    return rows[event->kind](a, t, event);
}
