#include "server/config.h"

#include <criterion/criterion.h>
#include <ctype.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "server/log.h"

static char folder[64];

static void make_folder(void)
{
    snprintf(folder, sizeof folder, "/tmp/parley-config-XXXXXX");
    cr_assert(mkdtemp(folder));
}

static void write_file(const char *name, const char *text)
{
    char path[128];

    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "w");
    cr_assert(f);
    fputs(text, f);
    fclose(f);
}

static void remove_folder(void)
{
    char command[128];

    snprintf(command, sizeof command, "rm -rf %s", folder);
    cr_assert_eq(system(command), 0);
}

TestSuite(config, .init = make_folder, .fini = remove_folder);

#define ARGS(...) ((char *[]){(char *)"parleyd", __VA_ARGS__, NULL})
static err_t load(struct config *out, char **args, char **env)
{
    int n = 0;

    while (args[n])
        n++;
    return config_load(out, n, args, env);
}

Test(config, has_a_default_for_every_option)
{
    struct config c;

    cr_assert_eq(load(&c, ARGS((char *)"--data", folder), NULL), OK, "%s", err_words());
    cr_expect_str_eq(c.listen, "127.0.0.1:8790");
    cr_expect_str_eq(c.wa_url, "wss://web.whatsapp.com/ws/chat");
    cr_expect_str_eq(c.sandbox_url, "ws://127.0.0.1:7800/ws/chat");
    cr_expect_eq(c.map_size, (int64_t)1 << 40);
    cr_expect_eq(c.wa_root_key.key.bytes[0], 0x14);
    cr_expect(!c.sandbox_root_key.set);
    cr_expect_eq(c.log_level, LOG_INFO);
    cr_expect_eq(c.hosts.count, 0u);
    config_done(&c);
}

Test(config, prefers_command_line_to_environment_to_file_to_default)
{
    struct config c;
    char *env[] = {(char *)"PARLEY_WORKERS=3", (char *)"PARLEY_EVENT_DAYS=4", NULL};

    write_file("parley.conf", "# a comment\n\nworkers = 5\nevent-days=6\n  map-size =  64M \r\n"
                              "log-format = json\nhost = a.example, b.example\n");
    cr_assert_eq(load(&c, ARGS((char *)"--data", folder, (char *)"--workers=2"), env), OK, "%s",
                 err_words());
    cr_expect_eq(c.workers, 2);
    cr_expect_eq(c.event_days, 4);
    cr_expect_eq(c.map_size, 64 << 20);
    cr_expect(c.log_json);
    cr_expect_eq(c.hosts.count, 2u);
    cr_expect_str_eq(c.hosts.items[1], "b.example");
    cr_expect_null(c.hosts.items[2]);
    config_done(&c);
}

Test(config, gathers_repeated_lists)
{
    struct config c;

    cr_assert_eq(
        load(&c, ARGS((char *)"--data", folder, (char *)"--host", (char *)"a", (char *)"--host=b"),
             NULL),
        OK);
    cr_expect_eq(c.hosts.count, 2u);
    config_done(&c);
}

static const struct {
    const char *args[3], *words;
} wrong[] = {
    {{"--nonsense"}, "unknown option '--nonsense'"},
    {{"nonsense"}, "unknown argument 'nonsense'"},
    {{"--workers"}, "--workers needs a value"},
    {{"--workers", "many"}, "--workers: 'many' is not a number from 0 to 256"},
    {{"--workers", "257"}, "--workers: '257' is not a number from 0 to 256"},
    {{"--workers=-1"}, "--workers: '-1' is not a number from 0 to 256"},
    {{"--workers="}, "--workers: '' is not a number"},
    {{"--map-size=99999999T"}, "'99999999T' is not a size from 16M to 128T"},
    {{"--map-size=8Q"}, "is not a size from 16M"},
    {{"--event-bytes=1"}, "is not a size from 64K to 1T"},
    {{"--wa-root-key=12"}, "--wa-root-key: a key is 64 hex digits"},
    {{"--wa-root-key="}, "a key is needed"},
    {{"--wa-url=http://x"}, "does not start with ws://"},
    {{"--wa-version=2.x"}, "is not three numbers"},
    {{"--log-level=loud"}, "not one of: error, warn, info or debug"},
    {{"--log-format=xml"}, "not one of: text or json"},
    {{"--listen="}, "--listen: a value is needed: address and port of HTTP"},
    {{"--listen=x"}, "--listen: 'x' is not an address and a port"},
    {{"--wa-url=x"}, "--wa-url: 'x' does not start with ws://"},
    {{"--listen=8790"}, "--listen: '8790' is not an address and a port"},
    {{"--listen=localhost:99999"}, "is not an address and a port"},
    {{"--sandbox-control=http://x"}, "--sandbox-control: 'http://x' is not an address"},
    {{"--public-url=parley.example"}, "is not of the form https://"},
    {{"--public-url=https://parley.example/chat"}, "is not of the form https://"},
    {{"--public-url=https://"}, "is not of the form https://"},
    {{"--host=https://parley.example"}, "--host: 'https://parley.example' is not a name"},
    {{"--host=a,*.example"}, "--host: '*.example' is not a name"},
    {{"--origin=app.example"}, "--origin: 'app.example' is not of the form https://"},
    {{"--origin=https://app.example/"}, "nothing behind the name"},
    {{"--config=/nowhere/at/all"}, "cannot read /nowhere/at/all"},
};

