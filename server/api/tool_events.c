/* Events as tools: subscriptions of the key, the log in pages, and waiting for what comes next. */
#include <stdio.h>

#include "server/api/tool.h"
#include "server/api/tools_all.h"
#include "server/events/hub.h"
#include "server/log.h"
#include "server/release.h"
#include "server/tenant/subscriptions.h"
#include "storage/events.h"
#include "storage/writer.h"

/* ---- what the arguments select ---- */

struct selection {
    struct slice names, account, chat;
    struct event_filter filter;
};

/* Checks that the caller sees what is named. */
static err_t read_selection(struct call *c, struct view *v, struct selection *out)
{
    struct account_status account;
    struct event_filter f = {0};
    struct call_chat *chat;
    AUTO(buf) names = {0};

    for (size_t i = 0; i < arg_count(c, "events"); i++) {
        if (i) buf_put_u8(&names, ',');
        buf_put(&names, arg_item(c, "events", i));
    }
    out->names = names.len ? arena_dup(&c->arena, buf_slice(&names)) : SLICE("*");
    out->account = arg_text(c, "account_id");
    out->chat = arg_text(c, "chat_id");
    TRY(event_filter_add_names(&f, out->names));
    if (!slice_is_none(out->account)) TRY(call_account(c, out->account, &account));
    if (!slice_is_none(out->chat)) {
        chat = arena_new(&c->arena, struct call_chat);
        TRY(call_chat(c, v, out->chat, chat));
        if (!slice_is_none(out->account) && !slice_is(out->account, chat->account.id))
            return fail(BAD_ARGUMENT, "chat_id is a chat of another account than account_id");
    }
    if (subscription_filter(v, c->who.tenant, f.kinds, out->account, out->chat, &out->filter))
        return OK;
    return fail(BAD_ARGUMENT, "account_id or chat_id is malformed");
}

/* ---- subscriptions ---- */

/* A change on its way to the disk. */
struct change {
    struct batch batch;
    struct post post;
    struct call *call;
    struct subscription_place place; /* of one that comes */
};

static void on_change_home(struct post *p, struct worker *w)
{
    struct change *ch = CONTAINER_OF(p, struct change, post);
    struct call *c = ch->call;
    err_t e = ch->batch.result;

    if (e != OK) e = err_fail(e, __FILE__, __LINE__, "the subscription could not be stored");
    if (e == OK) release_check(0, ch->batch.turn, c->tool->name, "a subscription");
    batch_done(&ch->batch);
    subscription_leave_place(&ch->place);
    c->travelling = false;
    if (e == OK) e = subscriptions_refresh(c->server, c->who.tenant, slice_text(c->who.key));
    if (e == OK)
        call_finish(c);
    else
        call_fail(c, e);
}

static void on_change_stored(struct batch *b)
{
    struct change *ch = b->context;

    ch->post.run = on_change_home;
    worker_post(ch->call->home, &ch->post);
}

static struct change *open_change(struct call *c)
{
    struct change *ch = arena_new(&c->arena, struct change);

    ch->call = c;
    batch_init(&ch->batch);
    list_init(&ch->place.link);
    c->state = ch;
    return ch;
}

static enum step_result post_change(struct call *c, enum step_result r)
{
    struct change *ch = c->state;

    if (r != STEP_DONE) {
        if (ch) batch_done(&ch->batch);
        return r;
    }
    ch->batch.done = on_change_stored;
    ch->batch.context = ch;
    c->travelling = true;
    writer_post(c->server->writer, &ch->batch);
    return STEP_WAIT;
}

static void write_subscription(struct pen *p, const struct subscription *s)
{
    struct slice left = s->events, name;
    char cursor[24];

    snprintf(cursor, sizeof(cursor), "%llu", (unsigned long long)s->cursor);
    pen_object(p, NULL);
    pen_word(p, "id", s->id);
    pen_array(p, "events");
    while (slice_split(&left, ',', &name))
        pen_text(p, NULL, name);
    pen_end(p);
    pen_text(p, "account_id", s->account);
    pen_text(p, "chat_id", s->chat);
    pen_time(p, "created_at", s->created_ms);
    pen_word(p, "cursor", cursor);
    pen_end(p);
}

