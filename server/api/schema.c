/* One function per kind of row; objects are written inline, without $ref, because hosts follow
 * those badly. */
#include "server/api/schema.h"

#include "proto/base/text.h"
#include "server/api/json.h"

#define FIELD(name, type, need, of, meaning) {#name, SHAPE_##type, SHAPE_##need, of, meaning},
#define SHAPE(name, meaning, fields) static const struct shape_field name##_fields[] = {fields{0}};
#include "server/api/shapes.def"
#undef SHAPE
#undef FIELD

static const struct shape shapes[] = {
#define SHAPE(name, meaning, fields) {#name, meaning, name##_fields},
#include "server/api/shapes.def"
#undef SHAPE
};

const struct shape *shape_find(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(shapes); i++)
        if (strcmp(shapes[i].name, name) == 0) return &shapes[i];
    return NULL;
}

/* ---- results ---- */

static void write_object(struct pen *p, const char *key, const struct shape *s);

static void write_words(struct pen *p, const char *words)
{
    struct slice left = slice_text(words), word;

    pen_array(p, "enum");
    while (slice_split(&left, ',', &word))
        pen_text(p, NULL, word);
    pen_end(p);
}

static void write_type(struct pen *p, const char *type, bool nullable)
{
    if (!nullable) {
        pen_word(p, "type", type);
        return;
    }
    pen_array(p, "type");
    pen_word(p, NULL, type);
    pen_word(p, NULL, "null");
    pen_end(p);
}

static void write_members(struct pen *p, const struct shape *s)
{
    pen_object(p, "properties");
    for (const struct shape_field *f = s->fields; f->name; f++) {
        static const char *const types[] = {"string", "integer", "boolean", "string",
                                            "array",  "object",  "array",   "object"};
        pen_object(p, f->name);
        write_type(p, types[f->type], f->need == SHAPE_NULLABLE);
        if (*f->meaning) pen_word(p, "description", f->meaning);
        if (f->type == SHAPE_TIME) pen_word(p, "format", "date-time");
        if (f->type == SHAPE_TEXT && *f->of) write_words(p, f->of);
        if (f->type == SHAPE_OBJECT) write_members(p, shape_find(f->of));
        if (f->type == SHAPE_LIST) write_object(p, "items", shape_find(f->of));
        if (f->type == SHAPE_TEXTS) pen_raw(p, "items", SLICE("{\"type\":\"string\"}"));
        pen_end(p);
    }
    pen_end(p);
    pen_array(p, "required");
    for (const struct shape_field *f = s->fields; f->name; f++)
        if (f->need != SHAPE_OPTIONAL) pen_word(p, NULL, f->name);
    pen_end(p);
}

static void write_object(struct pen *p, const char *key, const struct shape *s)
{
    pen_object(p, key);
    pen_word(p, "type", "object");
    write_members(p, s);
    pen_end(p);
}

void schema_of_shape(struct buf *out, const struct shape *s)
{
    struct pen p = pen_on(out);

    write_object(&p, NULL, s);
}

/* ---- arguments ---- */

static const struct {
    const char *type, *pattern, *format;
} arg_types[] = {
    [ARG_TEXT] = {"string", NULL, NULL},
    [ARG_INT] = {"integer", NULL, NULL},
    [ARG_BOOL] = {"boolean", NULL, NULL},
    [ARG_TIME] = {"string", NULL, "date-time"},
    [ARG_PHONE] = {"string", "^\\+[1-9][0-9]{6,14}$", NULL},
    [ARG_ACCOUNT] = {"string", "^acc_[0-9a-v]+$", NULL},
    [ARG_CHAT] = {"string", "^(chat|grp)_[0-9a-v]+$", NULL},
    [ARG_MESSAGE] = {"string", "^msg_[0-9a-v]+$", NULL},
    [ARG_SUBSCRIPTION] = {"string", "^sub_[0-9a-v]+$", NULL},
    [ARG_CURSOR] = {"string", NULL, NULL},
    [ARG_SEQ] = {"string", "^[0-9]+$", NULL},
    [ARG_ENUM] = {"string", NULL, NULL},
    [ARG_PHONES] = {"array", "^\\+[1-9][0-9]{6,14}$", NULL},
    [ARG_EVENTS] = {"array", NULL, NULL},
    [ARG_MESSAGE_OR_TIME] = {"string", NULL, NULL},
};

