/* search_messages: all words of a query, newest first, over tail and posting blocks. */
#include "server/account/terms.h"
#include "server/api/tool.h"
#include "server/api/tools_all.h"
#include "storage/search.h"

enum { SEARCH_CURSOR = 's', SEARCH_CURSOR_NUMBERS = 4 };

static err_t read_search_cursor(struct call *c, uint32_t account, struct search_cursor *out)
{
    uint64_t n[SEARCH_CURSOR_NUMBERS];
    struct slice text = arg_text(c, "cursor");

    if (slice_is_none(text)) return OK;
    TRY(cursor_read(text, SEARCH_CURSOR, n, SEARCH_CURSOR_NUMBERS));
    if (n[0] != account) return fail(BAD_ARGUMENT, "cursor belongs to another search");
    *out = (struct search_cursor){
        .set = true, .sec = (uint32_t)n[1], .peer = (uint32_t)n[2], .seq = (uint32_t)n[3]};
    return OK;
}

static void write_search_cursor(struct pen *p, uint32_t account, const struct search_cursor *next)
{
    uint64_t n[SEARCH_CURSOR_NUMBERS] = {account, next->sec, next->peer, next->seq};

    if (next->set)
        cursor_write(p, "next_cursor", SEARCH_CURSOR, n, SEARCH_CURSOR_NUMBERS);
    else
        pen_null(p, "next_cursor");
}

static uint32_t seconds(int64_t ms) { return ms > 0 ? (uint32_t)(ms / 1000) : 0; }

/* Account, chat and bounds; the words are folded as they were when the messages came. */
static err_t read_query(struct call *c, struct view *v, struct call_chat *in,
                        struct search_query *q)
{
    struct account_status account;

    if (arg_given(c, "chat_id")) {
        TRY(call_chat(c, v, arg_text(c, "chat_id"), in));
        if (arg_given(c, "account_id") && !slice_is(arg_text(c, "account_id"), in->account.id))
            return fail(BAD_ARGUMENT, "chat_id is a chat of another account than account_id");
        q->peer = in->contact.peer;
    } else {
        TRY(call_account_arg(c, &account));
        call_scope(&account, in);
    }
    terms_of(arg_text(c, "query"), &c->arena, &q->terms);
    if (q->terms.count == 0) return fail(BAD_ARGUMENT, "query must hold at least one word");
    if (q->terms.count > SEARCH_TERMS_MAX)
        return fail(BAD_ARGUMENT, "query must hold at most %d words", SEARCH_TERMS_MAX);
    q->last_is_prefix = true;
    q->before_sec = seconds(arg_time(c, "before"));
    q->after_sec = seconds(arg_time(c, "after"));
    return OK;
}

/* An edited message is found by its old words too: those are left out. */
static bool still_matches(struct call *c, const struct search_query *q, const struct db_message *m)
{
    struct terms have;

    if (!m->edited) return true;
    terms_of(m->text, &c->arena, &have);
    for (size_t i = 0; i < q->terms.count; i++) {
        bool found = false;
        for (size_t k = 0; k < have.count && !found; k++)
            found = q->last_is_prefix && i + 1 == q->terms.count
                        ? slice_starts_with(have.items[k], q->terms.items[i])
                        : slice_eq(have.items[k], q->terms.items[i]);
        if (!found) return false;
    }
    return true;
}

static struct search_cursor behind(struct place p)
{
    return (struct search_cursor){.set = true, .sec = p.sec, .peer = p.peer, .seq = p.seq};
}

static err_t read_search(struct call *c, struct view *v)
{
    size_t limit = (size_t)arg_int_or(c, "limit", 100), n = 0;
    struct db_message *found = arena_array(&c->arena, struct db_message, limit);
    struct search_cursor after = {0}, next = {0};
    struct pen p = pen_on(&c->result);
    struct search_query q = {0};
    struct call_chat in;
    err_t e;

    TRY(read_query(c, v, &in, &q));
    TRY(read_search_cursor(c, in.scope.account, &after));
    e = db_search(v, in.scope, &q, after, limit, found, &n, &next);
    if (e == ERR_BAD_ARGUMENT && q.last_is_prefix) { /* the beginning of too many words */
        q.last_is_prefix = false;
        e = db_search(v, in.scope, &q, after, limit, found, &n, &next);
    }
    TRY(e);
    pen_object(&p, NULL);
    pen_array(&p, "messages");
    for (size_t i = 0; i < n; i++) {
        if (c->result.len >= CALL_PAGE_BYTES) {
            next = behind(found[i - 1].place);
            break;
        }
        if (!still_matches(c, &q, &found[i])) continue;
        TRY(db_contact_resolve(v, in.scope, found[i].place.peer, 0, &in.contact));
        TRY(call_write_message(c, &p, NULL, v, &in, &found[i]));
    }
    pen_end(&p);
    write_search_cursor(&p, in.scope.account, &next);
    pen_end(&p);
    return OK;
}

enum step_result tool_search_messages(struct call *c) { return call_read(c, read_search); }
