/* Answers to queries. Handlers live in the iq_*.c files, one namespace family each. */
#pragma once
#include "tools/sim/relay.h"

/* An empty result for the query, to be filled and sent. */
struct wa_node *sim_iq_result(struct sim_conn *c, const struct wa_node *iq);
void sim_iq_error(struct sim_conn *c, const struct wa_node *iq, int code, const char *text);

void sim_iq_prekey_count(struct sim_conn *c, const struct wa_node *iq);
void sim_iq_prekey_upload(struct sim_conn *c, const struct wa_node *iq);
void sim_iq_prekey_rotate(struct sim_conn *c, const struct wa_node *iq);
void sim_iq_prekey_digest(struct sim_conn *c, const struct wa_node *iq);
void sim_iq_bundles(struct sim_conn *c, const struct wa_node *iq);
void sim_iq_usync(struct sim_conn *c, const struct wa_node *iq);
void sim_iq_blocklist(struct sim_conn *c, const struct wa_node *iq);
void sim_iq_block(struct sim_conn *c, const struct wa_node *iq);
void sim_iq_privacy(struct sim_conn *c, const struct wa_node *iq);
void sim_iq_privacy_set(struct sim_conn *c, const struct wa_node *iq);
void sim_iq_tokens(struct sim_conn *c, const struct wa_node *iq);
void sim_iq_about(struct sim_conn *c, const struct wa_node *iq);
void sim_iq_appstate(struct sim_conn *c, const struct wa_node *iq);
void sim_iq_group(struct sim_conn *c, const struct wa_node *iq);
void sim_iq_groups(struct sim_conn *c, const struct wa_node *iq);
