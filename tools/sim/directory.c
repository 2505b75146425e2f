/* The server's memory of people, devices and groups: plain lists with two maps for look-ups.
 * Read relay.h next: who changes all this. */
#include "tools/sim/directory.h"

#include <stdio.h>
#include <stdlib.h>

void sim_directory_init(struct sim_directory *d)
{
    *d = (struct sim_directory){0};
    list_init(&d->accounts);
    list_init(&d->groups);
}

static void queue_done(struct list *queue)
{
    LIST_EACH(l, queue)
    {
        struct sim_queued *q = LIST_ENTRY(l, struct sim_queued, link);

        buf_done(&q->id);
        buf_done(&q->from);
        buf_done(&q->participant);
        buf_done(&q->stanza);
        free(q);
    }
}

void sim_device_free(struct sim_device *dev)
{
    list_remove(&dev->link);
    queue_done(&dev->queue);
    free(dev->bundle.prekeys);
    buf_done(&dev->identity);
    free(dev);
}

static void free_all(struct list *items, size_t offset)
{
    LIST_EACH(l, items)
    free((char *)l - offset);
}

static void free_people(struct sim_people *people)
{
    free_all(&people->list, offsetof(struct sim_person, link));
    map_done(&people->by_account);
}

static void collections_done(struct list *collections)
{
    LIST_EACH(l, collections)
    {
        struct sim_collection *c = LIST_ENTRY(l, struct sim_collection, link);

        LIST_EACH(p, &c->patches)
        {
            buf_done(&LIST_ENTRY(p, struct sim_patch, link)->bytes);
            free(LIST_ENTRY(p, struct sim_patch, link));
        }
        buf_done(&c->name);
        free(c);
    }
}

static void account_free(struct sim_account *a)
{
    LIST_EACH(l, &a->devices) sim_device_free(LIST_ENTRY(l, struct sim_device, link));
    collections_done(&a->collections);
    free_all(&a->tokens, offsetof(struct sim_token, link));
    map_done(&a->token_from);
    free_people(&a->blocked);
    free_people(&a->watchers);
    free_people(&a->presence_watchers);
    buf_done(&a->key_indexes);
    buf_done(&a->about);
    free(a);
}

void sim_directory_done(struct sim_directory *d)
{
    LIST_EACH(l, &d->groups)
    {
        free_all(&LIST_ENTRY(l, struct sim_group, link)->members,
                 offsetof(struct sim_member, link));
        free_all(&LIST_ENTRY(l, struct sim_group, link)->rosters,
                 offsetof(struct sim_roster, link));
        free(LIST_ENTRY(l, struct sim_group, link));
    }
    LIST_EACH(l, &d->accounts)
    account_free(LIST_ENTRY(l, struct sim_account, link));
    map_done(&d->by_number);
    map_done(&d->by_lid);
    map_done(&d->groups_by_id);
}

static bool is_digits(struct slice s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.data[i] < '0' || s.data[i] > '9') return false;
    return s.len > 0 && s.len < SIM_NUMBER_MAX;
}

static void copy_text(char *out, size_t size, struct slice text)
{
    snprintf(out, size, SLICE_FMT, SLICE_ARG(text));
}

struct sim_account *sim_account_new(struct sim_directory *d, struct slice number, struct slice lid,
                                    struct slice name)
{
    struct sim_account *a;

    if (!is_digits(number) || !is_digits(lid)) return NULL;
    if (map_find(&d->by_number, number) || map_find(&d->by_lid, lid)) return NULL;
    a = xcalloc(sizeof *a);
    copy_text(a->number, sizeof a->number, number);
    copy_text(a->lid, sizeof a->lid, lid);
    copy_text(a->name, sizeof a->name, name);
    list_init(&a->devices);
    list_init(&a->collections);
    list_init(&a->tokens);
    list_init(&a->blocked.list);
    list_init(&a->watchers.list);
    list_init(&a->presence_watchers.list);
    list_push(&d->accounts, &a->link);
    map_put(&d->by_number, number, a);
    map_put(&d->by_lid, lid, a);
    return a;
}

struct sim_account *sim_account_find(const struct sim_directory *d, struct slice number)
{
    return map_find(&d->by_number, number);
}

struct sim_account *sim_account_of(const struct sim_directory *d, struct wa_jid jid)
{
    switch (jid.server) {
    case WA_SERVER_USER:
    case WA_SERVER_C_US: return map_find(&d->by_number, jid.user);
    case WA_SERVER_LID: return map_find(&d->by_lid, jid.user);
    default: return NULL;
    }
}

struct sim_device *sim_device_find(const struct sim_account *a, uint16_t id)
{
    LIST_EACH(l, (struct list *)&a->devices)
    {
        struct sim_device *dev = LIST_ENTRY(l, struct sim_device, link);

        if (dev->id == id) return dev;
    }
    return NULL;
}

struct sim_device *sim_device_of(const struct sim_directory *d, struct wa_jid jid)
{
    struct sim_account *a = sim_account_of(d, jid);

    return a ? sim_device_find(a, jid.device) : NULL;
}

struct sim_device *sim_device_add(struct sim_account *a, uint16_t id)
{
    struct sim_device *dev = xcalloc(sizeof *dev);

    dev->account = a;
    dev->id = id;
    list_init(&dev->queue);
    list_push(&a->devices, &dev->link);
    return dev;
}

uint32_t sim_account_device_count(const struct sim_account *a)
{
    uint32_t n = 0;

    LIST_EACH(l, (struct list *)&a->devices) n++;
    return n;
}

