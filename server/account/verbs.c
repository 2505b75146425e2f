/* What a call may do with an account, in the turn it was given. */
#include <stdio.h>

#include "proto/base/text.h"
#include "server/account/inside.h"
#include "server/upkeep.h"
#include "storage/chats.h"
#include "storage/jobs.h"

static void name_pairing(struct account *a)
{
    uint8_t random[16];
    AUTO(buf) text = {0};

    crypto_random(random, sizeof random);
    text_base64url(SLICE_ARRAY(random), &text);
    snprintf(a->status.pairing, sizeof a->status.pairing, "%s", buf_text(&text));
}

static err_t start_pairing(struct account *a, struct turn *t)
{
    name_pairing(a);
    a->pair_refused = false;
    a->status.code[0] = '\0';
    a->status.reason = WA_REASON_NONE;
    a->status.reason_code = 0;
    a->text.reason[0] = '\0';
    if (a->status.state != ACCOUNT_PAIRING) a->status.changed_at = t->now;
    a->status.state = ACCOUNT_PAIRING;
    account_changed(a);
    return wa_client_pair(a->client, t->now);
}

err_t account_pair(struct account *a, struct turn *t, struct account_call *c)
{
    enum wa_client_state state = wa_client_state_of(a->client);

    if (state == WA_CLIENT_OFFLINE || state == WA_CLIENT_ONLINE)
        return fail(ALREADY_PAIRED, "the account is paired as %s; log it out first",
                    a->status.phone);
    if ((state != WA_CLIENT_PAIRING || a->pair_refused) && !a->forgetting) TRY(start_pairing(a, t));
    if (a->status.code[0]) return OK;
    return account_keep_call(a, t, c, CALL_PAIR, ACCOUNT_PAIR_MS);
}

err_t account_pair_waiting(struct account *a, struct turn *t)
{
    LIST_EACH(node, &a->calls)
    if (LIST_ENTRY(node, struct account_call, link)->kind == CALL_PAIR) return start_pairing(a, t);
    return OK;
}

err_t account_send_text(struct account *a, struct turn *t, struct account_call *c,
                        const struct wa_text *text)
{
    struct wa_text own = *text;

    if (wa_client_state_of(a->client) != WA_CLIENT_ONLINE)
        return fail(NOT_PAIRED, "the account is %s", account_state_text(a->status.state));
    own.operation = c->operation;
    own.id = wa_client_message_id(a->client, t->now, &t->arena);
    TRY(account_keep_call(a, t, c, CALL_SEND, ACCOUNT_SEND_MS));
    err_t e = wa_client_send_text(a->client, &own, t->now);
    if (e != OK && c->owner) account_drop_call(a, c);
    return e;
}

/* Unread messages of one author, gathered from the newest on. */
struct unread {
    struct slice author;
    struct slice *ids;
    size_t count;
};

static err_t gather_unread(struct account *a, struct turn *t, const struct db_contact *contact,
                           const struct db_chat *chat, struct unread *authors, size_t *out_authors)
{
    struct db_message m;
    uint32_t left = chat->unread_count < ACCOUNT_READ_MAX ? chat->unread_count : ACCOUNT_READ_MAX;
    size_t n = 0, looked = 0;
    AUTO(message_walk) walk = {0};

    message_walk_init(&walk, turn_view(t), a->scope, contact, (struct place){0}, RANGE_BACKWARDS);
    while (left && looked++ < ACCOUNT_READ_LOOK_MAX && message_walk_next(&walk, &m)) {
        size_t at = 0;
        if (m.from_me || (m.place.peer == chat->peer && m.place.seq <= chat->read_seq)) continue;
        if (!ingest_is_news(m.type)) continue;
        left--;
        /* A receipt would end its delivery before anybody has read a word. */
        if (m.status == MESSAGE_WAITING) continue;
        while (at < n && !slice_eq(authors[at].author, m.author))
            at++;
        if (at == ACCOUNT_READ_AUTHORS_MAX) break;
        if (at == n)
            authors[n++] = (struct unread){
                .author = m.author, .ids = arena_array(&t->arena, struct slice, ACCOUNT_READ_MAX)};
        authors[at].ids[authors[at].count++] = m.stanza_id;
    }
    *out_authors = n;
    return message_walk_error(&walk);
}

