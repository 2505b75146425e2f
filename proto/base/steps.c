#include "proto/base/steps.h"

void steps_init(struct steps *s, const struct step *rows, int64_t now_ms)
{
    *s = (struct steps){.rows = rows, .entered_at = now_ms};
}

const char *steps_name(const struct steps *s)
{
    return s->rows[s->at].name ? s->rows[s->at].name : "done";
}

enum step_result steps_run(struct steps *s, void *op, int64_t now_ms)
{
    while (s->rows[s->at].name) {
        enum step_result r = s->rows[s->at].run(op);

        if (r == STEP_WAIT) return STEP_WAIT;
        if (s->on_left) s->on_left(op, s->rows[s->at].name, now_ms - s->entered_at);
        if (r != STEP_NEXT) return r;
        s->at++;
        s->entered_at = now_ms;
    }
    return STEP_DONE;
}
