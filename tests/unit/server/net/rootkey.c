#include "server/net/rootkey.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server/log.h"
#include "tests/support/clock.h"

#define HEX "142375574d0a587166aae71ebe516437c4a28b73e3695c6ce1f7f9545da8ee6b"
static const char bare[] = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" HEX "\n";
static const char json[] =
    "HTTP/1.1 200 OK\r\nContent-Length: 82\r\n\r\n{\"root_key\":\"" HEX "\"}";
static const char refused[] = "HTTP/1.1 404 Not Found\r\n\r\n" HEX;
static const char too_short[] = "HTTP/1.1 200 OK\r\n\r\n1423755\n";
static const char silence[] = "";

/* Gives one answer after the other, each to a connection of its own, the last one for ever. */
static const char *answers[4];
static atomic_int served;
static int listener, port;

static void *serve(void *arg)
{
    for (size_t at = 0;; at += answers[at + 1] != NULL) {
        char request[1024];
        int fd = accept(listener, NULL, NULL);

        if (fd < 0) return NULL;
        ssize_t n = read(fd, request, sizeof request);
        if (n > 0 && answers[at][0] && write(fd, answers[at], strlen(answers[at])) < 0) return NULL;
        atomic_fetch_add(&served, 1);
        if (!answers[at][0]) continue; /* left open, without a word */
        close(fd);
    }
}

static struct worker *worker;
static struct rootkey *asker;
static struct post post;
static char control[32];
static atomic_int found, gone;
static struct crypto_key key;

static void on_found(void *owner, const struct crypto_key *k)
{
    key = *k;
    atomic_fetch_add(&found, 1);
}

static void ask(struct post *p, struct worker *w)
{
    if (!asker) asker = rootkey_new(w, control, on_found, NULL);
    rootkey_ask(asker);
    rootkey_ask(asker); /* harmless */
}

static void leave(struct post *p, struct worker *w)
{
    rootkey_free(asker);
    atomic_store(&gone, 1);
}

static void run(void (*what)(struct post *, struct worker *))
{
    post.run = what;
    worker_post(worker, &post);
}

static void listen_now(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof at;
    pthread_t thread;

    listener = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert_eq(bind(listener, (struct sockaddr *)&at, sizeof at), 0);
    cr_assert_eq(listen(listener, 8), 0);
    getsockname(listener, (struct sockaddr *)&at, &n);
    port = ntohs(at.sin_port);
    pthread_create(&thread, NULL, serve, NULL);
    pthread_detach(thread);
}

static void start(void)
{
    log_start(LOG_ERROR, false);
    answers[0] = json;
    listen_now();
    snprintf(control, sizeof control, "127.0.0.1:%d", port);
    worker = worker_new(0);
    cr_assert_eq(worker_start(worker), OK);
}

static void stop(void)
{
    run(leave);
    while (!atomic_load(&gone))
        nap(1);
    worker_stop(worker);
    worker_join(worker);
    worker_free(worker);
}

TestSuite(rootkey, .init = start, .fini = stop, .timeout = 30);

static bool found_in(int ms)
{
    run(ask);
    for (; ms > 0 && !atomic_load(&found); ms -= 5)
        nap(5);
    return atomic_load(&found) > 0;
}

Test(rootkey, is_read_from_json)
{
    cr_assert(found_in(20000));
    cr_expect_eq(key.bytes[0], 0x14);
    cr_expect_eq(key.bytes[31], 0x6b);
    cr_expect_eq(atomic_load(&served), 1);
}

Test(rootkey, is_read_from_a_bare_body)
{
    answers[0] = bare;
    cr_assert(found_in(20000));
    cr_expect_eq(key.bytes[31], 0x6b);
}

Test(rootkey, is_asked_for_until_it_is_there)
{
    answers[0] = refused;
    answers[1] = too_short;
    answers[2] = json;
    cr_assert(found_in(20000));
    cr_expect_eq(atomic_load(&served), 3);
}

Test(rootkey, a_silent_sandbox_is_asked_again)
{
    answers[0] = silence;
    answers[1] = json;
    cr_assert(found_in(20000));
}

Test(rootkey, an_address_that_is_none_asks_nobody)
{
    static const char *const bad[] = {"", "nowhere", "127.0.0.1:", "127.0.0.1:99999", "[::1:80"};

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        snprintf(control, sizeof control, "%s", bad[i]);
        cr_expect(!found_in(50), "%s", bad[i]);
        run(leave);
        while (!atomic_load(&gone))
            nap(1);
        atomic_store(&gone, 0);
        asker = NULL;
    }
    cr_expect_eq(atomic_load(&served), 0);
}

Test(rootkey, can_be_left_in_the_middle)
{
    answers[0] = silence;
    run(ask);
    while (!atomic_load(&served))
        nap(1);
}
