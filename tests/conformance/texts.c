/* Prompts, resources and completion of the suite, and the table of all it expects. */
#include "proto/base/text.h"
#include "tests/conformance/fixture.h"

/* ---- prompts ---- */

static struct slice argument(const struct mcp_ask *a, const char *name)
{
    return json_get_text(json_get(a->message.params, "arguments"), name);
}

static void begin_message(struct mcp_ask *a)
{
    pen_object(&a->pen, NULL);
    pen_word(&a->pen, "role", "user");
}

static void say(struct mcp_ask *a, struct slice text)
{
    begin_message(a);
    conformance_text(a, "content", text);
    pen_end(&a->pen);
}

static void write_simple(struct mcp_ask *a)
{
    say(a, SLICE("This is a simple prompt for testing."));
}

static void write_arguments(struct mcp_ask *a)
{
    say(a,
        arena_printf(&a->arena, "Prompt with arguments: arg1='" SLICE_FMT "', arg2='" SLICE_FMT "'",
                     SLICE_ARG(argument(a, "arg1")), SLICE_ARG(argument(a, "arg2"))));
}

static void write_resource(struct mcp_ask *a)
{
    begin_message(a);
    conformance_resource(a, "content", argument(a, "resourceUri"), "text/plain",
                         SLICE("Embedded resource content for testing."));
    pen_end(&a->pen);
    say(a, SLICE("Please process the embedded resource above."));
}

static void write_image(struct mcp_ask *a)
{
    begin_message(a);
    conformance_image(a, "content");
    pen_end(&a->pen);
    say(a, SLICE("Please analyze the image above."));
}

static const struct mcp_input user_context = {
    MCP_CAN_ELICIT, "user_context", "elicitation/create",
    SLICE("{\"message\":\"What context should the prompt use?\",\"requestedSchema\":{"
          "\"type\":\"object\",\"properties\":{\"context\":{\"type\":\"string\"}},"
          "\"required\":[\"context\"]}}")};

static struct slice context_of(const struct mcp_ask *a)
{
    return json_get_text(json_get(mcp_input(a, user_context.key), "content"), "context");
}

static void write_context(struct mcp_ask *a) { say(a, context_of(a)); }

enum { ARGS = 2 };
static const struct prompt_row {
    const char *name, *description;
    const char *args[ARGS];
    void (*write)(struct mcp_ask *a);
    const struct mcp_input *needs;
} prompts[] = {
    {"test_simple_prompt", "A text", {0}, write_simple, NULL},
    {"test_prompt_with_arguments", "A text of two", {"arg1", "arg2"}, write_arguments, NULL},
    {"test_prompt_with_embedded_resource", "A resource", {"resourceUri"}, write_resource, NULL},
    {"test_prompt_with_image", "A picture", {0}, write_image, NULL},
    {"test_input_required_result_prompt", "Needs a context", {0}, write_context, &user_context},
};

void conformance_prompts_list(struct mcp_ask *a)
{
    if (!mcp_single_page(a)) return;
    mcp_begin(a);
    pen_array(&a->pen, "prompts");
    for (size_t i = 0; i < ARRAY_LEN(prompts); i++) {
        pen_object(&a->pen, NULL);
        pen_word(&a->pen, "name", prompts[i].name);
        pen_word(&a->pen, "description", prompts[i].description);
        pen_array(&a->pen, "arguments");
        for (size_t k = 0; k < ARGS && prompts[i].args[k]; k++) {
            pen_object(&a->pen, NULL);
            pen_word(&a->pen, "name", prompts[i].args[k]);
            pen_word(&a->pen, "description", "a text");
            pen_bool(&a->pen, "required", true);
            pen_end(&a->pen);
        }
        pen_end(&a->pen);
        pen_end(&a->pen);
    }
    pen_end(&a->pen);
    mcp_done(a);
}

static const struct prompt_row *find_prompt(struct slice name)
{
    for (size_t i = 0; i < ARRAY_LEN(prompts); i++)
        if (slice_is(name, prompts[i].name)) return &prompts[i];
    return NULL;
}

