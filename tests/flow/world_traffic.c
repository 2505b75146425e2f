/* What people do on their phones and what callers ask of the server. */
#include "tests/flow/world.h"

const char *number_of(unsigned person)
{
    static const char *const numbers[PEOPLE] = {"15550001111", "15550002222", "15550003333",
                                                "15550004444", "15550005555"};
    return numbers[person];
}

/* ---- calls ---- */

static err_t run(struct account_call *c, struct account *a, struct turn *t)
{
    struct errand *e = CONTAINER_OF(c, struct errand, call);

    return e->act(e, a, t);
}

static void done(struct account_call *c, struct worker *home)
{
    struct errand *e = CONTAINER_OF(c, struct errand, call);
    struct town *w = e->world;

    if (e->done) violated(w, "a call ended twice");
    e->done = true;
    if (c->chat[0]) memcpy(w->residents[e->resident].chat, c->chat, sizeof c->chat);
    note(w, "call of %u %s ends: %s%s", e->resident, e->text, err_name(c->error),
         c->sent == ACCOUNT_SENT_PENDING ? " pending" : "");
}

struct errand *traffic_errand(struct town *w, unsigned resident,
                              err_t (*act)(struct errand *, struct account *, struct turn *))
{
    struct errand *e = xcalloc(sizeof *e);

    e->world = w;
    e->resident = resident;
    e->act = act;
    e->call.home = clock_any(w);
    e->call.run = run;
    e->call.done = done;
    memcpy(e->call.account, w->residents[resident].id, sizeof e->call.account);
    list_push(&w->errands, &e->node);
    return e;
}

static err_t pair(struct errand *e, struct account *a, struct turn *t)
{
    e->world->residents[e->resident].number = a->scope.account;
    return account_pair(a, t, &e->call);
}

static err_t send(struct errand *e, struct account *a, struct turn *t)
{
    struct wa_text text = {
        .to = {.pn = wa_jid_of(WA_SERVER_USER, slice_text(number_of(e->person)), 0)},
        .text = slice_text(e->text)};

    return account_send_text(a, t, &e->call, &text);
}

static err_t mark_read(struct errand *e, struct account *a, struct turn *t)
{
    return account_mark_read(a, t, slice_text(e->world->residents[e->resident].chat));
}

static err_t reconnect(struct errand *e, struct account *a, struct turn *t)
{
    return account_reconnect(a, t);
}

void traffic_hand_over(struct errand *e)
{
    clock_enter(e->call.home);
    account_ask(&e->world->server, &e->call);
    clock_leave();
}

void traffic_reconnect(struct town *w, unsigned resident)
{
    struct errand *e = traffic_errand(w, resident, reconnect);

    note(w, "call: %u reconnects", resident);
    traffic_hand_over(e);
}

struct errand *traffic_send(struct town *w, unsigned resident, unsigned person)
{
    struct errand *e = traffic_errand(w, resident, send);

    e->person = person;
    snprintf(e->text, sizeof e->text, "out %u.", ++w->text_count);
    traffic_hand_over(e);
    return e;
}

static void call_send(struct town *w)
{
    struct errand *e = traffic_errand(w, (unsigned)roll(w, RESIDENTS), send);

    do {
        e->person = (unsigned)roll(w, PEOPLE);
    } while (e->person == e->resident);
    snprintf(e->text, sizeof e->text, "out %u.", ++w->text_count);
    note(w, "call: %u sends %s to %u", e->resident, e->text, e->person);
    traffic_hand_over(e);
}

static void call_read(struct town *w)
{
    unsigned resident = (unsigned)roll(w, RESIDENTS);

    if (!w->residents[resident].chat[0]) return;
    note(w, "call: %u has read", resident);
    traffic_hand_over(traffic_errand(w, resident, mark_read));
}

static void call_reconnect(struct town *w) { traffic_reconnect(w, (unsigned)roll(w, RESIDENTS)); }

/* The process died: its callers were cut off, which is not an end it owes them. */
void traffic_lose_calls(struct town *w)
{
    LIST_EACH(node, &w->errands)
    {
        struct errand *e = LIST_ENTRY(node, struct errand, node);
        if (!e->done) e->done = e->lost = true;
    }
}

bool traffic_is_over(struct town *w)
{
    LIST_EACH(node, &w->errands)
    if (!LIST_ENTRY(node, struct errand, node)->done) return false;
    return true;
}

void traffic_done(struct town *w)
{
    for (struct list *node; (node = list_pop(&w->errands));)
        free(LIST_ENTRY(node, struct errand, node));
}

/* ---- phones ---- */

static uint32_t reader(unsigned person) { return person < RESIDENTS ? 1u << person : 0; }

