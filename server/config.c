/* Options: each is a row of config.def; a value is looked for on the command line, in the
 * environment, in the config file and in the row, in this order, and read by one function per kind.
 */
#include "server/config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proto/base/text.h"
#include "server/log.h"

enum kind { TEXT, INT, BYTES, KEY, LIST, FLAG, LEVEL, FORMAT };

static const struct option {
    enum kind kind;
    size_t offset;
    const char *name, *arg, *fallback;
    int64_t min, max;
    const char *meaning;
} options[] = {
#define OPT(kind, field, name, arg, def, min, max, meaning)                                        \
    {kind, offsetof(struct config, field), name, arg, def, min, max, meaning},
#include "server/config.def"
#undef OPT
};
enum {
#define OPT(kind, field, name, arg, def, min, max, meaning) ROW_##field,
#include "server/config.def"
#undef OPT
    ROW_COUNT
};

/* The text chosen for each row and where it stood ("--data", "PARLEY_DATA", "x.conf:3"). */
struct chosen {
    char *text[ROW_COUNT], *origin[ROW_COUNT];
    enum config_action action;
};

static void chosen_done(struct chosen *c)
{
    for (size_t i = 0; i < ROW_COUNT; i++) {
        free(c->text[i]);
        free(c->origin[i]);
    }
}

static void choose(struct chosen *c, size_t row, const char *origin, struct slice text)
{
    free(c->text[row]);
    free(c->origin[row]);
    c->text[row] = xalloc(text.len + 1);
    if (text.len) memcpy(c->text[row], text.data, text.len);
    c->text[row][text.len] = '\0';
    c->origin[row] = xstrdup(origin);
}

/* A list may be repeated: the items gather. */
static void choose_more(struct chosen *c, size_t row, const char *origin, struct slice text)
{
    AUTO(buf) all = {0};

    if (options[row].kind != LIST || !c->text[row]) {
        choose(c, row, origin, text);
        return;
    }
    buf_put_text(&all, c->text[row]);
    buf_put_u8(&all, ',');
    buf_put(&all, text);
    choose(c, row, origin, buf_slice(&all));
}

static size_t find_row(struct slice name)
{
    for (size_t i = 0; i < ROW_COUNT; i++)
        if (slice_is(name, options[i].name)) return i;
    return ROW_COUNT;
}

/* ---- where values come from ---- */

static bool take_action(struct chosen *c, const char *word)
{
    static const struct {
        const char *word;
        enum config_action action;
    } actions[] = {
        {"--help", CONFIG_HELP},
        {"-h", CONFIG_HELP},
        {"--version", CONFIG_VERSION},
        {"-V", CONFIG_VERSION},
        {"--example-config", CONFIG_EXAMPLE},
    };

    for (size_t i = 0; i < ARRAY_LEN(actions); i++)
        if (strcmp(word, actions[i].word) == 0) {
            if (c->action == CONFIG_RUN) c->action = actions[i].action;
            return true;
        }
    return false;
}

static err_t read_arguments(struct chosen *c, int argc, char *const *argv)
{
    for (int i = 1; i < argc; i++) {
        const char *word = argv[i], *equals = strchr(word, '=');

        if (take_action(c, word)) continue;
        if (strncmp(word, "--", 2) != 0)
            return fail(BAD_ARGUMENT, "unknown argument '%s'; see --help", word);
        size_t length = equals ? (size_t)(equals - word) : strlen(word);
        size_t row = find_row(slice_of(word + 2, length - 2));
        char origin[64];
        if (row == ROW_COUNT)
            return fail(BAD_ARGUMENT, "unknown option '%.*s'; see --help", (int)length, word);
        snprintf(origin, sizeof origin, "--%s", options[row].name);
        if (equals)
            choose_more(c, row, origin, slice_text(equals + 1));
        else if (options[row].kind == FLAG)
            choose(c, row, origin, SLICE("true"));
        else if (++i < argc)
            choose_more(c, row, origin, slice_text(argv[i]));
        else
            return fail(BAD_ARGUMENT, "%s needs a value: %s %s", origin, origin, options[row].arg);
    }
    return OK;
}

