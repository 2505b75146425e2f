/* The options of parleyd, read once at start into one struct that is passed down as const.
 *
 * Order of precedence: command line, environment (PARLEY_DATA), config file, default. Every name
 * comes from config.def. Main thread. */
#pragma once
#include "proto/base/buf.h"
#include "proto/base/err.h"
#include "proto/crypto/crypto.h"

enum { CONFIG_FILE_MAX = 256 * 1024, CONFIG_LIST_MAX = 64 };

struct config_key {
    bool set;
    struct crypto_key key;
};
struct config_list {
    const char *items[CONFIG_LIST_MAX + 1]; /* ends with NULL */
    size_t count;
    char *text; /* what the items point into */
};

#define CONFIG_TYPE_TEXT const char *
#define CONFIG_TYPE_INT int64_t
#define CONFIG_TYPE_BYTES int64_t
#define CONFIG_TYPE_KEY struct config_key
#define CONFIG_TYPE_LIST struct config_list
#define CONFIG_TYPE_FLAG bool
#define CONFIG_TYPE_LEVEL int /* enum log_level */
#define CONFIG_TYPE_FORMAT bool

enum config_action { CONFIG_RUN, CONFIG_HELP, CONFIG_VERSION, CONFIG_EXAMPLE };

struct config {
    enum config_action action;
#define OPT(kind, field, name, arg, def, min, max, meaning) CONFIG_TYPE_##kind field;
#include "server/config.def"
#undef OPT
};

/* BAD_ARGUMENT with words for the user ("--workers: 300 is above 256"). `env` is NULL-terminated
 * like environ. On success config_done() frees what it holds. */
err_t config_load(struct config *out, int argc, char *const *argv, char *const *env) MUST_CHECK;
void config_done(struct config *c);
/* What --help prints. */
void config_help(struct buf *out);
/* deploy/example.conf: every option with its meaning and default, commented out. */
void config_example(struct buf *out);
/* "2.3000.1045649367" into three numbers; BAD_ARGUMENT otherwise. */
err_t config_version(const char *text, uint32_t out[3]) MUST_CHECK;
