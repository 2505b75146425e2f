/* People of whom an account hears under two addresses, their number and their LID, in two chats,
 * until it learns that they are one. They have no phone: what the account's client would tell of
 * them is told to its host, in a turn of a call. */
#include "storage/contacts.h"
#include "tests/flow/world.h"

/* Of one after the other: met under one address, under both, about to be one, old news. */
enum stage { UNKNOWN, MET, MET_TWICE, KNOWN = MET_TWICE + 3, OLD = KNOWN + 4 };

static void address_of(unsigned resident, unsigned index, bool by_lid, char out[32])
{
    snprintf(out, 32, "%s%u%03u", by_lid ? "777000" : "1666000", resident, index % 1000);
}

static struct wa_jid jid_of(const struct errand *e, bool by_lid, char out[32])
{
    address_of(e->resident, e->person, by_lid, out);
    return wa_jid_of(by_lid ? WA_SERVER_LID : WA_SERVER_USER, slice_text(out), 0);
}

static err_t write(struct errand *e, struct account *a, struct turn *t, bool by_lid)
{
    struct wa_event event = {.kind = WA_EVENT_MESSAGE};
    struct wa_party who = {0};
    char address[32];

    *(by_lid ? &who.lid : &who.pn) = jid_of(e, by_lid, address);
    event.message = (struct wa_message){.chat = who,
                                        .author = who,
                                        .id = slice_text(e->text),
                                        .time_s = turn_now(t) / 1000,
                                        .kind = WA_KIND_TEXT,
                                        .text = slice_text(e->text),
                                        .raw = slice_text(e->text)};
    a->host.emit(a, &event);
    return OK;
}

static err_t write_by_lid(struct errand *e, struct account *a, struct turn *t)
{
    return write(e, a, t, true);
}

static err_t write_by_number(struct errand *e, struct account *a, struct turn *t)
{
    return write(e, a, t, false);
}

/* And in the same turn they write: an event of the one chat that there is now. */
static err_t learn(struct errand *e, struct account *a, struct turn *t)
{
    char lid[32], number[32];
    struct wa_event event = {
        .kind = WA_EVENT_MAPPING,
        .mapping = {.lid = jid_of(e, true, lid), .pn = jid_of(e, false, number)}};

    a->host.emit(a, &event);
    return write(e, a, t, true);
}

static void ask(struct town *w, unsigned resident,
                err_t (*act)(struct errand *, struct account *, struct turn *), const char *what)
{
    struct errand *e = traffic_errand(w, resident, act);

    e->person = w->neighbours[resident].index;
    snprintf(e->text, sizeof e->text, "met %u.", ++w->text_count);
    note(w, "%u %s neighbour %u: %s", resident, what, e->person, e->text);
    w->neighbours[resident].last = e;
    traffic_hand_over(e);
}

static void write_one(struct town *w, unsigned resident, bool by_lid)
{
    if (by_lid)
        ask(w, resident, write_by_lid, "hears by LID of");
    else
        ask(w, resident, write_by_number, "hears by number of");
}

void people_meet(struct town *w)
{
    unsigned resident = (unsigned)roll(w, RESIDENTS);
    struct neighbour *n = &w->neighbours[resident];
    const struct resident *r = &w->residents[resident];

    if (r->unlinked || (n->last && !n->last->done)) return;
    if (n->last && !n->last->lost && n->last->call.error == OK) n->stage++;
    n->last = NULL;
    if (n->stage == OLD || n->account != r->number)
        *n = (struct neighbour){r->number, n->index + 1, UNKNOWN, chance(w, 50), NULL};
    switch (n->stage) {
    case UNKNOWN: write_one(w, resident, n->lid_first); break;
    case MET: write_one(w, resident, !n->lid_first); break;
    case KNOWN: ask(w, resident, learn, "learns who is"); break;
    default: write_one(w, resident, chance(w, 50));
    }
}

bool people_chat(struct town *w, struct view *v, char out[ID_TEXT_MAX])
{
    unsigned resident = (unsigned)roll(w, RESIDENTS);
    bool by_lid = chance(w, 50);
    const struct neighbour *n = &w->neighbours[resident];
    struct scope scope = {TENANT, n->account};
    struct contact_ref ref;
    struct db_contact who;
    char user[32], address[64];

    if (n->stage == UNKNOWN || n->stage > KNOWN) return false;
    address_of(resident, n->index, by_lid, user);
    snprintf(address, sizeof address, "%s@%s", user, by_lid ? "lid" : "s.whatsapp.net");
    if (db_contact_of(v, scope, slice_text(address), &ref) != OK || !ref.peer ||
        db_contact_get(v, scope, ref.peer, &who) != OK) {
        err_clear();
        return false;
    }
    id_chat_text(ID_CHAT, scope.account, who.peer, who.secret, out);
    return true;
}
