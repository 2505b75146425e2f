/* The tools of the suite. Those that talk to the client do it by requests on the stream in the
 * older era and by results that ask for input in the modern one. */
#include "proto/base/text.h"
#include "tests/conformance/fixture.h"

enum { PAUSE_MS = 50, RECONNECT_MS = 600 };

static const struct json *args_of(const struct mcp_ask *a)
{
    return json_get(a->message.params, "arguments");
}

/* ---- content ---- */

void conformance_text(struct mcp_ask *a, const char *key, struct slice text)
{
    pen_object(&a->pen, key);
    pen_word(&a->pen, "type", "text");
    pen_text(&a->pen, "text", text);
    pen_end(&a->pen);
}

static void write_media(struct mcp_ask *a, const char *key, const char *kind, const char *type,
                        const char *base64)
{
    pen_object(&a->pen, key);
    pen_word(&a->pen, "type", kind);
    pen_word(&a->pen, "data", base64);
    pen_word(&a->pen, "mimeType", type);
    pen_end(&a->pen);
}

void conformance_image(struct mcp_ask *a, const char *key)
{
    write_media(a, key, "image", "image/png", CONFORMANCE_PNG);
}

void conformance_resource(struct mcp_ask *a, const char *key, struct slice uri, const char *type,
                          struct slice text)
{
    pen_object(&a->pen, key);
    pen_word(&a->pen, "type", "resource");
    pen_object(&a->pen, "resource");
    pen_text(&a->pen, "uri", uri);
    pen_word(&a->pen, "mimeType", type);
    pen_text(&a->pen, "text", text);
    pen_end(&a->pen);
    pen_end(&a->pen);
}

static void begin_content(struct mcp_ask *a)
{
    mcp_begin(a);
    pen_array(&a->pen, "content");
}

static void end_content(struct mcp_ask *a)
{
    pen_end(&a->pen);
    mcp_done(a);
}

static void say(struct mcp_ask *a, struct slice text)
{
    begin_content(a);
    conformance_text(a, NULL, text);
    end_content(a);
}

static void say_error(struct mcp_ask *a, const char *words)
{
    begin_content(a);
    conformance_text(a, NULL, slice_text(words));
    pen_end(&a->pen);
    pen_bool(&a->pen, "isError", true);
    mcp_done(a);
}

/* ---- plain answers ---- */

static void simple_text(struct mcp_ask *a)
{
    say(a, SLICE("This is a simple text response for testing."));
}

static void image(struct mcp_ask *a)
{
    begin_content(a);
    conformance_image(a, NULL);
    end_content(a);
}

static void audio(struct mcp_ask *a)
{
    begin_content(a);
    write_media(a, NULL, "audio", "audio/wav", CONFORMANCE_WAV);
    end_content(a);
}

static void embedded_resource(struct mcp_ask *a)
{
    begin_content(a);
    conformance_resource(a, NULL, SLICE("test://embedded-resource"), "text/plain",
                         SLICE("This is an embedded resource content."));
    end_content(a);
}

static void mixed_content(struct mcp_ask *a)
{
    begin_content(a);
    conformance_text(a, NULL, SLICE("Multiple content types test:"));
    conformance_image(a, NULL);
    conformance_resource(a, NULL, SLICE("test://mixed-content-resource"), "application/json",
                         SLICE("{\"test\":\"data\",\"value\":123}"));
    end_content(a);
}

static void error_handling(struct mcp_ask *a)
{
    say_error(a, "This tool intentionally returns an error for testing");
}

static void echo_arguments(struct mcp_ask *a)
{
    AUTO(buf) text = {0};

    json_write(&text, args_of(a));
    say(a, buf_slice(&text));
}

/* ---- on the request's stream ---- */

static void log_end(struct mcp_ask *a)
{
    mcp_log(a, MCP_INFO, "conformance", SLICE("\"Tool execution completed\""));
    say(a, SLICE("Three messages were logged."));
}

static void log_middle(struct mcp_ask *a)
{
    mcp_log(a, MCP_INFO, "conformance", SLICE("\"Tool processing data\""));
    mcp_later(a, PAUSE_MS, log_end);
}

static void logging(struct mcp_ask *a)
{
    mcp_log(a, MCP_INFO, "conformance", SLICE("\"Tool execution started\""));
    mcp_later(a, PAUSE_MS, log_middle);
}

