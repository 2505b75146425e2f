/* One row per argument type: how it is checked and how it is described. */
#include "server/api/args.h"

#include <stdio.h>

#include "proto/base/text.h"
#include "server/api/call.h"
#include "server/api/json.h"
#include "server/events/event.h"
#include "storage/id.h"

/* ---- checks by type ---- */

static bool is_phone(struct slice s)
{
    if (s.len < 8 || s.len > 16 || s.data[0] != '+' || s.data[1] == '0') return false;
    for (size_t i = 1; i < s.len; i++)
        if (s.data[i] < '0' || s.data[i] > '9') return false;
    return true;
}

static bool is_time(struct slice s)
{
    int64_t ms;

    return s.len <= TEXT_TIME_MAX + 8 && text_parse_time(s, &ms) == OK;
}

static bool is_account(struct slice s)
{
    uint32_t number;
    uint64_t secret;

    return id_number_parse(ID_ACCOUNT, s, &number, &secret);
}

static bool is_chat(struct slice s)
{
    uint32_t account, peer;
    uint64_t secret;

    return id_chat_parse(ID_CHAT, s, &account, &peer, &secret) ||
           id_chat_parse(ID_GROUP, s, &account, &peer, &secret);
}

static bool is_message(struct slice s)
{
    uint32_t account;
    struct place place;

    return id_message_parse(ID_MESSAGE, s, &account, &place);
}

static bool is_message_or_time(struct slice s) { return is_message(s) || is_time(s); }

static bool is_subscription(struct slice s)
{
    return slice_starts_with(s, SLICE("sub_")) && s.len > 4 && s.len < 40;
}

static bool is_event(struct slice s)
{
    struct event_filter f = {0};

    return slice_find(s, ',') == s.len && event_filter_add_names(&f, s) == OK;
}

static bool is_seq_text(struct slice s)
{
    uint64_t n;

    return text_u64(s, &n) == OK && n < INT64_MAX;
}

static bool check_text(const struct arg *a, const struct json *v)
{
    struct slice s = json_text(v);

    return !slice_is_none(s) && (int64_t)s.len >= a->min && (int64_t)s.len <= a->max;
}

static bool check_int(const struct arg *a, const struct json *v)
{
    int64_t n;

    return json_int(v, &n) && n >= a->min && n <= a->max;
}

static bool check_bool(const struct arg *a, const struct json *v)
{
    bool b;

    return json_bool(v, &b);
}

static bool check_cursor(const struct arg *a, const struct json *v)
{
    struct slice s = json_text(v);

    return !slice_is_none(s) && s.len <= CALL_CURSOR_MAX;
}

static bool check_seq(const struct arg *a, const struct json *v)
{
    int64_t n;

    return json_int(v, &n) ? n >= 0 : is_seq_text(json_text(v));
}

static bool check_enum(const struct arg *a, const struct json *v)
{
    struct slice left = slice_text(a->choices), word;

    while (slice_split(&left, ',', &word))
        if (slice_eq(word, json_text(v))) return true;
    return false;
}

static bool (*const item_checks[])(struct slice) = {
    [ARG_TIME] = is_time,    [ARG_PHONE] = is_phone,     [ARG_ACCOUNT] = is_account,
    [ARG_CHAT] = is_chat,    [ARG_MESSAGE] = is_message, [ARG_SUBSCRIPTION] = is_subscription,
    [ARG_PHONES] = is_phone, [ARG_EVENTS] = is_event,    [ARG_MESSAGE_OR_TIME] = is_message_or_time,
};

static bool check_item(const struct arg *a, const struct json *v)
{
    struct slice s = json_text(v);

    return !slice_is_none(s) && item_checks[a->type](s);
}

static bool check_items(const struct arg *a, const struct json *v)
{
    size_t n = json_count(v);

    if (json_kind(v) != JSON_ARR || (int64_t)n < a->min || (int64_t)n > a->max) return false;
    for (size_t i = 0; i < n; i++)
        if (!check_item(a, json_at(v, i))) return false;
    return true;
}

static const struct {
    bool (*check)(const struct arg *a, const struct json *v);
    const char *expected; /* NULL: made from the row's limits */
} types[] = {
    [ARG_TEXT] = {check_text, NULL},
    [ARG_INT] = {check_int, NULL},
    [ARG_BOOL] = {check_bool, "true or false"},
    [ARG_TIME] = {check_item, "an ISO 8601 time such as 2026-01-31T09:30:00Z"},
    [ARG_PHONE] = {check_item, "an E.164 phone number with a leading +, such as +14155550198"},
    [ARG_ACCOUNT] = {check_item, "an account id (acc_…)"},
    [ARG_CHAT] = {check_item, "a chat id (chat_…)"},
    [ARG_MESSAGE] = {check_item, "a message id (msg_…)"},
    [ARG_SUBSCRIPTION] = {check_item, "a subscription id (sub_…)"},
    [ARG_CURSOR] = {check_cursor, "the next_cursor of a previous result"},
    [ARG_SEQ] = {check_seq, "the next_cursor of a previous result or the seq of an event"},
    [ARG_ENUM] = {check_enum, NULL},
    [ARG_PHONES] = {check_items, NULL},
    [ARG_EVENTS] = {check_items, NULL},
    [ARG_MESSAGE_OR_TIME] = {check_item, "a message id (msg_…) or an ISO 8601 time"},
};

/* "a,b" as people write it; a single one is no choice. */
static void put_choices(const char *choices, struct buf *out)
{
    struct slice rest = slice_text(choices), one;

    if (strchr(choices, ',')) buf_put_text(out, "one of ");
    for (const char *between = ""; slice_split(&rest, ',', &one); between = ", ")
        buf_printf(out, "%s" SLICE_FMT, between, SLICE_ARG(one));
}

