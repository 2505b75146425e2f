#include "proto/client/keys.h"

#include "proto/client/mapping.h"

static const enum wa_ns namespaces[] = {
    [WA_SIGNAL_SIGNED_PREKEY] = WA_NS_SIGNED_PREKEY,
    [WA_SIGNAL_PREKEYS] = WA_NS_PREKEYS,
    [WA_SIGNAL_SESSION] = WA_NS_SESSION,
    [WA_SIGNAL_SKIPPED] = WA_NS_SKIPPED,
    [WA_SIGNAL_IDENTITY] = WA_NS_IDENTITY,
    [WA_SIGNAL_SENDER_KEY] = WA_NS_SENDER_KEY,
    [WA_SIGNAL_SENDER_SKIPPED] = WA_NS_SENDER_SKIPPED,
};

static err_t load_row(void *ctx, struct wa_row row, struct arena *arena, struct slice *out)
{
    struct wa_client *c = ctx;
    struct wa_key key = {namespaces[row.kind], row.owner, row.name};

    return wa_load_key(c, key, arena, out);
}

static void save_row(void *ctx, struct wa_row row, struct slice value)
{
    wa_save(ctx, namespaces[row.kind], row.owner, row.name, value);
}

static void random_bytes(void *ctx, void *out, size_t n) { wa_random(ctx, out, n); }

void wa_keys_init(struct wa_client *c)
{
    c->keystore =
        (struct wa_keystore){.load = load_row, .save = save_row, .random = random_bytes, .ctx = c};
}

void wa_keys_ready(struct wa_client *c)
{
    c->keystore.identity = &c->account.identity;
    c->keystore.registration_id = c->account.registration_id;
}

err_t wa_address_of(struct wa_client *c, const struct wa_jid *jid, struct wa_address *out)
{
    struct wa_party person;

    TRY(wa_party_of(c, jid, &person));
    out->name = wa_party_name(c, &person);
    out->device = jid->device;
    out->own = wa_account_is_self(&c->account, jid);
    return OK;
}
