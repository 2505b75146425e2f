#include "tests/support/fake_host.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "proto/base/text.h"

struct entry { /* a save, an event or a send of a turn */
    struct list node;
    enum { SAVE, EVENT, SEND } kind;
    struct buf key, value; /* EVENT: the id and stanza of OUTBOX, and the text */
    struct buf id;
    enum wa_event_kind event;
    bool is_delete;
    struct wa_send send;
};

struct fake_turn {
    struct list node;
    struct list entries;
};

static struct slice key_text(struct wa_key key, struct buf *out)
{
    buf_printf(out, "%d|" SLICE_FMT "|", key.ns, SLICE_ARG(key.owner));
    buf_put(out, key.name);
    return buf_slice(out);
}

static struct entry *add(struct fake_host *h, int kind)
{
    struct entry *e = xcalloc(sizeof(*e));

    assert(h->open); /* the five functions are called inside a turn only */
    e->kind = kind;
    list_push(&h->open->entries, &e->node);
    return e;
}

/* ---- the five functions ---- */

static bool find_in_turn(struct fake_turn *t, struct slice key, struct entry **out)
{
    bool found = false;

    if (!t) return false;
    LIST_EACH(node, &t->entries)
    {
        struct entry *e = LIST_ENTRY(node, struct entry, node);
        if (e->kind == SAVE && slice_eq(buf_slice(&e->key), key)) {
            *out = e;
            found = true;
        }
    }
    return found;
}

static err_t load(void *ctx, struct wa_key key, struct arena *arena, struct slice *out)
{
    struct fake_host *h = ctx;
    AUTO(buf) text = {0};
    struct slice name = key_text(key, &text);
    struct entry *e = NULL;

    h->loads++;
    *out = SLICE_NONE;
    if (h->load_error) return h->load_error;
    bool found = find_in_turn(h->open, name, &e);
    for (struct list *t = h->turns.prev; !found && t != &h->turns; t = t->prev)
        found = find_in_turn(LIST_ENTRY(t, struct fake_turn, node), name, &e);
    const struct buf *row = found ? (e->is_delete ? NULL : &e->value) : map_find(&h->rows, name);
    if (row) *out = row->len ? arena_dup(arena, buf_slice(row)) : SLICE("");
    return OK;
}

static void save(void *ctx, struct wa_key key, struct slice value)
{
    struct fake_host *h = ctx;
    struct entry *e = add(h, SAVE);

    h->saves++;
    key_text(key, &e->key);
    buf_put(&e->value, value);
    e->is_delete = slice_is_none(value);
}

static void hold_as(struct fake_host *h, const struct wa_jid *chat, const struct wa_jid *author,
                    const struct wa_message *m)
{
    AUTO(buf) name = {0};
    AUTO(buf) value = {0};
    char chat_text[WA_JID_TEXT_MAX], author_text[WA_JID_TEXT_MAX];
    struct wa_held_message held = {.state = m->waiting ? WA_HELD_WAITING : WA_HELD_WHOLE,
                                   .from_me = m->from_me,
                                   .time_s = m->time_s,
                                   .raw = m->raw};

    if (wa_jid_is_none(chat) || wa_jid_is_none(author)) return;
    wa_jid_text(chat, chat_text);
    wa_jid_text(author, author_text);
    buf_put_text(&name, author_text);
    buf_put_u8(&name, 0);
    buf_put(&name, m->id);
    wa_held_encode(&held, &value);
    save(h, (struct wa_key){WA_NS_MESSAGE, slice_text(chat_text), buf_slice(&name)},
         buf_slice(&value));
}

static void hold(struct fake_host *h, const struct wa_message *m)
{
    const struct wa_jid *chats[] = {&m->chat.pn, &m->chat.lid},
                        *authors[] = {&m->author.pn, &m->author.lid};

    for (int c = 0; c < 2; c++)
        for (int a = 0; a < 2; a++)
            hold_as(h, chats[c], authors[a], m);
}

