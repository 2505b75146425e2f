#include "tools/sim/alive.h"

#include <stdio.h>

static const struct {
    const char *number, *name;
} contacts[] = {
    {"15550100001", "Ada"},      {"15550100002", "Grace"},  {"15550100003", "Linus"},
    {"15550100004", "Margaret"}, {"15550100005", "Dennis"},
};

static const char *const openings[] = {
    "Hello! This is a living contact of the sandbox. Write back and I will answer.",
    "Hi, are you open tomorrow?",
    "Could you send me the address again, please?",
    "Good morning! I have a question about my order 1042.",
    "Thanks for yesterday. When shall we meet next?",
};

static const char *const answers[] = {
    "Thank you, that helps.",
    "Great, see you then!",
    "Understood. I will come back.",
    "Perfect. One more thing: what does it cost?",
    "All right, thanks for the quick answer.",
};

enum {
    FIRST_MS = 2000,
    BETWEEN_MS = 4000,
    ANSWER_MS = 1500,
    SPREAD_MS = 1500,
    GREETERS = 3,
    RETURN_MS = 6000,     /* after a login */
    AGAIN_MS = 10 * 60000 /* and then as long as it stays */
};

/* A line that will be said later; the timer carries "from\nto\ntext". */
static void say(struct sim_relay *r, struct sim_timer *t)
{
    struct sim_phones *ps = (struct sim_phones *)(uintptr_t)t->value;
    struct slice rest = buf_slice(&t->bytes), from, to;
    char id[SIM_ID_MAX];
    struct sim_phone *p;

    if (!slice_split(&rest, '\n', &from) || !slice_split(&rest, '\n', &to)) return;
    p = sim_phone_find(ps, from);
    if (p && sim_phone_write(p, &(struct sim_writing){.to = to, .text = rest}, id) != OK)
        err_clear();
}

static void say_later(struct sim_alive *a, int64_t in_ms, const char *from, const char *to,
                      const char *text)
{
    struct sim_timer *t = sim_after(a->phones->relay, in_ms, say, 0);

    t->value = (int64_t)(uintptr_t)a->phones;
    buf_printf(&t->bytes, "%s\n%s\n%s", from, to, text);
}

static int64_t spread(struct sim_alive *a)
{
    return (int64_t)(sim_random(a->phones->relay) % SPREAD_MS);
}

static bool is_alive(const char *number)
{
    for (size_t i = 0; i < ARRAY_LEN(contacts); i++)
        if (strcmp(number, contacts[i].number) == 0) return true;
    return false;
}

static void on_paired(void *ctx, struct sim_phone *p, struct wa_jid companion)
{
    struct sim_alive *a = ctx;
    uint64_t first = sim_random(a->phones->relay);

    if (is_alive(p->account->number)) return;
    for (size_t i = 0; i < GREETERS; i++) {

        say_later(a, FIRST_MS + (int64_t)i * BETWEEN_MS + spread(a),
                  contacts[(first + i) % ARRAY_LEN(contacts)].number, p->account->number,
                  openings[(first + i) % ARRAY_LEN(openings)]);
    }
}

/* Writes to the device's account, and comes again while it is connected. */
static void on_again(struct sim_relay *r, struct sim_timer *t)
{
    struct sim_alive *a = (struct sim_alive *)(uintptr_t)t->value;
    struct sim_conn *c = sim_conn_find(r, t->conn);
    uint64_t pick = sim_random(r);

    if (!c || !c->device || c->device->conn != c) return;
    say_later(a, 0, contacts[pick % ARRAY_LEN(contacts)].number, c->device->account->number,
              openings[a->told++ % ARRAY_LEN(openings)]);
    sim_after(r, AGAIN_MS, on_again, t->conn)->value = t->value;
}

void sim_alive_on_login(struct sim_alive *a, struct sim_device *device)
{
    if (is_alive(device->account->number)) return;
    sim_after(a->phones->relay, RETURN_MS, on_again, device->conn->id)->value =
        (int64_t)(uintptr_t)a;
}

/* Living contacts read what they get and answer people, never each other. */
static void on_letter(void *ctx, struct sim_phone *p, const struct sim_letter *letter)
{
    struct sim_alive *a = ctx;

    if (!is_alive(p->account->number) || is_alive(letter->from)) return;
    if (!slice_is(slice_of(letter->chat.data, letter->chat.len), letter->from))
        return; /* a group */
    if (sim_phone_read(p, slice_text(letter->id)) != OK) err_clear();
    say_later(a, ANSWER_MS + spread(a), p->account->number, letter->from,
              answers[a->told++ % ARRAY_LEN(answers)]);
}

void sim_alive_start(struct sim_alive *a, struct sim_phones *phones)
{
    struct sim_phone *p;

    a->phones = phones;
    phones->on_paired = on_paired;
    phones->on_letter = on_letter;
    phones->ctx = a;
    for (size_t i = 0; i < ARRAY_LEN(contacts); i++)
        if (!sim_phone_find(phones, slice_text(contacts[i].number)) &&
            sim_phone_new(phones, slice_text(contacts[i].number), SLICE_NONE,
                          slice_text(contacts[i].name), &p) != OK)
            err_clear();
}
