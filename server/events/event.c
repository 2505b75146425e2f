/* Rows of events.def as JSON objects. All builders share begin() and finish(), so that an event
 * cannot look different from its neighbours. */
#include "server/events/event.h"

#include <string.h>

#include "proto/base/reader.h"
#include "proto/base/text.h"
#include "proto/crypto/crypto.h"
#include "server/api/json.h"
#include "storage/batch.h"
#include "storage/contacts.h"
#include "storage/id.h"

static const struct {
    const char *name, *meaning;
    uint16_t number;
} rows[] = {
#define EVENT(name, number, public_name, meaning) {public_name, meaning, number},
#include "server/events/events.def"
#undef EVENT
};
_Static_assert(EVENT_COUNT <= 64, "a filter has one bit per event");
_Static_assert((int)EVENT_PARTS_MAX == (int)CONTACT_PARTS_MAX, "a chat has as many numbers");

const char *event_name(enum event_kind k) { return k < EVENT_COUNT ? rows[k].name : "unknown"; }
const char *event_meaning(enum event_kind k) { return k < EVENT_COUNT ? rows[k].meaning : ""; }
uint16_t event_number(enum event_kind k) { return rows[k].number; }

enum event_kind event_find(struct slice name)
{
    unsigned k = 0;

    while (k < EVENT_COUNT && !slice_is(name, rows[k].name))
        k++;
    return k;
}

/* By number, plus one: asked for every event and filter. */
static const uint8_t kinds_by_number[] = {
#define EVENT(name, number, public_name, meaning) [number] = EVENT_##name + 1,
#include "server/events/events.def"
#undef EVENT
};

enum event_kind event_of_number(uint16_t number)
{
    if (number >= ARRAY_LEN(kinds_by_number) || !kinds_by_number[number]) return EVENT_COUNT;
    return (enum event_kind)(kinds_by_number[number] - 1);
}

/* ---- building ---- */

static struct pen begin(struct buf *out, enum event_kind kind, const struct event_about *about)
{
    struct pen p = pen_on(out);
    char id[ID_TEXT_MAX];
    uint8_t random[10];

    crypto_random(random, sizeof(random));
    pen_object(&p, NULL);
    pen_word(&p, "event", event_name(kind));
    pen_word(&p, "event_id", id_event_text(about->received_at, random, id));
    pen_time(&p, "occurred_at", about->occurred_at);
    pen_time(&p, "received_at", about->received_at);
    pen_text(&p, "account_id", about->account);
    return p;
}

static void add_message(struct buf *out, enum event_kind kind, const struct event_about *about,
                        const struct face_message *m)
{
    struct pen p = begin(out, kind, about);

    pen_raw(&p, "data", SLICE(""));
    face_message_json(out, m);
    pen_end(&p);
}

void event_message_received(struct buf *out, const struct event_about *about,
                            const struct face_message *m)
{
    add_message(out, EVENT_MESSAGE_RECEIVED, about, m);
}

void event_message_sent(struct buf *out, const struct event_about *about,
                        const struct face_message *m)
{
    struct face_message sent = *m;

    /* A receipt may have been faster than the ack; the event is about the ack. */
    sent.status = message_status_text(MESSAGE_SENT);
    add_message(out, EVENT_MESSAGE_SENT, about, &sent);
}

void event_message_read(struct buf *out, const struct event_about *about,
                        const struct event_read *r)
{
    struct pen p = begin(out, EVENT_MESSAGE_READ, about);

    pen_object(&p, "data");
    pen_text(&p, "chat_id", r->chat);
    pen_array(&p, "message_ids");
    for (size_t i = 0; i < r->message_count; i++)
        pen_text(&p, NULL, r->messages[i]);
    pen_end(&p);
    pen_word(&p, "kind", r->kind);
    pen_bool(&p, "by_us", r->by_us);
    pen_raw(&p, "reader", SLICE(""));
    face_person_json(out, &r->reader);
    pen_end(&p);
    pen_end(&p);
}

void event_account_paired(struct buf *out, const struct event_about *about, struct slice phone,
                          struct slice lid, struct slice name)
{
    struct pen p = begin(out, EVENT_ACCOUNT_PAIRED, about);

    pen_object(&p, "data");
    pen_text(&p, "phone", phone.len ? phone : SLICE_NONE);
    pen_text(&p, "lid", lid.len ? lid : SLICE_NONE);
    pen_text(&p, "name", name.len ? name : SLICE_NONE);
    pen_end(&p);
    pen_end(&p);
}

void event_account_connected(struct buf *out, const struct event_about *about, struct slice phone)
{
    struct pen p = begin(out, EVENT_ACCOUNT_CONNECTED, about);

    pen_object(&p, "data");
    pen_text(&p, "phone", phone);
    pen_end(&p);
    pen_end(&p);
}

