/* The whole flow on four workers: an account on each of them, and keep-alive connections on each,
 * which all reach the same MCP session. A POST on one, its stream on another, a cancellation from a
 * third; then all press and send at once while messages come in to every account, and both streams,
 * the session's and that of /v1/events, show each message once and each account's in order. In the
 * end parleyd is stopped in the middle of traffic, with all connections open.
 *
 *     flow_workers [MESSAGES]     (40) */
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "server/api/json.h"
#include "tests/flow/rig_door.h"
#include "tests/support/arguments.h"
#include "tests/support/clock.h"

enum { CONNECTIONS = 5, ACCOUNTS = 4, ROUNDS = 100, SENDS_EVERY = 10 };

#define ME "1555000111%d" /* one for each account */
#define OTHER "15550002222"
#define ACCEPT "Accept: application/json, text/event-stream\r\nContent-Type: application/json\r\n"

static struct door door;
static char session[64], authorization[192];
static char accounts[ACCOUNTS][64];

static void say(struct line *l, const char *head, const char *body)
{
    AUTO(buf) headers = {0};

    buf_printf(&headers, ACCEPT "%s", authorization);
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

static int times(const char *text, const char *in)
{
    int n = 0;

    for (; (in = strstr(in, text)); in += strlen(text))
        n++;
    return n;
}

/* Until the stream has shown `text` so often. */
static void wait_on_stream(struct line *l, const char *text, int often)
{
    while (times(text, l->answer) < often)
        line_more(l);
}

/* ---- the story ---- */

static struct line a, b, c, d, e;

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
    line_say(&e, "GET /v1/events", authorization, NULL);
    line_hear(&e);
    if (e.status != 200) door_failed("/v1/events", e.answer);
    tool(&d, "subscribe_events", "{\"events\":[\"*\"]}");
}

/* A call waits on one connection, another one cancels it: nothing may be answered, so 202. */
static void cancel(void)
{
    struct timespec from, to;
    struct pollfd answer = {.fd = b.fd, .events = POLLIN};

    clock_gettime(CLOCK_MONOTONIC, &from);
    say(&b, "POST /mcp",
        "{\"jsonrpc\":\"2.0\",\"id\":77,\"method\":\"tools/call\",\"params\":{\"name\":"
        "\"wait_for_event\",\"arguments\":{\"timeout_ms\":20000}}}");
    do { /* again, for who comes before the call is there cancels nothing */
        nap(300);
        post(&a, "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/cancelled\",\"params\":"
                 "{\"requestId\":77}}");
        if (a.status != 202) door_failed("cancellation", a.answer);
    } while (poll(&answer, 1, 300) == 0);
    line_hear(&b);
    clock_gettime(CLOCK_MONOTONIC, &to);
    if (b.status != 202 || to.tv_sec - from.tv_sec > 10)
        door_failed("the cancelled call", b.answer);
}

/* The first by the tool, the others by REST: each lands on the worker with the fewest. */
static void pair(void)
{
    const char *answer = tool(&d, "pair_account", "{}");
    char number[32];
    struct json *content;

    if (json_parse(slice_text(answer), DOOR_ANSWER_MAX, &content) != OK)
        door_failed("pair_account", answer);
    const struct json *result = json_get(json_get(content, "result"), "structuredContent");
    struct slice id = json_get_text(result, "account_id");
    snprintf(accounts[0], sizeof(accounts[0]), SLICE_FMT, SLICE_ARG(id));
    snprintf(number, sizeof(number), ME, 0);
    door_scan(door.control_port, number, json_get_text(result, "code"));
    json_free(content);
    wait_on_stream(&c, "account.connected", 1);
    for (int i = 1; i < ACCOUNTS; i++) {
        snprintf(number, sizeof(number), ME, i);
        door_pair(&d, authorization, door.control_port, number, accounts[i]);
    }
    wait_on_stream(&c, "account.connected", ACCOUNTS);
    door_ask_sim(&door, "POST /phones", "{\"number\":\"" OTHER "\",\"name\":\"Ada\"}");
}

static struct presser {
    struct line *line;
    int number;
} pressers[3] = {{&a, 0}, {&b, 1}, {&d, 2}};

