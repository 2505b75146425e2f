/* The world of a client (proto/client/host.h) over the open turn of its account.
 *
 * Rows of the client lie under the account at peer 0, or, when they belong to a person or group,
 * under the home peer of that address, beside the chat they serve. Values are sealed with the data
 * key; the additional data is the row's place, so that no value opens under another one. */
#pragma once
#include "proto/client/host.h"

struct account;

/* A host for the account; what it gets is written to whatever turn is open at that moment. */
struct wa_host host_of(struct account *a);

struct db_contact;
struct place;
struct slice;
struct turn;
/* Where the message is, whatever address its author was known by then; place.peer 0 when it is
 * unknown. `author` none: our own. */
err_t host_find_message(struct account *a, struct turn *t, const struct db_contact *chat,
                        struct slice author, struct slice id, struct place *out) MUST_CHECK;
/* True for our own addresses. */
bool host_is_self(const struct account *a, struct slice address);
