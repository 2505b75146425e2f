/* A turn: one input of an account, its writes and its outputs.
 *
 * Reads see the account's undurable turns first, then the database. Writes gather in the turn's
 * batch; sends, live outputs and finished calls wait in the turn. turn_close() hands the batch to
 * the writer; when it is durable, and every older turn of the account has been released, the
 * outputs leave in order. A turn that wrote nothing waits only for the older ones. If the commit
 * fails, nothing leaves: the account closes and reopens from disk.
 *
 * All on the account's worker. */
#pragma once
#include "proto/base/arena.h"
#include "proto/base/list.h"
#include "proto/client/host.h"
#include "server/events/event.h"

struct account;
struct account_call;
struct batch;
struct db_contact;
struct turn;
struct view;

enum {
    TURN_UNDURABLE_MAX = 64,       /* turns; more stop the link's reading */
    TURN_UNDURABLE_BYTES = 1 << 20 /* of batches */
};

/* Memory that dies with the turn. */
struct arena *turn_arena(struct turn *t);
/* Writes of records go here. */
struct batch *turn_batch(struct turn *t);
/* Reads of records: the database with the undurable turns of this account, and this turn, on top.
 * Valid until the turn closes; never across a wait. */
struct view *turn_view(struct turn *t);
/* Wall clock of the input, ms. */
int64_t turn_now(const struct turn *t);
struct account *turn_account(struct turn *t);

/* A row for the tenant's event log; the writer numbers it at commit. `bytes` is the whole JSON
 * object without its seq, as server/events/event.h builds it; `peer` the chat it is about, 0 none.
 * Copied. */
void turn_event(struct turn *t, enum event_kind kind, uint32_t peer, struct slice bytes);
/* Somebody became a part of this person: who asked for events of either hears both from this commit
 * on (see server/events/event.h). */
void turn_merge(struct turn *t, const struct db_contact *person);
/* An event that is not stored (typing, presence): published at release, without seq. Copied. */
void turn_live_event(struct turn *t, enum event_kind kind, uint32_t peer, struct slice bytes);
