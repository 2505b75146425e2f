#include "tests/flow/rig_port.h"

#include <arpa/inet.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <unistd.h>

static bool is_free(int port)
{
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool ok = bind(fd, (struct sockaddr *)&at, sizeof at) == 0;

    close(fd);
    return ok;
}

int rig_port_free(void)
{
    static unsigned tried;

    for (int i = 0; i < 1000; i++) {
        int port = 10000 + (int)(((unsigned)getpid() * 10 + tried++) % 22000);
        if (is_free(port)) return port;
    }
    return 0;
}
