/* Two small tables: what each class becomes, and the few errors whose public code is not their
 * class's. Everything else about an error stands in its row of errors.def. */
#include "server/api/edge.h"

#include "server/api/json.h"
#include "server/log.h"

/* JSON-RPC codes of our own lie outside -32768..-32000, which the protocol keeps. */
static const struct {
    struct edge edge;
    enum log_level level;
    bool shows_words; /* fail()'s words are meant for the caller */
} classes[] = {
    [ERR_CLASS_CALLER] = {{400, -32602, "invalid_request", 0}, LOG_DEBUG, true},
    [ERR_CLASS_AUTH] = {{401, -31001, "unauthorized", 0}, LOG_DEBUG, true},
    [ERR_CLASS_DENIED] = {{403, -31003, "forbidden", 0}, LOG_INFO, true},
    [ERR_CLASS_MISSING] = {{404, -31004, "not_found", 0}, LOG_DEBUG, true},
    [ERR_CLASS_STATE] = {{409, -31009, "account_not_paired", 0}, LOG_INFO, true},
    [ERR_CLASS_LIMITED] = {{429, -31029, "rate_limited", 30}, LOG_INFO, true},
    [ERR_CLASS_LATER] = {{500, -32603, "server_error", 5}, LOG_WARN, true},
    [ERR_CLASS_PEER] = {{500, -32603, "server_error", 0}, LOG_WARN, false},
    [ERR_CLASS_BROKEN] = {{500, -32603, "server_error", 30}, LOG_ERROR, false},
};

static const struct {
    err_t error;
    struct edge edge;
    bool shows_words; /* also when those of its class do not */
} exceptions[] = {
    /* Without a link a call leaves nothing behind; the surface has one code for both. */
    {ERR_NOT_CONNECTED, {409, -31009, "account_not_paired", 5}, false},
    /* Waiting mends neither: somebody must look at options, versions or certificates first. */
    {ERR_NOT_TRUSTED, {500, -32603, "server_error", 0}, false},
    {ERR_PAIRING_REFUSED, {500, -32603, "server_error", 0}, false},
    /* They say what is damaged and what helps (call_word_damage). */
    {ERR_STORE_DAMAGED, {500, -32603, "server_error", 0}, true},
    {ERR_TOO_BUSY, {429, -31029, "rate_limited", 1}, false},
    {ERR_CANCELLED, {400, -32800, "invalid_request", 0}, false},
};

static unsigned class_of(err_t e)
{
    enum err_class c = err_class(e);

    return c == ERR_CLASS_NONE || c >= ARRAY_LEN(classes) ? ERR_CLASS_BROKEN : c;
}

const struct edge *edge_of(err_t e)
{
    for (size_t i = 0; i < ARRAY_LEN(exceptions); i++)
        if (exceptions[i].error == e) return &exceptions[i].edge;
    return &classes[class_of(e)].edge;
}

static bool shows_words(err_t e)
{
    for (size_t i = 0; i < ARRAY_LEN(exceptions); i++)
        if (exceptions[i].error == e && exceptions[i].shows_words) return true;
    return classes[class_of(e)].shows_words;
}

const char *edge_words(err_t e)
{
    return classes[class_of(e)].shows_words && *err_words() ? err_words() : err_text(e);
}

void edge_problem(struct buf *out, err_t e, const char *words, const char *field,
                  const char *expected)
{
    const struct edge *edge = edge_of(e);
    struct pen p = pen_on(out);

    pen_object(&p, NULL);
    pen_word(&p, "code", edge->code);
    pen_word(&p, "message", shows_words(e) && words && *words ? words : err_text(e));
    if (edge->retry_after_s) pen_int(&p, "retry_after", edge->retry_after_s);
    if (field && *field) {
        pen_word(&p, "field", field);
        pen_word(&p, "expected", expected);
    }
    pen_end(&p);
}

void edge_log(err_t e, const char *subject, const char *what, const char *trail)
{
    enum log_level level = classes[class_of(e)].level;

    if (log_on(level))
        log_write(level, subject, "%s: %s", what, trail && *trail ? trail : err_name(e));
}
