/* LMDB's pages as they lie in the data file, each looked at by itself: what is below the rows.
 *
 * LMDB 0.9 keeps no checksums of its own. A flipped bit in a page may hide rows, show an older copy
 * of them, or hand a page that is in use to the next writer, and none of that is an error to it.
 * Here every tree is walked from its root: each page carries its own number, kind and bounds, its
 * keys stand between those that lead to it, the counts agree, and each page of the file is in
 * exactly one tree or in the list of free ones. Pure functions over bytes; any thread. */
#pragma once
#include "proto/base/err.h"
#include "proto/base/slice.h"

/* Parts of the file that something stands in. What is never told is unused. */
enum page_part { PAGE_RECORD /* key or value of a row */, PAGE_STRUCTURE };

struct pages {
    struct slice file; /* the data file */
    /* Values are not looked at: of the pages that hold rows only where they belong, that the rows
     * lie inside, and that their keys are in order. For the start of a server. */
    bool heads_only;
    /* heads_only: a leaf that one bit makes sound again is no finding, but told here: the byte of
     * the file as it should be. Not behind a finding, and of a few leaves only: where there are
     * more, nothing is put right. NULL: it is a finding. */
    void (*mended)(void *context, const char *tree, size_t at, uint8_t byte);
    void (*tell)(void *context, const char *line);
    /* NULL: not told. `tree` is the sub-database. */
    void (*part)(void *context, enum page_part part, const char *tree, size_t at, size_t len);
    void *context;
    size_t findings;
};

/* The two pages that a database begins with: `txn` is the commit they lead to. STORE_DAMAGED when
 * they do not follow each other as two commits do: then LMDB may open one that is not the newest.
 * STORE_VERSION when another LMDB wrote it. */
err_t pages_newest(struct slice file, uint64_t *out_txn) MUST_CHECK;
/* Walks what the commit `txn` left. NOT_FOUND when its meta page was written over meanwhile. */
err_t pages_walk(struct pages *p, uint64_t txn) MUST_CHECK;

/* The file `path`, as far as heads_only looks, and whether both meta pages bear the number of their
 * commit; nothing runs on it. A bit flipped in a key, or in
 * what leads to a row, is flipped back in the file, and told (page.h). STORE_DAMAGED says what else
 * was found; then nothing was changed. A file that is missing or empty is sound. */
err_t pages_open_check(const char *path, void (*tell)(void *context, const char *line),
                       void *context) MUST_CHECK;
/* True unless the row lies in the unused part of its page, where older rows leave their bytes: a
 * damaged pointer of the page may lead there, and what it finds has a sound checksum. `value` is
 * where LMDB gave it out in a page of `page_size`; a long value says nothing. */
bool pages_is_in_use(const void *value, size_t key_len, size_t page_size);

/* Maps a file; pages_unmap() gives it back. SLICE_NONE when it is missing or empty. */
err_t pages_map(const char *path, struct slice *out) MUST_CHECK;
void pages_unmap(struct slice file);