static void progress_end(struct mcp_ask *a)
{
    mcp_progress(a, 100, 100);
    say(a, SLICE("Progress went from 0 to 100."));
}

static void progress_middle(struct mcp_ask *a)
{
    mcp_progress(a, 50, 100);
    mcp_later(a, PAUSE_MS, progress_end);
}

static void progress(struct mcp_ask *a)
{
    mcp_progress(a, 0, 100);
    mcp_later(a, PAUSE_MS, progress_middle);
}

static void reconnection_end(struct mcp_ask *a)
{
    say(a, SLICE("This answer was fetched after the connection had been closed."));
}

static void reconnection(struct mcp_ask *a)
{
    if (a->hang_up) a->hang_up(a);
    mcp_later(a, RECONNECT_MS, reconnection_end);
}

/* ---- asking the client ---- */

#define NAME_FORM                                                                                  \
    "\"requestedSchema\":{\"type\":\"object\",\"properties\":{\"name\":{\"type\":\"string\"}},"    \
    "\"required\":[\"name\"]}}"

static bool has_ability(struct mcp_ask *a, enum mcp_ability ability)
{
    if (mcp_client_can(a) & ability) return true;
    mcp_refuse_ability(a, ability);
    return false;
}

static void on_sampled(struct mcp_ask *a, const struct json *result)
{
    struct slice text = json_get_text(json_get(result, "content"), "text");

    if (slice_is_none(text))
        say_error(a, "The client did not sample.");
    else
        say(a, arena_printf(&a->arena, "LLM response: " SLICE_FMT, SLICE_ARG(text)));
}

static void sampling(struct mcp_ask *a)
{
    AUTO(buf) params = {0};
    struct pen p = pen_on(&params);

    if (a->era == MCP_MODERN || !has_ability(a, MCP_CAN_SAMPLE)) {
        if (a->era == MCP_MODERN) say_error(a, "Sampling by a request needs an older revision.");
        return;
    }
    pen_object(&p, NULL);
    pen_array(&p, "messages");
    pen_object(&p, NULL);
    pen_word(&p, "role", "user");
    pen_object(&p, "content");
    pen_word(&p, "type", "text");
    pen_text(&p, "text", json_get_text(args_of(a), "prompt"));
    pen_end(&p);
    pen_end(&p);
    pen_end(&p);
    pen_int(&p, "maxTokens", 100);
    pen_end(&p);
    mcp_request_client(a, "sampling/createMessage", buf_slice(&params), on_sampled);
}

static void say_elicited(struct mcp_ask *a, const char *words, const struct json *result)
{
    AUTO(buf) content = {0};

    if (!result) {
        say_error(a, "The client did not elicit.");
        return;
    }
    json_write(&content, json_get(result, "content"));
    say(a,
        arena_printf(&a->arena, "%s: action=" SLICE_FMT ", content=" SLICE_FMT, words,
                     SLICE_ARG(json_get_text(result, "action")), SLICE_ARG(buf_slice(&content))));
}

static void on_elicited(struct mcp_ask *a, const struct json *result)
{
    say_elicited(a, "Elicitation completed", result);
}

static void elicit(struct mcp_ask *a, struct slice message, const char *schema)
{
    AUTO(buf) params = {0};
    struct pen p = pen_on(&params);

    if (a->era == MCP_MODERN) {
        say_error(a, "Elicitation by a request needs an older revision.");
        return;
    }
    if (!has_ability(a, MCP_CAN_ELICIT)) return;
    pen_object(&p, NULL);
    pen_text(&p, "message", message);
    pen_raw(&p, "requestedSchema", slice_text(schema));
    pen_end(&p);
    mcp_request_client(a, "elicitation/create", buf_slice(&params), on_elicited);
}

static void elicitation(struct mcp_ask *a)
{
    elicit(a, json_get_text(args_of(a), "message"),
           "{\"type\":\"object\",\"properties\":{"
           "\"username\":{\"type\":\"string\",\"description\":\"User's response\"},"
           "\"email\":{\"type\":\"string\",\"description\":\"User's email address\"}},"
           "\"required\":[\"username\",\"email\"]}");
}

