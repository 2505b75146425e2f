/* The prototypes of all tools, from their rows. Included by tools.c and tool_*.c alone. */
#pragma once
#include "proto/base/steps.h"

struct call;

#define TOOL(name, category, flags, method, route, title, description, args, shape)                \
    enum step_result tool_##name(struct call *c);
#include "server/api/tools.def"
#undef TOOL
