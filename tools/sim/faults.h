/* Misbehaviour on order: rows of faults.def, armed through the control API. */
#pragma once
#include "tools/sim/relay.h"

enum sim_fault_kind {
#define FAULT(name, word, when, text) SIM_FAULT_##name,
#include "tools/sim/faults.def"
#undef FAULT
    SIM_FAULTS
};

struct sim_fault {
    struct list link;
    enum sim_fault_kind kind;
    char device[SIM_TRACE_WHO_MAX]; /* "15550001111:5", "15550001111" = all its devices, "" = all */
    char tag[32], text[64];
    int64_t value;
    uint32_t skip;  /* matches that pass first */
    uint32_t count; /* how often, then the fault is gone */
};

/* BAD_ARGUMENT for an unknown name or a NOW fault whose device is not there. */
err_t sim_fault_kind_of(struct slice word, enum sim_fault_kind *out) MUST_CHECK;
/* Arms a copy, or does it at once. NOT_FOUND when a NOW fault's device is not connected. */
err_t sim_fault_put(struct sim_relay *r, const struct sim_fault *f) MUST_CHECK;
void sim_faults_clear(struct sim_relay *r);

/* Uses up one count of a matching fault; `out` may be NULL. */
bool sim_fault_take(struct sim_relay *r, enum sim_fault_kind kind, const struct sim_device *dev,
                    struct sim_fault *out);
/* The same for faults that name a tag. */
bool sim_fault_take_tag(struct sim_relay *r, enum sim_fault_kind kind, const struct sim_device *dev,
                        struct slice tag, struct sim_fault *out);
const char *sim_fault_name(enum sim_fault_kind kind);
const char *sim_fault_text(enum sim_fault_kind kind);