void arg_expected(const struct arg *a, struct buf *out)
{
    long long min = a->min, max = a->max;

    switch (a->type) {
    case ARG_TEXT: buf_printf(out, "a text of %lld to %lld bytes", min, max); break;
    case ARG_INT: buf_printf(out, "an integer from %lld to %lld", min, max); break;
    case ARG_ENUM: put_choices(a->choices, out); break;
    case ARG_PHONES:
        buf_printf(out, "an array of at most %lld E.164 numbers with a leading +", max);
        break;
    case ARG_EVENTS:
        buf_printf(out,
                   "an array of %lld to %lld event names such as message.received, "
                   "message.* or *",
                   min, max);
        break;
    default: buf_put_text(out, types[a->type].expected);
    }
}

/* ---- the whole object ---- */

/* What is wrong so far: the first for the problem's JSON, all of it in words. */
struct findings {
    struct args_wrong *first;
    struct buf words;
    size_t count, told;
};

static void note_wrong(struct findings *f, const char *field, const char *expected,
                       const char *sentence)
{
    size_t n = strlen(sentence);

    if (f->count++ == 0) {
        snprintf(f->first->field, sizeof(f->first->field), "%s", field);
        snprintf(f->first->expected, sizeof(f->first->expected), "%s", expected);
    } else if (f->told < f->count - 1 || f->told == ARGS_WRONG_MAX ||
               f->words.len + n > ARGS_WORDS) {
        return; /* counted */
    }
    if (f->told++) buf_put_text(&f->words, "; ");
    buf_put_text(&f->words, sentence);
}

static void check_one(const struct arg *a, const struct json *v, struct findings *f)
{
    AUTO(buf) expected = {0}, sentence = {0};
    bool is_absent = !v || json_kind(v) == JSON_NIL;

    if (is_absent ? !a->required : types[a->type].check(a, v)) return;
    arg_expected(a, &expected);
    buf_printf(&sentence, is_absent ? "%s is missing: it must be %s" : "%s must be %s", a->name,
               buf_text(&expected));
    note_wrong(f, a->name, buf_text(&expected), buf_text(&sentence));
}

static const struct arg *find_arg(const struct tool *t, struct slice name)
{
    const struct arg *a;

    for (size_t i = 0; (a = tool_arg(t, i)); i++)
        if (slice_is(name, a->name)) return a;
    return NULL;
}

static void put_names(const struct tool *t, struct buf *out)
{
    const struct arg *a;

    for (size_t i = 0; (a = tool_arg(t, i)); i++)
        buf_printf(out, "%s%s", i ? ", " : "", a->name);
    if (!out->len) buf_put_text(out, "none");
}

static void note_unknown(const struct tool *t, struct slice name, struct findings *f)
{
    AUTO(buf) sentence = {0};
    char field[60];

    name = text_cut(name, sizeof(field) - 1);
    snprintf(field, sizeof(field), SLICE_FMT, SLICE_ARG(name));
    buf_printf(&sentence, "%s has no argument %s", t->name, field);
    if (f->count == 0) {
        buf_put_text(&sentence, "; it takes ");
        put_names(t, &sentence);
    }
    note_wrong(f, field, "left out", buf_text(&sentence));
}

static err_t conclude(struct findings *f)
{
    size_t untold = f->count - f->told;

    if (untold) buf_printf(&f->words, "; and %zu more", untold);
    return f->count ? fail(BAD_ARGUMENT, "%s", buf_text(&f->words)) : OK;
}

err_t args_check(const struct tool *t, const struct json *args, struct args_wrong *wrong)
{
    struct findings f = {.first = wrong};
    const struct json *v;
    const struct arg *a;
    struct slice key;
    void *at = NULL;

    if (args && json_kind(args) != JSON_OBJ) {
        note_wrong(&f, "arguments", "an object", "arguments must be an object");
    } else {
        while (json_next(args, &at, &key, &v))
            if (!find_arg(t, key)) note_unknown(t, key, &f);
        for (size_t i = 0; (a = tool_arg(t, i)); i++)
            check_one(a, json_get(args, a->name), &f);
    }
    err_t e = conclude(&f);
    buf_done(&f.words);
    return e;
}

/* ---- reading ---- */

static const struct json *member(const struct call *c, const char *name)
{
    const struct json *v = json_get(c->args, name);

    return json_kind(v) == JSON_NIL ? NULL : v;
}

bool arg_given(const struct call *c, const char *name) { return member(c, name) != NULL; }
struct slice arg_text(const struct call *c, const char *name) { return json_text(member(c, name)); }

int64_t arg_int_or(const struct call *c, const char *name, int64_t or)
{
    int64_t n;

    return json_int(member(c, name), &n) ? n : or ;
}

int64_t arg_time(const struct call *c, const char *name)
{
    int64_t ms = 0;

    return text_parse_time(arg_text(c, name), &ms) == OK ? ms : 0;
}

uint64_t arg_seq_or(const struct call *c, const char *name, uint64_t or)
{
    const struct json *v = member(c, name);
    uint64_t seq;
    int64_t n;

    if (json_int(v, &n)) return (uint64_t)n;
    return v && text_u64(json_text(v), &seq) == OK ? seq : or ;
}

size_t arg_count(const struct call *c, const char *name) { return json_count(member(c, name)); }

struct slice arg_item(const struct call *c, const char *name, size_t i)
{
    return json_text(json_at(member(c, name), i));
}
