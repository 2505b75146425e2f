/* REST, the live feed, keys and pages with everything behind them. Byte 0 says who asks
 * (a test key, a live key, the operator, nobody) and what WhatsApp says to a message; the rest is a
 * request line without its version, header lines, and behind an empty line the body. Whatever is
 * asked, the answer is HTTP, its JSON is JSON, and only the operator makes keys. What cannot be
 * guessed has a name (furnished.h). */
#include <sys/socket.h>

#include "server/http/conn.h"
#include "server/http/pages.h"
#include "server/rest/rest.h"
#include "tests/fuzz/furnished.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { REQUESTS = 2000, /* then a fresh house */ REQUEST_MAX = 64 * 1024 };
enum who { TEST_KEY, LIVE_KEY, OPERATOR, NOBODY };

static const struct route *const tables[] = {mcp_routes, rest_routes, page_routes, NULL};

/* ---- a request ---- */

/* A connection of the owner's socket, or one that anybody could have. */
static int dial_as(enum who who)
{
    struct http_worker *home = &door_server->workers[0];
    int ends[2];

    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0) abort();
    atomic_fetch_add(&home->conn_count, 1);
    atomic_fetch_add(&door_server->conn_total, 1);
    conn_open(home, ends[0], who == OPERATOR);
    fcntl(ends[1], F_SETFL, O_NONBLOCK);
    return ends[1];
}

/* Where the body begins; the end when there is none. */
static size_t end_of_head(struct slice in)
{
    for (size_t i = 0; i + 1 < in.len; i++)
        if (in.data[i] == '\n' && in.data[i + 1] == '\n') return i;
    return in.len;
}

static void put_request(enum who who, struct slice in, struct buf *out)
{
    struct slice head = slice_sub(in, 0, end_of_head(in)), body = slice_from(in, head.len + 2),
                 line;

    for (size_t n = 0; slice_split(&head, '\n', &line); n++)
        buf_printf(out, SLICE_FMT "%s", SLICE_ARG(line),
                   n == 0 ? " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" : "\r\n");
    if (who == TEST_KEY) buf_put_text(out, key_header(house_test_key));
    if (who == LIVE_KEY) buf_put_text(out, key_header(house_live_key));
    if (body.len) buf_printf(out, "Content-Length: %zu\r\n", body.len);
    buf_put_text(out, "\r\n");
    buf_put(out, body);
}

static struct agent request(enum who who, struct slice in)
{
    struct agent a = {.fd = dial_as(who)};
    AUTO(buf) filled = {0}, text = {0};

    fill_in(in, &filled);
    put_request(who, buf_slice(&filled), &text);
    if (send(a.fd, text.data, text.len, MSG_NOSIGNAL) < 0) buf_reset(&text);
    for (int i = 0; i < 4; i++)
        hear(&a);
    return a;
}

/* ---- its answer ---- */

static bool is_json(struct agent *a, const char *body)
{
    const char *type = strstr(text_of(a), "Content-Type: application/json");

    return type && type < body && body[4];
}

static void check(struct agent *a, enum who who)
{
    int status = status_of_agent(a);
    const char *body = strstr(text_of(a), "\r\n\r\n");
    struct json *j;

    if (a->got.len == 0) return; /* still at work */
    if (strncmp(text_of(a), "HTTP/1.1 ", 9) != 0 || status < 200 || status > 599 || !body) abort();
    if (!is_json(a, body) || !a->closed) return;
    if (json_parse(slice_text(body + 4), SIZE_MAX, &j) != OK) abort();
    struct slice id = json_get_text(j, "id");
    if (slice_starts_with(id, SLICE("key_"))) {
        if (who != OPERATOR) abort();
        snprintf(R.key, sizeof(R.key), SLICE_FMT, SLICE_ARG(id));
    }
    json_free(j);
}

/* The operator may have taken our keys away. */
static bool is_worn(void)
{
    struct principal who;
    bool worn = auth_key(&H.server, slice_text(house_test_key), &who) != OK ||
                auth_key(&H.server, slice_text(house_live_key), &who) != OK;

    err_clear();
    return worn;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static unsigned requests;

    if (size == 0 || size > REQUEST_MAX) return 0;
    if (requests == 0) door_tables = tables;
    if (requests % REQUESTS == 0 || is_worn()) {
        if (requests) clear_out();
        furnish();
    }
    requests++;
    enum who who = (enum who)(data[0] & 3);
    H.ack = (enum house_ack)(data[0] / 4 % ACK_LATER);
    struct agent a = request(who, slice_of(data + 1, size - 1));
    log_event(&H.accounts[0], EVENT_ACCOUNT_CONNECTED, 1); /* feeds have something to say */
    tidy_up();
    hear(&a);
    check(&a, who);
    leave(&a);
    return 0;
}
