/* Accounts: what the directory knows, and the verbs of server/account/account.h. */
#include "proto/base/text.h"
#include "server/api/qr.h"
#include "server/api/tool.h"
#include "server/api/tools_all.h"
#include "server/directory.h"

enum { QR_PIXELS_PER_MODULE = 6 };

/* ---- pairing ---- */

static bool is_paired(const struct account_status *s)
{
    return s->state == ACCOUNT_CONNECTED || s->state == ACCOUNT_DISCONNECTED;
}

static err_t add_picture(struct call *c, struct slice code)
{
    AUTO(buf) png = {0}, text = {0};

    TRY(qr_png(code, QR_PIXELS_PER_MODULE, &png));
    text_base64(buf_slice(&png), &text);
    c->image.base64 = arena_dup(&c->arena, buf_slice(&text));
    c->image.media_type = "image/png";
    return OK;
}

static err_t write_pairing(struct call *c, const struct account_status *s)
{
    struct pen p = pen_on(&c->result);
    bool has_code = s->state == ACCOUNT_PAIRING && *s->code;

    pen_object(&p, NULL);
    pen_word(&p, "account_id", s->id);
    pen_word(&p, "status", account_state_text(s->state));
    pen_text(&p, "code", has_code ? slice_text(s->code) : SLICE_NONE);
    pen_text(&p, "url", has_code ? call_pairing_url(c, s->pairing) : SLICE_NONE);
    pen_time(&p, "expires_at", has_code ? s->code_expires_at : 0);
    pen_int(&p, "codes_left", has_code ? s->codes_left : 0);
    pen_end(&p);
    return has_code ? add_picture(c, slice_text(s->code)) : OK;
}

static err_t run_pair(struct call *c, struct account *a, struct turn *t)
{
    return account_pair(a, t, &c->ask);
}

static void on_pairing(struct call *c)
{
    struct account_status s;
    err_t e = call_account(c, slice_text(c->ask.account), &s);

    if (e == OK) e = write_pairing(c, &s);
    if (e == OK)
        call_finish(c);
    else
        call_fail(c, e);
}

/* The reply names a code that changes: a repeated call is answered from the account. */
static const struct act pair = {.run = run_pair, .answered = on_pairing};

enum step_result tool_pair_account(struct call *c)
{
    struct slice id = slice_is_none(c->effect) ? arg_text(c, "account_id") : c->effect;
    struct account_status s;
    err_t e;

    if (slice_is_none(id)) return call_act_on_new(c, &pair);
    e = call_account(c, id, &s);
    if (e != OK) return call_step(c, e);
    if (is_paired(&s) || (s.state == ACCOUNT_PAIRING && *s.code))
        return call_step(c, write_pairing(c, &s));
    return call_act(c, id, &pair);
}

/* ---- reading ---- */

static struct slice from_text(const char *text) { return *text ? slice_text(text) : SLICE_NONE; }

static int64_t last_seen(struct call *c, const struct account_status *s)
{
    if (s->state == ACCOUNT_CONNECTED) return call_now(c);
    return s->paired_at ? s->changed_at : 0;
}

static void write_account(struct call *c, struct pen *p, const struct account_status *s)
{
    pen_object(p, NULL);
    pen_word(p, "id", s->id);
    pen_word(p, "status", account_state_text(s->state));
    if (s->reason == WA_REASON_NONE)
        pen_null(p, "reason");
    else
        pen_word(p, "reason", wa_reason_text(s->reason));
    pen_text(p, "phone", from_text(s->phone));
    pen_text(p, "lid", from_text(s->lid));
    pen_text(p, "display_name", from_text(s->name));
    pen_bool(p, "sandbox", s->sandbox);
    pen_time(p, "paired_at", s->paired_at);
    pen_time(p, "last_seen_at", last_seen(c, s));
    pen_end(p);
}

/* A cursor is the last account's world and id. */
static err_t read_cursor(struct call *c, bool *sandbox, struct slice *after)
{
    struct slice cursor = arg_text(c, "cursor");
    struct buf raw = {0};
    err_t e = OK;

    if (slice_is_none(cursor)) return OK;
    if (text_unbase64(cursor, &raw) != OK || raw.len < 2 ||
        (raw.data[0] != 'L' && raw.data[0] != 'T'))
        e = fail(BAD_ARGUMENT, "cursor must be the next_cursor of a previous list_accounts");
    if (e == OK) {
        *sandbox = raw.data[0] == 'T';
        *after = arena_dup(&c->arena, slice_from(buf_slice(&raw), 1));
    }
    buf_done(&raw);
    return e;
}

