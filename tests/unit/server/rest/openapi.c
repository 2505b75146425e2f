#include <criterion/criterion.h>

#include "server/api/json.h"
#include "server/api/tools.h"
#include "server/rest/openapi.h"

static struct json *document;

static void setup(void)
{
    AUTO(buf) text = {0};

    tools_start();
    openapi_write(&text);
    cr_assert_eq(json_parse(buf_slice(&text), 4 << 20, &document), OK);
}
static void teardown(void)
{
    json_free(document);
    tools_stop();
}
TestSuite(openapi, .init = setup, .fini = teardown);

Test(openapi, each_tool_is_an_operation_of_its_path)
{
    const struct json *paths = json_get(document, "paths"), *operation;
    const struct tool *t;

    for (size_t i = 0; (t = tool_at(i)); i++) {
        const char *method = *t->method == 'G' ? "get" : *t->method == 'P' ? "post" : "delete";
        operation = json_get(json_get(paths, t->path), method);
        cr_assert(slice_is(json_get_text(operation, "operationId"), t->name), "%s", t->name);
        cr_assert_eq(json_kind(json_get(json_get(operation, "responses"), "200")), JSON_OBJ);
    }
    cr_assert(json_get(paths, "/v1/events"));
}

Test(openapi, path_parameters_are_declared_and_required)
{
    const struct json *list = json_get(
        json_get(json_get(json_get(document, "paths"), "/v1/chats/{chat_id}/messages"), "get"),
        "parameters");
    bool required = false;

    cr_assert(slice_is(json_get_text(json_at(list, 0), "name"), "chat_id"));
    cr_assert(slice_is(json_get_text(json_at(list, 0), "in"), "path"));
    cr_assert(json_bool(json_get(json_at(list, 0), "required"), &required) && required);
    cr_assert(slice_is(json_get_text(json_at(list, 1), "in"), "query"));
}
