/* Structured logs on stderr: one line, one sentence, then key=value. Any thread.
 *   2026-11-20T09:52:30.123Z warn account=acc_… send failed: NEEDS_TOKEN at …
 * Never a message body, a key, a token or a phone's secret. */
#pragma once
#include <stdbool.h>

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

void log_start(enum log_level level, bool json);
bool log_on(enum log_level level);
/* `subject` is "account=acc_…" or another key=value, NULL for the process. */
void log_write(enum log_level level, const char *subject, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
#define LOG(level, subject, ...)                                                                   \
    do {                                                                                           \
        if (log_on(LOG_##level)) log_write(LOG_##level, subject, __VA_ARGS__);                     \
    } while (0)
