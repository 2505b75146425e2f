/* The MCP door: streamable HTTP at /mcp (sessions of 2024-11-05 … 2025-11-25 and the stateless
 * 2026-07-28 on one URL) and HTTP+SSE at /sse + /messages.
 *
 * Reading order: rpc (messages), mcp (the table of methods; mcp_tools, mcp_resources and
 * mcp_prompts are its rows), mcp_notes and mcp_client (what a method says to the client, and asks),
 * mcp_session (what is remembered: mcp_table, mcp_change, mcp_commit, mcp_rows, mcp_kept),
 * mcp_events and mcp_stream (what is pushed), mcp_http with mcp_modern and mcp_exchange, and
 * mcp_sse (the transports). */
#pragma once
#include "proto/base/err.h"
#include "server/http/http.h"

struct account_status;
struct mcp;
struct mcp_offer;
struct server;

/* What the door has to give: tools, resources, prompts. This is ours. */
extern const struct mcp_offer mcp_offer;

/* In main, after the hubs and before the workers start. */
err_t mcp_open(struct server *s, const struct mcp_offer *offer, struct mcp **out) MUST_CHECK;
/* Sessions that nobody uses are dropped from memory and expired rows deleted from now on: a timer
 * on the first worker, so on its thread (by a post). */
void mcp_start(struct mcp *m);
/* HTTP is closed and the workers have stopped. */
void mcp_close(struct mcp *m);

/* For http_config.tables; the HTTP server's context is the struct server. */
extern const struct route mcp_routes[];

/* An account's status changed (server.on_status): streams that watch it are told. Any thread. */
void mcp_on_status(struct server *s, const struct account_status *status);
