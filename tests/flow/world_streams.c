/* Streams of a world: cursors over the event log at any worker's hub, as the doors open them. They
 * read slowly, stop reading, break off and come back at another worker with the number they saw
 * last. What they are shown is compared with what the log was given: every event that is theirs,
 * once, in order, the same bytes, but for the gaps that they were told of.
 *
 * The last ask for one chat by its id, of somebody who is met under another address too, and so may
 * become part of another chat while they are open. What they must be shown is found in the database
 * at each commit; read from the log later they may be shown older events of the other chat too. */
#include "server/events/hub.h"
#include "server/tenant/subscriptions.h"
#include "server/upkeep.h"
#include "tests/flow/world.h"

struct stream {
    struct town *world;
    struct hub_stream hub;
    struct event_filter filter;
    bool follows_key; /* asked for its events with subscribe_events */
    bool asks_chat;
    char chat[ID_TEXT_MAX];     /* its id; "": none yet */
    struct event_filter known;  /* all numbers of that chat, as the last commit left them */
    struct event_filter opened; /* and when the stream was opened */
    bool open, held;
    uint64_t cursor;    /* the newest it has seen */
    unsigned appetite;  /* events it still takes; then it is full */
    int64_t away_until; /* it broke, and does not come back before */
    unsigned long shown;
    uint64_t hash; /* of numbers and bytes */
    struct gap {
        uint64_t first, last;
    } * gaps;
    size_t gap_count;
};

static void add(struct stream *s, uint64_t seq, struct slice bytes)
{
    const uint64_t prime = 0x100000001b3u;

    s->hash = (s->hash ^ seq) * prime;
    for (size_t i = 0; i < bytes.len; i++)
        s->hash = (s->hash ^ bytes.data[i]) * prime;
    s->shown++;
}

static bool is_mine(const struct stream *s, uint64_t seq)
{
    const struct past *p = &s->world->past;

    if (seq > p->count) return false;
    if (s->asks_chat) return p->events[seq - 1].due >> (s - s->world->streams) & 1;
    return event_filter_matches(&s->filter, &p->events[seq - 1].head);
}

/* What lies between what it has seen and `seq` was not for it. */
static void expect_nothing_until(const struct stream *s, uint64_t seq)
{
    for (uint64_t passed = s->cursor + 1; passed < seq; passed++)
        if (is_mine(s, passed))
            violated(s->world, "a stream of %s comes to %llu, and was not shown event %llu",
                     s->chat, (unsigned long long)seq, (unsigned long long)passed);
}

static void judge_shown(const struct stream *s, const struct hub_event *e)
{
    const struct past *p = &s->world->past;

    if (e->seq > p->count) return; /* the log's own judge says so */
    const struct past_event *past = &p->events[e->seq - 1];
    if (!event_filter_matches(&s->known, e->head))
        violated(s->world, "a stream of %s is shown event %llu of peer %u", s->chat,
                 (unsigned long long)e->seq, e->head->peer);
    if (!slice_eq(e->bytes, buf_slice(&past->bytes)))
        violated(s->world, "event %llu is shown with other bytes", (unsigned long long)e->seq);
    expect_nothing_until(s, e->seq);
    if (!event_filter_matches(&s->opened, e->head)) plan_met("merged_chat");
}

static bool on_event(struct hub_stream *h, struct hub_event *e, struct hub_match match)
{
    struct stream *s = h->owner;

    if (e->seq == 0) return true;
    if (loop_due(s->world, LOOP_SOCKET)) { /* its connection breaks */
        hub_stream_close(h);
        s->open = false;
        return false;
    }
    if (s->appetite == 0) {
        s->held = true;
        return false;
    }
    s->appetite--;
    if (e->seq <= s->cursor)
        violated(s->world, "a stream at %llu is shown event %llu", (unsigned long long)s->cursor,
                 (unsigned long long)e->seq);
    if (e->tenant != s->world->who.tenant) violated(s->world, "a stream sees another tenant");
    if (s->asks_chat) judge_shown(s, e);
    s->cursor = e->seq;
    add(s, e->seq, e->bytes);
    return true;
}

