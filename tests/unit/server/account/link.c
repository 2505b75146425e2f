/* Links against a server of the test's own, one thread per connection, so that every trap of the
 * library can be set: a listener that never accepts, an upgrade that is never answered, TLS that
 * must be refused. All threads are joined at the end: what one of them holds while it ends would
 * look leaked. */
#include "server/account/link.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <dlfcn.h>
#include <libwebsockets.h>
#include <netdb.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "proto/crypto/crypto.h"
#include "server/net/resolve.h"
#include "tests/support/clock.h"
#include "tests/unit/server/account/link_peer.h"

/* The libc's lookup, with a gate in front for one name, and a name of two houses. */
static sem_t gate;

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                struct addrinfo **res)
{
    int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);

    *(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
    if (node && strcmp(node, "blocked.example") == 0) sem_wait(&gate);
    if (!node || strcmp(node, "two.example") != 0) return real(node, service, hints, res);
    int e = real("127.0.0.2", service, hints, res);
    return e ? e : real("127.0.0.1", service, hints, &(*res)->ai_next);
}

/* The kernel's clock, and what the test says has passed besides. */
static atomic_int skipped_s;

int clock_gettime(clockid_t id, struct timespec *t)
{
    int r = (int)syscall(SYS_clock_gettime, id, t);

    if (id == CLOCK_MONOTONIC) t->tv_sec += atomic_load(&skipped_s);
    return r;
}

/* What the library is asked for, and the lists that it keeps its timers in. */
static struct lws_context_creation_info asked;
static struct lws_protocols protocol;
static lws_dll2_owner_t *timer_lists[8];
static atomic_int timer_list_count;

struct lws_context *lws_create_context(const struct lws_context_creation_info *info)
{
    struct lws_context *(*real)(const struct lws_context_creation_info *);

    *(void **)&real = dlsym(RTLD_NEXT, "lws_create_context");
    asked = *info;
    return real(info);
}

struct lws_vhost *lws_create_vhost(struct lws_context *context,
                                   const struct lws_context_creation_info *info)
{
    struct lws_vhost *(*real)(struct lws_context *, const struct lws_context_creation_info *);

    *(void **)&real = dlsym(RTLD_NEXT, "lws_create_vhost");
    protocol = info->protocols[0];
    return real(context, info);
}

void lws_dll2_add_sorted(lws_dll2_t *entry, lws_dll2_owner_t *list,
                         int (*compare)(const lws_dll2_t *, const lws_dll2_t *))
{
    void (*real)(lws_dll2_t *, lws_dll2_owner_t *, int (*)(const lws_dll2_t *, const lws_dll2_t *));
    int n = atomic_load(&timer_list_count), i = 0;

    *(void **)&real = dlsym(RTLD_NEXT, "lws_dll2_add_sorted");
    while (i < n && timer_lists[i] != list)
        i++;
    if (i == n && i < (int)ARRAY_LEN(timer_lists)) {
        timer_lists[i] = list;
        atomic_store(&timer_list_count, n + 1);
    }
    real(entry, list, compare);
}

/* ---- the client's side ---- */

enum { PATIENCE_MS = 40000 }; /* for what must come, on however busy a machine */

struct probe {
    struct post post;
    struct link_owner owner;
    size_t target;
    struct link *link;
    atomic_int ups, downs, messages;
    atomic_llong bytes;
    struct buf data;
    char why[160];
    bool pause_at_once;
    uint32_t next; /* number of the flood's next message */
    bool out_of_order;
};

static struct worker *worker, *resolving;
static struct resolver *resolver;
static struct links *links;
static struct link_target target, *opened;
static size_t opened_count;
static atomic_int links_gone;

static void on_up(void *owner)
{
    struct probe *p = owner;

    if (p->pause_at_once) link_pause(p->link);
    atomic_fetch_add(&p->ups, 1);
}

static void on_data(void *owner, struct slice bytes)
{
    struct probe *p = owner;
    uint32_t number;

    if (side.manner == FLOODS) {
        memcpy(&number, bytes.data, sizeof number);
        p->out_of_order |= bytes.len != FLOOD_BYTES || number != p->next++;
    } else {
        buf_put(&p->data, bytes);
    }
    atomic_fetch_add(&p->bytes, (long long)bytes.len);
    atomic_fetch_add(&p->messages, 1);
}

