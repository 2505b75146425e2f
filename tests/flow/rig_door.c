#include "tests/flow/rig_door.h"

#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proto/base/buf.h"
#include "server/api/json.h"
#include "tests/flow/rig_port.h"
#include "tests/support/clock.h"

void door_failed(const char *what, const char *text)
{
    fprintf(stderr, "%s: %.2000s\n", what, text ? text : "");
    exit(1);
}

/* ---- connections ---- */

int door_dial(int port)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval patience = {.tv_sec = DOOR_PATIENCE_S};
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    if (connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0) return fd;
    close(fd);
    return -1;
}

void line_say(struct line *l, const char *head, const char *headers, const char *body)
{
    AUTO(buf) out = {0};

    buf_printf(&out, "%s HTTP/1.1\r\nHost: localhost\r\n%sContent-Length: %zu\r\n\r\n%s", head,
               headers, body ? strlen(body) : 0, body ? body : "");
    if (send(l->fd, out.data, out.len, MSG_NOSIGNAL) != (ssize_t)out.len) door_failed("send", head);
    l->len = 0;
}

void line_more(struct line *l)
{
    ssize_t n = recv(l->fd, l->answer + l->len, DOOR_ANSWER_MAX - 1 - l->len, 0);

    if (n <= 0) door_failed("the connection ended, or nothing came", l->answer);
    l->len += (size_t)n;
    l->answer[l->len] = '\0';
}

const char *line_hear(struct line *l)
{
    const char *end, *length;

    l->answer[0] = '\0';
    while (!(end = strstr(l->answer, "\r\n\r\n")))
        line_more(l);
    length = strcasestr(l->answer, "content-length: ");
    size_t want = length && length < end ? strtoul(length + 16, NULL, 10) : 0;
    size_t head = (size_t)(end - l->answer) + 4;
    while (l->len < head + want)
        line_more(l);
    l->status = atoi(l->answer + 9);
    return l->answer + head;
}

const char *door_ask_control(int port, const char *head, const char *body)
{
    static _Thread_local struct line l;

    l.fd = door_dial(port);
    if (l.fd < 0) door_failed("no sandbox", head);
    line_say(&l, head, "", body);
    const char *answer = line_hear(&l);
    close(l.fd);
    if (l.status != 200) door_failed(head, answer);
    return answer;
}

const char *door_ask_sim(const struct door *d, const char *head, const char *body)
{
    return door_ask_control(d->control_port, head, body);
}

/* ---- accounts ---- */

void door_scan(int control_port, const char *number, struct slice code)
{
    AUTO(buf) phone = {0}, head = {0}, body = {0};

    buf_printf(&phone, "{\"number\":\"%s\",\"name\":\"Me\"}", number);
    buf_printf(&head, "POST /phones/%s/scan", number);
    buf_put_text(&body, "{\"qr\":");
    json_quote(&body, code);
    buf_put_text(&body, "}");
    door_ask_control(control_port, "POST /phones", buf_text(&phone));
    door_ask_control(control_port, buf_text(&head), buf_text(&body));
}

void door_pair(struct line *l, const char *headers, int control_port, const char *number,
               char out_id[64])
{
    struct json *pairing;

    line_say(l, "POST /v1/accounts", headers, "{}");
    const char *answer = line_hear(l);
    if (json_parse(slice_text(answer), DOOR_ANSWER_MAX, &pairing) != OK)
        door_failed("pair", answer);
    door_scan(control_port, number, json_get_text(pairing, "code"));
    struct slice id = json_get_text(pairing, "account_id");
    if (out_id) snprintf(out_id, 64, SLICE_FMT, SLICE_ARG(id));
    json_free(pairing);
    for (int i = 0; i < DOOR_PATIENCE_S * 50; i++) {
        line_say(l, "GET /v1/accounts", headers, NULL);
        if (strstr(line_hear(l), "\"connected\"")) return;
        nap(20);
    }
    door_failed("the account does not connect", l->answer);
}

/* ---- the programs ---- */

/* Much else may come: only the end can hold what is waited for. */
static void forget_most(struct line *l)
{
    enum { KEPT = 256 };

    if (l->len < KEPT) return;
    memmove(l->answer, l->answer + l->len - KEPT, KEPT + 1);
    l->len = KEPT;
}

int64_t door_beat(const struct door *d, struct line *stream, const char *from, const char *to,
                  size_t n)
{
    char head[64], body[96], text[32];
    int64_t began = now_us();

    snprintf(head, sizeof(head), "POST /phones/%s/send", from);
    snprintf(text, sizeof(text), "beat %zu.", n);
    snprintf(body, sizeof(body), "{\"to\":\"%s\",\"text\":\"%s\"}", to, text);
    stream->len = 0;
    stream->answer[0] = '\0';
    door_ask_sim(d, head, body);
    while (!strstr(stream->answer, text)) {
        forget_most(stream);
        line_more(stream);
    }
    return now_us() - began;
}