void conformance_prompts_get(struct mcp_ask *a)
{
    const struct prompt_row *p = find_prompt(json_get_text(a->message.params, "name"));

    if (!p) {
        mcp_refuse(a, RPC_BAD_PARAMS, "there is no such prompt");
        return;
    }
    if (p->needs && slice_is_none(context_of(a))) {
        mcp_need(a, p->needs, 1, SLICE_NONE);
        return;
    }
    mcp_begin(a);
    pen_word(&a->pen, "description", p->description);
    pen_array(&a->pen, "messages");
    p->write(a);
    pen_end(&a->pen);
    mcp_done(a);
}

/* ---- completion ---- */

void conformance_complete(struct mcp_ask *a)
{
    static const char *const words[] = {"paris", "park", "party", "test", "testing"};
    const struct json *ref = json_get(a->message.params, "ref");
    struct slice typed = json_get_text(json_get(a->message.params, "argument"), "value");
    int64_t total = 0;

    if (!find_prompt(json_get_text(ref, "name")) && !json_get(ref, "uri")) {
        mcp_refuse(a, RPC_BAD_PARAMS, "ref names nothing that can be completed");
        return;
    }
    mcp_begin(a);
    pen_object(&a->pen, "completion");
    pen_array(&a->pen, "values");
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (!slice_starts_with(slice_text(words[i]), typed)) continue;
        pen_word(&a->pen, NULL, words[i]);
        total++;
    }
    pen_end(&a->pen);
    pen_int(&a->pen, "total", total);
    pen_bool(&a->pen, "hasMore", false);
    pen_end(&a->pen);
    mcp_done(a);
}

/* ---- resources ---- */

static const struct resource_row {
    const char *uri, *name, *description, *type;
    const char *text, *blob; /* one of the two */
} resources[] = {
    {"test://static-text", "static-text", "A text that stays", "text/plain",
     "This is the content of the static text resource.", NULL},
    {"test://static-binary", "static-binary", "A picture that stays", "image/png", NULL,
     CONFORMANCE_PNG},
    {"test://watched-resource", "watched-resource", "One that can be watched", "text/plain",
     "Watched resource content", NULL},
};

void conformance_resources_list(struct mcp_ask *a)
{
    if (!mcp_single_page(a)) return;
    mcp_begin(a);
    pen_array(&a->pen, "resources");
    for (size_t i = 0; i < ARRAY_LEN(resources); i++) {
        pen_object(&a->pen, NULL);
        pen_word(&a->pen, "uri", resources[i].uri);
        pen_word(&a->pen, "name", resources[i].name);
        pen_word(&a->pen, "description", resources[i].description);
        pen_word(&a->pen, "mimeType", resources[i].type);
        pen_end(&a->pen);
    }
    pen_end(&a->pen);
    mcp_done(a);
}

void conformance_templates_list(struct mcp_ask *a)
{
    if (!mcp_single_page(a)) return;
    mcp_begin(a);
    pen_array(&a->pen, "resourceTemplates");
    pen_object(&a->pen, NULL);
    pen_word(&a->pen, "uriTemplate", "test://template/{id}/data");
    pen_word(&a->pen, "name", "template");
    pen_word(&a->pen, "description", "One resource for every id");
    pen_word(&a->pen, "mimeType", "application/json");
    pen_end(&a->pen);
    pen_end(&a->pen);
    mcp_done(a);
}

static void answer_contents(struct mcp_ask *a, struct slice uri, const char *type,
                            const char *member, struct slice value)
{
    mcp_begin(a);
    pen_array(&a->pen, "contents");
    pen_object(&a->pen, NULL);
    pen_text(&a->pen, "uri", uri);
    pen_word(&a->pen, "mimeType", type);
    pen_text(&a->pen, member, value);
    pen_end(&a->pen);
    pen_end(&a->pen);
    mcp_done(a);
}

/* test://template/{id}/data */
static bool is_template(struct slice uri, struct slice *out_id)
{
    static const struct slice before = SLICE("test://template/"), after = SLICE("/data");

    if (uri.len <= before.len + after.len || !slice_starts_with(uri, before) ||
        !slice_eq(slice_from(uri, uri.len - after.len), after))
        return false;
    *out_id = slice_sub(uri, before.len, uri.len - after.len);
    return slice_find(*out_id, '/') == out_id->len;
}

