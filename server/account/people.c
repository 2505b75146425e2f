/* Who is who: a person has a phone number and a LID, and is one peer. */
#include "server/account/people.h"

#include <string.h>

#include "proto/base/text.h"
#include "server/account/inside.h"

struct slice people_text(struct turn *t, const struct wa_jid *jid)
{
    struct wa_jid bare;

    if (wa_jid_is_none(jid)) return SLICE_NONE;
    bare = wa_jid_bare(jid);
    return wa_jid_slice(&bare, &t->arena);
}

enum contact_kind people_kind(const struct wa_jid *jid)
{
    if (wa_jid_is_person(jid)) return CONTACT_PERSON;
    if (wa_jid_is_status(jid)) return CONTACT_STATUS;
    switch (jid->server) {
    case WA_SERVER_GROUP: return CONTACT_GROUP;
    case WA_SERVER_BROADCAST: return CONTACT_BROADCAST;
    case WA_SERVER_NEWSLETTER: return CONTACT_NEWSLETTER;
    default: return CONTACT_OTHER;
    }
}

static err_t peer_of(struct account *a, struct turn *t, struct slice address, uint32_t *out)
{
    struct contact_ref ref = {0};

    if (address.len) TRY(db_contact_of(turn_view(t), a->scope, address, &ref));
    *out = ref.peer;
    return OK;
}

err_t people_find(struct account *a, struct turn *t, const struct wa_party *party,
                  struct db_contact *out)
{
    uint32_t peer;

    *out = (struct db_contact){0};
    TRY(peer_of(a, t, people_text(t, &party->lid), &peer));
    if (!peer) TRY(peer_of(a, t, people_text(t, &party->pn), &peer));
    if (!peer) return OK;
    return db_contact_get(turn_view(t), a->scope, peer, out);
}

/* Both were known before: one may have become a part of the other. */
static err_t tell_merge(struct account *a, struct turn *t, uint32_t other, uint32_t peer)
{
    struct db_contact swallowed, person;

    TRY(db_contact_get(turn_view(t), a->scope, other, &swallowed));
    if (swallowed.alias_of != peer) return OK;
    TRY(db_contact_get(turn_view(t), a->scope, peer, &person));
    turn_merge(t, &person);
    return OK;
}

/* Both addresses are known here: they are one person from now on. */
static err_t open_both(struct account *a, struct turn *t, struct slice lid, struct slice pn,
                       uint32_t *out)
{
    uint32_t by_lid, by_pn;
    uint64_t secret;

    TRY(peer_of(a, t, lid, &by_lid));
    TRY(peer_of(a, t, pn, &by_pn));
    *out = by_lid;
    if (by_lid && by_lid == by_pn) return OK;
    crypto_random(&secret, sizeof secret);
    TRY(db_contact_map(&t->batch, turn_view(t), a->scope, lid, pn, secret, t->now, out));
    return by_lid && by_pn ? tell_merge(a, t, *out == by_lid ? by_pn : by_lid, *out) : OK;
}

static err_t open_one(struct account *a, struct turn *t, const struct wa_jid *jid,
                      struct slice address, uint32_t *out)
{
    struct contact_ref ref;
    uint64_t secret;

    crypto_random(&secret, sizeof secret);
    TRY(db_contact_open(&t->batch, turn_view(t), a->scope, people_kind(jid), address, secret,
                        t->now, &ref));
    *out = ref.peer;
    return OK;
}

err_t people_open(struct account *a, struct turn *t, const struct wa_party *party,
                  struct db_contact *out)
{
    struct slice lid = people_text(t, &party->lid), pn = people_text(t, &party->pn);
    uint32_t peer;

    if (lid.len && pn.len)
        TRY(open_both(a, t, lid, pn, &peer));
    else
        TRY(open_one(a, t, lid.len ? &party->lid : &party->pn, lid.len ? lid : pn, &peer));
    return db_contact_get(turn_view(t), a->scope, peer, out);
}

void people_name(struct account *a, struct turn *t, struct db_contact *who, struct slice name)
{
    name = text_cut(name, CONTACT_NAME_MAX);
    if (!name.len || !text_is_utf8(name) || slice_eq(name, who->push_name)) return;
    who->push_name = arena_dup(&t->arena, name);
    who->updated_ms = t->now;
    db_contact_put(&t->batch, a->scope, who);
}

struct slice people_address(const struct db_contact *who)
{
    if (who->lid.len) return who->lid;
    return who->pn.len ? who->pn : who->address;
}

struct face_person people_self(const struct account *a)
{
    return (struct face_person){
        .phone = a->status.phone[0] ? slice_text(a->status.phone) : SLICE_NONE,
        .lid = a->text.lid[0] ? slice_text(a->text.lid) : SLICE_NONE,
        .name = a->text.push_name[0] ? slice_text(a->text.push_name) : SLICE_NONE,
    };
}

/* A group's chat is a chat too: grp_ names its membership. */
const char *people_chat_id(const struct account *a, const struct db_contact *who, char out[])
{
    return id_chat_text(ID_CHAT, a->scope.account, who->peer, who->secret, out);
}
