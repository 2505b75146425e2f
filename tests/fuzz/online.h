/* A client for targets: paired and online, in a world of memory (fake_host), without going there.
 */
#pragma once
#include <stdlib.h>

#include "proto/client/inside.h"
#include "proto/client/keys.h"
#include "proto/client/mapping.h"
#include "proto/signal/prekey.h"
#include "tests/support/fake_host.h"

static struct wa_config online_config = {.version = {2, 3000, 1}, .first_prekeys = 2};

static inline void must(err_t e)
{
    if (e != OK) abort();
}

static inline void take(void *ctx, const struct wa_send *send)
{
    struct arena arena = {0};
    struct wa_node *node;

    if (send->kind == WA_SEND_STANZA) must(wa_node_decode(send->bytes, &arena, &node));
    arena_done(&arena);
}

/* Paired and online, as pairing and login leave it. */
static inline struct wa_client *online(struct fake_host *h, struct arena *arena)
{
    struct wa_client *c = wa_client_new(&online_config, &h->host);
    struct wa_signed_prekey skey;
    struct wa_jid pn = wa_jid_of(WA_SERVER_USER, SLICE("15550001111"), 0),
                  lid = wa_jid_of(WA_SERVER_LID, SLICE("777"), 0);

    c->arena = arena;
    c->now = 1700000000000;
    wa_account_make(&c->account, h->host.random, h->host.ctx);
    wa_keys_ready(c);
    c->account.paired = true;
    c->account.device = 5;
    c->account.signed_prekey_id = 1;
    memcpy(c->account.pn_user, "15550001111", 12);
    memcpy(c->account.lid_user, "777", 4);
    buf_put_text(&c->account.device_identity, "identity");
    wa_signed_prekey_make(&c->keystore, arena, 1, &skey);
    c->phase = WA_PHASE_ONLINE;
    c->state = WA_CLIENT_ONLINE;
    c->wants_link = true;
    c->link = 1;
    must(wa_mapping_learn(c, &pn, &lid));
    return c;
}
