/* Namespace encrypt: what devices upload for others, and what others get of it. */
#include "tools/sim/faults.h"
#include "tools/sim/iq.h"
#include "tools/sim/rules.h"

#include <stdlib.h>

static uint32_t be24(struct slice id) { return id.data[0] << 16 | id.data[1] << 8 | id.data[2]; }

static struct slice put_be24(struct arena *arena, uint32_t v)
{
    uint8_t b[3] = {v >> 16, v >> 8, v};

    return arena_dup(arena, SLICE_ARRAY(b));
}

void sim_iq_prekey_count(struct sim_conn *c, const struct wa_node *iq)
{
    struct arena *arena = &c->relay->arena;
    struct wa_node *result = sim_iq_result(c, iq);
    uint32_t count = c->device->bundle.prekey_count, least = c->relay->options.least_prekeys;

    wa_node_set_int(wa_node_add(result, arena, "count"), arena, "value",
                    count < least ? least : count);
    sim_conn_send(c, result);
}

static void take_signed(struct sim_bundle *b, const struct wa_node *skey)
{
    b->signed_id = be24(wa_node_child_bytes(skey, "id"));
    memcpy(b->signed_public, wa_node_child_bytes(skey, "value").data, 32);
    memcpy(b->signed_signature, wa_node_child_bytes(skey, "signature").data, 64);
}

static void take_prekey(struct sim_bundle *b, const struct wa_node *key)
{
    struct sim_prekey p = {.id = be24(wa_node_child_bytes(key, "id"))};

    memcpy(p.public, wa_node_child_bytes(key, "value").data, 32);
    for (uint32_t i = 0; i < b->prekey_count; i++)
        if (b->prekeys[i].id == p.id) {
            b->prekeys[i] = p; /* the same upload once more, after a lost answer */
            return;
        }
    b->prekeys = xrealloc(b->prekeys, (b->prekey_count + 1) * sizeof *b->prekeys);
    b->prekeys[b->prekey_count++] = p;
}

void sim_iq_prekey_upload(struct sim_conn *c, const struct wa_node *iq)
{
    struct sim_bundle *b = &c->device->bundle;
    const struct wa_node *list = wa_node_child(iq, "list"), *key;

    if (!sim_rules_hold(c, SIM_SCOPE_PREKEYS, iq)) return;
    memcpy(b->registration, wa_node_child_bytes(iq, "registration").data, 4);
    memcpy(b->identity, wa_node_child_bytes(iq, "identity").data, 32);
    take_signed(b, wa_node_child(iq, "skey"));
    for (size_t i = 0; (key = wa_node_next(list, "key", &i));)
        take_prekey(b, key);
    c->device->low_told = false;
    sim_changed(c->relay);
    sim_conn_send(c, sim_iq_result(c, iq));
}

void sim_iq_prekey_rotate(struct sim_conn *c, const struct wa_node *iq)
{
    const struct wa_node *rotate = wa_node_child(iq, "rotate");

    if (!sim_rules_hold(c, SIM_SCOPE_ROTATE, rotate)) {
        sim_iq_error(c, iq, 406, "not-acceptable");
        return;
    }
    take_signed(&c->device->bundle, wa_node_child(rotate, "skey"));
    sim_changed(c->relay);
    sim_conn_send(c, sim_iq_result(c, iq));
}

static void add_bytes(struct wa_node *parent, struct arena *arena, const char *tag, struct slice b)
{
    wa_node_set_bytes(wa_node_add(parent, arena, tag), b);
}

static void add_head(struct wa_node *parent, struct arena *arena, const struct sim_bundle *b)
{
    add_bytes(parent, arena, "registration", SLICE_ARRAY(b->registration));
    add_bytes(parent, arena, "type", SLICE("\x05"));
    add_bytes(parent, arena, "identity", SLICE_ARRAY(b->identity));
}

static void add_signed(struct wa_node *parent, struct arena *arena, const struct sim_bundle *b)
{
    struct wa_node *skey = wa_node_add(parent, arena, "skey");

    add_bytes(skey, arena, "id", put_be24(arena, b->signed_id));
    add_bytes(skey, arena, "value", SLICE_ARRAY(b->signed_public));
    add_bytes(skey, arena, "signature", SLICE_ARRAY(b->signed_signature));
}

