#include "tests/support/vectors.h"

#include <stdio.h>
#include <stdlib.h>

#include "proto/base/text.h"

static void missing(const char *what, const char *path)
{
    fprintf(stderr, "vectors: %s: %s\n", what, path);
    abort();
}

json_t *vectors_open(const char *file)
{
    char path[512];
    json_error_t error;

    snprintf(path, sizeof(path), "%s/vectors/%s", TESTS_DIR, file);
    json_t *all = json_load_file(path, 0, &error);
    if (!all) missing(error.text, path);
    return all;
}

static json_t *member(json_t *in, struct slice name)
{
    char key[128], *end;

    snprintf(key, sizeof(key), SLICE_FMT, SLICE_ARG(name));
    if (!json_is_array(in)) return json_object_get(in, key);
    size_t index = strtoul(key, &end, 10);
    return *end ? NULL : json_array_get(in, index);
}

json_t *vector_find(json_t *in, const char *path)
{
    struct slice rest = slice_text(path), name;

    while (in && slice_split(&rest, '.', &name))
        in = member(in, name);
    return in;
}

json_t *vector_at(json_t *in, const char *path)
{
    json_t *value = vector_find(in, path);

    if (!value) missing("no such value", path);
    return value;
}

struct slice vector_hex_of(json_t *value, struct arena *arena)
{
    AUTO(buf) bytes = {0};

    if (!json_is_string(value) || text_unhex(slice_text(json_string_value(value)), &bytes) != OK)
        missing("not hex", json_is_string(value) ? json_string_value(value) : "?");
    return arena_dup(arena, slice_of(buf_text(&bytes), bytes.len));
}

struct slice vector_hex(json_t *in, const char *path, struct arena *arena)
{
    return vector_hex_of(vector_at(in, path), arena);
}

const char *vector_text(json_t *in, const char *path)
{
    json_t *value = vector_at(in, path);

    if (!json_is_string(value)) missing("not a text", path);
    return json_string_value(value);
}

int64_t vector_int(json_t *in, const char *path)
{
    json_t *value = vector_at(in, path);

    if (!json_is_integer(value)) missing("not a number", path);
    return json_integer_value(value);
}

bool vector_bool(json_t *in, const char *path)
{
    json_t *value = vector_at(in, path);

    if (!json_is_boolean(value)) missing("not a boolean", path);
    return json_is_true(value);
}

void vector_bytes(json_t *in, const char *path, void *out, size_t n)
{
    AUTO(arena) arena = {0};
    struct slice bytes = vector_hex(in, path, &arena);

    if (bytes.len != n) missing("another length", path);
    memcpy(out, bytes.data, n);
}
