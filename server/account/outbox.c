/* The outbox: what a call sent and WhatsApp has not acknowledged. Rows carry the stanza; in memory
 * there is one small entry per row, oldest first, so that an ack finds its row without a walk. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/account/inside.h"
#include "server/log.h"
#include "storage/outbox.h"

enum { OUTBOX_KEPT_MS = 24 * 60 * 60 * 1000 };

static struct outbox_entry *add_entry(struct account *a, uint64_t ordinal, struct place place,
                                      struct slice id, uint64_t operation)
{
    struct outbox_entry *o = xcalloc(sizeof *o);

    o->ordinal = ordinal;
    o->place = place;
    o->operation = operation;
    snprintf(o->id, sizeof o->id, SLICE_FMT, SLICE_ARG(id));
    list_push(&a->outbox, &o->node);
    return o;
}

void outbox_forget(struct account *a)
{
    for (struct list *node; (node = list_pop(&a->outbox));)
        free(LIST_ENTRY(node, struct outbox_entry, node));
    a->outbox_loaded = false;
}

err_t outbox_load(struct account *a, struct turn *t)
{
    struct db_outbox row;
    AUTO(range) r = {0};

    if (a->outbox_loaded) return OK;
    db_outboxes(&r, turn_view(t), a->scope);
    while (db_outbox_next(&r, &row))
        add_entry(a, row.ordinal, row.place, row.stanza_id, 0);
    TRY(range_error(&r));
    a->outbox_loaded = true;
    return OK;
}

static struct outbox_entry *find_entry(struct account *a, struct slice id)
{
    LIST_EACH(node, &a->outbox)
    {
        struct outbox_entry *o = LIST_ENTRY(node, struct outbox_entry, node);
        if (slice_is(id, o->id)) return o;
    }
    return NULL;
}

err_t outbox_add(struct account *a, struct turn *t, const struct wa_event *event)
{
    bool own = event->outbox.is_message && slice_eq(event->outbox.id, t->own.id);
    struct db_outbox row = {
        .stanza_id = event->outbox.id,
        .stanza = event->outbox.stanza,
        .place = own ? t->own.place : (struct place){0},
        .created_ms = t->now,
        .expires_ms = t->now + OUTBOX_KEPT_MS,
    };

    if (event->outbox.id.len >= STANZA_ID_MAX)
        return fail(INTERNAL, "a stanza id of %zu bytes", event->outbox.id.len);
    TRY(outbox_load(a, t));
    if (find_entry(a, event->outbox.id)) return OK; /* told again: the row stands */
    TRY(db_outbox_add(&t->batch, turn_view(t), a->scope, &row));
    struct outbox_entry *o =
        add_entry(a, row.ordinal, row.place, row.stanza_id, own ? t->own.operation : 0);
    if (wa_client_state_of(a->client) == WA_CLIENT_ONLINE) o->link = a->link_number;
    return OK;
}

/* ---- the end of a row ---- */

/* The message row says how it ended. A receipt may have come before the ack; then the message did
 * arrive, and what is refused is only its twin, sent because the ack got lost. */
static err_t finish_message(struct account *a, struct turn *t, struct place place, err_t *error,
                            int code)
{
    struct db_message m;

    if (place_is_none(place)) return OK;
    TRY(db_message_get(turn_view(t), a->scope, place, &m));
    if (m.status > MESSAGE_SENT && m.status != MESSAGE_FAILED) *error = OK;
    metric_add(*error == OK ? METRIC_messages_out : METRIC_messages_failed, 1);
    if (*error == OK && m.status == MESSAGE_PENDING) m.status = MESSAGE_SENT;
    if (*error != OK) m.status = MESSAGE_FAILED;
    m.error = *error == OK ? 0 : (uint16_t)code;
    db_message_put(&t->batch, a->scope, &m);
    return *error == OK ? ingest_message_sent(a, t, &m) : OK;
}

static void finish_call(struct account *a, struct turn *t, uint64_t operation, err_t error,
                        int code)
{
    struct account_call *c = operation ? account_call_of(a, operation) : NULL;

    if (!c) return;
    c->sent = error == OK ? ACCOUNT_SENT_OK : ACCOUNT_SENT_FAILED;
    c->sent_code = code;
    account_end_call(a, t, c, error);
}

static err_t finish(struct account *a, struct turn *t, struct outbox_entry *o, err_t error,
                    int code)
{
    struct place place = o->place;
    uint64_t operation = o->operation;

    db_outbox_delete(&t->batch, a->scope, o->ordinal);
    list_remove(&o->node);
    free(o);
    TRY(finish_message(a, t, place, &error, code));
    finish_call(a, t, operation, error, code);
    return OK;
}

err_t outbox_finish(struct account *a, struct turn *t, const struct wa_event *event)
{
    TRY(outbox_load(a, t));
    struct outbox_entry *o = find_entry(a, event->outbox_done.id);

    if (!o) return OK; /* acknowledged twice */
    if (event->outbox_done.error != OK)
        LOG(WARN, account_subject(a), "WhatsApp refused a stanza: %s code=%d",
            err_name(event->outbox_done.error), event->outbox_done.code);
    return finish(a, t, o, event->outbox_done.error, event->outbox_done.code);
}

err_t outbox_fail_all(struct account *a, struct turn *t)
{
    TRY(outbox_load(a, t));
    LIST_EACH(node, &a->outbox)
    {
        struct outbox_entry *o = LIST_ENTRY(node, struct outbox_entry, node);
        TRY(finish(a, t, o, ERR_NOT_PAIRED, 0));
    }
    return OK;
}

/* ---- again ---- */

static err_t resend_one(struct account *a, struct turn *t, struct outbox_entry *o, size_t *bytes)
{
    struct db_outbox row;
    bool found;

    TRY(db_outbox_find(turn_view(t), a->scope, o->ordinal, &found, &row));
    if (!found) return fail(STORE_DAMAGED, "an outbox row is gone");
    if (row.expires_ms && row.expires_ms <= t->now) return finish(a, t, o, ERR_QUERY_TIMEOUT, 0);
    metric_add(METRIC_resent, 1);
    o->link = a->link_number;
    *bytes += row.stanza.len;
    err_t e = wa_client_resend(a->client, row.stanza_id, row.stanza, t->now);
    if (e == OK || err_class(e) == ERR_CLASS_BROKEN) return e;
    LOG(WARN, account_subject(a), "an outbox row cannot be sent: %s", err_trail());
    return e == ERR_NOT_CONNECTED ? OK : finish(a, t, o, e, 0);
}

err_t outbox_resend(struct account *a, struct turn *t, bool *out_more)
{
    size_t bytes = 0;

    *out_more = false;
    TRY(outbox_load(a, t));
    LIST_EACH(node, &a->outbox)
    {
        struct outbox_entry *o = LIST_ENTRY(node, struct outbox_entry, node);
        if (o->link == a->link_number) continue;
        *out_more = bytes >= OUTBOX_PIECE;
        if (*out_more) return OK;
        TRY(resend_one(a, t, o, &bytes));
    }
    return OK;
}
