#include "proto/client/signed_prekey.h"

#include "proto/client/iq.h"
#include "proto/client/prekeys.h"
#include "proto/signal/prekey.h"

void wa_rotation_plan(struct wa_client *c)
{
    struct wa_account *a = &c->account;

    /* Paired before this was noted, or by a clock that went years ahead. */
    if (!a->signed_prekey_at_s || a->signed_prekey_at_s > c->now / 1000) {
        a->signed_prekey_at_s = c->now / 1000;
        wa_save_account(c);
    }
    int64_t due = a->signed_prekey_at_s * 1000 + WA_ROTATE_EVERY_MS;
    if (due < c->rotate_after) due = c->rotate_after;
    wa_timer_set(c, WA_TIMER_ROTATE, due > c->now ? due : c->now);
}

/* The key of a rotation that was not answered is asked for again, never made anew: the server may
 * have handed it out. */
static err_t next_key(struct wa_client *c, uint32_t id)
{
    struct wa_signed_prekey *key = arena_new(c->arena, struct wa_signed_prekey);
    err_t e = wa_signed_prekey_load(&c->keystore, c->arena, id, key);

    if (e == ERR_NO_PREKEY) {
        wa_signed_prekey_make(&c->keystore, c->arena, id, key);
        e = OK;
    }
    crypto_wipe(&key->pair.secret, sizeof(key->pair.secret));
    return e;
}

static err_t on_rotated(struct wa_client *c, void *op, const struct wa_node *iq, err_t e)
{
    struct wa_account *a = &c->account;

    if (e == ERR_NOT_CONNECTED) return OK; /* at the next login */
    if (e != OK) {
        c->rotate_after = c->now + WA_ROTATE_RETRY_MS;
        wa_rotation_plan(c);
        return OK;
    }
    a->signed_prekey_id++;
    a->signed_prekey_at_s = c->now / 1000;
    wa_save_account(c);
    if (a->signed_prekey_id > WA_SIGNED_PREKEYS_KEPT)
        wa_signed_prekey_remove(&c->keystore, c->arena,
                                a->signed_prekey_id - WA_SIGNED_PREKEYS_KEPT);
    wa_rotation_plan(c);
    return OK;
}

err_t on_rotation_due(struct wa_client *c)
{
    uint32_t id = c->account.signed_prekey_id + 1;

    if (!wa_is_online(c)) return OK;
    TRY(next_key(c, id));
    struct wa_node *iq = wa_iq_new(c, "set", "encrypt");
    TRY(wa_put_signed_prekey(c, wa_node_add(iq, c->arena, "rotate"), id));
    return wa_iq_ask(c, iq, on_rotated, NULL);
}
