/* parleyd as a program: what it says when something is in the way, its probes, and how it stops. */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "storage/store.h"
#include "storage/writer.h"
#include "tests/flow/rig_port.h"
#include "tests/support/clock.h"

static char folder[64], data[96], out_path[96], listen_at[32];
static int port;
static pid_t server;

/* One that somebody has. */
static int take_port(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    cr_assert_eq(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
    getsockname(fd, (struct sockaddr *)&at, &n);
    port = ntohs(at.sin_port);
    snprintf(listen_at, sizeof listen_at, "127.0.0.1:%d", port);
    return fd;
}

static void start(void)
{
    setenv("PARLEY_MONITOR", "1", 1);
    snprintf(folder, sizeof folder, "/tmp/parley-program-XXXXXX");
    cr_assert(mkdtemp(folder));
    snprintf(data, sizeof data, "%s/data", folder);
    snprintf(out_path, sizeof out_path, "%s/out", folder);
    port = rig_port_free();
    cr_assert(port, "no free port");
    snprintf(listen_at, sizeof listen_at, "127.0.0.1:%d", port);
}

static void stop(void)
{
    char command[128];

    if (server > 0) {
        kill(server, SIGKILL);
        waitpid(server, NULL, 0);
    }
    snprintf(command, sizeof command, "rm -rf %s", folder);
    cr_assert_eq(system(command), 0);
}

TestSuite(program, .init = start, .fini = stop, .timeout = 60);

/* What it printed so far, both streams. */
static const char *printed(void)
{
    static char text[256 * 1024];
    FILE *f = fopen(out_path, "r");
    size_t n = f ? fread(text, 1, sizeof text - 1, f) : 0;

    if (f) fclose(f);
    text[n] = '\0';
    return text;
}

#define ARGS(...) ((const char *[]){"parleyd", __VA_ARGS__, NULL})
static pid_t launch(const char *const *args)
{
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        int fd = open(out_path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
        dup2(fd, STDOUT_FILENO);
        dup2(fd, STDERR_FILENO);
        execv(PARLEYD, (char *const *)args);
        _exit(99);
    }
    return pid;
}

static int wait_for_exit(pid_t pid)
{
    int status;

    cr_assert_eq(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int run(const char *const *args) { return wait_for_exit(launch(args)); }

static const char *get(const char *path)
{
    static char answer[256 * 1024];
    char request[256];
    size_t length = 0;
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                             .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    answer[0] = '\0';
    if (connect(fd, (struct sockaddr *)&at, sizeof at) == 0) {
        int n =
            snprintf(request, sizeof request,
                     "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", path, listen_at);
        if (write(fd, request, (size_t)n) == n)
            for (ssize_t got; length < sizeof answer - 1 &&
                              (got = read(fd, answer + length, sizeof answer - 1 - length)) > 0;)
                length += (size_t)got;
        answer[length] = '\0';
    }
    close(fd);
    return answer;
}

static void serve(void)
{
    server = launch(ARGS("--data", data, "--listen", listen_at, "--map-size", "1G",
                         "--metrics-accounts", "10", "--sandbox-control", ""));
    for (int i = 0; i < 1000 && !strstr(get("/livez"), "200"); i++)
        nap(20);
    cr_assert(strstr(get("/livez"), "200"), "%s", printed());
}

static int end(int with)
{
    kill(server, with);
    int status = wait_for_exit(server);
    server = 0;
    return status;
}

Test(program, helps)
{
    cr_expect_eq(run(ARGS("--help")), 0);
    cr_expect(strstr(printed(), "--map-size BYTES"), "%s", printed());
    cr_expect_eq(run(ARGS("--version")), 0);
    cr_expect(strstr(printed(), "parleyd "));
}

Test(program, an_unknown_option_is_exit_2)
{
    cr_expect_eq(run(ARGS("--dta", data)), 2);
    cr_expect(strstr(printed(), "parleyd: unknown option '--dta'; see --help"), "%s", printed());
    cr_expect_eq(run(ARGS("--workers", "x")), 2);
}

Test(program, a_busy_port_names_who_has_it)
{
    char expected[64];
    int fd = take_port();

    cr_assert_eq(listen(fd, 1), 0);
    cr_expect_eq(run(ARGS("--data", data, "--listen", listen_at, "--map-size", "1G")), 1);
    snprintf(expected, sizeof expected, "%s is in use (by pid %d", listen_at, (int)getpid());
    cr_expect(strstr(printed(), expected), "%s", printed());
    cr_expect(strstr(printed(), "--listen"));
    close(fd);
}

Test(program, a_port_of_0_is_a_free_one_and_told)
{
    const char *ready;

    server = launch(ARGS("--data", data, "--listen", "127.0.0.1:0", "--map-size", "1G",
                         "--sandbox-control", ""));
    for (int i = 0; i < 1000 && !strstr(printed(), "ready listen="); i++)
        nap(20);
    ready = strstr(printed(), "ready listen=127.0.0.1:");
    cr_assert(ready, "%s", printed());
    cr_assert(sscanf(ready, "ready listen=127.0.0.1:%d", &port) == 1 && port > 0, "%s", ready);
    cr_expect(strstr(get("/livez"), "200"));
    cr_expect(strstr(get("/metrics/accounts"), "HTTP/1.1 404 "), "nobody asked for them");
    cr_expect_eq(end(SIGTERM), 0);
}

Test(program, a_second_one_on_the_same_data_is_refused_with_the_pid_of_the_first)
{
    char expected[32], other[32];

    serve();
    snprintf(expected, sizeof expected, "%d", (int)server);
    snprintf(other, sizeof other, "127.0.0.1:%d", port == 65535 ? 1024 : port + 1);
    cr_expect_eq(run(ARGS("--data", data, "--listen", other, "--map-size", "1G")), 1);
    cr_expect(strstr(printed(), expected), "%s", printed());
    cr_expect(strstr(get("/livez"), "200"), "the first one goes on");
}

Test(program, a_data_folder_that_cannot_be_made_is_told)
{
    cr_expect_eq(run(ARGS("--data", "/proc/nowhere/data", "--listen", listen_at)), 1);
    cr_expect(strstr(printed(), "/proc/nowhere/data"), "%s", printed());
    cr_expect(strstr(printed(), "--data"));
}

Test(program, a_database_of_a_newer_version_is_not_touched)
{
    struct store_options options = {.path = data, .map_size = (size_t)1 << 30};
    struct store *store;
    struct batch batch;

    cr_assert_eq(mkdir(data, 0700), 0);
    cr_assert_eq(store_open(&options, &store), 0);
    struct writer *writer = writer_new(&(struct writer_options){.store = store});
    batch_init(&batch);
    batch_put(&batch, DB_meta, SLICE("schema"), SLICE("\x00\x00\x00\x63"));
    cr_assert_eq(writer_commit(writer, &batch), 0);
    batch_done(&batch);
    writer_free(writer);
    store_close(store);
    cr_expect_eq(run(ARGS("--data", data, "--listen", listen_at, "--map-size", "1G")), 1);
    cr_expect(strstr(printed(), data), "%s", printed());
    cr_expect(strstr(printed(), "newer") || strstr(printed(), "version"), "%s", printed());
}

Test(program, a_lost_master_key_is_told)
{
    char path[128];

    serve();
    cr_expect_eq(end(SIGTERM), 0);
    snprintf(path, sizeof path, "%s/master.key", data);
    cr_assert_eq(unlink(path), 0);
    cr_expect_eq(run(ARGS("--data", data, "--listen", listen_at, "--map-size", "1G")), 1);
    cr_expect(strstr(printed(), "master key"), "%s", printed());
}

Test(program, answers_its_probes)
{
    serve();
    cr_expect(strstr(get("/livez"), "\r\n\r\nok\n"));
    cr_expect(strstr(get("/readyz?verbose"), "[+] store ok"), "%s", get("/readyz?verbose"));
    static const char *const aliases[] = {"/readyz", "/ready", "/health", "/healthz"};
    for (size_t i = 0; i < 4; i++)
        cr_expect(strstr(get(aliases[i]), "HTTP/1.1 200"), "%s", aliases[i]);
    cr_expect(strstr(get("/metrics"), "\nparley_release_before_commit_total 0\n"));
    cr_expect(strstr(get("/metrics"), "\nparley_accounts{state=\"connected\"} 0\n"));
    cr_expect(strstr(get("/metrics"), "\nparley_store_damaged_total 0\n"));
    cr_expect(strstr(get("/metrics/accounts"), "# TYPE parley_account_memory_bytes gauge"));
    cr_expect(strstr(get("/metrics/accounts"), "# TYPE parley_account_lag_ms gauge"));
}

/* A client that finds such a document starts OAuth and forgets its key. */
Test(program, shows_no_oauth_metadata)
{
    static const char *const paths[] = {
        "/.well-known/oauth-protected-resource", "/.well-known/oauth-protected-resource/mcp",
        "/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"};

    serve();
    for (size_t i = 0; i < 4; i++)
        cr_expect(strstr(get(paths[i]), "HTTP/1.1 404 "), "%s", get(paths[i]));
    cr_expect(strstr(get("/mcp"), "HTTP/1.1 401 "), "%s", get("/mcp"));
    cr_expect_null(strstr(get("/mcp"), "resource_metadata"));
    cr_expect(strstr(get("/mcp"), "WWW-Authenticate: Bearer realm="));
}

Test(program, makes_secrets_that_only_the_owner_reads)
{
    static const char *const names[] = {"first-keys", "master.key", "data.mdb", "operator.sock"};
    struct stat st;
    char path[128];

    serve();
    for (size_t i = 0; i < 4; i++) {
        snprintf(path, sizeof path, "%s/%s", data, names[i]);
        cr_assert_eq(stat(path, &st), 0, "%s", path);
        cr_expect_eq(st.st_mode & 077, 0u, "%s", path);
    }
    cr_assert_eq(stat(data, &st), 0);
    cr_expect_eq(st.st_mode & 077, 0u);
    cr_expect_null(strstr(printed(), "parley_live_"), "no key in a log");
}

Test(program, stops_on_a_signal_and_starts_again)
{
    static const int signals[] = {SIGTERM, SIGINT};

    for (size_t i = 0; i < 2; i++) {
        serve();
        cr_expect_eq(end(signals[i]), 0, "%s", printed());
        cr_expect(strstr(printed(), "stopped"), "%s", printed());
    }
}

Test(program, reads_the_app_version_again_on_sighup)
{
    char path[128];
    FILE *f;

    serve();
    snprintf(path, sizeof path, "%s/parley.conf", data);
    f = fopen(path, "w");
    cr_assert(f);
    fputs("wa-version = 2.3000.4711\n", f);
    fclose(f);
    kill(server, SIGHUP);
    for (int i = 0; i < 200 && !strstr(printed(), "2.3000.4711"); i++)
        nap(20);
    cr_expect(strstr(printed(), "wa-version=2.3000.4711"), "%s", printed());
    f = fopen(path, "w");
    cr_assert(f);
    fputs("wa-version = nonsense\n", f);
    fclose(f);
    kill(server, SIGHUP);
    for (int i = 0; i < 200 && !strstr(printed(), "nonsense"); i++)
        nap(20);
    cr_expect(strstr(printed(), "'nonsense' is not three numbers"), "%s", printed());
    cr_expect(strstr(get("/livez"), "200"));
    cr_expect_eq(end(SIGTERM), 0);
}