static void write_to(struct town *w, unsigned person, const char *to, uint32_t readers)
{
    struct letter *l = &w->letters[w->letter_count];
    struct sim_writing writing = {.to = slice_text(to)};

    if (w->letter_count == LETTERS_MAX || !w->people[person]->conn) return;
    snprintf(l->text, sizeof l->text, "in %u.", ++w->text_count);
    writing.text = slice_text(l->text);
    if (sim_phone_write(w->people[person], &writing, l->id) != OK) {
        violated(w, "a phone cannot write: %s", err_trail());
        return;
    }
    l->from = person;
    l->readers = readers;
    l->in_group = strchr(to, '@') != NULL;
    l->excused = 0;
    for (unsigned i = 0; i < RESIDENTS; i++)
        if (w->residents[i].unlinked || w->now < w->residents[i].known_from) l->excused |= 1u << i;
    w->letter_count++;
    note(w, "phone %u writes %s to %s", person, l->text, to);
}

static void write_letter(struct town *w)
{
    unsigned from = (unsigned)roll(w, PEOPLE), to;

    do {
        to = (unsigned)roll(w, PEOPLE);
    } while (to == from);
    write_to(w, from, number_of(to), reader(from) | reader(to));
}

static const struct letter *newest(const struct town *w, unsigned before)
{
    return w->letter_count > before ? &w->letters[before] : NULL;
}

const struct letter *traffic_letter(struct town *w, unsigned from, unsigned resident)
{
    unsigned before = w->letter_count;

    write_to(w, from, number_of(resident), reader(resident));
    return newest(w, before);
}

static bool is_member(const struct town *w, unsigned person)
{
    return sim_member_find(w->group, w->people[person]->account) != NULL;
}

void traffic_write_group(struct town *w)
{
    unsigned from = (unsigned)roll(w, PEOPLE);
    uint32_t readers = 0;

    for (unsigned i = 0; i < RESIDENTS; i++)
        readers |= is_member(w, i) ? reader(i) : 0;
    if (is_member(w, from)) write_to(w, from, w->group_jid, readers);
}

const struct letter *traffic_group_letter(struct town *w, unsigned from)
{
    unsigned before = w->letter_count;

    write_to(w, from, w->group_jid, (1u << RESIDENTS) - 1);
    return newest(w, before);
}

/* Who has left cannot answer those who could not read what they wrote there. */
static void excuse_group_letters(struct town *w, unsigned from)
{
    for (unsigned i = 0; i < w->letter_count; i++)
        if (w->letters[i].in_group && w->letters[i].from == from)
            w->letters[i].excused |= w->letters[i].readers;
    w->somebody_left = true;
}

/* What was being written is out: it is for those who were members then. */
bool traffic_change_group(struct town *w)
{
    unsigned person = (unsigned)roll(w, PEOPLE);
    struct sim_account *account = w->people[person]->account;

    if (!w->group) return false; /* storms begin before it is founded */
    world_settle(w);
    if (is_member(w, person)) {
        sim_notify_group(&w->relay, w->group, "remove", account);
        sim_member_remove(w->group, account);
        excuse_group_letters(w, person);
    } else {
        sim_member_add(w->group, account);
        sim_notify_group(&w->relay, w->group, "add", account);
    }
    note(w, "%u %s the group", person, is_member(w, person) ? "joins" : "leaves");
    return true;
}

bool traffic_reorder(struct town *w)
{
    unsigned resident = (unsigned)roll(w, RESIDENTS);
    unsigned from = RESIDENTS + (unsigned)roll(w, STRANGERS);
    struct sim_device *dev = resident_device(w, resident);
    struct sim_fault f = {.kind = SIM_FAULT_DELAY, .count = 1, .value = REORDER_MS};

    if (!dev || !dev->conn || !w->people[from]->conn) return false;
    sim_device_name(dev, f.device);
    snprintf(f.tag, sizeof f.tag, "message");
    if (sim_fault_put(&w->relay, &f) != OK) return false;
    write_to(w, from, number_of(resident), reader(resident));
    world_pass(w, 1000);
    write_to(w, from, number_of(resident), reader(resident));
    return true;
}

/* Many at once: turns pile up behind the commits. */
static void write_burst(struct town *w)
{
    for (uint64_t n = 5 + roll(w, 25); n > 0; n--)
        write_letter(w);
}

static void send_burst(struct town *w)
{
    for (uint64_t n = 3 + roll(w, 12); n > 0; n--)
        call_send(w);
}

static void pair_again(struct town *w)
{
    unsigned resident = (unsigned)roll(w, RESIDENTS);

    if (w->residents[resident].unlinked) traffic_pair(w, resident);
}

