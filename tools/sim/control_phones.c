/* The control API's view of phones: what their owners do with them. */
#include "tools/sim/control.h"

#include "proto/base/text.h"

static json_t *describe_phone(const struct sim_phone *p)
{
    static const char *const scans[] = {"none", "waiting", "paired", "refused"};
    json_t *o = json_object(), *companions = json_array();
    char name[SIM_NUMBER_MAX + 8];

    sim_json_set(o, "number", sim_json_text(p->account->number));
    sim_json_set(o, "lid", sim_json_text(p->account->lid));
    sim_json_set(o, "name", sim_json_text(p->account->name));
    sim_json_set(o, "online", json_boolean(p->conn != NULL));
    sim_json_set(o, "scan", sim_json_text(scans[p->scan]));
    LIST_EACH(l, &p->account->devices)
    {
        struct sim_device *dev = LIST_ENTRY(l, struct sim_device, link);

        if (dev->id != 0)
            json_array_append_new(companions, sim_json_text(sim_device_name(dev, name)));
    }
    sim_json_set(o, "companions", companions);
    return o;
}

err_t sim_post_phones(struct sim_answer *a)
{
    struct slice number, name = sim_text_member(a->q, "name");
    struct sim_phone *p;

    TRY(sim_need_text(a->q, "number", &number));
    number = sim_plain_number(number);
    if (sim_phone_find(&a->q->server->phones, number))
        return fail(STORE_LOCKED, "there is a phone with this number");
    TRY(sim_phone_new(&a->q->server->phones, number, sim_text_member(a->q, "lid"),
                      name.len ? name : number, &p));
    json_object_update_new(a->out, describe_phone(p));
    return OK;
}

err_t sim_get_phones(struct sim_answer *a)
{
    json_t *phones = json_array();

    LIST_EACH(l, &a->q->server->phones.phones)
    json_array_append_new(phones, describe_phone(LIST_ENTRY(l, struct sim_phone, link)));
    sim_json_set(a->out, "phones", phones);
    return OK;
}

err_t sim_get_phone(struct sim_answer *a)
{
    struct sim_phone *p;

    TRY(sim_phone_of_path(a->q, &p));
    json_object_update_new(a->out, describe_phone(p));
    return OK;
}

err_t sim_post_scan(struct sim_answer *a)
{
    struct sim_phone *p;
    struct slice qr;

    TRY(sim_phone_of_path(a->q, &p));
    TRY(sim_need_text(a->q, "qr", &qr));
    TRY(sim_phone_scan(p, qr));
    json_object_update_new(a->out, describe_phone(p));
    return OK;
}

err_t sim_post_link(struct sim_answer *a)
{
    struct sim_phone *p;
    struct slice code;

    TRY(sim_phone_of_path(a->q, &p));
    TRY(sim_need_text(a->q, "code", &code));
    TRY(sim_phone_type_code(p, code));
    json_object_update_new(a->out, describe_phone(p));
    return OK;
}

static err_t write_letter(struct sim_answer *a, struct sim_phone *p, struct sim_writing *w)
{
    char id[SIM_ID_MAX];
    struct sim_letter *letter;

    TRY(sim_phone_write(p, w, id));
    sim_server_settle(a->q->server);
    letter = sim_phone_letter(p, slice_text(id));
    sim_json_set(a->out, "message_id", sim_json_text(id));
    sim_json_set(a->out, "status",
                 sim_json_text(letter->error  ? "failed"
                               : letter->sent ? "sent"
                                              : "pending"));
    if (letter->error) sim_json_set(a->out, "error_code", json_integer(letter->error));
    return OK;
}

