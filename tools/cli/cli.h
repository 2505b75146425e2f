/* parleyctl: the command line of a running parleyd. One thread, one command, one exit code:
 * 0 done, 1 refused, failed or no server, 2 the command line is wrong. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "proto/base/buf.h"
#include "proto/base/err.h"

enum { CLI_DONE = 0, CLI_FAILED = 1, CLI_USAGE = 2 };

/* What the global options say. */
struct cli {
    const char *url;     /* "http://127.0.0.1:8790" */
    const char *data;    /* the server's data folder: operator socket, first keys */
    const char *key;     /* NULL: the operator's socket, else the first key of the data folder */
    const char *sandbox; /* control API of the sandbox */
    bool json;           /* print answers as they come */
    bool wants_test;     /* a command of the sandbox: the test key of first-keys is the default */
};

struct cli_command {
    const char *name, *usage, *meaning;
    int (*run)(struct cli *c, int argc, char **argv); /* argv[0] is the first argument */
};
extern const struct cli_command cli_commands[]; /* ends with a row without a name */

/* Prints "parleyctl: …" and gives back CLI_USAGE. */
int cli_usage(const char *format, ...) __attribute__((format(printf, 1, 2)));
int cli_failed(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Whether it is an option of every command, which stands before the command. */
bool cli_is_global(const char *word);
/* What a word that nothing takes may have been meant for: "" or "; …". */
const char *cli_hint(const char *word);

/* A word that is left when a command has taken what it knows; CLI_USAGE. */
int cli_not_taken(const char *command, int argc, char **argv);
/* Whether a file of a folder is kept from us: then it is told whose it is. */
bool cli_may_not_read(const char *folder, const char *file);

/* ---- check.c ---- */

int cli_check(struct cli *c, int argc, char **argv);

/* ---- door.c: HTTP ---- */

struct answer {
    long status;
    struct buf body;
};
void answer_done(struct answer *a);

/* One request to parleyd: by key over TCP, or without one over the operator's socket. `body` NULL
 * sends none. False when nobody answered (told on stderr). */
bool door_ask(const struct cli *c, const char *method, const char *path, const char *body,
              struct answer *out);
/* The same to the sandbox's control API. */
bool door_ask_sandbox(const struct cli *c, const char *method, const char *path, const char *body,
                      struct answer *out);
/* A stream of server-sent events: `on_event` gets each data with its id ("" if none); false ends
 * it. Reconnects with Last-Event-ID until it is ended. */
int door_follow(const struct cli *c, const char *path, const char *after,
                bool (*on_event)(void *context, const char *id, const char *event,
                                 struct slice data),
                void *context);
/* The key of DATA/first-keys for the world that `c` wants; false when there is none. */
bool door_first_key(const struct cli *c, char *out, size_t n);
/* Percent-encodes into `out`. */
void door_escape(struct buf *out, const char *text);
/* Prints the problem of an answer that is no success, and which command does what its words name by
 * the tool; CLI_FAILED. */
int door_problem(const struct answer *a);

/* ---- tool.c: every tool of the table as a command ---- */

/* CLI_USAGE - 10 when no tool has this name. */
enum { CLI_NO_SUCH_TOOL = -8 };
int tool_command(struct cli *c, const char *name, int argc, char **argv);
/* "a,b" as a list of texts. */
struct pen;
void tool_put_list(struct pen *p, const char *name, const char *value);
/* One line per tool, for --help. */
void tool_list(void);
/* Calls a tool with a JSON object; false when it failed (told). The answer's body is the result. */
bool tool_ask(struct cli *c, const char *name, const char *args, struct answer *out);
