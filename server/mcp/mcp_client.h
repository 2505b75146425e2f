/* What a method asks of the client: words of its model (sampling), of its user (elicitation), or
 * the folders it works in (roots).
 *
 * The older era has requests of the server: mcp_request_client() sends one on the stream of the
 * ask it belongs to, and the client POSTs its answer, on whatever connection. The modern era has
 * none: the ask ends with a result that says what is needed (mcp_need), and the client asks again
 * with the answers (mcp_input) and the state it was given, which is signed, because between the two
 * only the client holds it. On the ask's worker. */
#pragma once
#include "server/mcp/inside.h"

enum {
    MCP_REPLY_MS = 10 * 60 * 1000, /* people answer slowly; then the request is withdrawn */
    MCP_STATE_MS = 60 * 60 * 1000, /* a state is good for so long */
    MCP_STATE_MAX = 16 * 1024,     /* bytes of one as text */
};

struct mcp_input {
    enum mcp_ability ability;
    const char *key, *method;
    struct slice params; /* JSON object */
};

/* What the client's `capabilities` allow, as a set of enum mcp_ability. */
uint8_t mcp_abilities(const struct json *capabilities);
/* The same for the client of this ask. */
uint8_t mcp_client_can(const struct mcp_ask *a);
/* Ends the ask: the client must declare these abilities for it. */
void mcp_refuse_ability(struct mcp_ask *a, unsigned abilities);

/* ---- the older era ---- */

/* Sends the request; on_reply hears the result, or NULL when the client refused, answered with
 * something else or not at all. One at a time. */
void mcp_request_client(struct mcp_ask *a, const char *method, struct slice params,
                        void (*on_reply)(struct mcp_ask *a, const struct json *result));

/* ---- the modern era; only tools/call, prompts/get and resources/read may need something ---- */

/* Ends the ask: says what is needed. Leaves out what the client cannot give, and refuses when
 * nothing is left. `state` comes back as it is; SLICE_NONE: there is none. */
void mcp_need(struct mcp_ask *a, const struct mcp_input *inputs, size_t n, struct slice state);
/* What the client gave for the key; NULL when it is none, or no object. */
const struct json *mcp_input(const struct mcp_ask *a, const char *key);
/* The state that came back, SLICE_NONE when there is none. False when it was not given out for
 * this request of this key, or is too old: then it was refused. */
bool mcp_state(struct mcp_ask *a, struct slice *out);
