/* Operations: is it alive, is it ready, what does it count. No key: nothing here tells of people
 * or changes anything. */
#pragma once
#include "server/http/http.h"

/* GET /livez; /readyz?verbose and its aliases /ready, /health, /healthz; /metrics;
 * /metrics/accounts (404 unless --metrics-accounts allows it). */
extern const struct route ops_routes[];
