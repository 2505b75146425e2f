/* parleyd with four workers and one keep-alive connection on each: all of them reach the same MCP
 * session. A POST on one, its stream on another, a cancellation from a third; then all four press
 * at once while messages come in, and the stream shows every one of them, once and in order.
 *
 *     flow_workers [messages]     (40) */
#include <arpa/inet.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "server/api/json.h"

enum { CONNECTIONS = 4, ROUNDS = 100, ANSWER_MAX = 1 << 20, PATIENCE_S = 30 };

#define ME "15550001111"
#define OTHER "15550002222"
#define ACCEPT "Accept: application/json, text/event-stream\r\nContent-Type: application/json\r\n"

static char folder[64], key[128], session[64];
static int port, sim_port, control_port;
static pid_t parleyd, sim;

static void failed(const char *what, const char *text)
{
    fprintf(stderr, "%s: %.2000s\n", what, text ? text : "");
    exit(1); /* the children die with us */
}

/* ---- connections ---- */

struct line {
    int fd, status;
    char answer[ANSWER_MAX];
    size_t len;
};

static int dial(int to_port)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)to_port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval patience = {.tv_sec = PATIENCE_S};
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    if (connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0) return fd;
    close(fd);
    return -1;
}

static int free_port(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(at);
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    if (bind(fd, (struct sockaddr *)&at, sizeof(at)) ||
        getsockname(fd, (struct sockaddr *)&at, &len))
        failed("no free port", NULL);
    close(fd);
    return ntohs(at.sin_port);
}

static void say(struct line *l, const char *head, const char *body)
{
    AUTO(buf) out = {0};

    buf_printf(&out,
               "%s HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\n" ACCEPT
               "Content-Length: %zu\r\n",
               head, key, body ? strlen(body) : 0);
    if (session[0]) buf_printf(&out, "Mcp-Session-Id: %s\r\n", session);
    buf_printf(&out, "\r\n%s", body ? body : "");
    if (send(l->fd, out.data, out.len, MSG_NOSIGNAL) != (ssize_t)out.len) failed("send", head);
    l->len = 0;
}

static void read_more(struct line *l)
{
    ssize_t n = recv(l->fd, l->answer + l->len, ANSWER_MAX - 1 - l->len, 0);

    if (n <= 0) failed("the connection ended, or nothing came", l->answer);
    l->len += (size_t)n;
    l->answer[l->len] = '\0';
}

/* The body of one whole answer; of an event stream, its headers. */
static const char *hear(struct line *l)
{
    const char *end, *length;

    l->answer[0] = '\0';
    while (!(end = strstr(l->answer, "\r\n\r\n")))
        read_more(l);
    length = strcasestr(l->answer, "content-length: ");
    size_t want = length && length < end ? strtoul(length + 16, NULL, 10) : 0;
    size_t head = (size_t)(end - l->answer) + 4;
    while (l->len < head + want)
        read_more(l);
    l->status = atoi(l->answer + 9);
    return l->answer + head;
}

static const char *post(struct line *l, const char *body)
{
    say(l, "POST /mcp", body);
    return hear(l);
}

static const char *tool(struct line *l, const char *name, const char *arguments)
{
    AUTO(buf) body = {0};

    buf_printf(&body,
               "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\",\"params\":"
               "{\"name\":\"%s\",\"arguments\":%s}}",
               name, arguments);
    const char *answer = post(l, buf_text(&body));
    if (l->status != 200 || !strstr(answer, "\"isError\":false")) failed(name, answer);
    return answer;
}

/* Until the stream has shown `text`. */
static void wait_on_stream(struct line *l, const char *text)
{
    while (!strstr(l->answer, text))
        read_more(l);
}

static const char *ask_sim(const char *head, const char *body)
{
    static struct line l;

    l.fd = dial(control_port);
    if (l.fd < 0) failed("no sandbox", head);
    AUTO(buf) out = {0};
    buf_printf(&out, "%s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %zu\r\n\r\n%s", head,
               strlen(body), body);
    l.len = 0;
    if (send(l.fd, out.data, out.len, MSG_NOSIGNAL) != (ssize_t)out.len) failed("send", head);
    const char *answer = hear(&l);
    close(l.fd);
    if (l.status != 200) failed(head, answer);
    return answer;
}

/* ---- the programs ---- */

static pid_t start(const char *const *words)
{
    pid_t child = fork();

    if (child != 0) return child;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (!getenv("FLOW_DEBUG") && (!freopen("/dev/null", "w", stdout))) _exit(3);
    execv(words[0], (char *const *)words);
    _exit(3);
}

static void wait_for_port(int to_port)
{
    for (int i = 0; i < PATIENCE_S * 50; i++) {
        int fd = dial(to_port);
        if (fd >= 0) {
            close(fd);
            return;
        }
        nanosleep(&(struct timespec){0, 20000000}, NULL);
    }
    failed("a program does not start", NULL);
}

