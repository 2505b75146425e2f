/* Paths in the order of the table; tools that share a path stand beside each other in it. */
#include "server/rest/openapi.h"

#include "server/api/json.h"
#include "server/api/schema.h"

static const char problem_schema[] = "{\"type\":\"object\",\"properties\":{\"code\":{\"type\":"
                                     "\"string\"},\"message\":{\"type\":\"string\"},"
                                     "\"field\":{\"type\":\"string\"},\"expected\":{\"type\":"
                                     "\"string\"},\"retry_after\":{\"type\":\"integer\"}},"
                                     "\"required\":[\"code\",\"message\"]}";

static bool is_in_path(const struct tool *t, const char *name)
{
    struct slice left = slice_text(t->path), part;

    while (slice_split(&left, '/', &part))
        if (part.len > 2 && part.data[0] == '{' && slice_is(slice_sub(part, 1, part.len - 1), name))
            return true;
    return false;
}

static bool has_body(const struct tool *t) { return strcmp(t->method, "POST") == 0; }

static void write_parameters(struct pen *p, const struct tool *t)
{
    const struct arg *a;

    pen_array(p, "parameters");
    for (size_t i = 0; (a = tool_arg(t, i)); i++) {
        bool in_path = is_in_path(t, a->name);
        if (!in_path && has_body(t)) continue;
        pen_object(p, NULL);
        pen_word(p, "name", a->name);
        pen_word(p, "in", in_path ? "path" : "query");
        pen_bool(p, "required", in_path || a->required);
        pen_word(p, "description", a->meaning);
        pen_raw(p, "schema", SLICE("{\"type\":\"string\"}"));
        pen_end(p);
    }
    pen_end(p);
}

static void write_content(struct pen *p, struct slice schema)
{
    pen_object(p, "content");
    pen_object(p, "application/json");
    pen_raw(p, "schema", schema);
    pen_end(p);
    pen_end(p);
}

static void write_responses(struct pen *p, const struct tool *t)
{
    pen_object(p, "responses");
    pen_object(p, "200");
    pen_word(p, "description", tool_result(t)->meaning);
    write_content(p, tool_output_schema(t));
    pen_end(p);
    pen_object(p, "default");
    pen_word(p, "description", "What went wrong, and what would be right.");
    write_content(p, slice_text(problem_schema));
    pen_end(p);
    pen_end(p);
}

static void write_operation(struct pen *p, const struct tool *t)
{
    char method[8] = {0};

    for (size_t i = 0; i < sizeof(method) - 1 && t->method[i]; i++)
        method[i] = (char)(t->method[i] | 0x20); /* ASCII lower case */
    pen_object(p, method);
    pen_word(p, "operationId", t->name);
    pen_word(p, "summary", t->title);
    pen_word(p, "description", t->description);
    write_parameters(p, t);
    if (has_body(t)) {
        pen_object(p, "requestBody");
        write_content(p, tool_input_schema(t));
        pen_end(p);
    }
    write_responses(p, t);
    pen_end(p);
}

static bool is_first_of_path(size_t at)
{
    for (size_t i = 0; i < at; i++)
        if (strcmp(tool_at(i)->path, tool_at(at)->path) == 0) return false;
    return true;
}

static void write_paths(struct pen *p)
{
    pen_object(p, "paths");
    for (size_t i = 0; tool_at(i); i++) {
        if (!is_first_of_path(i)) continue;
        pen_object(p, tool_at(i)->path);
        for (size_t k = i; tool_at(k); k++)
            if (strcmp(tool_at(k)->path, tool_at(i)->path) == 0) write_operation(p, tool_at(k));
        pen_end(p);
    }
    pen_raw(
        p, "/v1/events",
        SLICE(
            "{\"get\":{\"operationId\":\"stream_events\",\"summary\":\"Stream events\","
            "\"description\":\"Server-sent events; id is the seq. Resumes behind the "
            "Last-Event-ID header or `after`, else begins now. What is not in the log (any "
            "more) is announced by an event `gap` with first, last and reset, which says "
            "that this log never gave out the position.\",\"parameters\":["
            "{\"name\":\"events\",\"in\":\"query\",\"description\":"
            "\"names or groups such as message.*, with commas\",\"schema\":{\"type\":\"string\"}},"
            "{\"name\":\"account_id\",\"in\":\"query\",\"schema\":{\"type\":\"string\"}},"
            "{\"name\":\"chat_id\",\"in\":\"query\",\"schema\":{\"type\":\"string\"}},"
            "{\"name\":\"after\",\"in\":\"query\",\"schema\":{\"type\":\"integer\"}}],"
            "\"responses\":{\"200\":{\"description\":\"The stream.\",\"content\":"
            "{\"text/event-stream\":{\"schema\":{\"type\":\"string\"}}}}}}}"));
    pen_end(p);
}

void openapi_write(struct buf *out)
{
    struct pen p = pen_on(out);

    pen_object(&p, NULL);
    pen_word(&p, "openapi", "3.1.0");
    pen_object(&p, "info");
    pen_word(&p, "title", "Parley");
    pen_word(&p, "version", PARLEY_VERSION);
    pen_text(&p, "description", tools_instructions());
    pen_end(&p);
    pen_raw(&p, "security", SLICE("[{\"key\":[]}]"));
    pen_raw(&p, "components",
            SLICE("{\"securitySchemes\":{\"key\":{\"type\":\"http\",\"scheme\":\"bearer\"}}}"));
    write_paths(&p);
    pen_end(&p);
}

void openapi_get(struct request *r)
{
    AUTO(buf) body = {0};

    openapi_write(&body);
    reply_json(r, 200, buf_slice(&body));
}
