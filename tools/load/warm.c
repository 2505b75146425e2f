/* A contact's first messages repeat the key agreement until it is answered; so each is. */
#include "tools/load/load.h"

#include <stdlib.h>

enum { AGAIN_MS = 20 };

struct known {
    char chat[72];
};

static struct {
    struct known *all; /* by contact; the first `count` of them are known */
    size_t count, wanted;
    /* the answers under way */
    size_t *queue, put, taken, answered, from, asked;
    struct peer *stream, *askers[LOAD_ASKERS];
    bool idle[LOAD_ASKERS];
    size_t asking[LOAD_ASKERS]; /* whom */
    bool again[LOAD_ASKERS];    /* was told to come later */
    void (*done)(struct load *l);
} warm;

const char *warm_chat(size_t i) { return warm.all[i].chat; }

static void end_of_answers(struct load *l)
{
    for (size_t i = 0; i < LOAD_ASKERS; i++)
        peer_close(warm.askers[i]);
    free(warm.queue);
    warm.queue = NULL;
    warm.done(l);
}

static void ask(struct peer *p)
{
    char body[160];

    snprintf(body, sizeof body, "{\"chat_id\":\"%s\",\"text\":\"welcome\"}",
             warm_chat(warm.asking[p->number]));
    peer_ask(p, "POST", "/v1/messages", body);
}

static void ask_next(struct peer *p)
{
    warm.idle[p->number] = warm.taken == warm.put;
    if (warm.idle[p->number]) return;
    warm.asking[p->number] = warm.queue[warm.taken++];
    ask(p);
}

static void on_again(uv_timer_t *t)
{
    for (size_t i = 0; i < LOAD_ASKERS; i++) {
        bool again = warm.again[i];
        warm.again[i] = false;
        if (again) ask(warm.askers[i]);
    }
}

static void on_sent(struct peer *p, int status, struct slice body)
{
    if (status == 429 || status == 409) { /* one account answers many; or its link is just away */
        warm.again[p->number] = true;
        uv_timer_start(&p->load->timer, on_again, AGAIN_MS, 0);
        return;
    }
    if (status != 200) load_fail("answer to a contact: %d " SLICE_FMT, status, SLICE_ARG(body));
    if (++warm.answered == warm.asked)
        end_of_answers(p->load);
    else
        ask_next(p);
}

/* `asked` answers will be put into the queue. */
static void begin_answers(struct load *l, size_t asked, void (*done)(struct load *l))
{
    warm.put = warm.taken = warm.answered = 0;
    warm.asked = asked;
    warm.done = done;
    warm.queue = xcalloc(asked * sizeof *warm.queue);
    for (size_t i = 0; i < LOAD_ASKERS; i++) {
        warm.askers[i] = peer_new(l, NULL);
        warm.askers[i]->on_answer = on_sent;
        warm.askers[i]->number = i;
        warm.idle[i] = true;
    }
}

static void put_answer(size_t contact)
{
    warm.queue[warm.put++] = contact;
    for (size_t i = 0; i < LOAD_ASKERS; i++)
        if (warm.idle[i]) {
            ask_next(warm.askers[i]);
            return;
        }
}

void warm_answer(struct load *l, size_t contacts, void (*done)(struct load *l))
{
    begin_answers(l, contacts, done);
    for (size_t i = 0; i < contacts; i++)
        put_answer(i);
}

/* ---- getting to know each other ---- */

static void say_hello(struct load *l)
{
    char text[32];

    if (warm.from == warm.wanted) return;
    snprintf(text, sizeof text, "hello %zu", warm.from);
    load_write(l, warm.from++, text);
}

static void on_frame(struct peer *p, struct slice frame)
{
    const char *data = memmem(frame.data, frame.len, "data: ", 6);
    size_t at = data ? (size_t)((const uint8_t *)data - frame.data) + 6 : frame.len;
    json_t *event = json_loadb((const char *)frame.data + at, frame.len - at, 0, NULL);
    json_t *members = json_object_get(event, "data");
    const char *chat = json_string_value(json_object_get(members, "chat_id"));
    const char *text = json_string_value(json_object_get(members, "text"));
    size_t i;

    if (chat && text && sscanf(text, "hello %zu", &i) == 1 && i < warm.wanted) {
        snprintf(warm.all[i].chat, sizeof warm.all[i].chat, "%s", chat);
        put_answer(i);
        say_hello(p->load);
    }
    json_decref(event);
}

static void on_stream(struct peer *p)
{
    enum { AT_ONCE = 16 };

    for (size_t i = 0; i < AT_ONCE; i++)
        say_hello(p->load);
}

static void (*after_warm)(struct load *l);

static void on_warm(struct load *l)
{
    peer_close(warm.stream);
    warm.count = warm.wanted;
    after_warm(l);
}

void warm_start(struct load *l, size_t contacts, void (*done)(struct load *l))
{
    if (contacts <= warm.count) {
        done(l);
        return;
    }
    after_warm = done;
    warm.wanted = contacts;
    warm.from = warm.count;
    warm.all = xrealloc(warm.all, contacts * sizeof *warm.all);
    begin_answers(l, contacts - warm.count, on_warm);
    warm.stream = peer_new(l, NULL);
    warm.stream->on_frame = on_frame;
    warm.stream->on_stream = on_stream;
    peer_ask(warm.stream, "GET", "/v1/events?events=message.received", NULL);
}
