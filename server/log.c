#include "server/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "proto/base/text.h"

static enum log_level highest = LOG_INFO;
static bool as_json;

static const char *const names[] = {"error", "warn", "info", "debug"};

void log_start(enum log_level level, bool json)
{
    highest = level;
    as_json = json;
}

bool log_on(enum log_level level) { return level <= highest; }

static void put_json_text(struct buf *out, const char *text)
{
    buf_put_u8(out, '"');
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\') {
            buf_put_u8(out, '\\');
            buf_put_u8(out, c);
        } else if (c < 0x20) {
            buf_printf(out, "\\u%04x", c);
        } else {
            buf_put_u8(out, c);
        }
    }
    buf_put_u8(out, '"');
}

/* A line is one write: control bytes from outside must not start a second one. */
static void put_plain_text(struct buf *out, const char *text)
{
    for (; *text; text++)
        buf_put_u8(out, (unsigned char)*text < 0x20 ? ' ' : (uint8_t)*text);
}

void log_write(enum log_level level, const char *subject, const char *format, ...)
{
    char words[2048], time[TEXT_TIME_MAX];
    struct timespec now;
    va_list args;
    AUTO(buf) line = {0};

    va_start(args, format);
    vsnprintf(words, sizeof(words), format, args);
    va_end(args);
    clock_gettime(CLOCK_REALTIME, &now);
    text_time(now.tv_sec * 1000 + now.tv_nsec / 1000000, time);

    if (as_json) {
        buf_printf(&line, "{\"time\":\"%s\",\"level\":\"%s\",\"message\":", time, names[level]);
        put_json_text(&line, words);
        if (subject) {
            buf_put_text(&line, ",\"subject\":");
            put_json_text(&line, subject);
        }
        buf_put_text(&line, "}\n");
    } else {
        buf_printf(&line, "%s %-5s ", time, names[level]);
        if (subject) buf_printf(&line, "%s ", subject);
        put_plain_text(&line, words);
        buf_put_u8(&line, '\n');
    }
    if (write(STDERR_FILENO, line.data, line.len) < 0) return;
}