static void on_gap(struct hub_stream *h, uint64_t first, uint64_t last)
{
    struct stream *s = h->owner;
    struct town *w = s->world;

    plan_met("told_gap");
    note(w, "stream %d is told of a gap %llu to %llu", (int)(s - w->streams),
         (unsigned long long)first, (unsigned long long)last);
    log_gap(w, "a stream", first, last, w->past.cut);
    for (uint64_t seq = s->cursor + 1; seq < first; seq++)
        if (is_mine(s, seq))
            violated(w, "a stream is told of a gap from %llu, and never of event %llu",
                     (unsigned long long)first, (unsigned long long)seq);
    if (first <= s->cursor)
        violated(w, "a stream at %llu is told of a gap from %llu", (unsigned long long)s->cursor,
                 (unsigned long long)first);
    s->gaps = xrealloc(s->gaps, (s->gap_count + 1) * sizeof *s->gaps);
    s->gaps[s->gap_count++] = (struct gap){first, last};
    s->cursor = last;
}

static void on_end(struct hub_stream *h, err_t why)
{
    struct stream *s = h->owner;

    violated(s->world, "a stream is ended: %s", err_name(why));
    s->open = false;
}

/* All numbers of the chat now; false when it is gone with its account. */
static bool look_up(struct stream *s, struct view *v, struct event_filter *out)
{
    struct scope scope = {.tenant = TENANT};
    struct db_contact who;
    uint32_t peer;
    uint64_t secret;

    if (!id_chat_parse(ID_CHAT, slice_text(s->chat), &scope.account, &peer, &secret)) abort();
    if (db_contact_resolve(v, scope, peer, secret, &who) != OK) {
        err_clear();
        return false;
    }
    *out = (struct event_filter){.account = scope.account};
    event_filter_chat(out, &who);
    return true;
}

/* There is little for who asks for one chat. */
static unsigned appetite(const struct stream *s)
{
    return 1 + (unsigned)roll(s->world, s->asks_chat ? 3 : 60);
}

/* As a door does it; another chat when that of before is gone, from what comes now. */
static bool find_chat(struct town *w, struct stream *s, struct view *v)
{
    if (s->chat[0] && !look_up(s, v, &s->opened)) s->chat[0] = '\0';
    if (!s->chat[0]) {
        if (!people_chat(w, v, s->chat) || !look_up(s, v, &s->opened)) return false;
        s->known = s->opened;
        s->cursor = w->past.count;
        note(w, "stream %d asks for %s", (int)(s - w->streams), s->chat);
    }
    return subscription_filter(v, TENANT, 0, SLICE_NONE, slice_text(s->chat), &s->filter);
}

static bool with_view(struct town *w, struct stream *s,
                      bool (*act)(struct town *w, struct stream *s, struct view *v))
{
    struct view *v;
    bool found;

    if (view_new(w->server.store, &v) != OK) return false; /* a point of world_loops.c */
    found = view_begin(v) == OK && act(w, s, v);
    view_end(v);
    view_free(v);
    return found;
}

static void open_stream(struct stream *s)
{
    struct town *w = s->world;
    struct worker *k = clock_any(w);

    if (s->open || w->now < s->away_until || (s->follows_key && !w->subscribed)) return;
    if (s->asks_chat && !with_view(w, s, find_chat)) return;
    s->hub = (struct hub_stream){.who = w->who,
                                 .filters = &s->filter,
                                 .filter_count = !s->follows_key,
                                 .follows_key = s->follows_key,
                                 .on_event = on_event,
                                 .on_gap = on_gap,
                                 .on_end = on_end,
                                 .owner = s};
    s->open = true;
    s->held = false;
    s->appetite = appetite(s);
    clock_enter(k);
    hub_stream_open(hub_at(w->server.hubs, worker_index(k)), &s->hub, s->cursor);
    clock_leave();
}

static void close_stream(struct stream *s)
{
    if (!s->open) return;
    clock_enter(s->world->main);
    hub_stream_close(&s->hub);
    clock_leave();
    s->open = false;
}

static void resume(struct stream *s, unsigned appetite)
{
    s->appetite = appetite;
    s->held = false;
    clock_enter(s->world->main);
    hub_stream_resume(&s->hub);
    clock_leave();
}

/* The first sees all, the others a part: by kind, or by account, or both. */
static void make_streams(struct town *w)
{
    static const char *const names[STREAMS] = {
        "*", "message.*", "message.received", "account.*", "*", "*", "*"};

    w->streams = xcalloc(STREAMS * sizeof *w->streams);
    for (unsigned i = 0; i < STREAMS; i++) {
        struct stream *s = &w->streams[i];

        s->world = w;
        if (event_filter_add_names(&s->filter, slice_text(names[i])) != OK) abort();
        s->follows_key = i == 1;
        s->asks_chat = i >= STREAMS - CHAT_STREAMS;
        if (i == STREAMS - CHAT_STREAMS - 1) s->filter.account = 1 + (uint32_t)roll(w, RESIDENTS);
    }
}