static void on_down(void *owner, const char *why)
{
    struct probe *p = owner;

    snprintf(p->why, sizeof p->why, "%s", why);
    p->link = NULL;
    atomic_fetch_add(&p->downs, 1);
}

static void open_now(struct post *p, struct worker *w)
{
    struct probe *probe = CONTAINER_OF(p, struct probe, post);

    probe->link = link_open(links, probe->target, &probe->owner);
}

static void resume_now(struct post *p, struct worker *w)
{
    link_resume(CONTAINER_OF(p, struct probe, post)->link);
}

static void close_now(struct post *p, struct worker *w)
{
    struct probe *probe = CONTAINER_OF(p, struct probe, post);

    if (probe->link) link_close(probe->link, "enough");
}

static void write_and_close(struct post *p, struct worker *w)
{
    struct probe *probe = CONTAINER_OF(p, struct probe, post);
    AUTO(buf) large = {0};

    for (uint32_t i = 0; i < 100000; i++)
        buf_put_be32(&large, i);
    link_write(probe->link, SLICE("hello"));
    link_write(probe->link, buf_slice(&large));
}

static atomic_int timers; /* of the library, as counted last */

static void count_timers(struct post *p, struct worker *w)
{
    int n = 0;

    for (int i = 0; i < atomic_load(&timer_list_count); i++)
        n += (int)timer_lists[i]->count;
    atomic_store(&timers, n);
}

static void on_links_gone(void *arg) { atomic_store(&links_gone, 1); }
static void close_links(struct post *p, struct worker *w)
{
    links_close(links, on_links_gone, NULL);
}

static void run_on_worker(struct probe *p, void (*run)(struct post *, struct worker *))
{
    p->post.run = run;
    worker_post(worker, &p->post);
}

static void start_on(struct link_target *targets, size_t n)
{
    for (size_t i = 0; i < n; i++)
        cr_assert_eq(link_target_open(&targets[i]), OK, "%s", err_words());
    opened = targets;
    opened_count = n;
    worker = worker_new(0);
    resolving = worker_new(-1);
    resolver = resolver_new(resolving);
    cr_assert_eq(links_new(worker, resolver, targets, n, &links), OK, "%s", err_words());
    cr_assert_eq(worker_start(worker), OK);
    cr_assert_eq(worker_start(resolving), OK);
}

static void start_at(const char *url, const char *ca)
{
    cr_assert_eq(link_target_parse(url, ca, &target), OK, "%s", err_words());
    start_on(&target, 1);
}

static void start(const char *scheme, const char *host, const char *ca)
{
    char url[128];

    snprintf(url, sizeof url, "%s://%s:%u/ws/chat", scheme, host, side.port);
    start_at(url, ca);
}

static void probe_open(struct probe *p)
{
    p->owner = (struct link_owner){on_up, on_data, on_down, p};
    run_on_worker(p, open_now);
}

static bool wait_for(atomic_int *what, int value)
{
    for (int64_t until = now_ms() + PATIENCE_MS; atomic_load(what) < value; nap(2))
        if (now_ms() > until) return false;
    return true;
}

static int timers_now(void)
{
    static struct probe p;

    atomic_store(&timers, -1);
    run_on_worker(&p, count_timers);
    cr_assert(wait_for(&timers, 0));
    return atomic_load(&timers);
}

static void wait_for_bytes(const struct probe *p, long long n)
{
    for (int64_t until = now_ms() + PATIENCE_MS; atomic_load(&p->bytes) < n && now_ms() < until;)
        nap(2);
}

static void links_stop(void)
{
    static struct post p = {.run = close_links};

    if (!worker) return;
    worker_post(worker, &p);
    cr_expect(wait_for(&links_gone, 1), "two-step shutdown");
    worker_stop(worker);
    worker_join(worker);
    worker_stop(resolving);
    worker_join(resolving);
    links_free(links);
    for (size_t i = 0; i < opened_count; i++)
        link_target_close(&opened[i]);
    resolver_free(resolver);
    worker_free(worker);
    worker_free(resolving);
    worker = NULL;
}

static void stop(void)
{
    links_stop();
    server_stop();
}

static void prepare(void)
{
    signal(SIGPIPE, SIG_IGN);
    crypto_start();
}

TestSuite(link, .init = prepare, .fini = stop, .timeout = 110);