static void elicitation_defaults(struct mcp_ask *a)
{
    elicit(a, SLICE("Please look at the defaults"),
           "{\"type\":\"object\",\"properties\":{"
           "\"name\":{\"type\":\"string\",\"default\":\"John Doe\"},"
           "\"age\":{\"type\":\"integer\",\"default\":30},"
           "\"score\":{\"type\":\"number\",\"default\":95.5},"
           "\"status\":{\"type\":\"string\",\"enum\":[\"active\",\"inactive\",\"pending\"],"
           "\"default\":\"active\"},"
           "\"verified\":{\"type\":\"boolean\",\"default\":true}},\"required\":[]}");
}

static void elicitation_enums(struct mcp_ask *a)
{
    elicit(a, SLICE("Please choose"),
           "{\"type\":\"object\",\"properties\":{"
           "\"untitledSingle\":{\"type\":\"string\",\"enum\":[\"option1\",\"option2\","
           "\"option3\"]},"
           "\"titledSingle\":{\"type\":\"string\",\"oneOf\":["
           "{\"const\":\"value1\",\"title\":\"First Option\"},"
           "{\"const\":\"value2\",\"title\":\"Second Option\"},"
           "{\"const\":\"value3\",\"title\":\"Third Option\"}]},"
           "\"legacyEnum\":{\"type\":\"string\",\"enum\":[\"opt1\",\"opt2\",\"opt3\"],"
           "\"enumNames\":[\"Option One\",\"Option Two\",\"Option Three\"]},"
           "\"untitledMulti\":{\"type\":\"array\",\"items\":{\"type\":\"string\","
           "\"enum\":[\"option1\",\"option2\",\"option3\"]}},"
           "\"titledMulti\":{\"type\":\"array\",\"items\":{\"anyOf\":["
           "{\"const\":\"value1\",\"title\":\"First Choice\"},"
           "{\"const\":\"value2\",\"title\":\"Second Choice\"},"
           "{\"const\":\"value3\",\"title\":\"Third Choice\"}]}}},\"required\":[]}");
}

/* ---- results that ask for input ---- */

static const struct mcp_input user_name = {MCP_CAN_ELICIT, "user_name", "elicitation/create",
                                           SLICE("{\"message\":\"What is your name?\"," NAME_FORM)};
static const struct mcp_input capital = {
    MCP_CAN_SAMPLE, "capital_question", "sampling/createMessage",
    SLICE("{\"messages\":[{\"role\":\"user\",\"content\":{\"type\":\"text\",\"text\":\"What is the "
          "capital of France?\"}}],\"maxTokens\":100}")};
static const struct mcp_input roots = {MCP_CAN_LIST_ROOTS, "client_roots", "roots/list",
                                       SLICE("{}")};
static const struct mcp_input confirm = {
    MCP_CAN_ELICIT, "confirm", "elicitation/create",
    SLICE("{\"message\":\"Please confirm\",\"requestedSchema\":{\"type\":\"object\","
          "\"properties\":{\"ok\":{\"type\":\"boolean\"}},\"required\":[\"ok\"]}}")};
static const struct mcp_input step1 = {
    MCP_CAN_ELICIT, "step1", "elicitation/create",
    SLICE("{\"message\":\"Step 1: What is your name?\"," NAME_FORM)};
static const struct mcp_input step2 = {
    MCP_CAN_ELICIT, "step2", "elicitation/create",
    SLICE("{\"message\":\"Step 2: What is your favorite color?\",\"requestedSchema\":{"
          "\"type\":\"object\",\"properties\":{\"color\":{\"type\":\"string\"}},"
          "\"required\":[\"color\"]}}")};

/* What the user wrote into one field of a form; SLICE_NONE when the form was not filled in so. */
static struct slice field(const struct mcp_ask *a, const char *key, const char *name)
{
    return json_get_text(json_get(mcp_input(a, key), "content"), name);
}

static void need_elicitation(struct mcp_ask *a)
{
    struct slice name = field(a, "user_name", "name");

    if (slice_is_none(name))
        mcp_need(a, &user_name, 1, SLICE_NONE);
    else
        say(a, arena_printf(&a->arena, "Hello, " SLICE_FMT "!", SLICE_ARG(name)));
}

static void need_sampling(struct mcp_ask *a)
{
    struct slice text = json_get_text(json_get(mcp_input(a, capital.key), "content"), "text");

    if (slice_is_none(text))
        mcp_need(a, &capital, 1, SLICE_NONE);
    else
        say(a, text);
}

