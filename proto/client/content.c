/* Message content by table. Start at wa_body_read(). */
#include "proto/client/content.h"

#include "proto/base/text.h"
#include "proto/client/message_info.h"
#include "proto/client/pb.h"

enum body_how { LEAF, STRING, AUDIO, PROTOCOL, WRAP, WRAP_AS, SKIP };

struct body_row {
    uint16_t field;
    uint8_t kind, text, context, how;
};
static const struct body_row bodies[] = {
#define BODY(field, kind, text, context, how) {field, WA_KIND_##kind, text, context, how},
#include "proto/client/bodies.def"
#undef BODY
};

static const char *const kind_texts[] = {
#define WA_CONTENT(name, text) [WA_KIND_##name] = text,
#include "proto/client/content.def"
#undef WA_CONTENT
};

const char *wa_content_kind_text(enum wa_content_kind k)
{
    return k < WA_KIND_COUNT ? kind_texts[k] : kind_texts[WA_KIND_UNKNOWN];
}

static const struct body_row *find_row(uint32_t field)
{
    for (size_t i = 0; i < ARRAY_LEN(bodies); i++)
        if (bodies[i].field == field) return &bodies[i];
    return NULL;
}

/* The field that is the content: the first one the table knows, else the first unknown one. */
static bool pick(struct slice message, const struct body_row **out_row, struct slice *out_bytes)
{
    struct reader r = reader_of(message);
    struct wa_pb_field f;
    bool found = false;

    *out_row = NULL;
    while (wa_pb_next(&r, &f)) {
        const struct body_row *row = f.is_bytes ? find_row(f.number) : NULL;
        if (row && row->how == SKIP) continue;
        found = true;
        if (!row) continue;
        *out_row = row;
        *out_bytes = f.bytes;
        break;
    }
    return found;
}

static void read_mentions(struct slice context, struct arena *arena, struct wa_body *out)
{
    struct reader r = reader_of(context);
    struct wa_pb_field f;
    size_t n = 0;

    while (wa_pb_next(&r, &f))
        n += f.number == 15 && f.is_bytes;
    if (n == 0) return;
    if (n > WA_BODY_MENTIONS_MAX) n = WA_BODY_MENTIONS_MAX;

    struct wa_jid *list = arena_array(arena, struct wa_jid, n);
    r = reader_of(context);
    while (wa_pb_next(&r, &f) && out->mention_count < n)
        if (f.number == 15 && f.is_bytes && wa_jid_parse(f.bytes, &list[out->mention_count]) == OK)
            out->mention_count++;
    out->mentions = list;
}

static void read_context(struct slice context, struct arena *arena, struct wa_body *out)
{
    struct slice author = wa_pb_bytes(context, 2);

    out->quoted_id = wa_pb_text(context, 1);
    if (!wa_id_ok(out->quoted_id)) out->quoted_id = SLICE_NONE;
    if (slice_is_none(author) || wa_jid_parse(author, &out->quoted_author) != OK)
        out->quoted_author = (struct wa_jid){0};
    read_mentions(context, arena, out);
}

static void read_body(struct slice message, unsigned depth, struct arena *arena,
                      struct wa_body *out);

static void read_protocol(struct slice bytes, unsigned depth, struct arena *arena,
                          struct wa_body *out)
{
    enum { REVOKE = 0, EDIT = 14 };

    switch (wa_pb_int_or(bytes, 2, REVOKE)) {
    case REVOKE: out->kind = WA_KIND_REVOKE; break;
    case EDIT:
        read_body(wa_pb_bytes(bytes, 14), depth + 1, arena, out);
        out->kind = WA_KIND_EDIT;
        break;
    default: out->kind = WA_KIND_PROTOCOL; break;
    }
}

static void read_body(struct slice message, unsigned depth, struct arena *arena,
                      struct wa_body *out)
{
    const struct body_row *row;
    struct slice bytes = SLICE_NONE;

    out->is_empty = !pick(message, &row, &bytes);
    if (!row || depth > WA_BODY_WRAPS_MAX) return;

    out->kind = row->kind;
    switch (row->how) {
    case STRING: out->text = text_is_utf8(bytes) ? bytes : SLICE_NONE; return;
    case PROTOCOL: read_protocol(bytes, depth, arena, out); return;
    case WRAP:
        out->kind = WA_KIND_UNKNOWN;
        read_body(wa_pb_bytes(bytes, 1), depth + 1, arena, out);
        if (out->kind == WA_KIND_UNKNOWN) out->kind = row->kind;
        out->is_empty = false;
        return;
    case WRAP_AS:
        read_body(wa_pb_bytes(bytes, 1), depth + 1, arena, out);
        out->kind = row->kind;
        out->is_empty = false;
        return;
    case AUDIO:
        if (wa_pb_int_or(bytes, 6, 0)) out->kind = WA_KIND_VOICE;
        break;
    default: break;
    }
    if (row->text) out->text = wa_pb_text(bytes, row->text);
    if (row->context) read_context(wa_pb_bytes(bytes, row->context), arena, out);
}

