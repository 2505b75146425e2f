/* parleyctl: global options, then a command of commands.c or a tool of the tool table. */
#include <errno.h>
#include <pwd.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <curl/curl.h>

#include "tools/cli/cli.h"

#define CLI_URL "http://127.0.0.1:8790"
#define CLI_SANDBOX "http://127.0.0.1:7801"

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

/* The nearest folder or file on the way there that may be looked at: it keeps us out. */
static bool stat_keeper(char *path, struct stat *out)
{
    while (stat(path, out) != 0) {
        char *slash = strrchr(path, '/');
        if (!slash || slash == path) return false;
        *slash = '\0';
    }
    return true;
}

bool cli_may_not_read(const char *folder, const char *file)
{
    char path[4200];
    struct stat keeper;

    snprintf(path, sizeof(path), "%s/%s", folder, file);
    if (access(path, R_OK) == 0 || errno != EACCES) return false;
    bool is_seen = stat_keeper(path, &keeper);
    const struct passwd *owner = is_seen ? getpwuid(keeper.st_uid) : NULL;
    cli_failed("permission denied: %s may not be read by you; it belongs to %s. Run parleyctl as "
               "that user, or name another folder.",
               path, owner ? owner->pw_name : "another user");
    return true;
}

static int help(void)
{
    printf(
        "usage: parleyctl [--key KEY] [--url URL] [--data DIR] [--sandbox-control URL] [--json]"
        " COMMAND …\n\n"
        "Without --key (or PARLEY_API_KEY): the live key of DIR/first-keys (pair --sandbox takes "
        "the test\nkey), or the operator's socket in DIR. DIR is ./data (or PARLEY_DATA), URL is "
        "http://127.0.0.1:8790\n(or PARLEY_URL), the sandbox's http://127.0.0.1:7801 (or "
        "PARLEY_SANDBOX_CONTROL_URL).\n--json prints answers as they come.\nExit code: 0 done, 1 "
        "refused, failed or no server, 2 the command line is wrong.\n\ncommands:\n");
    for (const struct cli_command *c = cli_commands; c->name; c++)
        printf("  %s%s%s\n      %s\n", c->name, c->usage[0] ? " " : "", c->usage, c->meaning);
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
    printf("usage: parleyctl %s%s%s\n%s.\n", c->name, c->usage[0] ? " " : "", c->usage, c->meaning);
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

static const struct global {
    const char *name;
    size_t offset;
} globals[] = {
    {"--key", offsetof(struct cli, key)},
    {"--url", offsetof(struct cli, url)},
    {"--data", offsetof(struct cli, data)},
    {"--sandbox-control", offsetof(struct cli, sandbox)},
};

static const struct global *find_global(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(globals); i++)
        if (strcmp(name, globals[i].name) == 0) return &globals[i];
    return NULL;
}

bool cli_is_global(const char *word) { return strcmp(word, "--json") == 0 || find_global(word); }

const char *cli_hint(const char *word)
{
    if (cli_is_global(word)) return "; it stands before the command: parleyctl OPTION COMMAND";
    if (strncmp(word, "--", 2) == 0 && strchr(word, '='))
        return "; a value stands apart from its name: --name value";
    return "";
}

/* Reads what stands before the command, from argv[*at] on. */
static int read_globals(struct cli *c, int argc, char **argv, int *at)
{
    for (; *at < argc && strncmp(argv[*at], "--", 2) == 0; ++*at) {
        const char *word = argv[*at];
        const struct global *g = find_global(word);
        if (wants_help(word) || strcmp(word, "--version") == 0) break;
        if (strcmp(word, "--json") == 0) {
            c->json = true;
            continue;
        }
        if (!g) return cli_usage("unknown option %s; see --help%s", word, cli_hint(word));
        if (++*at == argc) return cli_usage("%s wants a value", word);
        *(const char **)((char *)c + g->offset) = argv[*at];
    }
    return CLI_DONE;
}

static int check_url(const char *name, const char *url, const char *example)
{
    const char *host = strncmp(url, "https://", 8) == 0  ? url + 8
                       : strncmp(url, "http://", 7) == 0 ? url + 7
                                                         : "";

    if (*host && *host != '/') return CLI_DONE;
    return cli_usage("%s wants an address such as %s, not '%s'", name, example, url);
}

static struct cli from_outside(void)
{
    const char *data = from_environment("PARLEY_DATA", NULL);
    const char *url = from_environment("PARLEY_URL", NULL);
    const char *sandbox = from_environment("PARLEY_SANDBOX_CONTROL_URL", NULL);

    return (struct cli){
        .url = url ? url : CLI_URL,
        .data = data ? data : "data",
        .key = from_environment("PARLEY_API_KEY", "WUSE_API_KEY"),
        .sandbox = sandbox ? sandbox : CLI_SANDBOX,
    };
}

int main(int argc, char **argv)
{
    struct cli c = from_outside();
    int at = 1, result = read_globals(&c, argc, argv, &at);

    if (result != CLI_DONE) return result;
    if (at < argc && strcmp(argv[at], "--version") == 0) {
        printf("parleyctl %s\n", PARLEY_VERSION);
        return CLI_DONE;
    }
    result = check_url("--url (or PARLEY_URL)", c.url, CLI_URL);
    if (result == CLI_DONE)
        result =
            check_url("--sandbox-control (or PARLEY_SANDBOX_CONTROL_URL)", c.sandbox, CLI_SANDBOX);
    if (result != CLI_DONE) return result;
    curl_global_init(CURL_GLOBAL_DEFAULT);
    result = run(&c, argc - at, argv + at);
    curl_global_cleanup();
    return result;
}
