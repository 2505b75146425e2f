/* The tool table: tools.def read as data. Schemas, validator, routes, tools/list and the CLI's
 * help are expansions of these rows. Constant after start; any thread. */
#pragma once
#include "proto/base/slice.h"
#include "proto/base/steps.h"
#include "server/tenant/principal.h"

struct call;
struct shape;

/* What an argument may be. */
enum arg_type {
    ARG_TEXT, /* min..max bytes of UTF-8 */
    ARG_INT,  /* min..max */
    ARG_BOOL,
    ARG_TIME,            /* ISO 8601 */
    ARG_PHONE,           /* E.164 with + */
    ARG_ACCOUNT,         /* acc_… */
    ARG_CHAT,            /* chat_… */
    ARG_MESSAGE,         /* msg_… */
    ARG_SUBSCRIPTION,    /* sub_… */
    ARG_CURSOR,          /* opaque, from next_cursor */
    ARG_SEQ,             /* a number of the event log, as text or number */
    ARG_ENUM,            /* one of `choices`, comma separated */
    ARG_PHONES,          /* array of at most max E.164 numbers */
    ARG_EVENTS,          /* array of at most max event names or wildcards */
    ARG_MESSAGE_OR_TIME, /* msg_… or a time */
};

struct arg {
    const char *name;
    enum arg_type type;
    bool required;
    int64_t min, max;
    const char *choices; /* of ARG_ENUM */
    const char *meaning;
};

enum tool_flag {
    TOOL_OPEN_WORLD = 1, /* openWorldHint: reaches WhatsApp */
    TOOL_DESTRUCTIVE = 2,
    TOOL_IDEMPOTENT = 4,   /* the same call again changes nothing more */
    TOOL_TAKES_KEY = 8,    /* has an idempotency_key argument and honours it */
    TOOL_KEEPS_STATE = 16, /* a read tool that remembers something for its key: no readOnlyHint */
};

struct tool {
    const char *name, *title, *description;
    enum right category;    /* read, write or delete: what a key needs */
    unsigned flags;         /* of enum tool_flag */
    const char *method;     /* REST: "GET" */
    const char *path;       /* "/v1/chats/{chat_id}/messages"; {…} are argument names */
    const struct arg *args; /* ends with a row without a name; read with tool_arg() */
    const char *result;     /* name of its shape */
    /* Called with checked arguments, on the home worker. STEP_WAIT: it will call call_finish() or
     * call_fail() later; STEP_NEXT/STEP_DONE: the result is written; STEP_FAILED: call_fail() was
     * called. */
    enum step_result (*run)(struct call *c);
};

/* The i-th row in the order of tools/list, NULL behind the end; by name, NULL when there is none.
 */
const struct tool *tool_at(size_t i);
const struct tool *tool_find(struct slice name);
/* The i-th argument, idempotency_key included; NULL behind the end. */
const struct arg *tool_arg(const struct tool *t, size_t i);
bool tool_is_read_only(const struct tool *t);
/* Builds the texts below; once, in main. */
void tools_start(void);
void tools_stop(void);
/* `[{"name":…,"title":…,"description":…,"inputSchema":…,"outputSchema":…,"annotations":…},…]`, for
 * tools/list: one buffer for every session. */
struct slice tools_json(void);
/* The same for a principal: the tools its rights allow. Borrows one of a few static buffers. */
struct slice tools_json_for(const struct principal *who);
const struct shape *tool_result(const struct tool *t);
/* One tool's schemas, JSON objects. */
struct slice tool_input_schema(const struct tool *t);
struct slice tool_output_schema(const struct tool *t);
/* Text for the `instructions` of an MCP initialize result. */
struct slice tools_instructions(void);