void wa_body_read(struct slice message, struct arena *arena, struct wa_body *out)
{
    *out = (struct wa_body){.kind = WA_KIND_UNKNOWN};
    read_body(message, 0, arena, out);
}

void wa_body_into(const struct wa_body *body, struct wa_message *out)
{
    out->kind = body->kind;
    out->text = body->text;
    out->quoted_id = body->quoted_id;
    out->quoted_author = body->quoted_author;
    out->mentions = body->mentions;
    out->mention_count = body->mention_count;
}

/* ---- writing ---- */

static void put_jid(struct buf *out, uint32_t number, const struct wa_jid *jid)
{
    char text[WA_JID_TEXT_MAX];

    if (wa_jid_is_none(jid)) return;
    wa_pb_put_bytes(out, number, slice_text(wa_jid_text(jid, text)));
}

/* `message` without one of its fields. */
static void put_without(struct slice message, uint32_t number, struct buf *out)
{
    struct reader r = reader_of(message);
    struct wa_pb_field f;

    for (size_t from = 0; wa_pb_next(&r, &f); from = r.at)
        if (f.number != number) buf_put(out, slice_sub(message, from, r.at));
}

static void put_present(struct buf *out, uint32_t number, const struct buf *bytes)
{
    wa_pb_put_bytes(out, number, bytes->len ? buf_slice(bytes) : SLICE(""));
}

/* The content alone: neither what it quotes itself, or two who answer each other would send the
 * whole conversation every time, nor the message's secret. What we do not know is left out. */
static void put_quoted(struct slice message, unsigned depth, struct buf *out)
{
    const struct body_row *row;
    struct slice bytes = SLICE_NONE;
    AUTO(buf) inner = {0};
    AUTO(buf) wrapped = {0};

    pick(message, &row, &bytes);
    if (!row || depth > WA_BODY_WRAPS_MAX) return;
    switch (row->how) {
    case STRING: wa_pb_put_bytes(out, row->field, bytes); return;
    case WRAP: put_quoted(wa_pb_bytes(bytes, 1), depth + 1, out); return;
    case WRAP_AS: /* view once stays that */
        put_quoted(wa_pb_bytes(bytes, 1), depth + 1, &inner);
        put_present(&wrapped, 1, &inner);
        put_present(out, row->field, &wrapped);
        return;
    case PROTOCOL: return;
    default: put_without(bytes, row->context, &inner); put_present(out, row->field, &inner);
    }
}

static void write_quote(const struct wa_text *text, struct buf *out)
{
    struct wa_jid author = wa_jid_bare(&text->quoted_author);
    AUTO(buf) quoted = {0};

    put_quoted(text->quoted_raw, 0, &quoted);
    if (quoted.len > WA_QUOTED_MAX) buf_reset(&quoted);
    wa_pb_put_bytes(out, 1, text->quoted_id);
    put_jid(out, 2, &author);
    put_present(out, 3, &quoted);
}

static void write_context(const struct wa_text *text, struct buf *out)
{
    if (text->quoted_id.len) write_quote(text, out);
    for (size_t i = 0; i < text->mention_count; i++)
        put_jid(out, 15, &text->mentions[i]);
}

void wa_body_write_text(const struct wa_text *text, struct slice secret, struct buf *out)
{
    AUTO(buf) inner = {0};
    AUTO(buf) context = {0};

    write_context(text, &context);
    if (context.len == 0) {
        wa_pb_put_bytes(out, 1, text->text);
    } else {
        wa_pb_put_bytes(&inner, 1, text->text);
        wa_pb_put_bytes(&inner, 17, buf_slice(&context));
        wa_pb_put_bytes(out, 6, buf_slice(&inner));
    }

    buf_reset(&inner);
    wa_pb_put_bytes(&inner, 3, secret);
    wa_pb_put_bytes(out, 35, buf_slice(&inner));
}

const char *wa_body_stanza_type(struct slice message)
{
    AUTO(arena) arena = {0};
    struct wa_body body;

    wa_body_read(message, &arena, &body);
    switch (body.kind) {
    case WA_KIND_TEXT:
    case WA_KIND_PROTOCOL:
    case WA_KIND_REVOKE:
    case WA_KIND_EDIT:
    case WA_KIND_PIN:
    case WA_KIND_UNKNOWN: return "text";
    case WA_KIND_REACTION: return "reaction";
    case WA_KIND_POLL:
    case WA_KIND_POLL_VOTE: return "poll";
    case WA_KIND_EVENT: return "event";
    default: return "media";
    }
}