static void note_reading(struct town *w, const struct sim_letter *l)
{
    struct read_mark *r = &w->readings[w->reading_count];

    if (w->reading_count == READINGS_MAX || !slice_starts_with(buf_slice(&l->text), SLICE("out ")))
        return;
    for (unsigned i = 0; i < RESIDENTS; i++) {
        if (strcmp(l->from, number_of(i)) != 0) continue;
        *r = (struct read_mark){.resident = i, .excused = w->residents[i].unlinked};
        snprintf(r->text, sizeof r->text, SLICE_FMT, SLICE_ARG(buf_slice(&l->text)));
        w->reading_count++;
    }
}

/* The newest letter of somebody else. */
static void read_letter(struct town *w)
{
    struct sim_phone *p = w->people[roll(w, PEOPLE)];

    for (struct list *node = p->letters.prev; node != &p->letters; node = node->prev) {
        struct sim_letter *l = LIST_ENTRY(node, struct sim_letter, link);

        if (l->from_me || l->read || strcmp(l->kind, "text") != 0) continue;
        if (p->conn && sim_phone_read(p, slice_text(l->id)) == OK) note_reading(w, l);
        err_clear();
        return;
    }
}

void traffic_read_all(struct town *w, unsigned person)
{
    struct sim_phone *p = w->people[person];

    LIST_EACH(node, &p->letters)
    {
        struct sim_letter *l = LIST_ENTRY(node, struct sim_letter, link);
        if (!l->from_me && !l->read && sim_phone_read(p, slice_text(l->id)) != OK) err_clear();
    }
}

static void type(struct town *w)
{
    unsigned to = (unsigned)roll(w, RESIDENTS);

    if (sim_phone_typing(w->people[RESIDENTS], slice_text(number_of(to)), chance(w, 50)) != OK)
        err_clear();
}

/* ---- one thing ---- */

static const struct {
    unsigned weight;
    void (*act)(struct town *w);
} acts[] = {{30, write_letter},  {12, traffic_write_group}, {12, call_send},
            {3, call_read},      {8, read_letter},          {4, type},
            {2, call_reconnect}, {2, write_burst},          {2, send_burst},
            {6, pair_again},     {24, calls_send},          {14, calls_repeat},
            {14, calls_other}};

void traffic_act(struct town *w)
{
    unsigned total = 0, at;

    for (size_t i = 0; i < ARRAY_LEN(acts); i++)
        total += acts[i].weight;
    at = (unsigned)roll(w, total);
    for (size_t i = 0; i < ARRAY_LEN(acts); i++) {
        if (at < acts[i].weight) {
            acts[i].act(w);
            return;
        }
        at -= acts[i].weight;
    }
}

/* ---- settling in ---- */

bool resident_is_connected(struct town *w, unsigned resident, struct account_status *out)
{
    return directory_status(w->server.directory, slice_text(w->residents[resident].id), out) &&
           out->state == ACCOUNT_CONNECTED && !out->blocked;
}

struct sim_device *resident_device(struct town *w, unsigned resident)
{
    struct sim_account *account = w->people[resident]->account;

    /* The newest: who was killed while pairing may have left one behind. */
    for (struct list *node = account->devices.prev; node != &account->devices; node = node->prev) {
        struct sim_device *dev = LIST_ENTRY(node, struct sim_device, link);
        if (dev->id) return dev;
    }
    return NULL;
}

/* Both ends say so: it may not have noticed yet that it was unlinked. */
static bool is_home(struct town *w, unsigned resident)
{
    struct account_status status;
    struct sim_device *dev = resident_device(w, resident);

    return resident_is_connected(w, resident, &status) && dev && dev->conn &&
           dev->id != w->residents[resident].old_device;
}

void traffic_unlinked(struct town *w, unsigned resident)
{
    struct sim_device *dev = resident_device(w, resident);

    w->residents[resident].unlinked = true;
    if (dev) w->residents[resident].old_device = dev->id;
    for (unsigned i = 0; i < w->letter_count; i++)
        w->letters[i].excused |= 1u << resident;
    for (unsigned i = 0; i < w->reading_count; i++)
        w->readings[i].excused |= w->readings[i].resident == resident;
}

/* WhatsApp refused its login for good (401, 403): it has no credentials any more, and as with a
 * phone that removed it, nobody writes to that device again. */
void traffic_look(struct town *w)
{
    struct account_status s;

    for (unsigned i = 0; i < RESIDENTS; i++) {
        struct resident *r = &w->residents[i];

        if (r->unlinked || !directory_status(w->server.directory, slice_text(r->id), &s)) continue;
        if (s.state != ACCOUNT_LOGGED_OUT) continue;
        struct sim_device *dev = resident_device(w, i);
        traffic_unlinked(w, i);
        if (dev) sim_device_unlink(&w->relay, dev);
    }
}

static err_t leave(struct errand *e, struct account *a, struct turn *t)
{
    return account_logout(a, t);
}

static err_t delete (struct errand *e, struct account *a, struct turn *t)
{
    return account_delete(a, t);
}

