/* Counters of the process. Each worker counts for itself (one writer, relaxed), a scrape sums. */
#pragma once
#include "proto/base/buf.h"
#include "server/worker.h"

struct server;

enum metric {
#define METRIC(name, type, public_name, help) METRIC_##name,
#include "server/metrics.def"
#undef METRIC
    METRIC_COUNT
};

enum { METRICS_WORKERS_MAX = 258 };

/* On any worker's thread; elsewhere it counts for main. */
void metric_add(enum metric m, uint64_t n);
uint64_t metric_sum(enum metric m);
/* Prometheus text. Any thread. */
void metrics_write(struct server *s, struct buf *out);
