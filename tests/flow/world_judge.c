/* What must be true when the faults have stopped and everybody had time. */
#include "tests/flow/world.h"

#include "server/api/faces.h"
#include "storage/id.h"

static struct {
    unsigned long letters, sends, asked, taken, refused, lost, readings, events;
} seen;

void judge_report(void)
{
    printf("letters held %lu, sends %lu (calls with a key or without %lu, taken %lu, refused %lu, "
           "answers lost %lu), readings %lu, events %lu\n",
           seen.letters, seen.sends, seen.asked, seen.taken, seen.refused, seen.lost, seen.readings,
           seen.events);
}

/* ---- what the server holds ---- */

static void take(struct shelf *s, uint32_t account, const struct db_message *m)
{
    struct held *h = &s->items[s->count];

    if (s->count == ARRAY_LEN(s->items)) return;
    *h = (struct held){.status = m->status, .from_me = m->from_me};
    snprintf(h->id, sizeof h->id, SLICE_FMT, SLICE_ARG(m->stanza_id));
    snprintf(h->text, sizeof h->text, SLICE_FMT, SLICE_ARG(m->text));
    id_message_text(ID_MESSAGE, account, m->place, h->name);
    s->count++;
}

static void read_chats(struct town *w, struct view *v, struct scope scope, struct shelf *out)
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
        message_walk_init(&walk, v, scope, &contact, (struct place){0}, RANGE_FORWARDS);
        while (message_walk_next(&walk, &m))
            take(out, scope.account, &m);
        if (message_walk_error(&walk) != OK) violated(w, "a chat is damaged: %s", err_trail());
    }
}

void judge_shelf(struct town *w, unsigned resident, struct shelf *out)
{
    struct view *v = w->server.accounts->workers[0].view;

    out->count = 0;
    if (view_begin(v) != OK) {
        violated(w, "the database cannot be read: %s", err_trail());
        return;
    }
    read_chats(w, v, (struct scope){TENANT, w->residents[resident].number}, out);
    view_end(v);
}

/* ---- letters that came in ---- */

