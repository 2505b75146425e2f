/* Two keys: the master key outside the database, the data key inside, sealed by it. */
#include "server/account/keyring.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/base/text.h"
#include "server/log.h"
#include "server/secret_file.h"
#include "storage/view.h"

static const char environment_name[] = "PARLEY_MASTER_KEY";
#define ROW SLICE("data-key")
#define AAD SLICE("parley data key")

static err_t parse_master(struct slice hex, const char *where, uint8_t out[CRYPTO_KEY])
{
    AUTO(buf) bytes = {0};

    while (hex.len && strchr(" \t\r\n", hex.data[hex.len - 1]))
        hex.len--;
    err_t e = text_unhex(hex, &bytes);
    if (e == OK && bytes.len == CRYPTO_KEY) memcpy(out, bytes.data, CRYPTO_KEY);
    bool good = e == OK && bytes.len == CRYPTO_KEY;
    if (bytes.data) crypto_wipe(bytes.data, bytes.len);
    return good ? OK : fail(BAD_ARGUMENT, "%s does not hold 64 hex digits", where);
}

static err_t read_master(const char *path, bool *out_missing, uint8_t out[CRYPTO_KEY])
{
    char hex[256];
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    *out_missing = fd < 0 && errno == ENOENT;
    if (fd < 0)
        return fail(BAD_ARGUMENT, "cannot read the master key %s: %s", path, strerror(errno));
    ssize_t n = read(fd, hex, sizeof hex);
    if (fstat(fd, &st) == 0 && st.st_mode & (S_IRWXG | S_IRWXO))
        LOG(WARN, NULL, "others than its owner may read the master key %s (mode %o)", path,
            (unsigned)st.st_mode & 0777);
    close(fd);
    err_t e = parse_master(slice_of(hex, n > 0 ? (size_t)n : 0), path, out);
    crypto_wipe(hex, sizeof hex);
    return e;
}

static err_t make_master(const char *path, uint8_t out[CRYPTO_KEY])
{
    AUTO(buf) hex = {0};

    crypto_random(out, CRYPTO_KEY);
    text_hex(slice_of(out, CRYPTO_KEY), &hex);
    buf_put_u8(&hex, '\n');
    err_t e = secret_file_write(path, buf_slice(&hex));
    crypto_wipe(hex.data, hex.len);
    if (e == OK) LOG(INFO, NULL, "made the master key %s; keep a copy of it", path);
    return e;
}

static err_t find_master(const struct config *config, bool may_make, uint8_t out[CRYPTO_KEY])
{
    const char *digits = getenv(environment_name);
    char path[4200];
    bool missing;

    if (digits && digits[0]) return parse_master(slice_text(digits), environment_name, out);
    if (config->master_key_file[0]) return read_master(config->master_key_file, &missing, out);
    snprintf(path, sizeof path, "%s/master.key", config->data);
    err_t e = read_master(path, &missing, out);
    if (missing && may_make) return make_master(path, out);
    if (missing)
        return fail(BAD_ARGUMENT,
                    "the database is sealed, and its master key %s is missing; bring it back, or "
                    "name it with --master-key-file or %s",
                    path, environment_name);
    return e;
}

static err_t find_wrapped(struct store *store, struct buf *out)
{
    struct view *view;
    struct slice row = SLICE_NONE;

    TRY(view_new(store, &view));
    err_t e = view_begin(view);
    if (e == OK) e = view_find(view, DB_meta, ROW, &row);
    if (e == OK && row.len) buf_put(out, row);
    view_free(view);
    return e;
}

static err_t make_data_key(struct writer *writer, const uint8_t master[CRYPTO_KEY],
                           uint8_t out[CRYPTO_KEY])
{
    AUTO(buf) sealed = {0};
    struct batch batch;

    crypto_random(out, CRYPTO_KEY);
    crypto_box_seal(master, AAD, slice_of(out, CRYPTO_KEY), &sealed);
    batch_init(&batch);
    batch_put(&batch, DB_meta, ROW, buf_slice(&sealed));
    err_t e = writer_commit(writer, &batch);
    batch_done(&batch);
    return e;
}

static err_t unwrap(struct slice wrapped, const uint8_t master[CRYPTO_KEY], uint8_t out[CRYPTO_KEY])
{
    AUTO(buf) key = {0};
    err_t e = crypto_box_open(master, AAD, wrapped, &key);
    bool good = e == OK && key.len == CRYPTO_KEY;

    if (good) memcpy(out, key.data, CRYPTO_KEY);
    if (key.data) crypto_wipe(key.data, key.len);
    return good ? OK : fail(BAD_ARGUMENT, "this is not the master key that sealed the database");
}

err_t keyring_open(const struct config *config, struct store *store, struct writer *writer,
                   uint8_t out_data_key[CRYPTO_KEY])
{
    AUTO(buf) wrapped = {0};
    uint8_t master[CRYPTO_KEY];

    TRY(find_wrapped(store, &wrapped));
    TRY(find_master(config, wrapped.len == 0, master));
    err_t e = wrapped.len ? unwrap(buf_slice(&wrapped), master, out_data_key)
                          : make_data_key(writer, master, out_data_key);
    crypto_wipe(master, sizeof master);
    return e;
}