static void put_party(struct buf *out, const struct wa_party *p)
{
    char text[WA_JID_TEXT_MAX];

    buf_put_text(out, wa_jid_text(wa_jid_is_none(&p->lid) ? &p->pn : &p->lid, text));
}

static void put_message(struct buf *out, const struct wa_message *m)
{
    buf_printf(out, "message %s ", wa_content_kind_text(m->kind));
    put_party(out, &m->chat);
    buf_put_text(out, " from ");
    put_party(out, &m->author);
    buf_printf(out, ":%u id " SLICE_FMT, m->author_device, SLICE_ARG(m->id));
    if (!slice_is_none(m->text)) buf_printf(out, " \"" SLICE_FMT "\"", SLICE_ARG(m->text));
    if (!slice_is_none(m->push_name)) buf_printf(out, " by " SLICE_FMT, SLICE_ARG(m->push_name));
    if (m->quoted_id.len) buf_printf(out, " quotes " SLICE_FMT, SLICE_ARG(m->quoted_id));
    if (m->mention_count) buf_printf(out, " mentions %zu", m->mention_count);
    buf_printf(out, "%s%s%s%s%s", m->from_me ? " ours" : "", m->is_group ? " group" : "",
               m->offline ? " offline" : "", m->waiting ? " waiting" : "",
               m->completes ? " completes" : "");
    if (m->operation) buf_printf(out, " op %u", (unsigned)m->operation);
}

static void put_down(struct buf *out, const char *what, const struct wa_event *e)
{
    buf_printf(out, "%s %s", what, wa_reason_text(e->down.reason));
    if (e->down.code) buf_printf(out, " %d", e->down.code);
    if (e->down.retry_at) buf_put_text(out, " retries");
}

static void put_jid(struct buf *out, const struct wa_jid *jid)
{
    char text[WA_JID_TEXT_MAX];
    buf_printf(out, " %s", wa_jid_is_none(jid) ? "-" : wa_jid_text(jid, text));
}

static void put_receipt(struct buf *out, const struct wa_receipt *r)
{
    static const char *const kinds[] = {"delivered", "read", "played"};

    buf_printf(out, "receipt %s ", kinds[r->kind]);
    put_party(out, &r->chat);
    buf_put_text(out, " by ");
    put_party(out, &r->who);
    if (r->by_us) buf_put_text(out, " us");
    for (size_t i = 0; i < r->id_count; i++)
        buf_printf(out, " " SLICE_FMT, SLICE_ARG(r->ids[i]));
}

static void put_both(struct buf *out, const char *what, const struct wa_jid *pn,
                     const struct wa_jid *lid)
{
    buf_put_text(out, what);
    put_jid(out, pn);
    put_jid(out, lid);
}

static void put_end(struct buf *out, struct slice id, err_t error)
{
    buf_printf(out, "outbox_done " SLICE_FMT " %s", SLICE_ARG(id), error ? err_name(error) : "OK");
}

static void put_event(struct buf *out, const struct wa_event *e)
{
    switch (e->kind) {
    case WA_EVENT_QR:
        buf_printf(out, "qr " SLICE_FMT " left %u", SLICE_ARG(e->qr.code), e->qr.left);
        break;
    case WA_EVENT_PAIRED:
        put_both(out, "paired", &e->paired.pn, &e->paired.lid);
        buf_printf(out, " " SLICE_FMT, SLICE_ARG(e->paired.platform));
        break;
    case WA_EVENT_PAIR_FAILED: put_down(out, "pair_failed", e); break;
    case WA_EVENT_CONNECTED: put_both(out, "connected", &e->connected.pn, &e->connected.lid); break;
    case WA_EVENT_DISCONNECTED: put_down(out, "disconnected", e); break;
    case WA_EVENT_UNPAIRED: put_down(out, "unpaired", e); break;
    case WA_EVENT_MESSAGE: put_message(out, &e->message); break;
    case WA_EVENT_RECEIPT: put_receipt(out, &e->receipt); break;
    case WA_EVENT_OUTBOX:
        buf_printf(out, "outbox " SLICE_FMT "%s", SLICE_ARG(e->outbox.id),
                   e->outbox.is_message ? "" : " receipt");
        break;
    case WA_EVENT_OUTBOX_DONE: put_end(out, e->outbox_done.id, e->outbox_done.error); break;
    case WA_EVENT_SEND_FAILED:
        buf_printf(out, "send_failed %u %s", (unsigned)e->send_failed.operation,
                   err_name(e->send_failed.error));
        break;
    case WA_EVENT_MAPPING: put_both(out, "mapping", &e->mapping.pn, &e->mapping.lid); break;
    case WA_EVENT_IDENTITY:
        buf_put_text(out, "identity ");
        put_party(out, &e->identity);
        break;
    case WA_EVENT_CONTACT:
        buf_printf(out, "contact " SLICE_FMT, SLICE_ARG(e->contact.push_name));
        break;
    case WA_EVENT_OFFLINE_DONE: buf_put_text(out, "offline_done"); break;
    case WA_EVENT_CLIENT_EXPIRES:
        buf_printf(out, "client_expires %lld", (long long)e->client_expires_s);
        break;
    }
}