/* The call may fail with its commit: then nothing happened, and the device is still there. */
bool traffic_leave(struct town *w, bool deletes)
{
    unsigned resident = (unsigned)roll(w, RESIDENTS);
    struct resident *r = &w->residents[resident];

    if (r->unlinked) return false;
    struct errand *e = traffic_errand(w, resident, deletes ? delete : leave);
    snprintf(e->text, sizeof e->text, "%s", deletes ? "deletes" : "logs out");
    note(w, "call: %u %s", resident, e->text);
    traffic_hand_over(e);
    for (int i = 0; i < 60 && !e->done; i++)
        world_pass(w, 500);
    if (e->done && !e->lost && e->call.error == OK) {
        traffic_unlinked(w, resident);
        w->strangers++;
        LIST_EACH(node, &w->errands)
        {
            struct errand *other = LIST_ENTRY(node, struct errand, node);
            other->deleted |= deletes && other->resident == resident;
        }
        if (deletes) calls_deleted(w, resident);
        r->chat[0] = '\0';
    }
    return true;
}

static void pass_in_storm(struct town *w, int64_t ms)
{
    world_pass(w, ms);
    if (w->storm && chance(w, 2)) {
        plan_strike(w);
        w->strangers++; /* the relay may not hear of a pairing that we think done */
    }
    world_settle(w);
}

static bool is_waiting(struct errand *e) { return !e->done; }

/* A code on the screen, or nothing. */
static void ask_code(struct town *w, unsigned resident, struct account_status *out)
{
    struct resident *r = &w->residents[resident];
    bool known = r->id[0] && directory_status(w->server.directory, slice_text(r->id), out);
    struct errand *e = traffic_errand(w, resident, pair);

    snprintf(e->text, sizeof e->text, "pairs");
    note(w, "call: %u pairs", resident);
    if (known)
        traffic_hand_over(e);
    else
        account_create(&w->server, w->who.tenant, true, &e->call);
    memcpy(r->id, e->call.account, sizeof r->id);
    for (int i = 0; i < 200 && is_waiting(e); i++)
        pass_in_storm(w, 200);
    if (!directory_status(w->server.directory, slice_text(r->id), out)) out->code[0] = '\0';
}

bool traffic_pair(struct town *w, unsigned resident)
{
    enum { CODE_S = 60 };
    struct resident *r = &w->residents[resident];
    struct account_status status = {0};

    if (!r->id[0] || !is_home(w, resident)) {
        ask_code(w, resident, &status);
        /* Paired, and replaced or refused before it was home: it comes back when it is asked. */
        if (status.reason == WA_REASON_REPLACED || status.reason == WA_REASON_CLIENT_OUTDATED)
            traffic_reconnect(w, resident);
        if (!w->people[resident]->conn) sim_phone_go(w->people[resident], true);
        if (status.code[0] && sim_phone_scan(w->people[resident], slice_text(status.code)) != OK) {
            err_clear();
            return false;
        }
        for (int i = 0; i < 5 * CODE_S && !is_home(w, resident); i++)
            pass_in_storm(w, 200);
    }
    if (!is_home(w, resident)) return false;
    r->unlinked = false;
    r->known_from = w->now + 5000;
    return true;
}

static void open_account(struct town *w, unsigned resident)
{
    enum { TRIES = 20 };
    bool paired = false;

    w->residents[resident].unlinked = true;
    for (int i = 0; i < TRIES && !paired && !w->violations; i++)
        paired = traffic_pair(w, resident);
    if (!paired) violated(w, "resident %u does not pair", resident);
}

static void found_group(struct town *w)
{
    w->group = sim_group_new(&w->relay.people, SLICE("120363000000000001"), SLICE("Neighbours"));
    w->group->created_at = sim_seconds(&w->relay);
    w->group->lid_mode = chance(w, 70);
    for (unsigned i = 0; i < PEOPLE; i++)
        sim_member_add(w->group, w->people[i]->account);
    snprintf(w->group_jid, sizeof w->group_jid, "%s@g.us", w->group->id);
    sim_notify_group(&w->relay, w->group, "create", NULL);
}

void traffic_settle_in(struct town *w)
{
    char lid[SIM_NUMBER_MAX];

    for (unsigned i = 0; i < PEOPLE; i++) {
        snprintf(lid, sizeof lid, "9%s", number_of(i));
        if (sim_phone_new(&w->phones, slice_text(number_of(i)), slice_text(lid), SLICE("Somebody"),
                          &w->people[i]) != OK)
            violated(w, "no phone: %s", err_trail());
        world_settle(w);
    }
    for (unsigned i = 0; i < RESIDENTS && !w->violations; i++)
        open_account(w, i);
    if (w->violations) return;
    found_group(w);
    calls_subscribe(w);
    world_pass(w, 5000);
    streams_open(w);
}
