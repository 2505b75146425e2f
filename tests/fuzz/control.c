/* The sim's control API on a sandbox with two phones: lines of "METHOD PATH BODY", in which $g is
 * the newest group and $m the last message of the first phone; or, behind an @, bytes of its HTTP.
 * Every answer has a status that HTTP knows and a body. */
#include <stdlib.h>
#include <unistd.h>

#include "proto/crypto/crypto.h"
#include "tests/support/dial.h"
#include "tools/sim/control.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    LINES_MAX = 20,
    INPUTS = 200, /* then a fresh sandbox: making one takes longer than hundreds of them */
};

static void ask(struct sim_server *s, struct slice line)
{
    size_t space = slice_find(line, ' ');
    struct slice method = slice_sub(line, 0, space), rest = slice_from(line, space + 1);
    size_t end = slice_find(rest, ' ');
    struct slice url = slice_sub(rest, 0, end), body = slice_from(rest, end + 1);
    size_t mark = slice_find(url, '?');
    json_t *in = json_loadb((const char *)body.data, body.len, JSON_REJECT_DUPLICATES, NULL);
    json_t *out = NULL;

    if (!json_is_object(in)) {
        json_decref(in);
        in = json_object();
    }
    struct sim_request q = {.server = s,
                            .path = slice_sub(url, 0, mark),
                            .query = slice_from(url, mark + 1),
                            .body = in};
    int status = sim_control_answer(&q, method, &out);
    if (status < 200 || status > 599 || !out) abort();
    json_decref(out);
    json_decref(in);
}

static struct sim_server sim;
static uv_loop_t loop;

static const char *newest_group(void)
{
    struct list *groups = &sim.relay.people.groups;

    return list_empty(groups) ? "" : LIST_ENTRY(groups->prev, struct sim_group, link)->id;
}

static const char *last_letter(void)
{
    struct sim_phone *p = sim_phone_find(&sim.phones, SLICE("15550001111"));

    return list_empty(&p->letters) ? "" : LIST_ENTRY(p->letters.prev, struct sim_letter, link)->id;
}

static void ask_filled(struct slice in)
{
    AUTO(buf) line = {0};

    while (in.len) {
        bool group = slice_starts_with(in, SLICE("$g")),
             letter = slice_starts_with(in, SLICE("$m"));

        if (group || letter)
            buf_put_text(&line, group ? newest_group() : last_letter());
        else
            buf_put_u8(&line, in.data[0]);
        in = slice_from(in, group || letter ? 2 : 1);
    }
    ask(&sim, buf_slice(&line));
}

/* ---- its HTTP ---- */

static void turn(void)
{
    for (int i = 0; i < 4; i++)
        uv_run(&loop, UV_RUN_NOWAIT);
}

/* A reset leaves no port behind: there are more inputs than ports. */
static void hang_up(int fd)
{
    struct linger reset = {.l_onoff = 1};

    setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    close(fd);
    turn();
}

static void speak(struct slice in)
{
    int fd = dial(sim_control_port(sim.control));
    char bytes[65536];

    turn();
    if (send(fd, in.data, in.len, MSG_DONTWAIT | MSG_NOSIGNAL) != (ssize_t)in.len) in.len = 0;
    turn();
    ssize_t n = recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT);
    if (n > 0 && (n < 9 || memcmp(bytes, "HTTP/1.1 ", 9) != 0)) abort();
    hang_up(fd);
}

static void open_sim(void)
{
    static const struct sim_settings settings = {
        .listen.host = "127.0.0.1", .control.host = "127.0.0.1", .relay.seed = 1};

    uv_loop_init(&loop);
    if (sim_server_init(&sim, &loop, &settings) != OK || sim_server_open(&sim) != OK) abort();
    ask(&sim, SLICE("POST /phones {\"number\":\"15550001111\",\"name\":\"A\"}"));
    ask(&sim, SLICE("POST /phones {\"number\":\"15550002222\",\"name\":\"B\"}"));
}

static void close_sim(void)
{
    sim_server_stop(&sim);
    uv_run(&loop, UV_RUN_DEFAULT);
    sim_server_done(&sim);
    if (uv_loop_close(&loop) != 0) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static unsigned inputs;
    struct slice in = slice_of(data, size), line;

    if (inputs == 0) crypto_start();
    if (inputs % INPUTS == 0) {
        if (inputs) close_sim();
        open_sim();
    }
    inputs++;
    if (slice_starts_with(in, SLICE("@"))) {
        speak(slice_from(in, 1));
        return 0;
    }
    for (unsigned n = 0; n < LINES_MAX && slice_split(&in, '\n', &line); n++)
        ask_filled(line);
    return 0;
}