/* SHA-1 over identity, signed prekey with signature and every one-time key, in list order. */
static void digest_hash(struct arena *arena, const struct sim_bundle *b, uint8_t out[20])
{
    struct slice *pieces = arena_array(arena, struct slice, b->prekey_count + 3);
    size_t n = 0;

    pieces[n++] = SLICE_ARRAY(b->identity);
    pieces[n++] = SLICE_ARRAY(b->signed_public);
    pieces[n++] = SLICE_ARRAY(b->signed_signature);
    for (uint32_t i = 0; i < b->prekey_count; i++)
        pieces[n++] = SLICE_ARRAY(b->prekeys[i].public);
    crypto_sha1_v(pieces, n, out);
}

void sim_iq_prekey_digest(struct sim_conn *c, const struct wa_node *iq)
{
    struct arena *arena = &c->relay->arena;
    const struct sim_bundle *b = &c->device->bundle;
    struct wa_node *result, *digest, *list;
    uint8_t hash[20];

    if (b->prekey_count == 0) {
        sim_iq_error(c, iq, 404, "item-not-found"); /* the client uploads then */
        return;
    }
    result = sim_iq_result(c, iq);
    digest = wa_node_add(result, arena, "digest");
    add_head(digest, arena, b);
    add_signed(digest, arena, b);
    list = wa_node_add(digest, arena, "list");
    for (uint32_t i = 0; i < b->prekey_count; i++)
        add_bytes(list, arena, "id", put_be24(arena, b->prekeys[i].id));
    digest_hash(arena, b, hash);
    add_bytes(digest, arena, "hash", arena_dup(arena, SLICE_ARRAY(hash)));
    sim_conn_send(c, result);
}

/* The oldest one-time key leaves for good. */
static void add_one_time(struct wa_node *user, struct sim_conn *c, struct sim_device *dev)
{
    struct arena *arena = &c->relay->arena;
    struct sim_bundle *b = &dev->bundle;
    struct wa_node *key;

    if (b->prekey_count == 0 || sim_fault_take(c->relay, SIM_FAULT_MISSING_PREKEY, dev, NULL))
        return;
    key = wa_node_add(user, arena, "key");
    add_bytes(key, arena, "id", put_be24(arena, b->prekeys[0].id));
    add_bytes(key, arena, "value", arena_dup(arena, SLICE_ARRAY(b->prekeys[0].public)));
    memmove(b->prekeys, b->prekeys + 1, --b->prekey_count * sizeof *b->prekeys);
    sim_changed(c->relay);
    sim_notify_low_prekeys(c->relay, dev);
}

static void add_user_error(struct wa_node *user, struct arena *arena, const char *code,
                           const char *text)
{
    struct wa_node *error = wa_node_add(user, arena, "error");

    wa_node_set_text(error, arena, "code", code);
    wa_node_set_text(error, arena, "text", text);
}

static void spoil_signature(struct wa_node *user, struct arena *arena)
{
    struct wa_node *skey = (struct wa_node *)wa_node_child(user, "skey");
    uint8_t *copy = (uint8_t *)arena_dup(arena, wa_node_child_bytes(skey, "signature")).data;

    copy[5] ^= 0x10;
    ((struct wa_node *)wa_node_child(skey, "signature"))->bytes = slice_of(copy, 64);
}

static void add_bundle(struct wa_node *list, struct sim_conn *c, struct wa_jid asked)
{
    struct arena *arena = &c->relay->arena;
    struct sim_device *dev = sim_device_of(&c->relay->people, asked);
    struct wa_node *user = wa_node_add(list, arena, "user");

    wa_node_set_jid(user, arena, "jid", asked);
    if (!dev || dev->bundle.signed_id == 0) {
        add_user_error(user, arena, "406", "not-acceptable");
        return;
    }
    wa_node_set_int(user, arena, "t", sim_seconds(c->relay));
    add_head(user, arena, &dev->bundle);
    add_one_time(user, c, dev);
    add_signed(user, arena, &dev->bundle);
    if (dev->id != 0) add_bytes(user, arena, "device-identity", buf_slice(&dev->identity));
    if (sim_fault_take(c->relay, SIM_FAULT_BAD_SIGNED_PREKEY, dev, NULL))
        spoil_signature(user, arena);
}

void sim_iq_bundles(struct sim_conn *c, const struct wa_node *iq)
{
    const struct wa_node *asked = wa_node_child(iq, "key"), *user;
    struct wa_node *result = sim_iq_result(c, iq);
    struct wa_node *list = wa_node_add(result, &c->relay->arena, "list");

    for (size_t i = 0; (user = wa_node_next(asked, "user", &i));)
        add_bundle(list, c, wa_node_jid(user, "jid"));
    sim_conn_send(c, result);
}
