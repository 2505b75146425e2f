/* A connection to a server of this process, which accepts it later. Blocks until the kernel has
 * it: a signal in between (a fuzzer's clock) does not end what was begun. */
#pragma once
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

static inline int dial(int port)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct pollfd p = {.fd = socket(AF_INET, SOCK_STREAM, 0), .events = POLLOUT};
    socklen_t size = sizeof(errno);
    int failure = 0;

    cr_assert(p.fd >= 0, "%s", strerror(errno));
    if (connect(p.fd, (struct sockaddr *)&to, sizeof(to)) == 0) return p.fd;
    failure = errno;
    if (failure == EINTR) {
        while (poll(&p, 1, -1) < 0 && errno == EINTR)
            ;
        getsockopt(p.fd, SOL_SOCKET, SO_ERROR, &failure, &size);
    }
    cr_assert_eq(failure, 0, "port %d: %s", port, strerror(failure));
    return p.fd;
}
