/* A fresh store in a temporary folder, with a writer on the test's own thread. */
#pragma once
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "storage/store.h"
#include "storage/view.h"
#include "storage/writer.h"

#define CHECK_OK(call)                                                                             \
    do {                                                                                           \
        err_t check_error_ = (call);                                                               \
        cr_assert_eq(check_error_, OK, "%s: %s", #call, err_trail());                              \
    } while (0)

struct fixture {
    char path[256];
    struct store *store;
    struct writer *writer;
    struct view *view;
    void (*on_events)(void *context, struct log_events *events);
    void (*on_fatal)(void *context, err_t error);
    void *context;
    bool without_sync; /* for many commits; set before fixture_init() */
};

#define FIXTURE_MAP ((size_t)1 << 30)

static inline void fixture_open(struct fixture *f)
{
    CHECK_OK(store_open(&(struct store_options){.path = f->path,
                                                .map_size = FIXTURE_MAP,
                                                .without_sync = f->without_sync},
                        &f->store));
    f->writer = writer_new(&(struct writer_options){.store = f->store,
                                                    .on_events = f->on_events,
                                                    .on_fatal = f->on_fatal,
                                                    .context = f->context});
    CHECK_OK(view_new(f->store, &f->view));
}

static inline void fixture_close(struct fixture *f)
{
    view_free(f->view);
    writer_free(f->writer);
    store_close(f->store);
}

static inline void fixture_init(struct fixture *f)
{
    snprintf(f->path, sizeof(f->path), "%s/parley-test-XXXXXX", P_tmpdir);
    cr_assert(mkdtemp(f->path));
    fixture_open(f);
}

/* Flips a bit wherever the data file holds the text: copies may lie in unused parts of pages. */
static inline void fixture_flip(const struct fixture *f, const char *text)
{
    char path[512];
    struct stat st;

    snprintf(path, sizeof(path), "%s/data.mdb", f->path);
    int fd = open(path, O_RDWR);
    cr_assert(fd >= 0 && fstat(fd, &st) == 0);
    uint8_t *file = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    uint8_t *end_of_file = file + st.st_size;
    for (uint8_t *at = file; at; at = memmem(at, (size_t)(end_of_file - at), text, strlen(text)))
        if (at != file) at[2] ^= 0x10;
    munmap(file, (size_t)st.st_size);
    close(fd);
}

static inline void fixture_remove(const char *path)
{
    static const char *const files[] = {"data.mdb", "lock.mdb", "parley.lock"};
    char name[512];
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        snprintf(name, sizeof(name), "%s/%s", path, files[i]);
        unlink(name);
    }
    rmdir(path);
}

static inline void fixture_done(struct fixture *f)
{
    fixture_close(f);
    fixture_remove(f->path);
}

/* Commits the batch and empties it for the next use. */
static inline void fixture_commit(struct fixture *f, struct batch *b)
{
    CHECK_OK(writer_commit(f->writer, b));
    batch_reset(b);
}
