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
