/* From records to faces: at most three more look-ups per message, the sender's contact and the
 * place of the quoted message. */
#include "proto/client/events.h"
#include "proto/wire/jid.h"
#include "server/api/faces.h"
#include "storage/seen.h"

struct slice face_phone(struct arena *arena, struct slice jid)
{
    struct wa_jid j;

    if (jid.len == 0 || wa_jid_parse(jid, &j) != OK || j.server != WA_SERVER_USER)
        return SLICE_NONE;
    return arena_printf(arena, "+" SLICE_FMT, SLICE_ARG(j.user));
}

static struct slice or_none(struct slice s) { return s.len ? s : SLICE_NONE; }

void face_person_of(struct arena *arena, const struct db_contact *c, struct face_person *out)
{
    *out = (struct face_person){
        .phone = face_phone(arena, c->pn),
        .lid = or_none(c->lid),
        .name = c->full_name.len       ? c->full_name
                : c->business_name.len ? c->business_name
                                       : or_none(c->push_name),
    };
}

void face_mentions_add(struct buf *out, struct slice jid)
{
    buf_put(out, jid);
    buf_put_u8(out, '\n');
}

enum { MENTIONS_SHOWN = 256 };

static void read_mentions(struct arena *arena, struct slice packed, struct face_message *out)
{
    struct slice *list, jid;

    if (!packed.len) return; /* most have none, and the array is long */
    list = arena_array(arena, struct slice, MENTIONS_SHOWN);
    out->mentions = list;
    while (out->mention_count < MENTIONS_SHOWN && slice_split(&packed, '\n', &jid)) {
        struct slice phone = face_phone(arena, jid);
        if (jid.len) list[out->mention_count++] = slice_is_none(phone) ? jid : phone;
    }
}

static err_t read_sender(struct arena *arena, struct view *v, struct scope scope,
                         const struct face_person *self, const struct db_contact *chat,
                         const struct db_message *m, struct face_person *out)
{
    struct db_contact author = *chat;

    if (m->from_me) {
        *out = *self;
        return OK;
    }
    if (m->author_peer && m->author_peer != chat->peer)
        TRY(db_contact_resolve(v, scope, m->author_peer, 0, &author));
    face_person_of(arena, &author, out);
    return OK;
}

/* The quoted message's author is none in `seen` when it is ourselves. */
static err_t read_quote(struct arena *arena, struct view *v, struct scope scope,
                        const struct db_contact *chat, const struct db_message *m,
                        struct face_message *out)
{
    struct place place = {0};
    char id[ID_TEXT_MAX];

    if (m->quoted_id.len == 0) return OK;
    out->reply_to_whatsapp_id = m->quoted_id;
    TRY(db_seen_find(v, scope, chat, m->quoted_author, m->quoted_id, &place));
    if (place_is_none(place)) TRY(db_seen_find(v, scope, chat, SLICE_NONE, m->quoted_id, &place));
    if (place_is_none(place)) return OK;
    id_message_text(ID_MESSAGE, scope.account, place, id);
    out->reply_to = arena_dup(arena, slice_text(id));
    return OK;
}

err_t face_message_read(struct arena *arena, struct view *v, struct scope scope,
                        struct slice account, const struct face_person *self,
                        const struct db_contact *chat, const struct db_message *m,
                        struct face_message *out)
{
    char id[ID_TEXT_MAX];

    *out = (struct face_message){
        .account = account,
        .whatsapp_id = m->stanza_id,
        .from_me = m->from_me,
        .is_group = chat->kind == CONTACT_GROUP,
        .type = wa_content_kind_text(m->type < WA_KIND_COUNT ? m->type : WA_KIND_UNKNOWN),
        .text = or_none(m->text),
        .sent_at = m->occurred_ms,
        .status = message_status_text(m->status),
        .error = m->error,
    };
    id_message_text(ID_MESSAGE, scope.account, m->place, id);
    out->id = arena_dup(arena, slice_text(id));
    id_chat_text(ID_CHAT, scope.account, chat->peer, chat->secret, id);
    out->chat = arena_dup(arena, slice_text(id));
    read_mentions(arena, m->mentions, out);
    TRY(read_sender(arena, v, scope, self, chat, m, &out->sender));
    return read_quote(arena, v, scope, chat, m, out);
}
