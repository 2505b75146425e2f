/* Terms: the words of a text as search compares them. Letters are folded (case, compatibility
 * forms, marks), so that "Café" and "CAFE" are one word; a run of letters and digits is a word; an
 * ideograph is a word of its own, because such scripts do not space theirs. Query and message go
 * through the same function. Pure, any thread. */
#pragma once
#include "proto/base/arena.h"
#include "storage/tail.h"

enum { TERMS_MAX = 1024 }; /* distinct ones of one text; further words are not searchable */

/* Distinct terms in order of appearance, each of 1 to TERM_MAX bytes; longer words are cut at a
 * character. Malformed UTF-8 separates words. Memory from `arena`. */
void terms_of(struct slice text, struct arena *arena, struct terms *out);
