/* What the public conformance suite of MCP expects a server to offer, behind our own door: tools,
 * prompts and resources with answers that the suite knows. Only in test builds. */
#pragma once
#include "server/mcp/mcp_client.h"

extern const struct mcp_offer conformance_offer;

/* 1 x 1 pixel, and a hundredth of a second of silence; base64. */
#define CONFORMANCE_PNG                                                                            \
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC"
#define CONFORMANCE_WAV                                                                            \
    "UklGRnQAAABXQVZFZm10IBAAAAABAAEAQB8AAEAfAAABAAgAZGF0YVAAAACAgICAgICAgICAgICAgICAgICA"         \
    "gICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgA=="

/* tools.c, texts.c */
void conformance_tools_list(struct mcp_ask *a);
void conformance_tools_call(struct mcp_ask *a);
void conformance_prompts_list(struct mcp_ask *a);
void conformance_prompts_get(struct mcp_ask *a);
void conformance_resources_list(struct mcp_ask *a);
void conformance_templates_list(struct mcp_ask *a);
void conformance_resources_read(struct mcp_ask *a);
void conformance_resources_subscribe(struct mcp_ask *a);
void conformance_complete(struct mcp_ask *a);

/* {"type":"text","text":…} and {"type":"image",…} as members or elements. */
void conformance_text(struct mcp_ask *a, const char *key, struct slice text);
void conformance_image(struct mcp_ask *a, const char *key);
/* {"type":"resource","resource":{…}} */
void conformance_resource(struct mcp_ask *a, const char *key, struct slice uri, const char *type,
                          struct slice text);
