/* Who is local: a person's browser on this machine, but no program of a service. */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "tests/support/http_door.h"

static void on_local(struct request *r)
{
    reply_bytes(r, 200, "text/plain", request_is_local(r) ? SLICE("here") : SLICE("elsewhere"));
}

static const struct route routes[] = {{"GET", "/local", on_local}, {0}};

/* As the options have it when nobody names anything: an empty text. */
static void start_without_names(void)
{
    door_start_as(routes, (struct http_config){.public_url = ""});
}
static void start_with_url(void)
{
    door_start_as(routes, (struct http_config){.public_url = "https://public.example/"});
}
static void start_with_host(void)
{
    door_start_as(routes, (struct http_config){.hosts = door_hosts});
}

/* Some containers, and some kernels, have no sock_diag. */
static void start_without_diag(void)
{
    struct sock_filter rows[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_socket, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AF_NETLINK, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EACCES),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = ARRAY_LEN(rows), .filter = rows};

    cr_assert_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    cr_assert_eq(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
    start_without_names();
}

TestSuite(peer, .init = start_without_names, .fini = door_stop);

/* What a user gets who asks as a browser would. */
static bool is_local_for(uid_t uid)
{
    const char *request = "GET /local HTTP/1.1\r\n" H CLOSE "\r\n";
    int status;
    pid_t child = fork();

    if (child == 0) {
        if (uid != geteuid() && (seteuid(0) || setuid(uid))) _exit(2);
        _exit(strstr(ask(request), "\r\n\r\nhere") ? 0 : 1);
    }
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) < 2, "uid %d", (int)uid);
    return WEXITSTATUS(status) == 0;
}

Test(peer, a_program_of_a_service_is_not_local)
{
    enum { WWW_DATA = 33, SOMEBODY = 1000, DYNAMIC = 61200, NOBODY = 65534 };

    cr_expect(is_local_for(getuid()), "the owner's browser");
    if (getuid() != 0) {
        cr_log_warn("only root can be somebody else: the rest of this test is left out");
        return;
    }
    cr_expect(is_local_for(SOMEBODY));
    cr_expect_not(is_local_for(WWW_DATA));
    cr_expect_not(is_local_for(DYNAMIC));
    cr_expect_not(is_local_for(NOBODY));
}

Test(peer, root_is_not_local_where_others_serve)
{
    enum { WWW_DATA = 33, SOMEBODY = 1000 };

    if (getuid() != 0) {
        cr_log_warn("only root can be somebody else: this test is left out");
        return;
    }
    cr_assert_eq(seteuid(SOMEBODY), 0);
    cr_expect_not(is_local_for(0));
    cr_expect(is_local_for(SOMEBODY));
    cr_assert_eq(seteuid(0), 0);
    cr_assert_eq(seteuid(WWW_DATA), 0);
    cr_expect_not(is_local_for(WWW_DATA), "a proxy and we as one service");
    cr_expect(is_local_for(SOMEBODY));
    cr_assert_eq(seteuid(0), 0);
}

Test(peer, who_serves_under_a_public_url_does_not_know_his_own, .init = start_with_url)
{
    cr_expect_not(is_local_for(getuid()));
}

Test(peer, nor_who_serves_under_another_host, .init = start_with_host)
{
    cr_expect_not(is_local_for(getuid()));
}

Test(peer, where_the_kernel_does_not_tell_nobody_is_local, .init = start_without_diag)
{
    cr_expect_not(is_local_for(getuid()));
}

Test(peer, a_request_of_a_proxy_is_not_local)
{
    cr_expect(strstr(ask("GET /local HTTP/1.1\r\n" H CLOSE "\r\n"), "\r\n\r\nhere"));
    cr_expect(strstr(ask("GET /local HTTP/1.0\r\n" H "\r\n"), "elsewhere"));
    cr_expect(strstr(ask("GET /local HTTP/1.0\r\n\r\n"), "elsewhere"));
    cr_expect(strstr(ask("GET /local HTTP/1.1\r\n" H CLOSE "x-forwarded-server: a\r\n\r\n"),
                     "elsewhere"));
}