static void send_one(const struct presser *p, int i)
{
    AUTO(buf) arguments = {0};

    buf_printf(&arguments, "{\"account_id\":\"%s\",\"to\":\"+" OTHER "\",\"text\":\"sent %d-%d.\"}",
               accounts[(p->number + i) % ACCOUNTS], p->number, i);
    tool(p->line, "send_message", buf_text(&arguments));
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
        "{\"jsonrpc\":\"2.0\",\"id\":6,\"method\":\"logging/setLevel\",\"params\":"
        "{\"level\":\"info\"}}",
        "{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"resources/unsubscribe\",\"params\":"
        "{\"uri\":\"whatsapp://accounts\"}}",
        "{\"jsonrpc\":\"2.0\",\"id\":8,\"method\":\"logging/setLevel\",\"params\":"
        "{\"level\":\"debug\"}}",
        "{\"jsonrpc\":\"2.0\",\"id\":9,\"method\":\"tools/call\",\"params\":"
        "{\"name\":\"subscribe_events\",\"arguments\":{\"events\":[\"account.unpaired\"]}}}",
    };
    const struct presser *p = arg;
    struct line *l = p->line;

    for (int i = 0; i < ROUNDS; i++) {
        if (i % SENDS_EVERY == 0) send_one(p, i);
        const char *answer = post(l, asks[i % (int)(sizeof(asks) / sizeof(asks[0]))]);
        if (l->status != 200 || !strstr(answer, "\"result\"")) door_failed("pressing", answer);
    }
    return NULL;
}

static void write_messages(int messages)
{
    for (int i = 0; i < messages; i++) {
        char body[128];
        snprintf(body, sizeof(body), "{\"to\":\"" ME "\",\"text\":\"number %d.\"}", i % ACCOUNTS,
                 i);
        door_ask_sim(&door, "POST /phones/" OTHER "/send", body);
    }
}

/* Every message once, those of an account in the order in which they were written. */
static void read_messages(struct line *l, int messages)
{
    const char *last[ACCOUNTS] = {l->answer, l->answer, l->answer, l->answer};
    char text[64];

    for (int i = 0; i < messages; i++) {
        snprintf(text, sizeof(text), "\"number %d.\"", i);
        wait_on_stream(l, text, 1);
        const char *here = strstr(l->answer, text);
        if (here < last[i % ACCOUNTS]) door_failed("out of order", text);
        last[i % ACCOUNTS] = here;
        if (strstr(here + 1, text)) door_failed("twice", text);
    }
}

static void read_sends(struct line *l)
{
    char text[64];

    for (int i = 0; i < 3 * ROUNDS; i += SENDS_EVERY) {
        snprintf(text, sizeof(text), "\"sent %d-%d.\"", i / ROUNDS, i % ROUNDS);
        wait_on_stream(l, text, 1);
        if (times(text, l->answer) != 1) door_failed("sent twice", text);
    }
}

static atomic_int late;
static void *write_on(void *arg)
{
    for (; atomic_load(&late) < 200; atomic_fetch_add(&late, 1))
        write_messages(1);
    return NULL;
}

/* With turns under way, streams and connections open, and a client that goes on writing. */
static void stop_in_the_middle(void)
{
    pthread_t thread;

    if (pthread_create(&thread, NULL, write_on, NULL)) door_failed("thread", NULL);
    while (atomic_load(&late) < 20)
        usleep(1000);
    door_stop(&door);
    pthread_join(thread, NULL);
}

int main(int argc, char **argv)
{
    struct line *all[CONNECTIONS] = {&a, &b, &c, &d, &e};
    static const char usage[] = "flow_workers [MESSAGES]";
    int messages = 40;
    pthread_t threads[3];

    if (argc > 1) messages = (int)argument_number(usage, "MESSAGES", argv[1], 1, 100000);
    argument_end(usage, argc, argv, 1);
    door_open(&door, "4");
    snprintf(authorization, sizeof(authorization), "Authorization: Bearer %s\r\n", door.key);
    /* Each goes to the worker with the fewest, so that each of the four has one. */
    for (int i = 0; i < CONNECTIONS; i++)
        all[i]->fd = door_dial(door.port);
    open_session();
    open_stream();
    cancel();
    pair();
    for (int i = 0; i < 3; i++)
        if (pthread_create(&threads[i], NULL, press, &pressers[i])) door_failed("thread", NULL);
    write_messages(messages);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    read_messages(&c, messages);
    read_messages(&e, messages);
    read_sends(&c);
    read_sends(&e);
    stop_in_the_middle();
    for (int i = 0; i < CONNECTIONS; i++)
        close(all[i]->fd);
    door_close(&door);
    printf("one session on four workers: a call, its stream, a cancellation; %d messages to %d "
           "accounts in order and %d sent beside %d requests; stopped in the middle of traffic\n",
           messages, ACCOUNTS, 3 * ROUNDS / SENDS_EVERY, 3 * ROUNDS);
    return 0;
}
