/* REST: /v1/… generated from the tool table, GET /v1/events as a resumable stream of server-sent
 * events, and /v1/keys for the operator. Tables for http_config.tables. */
#pragma once
#include "server/http/http.h"

extern const struct route rest_routes[];