static void environment_name(const char *name, char *out, size_t max)
{
    static const char lower[] = "abcdefghijklmnopqrstuvwxyz-";
    static const char upper[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ_";

    snprintf(out, max, "PARLEY_%s", name);
    for (; *out; out++) {
        const char *at = strchr(lower, *out);
        if (at) *out = upper[at - lower];
    }
}

static void read_environment(struct chosen *c, char *const *env)
{
    for (size_t row = 0; row < ROW_COUNT; row++) {
        char name[64];

        environment_name(options[row].name, name, sizeof name);
        size_t n = strlen(name);
        for (char *const *e = env; e && *e; e++)
            if (!c->text[row] && strncmp(*e, name, n) == 0 && (*e)[n] == '=')
                choose(c, row, name, slice_text(*e + n + 1));
    }
}

static struct slice trim(struct slice s)
{
    while (s.len && (s.data[0] == ' ' || s.data[0] == '\t'))
        s = slice_from(s, 1);
    while (s.len && strchr(" \t\r", s.data[s.len - 1]))
        s.len--;
    return s;
}

static err_t read_line(struct chosen *c, const bool *set_before, const char *path, unsigned number,
                       struct slice line)
{
    char origin[512];

    line = trim(line);
    if (!line.len || line.data[0] == '#') return OK;
    size_t at = slice_find(line, '=');
    struct slice name = trim(slice_sub(line, 0, at)), value = trim(slice_from(line, at + 1));
    size_t row = find_row(name);
    snprintf(origin, sizeof origin, "%s:%u", path, number);
    if (at == line.len)
        return fail(BAD_ARGUMENT, "%s: this is not 'name = value', nor a # comment", origin);
    if (row == ROW_COUNT)
        return fail(BAD_ARGUMENT, "%s: unknown option '" SLICE_FMT "'; see parleyd --help", origin,
                    SLICE_ARG(name));
    if (row == ROW_config)
        return fail(BAD_ARGUMENT, "%s: a config file cannot name another one", origin);
    if (!set_before[row]) choose_more(c, row, origin, value);
    return OK;
}

static err_t read_file(struct chosen *c, const char *path)
{
    AUTO(buf) text = {0};
    bool set_before[ROW_COUNT];
    FILE *f = fopen(path, "re");

    if (!f) return fail(BAD_ARGUMENT, "cannot read %s: %s", path, strerror(errno));
    for (size_t n = 1; n > 0 && text.len <= CONFIG_FILE_MAX;) {
        uint8_t piece[4096];
        n = fread(piece, 1, sizeof piece, f);
        buf_put(&text, slice_of(piece, n));
    }
    bool broken = ferror(f);
    fclose(f);
    if (broken) return fail(BAD_ARGUMENT, "cannot read %s", path);
    if (text.len > CONFIG_FILE_MAX) return fail(BAD_ARGUMENT, "%s is too large", path);

    for (size_t i = 0; i < ROW_COUNT; i++)
        set_before[i] = c->text[i] != NULL;
    struct slice rest = buf_slice(&text), line;
    for (unsigned number = 1; slice_split(&rest, '\n', &line); number++)
        TRY(read_line(c, set_before, path, number, line));
    return OK;
}

static err_t read_config_file(struct chosen *c)
{
    const char *data = c->text[ROW_data] ? c->text[ROW_data] : options[ROW_data].fallback;
    char path[4200];

    if (c->text[ROW_config] && c->text[ROW_config][0]) return read_file(c, c->text[ROW_config]);
    snprintf(path, sizeof path, "%s/parley.conf", data);
    return access(path, R_OK) == 0 ? read_file(c, path) : OK;
}

/* ---- what values mean ---- */

static err_t set_text(const struct option *o, const char *origin, const char *text, void *field)
{
    size_t n = strlen(text);

    if ((int64_t)n < o->min)
        return fail(BAD_ARGUMENT, "%s: a value is needed: %s", origin, o->meaning);
    if ((int64_t)n > o->max) return fail(BAD_ARGUMENT, "%s: longer than %ld bytes", origin, o->max);
    *(const char **)field = xstrdup(text);
    return OK;
}

/* A size as people write it: 65536 is 64K. */
static const char *size_text(int64_t n, char *out, size_t max)
{
    static const char *const units[] = {"", "K", "M", "G", "T"};
    size_t unit = 0;

    for (; n >= 1024 && n % 1024 == 0 && unit + 1 < ARRAY_LEN(units); n /= 1024)
        unit++;
    snprintf(out, max, "%ld%s", n, units[unit]);
    return out;
}

static err_t bad_number(const struct option *o, const char *origin, const char *text)
{
    char min[24], max[24];

    if (o->kind == BYTES)
        return fail(BAD_ARGUMENT, "%s: '%s' is not a size from %s to %s, such as 64M or 8G", origin,
                    text, size_text(o->min, min, sizeof min), size_text(o->max, max, sizeof max));
    return fail(BAD_ARGUMENT, "%s: '%s' is not a number from %ld to %ld", origin, text, o->min,
                o->max);
}

static err_t set_number(const struct option *o, const char *origin, const char *text, void *field)
{
    struct slice digits = slice_text(text);
    int64_t value, unit = 1;
    const char *units = "KMGT", *at;

    if (o->kind == BYTES && digits.len && (at = strchr(units, digits.data[digits.len - 1]))) {
        for (const char *u = units; u <= at; u++)
            unit *= 1024;
        digits.len--;
    }
    if (text_i64(digits, &value) != OK || __builtin_mul_overflow(value, unit, &value) ||
        value < o->min || value > o->max)
        return bad_number(o, origin, text);
    *(int64_t *)field = value;
    return OK;
}

static err_t set_key(const struct option *o, const char *origin, const char *text, void *field)
{
    struct config_key *key = field;
    AUTO(buf) bytes = {0};

    *key = (struct config_key){0};
    if (!text[0]) return OK;
    if (text_unhex(slice_text(text), &bytes) != OK || bytes.len != CRYPTO_KEY)
        return fail(BAD_ARGUMENT, "%s: a key is 64 hex digits", origin);
    memcpy(key->key.bytes, bytes.data, CRYPTO_KEY);
    key->set = true;
    return OK;
}

static err_t set_list(const struct option *o, const char *origin, const char *text, void *field)
{
    struct config_list *list = field;

    *list = (struct config_list){.text = xstrdup(text)};
    for (char *save = NULL, *item = strtok_r(list->text, ", ", &save); item;
         item = strtok_r(NULL, ", ", &save)) {
        if (list->count == CONFIG_LIST_MAX)
            return fail(BAD_ARGUMENT, "%s: more than %d items", origin, CONFIG_LIST_MAX);
        list->items[list->count++] = item;
    }
    return OK;
}

/* The index of `text` among `words`; the words are the row's meaning. */
static err_t pick_word(const struct option *o, const char *origin, const char *text,
                       const char *const *words, size_t n, int *out)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(text, words[i]) == 0) {
            *out = (int)i;
            return OK;
        }
    return fail(BAD_ARGUMENT, "%s: '%s' is not one of: %s", origin, text, o->meaning);
}

