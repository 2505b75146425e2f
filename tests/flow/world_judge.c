/* What must be true when the faults have stopped and everybody had time. */
#include "tests/flow/world.h"

#include "server/api/faces.h"

static struct {
    unsigned long letters, sends, taken, refused, lost, events;
} seen;

void judge_report(void)
{
    printf("letters held %lu, sends %lu (taken %lu, refused %lu, callers lost %lu), events %lu\n",
           seen.letters, seen.sends, seen.taken, seen.refused, seen.lost, seen.events);
}

/* ---- what the server holds ---- */

struct held {
    char id[SIM_ID_MAX], text[24];
    uint8_t status;
    bool from_me;
};
struct shelf {
    struct held items[4 * LETTERS_MAX];
    size_t count;
};

static void take(struct shelf *s, const struct db_message *m)
{
    struct held *h = &s->items[s->count];

    if (s->count == ARRAY_LEN(s->items)) return;
    *h = (struct held){.status = m->status, .from_me = m->from_me};
    snprintf(h->id, sizeof h->id, SLICE_FMT, SLICE_ARG(m->stanza_id));
    snprintf(h->text, sizeof h->text, SLICE_FMT, SLICE_ARG(m->text));
    s->count++;
}

static void read_chats(struct world *w, struct view *v, struct scope scope, struct shelf *out)
{
    enum { PEERS = 64 };
    struct db_contact contact;
    struct db_message m;

    for (uint32_t peer = 1; peer < PEERS; peer++) {
        AUTO(message_walk) walk = {0};

        if (db_contact_get(v, scope, peer, &contact) != OK || contact.alias_of) {
            err_clear();
            continue;
        }
        message_walk_all(&walk, v, scope, &contact);
        while (message_walk_next(&walk, &m))
            take(out, &m);
        if (message_walk_error(&walk) != OK) violated(w, "a chat is damaged: %s", err_trail());
    }
}

static void read_shelf(struct world *w, unsigned resident, struct shelf *out)
{
    struct view *v = w->server.accounts->workers[0].view;

    out->count = 0;
    if (view_begin(v) != OK) return;
    read_chats(w, v, (struct scope){TENANT, w->residents[resident].number}, out);
    view_end(v);
}

/* ---- letters that came in ---- */

static void judge_letter(struct world *w, unsigned resident, const struct shelf *s,
                         const struct letter *l)
{
    unsigned found = 0;

    for (size_t i = 0; i < s->count; i++) {
        const struct held *h = &s->items[i];

        if (strcmp(h->id, l->id) != 0) continue;
        found++;
        bool cut_off = h->status == MESSAGE_WAITING && (l->excused & (1u << resident));
        if (strcmp(h->text, l->text) != 0 && !cut_off)
            violated(w, "resident %u holds '%s' (status %u) for '%s' (%s)", resident, h->text,
                     h->status, l->text, l->id);
    }
    seen.letters += found;
    if (found != 1 && (found || !(l->excused & (1u << resident))))
        violated(w, "resident %u holds '%s' (%s) %u times", resident, l->text, l->id, found);
}

/* ---- sends ---- */

static unsigned copies(const struct sim_phone *p, const char *text)
{
    unsigned n = 0;

    LIST_EACH(node, (struct list *)&p->letters)
    n += slice_is(buf_slice(&LIST_ENTRY(node, struct sim_letter, link)->text), text);
    return n;
}

static const struct held *stored(const struct shelf *s, const char *text, unsigned *out_count)
{
    const struct held *last = NULL;

    *out_count = 0;
    for (size_t i = 0; i < s->count; i++) {
        if (!s->items[i].from_me || strcmp(s->items[i].text, text) != 0) continue;
        last = &s->items[i];
        ++*out_count;
    }
    return last;
}

/* A device whose bundle was forged is left out; the owner's others are not, but they may be
 * unlinked before they ask for what they could not read. */
static bool may_be_left_out(const struct world *w, const struct errand *e)
{
    return w->forged && e->person < RESIDENTS;
}

static void judge_send(struct world *w, const struct shelf *shelves, const struct errand *e)
{
    unsigned rows, arrived = copies(w->people[e->person], e->text);
    const struct held *h = stored(&shelves[e->resident], e->text, &rows);
    bool taken = h && h->status >= MESSAGE_SENT && h->status != MESSAGE_FAILED;

    seen.sends++;
    seen.taken += taken;
    seen.refused += e->call.error != OK;
    seen.lost += e->lost;
    if (rows > 1) violated(w, "'%s' of %u is stored %u times", e->text, e->resident, rows);
    if (arrived > 1) violated(w, "'%s' arrived %u times", e->text, arrived);
    if (arrived && !h) violated(w, "'%s' arrived and is not stored", e->text);
    if (h && h->status == MESSAGE_PENDING)
        violated(w, "'%s' of %u is pending for ever", e->text, e->resident);
    if (taken && !arrived && !may_be_left_out(w, e))
        violated(w, "'%s' counts as sent and did not arrive", e->text);
    if (!e->lost && e->call.error == OK && !h)
        violated(w, "'%s' is not stored though its call went well", e->text);
    if (!e->lost && e->call.error == OK && e->call.sent == ACCOUNT_SENT_OK && !taken)
        violated(w, "'%s' was sent, and is now of status %u", e->text, h ? h->status : 0);
}

/* ---- the log ---- */