static void write_items(struct pen *p, const struct arg *a)
{
    pen_object(p, "items");
    pen_word(p, "type", "string");
    if (arg_types[a->type].pattern) pen_word(p, "pattern", arg_types[a->type].pattern);
    pen_end(p);
    if (a->min) pen_int(p, "minItems", a->min);
    pen_int(p, "maxItems", a->max);
}

static void write_arg(struct pen *p, const struct arg *a)
{
    bool is_array = a->type == ARG_PHONES || a->type == ARG_EVENTS;

    pen_object(p, a->name);
    pen_word(p, "type", arg_types[a->type].type);
    pen_word(p, "description", a->meaning);
    if (is_array)
        write_items(p, a);
    else if (arg_types[a->type].pattern)
        pen_word(p, "pattern", arg_types[a->type].pattern);
    if (arg_types[a->type].format) pen_word(p, "format", arg_types[a->type].format);
    if (a->type == ARG_ENUM) write_words(p, a->choices);
    if (a->type == ARG_TEXT) {
        pen_int(p, "minLength", a->min);
        pen_int(p, "maxLength", a->max);
    }
    if (a->type == ARG_INT) {
        pen_int(p, "minimum", a->min);
        pen_int(p, "maximum", a->max);
    }
    pen_end(p);
}

void schema_of_args(struct buf *out, const struct tool *t)
{
    struct pen p = pen_on(out);
    const struct arg *a;

    pen_object(&p, NULL);
    pen_word(&p, "type", "object");
    pen_object(&p, "properties");
    for (size_t i = 0; (a = tool_arg(t, i)); i++)
        write_arg(&p, a);
    pen_end(&p);
    pen_array(&p, "required");
    for (size_t i = 0; (a = tool_arg(t, i)); i++)
        if (a->required) pen_word(&p, NULL, a->name);
    pen_end(&p);
    pen_bool(&p, "additionalProperties", false);
    pen_end(&p);
}

/* ---- checking ---- */

static bool is_one_of(struct slice text, const char *words)
{
    struct slice left = slice_text(words), word;

    if (!*words) return true;
    while (slice_split(&left, ',', &word))
        if (slice_eq(word, text)) return true;
    return false;
}

static bool accepts_list(const struct shape_field *f, const struct json *v, struct buf *why)
{
    for (size_t i = 0; i < json_count(v); i++) {
        const struct json *item = json_at(v, i);
        if (f->type == SHAPE_TEXTS && json_kind(item) != JSON_STR) return false;
        if (f->type == SHAPE_LIST && !shape_accepts(shape_find(f->of), item, why)) return false;
    }
    return true;
}

static bool accepts(const struct shape_field *f, const struct json *v, struct buf *why)
{
    static const enum json_kind kinds[] = {JSON_STR, JSON_INT, JSON_BOOL, JSON_STR,
                                           JSON_ARR, JSON_OBJ, JSON_ARR,  JSON_OBJ};
    int64_t ms;

    if (!v) return f->need == SHAPE_OPTIONAL;
    if (json_kind(v) == JSON_NIL) return f->need == SHAPE_NULLABLE;
    if (json_kind(v) != kinds[f->type]) return false;
    switch (f->type) {
    case SHAPE_TEXT: return is_one_of(json_text(v), f->of);
    case SHAPE_TIME: return text_parse_time(json_text(v), &ms) == OK;
    case SHAPE_OBJECT: return shape_accepts(shape_find(f->of), v, why);
    case SHAPE_TEXTS:
    case SHAPE_LIST: return accepts_list(f, v, why);
    default: return true;
    }
}

static bool has_field(const struct shape *s, struct slice name)
{
    for (const struct shape_field *f = s->fields; f->name; f++)
        if (slice_is(name, f->name)) return true;
    return false;
}

bool shape_accepts(const struct shape *s, const struct json *value, struct buf *why)
{
    const struct json *member;
    struct slice key;
    void *at = NULL;

    if (json_kind(value) != JSON_OBJ) {
        buf_printf(why, "%s: not an object; ", s->name);
        return false;
    }
    for (const struct shape_field *f = s->fields; f->name; f++) {
        if (accepts(f, json_get(value, f->name), why)) continue;
        buf_printf(why, "%s.%s; ", s->name, f->name);
        return false;
    }
    while (json_next(value, &at, &key, &member)) {
        if (has_field(s, key)) continue;
        buf_printf(why, "%s has no " SLICE_FMT "; ", s->name, SLICE_ARG(key));
        return false;
    }
    return true;
}
