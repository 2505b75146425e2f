/* The codec's dictionary: short texts that travel as one or two bytes (tokens.def).
 * Pure functions over constant data, any thread. */
#pragma once
#include "proto/base/slice.h"

enum {
    WA_TOKEN_SINGLES = 236,    /* one byte: 1..235 */
    WA_TOKEN_DICTIONARIES = 4, /* two bytes: 236..239, then an index */
    WA_TOKEN_DICTIONARY = 256,
    WA_TOKEN_FIRST_DICTIONARY = 236,
};

/* The text of one byte, SLICE_NONE for 0 and for what is no token. */
struct slice wa_token_single(uint8_t index);
/* The text of two bytes; SLICE_NONE when there is no such dictionary. */
struct slice wa_token_double(uint8_t dictionary, uint8_t index);
/* Writes the token of exactly this text and gives back its length: 1, 2, or 0 for none. */
size_t wa_token_find(struct slice text, uint8_t out[2]);
