/* Whose socket the other end of a loopback connection is.
 *
 * A reverse proxy on this machine that hides itself (HTTP/1.1, a Host of its own, no header added)
 * looks like a person's browser in everything it sends. But it runs as a service's user, and the
 * kernel knows: sock_diag(7) names the owner of the one socket asked for. Where the kernel does not
 * tell (some containers), the peer is nobody that may see what is for people at this machine. */
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server/http/conn.h"

struct question {
    struct nlmsghdr head;
    struct inet_diag_req_v2 ask;
};

static bool put_address(const struct sockaddr_storage *s, __be32 out[4], __be16 *out_port)
{
    const struct sockaddr_in *in = (const void *)s;
    const struct sockaddr_in6 *in6 = (const void *)s;

    if (s->ss_family == AF_INET) {
        memcpy(out, &in->sin_addr, sizeof(in->sin_addr));
        *out_port = in->sin_port;
        return true;
    }
    memcpy(out, &in6->sin6_addr, sizeof(in6->sin6_addr));
    *out_port = in6->sin6_port;
    return s->ss_family == AF_INET6;
}

/* The socket whose own end is our peer. */
static bool write_question(const struct conn *c, struct question *q)
{
    struct sockaddr_storage there = {0}, here = {0};
    int n = sizeof(there), m = sizeof(here);

    *q = (struct question){
        .head = {.nlmsg_len = sizeof(*q),
                 .nlmsg_type = SOCK_DIAG_BY_FAMILY,
                 .nlmsg_flags = NLM_F_REQUEST},
        .ask = {.sdiag_protocol = IPPROTO_TCP,
                .idiag_states = UINT32_MAX,
                .id.idiag_cookie = {INET_DIAG_NOCOOKIE, INET_DIAG_NOCOOKIE}},
    };
    if (uv_tcp_getpeername(&c->tcp, (struct sockaddr *)&there, &n) ||
        uv_tcp_getsockname(&c->tcp, (struct sockaddr *)&here, &m))
        return false;
    q->ask.sdiag_family = (uint8_t)there.ss_family;
    return put_address(&there, q->ask.id.idiag_src, &q->ask.id.idiag_sport) &&
           put_address(&here, q->ask.id.idiag_dst, &q->ask.id.idiag_dport);
}

static bool ask_kernel(const struct question *q, uint32_t *out_uid)
{
    union {
        struct nlmsghdr head;
        uint8_t bytes[1024];
    } answer = {0};
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
    ssize_t n = -1;

    if (fd < 0) return false;
    if (send(fd, q, sizeof(*q), 0) == (ssize_t)sizeof(*q))
        n = recv(fd, &answer, sizeof(answer), MSG_DONTWAIT);
    close(fd);
    if (n < (ssize_t)NLMSG_LENGTH(sizeof(struct inet_diag_msg)) ||
        answer.head.nlmsg_type != SOCK_DIAG_BY_FAMILY)
        return false;
    *out_uid = ((const struct inet_diag_msg *)NLMSG_DATA(&answer.head))->idiag_uid;
    return true;
}

/* The ranges of Debian's policy and of systemd: services, dynamic users, nobody. */
static bool is_service(uint32_t uid)
{
    return (uid > 0 && uid < 1000) || (uid >= 61184 && uid <= 65535);
}

enum peer_kind peer_kind(const struct conn *c)
{
    struct question q;
    uint32_t uid;

    if (!write_question(c, &q) || !ask_kernel(&q, &uid)) return PEER_UNKNOWN;
    if (is_service(uid)) return PEER_PROGRAM;
    if (uid == geteuid()) return PEER_SAME_USER;
    return uid == 0 ? PEER_PROGRAM : PEER_PERSON;
}