static void judge_letter(struct town *w, unsigned resident, const struct shelf *s,
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

unsigned judge_copies(const struct sim_phone *p, const char *text)
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
static bool may_be_left_out(const struct town *w, unsigned person)
{
    return w->forged && person < RESIDENTS;
}

/* Texts carry numbers: how often the log tells each of them, per resident. */
struct tellings {
    unsigned *received, *sent; /* by text, then resident */
};

struct evidence {
    struct shelf shelves[RESIDENTS];
    struct tellings told;
};

static unsigned number_in(const char *text, const char *word)
{
    return (unsigned)strtoul(text + strlen(word), NULL, 10);
}

/* What must be true of a text whatever its caller heard. Gives its row, NULL. */
static const struct held *judge_text(struct town *w, const struct evidence *found,
                                     unsigned resident, unsigned person, const char *text,
                                     bool *out_taken)
{
    unsigned rows, arrived = judge_copies(w->people[person], text);
    const struct held *h = stored(&found->shelves[resident], text, &rows);
    unsigned told = found->told.sent[number_in(text, "out ") * RESIDENTS + resident];
    bool taken = h && h->status >= MESSAGE_SENT && h->status != MESSAGE_FAILED;

    seen.sends++;
    seen.taken += taken;
    if (rows > 1) violated(w, "'%s' of %u is stored %u times", text, resident, rows);
    if (arrived > 1) violated(w, "'%s' arrived %u times", text, arrived);
    if (arrived && !h) violated(w, "'%s' arrived and is not stored", text);
    if (h && h->status == MESSAGE_PENDING)
        violated(w, "'%s' of %u is pending for ever", text, resident);
    if (taken && !arrived && !may_be_left_out(w, person))
        violated(w, "'%s' counts as sent and did not arrive", text);
    if (told != taken)
        violated(w, "'%s' of %u %s, and message.sent was told %u times", text, resident,
                 taken ? "was sent" : "was not sent", told);
    *out_taken = taken;
    return h;
}

static void judge_send(struct town *w, const struct evidence *found, const struct errand *e)
{
    bool taken;
    const struct held *h = judge_text(w, found, e->resident, e->person, e->text, &taken);

    seen.refused += e->call.error != OK;
    seen.lost += e->lost;
    if (!e->lost && e->call.error == OK && !h)
        violated(w, "'%s' is not stored though its call went well", e->text);
    if (!e->lost && e->call.error == OK && e->call.sent == ACCOUNT_SENT_OK && !taken)
        violated(w, "'%s' was sent, and is now of status %u", e->text, h ? h->status : 0);
}

/* However often it was asked for, and whatever was answered in between. */
static void judge_promise(struct town *w, const struct evidence *found, const struct promise *p)
{
    bool taken;
    unsigned rows;
    const struct held *h = judge_text(w, found, p->resident, p->person, p->text, &taken);

    seen.asked += p->asked;
    seen.refused += p->error != OK;
    seen.lost += p->lost;
    if (p->message[0] && !h)
        violated(w, "'%s' is not stored though a call said %s", p->text, p->message);
    if (p->message[0] && h && strcmp(p->message, h->name) != 0)
        violated(w, "'%s' is %s, and a call said %s", p->text, h->name, p->message);
    if (p->answered_sent && !taken)
        violated(w, "'%s' was answered as sent, and is now of status %u", p->text,
                 h ? h->status : 0);
    if (p->rival && h && stored(&found->shelves[p->resident], p->rival->text, &rows))
        violated(w, "'%s' and '%s' were both sent with one key", p->text, p->rival->text);
}

/* ---- the log ---- */

static void count_telling(struct town *w, unsigned *counts, const struct past_event *e,
                          const char *word)
{
    const char *at = memmem(e->bytes.data, e->bytes.len, word, strlen(word));
    unsigned n = at ? number_in(at, word) : 0;

    for (unsigned i = 0; n && n <= w->text_count && i < RESIDENTS; i++)
        counts[n * RESIDENTS + i] += w->residents[i].number == e->head.account;
}

/* All that was ever told, also what retention has cut since. */
static void read_tellings(struct town *w, struct tellings *out)
{
    for (uint64_t i = 0; i < w->past.count; i++) {
        const struct past_event *e = &w->past.events[i];

        seen.events++;
        if (e->head.type == event_number(EVENT_MESSAGE_RECEIVED))
            count_telling(w, out->received, e, "\"in ");
        if (e->head.type == event_number(EVENT_MESSAGE_SENT))
            count_telling(w, out->sent, e, "\"out ");
    }
}

/* Each message is told once: no text twice, and what is owed not never. */
static void judge_tellings(struct town *w, const struct tellings *t)
{
    for (unsigned at = RESIDENTS; at < (w->text_count + 1) * RESIDENTS; at++) {
        if (t->received[at] > 1 || t->sent[at] > 1)
            violated(w, "text %u was told to %u twice", at / RESIDENTS, at % RESIDENTS);
    }
    for (unsigned l = 0; l < w->letter_count; l++) {
        const struct letter *letter = &w->letters[l];
        unsigned n = number_in(letter->text, "in ");

        for (unsigned i = 0; i < RESIDENTS; i++) {
            bool owed = (letter->readers & ~letter->excused & (1u << i)) && letter->from != i;
            if (owed && !t->received[n * RESIDENTS + i])
                violated(w, "'%s' was never told to %u", letter->text, i);
        }
    }
}

bool judge_holds(struct town *w, unsigned resident, const struct letter *l)
{
    struct shelf *s = xcalloc(sizeof *s);
    bool found = false;

    judge_shelf(w, resident, s);
    for (size_t i = 0; i < s->count && !found; i++)
        found = strcmp(s->items[i].id, l->id) == 0 && strcmp(s->items[i].text, l->text) == 0;
    free(s);
    return found;
}

bool judge_is_read(struct town *w, unsigned resident, const char *text)
{
    struct shelf *s = xcalloc(sizeof *s);
    unsigned count;
    const struct held *h;

    judge_shelf(w, resident, s);
    h = stored(s, text, &count);
    bool is_read = h && h->status == MESSAGE_READ;
    free(s);
    return is_read;
}

static void judge_log(struct town *w, struct tellings *told)
{
    size_t n = (size_t)(w->text_count + 1) * RESIDENTS;

    told->received = xcalloc(n * sizeof(unsigned));
    told->sent = xcalloc(n * sizeof(unsigned));
    log_judge(w);
    read_tellings(w, told);
    judge_tellings(w, told);
}

/* ---- receipts ---- */

/* A receipt that was acknowledged has left its mark. What was refused for good stays so. */
static void judge_reading(struct town *w, const struct shelf *s, const struct read_mark *r)
{
    unsigned rows;
    const struct held *h = stored(s, r->text, &rows);

    if (r->excused || !h) return;
    seen.readings++;
    if (h->status != MESSAGE_READ && h->status != MESSAGE_FAILED)
        violated(w, "'%s' was read, and is of status %u at %u", r->text, h->status, r->resident);
}

/* ---- all of it ---- */

/* What the server is not to blame for. */
static bool is_expected(const struct town *w, int rule)
{
    return (rule == SIM_RULE_LOGIN_DEVICE && w->strangers) ||
           (rule == SIM_RULE_MSG_MEMBER && w->somebody_left);
}

static void judge_rules(struct town *w)
{
    for (int i = 0; i < SIM_RULES; i++)
        if (w->relay.broken[i] && !is_expected(w, i))
            violated(w, "rule %s was broken %u times: %s", sim_rule_name((enum sim_rule)i),
                     w->relay.broken[i], sim_rule_text((enum sim_rule)i));
}

static void judge_calls(struct town *w)
{
    LIST_EACH(node, &w->errands)
    {
        struct errand *e = LIST_ENTRY(node, struct errand, node);
        if (!e->done) violated(w, "a call of %u never ended: '%s'", e->resident, e->text);
    }
    if (!calls_are_over(w)) violated(w, "a call of the API never ended");
}

static void judge_accounts(struct town *w)
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

bool judge_is_settled(struct town *w)
{
    struct account_status status;

    for (unsigned i = 0; i < RESIDENTS; i++) {
        struct sim_device *dev = resident_device(w, i);
        struct account *a = house_account(w, i);

        if (!resident_is_connected(w, i, &status)) return false;
        if (!dev || dev->queue_count || !a || !list_empty(&a->outbox)) return false;
    }
    return traffic_is_over(w) && calls_are_over(w);
}

/* ---- what the server keeps of its past ---- */

static size_t memory_of(struct town *w, unsigned resident)
{
    struct account *a = house_account(w, resident);

    if (!a || !a->client) return 0;
    if (a->undurable || a->call_count || !list_empty(&a->turns) || !list_empty(&a->outbox))
        violated(w, "resident %u still has something to do", resident);
    return wa_client_memory(a->client);
}

/* Accounts that lived through all that are as small as ones that were just opened; the server with
 * all its tables is not much larger. */
void judge_memory(struct town *w)
{
    enum {
        BUFFER = 1024,      /* what a link keeps between two frames */
        HOUSE = 192 * 1024, /* tables that have grown once; 70 KB at most in 261 worlds */
    };
    size_t before[RESIDENTS];

    for (unsigned i = 0; i < RESIDENTS; i++)
        before[i] = memory_of(w, i);
    size_t all = memory_in_use();
    house_restart(w);
    world_settle_down(w);
    if (all > memory_in_use() + HOUSE)
        violated(w, "the server has %zu bytes more than a fresh one", all - memory_in_use());
    for (unsigned i = 0; i < RESIDENTS; i++) {
        size_t fresh = memory_of(w, i);
        if (before[i] > fresh + BUFFER)
            violated(w, "resident %u has %zu bytes, and %zu when it is fresh", i, before[i], fresh);
    }
}

void judge(struct town *w)
{
    struct evidence *found = xcalloc(sizeof *found);

    judge_accounts(w);
    judge_calls(w);
    judge_rules(w);
    judge_log(w, &found->told);
    streams_judge(w);
    if (monitor_violations()) violated(w, "something left before its commit");
    for (unsigned i = 0; i < RESIDENTS; i++) {
        judge_shelf(w, i, &found->shelves[i]);
        for (unsigned l = 0; l < w->letter_count; l++)
            if (w->letters[l].readers & (1u << i))
                judge_letter(w, i, &found->shelves[i], &w->letters[l]);
    }
    LIST_EACH(node, &w->errands)
    {
        struct errand *e = LIST_ENTRY(node, struct errand, node);
        if (strncmp(e->text, "out ", 4) == 0 && !e->deleted) judge_send(w, found, e);
    }
    LIST_EACH(node, &w->promises)
    {
        struct promise *p = LIST_ENTRY(node, struct promise, node);
        if (!p->deleted) judge_promise(w, found, p);
    }
    for (unsigned i = 0; i < w->reading_count; i++)
        judge_reading(w, &found->shelves[w->readings[i].resident], &w->readings[i]);
    free(found->told.received);
    free(found->told.sent);
    free(found);
}
