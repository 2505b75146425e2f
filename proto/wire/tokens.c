/* Texts by index are two arrays. Indexes by text are a hash table that is filled at the first use,
 * which keeps the dictionary in one place and costs 8 KB. */
#include "proto/wire/tokens.h"

#include <pthread.h>

#include "proto/base/xalloc.h"

#define TEXT(text)                                                                                 \
    {                                                                                              \
        (const uint8_t *)(text), sizeof(text) - 1                                                  \
    }

static const struct slice singles[WA_TOKEN_SINGLES] = {
#define SINGLE(index, text) [index] = TEXT(text),
#define DOUBLE(dictionary, index, text)
#include "proto/wire/tokens.def"
#undef SINGLE
#undef DOUBLE
};

static const struct slice doubles[WA_TOKEN_DICTIONARIES * WA_TOKEN_DICTIONARY] = {
#define SINGLE(index, text)
#define DOUBLE(dictionary, index, text) [(dictionary)*WA_TOKEN_DICTIONARY + (index)] = TEXT(text),
#include "proto/wire/tokens.def"
#undef SINGLE
#undef DOUBLE
};

enum { SLOTS = 4096, TEXT_MAX = 48 }; /* at most a third full; the longest token */

/* 0 is a free slot, else 1 + the position in singles, behind them in doubles. */
static uint16_t slots[SLOTS];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static struct slice text_at(size_t position)
{
    return position < WA_TOKEN_SINGLES ? singles[position] : doubles[position - WA_TOKEN_SINGLES];
}

/* FNV-1a; nobody outside can add to the table, so it need not be keyed. */
static size_t slot_of(struct slice text)
{
    uint32_t h = 2166136261u;
    for (size_t i = 0; i < text.len; i++)
        h = (h ^ text.data[i]) * 16777619u;
    return (h ^ h >> 16) % SLOTS;
}

static size_t find_slot(struct slice text)
{
    size_t at = slot_of(text);
    while (slots[at] && !slice_eq(text_at(slots[at] - 1u), text))
        at = (at + 1) % SLOTS;
    return at;
}

static void fill(void)
{
    for (size_t i = 1; i < WA_TOKEN_SINGLES + ARRAY_LEN(doubles); i++)
        slots[find_slot(text_at(i))] = (uint16_t)(i + 1);
}

struct slice wa_token_single(uint8_t index)
{
    return index && index < WA_TOKEN_SINGLES ? singles[index] : SLICE_NONE;
}

struct slice wa_token_double(uint8_t dictionary, uint8_t index)
{
    if (dictionary >= WA_TOKEN_DICTIONARIES) return SLICE_NONE;
    return doubles[dictionary * WA_TOKEN_DICTIONARY + index];
}

size_t wa_token_find(struct slice text, uint8_t out[2])
{
    if (text.len == 0 || text.len > TEXT_MAX) return 0;
    pthread_once(&once, fill);

    size_t position = slots[find_slot(text)];
    if (position-- == 0) return 0;
    if (position < WA_TOKEN_SINGLES) {
        out[0] = (uint8_t)position;
        return 1;
    }
    position -= WA_TOKEN_SINGLES;
    out[0] = (uint8_t)(WA_TOKEN_FIRST_DICTIONARY + position / WA_TOKEN_DICTIONARY);
    out[1] = (uint8_t)(position % WA_TOKEN_DICTIONARY);
    return 2;
}