Test(link, parses_addresses)
{
    struct link_target t;
    static const char *const bad[] = {"http://x/", "ws://",         "ws:///x",    "ws://h:0/",
                                      "ws://h:x/", "ws://h:70000/", "ws://[::1/", "wss"};

    cr_assert_eq(link_target_parse("wss://web.whatsapp.com/ws/chat", NULL, &t), OK);
    cr_expect(t.tls && t.port == 443);
    cr_expect_str_eq(t.host, "web.whatsapp.com");
    cr_expect_str_eq(t.path, "/ws/chat");
    cr_assert_eq(link_target_parse("ws://[::1]:7800", NULL, &t), OK);
    cr_expect(!t.tls && t.port == 7800);
    cr_expect_str_eq(t.host, "::1");
    cr_expect_str_eq(t.path, "/");
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        cr_expect_eq(link_target_parse(bad[i], NULL, &t), ERR_BAD_ARGUMENT, "%s", bad[i]);
}

Test(link, carries_small_and_large_messages_both_ways)
{
    static struct probe p;
    AUTO(buf) expected = {0};

    server_start(ECHO);
    start("ws", "127.0.0.1", NULL);
    probe_open(&p);
    cr_assert(wait_for(&p.ups, 1), "%s", p.why);
    cr_expect(strstr(side.request, "Origin: https://web.whatsapp.com\r\n"), "%s", side.request);
    cr_expect(strstr(side.request, "GET /ws/chat HTTP/1.1\r\n"), "%s", side.request);
    run_on_worker(&p, write_and_close);
    wait_for_bytes(&p, 400005);
    buf_put(&expected, SLICE("hello"));
    for (uint32_t i = 0; i < 100000; i++)
        buf_put_be32(&expected, i);
    cr_expect(slice_eq(buf_slice(&p.data), buf_slice(&expected)));
    run_on_worker(&p, close_now);
    cr_assert(wait_for(&p.downs, 1));
    cr_expect_str_eq(p.why, "enough");
    buf_done(&p.data);
}

/* By itself the library pings after 300 s without traffic and hangs up at 310 s; the largest number
 * that its policy can hold is 18 hours. */
Test(link, an_idle_link_is_neither_pinged_nor_dropped)
{
    static struct probe p, others[5];

    server_start(ECHO);
    start("ws", "127.0.0.1", NULL);
    probe_open(&p);
    cr_assert(wait_for(&p.ups, 1), "%s", p.why);
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        atomic_fetch_add(&skipped_s, i ? 20000 : 320);
        probe_open(&others[i]); /* its timers run when something happens */
        cr_assert(wait_for(&others[i].ups, 1), "%s", others[i].why);
        run_on_worker(&others[i], close_now);
        cr_assert(wait_for(&others[i].downs, 1));
    }
    cr_expect_eq(atomic_load(&side.pings), 0);
    cr_assert_eq(atomic_load(&p.downs), 0, "%s", p.why);
    run_on_worker(&p, write_and_close);
    wait_for_bytes(&p, 400005);
    run_on_worker(&p, close_now);
    cr_assert(wait_for(&p.downs, 1));
    buf_done(&p.data);
}

/* The library walks the list of its timers whenever it adds one: a timer for each connection makes
 * every connect slower (tests/bench/link_traps). */
Test(link, a_connected_link_has_no_timer_of_the_library)
{
    static struct probe probes[5];
    int of_context = 0;

    server_start(ECHO);
    start("ws", "127.0.0.1", NULL);
    for (size_t i = 0; i < ARRAY_LEN(probes); i++) {
        probe_open(&probes[i]);
        cr_assert(wait_for(&probes[i].ups, 1), "%s", probes[i].why);
        if (i == 0) of_context = timers_now();
    }
    cr_expect_gt(of_context, 0, "the context has its own, so that its list has been seen");
    cr_expect_eq(timers_now(), of_context, "%d for 1 link, %d for 5", of_context, timers_now());
}

/* With a limit of its own the library searches for each descriptor, and without a size to send by
 * it sends as much at a time as it reads (tests/bench/link_traps). */
Test(link, the_library_gets_the_sizes_that_cost_least)
{
    static struct probe p;

    server_start(ECHO);
    start("ws", "127.0.0.1", NULL);
    probe_open(&p);
    cr_assert(wait_for(&p.ups, 1), "%s", p.why);
    cr_assert(asked.foreign_loops, "this is the context of the links");
    cr_expect_eq(asked.fd_limit_per_thread, 0);
    cr_expect_str_eq(protocol.name, "link");
    cr_expect_eq(protocol.rx_buffer_size, LINK_RX_BYTES);
    cr_expect_eq(protocol.tx_packet_size, LINK_TX_BYTES);
}

