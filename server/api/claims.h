/* Idempotency claims: one call per (key, tool, idempotency_key) within 24 hours.
 *
 * A claim lives here while its call runs: a second call with the same arguments joins it and gets
 * the same reply, one with others is refused. It is stored in the batch of the call's effect and
 * gets its reply in the last batch; a claim that was never stored did nothing, so the call may be
 * made again. One lock; any thread. */
#pragma once
#include "proto/base/err.h"
#include "server/api/call.h"

struct claims;
struct turn;
struct view;

struct claims *claims_new(void);
void claims_free(struct claims *cs);

enum claim_outcome {
    CLAIM_FREE,   /* the call has no key, or owns the claim now: run it */
    CLAIM_JOINED, /* it waits for another call; call_joined() follows */
    CLAIM_REPLY,  /* c->result or c->error is what the first call answered */
    CLAIM_EFFECT, /* the first call's effect is stored, its reply is not: *out_effect names it */
};
/* On the call's home worker. BAD_ARGUMENT: the key was used with other arguments. `out_effect` is
 * in the call's arena. */
err_t claim_take(struct claims *cs, struct call *c, enum claim_outcome *out,
                 struct slice *out_effect) MUST_CHECK;
/* In the turn of the effect, on the account's worker; nothing when the call has no claim. */
void claim_store(struct call *c, struct turn *t, struct slice effect);
/* In the last turn: the reply that later calls get. */
void claim_store_reply(struct call *c, struct turn *t, err_t error, struct slice result);
/* The call has ended: joiners get its reply. Home worker. */
void claim_release(struct claims *cs, struct call *c);
/* Takes a joiner out; false when its reply is already on the way. Home worker. */
bool claim_leave(struct claims *cs, struct call *c);
