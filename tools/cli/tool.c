/* Every row of the tool table as a command: parleyctl list_chats --filter unread. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/text.h"
#include "server/api/json.h"
#include "tools/cli/cli.h"

enum cli_type {
    TYPE_TEXT,
    TYPE_INT,
    TYPE_BOOL,
    TYPE_TIME,
    TYPE_PHONE,
    TYPE_ACCOUNT,
    TYPE_CHAT,
    TYPE_MESSAGE,
    TYPE_SUBSCRIPTION,
    TYPE_CURSOR,
    TYPE_SEQ,
    TYPE_ENUM,
    TYPE_PHONES,
    TYPE_EVENTS,
    TYPE_MESSAGE_OR_TIME,
};

/* What stands for a value in the help. */
static const char *const words[] = {
    [TYPE_TEXT] = "TEXT",        [TYPE_INT] = "N",         [TYPE_BOOL] = "true|false",
    [TYPE_TIME] = "TIME",        [TYPE_PHONE] = "+NUMBER", [TYPE_ACCOUNT] = "acc_…",
    [TYPE_CHAT] = "chat_…",      [TYPE_MESSAGE] = "msg_…", [TYPE_SUBSCRIPTION] = "sub_…",
    [TYPE_CURSOR] = "CURSOR",    [TYPE_SEQ] = "SEQ",       [TYPE_ENUM] = "WORD",
    [TYPE_PHONES] = "+NUMBER,…", [TYPE_EVENTS] = "NAME,…", [TYPE_MESSAGE_OR_TIME] = "msg_…|TIME",
};

struct cli_arg {
    const char *name;
    enum cli_type type;
    bool required;
    long long min, max;
    const char *choices, *meaning;
};

struct cli_tool {
    const char *name, *method, *path, *title, *description;
    bool takes_key;
    const struct cli_arg *args;
};

/* Of the flags only one matters here. */
enum { OPEN_WORLD = 0, IDEMPOTENT = 0, DESTRUCTIVE = 0, KEEPS_STATE = 0, TAKES_KEY = 1 };

