/* load, save, emit, send, random: five functions over the open turn. */
#include "server/account/host.h"

#include <string.h>

#include "server/account/inside.h"
#include "server/account/people.h"
#include "server/log.h"
#include "storage/chats.h"
#include "storage/contacts.h"
#include "storage/keys.h"
#include "storage/seen.h"
#include "server/api/faces.h"

static struct turn *turn_of(const struct account *a)
{
    assert(a->home->turn && a->home->turn->account == a);
    return a->home->turn;
}

/* ---- where a row lies ---- */

static enum contact_kind kind_of(struct slice address)
{
    struct wa_jid jid;

    return wa_jid_parse(address, &jid) == OK ? people_kind(&jid) : CONTACT_OTHER;
}

static uint32_t known_home(const struct turn *t, struct slice owner)
{
    for (unsigned i = 0; i < TURN_HOMES; i++)
        if (t->homes[i].home && slice_eq(t->homes[i].owner, owner)) return t->homes[i].home;
    return 0;
}

static void keep_home(struct turn *t, struct slice owner, uint32_t home)
{
    unsigned i = t->home_count++ % TURN_HOMES;

    t->homes[i].owner = arena_dup(&t->arena, owner);
    t->homes[i].home = home;
}

static err_t home_of(struct account *a, struct turn *t, struct slice owner, bool make,
                     uint32_t *out)
{
    struct contact_ref ref;
    uint64_t secret;

    *out = known_home(t, owner);
    if (*out || !owner.len) return OK;
    if (!make) {
        TRY(db_contact_of(turn_view(t), a->scope, owner, &ref));
    } else {
        crypto_random(&secret, sizeof secret);
        TRY(db_contact_open(&t->batch, turn_view(t), a->scope, kind_of(owner), owner, secret,
                            t->now, &ref));
    }
    *out = ref.home;
    if (ref.peer) keep_home(t, owner, ref.home);
    return OK;
}

/* Two addresses of one person may share a home, so the owner is part of the name. */
static struct slice name_of(struct turn *t, const struct wa_key *key)
{
    size_t n = key->owner.len + 1 + key->name.len;
    uint8_t *name = arena_alloc(&t->arena, n);

    if (key->owner.len) memcpy(name, key->owner.data, key->owner.len);
    name[key->owner.len] = 0;
    if (key->name.len) memcpy(name + key->owner.len + 1, key->name.data, key->name.len);
    return slice_of(name, n);
}

/* Ids in names come from outside; one that is too long for a key stands there as its hash. */
static struct slice key_name(struct turn *t, struct slice name)
{
    uint8_t digest[1 + CRYPTO_SHA256] = {'#'};

    if (name.len <= KEY_NAME_MAX) return name;
    crypto_sha256(name, digest + 1);
    return arena_dup(&t->arena, SLICE_ARRAY(digest));
}

/* tenant, account, ns, name: what a sealed value is bound to. The home is not part of it, because
 * it follows from the name. */
static struct slice aad_of(const struct account *a, struct turn *t, enum wa_ns ns,
                           struct slice name)
{
    AUTO(buf) aad = {0};

    buf_put_be32(&aad, a->scope.tenant);
    buf_put_be32(&aad, a->scope.account);
    buf_put_u8(&aad, (uint8_t)ns);
    buf_put(&aad, name);
    return arena_dup(&t->arena, buf_slice(&aad));
}

/* ---- messages that we hold ---- */

bool host_is_self(const struct account *a, struct slice address)
{
    return address.len && (slice_is(address, a->text.pn) || slice_is(address, a->text.lid));
}

static struct unseen unseen_of(const struct db_contact *chat, struct slice author, struct slice id)
{
    struct unseen u = {.peers = {chat->peer}, .author = author, .id = id};

    memcpy(u.peers + 1, chat->parts, sizeof(chat->parts));
    return u;
}

static bool is_unseen(const struct turn *t, const struct unseen *u)
{
    for (unsigned i = 0; i < TURN_UNSEEN && i < t->unseen_count; i++) {
        const struct unseen *known = &t->unseen[i];
        if (memcmp(known->peers, u->peers, sizeof(u->peers)) == 0 &&
            slice_eq(known->author, u->author) && slice_eq(known->id, u->id))
            return true;
    }
    return false;
}

static void keep_unseen(struct turn *t, const struct unseen *u)
{
    struct unseen *known = &t->unseen[t->unseen_count++ % TURN_UNSEEN];

    *known = *u;
    known->author = arena_dup(&t->arena, u->author);
    known->id = arena_dup(&t->arena, u->id);
}

/* The client asks before it decrypts, and ingest before it stores. */
static err_t seen_as(struct account *a, struct turn *t, const struct db_contact *chat,
                     struct slice author, struct slice id, struct place *out)
{
    struct unseen u = unseen_of(chat, author, id);

    *out = (struct place){0};
    if (is_unseen(t, &u)) return OK;
    TRY(db_seen_find(turn_view(t), a->scope, chat, author, id, out));
    if (place_is_none(*out)) keep_unseen(t, &u);
    return OK;
}

/* The person of an address, peer 0 when it is nobody's; most write in their own chat. */
static err_t author_of(struct account *a, struct turn *t, const struct db_contact *chat,
                       struct slice address, struct db_contact *out)
{
    struct contact_ref ref;

