/* What is said to the client while its request is under way: progress and log messages, on the
 * request's own stream. */
#include <stdio.h>

#include "server/mcp/inside.h"

/* ---- progress ---- */

static void tell_progress(struct mcp_ask *a, const char *members)
{
    AUTO(buf) params = {0}, note = {0};

    buf_put_text(&params, "{\"progressToken\":");
    buf_put(&params, a->progress_token);
    buf_printf(&params, ",%s}", members);
    rpc_write_notification(&note, "notifications/progress", buf_slice(&params));
    a->notify(a, buf_slice(&note));
}

/* Our tools have no steps that a caller could count, so progress is the time that has passed: it
 * rises, and tells that the call lives. */
static void on_progress(struct timer *t, int64_t now)
{
    struct mcp_ask *a = CONTAINER_OF(t, struct mcp_ask, progress);
    bool has_message = a->session.revision >= MCP_2025_03_26;
    int64_t took = now - a->started_at;
    char members[80];

    snprintf(members, sizeof(members), "\"progress\":%lld.%03d%s", (long long)(took / 1000),
             (int)(took % 1000), has_message ? ",\"message\":\"seconds at work\"" : "");
    timer_arm(a->home->worker, t, now + MCP_PROGRESS_EVERY_MS);
    tell_progress(a, members);
}

void mcp_progress(struct mcp_ask *a, int64_t done, int64_t total)
{
    char members[80];

    timer_disarm(a->home->worker, &a->progress);
    if (slice_is_none(a->progress_token)) return;
    snprintf(members, sizeof(members), "\"progress\":%lld,\"total\":%lld", (long long)done,
             (long long)total);
    tell_progress(a, members);
}

void mcp_progress_begin(struct mcp_ask *a)
{
    const struct json *meta = json_get(a->message.params, "_meta");

    a->progress_token = rpc_token(&a->arena, json_get(meta, "progressToken"));
    a->progress.fire = on_progress;
    if (!slice_is_none(a->progress_token))
        timer_arm(a->home->worker, &a->progress, a->started_at + MCP_PROGRESS_MS);
}

/* ---- log messages ---- */

/* MCP_LEVELS: none at all. */
static enum mcp_level level_of(const struct mcp_ask *a)
{
    const struct json *meta = json_get(a->message.params, "_meta");

    return a->era == MCP_MODERN
               ? mcp_level_find(json_get_text(meta, "io.modelcontextprotocol/logLevel"))
               : a->session.level;
}

void mcp_log(struct mcp_ask *a, enum mcp_level level, const char *logger, struct slice data)
{
    AUTO(buf) params = {0}, note = {0};
    struct pen p = pen_on(&params);

    if (level < level_of(a)) return;
    pen_object(&p, NULL);
    pen_word(&p, "level", mcp_level_text(level));
    pen_word(&p, "logger", logger);
    pen_raw(&p, "data", data);
    pen_end(&p);
    rpc_write_notification(&note, "notifications/message", buf_slice(&params));
    a->notify(a, buf_slice(&note));
}
