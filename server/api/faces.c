/* Faces as JSON. Records become faces in face_read.c. */
#include "server/api/faces.h"

#include "server/api/json.h"

const char *message_status_text(unsigned status)
{
    static const char *const names[] = {
        [MESSAGE_RECEIVED] = "received",   [MESSAGE_WAITING] = "waiting",
        [MESSAGE_PENDING] = "pending",     [MESSAGE_SENT] = "sent",
        [MESSAGE_DELIVERED] = "delivered", [MESSAGE_READ] = "read",
        [MESSAGE_PLAYED] = "played",       [MESSAGE_FAILED] = "failed"};

    return status < ARRAY_LEN(names) && names[status] ? names[status] : "received";
}

static void write_person(struct pen *p, const char *key, const struct face_person *who)
{
    pen_object(p, key);
    pen_text(p, "phone", who->phone);
    pen_text(p, "lid", who->lid);
    pen_text(p, "name", who->name);
    pen_end(p);
}

void face_person_json(struct buf *out, const struct face_person *who)
{
    struct pen p = pen_on(out);

    write_person(&p, NULL, who);
}

void face_message_json(struct buf *out, const struct face_message *m)
{
    struct pen p = pen_on(out);

    pen_object(&p, NULL);
    pen_text(&p, "id", m->id);
    pen_text(&p, "chat_id", m->chat);
    pen_text(&p, "account_id", m->account);
    pen_text(&p, "whatsapp_id", m->whatsapp_id);
    pen_bool(&p, "from_me", m->from_me);
    pen_bool(&p, "is_group", m->is_group);
    write_person(&p, "sender", &m->sender);
    pen_word(&p, "type", m->type);
    pen_text(&p, "text", m->text);
    pen_text(&p, "reply_to", m->reply_to);
    pen_text(&p, "reply_to_whatsapp_id", m->reply_to_whatsapp_id);
    pen_array(&p, "mentions");
    for (size_t i = 0; i < m->mention_count; i++)
        pen_text(&p, NULL, m->mentions[i]);
    pen_end(&p);
    pen_time(&p, "sent_at", m->sent_at);
    pen_word(&p, "status", m->status);
    if (m->error) pen_int(&p, "error", m->error);
    pen_end(&p);
}