/* Texts carry numbers: how often the log tells each of them, per resident. */
struct tellings {
    unsigned *received, *sent; /* by text, then resident */
};

static void count_telling(struct world *w, unsigned *counts, const struct db_event *e,
                          const char *word)
{
    const char *at = memmem(e->bytes.data, e->bytes.len, word, strlen(word));
    unsigned n = at ? (unsigned)strtoul(at + strlen(word), NULL, 10) : 0;

    for (unsigned i = 0; n && n <= w->text_count && i < RESIDENTS; i++)
        counts[n * RESIDENTS + i] += w->residents[i].number == e->head.account;
}

static void read_log(struct world *w, struct view *v, struct tellings *out)
{
    struct db_event e;
    uint64_t last = 0;
    AUTO(range) r = {0};

    db_events(&r, v, TENANT, 0, 0, RANGE_FORWARDS);
    while (db_event_next(&r, &e)) {
        if (e.seq != last + 1)
            violated(w, "the log lacks what is before %llu", (unsigned long long)e.seq);
        last = e.seq;
        seen.events++;
        if (e.head.type == event_number(EVENT_MESSAGE_RECEIVED))
            count_telling(w, out->received, &e, "\"in ");
        if (e.head.type == event_number(EVENT_MESSAGE_SENT))
            count_telling(w, out->sent, &e, "\"out ");
    }
    if (range_error(&r) != OK) violated(w, "the log is damaged: %s", err_trail());
    if (last != w->last_seq) violated(w, "the log ends before what was handed on");
}

/* Each message is told once: no text twice, and what is owed not never. */
static void judge_tellings(struct world *w, const struct tellings *t)
{
    for (unsigned at = RESIDENTS; at < (w->text_count + 1) * RESIDENTS; at++) {
        if (t->received[at] > 1 || t->sent[at] > 1)
            violated(w, "text %u was told to %u twice", at / RESIDENTS, at % RESIDENTS);
    }
    for (unsigned l = 0; l < w->letter_count; l++) {
        const struct letter *letter = &w->letters[l];
        unsigned n = (unsigned)strtoul(letter->text + strlen("in "), NULL, 10);

        for (unsigned i = 0; i < RESIDENTS; i++) {
            bool owed = (letter->readers & ~letter->excused & (1u << i)) && letter->from != i;
            if (owed && !t->received[n * RESIDENTS + i])
                violated(w, "'%s' was never told to %u", letter->text, i);
        }
    }
}

static void judge_log(struct world *w)
{
    size_t n = (size_t)(w->text_count + 1) * RESIDENTS;
    struct tellings t = {xcalloc(n * sizeof(unsigned)), xcalloc(n * sizeof(unsigned))};
    struct view *v = w->server.accounts->workers[0].view;

    if (view_begin(v) == OK) {
        read_log(w, v, &t);
        view_end(v);
        judge_tellings(w, &t);
    }
    free(t.received);
    free(t.sent);
}

/* ---- all of it ---- */

static void judge_rules(struct world *w)
{
    for (int i = 0; i < SIM_RULES; i++)
        if (w->relay.broken[i] && !(i == SIM_RULE_LOGIN_DEVICE && w->strangers))
            violated(w, "rule %s was broken %u times: %s", sim_rule_name((enum sim_rule)i),
                     w->relay.broken[i], sim_rule_text((enum sim_rule)i));
}

static void judge_calls(struct world *w)
{
    LIST_EACH(node, &w->errands)
    {
        struct errand *e = LIST_ENTRY(node, struct errand, node);
        if (!e->done) violated(w, "a call of %u never ended: '%s'", e->resident, e->text);
    }
}

static void judge_accounts(struct world *w)
{
    struct account_status status;

    for (unsigned i = 0; i < RESIDENTS; i++) {
        struct sim_device *dev = resident_device(w, i);

        if (!resident_is_connected(w, i, &status))
            violated(w, "resident %u did not come back: %s, %s", i,
                     account_state_text(status.state), wa_reason_text(status.reason));
        if (dev && dev->queue_count)
            violated(w, "resident %u owes answers for %u stanzas", i, dev->queue_count);
    }
}

bool judge_is_settled(struct world *w)
{
    struct account_status status;

    for (unsigned i = 0; i < RESIDENTS; i++) {
        struct sim_device *dev = resident_device(w, i);
        struct account *a = accounts_find(&w->server.accounts->workers[0], w->residents[i].number);

        if (!resident_is_connected(w, i, &status)) return false;
        if (!dev || dev->queue_count || !a || !list_empty(&a->outbox)) return false;
    }
    return traffic_is_over(w);
}

void judge(struct world *w)
{
    struct shelf *shelves = xcalloc(RESIDENTS * sizeof *shelves);

    judge_accounts(w);
    judge_calls(w);
    judge_rules(w);
    judge_log(w);
    if (monitor_violations()) violated(w, "something left before its commit");
    for (unsigned i = 0; i < RESIDENTS; i++) {
        read_shelf(w, i, &shelves[i]);
        for (unsigned l = 0; l < w->letter_count; l++)
            if (w->letters[l].readers & (1u << i)) judge_letter(w, i, &shelves[i], &w->letters[l]);
    }
    LIST_EACH(node, &w->errands)
    {
        struct errand *e = LIST_ENTRY(node, struct errand, node);
        if (strncmp(e->text, "out ", 4) == 0 && !e->deleted) judge_send(w, shelves, e);
    }
    free(shelves);
}