Test(config, says_what_is_wrong)
{
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        struct config c;
        char *args[] = {(char *)"parleyd",        (char *)"--data",         folder,
                        (char *)wrong[i].args[0], (char *)wrong[i].args[1], NULL};

        cr_expect_eq(load(&c, args, NULL), ERR_BAD_ARGUMENT, "row %zu", i);
        cr_expect(strstr(err_words(), wrong[i].words), "row %zu: %s", i, err_words());
    }
}

Test(config, names_the_line_of_a_bad_file)
{
    struct config c;
    char path[128];

    snprintf(path, sizeof path, "%s/x.conf", folder);
    write_file("x.conf", "workers = 1\nworkres = 2\n");
    cr_expect_eq(load(&c, ARGS((char *)"--config", path), NULL), ERR_BAD_ARGUMENT);
    cr_expect(strstr(err_words(), "x.conf:2: unknown option 'workres'"), "%s", err_words());
    write_file("x.conf", "workers\n");
    cr_expect_eq(load(&c, ARGS((char *)"--config", path), NULL), ERR_BAD_ARGUMENT);
    cr_expect(strstr(err_words(), "x.conf:1: this is not"), "%s", err_words());
}

Test(config, help_and_version_need_nothing_else)
{
    struct config c;

    cr_assert_eq(load(&c, ARGS((char *)"--help"), NULL), OK);
    cr_expect_eq(c.action, CONFIG_HELP);
    config_done(&c);
    cr_assert_eq(load(&c, ARGS((char *)"--version"), NULL), OK);
    cr_expect_eq(c.action, CONFIG_VERSION);
    config_done(&c);
}

Test(config, help_lists_every_option_with_its_default)
{
    AUTO(buf) help = {0};

    config_help(&help);
#define OPT(kind, field, name, arg, def, min, max, meaning)                                        \
    cr_expect(strstr(buf_text(&help), "--" name " "));                                             \
    cr_expect(strstr(buf_text(&help), def));
#include "server/config.def"
#undef OPT
}

/* A value of each option that is not its default, and how the field shows it. */
static const char *other_value(const char *kind, const char *name)
{
    static const struct {
        const char *word, *value;
    } rows[] = {
        {"listen", "127.0.0.1:1"},
        {"sandbox-control", "127.0.0.1:2"},
        {"wa-url", "ws://w"},
        {"sandbox-url", "wss://s"},
        {"public-url", "http://p"},
        {"wa-version", "2.3000.7"},
        {"INT", "17"},
        {"BYTES", "16M"},
        {"KEY", "aa"},
        {"origin", "https://app.example"},
        {"LIST", "one.example"},
        {"LEVEL", "debug"},
        {"FORMAT", "json"},
        {"TEXT", "other"},
    };
    static char key[65];

    memset(key, 'a', 64);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (strcmp(rows[i].word, name) == 0 || strcmp(rows[i].word, kind) == 0)
            return strcmp(kind, "KEY") == 0 ? key : rows[i].value;
    return "";
}

