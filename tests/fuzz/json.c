/* JSON from outside: what parses is written so that it parses to the same, in both orders of its
 * members; and each tool's arguments. The first byte is a tool's number; from 200 on the rest is
 * only JSON. */
#include <stdlib.h>

#include "server/api/args.h"
#include "server/api/call.h"
#include "server/api/json.h"
#include "server/api/tools.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { ONLY_JSON = 200, SIZE_LIMIT = 1 << 20 };

static void write_again(const struct json *j)
{
    AUTO(buf) text = {0}, sorted = {0}, twice = {0};
    struct json *again;

    json_write(&text, j);
    json_write_sorted(&sorted, j);
    if (json_parse(buf_slice(&text), SIZE_MAX, &again) != OK) abort();
    json_write_sorted(&twice, again);
    if (!slice_eq(buf_slice(&sorted), buf_slice(&twice))) abort();
    json_free(again);
}

/* Reads every argument the way tools do. */
static void read_args(const struct tool *t, const struct json *args)
{
    struct call c = {.tool = t, .args = args};
    AUTO(buf) sink = {0};
    const struct arg *a;

    for (size_t i = 0; (a = tool_arg(t, i)); i++) {
        arg_given(&c, a->name);
        buf_put(&sink, arg_text(&c, a->name));
        arg_int_or(&c, a->name, 1);
        arg_time(&c, a->name);
        arg_seq_or(&c, a->name, 1);
        for (size_t k = 0; k < arg_count(&c, a->name); k++)
            buf_put(&sink, arg_item(&c, a->name, k));
    }
}

static void check_args(const struct tool *t, const struct json *args)
{
    struct args_wrong wrong = {0};

    if (args_check(t, args, &wrong) == OK)
        read_args(t, args);
    else if (wrong.expected[0] == 0)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static size_t tool_count;
    struct json *j;

    while (tool_at(tool_count))
        tool_count++;
    if (size == 0 || json_parse(slice_of(data + 1, size - 1), SIZE_LIMIT, &j) != OK) return 0;
    write_again(j);
    if (data[0] < ONLY_JSON) check_args(tool_at(data[0] % tool_count), j);
    json_free(j);
    return 0;
}
