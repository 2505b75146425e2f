/* Questions to the server and their answers.
 *
 * A query lives from the turn that asks until its answer, its time-out (75 s from release) or the
 * end of the link; then its function is called once and it is freed. What it belongs to (`op`)
 * may end earlier and then cancels it. One thread. */
#pragma once
#include "proto/client/inside.h"

enum {
    WA_QUERY_TIMEOUT_MS = 75 * 1000,
    WA_QUERIES_MAX = 4096, /* waiting at once; more is TOO_BUSY */
};

/* `iq` is NULL unless e is OK or QUERY_REFUSED. Returns only fatal errors. */
typedef err_t wa_answer_fn(struct wa_client *c, void *op, const struct wa_node *iq, err_t e);

struct wa_query {
    struct list node;
    uint32_t number;  /* the part of the id behind the dash */
    int64_t deadline; /* WA_NEVER before release */
    wa_answer_fn *answer;
    void *op;
    bool owns_op; /* free(op) with the query */
};

/* <iq type xmlns to="@s.whatsapp.net">; the id is set by wa_iq_ask. */
struct wa_node *wa_iq_new(struct wa_client *c, const char *type, const char *xmlns);
/* TOO_BUSY, NOT_CONNECTED; then `answer` is not called. */
err_t wa_iq_ask(struct wa_client *c, struct wa_node *iq, wa_answer_fn *answer, void *op) MUST_CHECK;
/* The same for an op on the heap that belongs to the query alone: freed after the answer, or with
 * the client, or here at once when the query is refused. */
err_t wa_iq_ask_with(struct wa_client *c, struct wa_node *iq, wa_answer_fn *answer,
                     void *take_op) MUST_CHECK;
/* Frees all, nobody is called. */
void wa_iq_free(struct wa_client *c);
/* Forgets every query of `op`; their answers are dropped. */
void wa_iq_cancel(struct wa_client *c, const void *op);
/* An iq of type result or error. */
err_t wa_iq_answered(struct wa_client *c, const struct wa_node *iq) MUST_CHECK;
/* Ends all with `e`, whatever they wait for. */
err_t wa_iq_drop_all(struct wa_client *c, err_t e) MUST_CHECK;
/* Ends those whose time is over. */
err_t wa_iq_expire(struct wa_client *c) MUST_CHECK;
int64_t wa_iq_deadline(const struct wa_client *c);
/* The wall clock was set back: the deadlines go with it. */
void wa_iq_bring_forward(struct wa_client *c, int64_t by);
/* The send with this number was released. */
void wa_iq_released(struct wa_client *c, uint32_t number, int64_t now);
/* The number in <error code>, 0 when there is none. */
int wa_iq_error(const struct wa_node *iq);
/* A query nobody waits for. */
err_t wa_iq_ignore(struct wa_client *c, void *op, const struct wa_node *iq, err_t e);