static void add_down(struct buf *out, enum event_kind kind, const struct event_about *about,
                     const struct event_down *d)
{
    struct pen p = begin(out, kind, about);

    pen_object(&p, "data");
    pen_word(&p, "reason", d->reason);
    if (d->code) pen_int(&p, "code", d->code);
    if (d->until_s) pen_time(&p, "until", d->until_s * 1000);
    if (d->retry_at) pen_time(&p, "retry_at", d->retry_at);
    pen_end(&p);
    pen_end(&p);
}

void event_account_disconnected(struct buf *out, const struct event_about *about,
                                const struct event_down *d)
{
    add_down(out, EVENT_ACCOUNT_DISCONNECTED, about, d);
}

void event_account_unpaired(struct buf *out, const struct event_about *about,
                            const struct event_down *d)
{
    add_down(out, EVENT_ACCOUNT_UNPAIRED, about, d);
}

void event_json(struct buf *out, uint64_t seq, struct slice bytes)
{
    buf_reserve(out, bytes.len + 32);
    buf_printf(out, "{\"seq\":%llu,", (unsigned long long)seq);
    buf_put(out, slice_from(bytes, 1));
}

void event_gap(struct buf *out, uint64_t first, uint64_t last)
{
    bool reset = first > last;
    unsigned long long from = reset ? (last ? 1 : 0) : first, to = last;

    buf_printf(out, "\"gap\":true,\"reset\":%s,\"first\":%llu,\"last\":%llu,\"message\":\"",
               reset ? "true" : "false", from, to);
    if (reset)
        buf_put_text(out, "This log has not come as far as the position you gave: the data was "
                          "restored or made anew. Events up to `last` may be new to you.");
    else
        buf_put_text(out, "Events first to last are no longer in the log.");
    buf_put_text(out, " Read again what you need: list_chats, list_messages.\"");
}

/* ---- filters ---- */

static bool names(const struct event_filter *f, uint32_t peer)
{
    if (f->peer == peer) return true;
    for (size_t i = 0; i < EVENT_PARTS_MAX && f->parts[i]; i++)
        if (f->parts[i] == peer) return true;
    return false;
}

bool event_filter_matches(const struct event_filter *f, const struct event_head *head)
{
    enum event_kind kind = event_of_number(head->type);

    if (kind == EVENT_COUNT || (f->kinds && !(f->kinds >> kind & 1))) return false;
    if (f->account && f->account != head->account) return false;
    return !f->peer || names(f, head->peer);
}

/* "message.*" means every name that begins with "message."; "*" every name. */
static uint64_t bits_of(struct slice name)
{
    struct slice prefix = slice_sub(name, 0, name.len - 1);
    uint64_t bits = 0;

    for (unsigned k = 0; k < EVENT_COUNT; k++) {
        struct slice other = slice_text(rows[k].name);
        bool is_wild = name.data[name.len - 1] == '*' &&
                       (prefix.len == 0 || prefix.data[prefix.len - 1] == '.') &&
                       slice_starts_with(other, prefix);
        if (is_wild || slice_eq(name, other)) bits |= 1ull << k;
    }
    return bits;
}

err_t event_filter_add_names(struct event_filter *f, struct slice names)
{
    struct slice left = names, name;

    while (slice_split(&left, ',', &name)) {
        uint64_t bits = name.len ? bits_of(name) : 0;
        if (!bits)
            return fail(BAD_ARGUMENT,
                        "there is no event \"" SLICE_FMT
                        "\"; names are like message.received, message.* or *",
                        SLICE_ARG(text_cut(name, 60)));
        f->kinds |= bits;
    }
    return OK;
}

void event_filter_chat(struct event_filter *f, const struct db_contact *who)
{
    f->peer = who->peer;
    memcpy(f->parts, who->parts, sizeof(f->parts));
}

/* ---- chats become one ---- */

void event_merge(struct buf *out, const struct db_contact *person)
{
    for (size_t i = 0; i < CONTACT_PARTS_MAX && person->parts[i]; i++)
        buf_put_be32(out, person->parts[i]);
}

bool event_merge_read(const struct event_head *head, struct slice bytes, struct event_filter *out)
{
    struct reader r = reader_of(bytes);

    if (head->type != NOTICE_MERGE) return false;
    *out = (struct event_filter){.account = head->account, .peer = head->peer};
    for (size_t i = 0; i < EVENT_PARTS_MAX && reader_left(&r); i++)
        out->parts[i] = reader_be32(&r);
    return true;
}

static size_t part_count(const struct event_filter *f)
{
    size_t n = 0;

    while (n < EVENT_PARTS_MAX && f->parts[n])
        n++;
    return n;
}

void event_filter_merge(struct event_filter *f, const struct event_filter *person)
{
    if (!f->peer || f->account != person->account || !names(person, f->peer)) return;
    /* Read from the database when this notice, or a later one, was on its way. */
    if (f->peer == person->peer && part_count(f) >= part_count(person)) return;
    f->peer = person->peer;
    memcpy(f->parts, person->parts, sizeof(f->parts));
}
