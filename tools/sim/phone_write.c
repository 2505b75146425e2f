/* What the owner of a phone does with it: writes, reads, types, removes a companion. */
#include "tools/sim/phone.h"

#include <stdio.h>
#include <stdlib.h>

#include "tools/sim/content.h"

/* A number, "+number", or any JID. */
static err_t parse_chat(struct slice text, struct wa_jid *out)
{
    if (text.len > 0 && text.data[0] == '+') text = slice_from(text, 1);
    if (slice_find(text, '@') < text.len) return wa_jid_parse(text, out);
    ENSURE(text.len > 0 && text.len < SIM_NUMBER_MAX, BAD_ARGUMENT);
    *out = wa_jid_of(WA_SERVER_USER, text, 0);
    return OK;
}

static struct slice quoted_author(struct sim_phone *p, struct slice id)
{
    struct sim_letter *letter = sim_phone_letter(p, id);

    return letter ? buf_slice(&letter->sender) : SLICE_NONE;
}

static struct slice own_address(struct sim_phone *p, struct arena *arena)
{
    struct wa_jid own = sim_account_jid(p->account, false);

    return wa_jid_slice(&own, arena);
}

err_t sim_phone_write(struct sim_phone *p, const struct sim_writing *w, char out_id[SIM_ID_MAX])
{
    AUTO(arena) arena = {0};
    struct sim_letter *quoted = sim_phone_letter(p, w->quote);
    struct sim_letter mine = {.kind = "text", .from_me = true, .at = sim_seconds(p->phones->relay)};
    struct sim_letter *kept;
    struct sim_operation *op;
    struct slice message = w->message;
    struct wa_jid to;

    ENSURE(w->text.len <= SIM_TEXT_MAX && w->message.len <= SIM_TEXT_MAX, TOO_LARGE);
    TRY(parse_chat(w->to, &to));
    if (w->quote.len > 0 && !quoted) return fail(NOT_FOUND, "no message to quote");
    if (message.len == 0)
        message = sim_content_text(&arena, w->text, w->quote, quoted_author(p, w->quote),
                                   quoted ? buf_slice(&quoted->text) : SLICE_NONE);
    else
        mine.kind = "other";
    sim_phone_new_id(out_id);
    snprintf(mine.id, sizeof mine.id, "%s", out_id);
    snprintf(mine.from, sizeof mine.from, "%s", p->account->number);
    kept = sim_phone_keep(p, &mine, wa_jid_is_person(&to) ? to.user : w->to, w->text);
    buf_put(&kept->quoted, w->quote);
    buf_put(&kept->sender, own_address(p, &arena));
    sim_phone_keep_sent(p, out_id, wa_jid_slice(&to, &arena), message);
    op = sim_operation_new(p, SIM_SEND, to, out_id, message);
    op->type = arena_dup(&op->arena, w->type);
    op->mediatype = arena_dup(&op->arena, w->mediatype);
    op->edit = arena_dup(&op->arena, w->edit);
    sim_operations_go(p);
    sim_changed(p->phones->relay);
    return OK;
}

void sim_phone_send_peer(struct sim_phone *p, struct wa_jid companion, struct slice message)
{
    char id[SIM_ID_MAX];

    sim_phone_new_id(id);
    sim_operation_new(p, SIM_PEER, companion, id, message);
    sim_operations_go(p);
}

err_t sim_phone_typing(struct sim_phone *p, struct slice to, bool composing)
{
    AUTO(arena) arena = {0};
    struct wa_node *n = wa_node_new(&arena, "chatstate");
    struct wa_jid jid;

    TRY(parse_chat(to, &jid));
    wa_node_set_jid(n, &arena, "to", jid);
    wa_node_add(n, &arena, composing ? "composing" : "paused");
    sim_phone_send_node(p, n);
    return OK;
}

err_t sim_phone_read(struct sim_phone *p, struct slice id)
{
    AUTO(arena) arena = {0};
    struct sim_letter *letter = sim_phone_letter(p, id);
    struct wa_node *n = wa_node_new(&arena, "receipt");
    struct wa_jid sender, chat;

    if (!letter || letter->from_me) return fail(NOT_FOUND, "no message with this id");
    TRY(wa_jid_parse(buf_slice(&letter->sender), &sender));
    TRY(parse_chat(buf_slice(&letter->chat), &chat));
    wa_node_set(n, &arena, "type", SLICE("read"));
    wa_node_set(n, &arena, "id", id);
    wa_node_set_int(n, &arena, "t", sim_seconds(p->phones->relay));
    wa_node_set_jid(n, &arena, "to", wa_jid_is_group(&chat) ? chat : wa_jid_bare(&sender));
    if (wa_jid_is_group(&chat)) wa_node_set_jid(n, &arena, "participant", sender);
    sim_phone_send_node(p, n);
    letter->read = true;
    return OK;
}

err_t sim_phone_unlink(struct sim_phone *p, uint16_t device)
{
    AUTO(arena) arena = {0};
    char id[16];
    struct wa_node *iq = sim_phone_iq(p, &arena, "set", "md", id), *remove;
    struct wa_jid jid = sim_account_jid(p->account, false);

    if (device == 0 || !sim_device_find(p->account, device))
        return fail(NOT_FOUND, "no companion %u", device);
    jid.device = device;
    remove = wa_node_add(iq, &arena, "remove-companion-device");
    wa_node_set_jid(remove, &arena, "jid", jid);
    wa_node_set(remove, &arena, "reason", SLICE("user_initiated"));
    sim_phone_send_node(p, iq);
    return OK;
}

void sim_phone_give_token(struct sim_phone *p, struct wa_jid to)
{
    enum { BUCKET_S = 604800 };
    AUTO(arena) arena = {0};
    char id[16];
    int64_t now = sim_seconds(p->phones->relay), *given = map_find(&p->tokens, to.user);
    struct wa_node *iq, *token;

    if (slice_is(to.user, p->account->number) || slice_is(to.user, p->account->lid)) return;
    if (given && *given == now / BUCKET_S) return;
    if (!given) {
        given = xcalloc(sizeof *given);
        map_put(&p->tokens, to.user, given);
    }
    *given = now / BUCKET_S;
    iq = sim_phone_iq(p, &arena, "set", "privacy", id);
    token = wa_node_add(wa_node_add(iq, &arena, "tokens"), &arena, "token");
    wa_node_set_jid(token, &arena, "jid", wa_jid_bare(&to));
    wa_node_set_int(token, &arena, "t", now);
    wa_node_set(token, &arena, "type", SLICE("trusted_contact"));
    sim_phone_send_node(p, iq);
}
