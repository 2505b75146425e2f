/* Folding by utf8proc, one character at a time, into the word that is being built. */
#include "server/account/terms.h"

#include <utf8proc.h>

#include "proto/base/map.h"

struct builder {
    struct arena *arena;
    struct terms *out;
    struct slice *items;
    size_t cap;
    struct map seen;
    char word[TERM_MAX];
    size_t length;
    bool full; /* the rest of this word does not fit */
};

static void grow(struct builder *b)
{
    size_t cap = b->cap ? b->cap * 2 : 16;
    struct slice *items = arena_array(b->arena, struct slice, cap);

    if (b->cap) memcpy(items, b->items, b->cap * sizeof *items);
    b->items = items;
    b->cap = cap;
}

static void end_word(struct builder *b)
{
    struct slice word = slice_of(b->word, b->length);

    b->length = 0;
    b->full = false;
    if (!word.len || b->out->count == TERMS_MAX || map_find(&b->seen, word)) return;
    if (b->out->count == b->cap) grow(b);
    map_put(&b->seen, word, b);
    b->items[b->out->count++] = arena_dup(b->arena, word);
}

static void add_letter(struct builder *b, utf8proc_int32_t letter)
{
    utf8proc_uint8_t bytes[4];
    utf8proc_ssize_t n = utf8proc_encode_char(letter, bytes);

    if (b->full || b->length + (size_t)n > TERM_MAX) {
        b->full = true;
        return;
    }
    memcpy(b->word + b->length, bytes, (size_t)n);
    b->length += (size_t)n;
}

static bool is_letter(utf8proc_int32_t c)
{
    utf8proc_category_t category = utf8proc_category(c);

    return (category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO) ||
           (category >= UTF8PROC_CATEGORY_MN && category <= UTF8PROC_CATEGORY_NO);
}

/* Han, kana and their extensions: written without spaces. */
static bool stands_alone(utf8proc_int32_t c)
{
    return (c >= 0x3040 && c <= 0x30ff) || (c >= 0x3400 && c <= 0x4dbf) ||
           (c >= 0x4e00 && c <= 0x9fff) || (c >= 0xf900 && c <= 0xfaff) ||
           (c >= 0x20000 && c <= 0x3ffff);
}

static void add_character(struct builder *b, utf8proc_int32_t c)
{
    enum {
        FOLDED_MAX = 32,
        OPTIONS = UTF8PROC_COMPAT | UTF8PROC_CASEFOLD | UTF8PROC_STRIPMARK | UTF8PROC_DECOMPOSE |
                  UTF8PROC_IGNORE
    };
    utf8proc_int32_t folded[FOLDED_MAX];
    int boundary = 0;
    utf8proc_ssize_t n =
        utf8proc_decompose_char(c, folded, FOLDED_MAX, (utf8proc_option_t)OPTIONS, &boundary);

    for (utf8proc_ssize_t i = 0; i < n && i < FOLDED_MAX; i++) {
        bool alone = stands_alone(folded[i]);
        if (alone || !is_letter(folded[i])) end_word(b);
        if (is_letter(folded[i])) add_letter(b, folded[i]);
        if (alone) end_word(b);
    }
}

void terms_of(struct slice text, struct arena *arena, struct terms *out)
{
    struct builder b = {.arena = arena, .out = out};

    *out = (struct terms){0};
    for (size_t at = 0; at < text.len;) {
        utf8proc_int32_t c;
        utf8proc_ssize_t n =
            utf8proc_iterate(text.data + at, (utf8proc_ssize_t)(text.len - at), &c);
        if (n > 0)
            add_character(&b, c);
        else
            end_word(&b);
        at += n > 0 ? (size_t)n : 1;
    }
    end_word(&b);
    map_done(&b.seen);
    out->items = b.items;
}
