/* Small files with secrets in the data folder: master.key, first-keys. Any thread; blocks. */
#pragma once
#include "proto/base/err.h"
#include "proto/base/slice.h"

/* Writes the file whole or not at all, for its owner alone (0600), and returns when file and name
 * are on the disk: what is stored behind it may depend on it. SYSTEM with the path in its words. */
err_t secret_file_write(const char *path, struct slice text) MUST_CHECK;
