#include "proto/client/tokens.h"

#include "proto/base/reader.h"
#include "proto/client/iq.h"
#include "proto/client/mapping.h"

enum { ROW_VERSION = 1 };

err_t wa_thread_load(struct wa_client *c, const struct wa_party *who, struct wa_thread *out)
{
    struct slice row;

    *out = (struct wa_thread){0};
    TRY(wa_load(c, WA_NS_TOKEN, wa_party_name(c, who), SLICE(""), &row));
    if (slice_is_none(row)) return OK;

    struct reader r = reader_of(row);
    uint8_t version = reader_u8(&r);
    out->family = reader_u8(&r);
    out->token_at_s = (int64_t)reader_be64(&r);
    out->issued_at_s = (int64_t)reader_be64(&r);
    out->token = reader_block(&r);
    if (reader_end(&r) != OK || version != ROW_VERSION || out->family >= WA_SERVER_COUNT)
        return fail(STORE_DAMAGED, "thread row of %zu bytes", row.len);
    return OK;
}

static void save(struct wa_client *c, const struct wa_party *who, const struct wa_thread *t)
{
    AUTO(buf) row = {0};

    buf_put_u8(&row, ROW_VERSION);
    buf_put_u8(&row, (uint8_t)t->family);
    buf_put_be64(&row, (uint64_t)t->token_at_s);
    buf_put_be64(&row, (uint64_t)t->issued_at_s);
    buf_put_block(&row, t->token);
    wa_save(c, WA_NS_TOKEN, wa_party_name(c, who), SLICE(""), buf_slice(&row));
}

err_t wa_thread_seen(struct wa_client *c, const struct wa_party *chat, enum wa_server family)
{
    struct wa_thread t;

    if (family != WA_SERVER_USER && family != WA_SERVER_LID) return OK;
    TRY(wa_thread_load(c, chat, &t));
    if (t.family == family) return OK;
    t.family = family;
    save(c, chat, &t);
    return OK;
}

/* Of the token, and of what we gave, the newer stays: a token that is lost is a 463. */
err_t wa_thread_move(struct wa_client *c, const struct wa_jid *pn, const struct wa_jid *lid)
{
    struct wa_party from = {.pn = *pn}, to = {.lid = *lid};
    struct wa_thread old, t;

    TRY(wa_thread_load(c, &from, &old));
    if (!old.family && !old.token_at_s && !old.issued_at_s) return OK;
    TRY(wa_thread_load(c, &to, &t));
    if (!t.family) t.family = old.family;
    if (old.issued_at_s > t.issued_at_s) t.issued_at_s = old.issued_at_s;
    if (old.token_at_s > t.token_at_s) {
        t.token = old.token;
        t.token_at_s = old.token_at_s;
    }
    save(c, &to, &t);
    wa_save(c, WA_NS_TOKEN, wa_party_name(c, &from), SLICE(""), SLICE_NONE);
    return OK;
}

void wa_token_attach(struct wa_client *c, const struct wa_thread *thread, struct wa_node *message)
{
    int64_t age = wa_server_now(c) / WA_TOKEN_BUCKET_S - thread->token_at_s / WA_TOKEN_BUCKET_S;

    if (thread->token.len == 0 || age >= WA_TOKEN_BUCKETS) return;
    wa_node_set_bytes(wa_node_add(message, c->arena, "tctoken"), thread->token);
}

/* ---- ours ---- */

/* Text of the person, so that a refusal can take the note back. */
struct issue {
    char name[WA_JID_TEXT_MAX];
};

static err_t on_issued(struct wa_client *c, void *op, const struct wa_node *iq, err_t e)
{
    struct issue *issue = op;
    struct wa_jid who;
    struct wa_party party;
    struct wa_thread t;
    err_t done = OK;

    /* Refused: the next message tries again. A link that went away does not matter: the note was
     * committed with the query, and the next bucket comes. */
    if (e == ERR_QUERY_REFUSED || e == ERR_QUERY_TIMEOUT) {
        done = wa_jid_parse(slice_text(issue->name), &who);
        if (done == OK) done = wa_party_of(c, &who, &party);
        if (done == OK) done = wa_thread_load(c, &party, &t);
        if (done == OK) {
            t.issued_at_s = 0;
            save(c, &party, &t);
        }
    }
    return wa_is_fatal(done) ? done : OK;
}

static err_t issue_now(struct wa_client *c, const struct wa_party *who,
                       const struct wa_jid *address, struct wa_thread *t)
{
    struct wa_node *iq = wa_iq_new(c, "set", "privacy");
    struct wa_node *token = wa_node_add(wa_node_add(iq, c->arena, "tokens"), c->arena, "token");
    struct issue *issue = xcalloc(sizeof(*issue));
    struct wa_jid bare = wa_jid_bare(address);

    wa_node_set_jid(token, c->arena, "jid", bare);
    wa_node_set_int(token, c->arena, "t", wa_server_now(c));
    wa_node_set_text(token, c->arena, "type", "trusted_contact");
    wa_jid_text(&bare, issue->name);

    TRY(wa_iq_ask_with(c, iq, on_issued, issue));
    t->issued_at_s = wa_server_now(c);
    save(c, who, t);
    return OK;
}

err_t wa_token_issue(struct wa_client *c, const struct wa_party *who, const struct wa_jid *address)
{
    struct wa_thread t;

    TRY(wa_thread_load(c, who, &t));
    if (t.issued_at_s / WA_TOKEN_BUCKET_S >= wa_server_now(c) / WA_TOKEN_BUCKET_S) return OK;
    return issue_now(c, who, address, &t);
}

err_t wa_token_reissue(struct wa_client *c, const struct wa_party *who,
                       const struct wa_jid *address)
{
    struct wa_thread t;

    TRY(wa_thread_load(c, who, &t));
    return t.issued_at_s ? issue_now(c, who, address, &t) : OK;
}

/* ---- theirs ---- */

err_t wa_token_received(struct wa_client *c, const struct wa_node *notification)
{
    const struct wa_node *tokens = wa_node_child(notification, "tokens"), *token;
    struct wa_jid from = wa_node_jid(notification, "from"),
                  lid = wa_node_jid(notification, "sender_lid");
    struct wa_party who;
    struct wa_thread t;

    ENSURE(tokens && wa_jid_is_person(&from) && from.user.len <= WA_USER_MAX, BAD_STANZA);
    TRY(wa_mapping_learn(c, &from, &lid));
    TRY(wa_party_of(c, &from, &who));
    TRY(wa_thread_load(c, &who, &t));

    bool news = false;
    for (size_t i = 0; (token = wa_node_next(tokens, "token", &i));) {
        int64_t at;
        if (!slice_is(wa_node_text(token, "type"), "trusted_contact")) continue;
        if (token->content != WA_CONTENT_BYTES || token->bytes.len > WA_TOKEN_MAX) continue;
        if (!wa_time_read(wa_node_text(token, "t"), &at) || at < t.token_at_s) continue;
        t.token = token->bytes;
        t.token_at_s = at;
        news = true;
    }
    if (news) save(c, &who, &t);
    return OK;
}
