/* Which ciphertext each step of a sending chain carried. Ratchet key and counter travel in clear,
 * so the relay sees, without any key, when a client used one step for two messages: its state on
 * disk was older than what had left. The newest SIM_STEPS_MAX steps are known. */
#pragma once
#include "proto/base/list.h"
#include "proto/base/map.h"
#include "proto/wire/node.h"

enum { SIM_STEPS_MAX = 65536 };

struct sim_steps {
    struct map by_key;
    struct list oldest;
    size_t count;
};

void sim_steps_init(struct sim_steps *s);
void sim_steps_done(struct sim_steps *s);
/* Notes the step of one <enc> of the message `id`, whose sender keys are told apart by `author`.
 * False when another message, or other bytes, went out with that step before. An enc that is no
 * Signal message has no step. */
bool sim_step_note(struct sim_steps *s, struct arena *arena, struct slice author, struct slice id,
                   const struct wa_node *enc);
