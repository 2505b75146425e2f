/* The error table and the trail of the thread. */
#include "proto/base/err.h"

#include <stdio.h>
#include <string.h>

struct err_row {
    const char *name, *text;
    enum err_class class;
};

static const struct err_row rows[] = {
    [OK] = {"OK", "no error", ERR_CLASS_NONE},
#define ERR(name, class, text) [ERR_##name] = {#name, text, ERR_CLASS_##class},
#include "proto/base/errors.def"
#undef ERR
};

static _Thread_local char trail[1024];
static _Thread_local char words[512];
static _Thread_local size_t trail_len;

static const struct err_row *row_of(err_t e)
{
    return e < ERR_COUNT ? &rows[e] : &rows[ERR_INTERNAL];
}

static const char *file_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static void trail_add(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void trail_add(const char *format, ...)
{
    va_list args;
    if (trail_len >= sizeof(trail)) return;
    va_start(args, format);
    int n = vsnprintf(trail + trail_len, sizeof(trail) - trail_len, format, args);
    va_end(args);
    if (n > 0) trail_len += (size_t)n;
}

const char *err_name(err_t e) { return row_of(e)->name; }
const char *err_text(err_t e) { return row_of(e)->text; }
enum err_class err_class(err_t e) { return row_of(e)->class; }

err_t err_fail(err_t e, const char *file, int line, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(words, sizeof(words), format, args);
    va_end(args);

    trail_len = 0;
    trail_add("%s at %s:%d: %s", err_name(e), file_name(file), line, words);
    return e;
}

err_t err_pass(err_t e, const char *file, int line)
{
    trail_add(" < %s:%d", file_name(file), line);
    return e;
}

const char *err_trail(void) { return trail; }
const char *err_words(void) { return words; }

void err_clear(void)
{
    trail_len = 0;
    trail[0] = words[0] = '\0';
}
