/* One request of the control API, between its connection (control.c) and its handler
 * (control_routes.c). */
#pragma once
#include <jansson.h>

#include "tools/sim/server.h"

enum { SIM_SEGMENTS_MAX = 4 };

struct sim_request {
    struct sim_server *server;
    struct slice path; /* without the query */
    struct slice query;
    struct slice segments[SIM_SEGMENTS_MAX]; /* what stood for {} */
    json_t *body;                            /* an object; empty without a body */
};

/* Finds the route and runs it. `out` is the answer, owned by the caller; the result is its HTTP
 * status. */
int sim_control_answer(struct sim_request *q, struct slice method, json_t **out);

/* What a handler works on. */
struct sim_answer {
    struct sim_request *q;
    json_t *out; /* an object */
};

/* The handlers. */
#define ROUTE(method, path, handler, text) err_t handler(struct sim_answer *a) MUST_CHECK;
#include "tools/sim/routes.def"
#undef ROUTE

/* ---- for the handlers ---- */
json_t *sim_json_slice(struct slice s);
json_t *sim_json_text(const char *s);
/* Takes `value`. */
void sim_json_set(json_t *o, const char *key, json_t *value);
/* Unix milliseconds as ISO 8601. */
void sim_json_time(json_t *o, const char *key, int64_t ms);
/* Members of the body; SLICE_NONE or `absent` when missing or of another type. */
struct slice sim_text_member(const struct sim_request *q, const char *name);
int64_t sim_int_member(const struct sim_request *q, const char *name, int64_t absent);
/* BAD_ARGUMENT naming the member when it is missing or empty. */
err_t sim_need_text(const struct sim_request *q, const char *name, struct slice *out) MUST_CHECK;
/* "+number" without the plus. */
struct slice sim_plain_number(struct slice s);
/* The phone whose number is the path's first segment. */
err_t sim_phone_of_path(const struct sim_request *q, struct sim_phone **out) MUST_CHECK;
/* A query parameter, percent-decoded into `buffer`; SLICE_NONE when absent. */
struct slice sim_query_value(const struct sim_request *q, const char *name, char *buffer,
                             size_t size);
uint64_t sim_query_int(const struct sim_request *q, const char *name, uint64_t absent);