static void need_roots(struct mcp_ask *a)
{
    const struct json *list = json_get(mcp_input(a, roots.key), "roots");
    AUTO(buf) text = {0};

    if (json_kind(list) != JSON_ARR) {
        mcp_need(a, &roots, 1, SLICE_NONE);
        return;
    }
    json_write(&text, list);
    say(a, buf_slice(&text));
}

static void need_state(struct mcp_ask *a)
{
    struct slice state;

    if (!mcp_state(a, &state)) return;
    if (slice_is(state, "confirming") && mcp_input(a, confirm.key))
        say(a, SLICE("state-ok"));
    else
        mcp_need(a, &confirm, 1, SLICE("confirming"));
}

static void need_several(struct mcp_ask *a)
{
    static const struct mcp_input greeting = {
        MCP_CAN_SAMPLE, "greeting", "sampling/createMessage",
        SLICE("{\"messages\":[{\"role\":\"user\",\"content\":{\"type\":\"text\",\"text\":"
              "\"Generate a greeting\"}}],\"maxTokens\":50}")};
    const struct mcp_input all[] = {user_name, greeting, roots};
    struct slice state;

    if (!mcp_state(a, &state)) return;
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        if (mcp_input(a, all[i].key)) continue;
        mcp_need(a, all, ARRAY_LEN(all), SLICE("several"));
        return;
    }
    say(a, SLICE("All inputs are there."));
}

static void need_rounds(struct mcp_ask *a)
{
    struct slice state, name = field(a, step1.key, "name"), color = field(a, step2.key, "color");

    if (!mcp_state(a, &state)) return;
    if (slice_is(state, "1") && name.len)
        mcp_need(a, &step2, 1, arena_printf(&a->arena, "2" SLICE_FMT, SLICE_ARG(name)));
    else if (slice_starts_with(state, SLICE("2")) && color.len)
        say(a, arena_printf(&a->arena, SLICE_FMT " likes " SLICE_FMT,
                            SLICE_ARG(slice_from(state, 1)), SLICE_ARG(color)));
    else
        mcp_need(a, &step1, 1, SLICE("1"));
}

static void need_what_is_there(struct mcp_ask *a)
{
    const struct mcp_input both[] = {user_name, capital};

    if (mcp_input(a, user_name.key) || mcp_input(a, capital.key))
        say(a, SLICE("An input is there."));
    else
        mcp_need(a, both, ARRAY_LEN(both), SLICE_NONE);
}

static void missing_capability(struct mcp_ask *a)
{
    if (has_ability(a, MCP_CAN_SAMPLE)) say(a, SLICE("The client can sample."));
}

static void log_once(struct mcp_ask *a)
{
    mcp_log(a, MCP_INFO, "conformance", SLICE("\"A message for those who asked\""));
    say(a, SLICE("Logged."));
}

static void change_tools(struct mcp_ask *a)
{
    mcp_list_changed(a->home->mcp, MCP_LIST_TOOLS);
    say(a, SLICE("Told that the tools changed."));
}

static void change_prompts(struct mcp_ask *a)
{
    mcp_list_changed(a->home->mcp, MCP_LIST_PROMPTS);
    say(a, SLICE("Told that the prompts changed."));
}

/* ---- the table ---- */

#define ONE_TEXT(name)                                                                             \
    "{\"type\":\"object\",\"properties\":{\"" name                                                 \
    "\":{\"type\":\"string\"}},\"required\":[\"" name "\"]}"

#define SCHEMA_2020_12                                                                             \
    "{\"$schema\":\"https://json-schema.org/draft/2020-12/schema\",\"type\":\"object\","           \
    "\"$defs\":{\"address\":{\"$anchor\":\"addressDef\",\"type\":\"object\",\"properties\":{"      \
    "\"street\":{\"type\":\"string\"},\"city\":{\"type\":\"string\"}}}},"                          \
    "\"properties\":{\"name\":{\"type\":\"string\"},\"address\":{\"$ref\":\"#/$defs/address\"},"   \
    "\"contactMethod\":{\"type\":\"string\",\"enum\":[\"phone\",\"email\"]},"                      \
    "\"phone\":{\"type\":\"string\"},\"email\":{\"type\":\"string\"}},"                            \
    "\"allOf\":[{\"anyOf\":[{\"required\":[\"phone\"]},{\"required\":[\"email\"]}]}],"             \
    "\"if\":{\"properties\":{\"contactMethod\":{\"const\":\"phone\"}},"                            \
    "\"required\":[\"contactMethod\"]},\"then\":{\"required\":[\"phone\"]},"                       \
    "\"else\":{\"required\":[\"email\"]},\"additionalProperties\":false}"

