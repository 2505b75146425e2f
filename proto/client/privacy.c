#include "proto/client/privacy.h"

#include "proto/base/text.h"
#include "proto/client/devices.h"
#include "proto/client/iq.h"

void wa_privacy_take(struct wa_client *c, const struct wa_node *privacy)
{
    const struct wa_node *category;

    for (size_t i = 0; (category = wa_node_next(privacy, "category", &i));) {
        if (!slice_is(wa_node_text(category, "name"), "readreceipts")) continue;
        bool hides = slice_is(wa_node_text(category, "value"), "none");
        enum wa_reads reads = hides ? WA_READS_HIDDEN : WA_READS_SHOWN;
        if (reads == c->account.reads) continue;
        c->account.reads = reads;
        wa_save_account(c);
    }
}

static struct wa_node *new_query(struct wa_client *c)
{
    struct wa_node *iq = wa_iq_new(c, "get", "privacy");

    wa_node_add(iq, c->arena, "privacy");
    return iq;
}

/* Refused: what we knew stays true. */
static err_t on_settings(struct wa_client *c, void *op, const struct wa_node *iq, err_t e)
{
    const struct wa_node *privacy = e == OK ? wa_node_child(iq, "privacy") : NULL;

    if (privacy) wa_privacy_take(c, privacy);
    return OK;
}

err_t wa_privacy_ask(struct wa_client *c) { return wa_iq_ask(c, new_query(c), on_settings, NULL); }

/* ---- dirty bits ---- */

static err_t clean(struct wa_client *c, struct slice type, struct slice timestamp)
{
    struct wa_node *iq = wa_iq_new(c, "set", "urn:xmpp:whatsapp:dirty");
    struct wa_node *clean = wa_node_add(iq, c->arena, "clean");

    wa_node_set(clean, c->arena, "type", type);
    wa_node_set(clean, c->arena, "timestamp", timestamp);
    return wa_iq_ask(c, iq, wa_iq_ignore, NULL);
}

/* Without an answer the bit stays dirty, and is told again at the next login. */
static err_t on_account_fetched(struct wa_client *c, void *op, const struct wa_node *iq, err_t e)
{
    const uint64_t *timestamp = op;

    TRY(on_settings(c, NULL, iq, e));
    if (e != OK) return OK;
    return clean(c, SLICE("account_sync"),
                 arena_printf(c->arena, "%llu", (unsigned long long)*timestamp));
}

/* Ours are devices and settings; devices are asked for before the next send, as soon as their list
 * counts as old. */
static err_t fetch_account(struct wa_client *c, const struct wa_node *dirty)
{
    struct wa_jid self = wa_self_pn(c);
    uint64_t *timestamp, at;

    ENSURE(text_u64(wa_node_text(dirty, "timestamp"), &at) == OK, BAD_STANZA);
    TRY(wa_devices_expire(c, &self));
    timestamp = xalloc(sizeof *timestamp);
    *timestamp = at;
    return wa_iq_ask_with(c, new_query(c), on_account_fetched, timestamp);
}

err_t wa_on_dirty(struct wa_client *c, const struct wa_node *dirty)
{
    struct slice type = wa_node_text(dirty, "type");

    if (slice_is(type, "account_sync")) return fetch_account(c, dirty);
    /* groups: members are not kept, a group's next message brings what we need of it.
     * syncd_app_state, newsletter_metadata: nothing of them is kept. Left dirty they would only be
     * told again at every login. */
    return clean(c, type, wa_node_text(dirty, "timestamp"));
}
