/* Bit flips in the data file: what flips.c (which bit, which verdict) and flips_server.c (the
 * server that runs on the file) tell each other. One process each flip; the report lies in memory
 * that both see. */
#pragma once
#include <stdbool.h>

#include "proto/base/slice.h"

/* What the server did on a flipped file. */
struct flip_report {
    bool opened;                /* the server started */
    bool ended;                 /* and came to the end of what it was asked */
    bool checked, clean;        /* parleyctl check came to its end, and found nothing */
    bool mended;                /* opening put the bit right, and said so */
    unsigned stale;             /* rows that are there with other bytes, and count as good */
    unsigned hidden;            /* rows that are not found, without an error */
    unsigned refused;           /* rows that are refused as damaged */
    unsigned failed, different; /* answers that were an error; that were not what they had been */
    unsigned stopped, works;    /* accounts, a bit each: stopped; wrote and read as ever */
    unsigned unread;            /* accounts with a chat that is refused as damaged */
    unsigned lost;              /* acknowledged, and nowhere */
    unsigned broken_rules;      /* of the sandbox */
    char words[200];            /* the first error that was logged */
};
enum { FLIP_ACCOUNTS = 3 };

/* Lives for some minutes of fake time: accounts, phones, chats, a group, keys, sessions, claims.
 * Then the server dies with things under way. `out` is its data file; ends the process when
 * anything is not as it should be. */
void flips_record(uint64_t seed, struct slice *out);
/* Removes what the life left on the disk. */
void flips_forget(void);
/* In a child: what the file in `folder` is to the server, its callers and its phones. */
void flips_serve(const char *folder, struct flip_report *out);
/* In a child: what parleyctl check says. */
void flips_check(const char *folder, struct flip_report *out);