static err_t set_level(const struct option *o, const char *origin, const char *text, void *field)
{
    static const char *const words[] = {
        [LOG_ERROR] = "error", [LOG_WARN] = "warn", [LOG_INFO] = "info", [LOG_DEBUG] = "debug"};

    return pick_word(o, origin, text, words, ARRAY_LEN(words), field);
}

static err_t set_switch(const struct option *o, const char *origin, const char *text, void *field)
{
    static const char *const flags[] = {"false", "true"}, *const formats[] = {"text", "json"};
    int picked;

    TRY(pick_word(o, origin, text, o->kind == FLAG ? flags : formats, 2, &picked));
    *(bool *)field = picked == 1;
    return OK;
}

static err_t (*const setters[])(const struct option *o, const char *origin, const char *text,
                                void *field) = {
    [TEXT] = set_text, [INT] = set_number,  [BYTES] = set_number, [KEY] = set_key,
    [LIST] = set_list, [FLAG] = set_switch, [LEVEL] = set_level,  [FORMAT] = set_switch,
};

static err_t check_url(const char *name, const char *url)
{
    if (strncmp(url, "ws://", 5) == 0 && url[5]) return OK;
    if (strncmp(url, "wss://", 6) == 0 && url[6]) return OK;
    return fail(BAD_ARGUMENT, "--%s: '%s' does not start with ws:// or wss://", name, url);
}

/* A name that can never match is a typing error, not a setting. */
static err_t check_hosts(const struct config_list *hosts)
{
    for (size_t i = 0; i < hosts->count; i++)
        if (strpbrk(hosts->items[i], "/?#@*"))
            return fail(BAD_ARGUMENT,
                        "--host: '%s' is not a name such as parley.example.org (no scheme, no "
                        "path, no *)",
                        hosts->items[i]);
    return OK;
}

/* As browsers send it: a scheme and a name, nothing behind; "null" is that of a file's page. */
static err_t check_origins(const struct config_list *origins)
{
    for (size_t i = 0; i < origins->count; i++) {
        const char *origin = origins->items[i], *name = strstr(origin, "://");

        if (strcmp(origin, "null") == 0) continue;
        if (!name || name == origin || !name[3] || strpbrk(name + 3, "/?#@*"))
            return fail(BAD_ARGUMENT,
                        "--origin: '%s' is not of the form https://app.example.org (nothing "
                        "behind the name)",
                        origin);
    }
    return OK;
}

/* HOST:PORT; whether we may listen there is seen when we do. */
static err_t check_address(const char *name, const char *address)
{
    const char *colon = strrchr(address, ':');
    uint64_t port;

    if (colon && colon != address && text_u64(slice_text(colon + 1), &port) == OK &&
        port <= UINT16_MAX)
        return OK;
    return fail(BAD_ARGUMENT, "--%s: '%s' is not an address and a port such as 127.0.0.1:8790",
                name, address);
}