Test(link, a_refused_connection_ends)
{
    static struct probe p;

    listen_on(1);
    close(side.listener);
    start("ws", "127.0.0.1", NULL);
    probe_open(&p);
    cr_assert(wait_for(&p.downs, 1));
    cr_expect_eq(atomic_load(&p.ups), 0);
    cr_expect(strstr(p.why, "cannot connect"), "%s", p.why);
}

Test(link, an_unknown_name_ends)
{
    static struct probe p;

    start_at("ws://no-such-name.invalid/ws/chat", NULL);
    probe_open(&p);
    cr_assert(wait_for(&p.downs, 1));
    cr_expect(strstr(p.why, "the name was not found"), "%s", p.why);
}

Test(link, a_refused_upgrade_ends)
{
    static struct probe p;

    server_start(REFUSES);
    start("ws", "127.0.0.1", NULL);
    probe_open(&p);
    cr_assert(wait_for(&p.downs, 1));
    cr_expect_eq(atomic_load(&p.ups), 0);
}

Test(link, a_peer_that_hangs_up_ends_once)
{
    static struct probe p;

    server_start(HANGS_UP);
    start("ws", "127.0.0.1", NULL);
    probe_open(&p);
    cr_assert(wait_for(&p.downs, 1));
    nap(50);
    cr_expect_eq(atomic_load(&p.downs), 1);
}

/* The listener's queue is full, so a connect is never completed. */
static void fill_queue(struct sockaddr_in at, int fillers[8])
{
    for (size_t i = 0; i < 8; i++) {
        fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        connect(fillers[i], (struct sockaddr *)&at, sizeof at);
    }
    nap(50);
}

Test(link, a_black_holed_connect_ends_at_our_deadline)
{
    static struct probe p;
    int fillers[8];

    listen_on(0);
    fill_queue((struct sockaddr_in){.sin_family = AF_INET,
                                    .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                    .sin_port = htons(side.port)},
               fillers);
    start("ws", "127.0.0.1", NULL);
    int64_t began = now_ms();
    probe_open(&p);
    cr_assert(wait_for(&p.downs, 1));
    cr_expect(now_ms() - began >= LINK_CONNECT_MS - 100);
    cr_expect(strstr(p.why, "no WebSocket in time"), "%s", p.why);
    for (size_t i = 0; i < ARRAY_LEN(fillers); i++)
        close(fillers[i]);
}

/* As where IPv6 has addresses and no way out. */
Test(link, a_black_holed_address_leaves_time_for_the_next)
{
    static struct probe p;
    struct sockaddr_in hole = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000002)};
    int fillers[8], fd = socket(AF_INET, SOCK_STREAM, 0);

    server_start(ECHO);
    hole.sin_port = htons(side.port);
    cr_assert_eq(bind(fd, (struct sockaddr *)&hole, sizeof hole), 0);
    cr_assert_eq(listen(fd, 0), 0);
    fill_queue(hole, fillers);
    start("ws", "two.example", NULL);
    probe_open(&p);
    for (int64_t until = now_ms() + PATIENCE_MS;
         !atomic_load(&p.ups) && !atomic_load(&p.downs) && now_ms() < until;)
        nap(5);
    cr_expect_eq(atomic_load(&p.ups), 1, "%s", p.why);
    for (size_t i = 0; i < ARRAY_LEN(fillers); i++)
        close(fillers[i]);
    close(fd);
}

Test(link, an_upgrade_never_answered_ends_at_our_deadline)
{
    static struct probe p;

    server_start(NEVER_ANSWERS);
    start("ws", "127.0.0.1", NULL);
    int64_t began = now_ms();
    probe_open(&p);
    cr_assert(wait_for(&p.downs, 1));
    cr_expect(now_ms() - began >= LINK_CONNECT_MS - 100);
    cr_expect(strstr(p.why, "no WebSocket in time"), "%s", p.why);
}

