/* Schemas: JSON Schema of arguments and results, from the rows of tools.def and shapes.def.
 * Constant tables; any thread. */
#pragma once
#include "proto/base/buf.h"
#include "server/api/tools.h"

struct json;

enum shape_type {
    SHAPE_TEXT, /* `of`: the words it may be, comma separated, "" any */
    SHAPE_INT,
    SHAPE_BOOL,
    SHAPE_TIME,
    SHAPE_TEXTS,
    SHAPE_OBJECT, /* `of`: a shape */
    SHAPE_LIST,   /* of objects */
    SHAPE_ANY,    /* an object of any shape */
};
enum shape_need { SHAPE_ALWAYS, SHAPE_NULLABLE, SHAPE_OPTIONAL };

struct shape_field {
    const char *name;
    enum shape_type type;
    enum shape_need need;
    const char *of, *meaning;
};
struct shape {
    const char *name, *meaning;
    const struct shape_field *fields; /* ends with a row without a name */
};

const struct shape *shape_find(const char *name);
/* {"type":"object",…} */
void schema_of_args(struct buf *out, const struct tool *t);
void schema_of_shape(struct buf *out, const struct shape *s);
/* Whether a value is of that shape, unknown members included; `why` says what is wrong. For tests
 * and for test builds, which check every result. */
bool shape_accepts(const struct shape *s, const struct json *value, struct buf *why);