static void keep_refusal(struct fake_host *h, const struct wa_event *event)
{
    if (event->kind != WA_EVENT_UNPAIRED && event->kind != WA_EVENT_DISCONNECTED) return;
    if (!event->down.refusal.len) return;
    buf_reset(&h->refusal);
    buf_put(&h->refusal, event->down.refusal);
}

static void emit(void *ctx, const struct wa_event *event)
{
    struct fake_host *h = ctx;

    if (event->kind == WA_EVENT_MESSAGE) hold(h, &event->message);
    struct entry *e = add(h, EVENT);
    put_event(&e->value, event);
    e->event = event->kind;
    if (event->kind == WA_EVENT_OUTBOX) {
        buf_put(&e->id, event->outbox.id);
        buf_put(&e->key, event->outbox.stanza);
    }
    if (event->kind == WA_EVENT_OUTBOX_DONE) buf_put(&e->id, event->outbox_done.id);
    keep_refusal(h, event);
}

static void send(void *ctx, const struct wa_send *s)
{
    struct fake_host *h = ctx;
    struct entry *e = add(h, SEND);

    e->send = *s;
    buf_put(&e->value, s->bytes);
    e->send.bytes = buf_slice(&e->value);
    h->undurable_sends++;
}

static void fill_random(void *ctx, void *out, size_t n)
{
    struct fake_host *h = ctx;
    uint8_t *at = out;

    for (size_t i = 0; i < n; i++) {
        uint64_t z = h->seed += 0x9e3779b97f4a7c15u; /* splitmix64 */
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
        at[i] = (uint8_t)(z ^ (z >> 31));
    }
}

/* ---- turns ---- */

void fake_host_init(struct fake_host *h, uint64_t seed)
{
    *h = (struct fake_host){.seed = seed};
    h->host = (struct wa_host){load, save, emit, send, fill_random, h};
    list_init(&h->turns);
    list_init(&h->outbox);
}

static void entry_free(struct entry *e)
{
    buf_done(&e->key);
    buf_done(&e->value);
    buf_done(&e->id);
    free(e);
}

static void turn_free(struct fake_turn *t)
{
    for (struct list *node; (node = list_pop(&t->entries));)
        entry_free(LIST_ENTRY(node, struct entry, node));
    free(t);
}

void fake_turn_open(struct fake_host *h)
{
    assert(!h->open);
    h->open = xcalloc(sizeof(*h->open));
    list_init(&h->open->entries);
}

void fake_turn_close(struct fake_host *h)
{
    list_push(&h->turns, &h->open->node);
    h->open = NULL;
}

static void drop_row(struct buf *row)
{
    if (row) buf_done(row);
    free(row);
}

static void apply_save(struct fake_host *h, struct entry *e)
{
    if (e->is_delete) {
        drop_row(map_remove(&h->rows, buf_slice(&e->key)));
        return;
    }
    struct buf *row = xcalloc(sizeof(*row));
    *row = buf_take(&e->value);
    drop_row(map_put(&h->rows, buf_slice(&e->key), row));
}

