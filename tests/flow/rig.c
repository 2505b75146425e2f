/* The test's side: starts the two children, tells them what to do and hears what they say. The
 * server's side is rig_server.c. */
#include "tests/flow/rig.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proto/base/buf.h"
#include "tests/flow/rig_port.h"
#include "tests/support/clock.h"

void rig_open(struct rig *r)
{
    signal(SIGPIPE, SIG_IGN);
    *r = (struct rig){.workers = 2};
    snprintf(r->folder, sizeof r->folder, "/tmp/parley-flow-XXXXXX");
    cr_assert(mkdtemp(r->folder));
    r->sim_port = rig_port_free();
    r->control_port = rig_port_free();
    cr_assert(r->sim_port && r->control_port, "no free port");
    snprintf(r->sim_listen, sizeof r->sim_listen, "127.0.0.1:%d", r->sim_port);
    snprintf(r->sim_control, sizeof r->sim_control, "127.0.0.1:%d", r->control_port);
    rig_sim_start(r);
    rig_server_start(r);
}

static void reap(pid_t *pid, int with)
{
    if (*pid > 0) {
        kill(*pid, with);
        waitpid(*pid, NULL, 0);
    }
    *pid = 0;
}

void rig_close(struct rig *r)
{
    char command[128];

    if (r->server > 0) rig_server_kill(r);
    reap(&r->sim, SIGKILL);
    snprintf(command, sizeof command, "rm -rf %s", r->folder);
    if (system(command) != 0) cr_log_warn("%s stays", r->folder);
}

static int dial(int port)
{
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                             .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    if (connect(fd, (struct sockaddr *)&at, sizeof at) == 0) return fd;
    close(fd);
    return -1;
}

void rig_sim_start(struct rig *r)
{
    char state[128];

    snprintf(state, sizeof state, "%s/sim", r->folder);
    mkdir(state, 0700);
    fflush(NULL);
    r->sim = fork();
    if (r->sim == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (!getenv("RIG_DEBUG") && !freopen("/dev/null", "w", stdout)) _exit(3);
        execl(PARLEY_SIM, "parley-sim", "--listen", r->sim_listen, "--control", r->sim_control,
              "--state", state, (char *)NULL);
        _exit(3);
    }
    for (int64_t until = now_ms() + 15000; now_ms() < until; nap(10)) {
        int fd = dial(r->control_port);
        if (fd < 0) continue;
        close(fd);
        return;
    }
    cr_assert_fail("the sandbox does not start");
}

void rig_sim_stop(struct rig *r) { reap(&r->sim, SIGTERM); }

void rig_server_start(struct rig *r)
{
    int to[2], from[2];

    cr_assert_eq(pipe(to), 0);
    cr_assert_eq(pipe(from), 0);
    fflush(NULL);
    r->server = fork();
    if (r->server == 0) {
        dup2(to[0], STDIN_FILENO);
        dup2(from[1], STDOUT_FILENO);
        for (int fd = 3; fd < 64; fd++)
            close(fd);
        if (r->faults) setenv("PARLEY_FAULTS", r->faults, 1);
        int status = rig_server_main(r);
        fflush(NULL);
        exit(status);
    }
    close(to[0]);
    close(from[1]);
    r->to = to[1];
    r->from = from[0];
    r->pending_len = 0;
    cr_assert_str_eq(rig_hear(r, 20000), "ready");
}

static void hang_up(struct rig *r)
{
    close(r->to);
    close(r->from);
    r->pending_len = 0;
}

void rig_server_kill(struct rig *r)
{
    reap(&r->server, SIGKILL);
    hang_up(r);
}

