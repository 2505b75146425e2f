/* Reads the test vectors of tests/vectors. A path names a value inside: "xx.steps.3.h".
 * What is missing or malformed ends the test with a message. */
#pragma once
#include <jansson.h>

#include "proto/base/arena.h"

/* The whole file, "noise.json"; give it back with json_decref. */
json_t *vectors_open(const char *file);
/* NULL when there is no such value. */
json_t *vector_find(json_t *in, const char *path);
json_t *vector_at(json_t *in, const char *path);
/* A hex string as bytes in the arena. */
struct slice vector_hex(json_t *in, const char *path, struct arena *arena);
/* The same for a value in hand. */
struct slice vector_hex_of(json_t *value, struct arena *arena);
const char *vector_text(json_t *in, const char *path);
int64_t vector_int(json_t *in, const char *path);
bool vector_bool(json_t *in, const char *path);
/* Copies exactly `n` bytes of hex. */
void vector_bytes(json_t *in, const char *path, void *out, size_t n);
