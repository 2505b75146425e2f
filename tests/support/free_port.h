/* A server of this process on a port of the loopback that nobody has; many tests run at once. */
#pragma once
#include <stdio.h>
#include <unistd.h>

#include "server/http/http.h"

/* The port it listens on. */
static inline int http_open_somewhere(struct http_config config, struct worker *main,
                                      struct worker *const *workers, size_t count,
                                      struct http_server **out_server)
{
    char listen_at[32];

    config.listen = listen_at;
    for (int port = 20000 + getpid() % 20000;; port++) {
        snprintf(listen_at, sizeof(listen_at), "127.0.0.1:%d", port);
        if (http_open(&config, main, workers, count, out_server) == OK) return port;
    }
}