Test(link, a_blocked_resolver_blocks_nobody_and_ends_at_our_deadline)
{
    static struct probe p, other;
    static struct link_target both[2];

    sem_init(&gate, 0, 0);
    server_start(ECHO);
    cr_assert_eq(link_target_parse("ws://blocked.example/ws", NULL, &both[0]), OK);
    char url[64];
    snprintf(url, sizeof url, "ws://127.0.0.1:%u/ws", side.port);
    cr_assert_eq(link_target_parse(url, NULL, &both[1]), OK);
    start_on(both, 2);
    int64_t began = now_ms();
    probe_open(&p);
    other.target = 1;
    probe_open(&other);
    cr_expect(wait_for(&other.ups, 1) && !atomic_load(&p.downs), "the worker is not held up");
    cr_assert(wait_for(&p.downs, 1));
    cr_expect(now_ms() - began >= LINK_CONNECT_MS - 100);
    cr_expect_str_eq(p.why, "the name was not resolved in time");
    sem_post(&gate);
}

Test(link, shuts_down_in_the_middle_of_everything)
{
    static struct probe open, half;

    server_start(NEVER_ANSWERS);
    start("ws", "localhost", NULL);
    probe_open(&half);
    while (!atomic_load(&side.accepted))
        nap(1);
    side.manner = ECHO;
    probe_open(&open);
    cr_assert(wait_for(&open.ups, 1));
    links_stop();
    cr_expect_eq(atomic_load(&open.downs), 1);
    cr_expect_eq(atomic_load(&half.downs), 1);
}

/* Until the kernel takes no more of the flood, because nobody reads it. */
static void wait_for_held_up(void)
{
    struct pollfd out = {.fd = side.peers[0].fd, .events = POLLOUT};

    for (int quiet = 0; quiet < 50; nap(2)) {
        cr_assert_lt(atomic_load(&side.sent), (long long)FLOOD_MESSAGES * FLOOD_BYTES);
        quiet = atomic_load(&side.sent) && poll(&out, 1, 0) == 0 ? quiet + 1 : 0;
    }
}

Test(link, a_paused_link_stops_reading_and_loses_nothing)
{
    static struct probe p = {.pause_at_once = true};

    server_start(FLOODS);
    start("ws", "127.0.0.1", NULL);
    probe_open(&p);
    cr_assert(wait_for(&p.ups, 1));
    wait_for_held_up();
    cr_expect_lt(atomic_load(&p.messages), 20);
    run_on_worker(&p, resume_now);
    cr_expect(wait_for(&p.messages, FLOOD_MESSAGES), "%d", atomic_load(&p.messages));
    cr_expect(!p.out_of_order);
}

/* ---- TLS ---- */

static EVP_PKEY *ca_key;
static X509 *ca;
static char ca_path[64];

static X509 *certify(EVP_PKEY *key, const char *name, X509 *issuer, EVP_PKEY *issuer_key,
                     long from_s, long to_s)
{
    X509 *cert = X509_new();
    X509_NAME *subject = X509_get_subject_name(cert);
    char alt[128];
    X509V3_CTX v3;

    X509_set_version(cert, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), issuer ? 2 : 1);
    X509_gmtime_adj(X509_getm_notBefore(cert), from_s);
    X509_gmtime_adj(X509_getm_notAfter(cert), to_s);
    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const uint8_t *)name, -1, -1, 0);
    X509_set_issuer_name(cert, issuer ? X509_get_subject_name(issuer) : subject);
    X509_set_pubkey(cert, key);
    X509V3_set_ctx(&v3, issuer ? issuer : cert, cert, NULL, NULL, 0);
    snprintf(alt, sizeof alt, "DNS:%s", name);
    X509_EXTENSION *e = issuer ? X509V3_EXT_conf_nid(NULL, &v3, NID_subject_alt_name, alt)
                               : X509V3_EXT_conf_nid(NULL, &v3, NID_basic_constraints, "CA:TRUE");
    X509_add_ext(cert, e, -1);
    X509_EXTENSION_free(e);
    X509_sign(cert, issuer_key, EVP_sha256());
    return cert;
}

/* A server that likes HTTP/2 better: who offers that speaks it from there on, and no WebSocket. */
static char offered[64]; /* as on the wire: lengths and names */

static int choose(SSL *ssl, const uint8_t **out, uint8_t *out_len, const uint8_t *in,
                  unsigned in_len, void *arg)
{
    static const uint8_t likes[] = "\x02h2\x08http/1.1";

    memcpy(offered, in, in_len < sizeof offered ? in_len : sizeof offered - 1);
    SSL_select_next_proto((uint8_t **)(uintptr_t)out, out_len, likes, sizeof likes - 1, in, in_len);
    return SSL_TLSEXT_ERR_OK;
}

