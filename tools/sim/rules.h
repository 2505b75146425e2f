/* What the sim refuses: rules.def, one row per rule. */
#pragma once
#include "proto/schema/handshake.pb-c.h"
#include "tools/sim/relay.h"

enum sim_scope {
    SIM_SCOPE_PAYLOAD,
    SIM_SCOPE_REGISTRATION,
    SIM_SCOPE_LOGIN,
    SIM_SCOPE_SIGN,
    SIM_SCOPE_CODE_HELLO,
    SIM_SCOPE_CODE_FINISH,
    SIM_SCOPE_IQ,
    SIM_SCOPE_PREKEYS,
    SIM_SCOPE_ROTATE,
    SIM_SCOPE_MESSAGE,
    SIM_SCOPE_RECEIPT
};

enum sim_rule {
#define RULE(name, scope, check, answer, code, text, source) SIM_RULE_##name,
#include "tools/sim/rules.def"
#undef RULE
    SIM_RULES
};
_Static_assert(SIM_RULES <= 96, "struct sim_relay counts at most 96 rules");

/* True when every rule of the scope holds for the stanza; otherwise the answer of the broken one
 * is already given, counted and noted in the trace. */
bool sim_rules_hold(struct sim_conn *c, enum sim_scope scope, const struct wa_node *n);
bool sim_rules_hold_payload(struct sim_conn *c, enum sim_scope scope,
                            const Wa__ClientPayload *payload);
const char *sim_rule_name(enum sim_rule rule);
const char *sim_rule_text(enum sim_rule rule);
const char *sim_rule_source(enum sim_rule rule);
