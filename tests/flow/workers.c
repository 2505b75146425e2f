/* parleyd with four workers and one keep-alive connection on each: all of them reach the same MCP
 * session. A POST on one, its stream on another, a cancellation from a third; then all four press
 * at once while messages come in, and the stream shows every one of them, once and in order.
 *
 *     flow_workers [messages]     (40) */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "server/api/json.h"
#include "tests/flow/rig_door.h"

enum { CONNECTIONS = 4, ROUNDS = 100 };

#define ME "15550001111"
#define OTHER "15550002222"
#define ACCEPT "Accept: application/json, text/event-stream\r\nContent-Type: application/json\r\n"

static struct door door;
static char session[64];

static void say(struct line *l, const char *head, const char *body)
{
    AUTO(buf) headers = {0};

    buf_printf(&headers, ACCEPT "Authorization: Bearer %s\r\n", door.key);
    if (session[0]) buf_printf(&headers, "Mcp-Session-Id: %s\r\n", session);
    line_say(l, head, buf_text(&headers), body);
}

static const char *post(struct line *l, const char *body)
{
    say(l, "POST /mcp", body);
    return line_hear(l);
}

static const char *tool(struct line *l, const char *name, const char *arguments)
{
    AUTO(buf) body = {0};

    buf_printf(&body,
               "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\",\"params\":"
               "{\"name\":\"%s\",\"arguments\":%s}}",
               name, arguments);
    const char *answer = post(l, buf_text(&body));
    if (l->status != 200 || !strstr(answer, "\"isError\":false")) door_failed(name, answer);
    return answer;
}

/* Until the stream has shown `text`. */
static void wait_on_stream(struct line *l, const char *text)
{
    while (!strstr(l->answer, text))
        line_more(l);
}

/* ---- the story ---- */

static struct line a, b, c, d;

static void open_session(void)
{
    post(&a, "{\"jsonrpc\":\"2.0\",\"id\":0,\"method\":\"initialize\",\"params\":{"
             "\"protocolVersion\":\"2025-11-25\",\"capabilities\":{},"
             "\"clientInfo\":{\"name\":\"flow\",\"version\":\"1\"}}}");
    const char *at = strcasestr(a.answer, "mcp-session-id: ");
    if (a.status != 200 || !at || sscanf(at + 16, "%63s", session) != 1)
        door_failed("initialize", a.answer);
    post(&b, "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/initialized\"}");
    if (b.status != 202) door_failed("initialized on another connection", b.answer);
}

static void open_stream(void)
{
    say(&c, "GET /mcp", NULL);
    line_hear(&c);
    if (c.status != 200) door_failed("the session's stream on a third connection", c.answer);
    tool(&d, "subscribe_events", "{\"events\":[\"*\"]}");
}

/* A call waits on one connection, another one cancels it: nothing may be answered, so 202. */
static void cancel(void)
{
    struct timespec from, to;

    clock_gettime(CLOCK_MONOTONIC, &from);
    say(&b, "POST /mcp",
        "{\"jsonrpc\":\"2.0\",\"id\":77,\"method\":\"tools/call\",\"params\":{\"name\":"
        "\"wait_for_event\",\"arguments\":{\"timeout_ms\":20000}}}");
    nanosleep(&(struct timespec){0, 300000000}, NULL);
    post(&a, "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/cancelled\",\"params\":"
             "{\"requestId\":77}}");
    if (a.status != 202) door_failed("cancellation", a.answer);
    line_hear(&b);
    clock_gettime(CLOCK_MONOTONIC, &to);
    if (b.status != 202 || to.tv_sec - from.tv_sec > 10)
        door_failed("the cancelled call", b.answer);
}

static void pair(void)
{
    const char *answer = tool(&d, "pair_account", "{}");
    struct json *content;
    AUTO(buf) scan = {0};

    if (json_parse(slice_text(answer), DOOR_ANSWER_MAX, &content) != OK)
        door_failed("pair_account", answer);
    const struct json *result = json_get(json_get(content, "result"), "structuredContent");
    buf_put_text(&scan, "{\"qr\":");
    json_quote(&scan, json_get_text(result, "code"));
    buf_put_text(&scan, "}");
    json_free(content);
    door_ask_sim(&door, "POST /phones", "{\"number\":\"" ME "\",\"name\":\"Me\"}");
    door_ask_sim(&door, "POST /phones", "{\"number\":\"" OTHER "\",\"name\":\"Ada\"}");
    door_ask_sim(&door, "POST /phones/" ME "/scan", buf_text(&scan));
    wait_on_stream(&c, "account.connected");
}

static void *press(void *arg)
{
    static const char *const asks[] = {
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}",
        "{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"tools/list\"}",
        "{\"jsonrpc\":\"2.0\",\"id\":3,\"method\":\"tools/"
        "call\",\"params\":{\"name\":\"list_chats\"}}",
        "{\"jsonrpc\":\"2.0\",\"id\":4,\"method\":\"tools/"
        "call\",\"params\":{\"name\":\"list_events\"}}",
        "{\"jsonrpc\":\"2.0\",\"id\":5,\"method\":\"resources/subscribe\",\"params\":"
        "{\"uri\":\"whatsapp://accounts\"}}",
        "{\"jsonrpc\":\"2.0\",\"id\":6,\"method\":\"resources/unsubscribe\",\"params\":"
        "{\"uri\":\"whatsapp://accounts\"}}",
    };
    struct line *l = arg;

    for (int i = 0; i < ROUNDS; i++) {
        const char *answer = post(l, asks[i % (int)(sizeof(asks) / sizeof(asks[0]))]);
        if (l->status != 200 || !strstr(answer, "\"result\"")) door_failed("pressing", answer);
    }
    return NULL;
}

static void write_messages(int messages)
{
    for (int i = 0; i < messages; i++) {
        char body[128];
        snprintf(body, sizeof(body), "{\"to\":\"" ME "\",\"text\":\"number %d.\"}", i);
        door_ask_sim(&door, "POST /phones/" OTHER "/send", body);
    }
}

static void read_messages(int messages)
{
    const char *at = c.answer;
    char text[64];

    for (int i = 0; i < messages; i++) {
        snprintf(text, sizeof(text), "\"number %d.\"", i);
        wait_on_stream(&c, text);
        const char *here = strstr(c.answer, text);
        if (here < at) door_failed("out of order", text);
        at = here;
        if (strstr(here + 1, text)) door_failed("twice", text);
    }
}

int main(int argc, char **argv)
{
    struct line *all[CONNECTIONS] = {&a, &b, &c, &d};
    int messages = argc > 1 ? atoi(argv[1]) : 40;
    pthread_t threads[3];
    struct line *pressing[3] = {&a, &b, &d};

    door_open(&door, "4");
    /* Each goes to the worker with the fewest: one to each of the four. */
    for (int i = 0; i < CONNECTIONS; i++)
        all[i]->fd = door_dial(door.port);
    open_session();
    open_stream();
    cancel();
    pair();
    for (int i = 0; i < 3; i++)
        if (pthread_create(&threads[i], NULL, press, pressing[i])) door_failed("thread", NULL);
    write_messages(messages);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    read_messages(messages);
    for (int i = 0; i < CONNECTIONS; i++)
        close(all[i]->fd);
    door_close(&door);
    printf("one session on four workers: a call, its stream, a cancellation; %d messages in order "
           "beside %d requests\n",
           messages, 3 * ROUNDS);
    return 0;
}