static bool shows(const char *kind, const void *field, const char *value)
{
    if (strcmp(kind, "TEXT") == 0) return strcmp(*(const char *const *)field, value) == 0;
    if (strcmp(kind, "INT") == 0) return *(const int64_t *)field == 17;
    if (strcmp(kind, "BYTES") == 0) return *(const int64_t *)field == 16 << 20;
    if (strcmp(kind, "KEY") == 0) return ((const struct config_key *)field)->key.bytes[31] == 0xaa;
    if (strcmp(kind, "LIST") == 0)
        return strcmp(((const struct config_list *)field)->items[0], value) == 0;
    if (strcmp(kind, "LEVEL") == 0) return *(const enum log_level *)field == LOG_DEBUG;
    if (strcmp(kind, "FORMAT") == 0) return *(const bool *)field;
    return false;
}

/* By the environment (as PARLEY_NAME) or by a file. */
static void check_option(bool by_file, const char *kind, const char *name, size_t offset)
{
    struct config c;
    char line[256], path[128], *args[6] = {(char *)"parleyd"}, *env[] = {line, NULL};
    const char *value = other_value(kind, name);
    int n = 1;

    if (strcmp(name, "data") != 0) {
        args[n++] = (char *)"--data";
        args[n++] = folder;
    }
    snprintf(path, sizeof path, "%s/one.conf", folder);
    if (by_file) {
        snprintf(line, sizeof line, "%s = %s\n", name, value);
        write_file("one.conf", line);
        args[n++] = (char *)"--config";
        args[n++] = path;
    } else {
        snprintf(line, sizeof line, "PARLEY_%s=%s", name, value);
        for (char *at = line + 7; *at != '='; at++)
            *at = *at == '-' ? '_' : (char)toupper((unsigned char)*at);
    }
    cr_assert_eq(load(&c, args, by_file ? NULL : env), OK, "%s: %s", line, err_words());
    cr_expect(shows(kind, (const char *)&c + offset, value), "%s", line);
    config_done(&c);
}

Test(config, takes_every_option_from_a_file_and_from_the_environment)
{
#define OPT(kind, field, name, arg, def, min, max, meaning)                                        \
    if (strcmp(name, "config") != 0) {                                                             \
        check_option(true, #kind, name, offsetof(struct config, field));                           \
        check_option(false, #kind, name, offsetof(struct config, field));                          \
    }
#include "server/config.def"
#undef OPT
}

Test(config, the_environment_names_the_file)
{
    struct config c;
    char line[160], *env[] = {line, NULL};

    write_file("x.conf", "workers = 9\n");
    snprintf(line, sizeof line, "PARLEY_CONFIG=%s/x.conf", folder);
    cr_assert_eq(load(&c, ARGS((char *)"--data", folder), env), OK, "%s", err_words());
    cr_expect_eq(c.workers, 9);
    config_done(&c);
}

/* The example as a user makes it effective: without the marks before its options. */
static void uncomment(struct slice example, struct buf *out)
{
    struct slice line;

    while (slice_split(&example, '\n', &line)) {
        struct slice bare = slice_from(line, 2);
        bool is_option =
            slice_find(bare, '=') < bare.len && slice_find(bare, ' ') + 1 == slice_find(bare, '=');
        buf_put(out, is_option ? bare : line);
        buf_put_u8(out, '\n');
    }
}

Test(config, the_example_file_is_current_and_accepted)
{
    AUTO(buf) example = {0}, found = {0}, effective = {0};
    struct config c;
    char path[128];
    uint8_t piece[4096];
    FILE *f = fopen(TESTS_DIR "/../deploy/example.conf", "r");

    config_example(&example);
    cr_assert(f, "deploy/example.conf is missing: ninja example-conf");
    for (size_t n; (n = fread(piece, 1, sizeof piece, f)) > 0;)
        buf_put(&found, slice_of(piece, n));
    fclose(f);
    cr_expect(slice_eq(buf_slice(&example), buf_slice(&found)),
              "deploy/example.conf is not current: ninja example-conf");

    uncomment(buf_slice(&example), &effective);
    write_file("x.conf", buf_text(&effective));
    snprintf(path, sizeof path, "%s/x.conf", folder);
    cr_assert_eq(load(&c, ARGS((char *)"--config", path), NULL), OK, "%s", err_words());
    cr_expect_eq(c.map_size, (int64_t)1 << 40);
    cr_expect(strstr(buf_text(&effective), "\nmap-size = 1T"), "it is in effect");
    config_done(&c);
}