void streams_open(struct town *w)
{
    if (!w->streams) make_streams(w);
    for (unsigned i = 0; i < STREAMS; i++)
        open_stream(&w->streams[i]);
}

void streams_cut(struct town *w)
{
    for (unsigned i = 0; i < STREAMS; i++)
        close_stream(&w->streams[i]);
}

void streams_act(struct town *w)
{
    for (unsigned i = 0; i < STREAMS; i++) {
        struct stream *s = &w->streams[i];

        if (!s->open) {
            if (chance(w, 30)) open_stream(s);
        } else if (s->held) {
            if (chance(w, 40)) resume(s, appetite(s));
        } else if (chance(w, 3)) {
            close_stream(s);
            if (s->asks_chat && s->hub.cursor == w->past.count) {
                expect_nothing_until(s, w->past.count + 1);
                s->chat[0] = '\0'; /* another one, next time */
            }
        } else if (chance(w, 3)) {
            hub_stream_hold(&s->hub);
            s->held = true;
        }
    }
}

void streams_resume(struct town *w)
{
    for (unsigned i = 0; i < STREAMS; i++) {
        w->streams[i].away_until = 0;
        open_stream(&w->streams[i]);
        if (w->streams[i].open) resume(&w->streams[i], UINT32_MAX);
    }
}

void streams_act_once(struct town *w)
{
    for (unsigned i = 0; i < STREAMS; i++) {
        open_stream(&w->streams[i]);
        if (w->streams[i].open && w->streams[i].held) resume(&w->streams[i], 3);
    }
}

void streams_rewind(struct town *w)
{
    for (unsigned i = 0; i < STREAMS; i++) {
        struct stream *s = &w->streams[i];

        close_stream(s);
        s->cursor = s->hash = s->shown = s->gap_count = 0;
        s->chat[0] = '\0';
    }
}

bool streams_rest(struct town *w)
{
    unsigned number = (unsigned)roll(w, STREAMS);

    if (!w->streams) return false; /* storms begin before that */
    close_stream(&w->streams[number]);
    w->streams[number].away_until =
        w->now + UPKEEP_EVERY_MS + (int64_t)roll(w, 3 * UPKEEP_EVERY_MS);
    return true;
}

bool streams_are_at_end(struct town *w)
{
    for (unsigned i = 0; i < STREAMS; i++)
        if (w->streams[i].open && w->streams[i].hub.cursor < w->last_seq) return false;
    return true;
}

/* ---- what the log held for it ---- */

void streams_take(struct town *w, struct past_event *e)
{
    for (unsigned i = STREAMS - CHAT_STREAMS; w->streams && i < STREAMS; i++)
        if (w->streams[i].chat[0] && event_filter_matches(&w->streams[i].known, &e->head))
            e->due |= (uint8_t)(1u << i);
}

static bool take_numbers(struct town *w, struct stream *s, struct view *v)
{
    return look_up(s, v, &s->known);
}

void streams_look_up(struct town *w)
{
    for (unsigned i = STREAMS - CHAT_STREAMS; w->streams && i < STREAMS; i++)
        if (w->streams[i].chat[0]) with_view(w, &w->streams[i], take_numbers);
}

static void judge_stream(struct town *w, unsigned number)
{
    struct stream *s = &w->streams[number];
    const struct gap *gap = s->gaps, *end = gap + s->gap_count;
    struct stream due = {0};

    if (s->follows_key && !w->subscribed) return;
    if (s->asks_chat) {
        if (s->open) expect_nothing_until(s, w->past.count + 1);
        return;
    }
    for (uint64_t seq = 1; seq <= w->past.count; seq++) {
        while (gap < end && gap->last < seq)
            gap++;
        if ((gap == end || seq < gap->first) && is_mine(s, seq))
            add(&due, seq, buf_slice(&w->past.events[seq - 1].bytes));
    }
    if (due.shown != s->shown || due.hash != s->hash)
        violated(w, "stream %u was shown %lu events, and not the %lu of the log", number, s->shown,
                 due.shown);
}

void streams_judge(struct town *w)
{
    for (unsigned i = 0; i < STREAMS; i++)
        judge_stream(w, i);
}

void streams_done(struct town *w)
{
    for (unsigned i = 0; w->streams && i < STREAMS; i++)
        free(w->streams[i].gaps);
    free(w->streams);
}