uint16_t sim_device_reserve(struct sim_account *a)
{
    enum { HOSTED_DEVICE = 99 /* Cloud API to clients */, AD_DEVICE_MAX = 255 };

    if (sim_account_device_count(a) >= SIM_DEVICES_MAX) return 0;
    do {
        a->last_device = a->last_device % AD_DEVICE_MAX + 1;
    } while (a->last_device == HOSTED_DEVICE || sim_device_find(a, a->last_device));
    return a->last_device;
}

struct wa_jid sim_account_jid(const struct sim_account *a, bool lid)
{
    return lid ? wa_jid_of(WA_SERVER_LID, slice_text(a->lid), 0)
               : wa_jid_of(WA_SERVER_USER, slice_text(a->number), 0);
}

struct wa_jid sim_device_jid(const struct sim_device *dev, bool lid)
{
    struct wa_jid jid = sim_account_jid(dev->account, lid);

    jid.device = dev->id;
    return jid;
}

const char *sim_device_name(const struct sim_device *dev, char out[SIM_NUMBER_MAX + 8])
{
    snprintf(out, SIM_NUMBER_MAX + 8, "%s:%u", dev->account->number, dev->id);
    return out;
}

bool sim_same_device(const struct sim_directory *d, struct wa_jid a, struct wa_jid b)
{
    struct sim_account *one;

    if (wa_jid_eq(&a, &b)) return true;
    one = sim_account_of(d, a);
    return one && one == sim_account_of(d, b) && a.device == b.device;
}

struct sim_collection *sim_collection_of(struct sim_account *a, struct slice name)
{
    enum { COLLECTIONS_MAX = 16 };
    uint32_t n = 0;
    struct sim_collection *c;

    LIST_EACH(l, &a->collections)
    {
        c = LIST_ENTRY(l, struct sim_collection, link);
        if (slice_eq(buf_slice(&c->name), name)) return c;
        n++;
    }
    if (n >= COLLECTIONS_MAX) return NULL;
    c = xcalloc(sizeof *c);
    buf_put(&c->name, name);
    list_init(&c->patches);
    list_push(&a->collections, &c->link);
    return c;
}

/* Who it is, as the key of a map. */
#define KEY_OF(account) slice_of(&(account), sizeof(account))

bool sim_person_in(const struct sim_people *people, const struct sim_account *account)
{
    return map_find(&people->by_account, KEY_OF(account)) != NULL;
}

bool sim_person_add(struct sim_people *people, struct sim_account *account)
{
    struct sim_person *p;

    if (sim_person_in(people, account)) return false;
    p = xcalloc(sizeof *p);
    p->account = account;
    list_push(&people->list, &p->link);
    map_put(&people->by_account, KEY_OF(account), p);
    return true;
}

bool sim_person_remove(struct sim_people *people, const struct sim_account *account)
{
    struct sim_person *p = map_remove(&people->by_account, KEY_OF(account));

    if (!p) return false;
    list_remove(&p->link);
    free(p);
    return true;
}

struct sim_token *sim_token_find(const struct sim_account *owner, const struct sim_account *from)
{
    return map_find(&owner->token_from, KEY_OF(from));
}

struct sim_token *sim_token_of(struct sim_account *owner, struct sim_account *from)
{
    struct sim_token *t = sim_token_find(owner, from);

    if (t) return t;
    t = xcalloc(sizeof *t);
    t->from = from;
    list_push(&owner->tokens, &t->link);
    map_put(&owner->token_from, KEY_OF(from), t);
    return t;
}

struct sim_group *sim_group_new(struct sim_directory *d, struct slice id, struct slice subject)
{
    struct sim_group *g;

    if (!is_digits(id) || map_find(&d->groups_by_id, id)) return NULL;
    g = xcalloc(sizeof *g);
    copy_text(g->id, sizeof g->id, id);
    copy_text(g->subject, sizeof g->subject, subject);
    g->version = 1;
    list_init(&g->members);
    list_init(&g->rosters);
    list_push(&d->groups, &g->link);
    map_put(&d->groups_by_id, id, g);
    return g;
}

struct sim_group *sim_group_of(const struct sim_directory *d, struct wa_jid jid)
{
    return jid.server == WA_SERVER_GROUP ? map_find(&d->groups_by_id, jid.user) : NULL;
}

struct sim_member *sim_member_find(const struct sim_group *g, const struct sim_account *a)
{
    LIST_EACH(l, (struct list *)&g->members)
    {
        struct sim_member *m = LIST_ENTRY(l, struct sim_member, link);

        if (m->account == a) return m;
    }
    return NULL;
}

struct sim_member *sim_member_add(struct sim_group *g, struct sim_account *a)
{
    struct sim_member *m = sim_member_find(g, a);

    if (m) return m;
    m = xcalloc(sizeof *m);
    m->account = a;
    list_push(&g->members, &m->link);
    g->version++;
    return m;
}

void sim_member_remove(struct sim_group *g, const struct sim_account *a)
{
    struct sim_member *m = sim_member_find(g, a);

    if (!m) return;
    list_remove(&m->link);
    free(m);
    g->version++;
}

struct sim_roster *sim_roster_new(size_t count)
{
    struct sim_roster *r = xcalloc(sizeof *r + count * sizeof r->seats[0]);

    r->count = count;
    return r;
}

void sim_roster_add(struct sim_group *g, struct sim_roster *take)
{
    list_push(&g->rosters, &take->link);
    if (++g->roster_count <= SIM_ROSTERS_MAX) return;
    g->roster_count--;
    free(LIST_ENTRY(list_pop(&g->rosters), struct sim_roster, link));
}