static void read_template(struct mcp_ask *a, struct slice uri, struct slice id)
{
    AUTO(buf) text = {0};
    struct pen p = pen_on(&text);

    pen_object(&p, NULL);
    pen_text(&p, "id", id);
    pen_bool(&p, "templateTest", true);
    pen_text(&p, "data", arena_printf(&a->arena, "Data for ID: " SLICE_FMT, SLICE_ARG(id)));
    pen_end(&p);
    answer_contents(a, uri, "application/json", "text", buf_slice(&text));
}

static const struct resource_row *find_resource(struct slice uri)
{
    for (size_t i = 0; i < ARRAY_LEN(resources); i++)
        if (slice_is(uri, resources[i].uri)) return &resources[i];
    return NULL;
}

static void no_resource(struct mcp_ask *a, struct slice uri)
{
    AUTO(buf) data = {0};
    struct pen p = pen_on(&data);

    pen_object(&p, NULL);
    pen_text(&p, "uri", text_cut(uri, SESSION_URI_MAX));
    pen_end(&p);
    mcp_refuse_with(a, a->era == MCP_MODERN ? RPC_BAD_PARAMS : RPC_NO_RESOURCE, buf_slice(&data),
                    "Resource not found");
}

void conformance_resources_read(struct mcp_ask *a)
{
    struct slice uri = json_get_text(a->message.params, "uri"), id;
    const struct resource_row *row = find_resource(uri);

    if (row && row->text)
        answer_contents(a, uri, row->type, "text", slice_text(row->text));
    else if (row)
        answer_contents(a, uri, row->type, "blob", slice_text(row->blob));
    else if (is_template(uri, &id))
        read_template(a, uri, id);
    else
        no_resource(a, uri);
}

static void on_subscribed(struct mcp_worker *w, uint64_t number, err_t e, const char *session)
{
    struct mcp_ask *a = mcp_ask_find(w, number);

    if (!a) return;
    if (e == OK)
        mcp_done_empty(a);
    else
        mcp_refuse_error(a, e);
}

void conformance_resources_subscribe(struct mcp_ask *a)
{
    struct slice uri = json_get_text(a->message.params, "uri");
    struct session_uri u = {0};
    err_t e;

    if (!find_resource(uri)) {
        no_resource(a, uri);
        return;
    }
    memcpy(u.uri, uri.data, uri.len); /* one of ours, so it fits */
    e = session_subscribe(a->home, a->session.id, &u,
                          (struct session_change){on_subscribed, a->number});
    if (e != OK) mcp_refuse_error(a, e);
}

/* ---- the offer ---- */

enum { BOTH = MCP_SESSION | MCP_MODERN };

static const struct mcp_method methods[] = {
    {"tools/list", BOTH, true, true, conformance_tools_list},
    {"tools/call", BOTH, true, false, conformance_tools_call},
    {"resources/list", BOTH, true, true, conformance_resources_list},
    {"resources/templates/list", BOTH, true, true, conformance_templates_list},
    {"resources/read", BOTH, true, true, conformance_resources_read},
    {"resources/subscribe", MCP_SESSION, true, false, conformance_resources_subscribe},
    {"resources/unsubscribe", MCP_SESSION, true, false, mcp_resources_unsubscribe},
    {"prompts/list", BOTH, true, true, conformance_prompts_list},
    {"prompts/get", BOTH, true, false, conformance_prompts_get},
    {"completion/complete", BOTH, true, false, conformance_complete},
    {0},
};

static const struct mcp_param_header headers[] = {{"test_x_mcp_header", "region", "Region"}, {0}};

static struct slice instructions(void) { return SLICE("A fixture for conformance tests."); }

const struct mcp_offer conformance_offer = {
    .methods = methods,
    .instructions = instructions,
    .changing = MCP_LIST_TOOLS | MCP_LIST_PROMPTS,
    .headers = headers,
};