static void write_cursor(struct pen *p, const struct account_status *last)
{
    AUTO(buf) raw = {0}, text = {0};

    buf_put_u8(&raw, last->sandbox ? 'T' : 'L');
    buf_put_text(&raw, last->id);
    text_base64url(buf_slice(&raw), &text);
    pen_text(p, "next_cursor", buf_slice(&text));
}

/* Of the world behind the cursor, and for who sees both the other one behind it. */
static size_t list_page(struct call *c, bool sandbox, struct slice after,
                        struct account_status *out, size_t max)
{
    struct directory *d = c->server->directory;
    size_t n = directory_list(d, c->who.tenant, sandbox, after, out, max);

    if (c->who.all_worlds && !sandbox && n < max)
        n += directory_list(d, c->who.tenant, true, SLICE(""), out + n, max - n);
    return n;
}

enum step_result tool_list_accounts(struct call *c)
{
    size_t limit = (size_t)arg_int_or(c, "limit", 100), n;
    struct account_status *page = arena_array(&c->arena, struct account_status, limit + 1);
    bool sandbox = c->who.world == WORLD_TEST && !c->who.all_worlds;
    struct slice after = SLICE("");
    struct pen p = pen_on(&c->result);
    err_t e = read_cursor(c, &sandbox, &after);

    if (e != OK) return call_step(c, e);
    if (!c->who.all_worlds) sandbox = c->who.world == WORLD_TEST;
    n = list_page(c, sandbox, after, page, limit + 1);
    pen_object(&p, NULL);
    pen_array(&p, "accounts");
    for (size_t i = 0; i < n && i < limit; i++)
        write_account(c, &p, &page[i]);
    pen_end(&p);
    if (n > limit)
        write_cursor(&p, &page[limit - 1]);
    else
        pen_null(&p, "next_cursor");
    pen_end(&p);
    return STEP_DONE;
}

enum step_result tool_get_account(struct call *c)
{
    struct account_status s;
    struct pen p = pen_on(&c->result);
    err_t e = call_account(c, arg_text(c, "account_id"), &s);

    if (e == OK) write_account(c, &p, &s);
    return call_step(c, e);
}

enum step_result tool_get_account_status(struct call *c)
{
    struct account_status s;
    err_t e = call_account(c, arg_text(c, "account_id"), &s);

    if (e == OK) call_write_status(c, &s);
    return call_step(c, e);
}

/* ---- verbs that do not wait ---- */

static err_t run_reconnect(struct call *c, struct account *a, struct turn *t)
{
    TRY(account_reconnect(a, t));
    call_write_status(c, account_status_of(a));
    return OK;
}

static err_t run_logout(struct call *c, struct account *a, struct turn *t)
{
    TRY(account_logout(a, t));
    call_write_status(c, account_status_of(a));
    return OK;
}

static err_t run_delete(struct call *c, struct account *a, struct turn *t)
{
    struct pen p = pen_on(&c->result);

    TRY(account_delete(a, t));
    pen_object(&p, NULL);
    pen_text(&p, "account_id", account_id(a));
    pen_bool(&p, "deleted", true);
    pen_end(&p);
    return OK;
}

static const struct act reconnect = {.run = run_reconnect, .keeps_reply = true};
static const struct act logout = {.run = run_logout, .keeps_reply = true};
static const struct act delete = {.run = run_delete, .keeps_reply = true};

static enum step_result act_on_account(struct call *c, const struct act *act)
{
    struct account_status s;
    struct slice id = arg_text(c, "account_id");
    err_t e = call_account(c, id, &s);

    return e == OK ? call_act(c, id, act) : call_step(c, e);
}

enum step_result tool_reconnect_account(struct call *c) { return act_on_account(c, &reconnect); }
enum step_result tool_logout_account(struct call *c) { return act_on_account(c, &logout); }
enum step_result tool_delete_account(struct call *c) { return act_on_account(c, &delete); }