static void tls_start(const char *name, long from_s, long to_s, bool trusted)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *other = NULL;

    ca_key = EVP_EC_gen("P-256");
    ca = certify(ca_key, "test authority", NULL, ca_key, -3600, 3600);
    other = certify(ca_key, "test authority", NULL, ca_key, -3600, 3600);
    snprintf(ca_path, sizeof ca_path, "/tmp/parley-ca-XXXXXX");
    FILE *f = fdopen(mkstemp(ca_path), "w");
    if (!trusted) {
        EVP_PKEY *stranger = EVP_EC_gen("P-256");
        X509 *untold = certify(stranger, "test authority", NULL, stranger, -3600, 3600);
        PEM_write_X509(f, untold);
        X509_free(untold);
        EVP_PKEY_free(stranger);
    } else {
        PEM_write_X509(f, ca);
    }
    fclose(f);
    side.tls = SSL_CTX_new(TLS_server_method());
    SSL_CTX_set_alpn_select_cb(side.tls, choose, NULL);
    X509 *cert = certify(key, name, ca, ca_key, from_s, to_s);
    SSL_CTX_use_certificate(side.tls, cert);
    SSL_CTX_use_PrivateKey(side.tls, key);
    X509_free(cert);
    X509_free(other);
    X509_free(ca);
    EVP_PKEY_free(key);
    EVP_PKEY_free(ca_key);
    server_start(ECHO);
}

static void expect_refused(const char *why)
{
    static struct probe p;

    start("wss", "localhost", ca_path);
    probe_open(&p);
    cr_assert(wait_for(&p.downs, 1));
    cr_expect_eq(atomic_load(&p.ups), 0, "a bad certificate was accepted");
    cr_expect(strstr(p.why, why), "%s", p.why);
    cr_expect_eq(side.request[0], '\0', "nothing is said to a server that is not trusted");
    unlink(ca_path);
}

Test(link, speaks_tls_to_a_trusted_server)
{
    static struct probe p;

    tls_start("localhost", -60, 3600, true);
    start("wss", "localhost", ca_path);
    probe_open(&p);
    cr_assert(wait_for(&p.ups, 1), "%s", p.why);
    cr_expect_str_eq(offered, "\x08http/1.1");
    run_on_worker(&p, write_and_close);
    wait_for_bytes(&p, 400005);
    cr_expect_eq(atomic_load(&p.bytes), 400005);
    run_on_worker(&p, close_now);
    cr_assert(wait_for(&p.downs, 1));
    buf_done(&p.data);
    unlink(ca_path);
}

Test(link, a_paused_tls_link_loses_nothing)
{
    static struct probe p = {.pause_at_once = true};

    tls_start("localhost", -60, 3600, true);
    side.manner = FLOODS;
    start("wss", "localhost", ca_path);
    probe_open(&p);
    cr_assert(wait_for(&p.ups, 1), "%s", p.why);
    wait_for_held_up();
    cr_expect_lt(atomic_load(&p.messages), 20);
    run_on_worker(&p, resume_now);
    cr_expect(wait_for(&p.messages, FLOOD_MESSAGES), "%d", atomic_load(&p.messages));
    cr_expect(!p.out_of_order);
    unlink(ca_path);
}

Test(link, refuses_a_wrong_name)
{
    tls_start("elsewhere.example", -60, 3600, true);
    expect_refused("certificate: hostname mismatch");
}

Test(link, refuses_an_expired_certificate)
{
    tls_start("localhost", -7200, -60, true);
    expect_refused("certificate: certificate has expired");
}

Test(link, refuses_an_untrusted_certificate)
{
    tls_start("localhost", -60, 3600, false);
    expect_refused("certificate: ");
}

Test(link, a_ca_file_that_is_missing_or_none_is_told_at_start)
{
    static const char *const paths[] = {"/no/such/file.pem", "/etc/passwd"};

    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        cr_assert_eq(link_target_parse("wss://localhost/ws", paths[i], &target), OK);
        cr_expect_eq(link_target_open(&target), ERR_BAD_ARGUMENT);
        cr_expect(strstr(err_words(), paths[i]), "%s", err_words());
        link_target_close(&target);
    }
}
