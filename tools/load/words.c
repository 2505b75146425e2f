/* Texts for searching: the k-th most frequent word comes up about 1/k as often as the first. */
#include <math.h>

#include "tools/load/load.h"

enum { VOCABULARY = 50000, WORDS = 10 };

static uint64_t mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
    x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
    return x ^ (x >> 31);
}

void words_word(size_t rank, struct buf *out)
{
    static const char *const syllables[] = {"ba", "ke", "lo", "mi", "nu", "ra", "si", "to",
                                            "vu", "ze", "fa", "de", "go", "hi", "pu", "we"};

    for (size_t left = rank + 16; left; left /= 16)
        buf_put_text(out, syllables[left % 16]);
}

void words_message(size_t n, struct buf *out)
{
    buf_printf(out, "fill %zu", n);
    for (size_t i = 0; i < WORDS; i++) {
        double u = (double)(mix(n * WORDS + i) >> 11) / (double)(1ULL << 53);
        buf_put_text(out, " ");
        words_word((size_t)exp(u * log(VOCABULARY)) - 1, out);
    }
}
