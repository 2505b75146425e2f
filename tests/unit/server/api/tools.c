/* What expands from the rows of tools.def. */
#include <criterion/criterion.h>

#include "server/api/json.h"
#include "server/api/schema.h"

static void setup(void) { tools_start(); }
static void teardown(void) { tools_stop(); }
TestSuite(tools, .init = setup, .fini = teardown);

static struct json *parsed(struct slice text)
{
    struct json *j = NULL;

    cr_assert_eq(json_parse(text, 4 << 20, &j), OK);
    return j;
}

Test(tools, the_list_is_json_with_everything_a_host_needs)
{
    struct json *list = parsed(tools_json());

    cr_assert_eq(json_kind(list), JSON_ARR);
    for (size_t i = 0; i < json_count(list); i++) {
        const struct json *t = json_at(list, i);
        cr_assert(slice_is(json_get_text(t, "name"), tool_at(i)->name));
        cr_assert(json_get_text(t, "title").len && json_get_text(t, "description").len);
        cr_assert(slice_is(json_get_text(json_get(t, "inputSchema"), "type"), "object"));
        cr_assert(slice_is(json_get_text(json_get(t, "outputSchema"), "type"), "object"));
        cr_assert_eq(json_count(json_get(t, "annotations")), 5);
    }
    json_free(list);
}

Test(tools, a_reader_is_offered_what_it_may_use)
{
    struct principal reader = {.rights = RIGHT_READ}, all = {.rights = RIGHTS_ALL};
    struct json *few = parsed(tools_json_for(&reader)), *many = parsed(tools_json_for(&all));

    cr_assert_lt(json_count(few), json_count(many));
    for (size_t i = 0; i < json_count(few); i++) {
        const struct tool *t = tool_find(json_get_text(json_at(few, i), "name"));
        cr_assert_eq(t->category, RIGHT_READ);
    }
    json_free(few);
    json_free(many);
}

Test(tools, hints_follow_the_category)
{
    static const struct {
        const char *name;
        bool reads, destroys;
    } rows[] = {{"list_chats", true, false},     {"send_message", false, false},
                {"delete_account", false, true}, {"subscribe_events", false, false},
                {"logout_account", false, true}, {"wait_for_event", true, false}};

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct tool *t = tool_find(slice_text(rows[i].name));
        cr_assert_eq(tool_is_read_only(t), rows[i].reads, "%s", rows[i].name);
        cr_assert_eq((t->flags & TOOL_DESTRUCTIVE) != 0, rows[i].destroys, "%s", rows[i].name);
    }
}

Test(tools, each_acting_tool_takes_an_idempotency_key)
{
    const struct tool *t;

    for (size_t i = 0; (t = tool_at(i)); i++) {
        struct json *schema = parsed(tool_input_schema(t));
        bool has = json_get(json_get(schema, "properties"), "idempotency_key");
        cr_assert_eq(has, t->category != RIGHT_READ, "%s", t->name);
        json_free(schema);
    }
}

Test(tools, path_parameters_are_arguments)
{
    const struct tool *t;
    struct slice left, part;

    for (size_t i = 0; (t = tool_at(i)); i++)
        for (left = slice_text(t->path); slice_split(&left, '/', &part);) {
            const struct arg *a;
            bool found = part.len < 2 || part.data[0] != '{';
            for (size_t k = 0; !found && (a = tool_arg(t, k)); k++)
                found = slice_is(slice_sub(part, 1, part.len - 1), a->name) && a->required;
            cr_assert(found, "%s: %s", t->name, t->path);
        }
}

Test(tools, descriptions_stay_short)
{
    const struct tool *t;
    const struct arg *a;

    cr_assert_leq(tools_instructions().len, 2048);
    for (size_t i = 0; (t = tool_at(i)); i++) {
        cr_assert_leq(strlen(t->name), 40);
        cr_assert_leq(strlen(t->description), 400, "%s", t->name);
        for (size_t k = 0; (a = tool_arg(t, k)); k++)
            cr_assert(*a->meaning && strlen(a->meaning) < 120, "%s %s", t->name, a->name);
    }
}

Test(schema, results_are_checked_member_by_member)
{
    static const struct {
        const char *json;
        bool fits;
    } rows[] = {
        {"{\"phone\":\"+1\",\"lid\":null,\"name\":null}", true},
        {"{\"phone\":\"+1\",\"lid\":null}", false},
        {"{\"phone\":1,\"lid\":null,\"name\":null}", false},
        {"{\"phone\":null,\"lid\":null,\"name\":null,\"more\":1}", false},
        {"[]", false},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct json *j = parsed(slice_text(rows[i].json));
        AUTO(buf) why = {0};
        cr_assert_eq(shape_accepts(shape_find("person"), j, &why), rows[i].fits, "%s",
                     rows[i].json);
        cr_assert_eq(why.len == 0, rows[i].fits);
        json_free(j);
    }
}
