#include "server/config.h"

#include <criterion/criterion.h>
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

Test(config, says_what_is_wrong)
{
    static const struct {
        const char *args[3], *words;
    } rows[] = {
        {{"--nonsense"}, "unknown option '--nonsense'"},
        {{"nonsense"}, "unknown argument 'nonsense'"},
        {{"--workers"}, "--workers needs a value"},
        {{"--workers", "many"}, "--workers: 'many' is not a number"},
        {{"--workers", "257"}, "--workers: 257 is above 256"},
        {{"--workers=-1"}, "--workers: -1 is below 0"},
        {{"--map-size=99999999T"}, "is above"},
        {{"--map-size=8Q"}, "is not a size"},
        {{"--wa-root-key=12"}, "--wa-root-key: a key is 64 hex digits"},
        {{"--wa-root-key="}, "a key is needed"},
        {{"--wa-url=http://x"}, "does not start with ws://"},
        {{"--wa-version=2.x"}, "is not three numbers"},
        {{"--log-level=loud"}, "not one of: error, warn, info or debug"},
        {{"--log-format=xml"}, "not one of: text or json"},
        {{"--listen="}, "a value is needed"},
        {{"--config=/nowhere/at/all"}, "cannot read /nowhere/at/all"},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct config c;
        char *args[] = {(char *)"parleyd",       (char *)"--data",        folder,
                        (char *)rows[i].args[0], (char *)rows[i].args[1], NULL};

        cr_expect_eq(load(&c, args, NULL), ERR_BAD_ARGUMENT, "row %zu", i);
        cr_expect(strstr(err_words(), rows[i].words), "row %zu: %s", i, err_words());
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

Test(config, the_example_file_is_current_and_accepted)
{
    AUTO(buf) example = {0}, found = {0};
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

    write_file("parley.conf", buf_text(&example));
    snprintf(path, sizeof path, "%s/parley.conf", folder);
    cr_expect_eq(load(&c, ARGS((char *)"--config", path), NULL), OK, "%s", err_words());
    config_done(&c);
}