static const struct tool_row {
    const char *name, *description;
    const char *schema; /* NULL: no arguments */
    void (*run)(struct mcp_ask *a);
} tools[] = {
    {"test_simple_text", "Answers with a text", NULL, simple_text},
    {"test_image_content", "Answers with a picture", NULL, image},
    {"test_audio_content", "Answers with a sound", NULL, audio},
    {"test_embedded_resource", "Answers with a resource", NULL, embedded_resource},
    {"test_multiple_content_types", "Answers with text, picture and resource", NULL, mixed_content},
    {"test_error_handling", "Always fails", NULL, error_handling},
    {"test_tool_with_logging", "Logs three messages", NULL, logging},
    {"test_tool_with_progress", "Tells its progress", NULL, progress},
    {"test_sampling", "Asks the client's model", ONE_TEXT("prompt"), sampling},
    {"test_elicitation", "Asks the client's user", ONE_TEXT("message"), elicitation},
    {"test_elicitation_sep1034_defaults", "A form with defaults", NULL, elicitation_defaults},
    {"test_elicitation_sep1330_enums", "A form with choices", NULL, elicitation_enums},
    {"json_schema_2020_12_tool", "Has a rich schema", SCHEMA_2020_12, echo_arguments},
    {"test_reconnection", "Closes the connection and answers later", NULL, reconnection},
    {"test_x_mcp_header", "Has an argument that is also a header",
     "{\"type\":\"object\",\"properties\":{\"region\":{\"type\":\"string\","
     "\"x-mcp-header\":\"Region\"}}}",
     echo_arguments},
    {"test_missing_capability", "Needs a client that can sample", NULL, missing_capability},
    {"test_streaming_elicitation", "Needs a name", NULL, need_elicitation},
    {"test_logging_tool", "Logs one message", NULL, log_once},
    {"test_trigger_tool_change", "Says that the tools changed", NULL, change_tools},
    {"test_trigger_prompt_change", "Says that the prompts changed", NULL, change_prompts},
    {"test_input_required_result_elicitation", "Needs a name", NULL, need_elicitation},
    {"test_input_required_result_sampling", "Needs a model", NULL, need_sampling},
    {"test_input_required_result_list_roots", "Needs the roots", NULL, need_roots},
    {"test_input_required_result_request_state", "Needs its state", NULL, need_state},
    {"test_input_required_result_multiple_inputs", "Needs three inputs", NULL, need_several},
    {"test_input_required_result_multi_round", "Needs two rounds", NULL, need_rounds},
    {"test_input_required_result_tampered_state", "Needs its own state", NULL, need_state},
    {"test_input_required_result_capabilities", "Needs what the client has", NULL,
     need_what_is_there},
};

void conformance_tools_list(struct mcp_ask *a)
{
    if (!mcp_single_page(a)) return;
    mcp_begin(a);
    pen_array(&a->pen, "tools");
    for (size_t i = 0; i < ARRAY_LEN(tools); i++) {
        const char *schema = tools[i].schema;
        pen_object(&a->pen, NULL);
        pen_word(&a->pen, "name", tools[i].name);
        pen_word(&a->pen, "description", tools[i].description);
        pen_raw(&a->pen, "inputSchema", slice_text(schema ? schema : "{\"type\":\"object\"}"));
        pen_end(&a->pen);
    }
    pen_end(&a->pen);
    mcp_done(a);
}

void conformance_tools_call(struct mcp_ask *a)
{
    struct slice name = json_get_text(a->message.params, "name");

    for (size_t i = 0; i < ARRAY_LEN(tools); i++) {
        if (!slice_is(name, tools[i].name)) continue;
        tools[i].run(a);
        return;
    }
    mcp_refuse(a, RPC_BAD_PARAMS, "Unknown tool: " SLICE_FMT, SLICE_ARG(text_cut(name, 64)));
}
