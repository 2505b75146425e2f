/* Who may know whom: the folders of the house, and what the #include lines of each may name. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* `may`: every other folder, with spaces around. A door is http, mcp or rest: account and api know
 * none, and nobody knows mcp and rest. */
static const struct {
    const char *folder, *may;
} arrows[] = {
    {"proto/base", " "},
    {"proto/crypto", " proto/base "},
    {"proto/schema", " proto/base "},
    {"proto/wire", " proto/base proto/crypto proto/schema "},
    {"proto/signal", " proto/base proto/crypto proto/schema proto/wire "},
    {"proto/client", " proto/base proto/crypto proto/schema proto/wire proto/signal "},
    {"storage", " proto/base "},
    {"server/net", " proto server "},
    {"server/account", " proto storage server server/net server/events server/api "},
    {"server/events", " proto storage server server/api server/http server/tenant "},
    {"server/api", " proto storage server server/account server/events server/tenant "},
    {"server/http", " proto storage server server/api "},
    {"server/tenant", " proto storage server server/events server/http "},
    {"server/rest", " proto storage server server/api server/events server/http server/tenant "},
    {"server/mcp",
     " proto storage server server/account server/api server/events server/http server/tenant "},
};

#define ROOT TESTS_DIR "/../"

static bool names(const char *may, const char *folder, size_t len)
{
    char word[80];

    snprintf(word, sizeof(word), " %.*s ", (int)len, folder);
    return strstr(may, word);
}

/* "server" and "storage" alone mean that folder; "proto" means all of its own. */
static bool is_allowed(const char *folder, const char *may, const char *path)
{
    size_t len = (size_t)(strrchr(path, '/') - path);

    if (len == strlen(folder) && strncmp(path, folder, len) == 0) return true;
    if (names(may, path, len)) return true;
    return strncmp(path, "proto/", 6) == 0 && names(may, "proto", 5);
}

/* How many lines of the file lead where they may not; *lines: how many lead anywhere. */
static unsigned check_file(const char *folder, const char *may, const char *name, unsigned *lines)
{
    char path[512], line[512], to[200];
    unsigned wrong = 0;

    snprintf(path, sizeof(path), ROOT "%s/%s", folder, name);
    FILE *f = fopen(path, "r");
    cr_assert(f, "%s", path);
    while (fgets(line, sizeof(line), f)) {
        if (sscanf(line, " # include \"%199[^\"]\"", to) != 1) continue;
        ++*lines;
        if (!strchr(to, '/') || is_allowed(folder, may, to)) continue;
        fprintf(stderr, "%s/%s must not include %s\n", folder, name, to);
        wrong++;
    }
    fclose(f);
    return wrong;
}

static bool is_source(const char *name)
{
    const char *dot = strrchr(name, '.');

    return dot && (strcmp(dot, ".c") == 0 || strcmp(dot, ".h") == 0);
}

Test(includes, lead_where_they_may)
{
    unsigned wrong = 0, lines = 0;

    for (size_t i = 0; i < sizeof(arrows) / sizeof(arrows[0]); i++) {
        char path[512];
        unsigned before = lines;
        snprintf(path, sizeof(path), ROOT "%s", arrows[i].folder);
        DIR *d = opendir(path);
        cr_assert(d, "%s", path);
        for (struct dirent *e; (e = readdir(d));)
            if (is_source(e->d_name))
                wrong += check_file(arrows[i].folder, arrows[i].may, e->d_name, &lines);
        closedir(d);
        cr_assert_gt(lines, before, "%s", path);
    }
    cr_assert_eq(wrong, 0u);
}

/* A folder without a row would be free to know everybody. */
static void expect_rows(const char *top)
{
    char path[512];

    snprintf(path, sizeof(path), ROOT "%s", top);
    DIR *d = opendir(path);
    cr_assert(d, "%s", path);
    for (struct dirent *e; (e = readdir(d));) {
        bool known = e->d_type != DT_DIR || e->d_name[0] == '.';
        snprintf(path, sizeof(path), "%s/%s", top, e->d_name);
        for (size_t i = 0; !known && i < sizeof(arrows) / sizeof(arrows[0]); i++)
            known = strcmp(arrows[i].folder, path) == 0;
        cr_expect(known, "%s has no row", path);
    }
    closedir(d);
}

Test(includes, every_folder_has_its_row)
{
    expect_rows("proto");
    expect_rows("server");
}

Test(includes, a_wrong_arrow_is_seen)
{
    cr_assert(is_allowed("server/tenant", " server server/http ", "server/tenant/auth.h"));
    cr_assert(is_allowed("server/tenant", " server server/http ", "server/http/http.h"));
    cr_assert(is_allowed("server/tenant", " server server/http ", "server/log.h"));
    cr_assert(is_allowed("server/api", " proto server ", "proto/base/buf.h"));
    cr_assert_not(is_allowed("server/tenant", " server server/http ", "server/api/claims.h"));
    cr_assert_not(is_allowed("server/tenant", " proto server/http ", "server/log.h"));
    cr_assert_not(is_allowed("storage", " proto/base ", "proto/wire/node.h"));
    cr_assert_not(is_allowed("storage", " proto/base ", "server/log.h"));
}