/* Which of this key's rows has the id. */
static err_t find_subscription(struct call *c, struct view *v, const char *id,
                               struct subscription *out, bool *out_found)
{
    AUTO(range) r = {0};
    struct subscription s;

    *out_found = false;
    db_subscriptions(&r, v, c->who.tenant, slice_text(c->who.key));
    while (subscription_next(&r, &c->arena, &s)) {
        if (strcmp(s.id, id) != 0) continue;
        *out = s;
        *out_found = true;
    }
    return range_error(&r);
}

static err_t add_subscription(struct call *c, struct view *v)
{
    struct selection sel = {0};
    struct subscription s = {.created_ms = call_now(c)}, old;
    struct pen p = pen_on(&c->result);
    struct change *ch;
    struct db_log log;
    bool found;

    TRY(read_selection(c, v, &sel));
    s.events = sel.names;
    s.account = sel.account;
    s.chat = sel.chat;
    TRY(subscription_name(&s, &c->who));
    TRY(db_log_find(v, c->who.tenant, &log));
    s.cursor = log.next_seq - 1;
    TRY(find_subscription(c, v, s.id, &old, &found));
    ch = open_change(c);
    TRY(subscription_take_place(c->server, &c->who, s.id, &ch->place));
    write_subscription(&p, found ? &old : &s);
    subscription_put(&ch->batch, &c->who, &c->arena, found ? &old : &s);
    return OK;
}

enum step_result tool_subscribe_events(struct call *c)
{
    return post_change(c, call_read(c, add_subscription));
}

static err_t remove_subscription(struct call *c, struct view *v)
{
    struct slice id = arg_text(c, "subscription_id");
    struct pen p = pen_on(&c->result);
    struct subscription s;
    bool found;

    TRY(find_subscription(c, v, arena_text(&c->arena, id), &s, &found));
    if (!found) return fail(NOT_FOUND, "there is no subscription " SLICE_FMT, SLICE_ARG(id));
    db_subscription_delete(&open_change(c)->batch, c->who.tenant, slice_text(c->who.key), id);
    pen_object(&p, NULL);
    pen_text(&p, "subscription_id", id);
    pen_end(&p);
    return OK;
}

enum step_result tool_unsubscribe_events(struct call *c)
{
    return post_change(c, call_read(c, remove_subscription));
}

static err_t read_subscriptions(struct call *c, struct view *v)
{
    AUTO(range) r = {0};
    struct pen p = pen_on(&c->result);
    struct subscription s;

    pen_object(&p, NULL);
    pen_array(&p, "subscriptions");
    db_subscriptions(&r, v, c->who.tenant, slice_text(c->who.key));
    while (subscription_next(&r, &c->arena, &s))
        write_subscription(&p, &s);
    pen_end(&p);
    pen_end(&p);
    return range_error(&r);
}

enum step_result tool_list_subscriptions(struct call *c)
{
    return call_read(c, read_subscriptions);
}

/* ---- list_events ---- */

static void write_seq(struct pen *p, const char *key, uint64_t seq)
{
    char text[24];

    snprintf(text, sizeof(text), "%llu", (unsigned long long)seq);
    pen_word(p, key, text);
}

static bool is_selected(const struct call *c, const struct selection *sel,
                        const struct event_head *head)
{
    return principal_sees(&c->who, c->who.tenant, head->world != 0) &&
           event_filter_matches(&sel->filter, head);
}

/* A page of the log while it is written. */
struct page {
    const struct selection *sel;
    struct pen pen;
    uint64_t cursor; /* moves over what was passed */
    bool truncated;  /* something behind the caller's cursor is lost */
    bool logged;
};