/* `message` is a packed Message in base64, for every kind of content that is no text. */
err_t sim_post_send(struct sim_answer *a)
{
    struct sim_writing w = {.quote = sim_text_member(a->q, "quote"),
                            .type = sim_text_member(a->q, "type"),
                            .mediatype = sim_text_member(a->q, "mediatype"),
                            .edit = sim_text_member(a->q, "edit")};
    AUTO(buf) message = {0};
    struct sim_phone *p;

    TRY(sim_phone_of_path(a->q, &p));
    w.to = sim_text_member(a->q, "group");
    if (w.to.len == 0) TRY(sim_need_text(a->q, "to", &w.to));
    TRY(text_unbase64(sim_text_member(a->q, "message"), &message));
    w.message = buf_slice(&message);
    if (w.message.len == 0) TRY(sim_need_text(a->q, "text", &w.text));
    return write_letter(a, p, &w);
}

err_t sim_post_reply(struct sim_answer *a)
{
    struct sim_writing w = {0};
    struct sim_letter *letter;
    struct sim_phone *p;

    TRY(sim_phone_of_path(a->q, &p));
    TRY(sim_need_text(a->q, "message_id", &w.quote));
    TRY(sim_need_text(a->q, "text", &w.text));
    letter = sim_phone_letter(p, w.quote);
    if (!letter) return fail(NOT_FOUND, "no message with this id");
    w.to = buf_slice(&letter->chat);
    return write_letter(a, p, &w);
}

err_t sim_post_read(struct sim_answer *a)
{
    struct sim_phone *p;
    struct slice id;

    TRY(sim_phone_of_path(a->q, &p));
    TRY(sim_need_text(a->q, "message_id", &id));
    return sim_phone_read(p, id);
}

err_t sim_post_typing(struct sim_answer *a)
{
    struct sim_phone *p;
    struct slice to;

    TRY(sim_phone_of_path(a->q, &p));
    TRY(sim_need_text(a->q, "to", &to));
    return sim_phone_typing(p, to, !slice_is(sim_text_member(a->q, "state"), "paused"));
}

static err_t go(struct sim_answer *a, bool online)
{
    struct sim_phone *p;

    TRY(sim_phone_of_path(a->q, &p));
    sim_phone_go(p, online);
    return sim_get_phone(a);
}

err_t sim_post_offline(struct sim_answer *a) { return go(a, false); }
err_t sim_post_online(struct sim_answer *a) { return go(a, true); }

err_t sim_post_unlink(struct sim_answer *a)
{
    struct sim_phone *p;

    TRY(sim_phone_of_path(a->q, &p));
    TRY(sim_phone_unlink(p, sim_int_member(a->q, "device", 0)));
    return sim_get_phone(a);
}

static const char *letter_status(const struct sim_letter *letter)
{
    if (!letter->from_me) return letter->read ? "read" : "received";
    if (letter->error) return "failed";
    if (letter->read_by_peer) return "read";
    return letter->delivered ? "delivered" : letter->sent ? "sent" : "pending";
}

static json_t *describe_letter(const struct sim_letter *letter)
{
    json_t *o = json_object();

    sim_json_set(o, "id", sim_json_text(letter->id));
    sim_json_set(o, "from", sim_json_text(letter->from));
    sim_json_set(o, "device", json_integer(letter->device));
    sim_json_set(o, "chat", sim_json_slice(buf_slice(&letter->chat)));
    sim_json_set(o, "kind", sim_json_text(letter->kind));
    sim_json_set(o, "text", sim_json_slice(buf_slice(&letter->text)));
    if (letter->quoted.len) sim_json_set(o, "quoted", sim_json_slice(buf_slice(&letter->quoted)));
    sim_json_set(o, "from_me", json_boolean(letter->from_me));
    sim_json_set(o, "status", sim_json_text(letter_status(letter)));
    if (letter->error) sim_json_set(o, "error_code", json_integer(letter->error));
    sim_json_time(o, "at", letter->at * 1000);
    return o;
}

err_t sim_get_inbox(struct sim_answer *a)
{
    struct sim_phone *p;

    TRY(sim_phone_of_path(a->q, &p));
    json_t *messages = json_array();
    LIST_EACH(l, &p->letters)
    json_array_append_new(messages, describe_letter(LIST_ENTRY(l, struct sim_letter, link)));
    sim_json_set(a->out, "messages", messages);
    return OK;
}