    *out = (struct db_contact){0};
    if (slice_eq(address, chat->lid) || slice_eq(address, chat->pn)) {
        *out = *chat;
        return OK;
    }
    TRY(db_contact_of(turn_view(t), a->scope, address, &ref));
    return ref.peer ? db_contact_get(turn_view(t), a->scope, ref.peer, out) : OK;
}

err_t host_find_message(struct account *a, struct turn *t, const struct db_contact *chat,
                        struct slice author, struct slice id, struct place *out)
{
    struct db_contact person;

    if (host_is_self(a, author)) author = SLICE_NONE;
    TRY(seen_as(a, t, chat, author, id, out));
    if (!place_is_none(*out) || !author.len) return OK;
    TRY(author_of(a, t, chat, author, &person));
    struct slice others[] = {person.lid, person.pn};
    for (size_t i = 0; i < ARRAY_LEN(others) && place_is_none(*out); i++)
        if (others[i].len && !slice_eq(others[i], author))
            TRY(seen_as(a, t, chat, others[i], id, out));
    return OK;
}

static err_t load_message(struct account *a, struct turn *t, const struct wa_key *key,
                          struct arena *arena, struct slice *out)
{
    size_t at = slice_find(key->name, 0);
    struct slice author = slice_sub(key->name, 0, at), id = slice_from(key->name, at + 1);
    struct contact_ref ref;
    struct db_contact chat;
    struct db_message m;
    struct place place;
    AUTO(buf) value = {0};

    *out = SLICE_NONE;
    TRY(db_contact_of(turn_view(t), a->scope, key->owner, &ref));
    if (!ref.peer) return OK;
    TRY(db_contact_get(turn_view(t), a->scope, ref.peer, &chat));
    TRY(host_find_message(a, t, &chat, author, id, &place));
    if (place_is_none(place)) return OK;
    TRY(db_message_get(turn_view(t), a->scope, place, &m));
    struct wa_held_message held = {
        .state = m.status == MESSAGE_WAITING ? WA_HELD_WAITING : WA_HELD_WHOLE,
        .from_me = m.from_me,
        .time_s = m.occurred_ms / 1000,
        .raw = m.raw,
    };
    wa_held_encode(&held, &value);
    *out = arena_dup(arena, buf_slice(&value));
    return OK;
}

/* ---- the five ---- */

static err_t load(void *ctx, struct wa_key key, struct arena *arena, struct slice *out)
{
    struct account *a = ctx;
    struct turn *t = turn_of(a);
    struct slice sealed = SLICE_NONE;
    uint32_t home;
    AUTO(buf) plain = {0};

    *out = SLICE_NONE;
    if (key.ns == WA_NS_MESSAGE) return load_message(a, t, &key, arena, out);
    TRY(home_of(a, t, key.owner, false, &home));
    if (key.owner.len && !home) return OK; /* nobody we ever met */
    struct slice name = name_of(t, &key);
    TRY(db_key_find(turn_view(t), a->scope, home, (uint8_t)key.ns, key_name(t, name), &sealed));
    if (slice_is_none(sealed)) return OK;
    err_t e =
        crypto_box_open(a->home->accounts->data_key, aad_of(a, t, key.ns, name), sealed, &plain);
    if (e == ERR_BAD_MAC) return fail(STORE_DAMAGED, "a sealed row does not open (ns %d)", key.ns);
    TRY(e);
    *out = plain.len ? arena_dup(arena, buf_slice(&plain)) : slice_of(arena_alloc(arena, 1), 0);
    crypto_wipe(plain.data, plain.len);
    return OK;
}

/* The client cannot use an error here, so the turn keeps it and fails at its end. */
static void save(void *ctx, struct wa_key key, struct slice value)
{
    struct account *a = ctx;
    struct turn *t = turn_of(a);
    struct slice name = name_of(t, &key);
    uint32_t home;
    AUTO(buf) sealed = {0};

    err_t e = home_of(a, t, key.owner, !slice_is_none(value), &home);
    if (e != OK) {
        if (t->error == OK) t->error = e;
        return;
    }
    if (slice_is_none(value)) {
        if (home || !key.owner.len)
            db_key_delete(&t->batch, a->scope, home, (uint8_t)key.ns, key_name(t, name));
        return;
    }
    crypto_box_seal(a->home->accounts->data_key, aad_of(a, t, key.ns, name), value, &sealed);
    db_key_put(&t->batch, a->scope, home, (uint8_t)key.ns, key_name(t, name), buf_slice(&sealed));
}

static void emit(void *ctx, const struct wa_event *event)
{
    struct account *a = ctx;
    struct turn *t = turn_of(a);
    err_t e = ingest_event(a, t, event);

    if (e != OK && t->error == OK) t->error = e;
}

static void send_later(void *ctx, const struct wa_send *send) { turn_send(turn_of(ctx), send); }

static void random_bytes(void *ctx, void *out, size_t n) { crypto_random(out, n); }

struct wa_host host_of(struct account *a)
{
    return (struct wa_host){.load = load,
                            .save = save,
                            .emit = emit,
                            .send = send_later,
                            .random = random_bytes,
                            .ctx = a};
}