static void read_key(void)
{
    char path[128], text[2048];

    snprintf(path, sizeof(path), "%s/data/first-keys", folder);
    FILE *f = fopen(path, "re");
    size_t n = f ? fread(text, 1, sizeof(text) - 1, f) : 0;
    text[n] = '\0';
    if (f) fclose(f);
    const char *at = strstr(text, "parley_test_");
    if (!at || sscanf(at, "%127[A-Za-z0-9_-]", key) != 1) failed("no test key", path);
}

static void start_all(void)
{
    char sim_at[32], control_at[32], listen_at[32], url[64], data[96];

    snprintf(folder, sizeof(folder), "%s/parley-flow-XXXXXX", P_tmpdir);
    if (!mkdtemp(folder)) failed("no folder", folder);
    sim_port = free_port();
    control_port = free_port();
    port = free_port();
    snprintf(sim_at, sizeof(sim_at), "127.0.0.1:%d", sim_port);
    snprintf(control_at, sizeof(control_at), "127.0.0.1:%d", control_port);
    snprintf(listen_at, sizeof(listen_at), "127.0.0.1:%d", port);
    snprintf(url, sizeof(url), "ws://%s/ws/chat", sim_at);
    snprintf(data, sizeof(data), "%s/data", folder);
    sim = start((const char *[]){PARLEY_SIM, "--listen", sim_at, "--control", control_at, NULL});
    wait_for_port(control_port);
    parleyd = start((const char *[]){
        PARLEYD, "--data", data, "--listen", listen_at, "--sandbox-url", url, "--sandbox-control",
        control_at, "--workers", "4", "--map-size", "1G", "--log-level", "warn", NULL});
    wait_for_port(port);
    read_key();
}

static void stop_all(void)
{
    char command[128];
    int status;

    kill(parleyd, SIGTERM);
    waitpid(parleyd, &status, 0);
    if (status != 0) failed("parleyd did not end well", NULL);
    kill(sim, SIGTERM);
    waitpid(sim, &status, 0);
    snprintf(command, sizeof(command), "rm -rf '%s'", folder);
    if (system(command) != 0) failed("rm", folder);
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
        failed("initialize", a.answer);
    post(&b, "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/initialized\"}");
    if (b.status != 202) failed("initialized on another connection", b.answer);
}

static void open_stream(void)
{
    say(&c, "GET /mcp", NULL);
    hear(&c);
    if (c.status != 200) failed("the session's stream on a third connection", c.answer);
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
    if (a.status != 202) failed("cancellation", a.answer);
    hear(&b);
    clock_gettime(CLOCK_MONOTONIC, &to);
    if (b.status != 202 || to.tv_sec - from.tv_sec > 10) failed("the cancelled call", b.answer);
}

static void pair(void)
{
    const char *answer = tool(&d, "pair_account", "{}");
    struct json *content;
    AUTO(buf) scan = {0};

    if (json_parse(slice_text(answer), ANSWER_MAX, &content) != OK) failed("pair_account", answer);
    const struct json *result = json_get(json_get(content, "result"), "structuredContent");
    buf_put_text(&scan, "{\"qr\":");
    json_quote(&scan, json_get_text(result, "code"));
    buf_put_text(&scan, "}");
    json_free(content);
    ask_sim("POST /phones", "{\"number\":\"" ME "\",\"name\":\"Me\"}");
    ask_sim("POST /phones", "{\"number\":\"" OTHER "\",\"name\":\"Ada\"}");
    ask_sim("POST /phones/" ME "/scan", buf_text(&scan));
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
        if (l->status != 200 || !strstr(answer, "\"result\"")) failed("pressing", answer);
    }
    return NULL;
}

static void write_messages(int messages)
{
    for (int i = 0; i < messages; i++) {
        char body[128];
        snprintf(body, sizeof(body), "{\"to\":\"" ME "\",\"text\":\"number %d.\"}", i);
        ask_sim("POST /phones/" OTHER "/send", body);
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
        if (here < at) failed("out of order", text);
        at = here;
        if (strstr(here + 1, text)) failed("twice", text);
    }
}

int main(int argc, char **argv)
{
    struct line *all[CONNECTIONS] = {&a, &b, &c, &d};
    int messages = argc > 1 ? atoi(argv[1]) : 40;
    pthread_t threads[3];
    struct line *pressing[3] = {&a, &b, &d};

    signal(SIGPIPE, SIG_IGN);
    start_all();
    /* Each goes to the worker with the fewest: one to each of the four. */
    for (int i = 0; i < CONNECTIONS; i++)
        all[i]->fd = dial(port);
    open_session();
    open_stream();
    cancel();
    pair();
    for (int i = 0; i < 3; i++)
        if (pthread_create(&threads[i], NULL, press, pressing[i])) failed("thread", NULL);
    write_messages(messages);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    read_messages(messages);
    for (int i = 0; i < CONNECTIONS; i++)
        close(all[i]->fd);
    stop_all();
    printf("one session on four workers: a call, its stream, a cancellation; %d messages in order "
           "beside %d requests\n",
           messages, 3 * ROUNDS);
    return 0;
}
