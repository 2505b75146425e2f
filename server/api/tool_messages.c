/* Messages: reading one, and the pages of a chat's history. */
#include "proto/base/text.h"
#include "server/api/tool.h"
#include "server/api/tools_all.h"

/* ---- get_message ---- */

static err_t read_message(struct call *c, struct view *v)
{
    struct pen p = pen_on(&c->result);
    struct db_message m;
    struct call_chat in;

    TRY(call_message(c, v, arg_text(c, "message_id"), &in, &m));
    return call_write_message(c, &p, NULL, v, &in, &m);
}

enum step_result tool_get_message(struct call *c) { return call_read(c, read_message); }

/* ---- list_messages ---- */

enum { PAGE_CURSOR = 'm', PAGE_CURSOR_NUMBERS = 5 };

struct bounds {
    struct place from;  /* not included; sec 0: the end of the chat */
    struct place until; /* not included; sec 0: none */
    enum range_direction direction;
};

static bool is_of_chat(const struct db_contact *contact, uint32_t peer)
{
    if (peer == contact->peer) return true;
    for (size_t i = 0; i < CONTACT_PARTS_MAX && contact->parts[i]; i++)
        if (contact->parts[i] == peer) return true;
    return false;
}

/* A moment is the place in front of all messages of its second. */
static err_t read_place(struct call *c, const char *name, const struct call_chat *in,
                        struct place *out)
{
    struct slice text = arg_text(c, name);
    uint32_t account;
    int64_t ms;

    if (slice_is_none(text)) return OK;
    if (text_parse_time(text, &ms) == OK) {
        if (ms < 1000 || ms / 1000 > UINT32_MAX)
            return fail(BAD_ARGUMENT, "%s is outside the times that messages have", name);
        *out = place_at((uint32_t)(ms / 1000));
        return OK;
    }
    if (!id_message_parse(ID_MESSAGE, text, &account, out) || account != in->scope.account ||
        !is_of_chat(&in->contact, out->peer))
        return fail(BAD_ARGUMENT, "%s names a message of another chat", name);
    return OK;
}

static err_t read_page_cursor(struct call *c, const struct call_chat *in, struct bounds *b)
{
    uint64_t n[PAGE_CURSOR_NUMBERS];
    struct slice text = arg_text(c, "cursor");

    if (slice_is_none(text)) return OK;
    TRY(cursor_read(text, PAGE_CURSOR, n, PAGE_CURSOR_NUMBERS));
    if (n[0] != in->contact.peer || n[1] > RANGE_BACKWARDS || n[1] != b->direction)
        return fail(BAD_ARGUMENT, "cursor belongs to another list of messages");
    b->from = (struct place){
        .peer = in->contact.peer, .sec = (uint32_t)n[2], .seq = (uint32_t)n[3], .secret = n[4]};
    return OK;
}

static void write_page_cursor(struct pen *p, const struct call_chat *in, const struct bounds *b,
                              struct place last)
{
    uint64_t n[PAGE_CURSOR_NUMBERS] = {in->contact.peer, b->direction, last.sec, last.seq,
                                       last.secret};

    cursor_write(p, "next_cursor", PAGE_CURSOR, n, PAGE_CURSOR_NUMBERS);
}

/* `after` walks towards the newest, everything else towards the oldest. */
static err_t read_bounds(struct call *c, const struct call_chat *in, struct bounds *b)
{
    struct place before = {0}, after = {0};

    TRY(read_place(c, "before", in, &before));
    TRY(read_place(c, "after", in, &after));
    b->direction = after.sec ? RANGE_FORWARDS : RANGE_BACKWARDS;
    b->from = after.sec ? after : before;
    b->until = after.sec ? before : (struct place){0};
    return read_page_cursor(c, in, b);
}

static err_t write_page(struct call *c, struct view *v, struct pen *p, const struct call_chat *in,
                        const struct bounds *b)
{
    AUTO(message_walk) w = {0};
    int64_t left = arg_int_or(c, "limit", 100);
    struct place last = {0};
    struct db_message m;
    bool more = false;

    message_walk_init(&w, v, in->scope, &in->contact, b->from, b->direction);
    while (message_walk_next(&w, &m)) {
        if (b->until.sec && place_cmp(m.place, b->until) >= 0) break;
        more = left-- == 0 || c->result.len >= CALL_PAGE_BYTES;
        if (more) break;
        TRY(call_write_message(c, p, NULL, v, in, &m));
        last = m.place;
    }
    TRY(message_walk_error(&w));
    pen_end(p);
    if (more)
        write_page_cursor(p, in, b, last);
    else
        pen_null(p, "next_cursor");
    return OK;
}

static err_t read_messages(struct call *c, struct view *v)
{
    struct pen p = pen_on(&c->result);
    struct bounds b = {0};
    struct call_chat in;

    TRY(call_chat(c, v, arg_text(c, "chat_id"), &in));
    TRY(read_bounds(c, &in, &b));
    pen_object(&p, NULL);
    pen_array(&p, "messages");
    TRY(write_page(c, v, &p, &in, &b));
    pen_end(&p);
    return OK;
}

enum step_result tool_list_messages(struct call *c) { return call_read(c, read_messages); }