/* Logged once a page: a log may have lost many. */
static void tell_lost(struct call *c, struct page *page, const struct log_walk *w)
{
    char subject[96];

    snprintf(subject, sizeof(subject), "call=%llu tool=%s key=%s", (unsigned long long)c->id,
             c->tool->name, c->who.key);
    if (!page->logged)
        LOG(ERROR, subject, "event %llu of tenant %u is passed over and told as truncated: %s",
            (unsigned long long)w->seq, c->who.tenant, err_trail());
    err_clear();
    page->truncated = page->logged = true;
}

/* At most so many rows that one call stays short, however few of them match. */
static err_t write_rows(struct call *c, struct view *v, struct page *page, uint64_t last)
{
    int64_t left = arg_int_or(c, "limit", 100);
    AUTO(log_walk) w = {0};
    struct db_event row;
    enum log_step step;
    unsigned scanned = 0;

    log_walk_init(&w, v, c->who.tenant, page->cursor, last);
    while (left && scanned++ < EVENTS_SCAN_MAX && c->result.len < EVENTS_BYTES_MAX &&
           (step = log_walk_next(&w, &row)) != LOG_END) {
        page->cursor = w.seq;
        if (step == LOG_LOST) tell_lost(c, page, &w);
        if (step == LOG_LOST || !is_selected(c, page->sel, &row.head)) continue;
        pen_raw(&page->pen, NULL, SLICE(""));
        event_json(page->pen.out, row.seq, row.bytes);
        left--;
    }
    return w.error;
}

/* Cursors that the log does not reach, either way. */
static bool is_beyond(struct call *c, uint64_t cursor, const struct db_log *log)
{
    if (!arg_given(c, "cursor")) return false;
    if (cursor + 1 >= log->first_seq && cursor < log->next_seq) return false;
    if (atomic_load(&writer_faults(c->server->writer)->silent_page) <= 0) return true;
    fault_count("silent_page");
    return false;
}

static err_t read_events(struct call *c, struct view *v)
{
    struct page page = {.pen = pen_on(&c->result), .cursor = arg_seq_or(c, "cursor", 0)};
    struct selection sel = {0};
    struct db_log log;

    TRY(read_selection(c, v, &sel));
    TRY(db_log_find(v, c->who.tenant, &log));
    page.sel = &sel;
    page.truncated = is_beyond(c, page.cursor, &log);
    if (page.cursor + 1 < log.first_seq) page.cursor = log.first_seq - 1;
    if (page.cursor >= log.next_seq) page.cursor = log.next_seq - 1;
    pen_object(&page.pen, NULL);
    pen_array(&page.pen, "events");
    TRY(write_rows(c, v, &page, log.next_seq - 1));
    pen_end(&page.pen);
    write_seq(&page.pen, "next_cursor", page.cursor);
    pen_bool(&page.pen, "has_more", page.cursor + 1 < log.next_seq);
    pen_bool(&page.pen, "truncated", page.truncated);
    pen_end(&page.pen);
    return OK;
}

enum step_result tool_list_events(struct call *c) { return call_read(c, read_events); }

/* ---- wait_for_event ---- */

enum { WAIT_DEFAULT_MS = 20000, WAIT_LOOK_MS = 5000 };

/* A stream that ends with the first events it gets: all that the log holds behind the cursor, or
 * what one loop turn brings. */
struct waiting {
    struct call *call;
    struct selection sel;
    struct hub_stream stream;
    struct timer timer;
    struct deferred deferred;
    struct buf events; /* JSON objects, comma separated */
    unsigned count;
    uint64_t cursor;
    bool truncated;
};

static void stop_waiting(struct waiting *w)
{
    hub_stream_close(&w->stream);
    timer_disarm(w->call->home, &w->timer);
    worker_undefer(&w->deferred);
}