int by_time(const void *x, const void *y)
{
    int64_t a = *(const int64_t *)x, b = *(const int64_t *)y;
    return (a > b) - (a < b);
}

long door_anon_kb(const struct door *d)
{
    char path[64], text[256];
    long kb = 0;

    snprintf(path, sizeof(path), "/proc/%d/status", d->parleyd);
    FILE *f = fopen(path, "re");
    while (f && fgets(text, sizeof(text), f))
        if (sscanf(text, "RssAnon: %ld", &kb) == 1) break;
    if (f) fclose(f);
    return kb;
}

static int free_port(void)
{
    int port = rig_port_free();

    if (!port) door_failed("no free port", NULL);
    return port;
}

static pid_t start(const char *const *words)
{
    pid_t child = fork();

    if (child != 0) return child;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (!getenv("FLOW_DEBUG") && !freopen("/dev/null", "w", stdout)) _exit(3);
    execv(words[0], (char *const *)words);
    _exit(3);
}

static void wait_for_port(int port)
{
    for (int i = 0; i < DOOR_PATIENCE_S * 50; i++) {
        int fd = door_dial(port);
        if (fd >= 0) {
            close(fd);
            return;
        }
        nap(20);
    }
    door_failed("a program does not start", NULL);
}

void door_read_key(const struct door *d, const char *kind, char out[128])
{
    char path[128], text[2048];

    snprintf(path, sizeof(path), "%s/data/first-keys", d->folder);
    FILE *f = fopen(path, "re");
    size_t n = f ? fread(text, 1, sizeof(text) - 1, f) : 0;
    text[n] = '\0';
    if (f) fclose(f);
    const char *at = strstr(text, kind);
    if (!at || sscanf(at, "%127[A-Za-z0-9_-]", out) != 1) door_failed("no such key", path);
}

enum { WORDS_MAX = 40 };

static void start_parleyd(struct door *d, const char *workers, const char *const *more)
{
    char sim[64], control[32], at[32], data[96];
    const char *const usual[] = {PARLEYD, "--data",        data,    "--listen",
                                 at,      "--sandbox-url", sim,     "--sandbox-control",
                                 control, "--workers",     workers, "--map-size",
                                 "1G",    "--log-level",   "warn"};
    const char *words[WORDS_MAX] = {0};
    size_t n = ARRAY_LEN(usual);

    snprintf(sim, sizeof(sim), "ws://127.0.0.1:%d/ws/chat", d->sim_port);
    snprintf(control, sizeof(control), "127.0.0.1:%d", d->control_port);
    snprintf(at, sizeof(at), "127.0.0.1:%d", d->port);
    snprintf(data, sizeof(data), "%s/data", d->folder);
    memcpy(words, usual, sizeof(usual));
    while (more && *more && n < WORDS_MAX - 1)
        words[n++] = *more++;
    d->parleyd = start(words);
    wait_for_port(d->port);
}

void door_open_with(struct door *d, const char *workers, const char *const *words)
{
    char sim_at[32], control_at[32];

    signal(SIGPIPE, SIG_IGN);
    /* What parleyd finds: the monitor, and memory that is measured without what ASan keeps back. */
    setenv("PARLEY_MONITOR", "1", 1);
    setenv("ASAN_OPTIONS", "quarantine_size_mb=16", 0);
    snprintf(d->folder, sizeof(d->folder), "%s/parley-flow-XXXXXX", P_tmpdir);
    if (!mkdtemp(d->folder)) door_failed("no folder", d->folder);
    d->sim_port = free_port();
    d->control_port = free_port();
    d->port = free_port();
    snprintf(sim_at, sizeof(sim_at), "127.0.0.1:%d", d->sim_port);
    snprintf(control_at, sizeof(control_at), "127.0.0.1:%d", d->control_port);
    d->sim = start((const char *[]){PARLEY_SIM, "--listen", sim_at, "--control", control_at, NULL});
    wait_for_port(d->control_port);
    start_parleyd(d, workers, words);
    door_read_key(d, "parley_test_", d->key);
}

void door_open(struct door *d, const char *workers) { door_open_with(d, workers, NULL); }

void door_stop(struct door *d)
{
    int status = 0;

    if (d->parleyd > 0) {
        kill(d->parleyd, SIGTERM);
        waitpid(d->parleyd, &status, 0);
    }
    d->parleyd = 0;
    if (status != 0) door_failed("parleyd did not end well", NULL);
}

void door_close(struct door *d)
{
    char command[128];
    int status;

    door_stop(d);
    kill(d->sim, SIGTERM);
    waitpid(d->sim, &status, 0);
    snprintf(command, sizeof(command), "rm -rf '%s'", d->folder);
    if (system(command) != 0) door_failed("rm", d->folder);
}
