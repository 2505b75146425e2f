#include "tests/flow/rig_door.h"

#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "proto/base/buf.h"

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

const char *door_ask_sim(const struct door *d, const char *head, const char *body)
{
    static struct line l;

    l.fd = door_dial(d->control_port);
    if (l.fd < 0) door_failed("no sandbox", head);
    line_say(&l, head, "", body);
    const char *answer = line_hear(&l);
    close(l.fd);
    if (l.status != 200) door_failed(head, answer);
    return answer;
}

/* ---- the programs ---- */

static int free_port(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(at);
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    if (bind(fd, (struct sockaddr *)&at, sizeof(at)) ||
        getsockname(fd, (struct sockaddr *)&at, &len))
        door_failed("no free port", NULL);
    close(fd);
    return ntohs(at.sin_port);
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
        nanosleep(&(struct timespec){0, 20000000}, NULL);
    }
    door_failed("a program does not start", NULL);
}

static void read_key(struct door *d)
{
    char path[128], text[2048];

    snprintf(path, sizeof(path), "%s/data/first-keys", d->folder);
    FILE *f = fopen(path, "re");
    size_t n = f ? fread(text, 1, sizeof(text) - 1, f) : 0;
    text[n] = '\0';
    if (f) fclose(f);
    const char *at = strstr(text, "parley_test_");
    if (!at || sscanf(at, "%127[A-Za-z0-9_-]", d->key) != 1) door_failed("no test key", path);
}

void door_open(struct door *d, const char *workers)
{
    char sim_at[32], control_at[32], listen_at[32], url[64], data[96];

    signal(SIGPIPE, SIG_IGN);
    snprintf(d->folder, sizeof(d->folder), "%s/parley-flow-XXXXXX", P_tmpdir);
    if (!mkdtemp(d->folder)) door_failed("no folder", d->folder);
    d->sim_port = free_port();
    d->control_port = free_port();
    d->port = free_port();
    snprintf(sim_at, sizeof(sim_at), "127.0.0.1:%d", d->sim_port);
    snprintf(control_at, sizeof(control_at), "127.0.0.1:%d", d->control_port);
    snprintf(listen_at, sizeof(listen_at), "127.0.0.1:%d", d->port);
    snprintf(url, sizeof(url), "ws://%s/ws/chat", sim_at);
    snprintf(data, sizeof(data), "%s/data", d->folder);
    d->sim = start((const char *[]){PARLEY_SIM, "--listen", sim_at, "--control", control_at, NULL});
    wait_for_port(d->control_port);
    d->parleyd = start((const char *[]){
        PARLEYD, "--data", data, "--listen", listen_at, "--sandbox-url", url, "--sandbox-control",
        control_at, "--workers", workers, "--map-size", "1G", "--log-level", "warn", NULL});
    wait_for_port(d->port);
    read_key(d);
}

void door_close(struct door *d)
{
    char command[128];
    int status;

    kill(d->parleyd, SIGTERM);
    waitpid(d->parleyd, &status, 0);
    if (status != 0) door_failed("parleyd did not end well", NULL);
    kill(d->sim, SIGTERM);
    waitpid(d->sim, &status, 0);
    snprintf(command, sizeof(command), "rm -rf '%s'", d->folder);
    if (system(command) != 0) door_failed("rm", d->folder);
}
