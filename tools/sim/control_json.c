/* What the handlers of the control API share: members of the body, values of the query, and JSON
 * that cannot fail. */
#include "tools/sim/control.h"

#include "proto/base/text.h"

json_t *sim_json_slice(struct slice s)
{
    json_t *text = json_stringn((const char *)s.data, s.len);

    return text ? text : json_string("");
}

json_t *sim_json_text(const char *s) { return sim_json_slice(slice_text(s)); }

struct slice sim_text_member(const struct sim_request *q, const char *name)
{
    const json_t *v = json_object_get(q->body, name);

    return json_is_string(v) ? slice_of(json_string_value(v), json_string_length(v)) : SLICE_NONE;
}

int64_t sim_int_member(const struct sim_request *q, const char *name, int64_t absent)
{
    const json_t *v = json_object_get(q->body, name);

    return json_is_integer(v) ? json_integer_value(v) : absent;
}

err_t sim_need_text(const struct sim_request *q, const char *name, struct slice *out)
{
    *out = sim_text_member(q, name);
    if (out->len == 0) return fail(BAD_ARGUMENT, "%s is missing", name);
    return OK;
}

/* "number", "+number" */
struct slice sim_plain_number(struct slice s)
{
    return s.len > 0 && s.data[0] == '+' ? slice_from(s, 1) : s;
}

err_t sim_phone_of_path(const struct sim_request *q, struct sim_phone **out)
{
    struct slice number = sim_plain_number(q->segments[0]);

    *out = sim_phone_find(&q->server->phones, number);
    if (!*out) return fail(NOT_FOUND, "no phone has the number " SLICE_FMT, SLICE_ARG(number));
    return OK;
}

/* Undoes %3A, %40 …; what is no escape stays. */
static struct slice unescape(struct slice in, char *buffer, size_t size)
{
    AUTO(buf) byte = {0};
    size_t n = 0;

    for (size_t i = 0; i < in.len && n + 1 < size; i++) {
        buf_reset(&byte);
        if (in.data[i] == '%' && i + 2 < in.len &&
            text_unhex(slice_sub(in, i + 1, i + 3), &byte) == OK) {
            buffer[n++] = (char)byte.data[0];
            i += 2;
        } else {
            buffer[n++] = (char)in.data[i];
        }
    }
    err_clear();
    return slice_of(buffer, n);
}

struct slice sim_query_value(const struct sim_request *q, const char *name, char *buffer,
                             size_t size)
{
    struct slice rest = q->query, pair, key;

    while (slice_split(&rest, '&', &pair))
        if (slice_split(&pair, '=', &key) && slice_is(key, name))
            return unescape(pair, buffer, size);
    return SLICE_NONE;
}

uint64_t sim_query_int(const struct sim_request *q, const char *name, uint64_t absent)
{
    char buffer[32];
    uint64_t v;

    return text_u64(sim_query_value(q, name, buffer, sizeof buffer), &v) == OK ? v : absent;
}

void sim_json_set(json_t *o, const char *key, json_t *value) { json_object_set_new(o, key, value); }

void sim_json_time(json_t *o, const char *key, int64_t ms)
{
    char text[TEXT_TIME_MAX];

    sim_json_set(o, key, sim_json_text(text_time(ms, text)));
}