#define REQUIRED true
#define OPTIONAL false
#define NO_ARGS
#define ARG(name, type, need, min, max, choices, meaning)                                          \
    {#name, TYPE_##type, need, min, max, choices, meaning},
#define TOOL(name, category, flags, method, route, title, description, args, shape)                \
    static const struct cli_arg name##_args[] = {args{NULL, TYPE_TEXT, false, 0, 0, NULL, NULL}};
#include "server/api/tools.def"
#undef TOOL
#undef ARG

static const struct cli_tool tools[] = {
#define TOOL(name, category, flags, method, route, title, description, args, shape)                \
    {#name, method, route, title, description, (flags) != 0, name##_args},
#include "server/api/tools.def"
#undef TOOL
};

static const struct cli_tool *find_tool(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(tools); i++)
        if (strcmp(tools[i].name, name) == 0) return &tools[i];
    return NULL;
}

/* Characters, not bytes: for columns. */
static size_t text_width(const char *text)
{
    size_t n = 0;

    for (; *text; text++)
        n += ((unsigned char)*text & 0xc0) != 0x80;
    return n;
}

void tool_list(void)
{
    for (size_t i = 0; i < ARRAY_LEN(tools); i++)
        printf("  %-22s %s\n", tools[i].name, tools[i].title);
}

static const struct cli_arg key_arg = {"idempotency_key",
                                       TYPE_TEXT,
                                       false,
                                       0,
                                       0,
                                       "",
                                       "the same key sends or changes once, for 24 hours"};

static void arg_help(const struct cli_arg *a)
{
    int width = printf("  --%s ", a->name) + (int)text_width(words[a->type]);

    printf("%s%*s%s", words[a->type], width < 32 ? 32 - width : 1, "", a->meaning);
    if (a->choices[0]) printf(": %s", a->choices);
    if (a->type == TYPE_INT) printf(" (%lld to %lld)", a->min, a->max);
    printf("\n");
}

static int tool_help(const struct cli_tool *t)
{
    printf("usage: parleyctl %s", t->name);
    for (const struct cli_arg *a = t->args; a->name; a++)
        printf(a->required ? " --%s %s" : " [--%s %s]", a->name, words[a->type]);
    printf("\n\n%s\n\n", t->description);
    for (const struct cli_arg *a = t->args; a->name; a++)
        arg_help(a);
    if (t->takes_key) arg_help(&key_arg);
    return CLI_DONE;
}

static const struct cli_arg *find_arg(const struct cli_tool *t, const char *name)
{
    for (const struct cli_arg *a = t->args; a->name; a++)
        if (strcmp(a->name, name) == 0) return a;
    return t->takes_key && strcmp(name, key_arg.name) == 0 ? &key_arg : NULL;
}

void tool_put_list(struct pen *p, const char *name, const char *value)
{
    struct slice rest = slice_text(value), item;

    pen_array(p, name);
    while (slice_split(&rest, ',', &item))
        pen_text(p, NULL, item);
    pen_end(p);
}

static void put_value(struct pen *p, const struct cli_arg *a, const char *value)
{
    int64_t number;

    switch (a->type) {
    case TYPE_INT:
        if (text_i64(slice_text(value), &number) == OK) {
            pen_int(p, a->name, number);
            return;
        }
        break;
    case TYPE_BOOL:
        if (strcmp(value, "true") == 0 || strcmp(value, "false") == 0) {
            pen_bool(p, a->name, value[0] == 't');
            return;
        }
        break;
    case TYPE_PHONES:
    case TYPE_EVENTS: tool_put_list(p, a->name, value); return;
    default: break;
    }
    pen_text(p, a->name, slice_text(value)); /* the server says what would be right */
}

static bool is_given(const char *name, int argc, char **argv)
{
    for (int i = 0; i < argc; i += 2)
        if (strcmp(argv[i] + 2, name) == 0) return true;
    return false;
}

/* "--name value"… as a JSON object. */
static int read_args(const struct cli_tool *t, int argc, char **argv, struct buf *out)
{
    struct pen p = pen_on(out);

    pen_object(&p, NULL);
    for (int i = 0; i < argc; i += 2) {
        const struct cli_arg *a = strncmp(argv[i], "--", 2) == 0 ? find_arg(t, argv[i] + 2) : NULL;
        if (!a)
            return cli_usage("%s has no argument %s%s; see parleyctl %s --help", t->name, argv[i],
                             cli_hint(argv[i]), t->name);
        if (i + 1 == argc) return cli_usage("%s wants a value", argv[i]);
        put_value(&p, a, argv[i + 1]);
    }
    for (const struct cli_arg *a = t->args; a->name; a++)
        if (a->required && !is_given(a->name, argc, argv))
            return cli_usage("%s wants --%s; see parleyctl %s --help", t->name, a->name, t->name);
    pen_end(&p);
    return CLI_DONE;
}

static void put_query(struct buf *url, const char *name, const struct json *value)
{
    AUTO(buf) text = {0};

    if (json_kind(value) == JSON_ARR) {
        for (size_t i = 0; i < json_count(value); i++) {
            if (i) buf_put_u8(&text, ',');
            buf_put(&text, json_text(json_at(value, i)));
        }
    } else if (json_kind(value) == JSON_STR) {
        buf_put(&text, json_text(value));
    } else {
        json_write(&text, value);
    }
    buf_printf(url, "%c%s=", slice_find(buf_slice(url), '?') < url->len ? '&' : '?', name);
    door_escape(url, buf_text(&text));
}

/* The route with its {parameters} filled in; false when one is missing (told). */
static bool put_path(const struct cli_tool *t, const struct json *args, struct buf *url)
{
    for (const char *at = t->path; *at;) {
        if (*at != '{') {
            buf_put_u8(url, (uint8_t)*at++);
            continue;
        }
        AUTO(buf) name = {0};
        const char *end = strchr(at, '}');
        buf_put(&name, slice_of(at + 1, (size_t)(end - at - 1)));
        struct slice value = json_get_text(args, buf_text(&name));
        if (!value.len) {
            cli_usage("%s wants --%s", t->name, buf_text(&name));
            return false;
        }
        AUTO(buf) text = {0};
        buf_put(&text, value);
        door_escape(url, buf_text(&text));
        at = end + 1;
    }
    return true;
}

static bool in_path(const struct cli_tool *t, const char *name)
{
    AUTO(buf) braced = {0};
    buf_printf(&braced, "{%s}", name);
    return strstr(t->path, buf_text(&braced)) != NULL;
}

static bool ask_row(struct cli *c, const struct cli_tool *t, const char *text, struct answer *out)
{
    AUTO(buf) url = {0};
    struct json *args = NULL;
    bool is_get = strcmp(t->method, "GET") == 0;

    *out = (struct answer){0};
    if (json_parse(slice_text(text), 1 << 20, &args) != OK) return false;
    bool ok = put_path(t, args, &url);
    for (const struct cli_arg *a = t->args; ok && is_get && a->name; a++)
        if (json_get(args, a->name) && !in_path(t, a->name))
            put_query(&url, a->name, json_get(args, a->name));
    ok = ok && door_ask(c, t->method, buf_text(&url), is_get ? NULL : text, out);
    json_free(args);
    if (!ok) return false;
    if (out->status < 300) return true;
    door_problem(out);
    answer_done(out);
    return false;
}

bool tool_ask(struct cli *c, const char *name, const char *args, struct answer *out)
{
    return ask_row(c, find_tool(name), args, out);
}

int tool_command(struct cli *c, const char *name, int argc, char **argv)
{
    const struct cli_tool *t = find_tool(name);
    AUTO(buf) args = {0};
    struct answer answer;

    if (!t) return CLI_NO_SUCH_TOOL;
    if (argc && (strcmp(argv[0], "--help") == 0 || strcmp(argv[0], "-h") == 0)) return tool_help(t);
    int e = read_args(t, argc, argv, &args);
    if (e != CLI_DONE) return e;
    bool ok = ask_row(c, t, buf_text(&args), &answer);
    if (ok) printf(SLICE_FMT "\n", SLICE_ARG(buf_slice(&answer.body)));
    answer_done(&answer);
    return ok ? CLI_DONE : CLI_FAILED;
}
