#include "tools/sim/steps.h"

#include <stdlib.h>

#include "proto/crypto/crypto.h"
#include "proto/schema/signal.pb-c.h"
#include "proto/schema/unpack.h"

enum { MAC_BYTES = 8, SIGNATURE_BYTES = 64 };

struct step {
    struct list link;
    uint8_t key[CRYPTO_SHA256];  /* of chain and counter */
    uint8_t used[CRYPTO_SHA256]; /* of message id and ciphertext */
};

static void hash(uint8_t out[CRYPTO_SHA256], struct slice a, struct slice b, uint32_t number)
{
    const uint32_t a_len = (uint32_t)a.len;
    const struct slice pieces[] = {slice_of(&a_len, sizeof a_len), a, b,
                                   slice_of(&number, sizeof number)};

    crypto_sha256_v(pieces, ARRAY_LEN(pieces), out);
}

/* The protobuf between the version byte and the MAC or signature. */
static struct slice body_of(struct slice bytes, size_t tail)
{
    return bytes.len > 1 + tail ? slice_sub(bytes, 1, bytes.len - tail) : SLICE_NONE;
}

static struct slice inner_of(struct arena *arena, struct slice pkmsg)
{
    const Wa__SignalPrekeyMessage *m;

    if (WA_UNPACK(wa__signal_prekey_message, slice_from(pkmsg, 1), arena, &m) != OK)
        return SLICE_NONE;
    return m->has_message ? wa_field(&m->message) : SLICE_NONE;
}

static bool read_pairwise(struct arena *arena, struct slice bytes, uint8_t key[CRYPTO_SHA256])
{
    const Wa__SignalMessage *m;

    if (WA_UNPACK(wa__signal_message, body_of(bytes, MAC_BYTES), arena, &m) != OK) return false;
    if (!m->has_ratchet_key || !m->has_counter) return false;
    hash(key, wa_field(&m->ratchet_key), SLICE_NONE, m->counter);
    return true;
}

/* A sender key is named by 32 bits, so its author belongs to the name. */
static bool read_shared(struct arena *arena, struct slice author, struct slice bytes,
                        uint8_t key[CRYPTO_SHA256])
{
    const Wa__SenderKeyMessage *m;

    if (WA_UNPACK(wa__sender_key_message, body_of(bytes, SIGNATURE_BYTES), arena, &m) != OK)
        return false;
    if (!m->has_id || !m->has_iteration) return false;
    hash(key, author, slice_of(&m->id, sizeof m->id), m->iteration);
    return true;
}

static void forget(struct sim_steps *s, struct step *step)
{
    map_remove(&s->by_key, SLICE_ARRAY(step->key));
    list_remove(&step->link);
    s->count--;
    free(step);
}

static void remember(struct sim_steps *s, const uint8_t key[CRYPTO_SHA256],
                     const uint8_t used[CRYPTO_SHA256])
{
    struct step *step = xalloc(sizeof *step);

    if (s->count == SIM_STEPS_MAX) forget(s, LIST_ENTRY(s->oldest.next, struct step, link));
    memcpy(step->key, key, sizeof step->key);
    memcpy(step->used, used, sizeof step->used);
    map_put(&s->by_key, SLICE_ARRAY(step->key), step);
    list_push(&s->oldest, &step->link);
    s->count++;
}

bool sim_step_note(struct sim_steps *s, struct arena *arena, struct slice author, struct slice id,
                   const struct wa_node *enc)
{
    struct slice type = wa_node_text(enc, "type"), bytes = enc->bytes;
    uint8_t key[CRYPTO_SHA256], used[CRYPTO_SHA256];
    const struct step *step;
    bool has_step;

    if (slice_is(type, "pkmsg")) bytes = inner_of(arena, bytes);
    if (slice_is(type, "skmsg"))
        has_step = read_shared(arena, author, bytes, key);
    else
        has_step = read_pairwise(arena, bytes, key);
    err_clear();
    if (!has_step) return true;
    hash(used, id, bytes, 0);
    step = map_find(&s->by_key, SLICE_ARRAY(key));
    if (step) return memcmp(step->used, used, sizeof used) == 0;
    remember(s, key, used);
    return true;
}

void sim_steps_init(struct sim_steps *s)
{
    *s = (struct sim_steps){0};
    list_init(&s->oldest);
}

void sim_steps_done(struct sim_steps *s)
{
    while (!list_empty(&s->oldest))
        forget(s, LIST_ENTRY(s->oldest.next, struct step, link));
    map_done(&s->by_key);
}