static err_t party_of(const struct db_contact *c, struct wa_party *out)
{
    *out = (struct wa_party){0};
    if (c->lid.len) TRY(wa_jid_parse(c->lid, &out->lid));
    if (c->pn.len) TRY(wa_jid_parse(c->pn, &out->pn));
    if (!c->lid.len && !c->pn.len) TRY(wa_jid_parse(c->address, &out->pn));
    return OK;
}

static err_t send_read(struct account *a, struct turn *t, const struct db_contact *contact,
                       const struct unread *u)
{
    struct wa_read read = {
        .is_group = contact->kind == CONTACT_GROUP, .ids = u->ids, .id_count = u->count};
    struct contact_ref ref;
    struct db_contact author;

    TRY(party_of(contact, &read.chat));
    TRY(db_contact_of(turn_view(t), a->scope, u->author, &ref));
    if (!ref.peer) return OK;
    TRY(db_contact_get(turn_view(t), a->scope, ref.peer, &author));
    TRY(party_of(&author, &read.author));
    return wa_client_mark_read(a->client, &read, t->now);
}

err_t account_mark_read(struct account *a, struct turn *t, struct slice chat_id)
{
    struct unread authors[ACCOUNT_READ_AUTHORS_MAX];
    struct db_contact contact;
    struct db_chat chat;
    uint32_t account, peer;
    uint64_t secret;
    size_t n;

    if (!id_chat_parse(ID_CHAT, chat_id, &account, &peer, &secret) || account != a->scope.account)
        return fail(NOT_FOUND, "there is no such chat");
    TRY(db_contact_resolve(turn_view(t), a->scope, peer, secret, &contact));
    TRY(db_chat_find(turn_view(t), a->scope, contact.peer, &chat));
    if (!chat.next_seq) return fail(NOT_FOUND, "there is no such chat");
    if (!chat.unread_count && !chat.marked_unread) return OK;
    TRY(gather_unread(a, t, &contact, &chat, authors, &n));
    for (size_t i = 0; i < n; i++)
        TRY(send_read(a, t, &contact, &authors[i]));
    chat.unread_count = 0;
    chat.marked_unread = false;
    chat.read_seq = chat.next_seq - 1;
    return db_chat_put_listed(&t->batch, turn_view(t), a->scope, &chat);
}

static bool has_credentials(const struct account *a)
{
    enum wa_client_state state = wa_client_state_of(a->client);

    return state == WA_CLIENT_OFFLINE || state == WA_CLIENT_ONLINE;
}

err_t account_reconnect(struct account *a, struct turn *t)
{
    if (!has_credentials(a))
        return fail(NOT_PAIRED, "the account is %s", account_state_text(a->status.state));
    return wa_client_reconnect(a->client, t->now);
}

err_t account_logout(struct account *a, struct turn *t)
{
    if (!has_credentials(a) && wa_client_state_of(a->client) != WA_CLIENT_PAIRING)
        return fail(NOT_PAIRED, "the account is %s", account_state_text(a->status.state));
    return wa_client_logout(a->client, t->now);
}

err_t account_delete(struct account *a, struct turn *t)
{
    struct scope tenant = {a->scope.tenant, 0};
    AUTO(buf) input = {0};
    /* The account's number, because this turn does not see the jobs that other accounts add now. */
    struct db_job job = {.number = a->scope.account,
                         .kind = JOB_PURGE_ACCOUNT,
                         .created_ms = t->now,
                         .due_ms = t->now + JOB_PURGE_AFTER_MS};

    if (has_credentials(a))
        TRY(wa_client_logout(a->client, t->now));
    else
        TRY(wa_client_stop(a->client, t->now)); /* a pairing ends in silence */
    buf_put_be32(&input, a->scope.account);
    job.input = buf_slice(&input);
    db_job_put(&t->batch, tenant, &job);
    a->deleted_ms = t->now;
    if (a->status.state != ACCOUNT_LOGGED_OUT) a->status.changed_at = t->now;
    a->status.state = ACCOUNT_LOGGED_OUT;
    account_changed(a);
    a->deleted = t->removes = true;
    return OK;
}
