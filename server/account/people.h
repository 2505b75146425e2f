/* Parties of the wire to peers of the database. Inside an open turn. */
#pragma once
#include "proto/client/events.h"
#include "server/api/faces.h"
#include "storage/contacts.h"

struct account;
struct turn;

enum contact_kind people_kind(const struct wa_jid *jid);
/* The contact of a party, made or merged where needed. Slices borrow from the turn. */
err_t people_open(struct account *a, struct turn *t, const struct wa_party *party,
                  struct db_contact *out) MUST_CHECK;
/* The same without making one: out->peer is 0 when nobody knows it. */
err_t people_find(struct account *a, struct turn *t, const struct wa_party *party,
                  struct db_contact *out) MUST_CHECK;
/* Keeps a push name that is new. */
void people_name(struct account *a, struct turn *t, struct db_contact *who, struct slice name);
/* What names the person in this account: LID before phone number, the address of a group. */
struct slice people_address(const struct db_contact *who);
/* "123@lid" without a device, in the turn's arena; SLICE_NONE for none. */
struct slice people_text(struct turn *t, const struct wa_jid *jid);
struct face_person people_self(const struct account *a);
const char *people_chat_id(const struct account *a, const struct db_contact *who, char out[]);
