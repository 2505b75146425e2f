/* A contact's first messages repeat the key agreement until it is answered; so each is. */
#include "tools/load/load.h"

#include <stdlib.h>

static struct {
    size_t contacts, answered;
    struct peer stream, caller;
    struct buf queue[4096]; /* bodies of calls */
    char chats[4096][64];
    size_t put, taken;
    bool busy;
    void (*done)(struct load *l);
} warm;

static void call_next(void)
{
    if (warm.busy || warm.taken == warm.put) return;
    warm.busy = true;
    peer_ask(&warm.caller, "POST", "/v1/messages", buf_text(&warm.queue[warm.taken++]));
}

static void finish(struct load *l)
{
    peer_close(&warm.stream);
    peer_close(&warm.caller);
    for (size_t i = 0; i < warm.put; i++)
        buf_done(&warm.queue[i]);
    warm.done(l);
}

static void on_sent(struct peer *p, int status, struct slice body)
{
    warm.busy = false;
    if (status != 200) load_fail("answer to a contact: %d " SLICE_FMT, status, SLICE_ARG(body));
    if (++warm.answered == warm.contacts)
        finish(p->load);
    else
        call_next();
}

static void on_frame(struct peer *p, struct slice frame)
{
    const char *data = memmem(frame.data, frame.len, "data: ", 6);
    size_t from = data ? (size_t)((const uint8_t *)data - frame.data) + 6 : 0;
    json_t *event =
        data ? json_loadb((const char *)frame.data + from, frame.len - from, 0, NULL) : NULL;
    const char *name = json_string_value(json_object_get(event, "event"));
    const char *chat =
        json_string_value(json_object_get(json_object_get(event, "data"), "chat_id"));

    if (name && chat && strcmp(name, "message.received") == 0 && warm.put < warm.contacts) {
        snprintf(warm.chats[warm.put], sizeof warm.chats[0], "%s", chat);
        buf_printf(&warm.queue[warm.put++], "{\"chat_id\":\"%s\",\"text\":\"welcome\"}", chat);
        call_next();
    }
    json_decref(event);
}

static void on_stream(struct peer *p)
{
    char from[LOAD_NUMBER_MAX], to[LOAD_NUMBER_MAX];

    for (size_t i = 0; i < warm.contacts; i++)
        load_write(p->load, load_contact(i, from), load_account(i, to), "hello");
}

const char *warm_chat(size_t i) { return warm.chats[i]; }

void warm_start(struct load *l, size_t contacts, void (*done)(struct load *l))
{
    if (contacts > ARRAY_LEN(warm.queue)) load_fail("too many contacts");
    warm.contacts = contacts;
    warm.done = done;
    load_contacts(l, contacts);
    peer_init(l, &warm.stream);
    peer_init(l, &warm.caller);
    warm.stream.on_frame = on_frame;
    warm.stream.on_stream = on_stream;
    warm.caller.on_answer = on_sent;
    peer_ask(&warm.stream, "GET", "/v1/events?events=message.received", NULL);
}
