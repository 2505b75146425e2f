/* Chats: the inbox from the database, and what changes a chat on its account's worker. */
#include "proto/crypto/crypto.h"
#include "server/api/tool.h"
#include "server/api/tools_all.h"

/* ---- list_chats ---- */

static const struct {
    const char *name;
    struct chat_filter filter;
} filters[] = {
    {"", {.archived = CHAT_WITHOUT}},
    {"unread", {.unread = CHAT_ONLY, .archived = CHAT_WITHOUT}},
    {"archived", {.archived = CHAT_ONLY}},
    {"pinned", {.pinned = CHAT_ONLY}},
    {"all", {0}},
};

static const struct chat_filter *find_filter(struct slice name)
{
    for (size_t i = 0; i < ARRAY_LEN(filters); i++)
        if (slice_is(name, filters[i].name)) return &filters[i].filter;
    return &filters[0].filter;
}

enum { CHAT_CURSOR = 'c', CHAT_CURSOR_NUMBERS = 4 };

static err_t read_cursor(struct call *c, uint32_t account, struct chat_cursor *out)
{
    uint64_t n[CHAT_CURSOR_NUMBERS];
    struct slice text = arg_text(c, "cursor");

    if (slice_is_none(text)) return OK;
    TRY(cursor_read(text, CHAT_CURSOR, n, CHAT_CURSOR_NUMBERS));
    if (n[0] != account) return fail(BAD_ARGUMENT, "cursor belongs to another account");
    *out = (struct chat_cursor){
        .set = true, .pinned = n[1] != 0, .activity_sec = (uint32_t)n[2], .peer = (uint32_t)n[3]};
    return OK;
}

static void write_cursor(struct pen *p, uint32_t account, const struct chat_cursor *next)
{
    uint64_t n[CHAT_CURSOR_NUMBERS] = {account, next->pinned, next->activity_sec, next->peer};

    if (next->set)
        cursor_write(p, "next_cursor", CHAT_CURSOR, n, CHAT_CURSOR_NUMBERS);
    else
        pen_null(p, "next_cursor");
}

static struct chat_cursor behind(const struct db_chat *chat)
{
    return (struct chat_cursor){.set = true,
                                .pinned = chat->pinned_ms != 0,
                                .activity_sec = chat->activity_sec,
                                .peer = chat->peer};
}

static err_t read_chats(struct call *c, struct view *v)
{
    size_t limit = (size_t)arg_int_or(c, "limit", 100), n = 0;
    struct chat_entry *page = arena_array(&c->arena, struct chat_entry, limit);
    struct chat_cursor after = {0}, next = {0};
    struct pen p = pen_on(&c->result);
    struct account_status account;
    struct call_chat in;

    TRY(call_account_arg(c, &account));
    call_scope(&account, &in);
    TRY(read_cursor(c, in.scope.account, &after));
    TRY(db_chat_page(v, in.scope, find_filter(arg_text(c, "filter")), after, limit, page, &n,
                     &next));
    pen_object(&p, NULL);
    pen_array(&p, "chats");
    for (size_t i = 0; i < n; i++) {
        if (c->result.len >= CALL_PAGE_BYTES) {
            next = behind(&page[i - 1].chat);
            break;
        }
        in.chat = page[i].chat;
        in.contact = page[i].contact;
        TRY(call_write_chat(c, &p, NULL, v, &in));
    }
    pen_end(&p);
    write_cursor(&p, in.scope.account, &next);
    pen_end(&p);
    return OK;
}

enum step_result tool_list_chats(struct call *c) { return call_read(c, read_chats); }

/* ---- get_chat ---- */

static err_t read_chat(struct call *c, struct view *v)
{
    struct pen p = pen_on(&c->result);
    struct call_chat in;

    TRY(call_chat(c, v, arg_text(c, "chat_id"), &in));
    return call_write_chat(c, &p, NULL, v, &in);
}

enum step_result tool_get_chat(struct call *c) { return call_read(c, read_chat); }

/* ---- open_chat ---- */

static uint64_t new_secret(void)
{
    uint64_t secret;

    crypto_random(&secret, sizeof(secret));
    return secret ? secret : 1;
}

/* The conversation's row, made when there is none. */
static err_t open_row(struct turn *t, struct scope scope, uint32_t peer, struct db_chat *out)
{
    TRY(db_chat_find(turn_view(t), scope, peer, out));
    if (out->next_seq && !out->deleted) return OK;
    out->peer = peer;
    if (!out->next_seq) out->next_seq = 1;
    out->deleted = false;
    out->activity_sec = (uint32_t)(turn_now(t) / 1000);
    return db_chat_put_listed(turn_batch(t), turn_view(t), scope, out);
}

static err_t run_open(struct call *c, struct account *a, struct turn *t)
{
    struct slice phone = arg_text(c, "phone");
    struct slice jid =
        arena_printf(&c->arena, SLICE_FMT "@s.whatsapp.net", SLICE_ARG(slice_from(phone, 1)));
    const struct account_status *s = account_status_of(a);
    struct pen p = pen_on(&c->result);
    struct contact_ref who;
    struct call_chat in;

    if (s->state != ACCOUNT_CONNECTED && s->state != ACCOUNT_DISCONNECTED)
        return fail(NOT_PAIRED, "the account is %s; pair it with pair_account",
                    account_state_text(s->state));
    call_scope(s, &in);
    TRY(db_contact_open(turn_batch(t), turn_view(t), in.scope, CONTACT_PERSON, jid, new_secret(),
                        turn_now(t), &who));
    TRY(db_contact_get(turn_view(t), in.scope, who.peer, &in.contact));
    TRY(open_row(t, in.scope, who.peer, &in.chat));
    return call_write_chat(c, &p, NULL, turn_view(t), &in);
}

static const struct act open_chat = {.run = run_open, .keeps_reply = true};

enum step_result tool_open_chat(struct call *c)
{
    struct account_status s;
    err_t e = call_account_arg(c, &s);

    return e == OK ? call_act(c, slice_text(s.id), &open_chat) : call_step(c, e);
}

/* ---- mark_chat_read ---- */

static err_t run_mark_read(struct call *c, struct account *a, struct turn *t)
{
    struct slice chat = arg_text(c, "chat_id");
    struct pen p = pen_on(&c->result);

    TRY(account_mark_read(a, t, chat));
    pen_object(&p, NULL);
    pen_text(&p, "chat_id", chat);
    pen_int(&p, "unread_count", 0);
    pen_end(&p);
    return OK;
}

static const struct act mark_read = {.run = run_mark_read, .keeps_reply = true};

/* Whose chat it is; the account's worker looks again. */
static err_t find_account(struct call *c, struct view *v)
{
    struct call_chat in;

    TRY(call_chat(c, v, arg_text(c, "chat_id"), &in));
    c->state = arena_text(&c->arena, slice_text(in.account.id));
    return OK;
}

enum step_result tool_mark_chat_read(struct call *c)
{
    enum step_result r = call_read(c, find_account);

    return r == STEP_DONE ? call_act(c, slice_text(c->state), &mark_read) : r;
}