static void outbox_remove(struct fake_host *h, struct slice id, bool all)
{
    LIST_EACH(node, &h->outbox)
    {
        struct fake_outbox *o = LIST_ENTRY(node, struct fake_outbox, node);
        if (!all && !slice_eq(buf_slice(&o->id), id)) continue;
        list_remove(node);
        buf_done(&o->id);
        buf_done(&o->stanza);
        free(o);
    }
}

static void keep_outbox(struct fake_host *h, struct entry *e)
{
    if (e->event == WA_EVENT_OUTBOX_DONE) outbox_remove(h, buf_slice(&e->id), false);
    if (e->event != WA_EVENT_OUTBOX) return;
    struct fake_outbox *o = xcalloc(sizeof(*o));
    o->id = buf_take(&e->id);
    o->stanza = buf_take(&e->key);
    list_push(&h->outbox, &o->node);
}

static void record_event(struct fake_host *h, struct entry *e)
{
    if (h->event_count == h->event_cap) {
        h->event_cap = h->event_cap ? 2 * h->event_cap : 64;
        h->events = xrealloc(h->events, h->event_cap * sizeof(*h->events));
    }
    h->events[h->event_count++] = xstrdup(buf_text(&e->value));
    keep_outbox(h, e);
}

bool fake_commit(struct fake_host *h)
{
    struct list *first = list_pop(&h->turns);
    struct fake_turn *t = first ? LIST_ENTRY(first, struct fake_turn, node) : NULL;

    if (!t) return false;
    LIST_EACH(node, &t->entries)
    {
        struct entry *e = LIST_ENTRY(node, struct entry, node);
        if (e->kind == SAVE) apply_save(h, e);
        if (e->kind == EVENT) record_event(h, e);
    }
    LIST_EACH(node, &t->entries)
    {
        struct entry *e = LIST_ENTRY(node, struct entry, node);
        if (e->kind != SEND) continue;
        h->undurable_sends--;
        if (h->on_send) h->on_send(h->ctx, &e->send);
    }
    turn_free(t);
    return true;
}

void fake_commit_all(struct fake_host *h)
{
    while (fake_commit(h)) {
    }
}

void fake_crash(struct fake_host *h)
{
    for (struct list *node; (node = list_pop(&h->turns));)
        turn_free(LIST_ENTRY(node, struct fake_turn, node));
    if (h->open) turn_free(h->open);
    h->open = NULL;
    h->undurable_sends = 0;
}

size_t fake_turns(const struct fake_host *h)
{
    size_t n = 0;
    for (const struct list *l = h->turns.next; l != &h->turns; l = l->next)
        n++;
    return n;
}

void fake_host_done(struct fake_host *h)
{
    size_t at = 0;
    struct buf *row;

    fake_crash(h);
    outbox_remove(h, SLICE_NONE, true);
    while ((row = map_next(&h->rows, &at, NULL)))
        drop_row(row);
    map_done(&h->rows);
    buf_done(&h->refusal);
    for (size_t i = 0; i < h->event_count; i++)
        free(h->events[i]);
    free(h->events);
    arena_done(&h->arena);
}

/* ---- looking ---- */

const struct buf *fake_row(struct fake_host *h, enum wa_ns ns, const char *owner, const char *name)
{
    AUTO(buf) text = {0};
    struct wa_key key = {ns, slice_text(owner), slice_text(name)};

    return map_find(&h->rows, key_text(key, &text));
}

size_t fake_row_count(struct fake_host *h, enum wa_ns ns)
{
    char prefix[16];
    size_t at = 0, n = 0;
    struct slice key;

    snprintf(prefix, sizeof(prefix), "%d|", ns);
    while (map_next(&h->rows, &at, &key))
        n += slice_starts_with(key, slice_text(prefix));
    return n;
}

const char *fake_event(struct fake_host *h)
{
    return h->event_read < h->event_count ? h->events[h->event_read++] : NULL;
}

void fake_events_skip(struct fake_host *h) { h->event_read = h->event_count; }
