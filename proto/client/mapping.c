#include "proto/client/mapping.h"

#include "proto/base/reader.h"
#include "proto/client/tokens.h"
#include "proto/signal/group.h"
#include "proto/signal/session.h"

/* Cloud-API devices sit on servers of their own, c.us is the old name: the person is the same. */
static struct wa_jid person_of(const struct wa_jid *jid)
{
    switch (jid->server) {
    case WA_SERVER_C_US:
    case WA_SERVER_HOSTED: return wa_jid_of(WA_SERVER_USER, jid->user, 0);
    case WA_SERVER_HOSTED_LID: return wa_jid_of(WA_SERVER_LID, jid->user, 0);
    default: return wa_jid_bare(jid);
    }
}

static err_t lookup(struct wa_client *c, enum wa_ns ns, const struct wa_jid *from,
                    struct wa_jid *out)
{
    struct slice value;

    *out = (struct wa_jid){0};
    TRY(wa_load(c, ns, wa_bare_text(c, from), SLICE(""), &value));
    if (slice_is_none(value)) return OK;
    if (wa_jid_parse(value, out) != OK) return fail(STORE_DAMAGED, "mapping row");
    return OK;
}

err_t wa_party_complete(struct wa_client *c, struct wa_party *party)
{
    if (party->pn.server == WA_SERVER_USER && wa_jid_is_none(&party->lid))
        return lookup(c, WA_NS_LID, &party->pn, &party->lid);
    if (wa_jid_is_none(&party->pn) && party->lid.server == WA_SERVER_LID)
        return lookup(c, WA_NS_PN, &party->lid, &party->pn);
    return OK;
}

err_t wa_party_of(struct wa_client *c, const struct wa_jid *jid, struct wa_party *out)
{
    struct wa_jid person = person_of(jid);

    *out = (struct wa_party){0};
    if (person.server == WA_SERVER_LID)
        out->lid = person;
    else
        out->pn = person;
    return wa_party_complete(c, out);
}

struct slice wa_party_name(struct wa_client *c, const struct wa_party *party)
{
    return wa_bare_text(c, wa_jid_is_none(&party->lid) ? &party->pn : &party->lid);
}

bool wa_party_same(const struct wa_party *a, const struct wa_party *b)
{
    if (!wa_jid_is_none(&a->lid) && wa_jid_same_user(&a->lid, &b->lid)) return true;
    return !wa_jid_is_none(&a->pn) && wa_jid_same_user(&a->pn, &b->pn);
}

/* ---- what was made under a phone number ---- */

static struct slice notes_name(void) { return SLICE("made"); }

err_t wa_mapping_note(struct wa_client *c, const struct wa_jid *device, struct slice group)
{
    AUTO(buf) row = {0};
    AUTO(buf) note = {0};
    struct wa_party person;
    struct slice before;
    size_t n = 0;

    TRY(wa_party_of(c, device, &person));
    if (person.pn.server != WA_SERVER_USER || !wa_jid_is_none(&person.lid)) return OK;

    struct slice owner = wa_bare_text(c, &person.pn);
    TRY(wa_load(c, WA_NS_DEVICES, owner, notes_name(), &before));
    buf_put_be16(&note, device->device);
    buf_put(&note, group);
    for (struct reader r = reader_of(before); reader_left(&r) > 0; n++) {
        struct slice known = reader_block(&r);
        TRY(reader_check(&r));
        if (slice_eq(known, buf_slice(&note))) return OK;
    }
    if (n >= WA_NOTES_MAX) return OK; /* they would be asked for again by retry */

    buf_put(&row, before);
    buf_put_block(&row, buf_slice(&note));
    wa_save(c, WA_NS_DEVICES, owner, notes_name(), buf_slice(&row));
    return OK;
}

static err_t move_one(struct wa_client *c, struct slice from, struct slice to, struct slice note)
{
    struct reader r = reader_of(note);
    uint16_t device = reader_be16(&r);
    struct slice group = reader_rest(&r);
    struct wa_address old = {.name = from, .device = device};
    struct wa_address new = {.name = to, .device = device};

    TRY(reader_check(&r));
    if (group.len) return wa_group_move(&c->keystore, c->arena, group, &old, &new);
    return wa_session_move(&c->keystore, c->arena, &old, &new);
}

/* The list that is known under the new name stays. */
static err_t move_devices(struct wa_client *c, struct slice from, struct slice to)
{
    struct slice old, new;

    TRY(wa_load(c, WA_NS_DEVICES, from, SLICE(""), &old));
    if (slice_is_none(old)) return OK;
    TRY(wa_load(c, WA_NS_DEVICES, to, SLICE(""), &new));
    if (slice_is_none(new)) wa_save(c, WA_NS_DEVICES, to, SLICE(""), old);
    wa_save(c, WA_NS_DEVICES, from, SLICE(""), SLICE_NONE);
    return OK;
}

static err_t move_rows(struct wa_client *c, const struct wa_jid *pn, const struct wa_jid *lid)
{
    struct slice from = wa_bare_text(c, pn), to = wa_bare_text(c, lid), notes;

    TRY(wa_load(c, WA_NS_DEVICES, from, notes_name(), &notes));
    for (struct reader r = reader_of(notes); reader_left(&r) > 0;) {
        struct slice note = reader_block(&r);
        TRY(reader_check(&r));
        TRY(move_one(c, from, to, note));
    }
    if (notes.len) wa_save(c, WA_NS_DEVICES, from, notes_name(), SLICE_NONE);
    TRY(move_devices(c, from, to));
    return wa_thread_move(c, pn, lid);
}

err_t wa_mapping_learn(struct wa_client *c, const struct wa_jid *a, const struct wa_jid *b)
{
    struct wa_jid one = person_of(a), two = person_of(b), known;

    if (one.server == WA_SERVER_LID) {
        struct wa_jid swap = one;
        one = two;
        two = swap;
    }
    if (one.server != WA_SERVER_USER || two.server != WA_SERVER_LID) return OK;
    if (one.user.len == 0 || two.user.len == 0) return OK;
    if (one.user.len > WA_USER_MAX || two.user.len > WA_USER_MAX) return OK;
    TRY(lookup(c, WA_NS_LID, &one, &known));
    if (wa_jid_eq(&known, &two)) return OK;

    /* Told first, so that the host knows one person, not two, when it looks where their rows go. */
    struct wa_event e = {.kind = WA_EVENT_MAPPING, .mapping = {.pn = one, .lid = two}};
    wa_emit(c, &e);
    wa_save(c, WA_NS_LID, wa_bare_text(c, &one), SLICE(""), wa_bare_text(c, &two));
    wa_save(c, WA_NS_PN, wa_bare_text(c, &two), SLICE(""), wa_bare_text(c, &one));
    return move_rows(c, &one, &two);
}