int rig_server_stop(struct rig *r)
{
    int status = -1;

    rig_say(r, "stop");
    for (int64_t until = now_ms() + 15000; waitpid(r->server, &status, WNOHANG) == 0; nap(5))
        cr_assert(now_ms() < until, "the server does not stop");
    r->server = 0;
    hang_up(r);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

void rig_say(struct rig *r, const char *format, ...)
{
    char line[RIG_LINE_MAX];
    va_list args;

    va_start(args, format);
    int n = vsnprintf(line, sizeof line - 1, format, args);
    va_end(args);
    line[n] = '\n';
    cr_assert_eq(write(r->to, line, (size_t)n + 1), n + 1);
}

static bool take_line(struct rig *r)
{
    char *end = memchr(r->pending, '\n', r->pending_len);

    if (!end) return false;
    size_t n = (size_t)(end - r->pending);
    size_t keep = n < sizeof r->line - 1 ? n : sizeof r->line - 1;
    memcpy(r->line, r->pending, keep);
    r->line[keep] = '\0';
    r->pending_len -= n + 1;
    memmove(r->pending, end + 1, r->pending_len);
    return true;
}

const char *rig_hear(struct rig *r, int ms)
{
    for (int64_t until = now_ms() + ms; !take_line(r);) {
        struct pollfd p = {.fd = r->from, .events = POLLIN};
        int left = (int)(until - now_ms());

        cr_assert(left > 0, "no answer in %d ms", ms);
        if (poll(&p, 1, left) <= 0) continue;
        ssize_t n = read(r->from, r->pending + r->pending_len, sizeof r->pending - r->pending_len);
        cr_assert(n > 0, "the server is gone");
        r->pending_len += (size_t)n;
    }
    return r->line;
}

#define FORMATTED(line, format)                                                                    \
    char line[RIG_LINE_MAX];                                                                       \
    va_list args;                                                                                  \
    va_start(args, format);                                                                        \
    vsnprintf(line, sizeof line, format, args);                                                    \
    va_end(args)

const char *rig_ask(struct rig *r, const char *format, ...)
{
    FORMATTED(line, format);
    rig_say(r, "%s", line);
    return rig_hear(r, 30000);
}

void rig_until(struct rig *r, const char *wanted, int ms, const char *format, ...)
{
    FORMATTED(line, format);
    for (int64_t until = now_ms() + ms;; nap(20)) {
        rig_say(r, "%s", line);
        if (strstr(rig_hear(r, 30000), wanted)) return;
        cr_assert(now_ms() < until, "no '%s' in %d ms; last: %s", wanted, ms, r->line);
    }
}

int rig_count(struct rig *r, const char *part, const char *what)
{
    int n = 0;

    rig_say(r, "%s", what);
    for (const char *at = rig_hear(r, 30000); (at = strstr(at, part)); at += strlen(part))
        n++;
    return n;
}

void rig_until_count(struct rig *r, int n, const char *part, int ms, const char *what)
{
    int seen;

    for (int64_t until = now_ms() + ms; (seen = rig_count(r, part, what)) < n; nap(20))
        cr_assert(now_ms() < until, "%d of %d '%s' in %d ms", seen, n, part, ms);
    cr_assert_eq(seen, n, "%d '%s' instead of %d", seen, part, n);
}

const char *rig_sim(struct rig *r, const char *method, const char *path, const char *format, ...)
{
    static char answer[256 * 1024];
    size_t length = 0;
    AUTO(buf) request = {0};
    FORMATTED(body, format);
    int fd = dial(r->control_port);

    cr_assert(fd >= 0, "the sandbox is not there");
    buf_printf(&request,
               "%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
               "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
               method, path, strlen(body), body);
    cr_assert_eq(write(fd, request.data, request.len), (ssize_t)request.len);
    for (ssize_t n; length < sizeof answer - 1 &&
                    (n = read(fd, answer + length, sizeof answer - 1 - length)) > 0;)
        length += (size_t)n;
    answer[length] = '\0';
    close(fd);
    char *start = strstr(answer, "\r\n\r\n");
    cr_assert(start, "%s", answer);
    cr_assert(strncmp(answer + 9, "2", 1) == 0, "%s %s: %s", method, path, answer);
    return start + 4;
}

const char *rig_sim_until(struct rig *r, const char *wanted, int ms, const char *path)
{
    for (int64_t until = now_ms() + ms;; nap(20)) {
        const char *answer = rig_sim(r, "GET", path, "%s", "");
        if (strstr(answer, wanted)) return answer;
        cr_assert(now_ms() < until, "no '%s' in %d ms; last: %s", wanted, ms, answer);
    }
}

void rig_pair(struct rig *r, const char *number, char out[64])
{
    char code[1024], path[128];

    rig_sim(r, "POST", "/phones", "{\"number\":\"%s\",\"name\":\"Phone %s\"}", number, number);
    rig_ask(r, "pair");
    cr_assert_eq(sscanf(r->line, "pair %63s %1023s", out, code), 2, "%s", r->line);
    snprintf(path, sizeof path, "/phones/%s/scan", number);
    rig_sim(r, "POST", path, "{\"qr\":\"%s\"}", code);
    rig_until(r, "status connected", 20000, "status %s", out);
}

void rig_open_two(struct rig *r, char account[64])
{
    rig_open(r);
    rig_pair(r, RIG_ME, account);
    rig_sim(r, "POST", "/phones", "{\"number\":\"" RIG_OTHER "\",\"name\":\"Ada\"}");
}

void rig_other_writes(struct rig *r, const char *text)
{
    rig_sim(r, "POST", "/phones/" RIG_OTHER "/send", "{\"to\":\"" RIG_ME "\",\"text\":\"%s\"}",
            text);
}