/* Links are made of it and its name is a Host, so there is a name and nothing behind it. */
static err_t check_public_url(const char *url)
{
    const char *name = strncmp(url, "https://", 8) == 0  ? url + 8
                       : strncmp(url, "http://", 7) == 0 ? url + 7
                                                         : "";

    size_t n = strcspn(name, "/?#@ ");

    if (!url[0] || (n && !name[n + (name[n] == '/')])) return OK;
    return fail(BAD_ARGUMENT, "--public-url: '%s' is not of the form https://parley.example.org",
                url);
}

static err_t set_all(struct config *out, const struct chosen *c)
{
    uint32_t version[3];

    for (size_t row = 0; row < ROW_COUNT; row++) {
        const struct option *o = &options[row];
        const char *text = c->text[row] ? c->text[row] : o->fallback;
        const char *origin = c->text[row] ? c->origin[row] : o->name;

        TRY(setters[o->kind](o, origin, text, (char *)out + o->offset));
    }
    TRY(check_address("listen", out->listen));
    if (out->sandbox_control[0]) TRY(check_address("sandbox-control", out->sandbox_control));
    TRY(check_public_url(out->public_url));
    TRY(check_hosts(&out->hosts));
    TRY(check_origins(&out->origins));
    TRY(check_url("wa-url", out->wa_url));
    TRY(check_url("sandbox-url", out->sandbox_url));
    if (!out->wa_root_key.set) return fail(BAD_ARGUMENT, "--wa-root-key: a key is needed");
    return config_version(out->wa_version, version);
}

err_t config_load(struct config *out, int argc, char *const *argv, char *const *env)
{
    struct chosen c = {.action = CONFIG_RUN};
    struct config config = {0};

    err_t e = read_arguments(&c, argc, argv);
    if (e == OK && c.action == CONFIG_RUN) {
        read_environment(&c, env);
        e = read_config_file(&c);
    }
    if (e == OK) e = set_all(&config, &c);
    config.action = c.action;
    chosen_done(&c);
    if (e == OK)
        *out = config;
    else
        config_done(&config);
    return e;
}

void config_done(struct config *c)
{
    for (size_t row = 0; row < ROW_COUNT; row++) {
        void *field = (char *)c + options[row].offset;

        if (options[row].kind == TEXT) free(*(char **)field);
        if (options[row].kind == LIST) free(((struct config_list *)field)->text);
    }
    *c = (struct config){0};
}

err_t config_version(const char *text, uint32_t out[3])
{
    struct slice rest = slice_text(text), part;
    uint32_t version[3] = {0};
    size_t n = 0;

    bool ok = true;
    while (ok && slice_split(&rest, '.', &part)) {
        uint64_t number;
        ok = n < ARRAY_LEN(version) && text_u64(part, &number) == OK && number <= UINT32_MAX;
        if (ok) version[n++] = (uint32_t)number;
    }
    if (!ok || n != ARRAY_LEN(version))
        return fail(BAD_ARGUMENT, "--wa-version: '%s' is not three numbers such as 2.3000.1", text);
    memcpy(out, version, sizeof version);
    return OK;
}

/* ---- what people read ---- */

static const char *unit_of(const struct option *o)
{
    return o->kind == BYTES ? " (bytes, or with K, M, G, T)" : "";
}

void config_help(struct buf *out)
{
    buf_put_text(out, "parleyd, a session server for WhatsApp\n\nUsage: parleyd [OPTION…]\n\n");
    for (size_t i = 0; i < ROW_COUNT; i++) {
        const struct option *o = &options[i];

        buf_printf(out, "  --%s %s\n      %s%s", o->name, o->kind == FLAG ? "" : o->arg, o->meaning,
                   unit_of(o));
        if (o->fallback[0]) buf_printf(out, " [%s]", o->fallback);
        buf_put_u8(out, '\n');
    }
    buf_put_text(out, "  --example-config\n      print a config file with every option\n"
                      "  --version\n      print the version\n\n"
                      "Every option may also stand in the config file as 'name = value' and in "
                      "the\nenvironment as PARLEY_NAME (PARLEY_MAP_SIZE). The command line wins "
                      "over the\nenvironment, the environment over the file.\n");
}

void config_example(struct buf *out)
{
    buf_put_text(out, "# Options of parleyd with their defaults. Copy to parley.conf in the data "
                      "folder, or name\n# the copy with --config. Generated from "
                      "server/config.def; do not edit.\n");
    for (size_t i = 0; i < ROW_COUNT; i++) {
        const struct option *o = &options[i];

        if (i == ROW_config) continue;
        buf_printf(out, "\n# %s%s\n# %s = %s\n", o->meaning, unit_of(o), o->name, o->fallback);
    }
}