static void finish_waiting(struct waiting *w)
{
    struct call *c = w->call;
    struct pen p = pen_on(&c->result);

    stop_waiting(w);
    pen_object(&p, NULL);
    pen_array(&p, "events");
    if (w->count) pen_raw(&p, NULL, buf_slice(&w->events));
    pen_end(&p);
    write_seq(&p, "next_cursor", w->cursor);
    pen_bool(&p, "timed_out", w->count == 0 && !w->truncated);
    pen_bool(&p, "truncated", w->truncated);
    pen_end(&p);
    buf_done(&w->events);
    call_finish(c);
}

static void on_turn_over(struct deferred *d)
{
    finish_waiting(CONTAINER_OF(d, struct waiting, deferred));
}

static bool is_full(const struct waiting *w)
{
    return w->count >= EVENTS_WAIT_MAX || w->events.len >= EVENTS_BYTES_MAX;
}

/* Events without a number are live only and belong to no cursor: not for this tool. */
static bool on_event(struct hub_stream *s, struct hub_event *e, struct hub_match match)
{
    struct waiting *w = s->owner;

    if (e->seq == 0) return true;
    if (is_full(w)) return false;
    if (w->count++) buf_put_u8(&w->events, ',');
    buf_put(&w->events, slice_of(hub_event_json(e)->data, hub_event_json(e)->len));
    w->cursor = e->seq;
    if (s->state == HUB_LIVE || is_full(w)) worker_defer(w->call->home, &w->deferred);
    return true;
}

static void on_gap(struct hub_stream *s, uint64_t first, uint64_t last)
{
    struct waiting *w = s->owner;

    w->truncated = true;
    w->cursor = last;
}

static void on_caught_up(struct hub_stream *s)
{
    struct waiting *w = s->owner;

    w->cursor = s->cursor;
    if (w->count || w->truncated || arg_int_or(w->call, "timeout_ms", WAIT_DEFAULT_MS) == 0)
        worker_defer(w->call->home, &w->deferred);
}

static void on_time(struct timer *t, int64_t now)
{
    struct waiting *w = CONTAINER_OF(t, struct waiting, timer);

    if (w->stream.cursor > w->cursor) w->cursor = w->stream.cursor;
    finish_waiting(w);
}

static void fail_waiting(struct waiting *w, err_t e)
{
    stop_waiting(w);
    buf_done(&w->events);
    call_fail(w->call, e);
}

static void on_end(struct hub_stream *s, err_t why)
{
    fail_waiting(s->owner, err_fail(why, __FILE__, __LINE__, "the wait was ended"));
}

static void on_cancel(struct call *c) { fail_waiting(c->state, c->error); }

static err_t open_waiting(struct call *c, struct view *v)
{
    struct waiting *w = arena_new(&c->arena, struct waiting);

    w->call = c;
    TRY(read_selection(c, v, &w->sel));
    c->state = w;
    return OK;
}

enum step_result tool_wait_for_event(struct call *c)
{
    enum step_result r = call_read(c, open_waiting);
    int64_t timeout = arg_int_or(c, "timeout_ms", WAIT_DEFAULT_MS);
    struct waiting *w = c->state;

    if (r != STEP_DONE) return r;
    w->stream.who = c->who;
    w->stream.filters = &w->sel.filter;
    w->stream.filter_count = 1;
    w->stream.on_event = on_event;
    w->stream.on_gap = on_gap;
    w->stream.on_caught_up = on_caught_up;
    w->stream.on_end = on_end;
    w->stream.owner = w;
    w->deferred.run = on_turn_over;
    w->timer.fire = on_time;
    c->on_cancel = on_cancel;
    hub_stream_open(hub_at(c->server->hubs, worker_index(c->home)), &w->stream,
                    arg_seq_or(c, "cursor", HUB_FROM_NOW));
    w->cursor = w->stream.cursor;
    /* Who waits for no time at all still hears what the log holds: on_caught_up() ends it, and of a
     * long log where little matches, this time, with the place that was reached. */
    timer_arm(c->home, &w->timer, worker_now(c->home) + (timeout ? timeout : WAIT_LOOK_MS));
    return STEP_WAIT;
}
