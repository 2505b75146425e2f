/* A flow that waits is a list of steps: rows of short functions over one operation struct.
 *
 * The runner calls the step it stands on until one waits, fails or the list ends. STEP_WAIT means
 * that the step sent a question; the answer resumes the same operation with steps_run(), which
 * calls the *same* step again (it looks at the operation and goes on). A wait ends the turn: no
 * record loaded before it may be used after it. One owner, one thread. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "proto/base/err.h"

enum step_result { STEP_NEXT, STEP_WAIT, STEP_DONE, STEP_FAILED };

struct step {
    const char *name;
    enum step_result (*run)(void *op);
};

struct steps {
    const struct step *rows; /* ends with a row without a name */
    unsigned at;
    int64_t entered_at; /* when the current step was first run, ms */
    /* Told when a step is left, with the time it took; may be NULL. */
    void (*on_left)(void *op, const char *name, int64_t took_ms);
};

void steps_init(struct steps *s, const struct step *rows, int64_t now_ms);
/* STEP_WAIT, STEP_DONE (also when the list ended) or STEP_FAILED. */
enum step_result steps_run(struct steps *s, void *op, int64_t now_ms);
/* Name of the step the flow stands on, "done" behind the end. */
const char *steps_name(const struct steps *s);
