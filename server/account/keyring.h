/* The data key: seals ratchets, identities and other secrets in the database. It stands in the
 * database wrapped by the master key, which comes from PARLEY_MASTER_KEY, --master-key-file, or
 * DATA/master.key (0600, made at first start). So a copy of the database alone opens nothing.
 * Main thread, before the workers start. */
#pragma once
#include "proto/crypto/crypto.h"
#include "server/config.h"
#include "storage/writer.h"

/* BAD_ARGUMENT, with words for the user, when the master key is missing, malformed, or not the one
 * that wrapped the data key. Makes both at first start; `writer` is not started yet. */
err_t keyring_open(const struct config *config, struct store *store, struct writer *writer,
                   uint8_t out_data_key[CRYPTO_KEY]) MUST_CHECK;
