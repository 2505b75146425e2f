/* The server that tests/unit/server/account/link.c talks to: one thread per connection, so that
 * every trap can be set. All threads are joined at the end. */
#pragma once
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proto/base/text.h"
#include "proto/crypto/crypto.h"

enum manner {
    ECHO,          /* upgrades, then sends back every message */
    NEVER_ANSWERS, /* reads the upgrade and says nothing */
    REFUSES,       /* 403 */
    HANGS_UP,      /* closes after the upgrade */
    FLOODS,        /* upgrades, then sends FLOOD bytes in messages of 3000 */
};
enum { FLOOD_MESSAGES = 2000, FLOOD_BYTES = 3000, PEERS_MAX = 8 };

struct peer {
    int fd;
    SSL *ssl;
    pthread_t thread;
};

static struct server_side {
    enum manner manner;
    SSL_CTX *tls;
    int listener;
    uint16_t port;
    pthread_t thread;
    struct peer peers[PEERS_MAX];
    atomic_int accepted;
    atomic_int pings;  /* that came */
    atomic_llong sent; /* bytes the kernel took of a flood */
    char request[4096];
} side;

static ssize_t peer_read(struct peer *p, void *out, size_t n)
{
    return p->ssl ? SSL_read(p->ssl, out, (int)n) : read(p->fd, out, n);
}

static bool peer_write(struct peer *p, const void *data, size_t n)
{
    const uint8_t *at = data;

    while (n) {
        ssize_t did = p->ssl ? SSL_write(p->ssl, at, (int)n) : send(p->fd, at, n, MSG_NOSIGNAL);
        if (did <= 0) return false;
        at += did;
        n -= (size_t)did;
    }
    return true;
}

static bool read_all(struct peer *p, void *out, size_t n)
{
    uint8_t *at = out;

    while (n) {
        ssize_t did = peer_read(p, at, n);
        if (did <= 0) return false;
        at += did;
        n -= (size_t)did;
    }
    return true;
}

static bool send_message(struct peer *p, struct slice bytes)
{
    uint8_t head[10] = {0x82};
    size_t n = 2;

    if (bytes.len < 126) {
        head[1] = (uint8_t)bytes.len;
    } else if (bytes.len < 65536) {
        head[1] = 126;
        head[2] = (uint8_t)(bytes.len >> 8);
        head[3] = (uint8_t)bytes.len;
        n = 4;
    } else {
        head[1] = 127;
        for (int i = 0; i < 8; i++)
            head[2 + i] = (uint8_t)(bytes.len >> (56 - 8 * i));
        n = 10;
    }
    return peer_write(p, head, n) && peer_write(p, bytes.data, bytes.len);
}

/* One message of the client, unmasked; false at the end or at its goodbye. */
static bool take_message(struct peer *p, struct buf *out)
{
    uint8_t head[2], more[8], mask[4];
    size_t len;

    if (!read_all(p, head, 2) || (head[0] & 15) == 8) return false;
    if ((head[0] & 15) == 9) atomic_fetch_add(&side.pings, 1);
    len = head[1] & 127;
    if (len >= 126) {
        size_t n = len == 126 ? 2 : 8;
        if (!read_all(p, more, n)) return false;
        len = 0;
        for (size_t i = 0; i < n; i++)
            len = len << 8 | more[i];
    }
    if (!read_all(p, mask, 4)) return false;
    buf_reset(out);
    uint8_t *at = buf_extend(out, len);
    if (!read_all(p, at, len)) return false;
    for (size_t i = 0; i < len; i++)
        at[i] ^= mask[i & 3];
    return true;
}

static bool answer_upgrade(struct peer *p)
{
    char *key, reply[512];
    size_t n = 0;
    uint8_t digest[20];
    AUTO(buf) accept = {0};

    while (n < sizeof side.request - 1 && read_all(p, side.request + n, 1)) {
        side.request[++n] = '\0';
        if (strstr(side.request, "\r\n\r\n")) break;
    }
    if (!(key = strstr(side.request, "Sec-WebSocket-Key: "))) return false;
    if (side.manner == NEVER_ANSWERS) {
        uint8_t byte;
        while (peer_read(p, &byte, 1) > 0) {
        }
        return false;
    }
    if (side.manner == REFUSES) {
        static const char no[] = "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n";
        peer_write(p, no, sizeof no - 1);
        return false;
    }
    key += 19;
    struct slice pieces[] = {slice_of(key, strcspn(key, "\r")),
                             SLICE("258EAFA5-E914-47DA-95CA-C5AB0DC85B11")};
    crypto_sha1_v(pieces, 2, digest);
    text_base64(SLICE_ARRAY(digest), &accept);
    snprintf(reply, sizeof reply,
             "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
             "Sec-WebSocket-Accept: %s\r\n\r\n",
             buf_text(&accept));
    return peer_write(p, reply, strlen(reply));
}

static void flood(struct peer *p)
{
    uint8_t bytes[FLOOD_BYTES] = {0};
    uint8_t byte;

    for (uint32_t i = 0; i < FLOOD_MESSAGES; i++) {
        memcpy(bytes, &i, sizeof i);
        if (!send_message(p, SLICE_ARRAY(bytes))) return;
        atomic_fetch_add(&side.sent, FLOOD_BYTES);
    }
    while (peer_read(p, &byte, 1) > 0) {
    }
}

static void serve(struct peer *p)
{
    AUTO(buf) message = {0};

    if (!answer_upgrade(p) || side.manner == HANGS_UP) return;
    if (side.manner == FLOODS) flood(p);
    while (side.manner == ECHO && take_message(p, &message))
        if (!send_message(p, buf_slice(&message))) return;
}

static void *peer_main(void *arg)
{
    struct peer *p = arg;

    if (side.tls) {
        p->ssl = SSL_new(side.tls);
        SSL_set_fd(p->ssl, p->fd);
    }
    if (!p->ssl || SSL_accept(p->ssl) == 1) serve(p);
    if (p->ssl) SSL_shutdown(p->ssl);
    SSL_free(p->ssl);
    shutdown(p->fd, SHUT_RDWR); /* the number stays taken until server_stop() */
    return NULL;
}

static void *accept_main(void *arg)
{
    int fd;

    for (int n = 0; n < PEERS_MAX && (fd = accept(side.listener, NULL, NULL)) >= 0; n++) {
        side.peers[n].fd = fd;
        pthread_create(&side.peers[n].thread, NULL, peer_main, &side.peers[n]);
        atomic_fetch_add(&side.accepted, 1);
    }
    return NULL;
}

static void listen_on(int backlog)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof at;

    side.listener = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert_eq(bind(side.listener, (struct sockaddr *)&at, sizeof at), 0);
    cr_assert_eq(listen(side.listener, backlog), 0);
    getsockname(side.listener, (struct sockaddr *)&at, &n);
    side.port = ntohs(at.sin_port);
}

static void server_start(enum manner manner)
{
    side.manner = manner;
    listen_on(16);
    pthread_create(&side.thread, NULL, accept_main, NULL);
}

static void server_stop(void)
{
    if (!side.thread) return;
    shutdown(side.listener, SHUT_RDWR);
    pthread_join(side.thread, NULL);
    close(side.listener);
    for (int i = 0; i < atomic_load(&side.accepted); i++) {
        shutdown(side.peers[i].fd, SHUT_RDWR);
        pthread_join(side.peers[i].thread, NULL);
        close(side.peers[i].fd);
    }
    SSL_CTX_free(side.tls);
}
