/* The sim's control API behind its HTTP: lines of "METHOD PATH BODY", on a sandbox with two
 * phones. Every answer has a status that HTTP knows and a body. */
#include <stdlib.h>

#include "proto/crypto/crypto.h"
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

static void open_sim(void)
{
    static const struct sim_settings settings = {.relay.seed = 1};

    uv_loop_init(&loop);
    if (sim_server_init(&sim, &loop, &settings) != OK) abort();
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
    for (unsigned n = 0; n < LINES_MAX && slice_split(&in, '\n', &line); n++)
        ask(&sim, line);
    return 0;
}
