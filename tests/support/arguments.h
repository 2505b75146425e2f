/* Numbers of a command line. What is no number, or is out of its bounds, ends the program with 2
 * and its usage: read as 0 it would judge nothing and pass. */
#pragma once
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

static inline _Noreturn void argument_refuse(const char *usage, const char *name, const char *wants,
                                             const char *text)
{
    fprintf(stderr, "%s wants %s, not '%s'\nusage: %s\n", name, wants, text ? text : "nothing",
            usage);
    exit(2);
}

/* `text` NULL: there is none behind `name`. */
static inline uint64_t argument_number(const char *usage, const char *name, const char *text,
                                       uint64_t least, uint64_t most)
{
    char wants[80], *end = NULL;

    errno = 0;
    uint64_t n = text && *text >= '0' && *text <= '9' ? strtoull(text, &end, 10) : 0;
    if (end && !*end && !errno && n >= least && n <= most) return n;
    snprintf(wants, sizeof wants, "a number from %llu to %llu", (unsigned long long)least,
             (unsigned long long)most);
    argument_refuse(usage, name, wants, text);
}

static inline void argument_end(const char *usage, int argc, char **argv, int most)
{
    if (argc > most + 1) argument_refuse(usage, "the command line", "an end", argv[most + 1]);
}
