/* parleyctl: global options, then a command of commands.c or a tool of the tool table. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <curl/curl.h>

#include "tools/cli/cli.h"

static void complain(const char *format, va_list args)
{
    fprintf(stderr, "parleyctl: ");
    vfprintf(stderr, format, args);
    fprintf(stderr, "\n");
}

int cli_usage(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    complain(format, args);
    va_end(args);
    return CLI_USAGE;
}

int cli_failed(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    complain(format, args);
    va_end(args);
    return CLI_FAILED;
}

static int help(void)
{
    printf(
        "usage: parleyctl [--key KEY] [--url URL] [--data DIR] [--sandbox-control URL] [--json]"
        " COMMAND …\n\n"
        "Without --key (or PARLEY_API_KEY): the live key of DIR/first-keys (pair --sandbox takes "
        "the test\nkey), or the operator's socket in DIR. DIR is ./data (or PARLEY_DATA), URL is "
        "http://127.0.0.1:8790\n(or PARLEY_URL), the sandbox's http://127.0.0.1:7801 (or "
        "PARLEY_SANDBOX_CONTROL_URL).\n--json prints answers as they come.\n\ncommands:\n");
    for (const struct cli_command *c = cli_commands; c->name; c++)
        printf("  %s %s\n      %s\n", c->name, c->usage, c->meaning);
    printf("\ntools, with --argument value (parleyctl TOOL --help):\n");
    tool_list();
    return CLI_DONE;
}

static bool wants_help(const char *word)
{
    return strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0;
}

static int command_help(const struct cli_command *c)
{
    printf("usage: parleyctl %s %s\n%s.\n", c->name, c->usage, c->meaning);
    return CLI_DONE;
}

static const char *from_environment(const char *first, const char *second)
{
    const char *value = getenv(first);
    if ((!value || !*value) && second) value = getenv(second);
    return value && *value ? value : NULL;
}

static int run(struct cli *c, int argc, char **argv)
{
    if (!argc || strcmp(argv[0], "help") == 0 || wants_help(argv[0])) return help();
    for (const struct cli_command *row = cli_commands; row->name; row++) {
        if (strcmp(row->name, argv[0]) != 0) continue;
        return argc > 1 && wants_help(argv[1]) ? command_help(row)
                                               : row->run(c, argc - 1, argv + 1);
    }
    int result = tool_command(c, argv[0], argc - 1, argv + 1);
    if (result != CLI_NO_SUCH_TOOL) return result;
    return cli_usage("no command '%s'; parleyctl --help lists them", argv[0]);
}

int main(int argc, char **argv)
{
    const char *data = from_environment("PARLEY_DATA", NULL);
    const char *url = from_environment("PARLEY_URL", NULL);
    const char *sandbox = from_environment("PARLEY_SANDBOX_CONTROL_URL", NULL);
    struct cli c = {
        .url = url ? url : "http://127.0.0.1:8790",
        .data = data ? data : "data",
        .key = from_environment("PARLEY_API_KEY", "WUSE_API_KEY"),
        .sandbox = sandbox ? sandbox : "http://127.0.0.1:7801",
    };
    struct {
        const char *name, **to;
    } options[] = {{"--key", &c.key},
                   {"--url", &c.url},
                   {"--data", &c.data},
                   {"--sandbox-control", &c.sandbox}};
    int at = 1;

    for (; at < argc && strncmp(argv[at], "--", 2) == 0; at++) {
        size_t i = 0;
        if (wants_help(argv[at])) return help();
        if (strcmp(argv[at], "--version") == 0) {
            printf("parleyctl %s\n", PARLEY_VERSION);
            return CLI_DONE;
        }
        if (strcmp(argv[at], "--json") == 0) {
            c.json = true;
            continue;
        }
        while (i < ARRAY_LEN(options) && strcmp(argv[at], options[i].name) != 0)
            i++;
        if (i == ARRAY_LEN(options)) return cli_usage("unknown option %s; see --help", argv[at]);
        if (++at == argc) return cli_usage("%s wants a value", options[i].name);
        *options[i].to = argv[at];
    }
    curl_global_init(CURL_GLOBAL_DEFAULT);
    int result = run(&c, argc - at, argv + at);
    curl_global_cleanup();
    return result;
}
