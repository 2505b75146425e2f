/* Errors: one table, one type, three macros.
 *
 * A function that can fail returns err_t: OK or the code of a row of errors.def. fail() notes
 * file, line and words in a trail of this thread; TRY adds its own line while the error travels
 * up. The trail is worded and logged once, at the edge, by err_trail(). Any thread. */
#pragma once
#include <stdarg.h>
#include <stddef.h>

#define MUST_CHECK __attribute__((warn_unused_result))

/* Who can act on it. The edge maps classes, not codes. */
enum err_class {
    ERR_CLASS_NONE,
    ERR_CLASS_CALLER,  /* the caller must change the request */
    ERR_CLASS_AUTH,    /* no key, or a wrong one */
    ERR_CLASS_DENIED,  /* the key may not do this */
    ERR_CLASS_MISSING, /* what is named does not exist */
    ERR_CLASS_STATE,   /* the account must be paired first */
    ERR_CLASS_LIMITED, /* the caller is too fast */
    ERR_CLASS_LATER,   /* works again by itself */
    ERR_CLASS_PEER,    /* WhatsApp or a peer sent something wrong */
    ERR_CLASS_BROKEN,  /* our own state is damaged */
};

typedef enum err {
    OK = 0,
#define ERR(name, class, text) ERR_##name,
#include "proto/base/errors.def"
#undef ERR
    ERR_COUNT
} err_t;

/* "TRUNCATED"; never NULL. */
const char *err_name(err_t e);
/* The sentence of the row, for a caller. */
const char *err_text(err_t e);
enum err_class err_class(err_t e);

/* Starts a trail with this place and these words, gives back `e`. Use through fail(). */
err_t err_fail(err_t e, const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* Adds a place to the trail, gives back `e`. Use through TRY(). */
err_t err_pass(err_t e, const char *file, int line);
/* "TRUNCATED at node_decode.c:41: attr 2 of 3 < client.c:88"; valid until the next fail(). */
const char *err_trail(void);
/* The words given to the last fail() alone, "" if none; for texts that a caller reads. */
const char *err_words(void);
void err_clear(void);

/* The code is spelt out as the value, so that compilers and analysers see that it is not OK. */
#define fail(code, ...)                                                                            \
    ({                                                                                             \
        err_fail(ERR_##code, __FILE__, __LINE__, __VA_ARGS__);                                     \
        ERR_##code;                                                                                \
    })
#define TRY(call)                                                                                  \
    do {                                                                                           \
        err_t try_error_ = (call);                                                                 \
        if (__builtin_expect(try_error_ != OK, 0)) {                                               \
            err_pass(try_error_, __FILE__, __LINE__);                                              \
            return try_error_;                                                                     \
        }                                                                                          \
    } while (0)
#define ENSURE(condition, code)                                                                    \
    do {                                                                                           \
        if (__builtin_expect(!(condition), 0)) return fail(code, "%s", #condition);                \
    } while (0)
