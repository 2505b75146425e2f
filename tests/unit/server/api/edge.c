#include <criterion/criterion.h>

#include "server/api/edge.h"
#include "server/api/json.h"

Test(edge, gives_each_error_its_public_code)
{
    static const struct {
        err_t error;
        int status;
        const char *code;
    } rows[] = {
        {ERR_BAD_ARGUMENT, 400, "invalid_request"},  {ERR_BAD_JSON, 400, "invalid_request"},
        {ERR_UNAUTHORIZED, 401, "unauthorized"},     {ERR_FORBIDDEN, 403, "forbidden"},
        {ERR_NOT_FOUND, 404, "not_found"},           {ERR_NOT_ON_WHATSAPP, 404, "not_found"},
        {ERR_NOT_PAIRED, 409, "account_not_paired"}, {ERR_NOT_CONNECTED, 409, "account_not_paired"},
        {ERR_NOT_TRUSTED, 500, "server_error"},      {ERR_PAIRING_REFUSED, 500, "server_error"},
        {ERR_TOO_BUSY, 429, "rate_limited"},         {ERR_NEW_CHATS_CAPPED, 429, "rate_limited"},
        {ERR_BAD_MAC, 500, "server_error"},          {ERR_STORE_FULL, 500, "server_error"},
        {ERR_INTERNAL, 500, "server_error"},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct edge *e = edge_of(rows[i].error);
        cr_assert_eq(e->status, rows[i].status, "%s", err_name(rows[i].error));
        cr_assert_str_eq(e->code, rows[i].code);
    }
}

Test(edge, every_error_has_one)
{
    for (err_t e = OK + 1; e < ERR_COUNT; e++) {
        const struct edge *row = edge_of(e);
        cr_assert(row->status >= 400 && row->status < 600 && row->code, "%s", err_name(e));
    }
}

static struct slice message_of(struct buf *b, err_t e, const char *words, struct json **j)
{
    edge_problem(b, e, words, NULL, NULL);
    cr_assert_eq(json_parse(buf_slice(b), 10000, j), OK);
    return json_get_text(*j, "message");
}

Test(edge, shows_words_only_to_who_can_act_on_them)
{
    AUTO(buf) a = {0}, b = {0}, c = {0};
    struct json *j = NULL;

    cr_assert(slice_is(message_of(&a, ERR_BAD_ARGUMENT, "limit is \"a\"", &j), "limit is \"a\""));
    json_free(j);
    cr_assert(slice_is(message_of(&b, ERR_INTERNAL, "secret state", &j), "an internal error"));
    cr_assert(json_get(j, "retry_after"));
    json_free(j);
    cr_assert(
        slice_is(message_of(&c, ERR_STORE_DAMAGED, "acc_x is damaged", &j), "acc_x is damaged"));
    cr_assert(!json_get(j, "retry_after"), "waiting does not mend it");
    json_free(j);
}

Test(edge, of_what_broke_a_caller_reads_no_row_of_ours)
{
    err_t e = fail(STORE_DAMAGED, "checksum of a record of events does not match");

    cr_expect_str_eq(edge_words(e), err_text(e));
    e = fail(BAD_ARGUMENT, "limit is \"a\"");
    cr_expect_str_eq(edge_words(e), "limit is \"a\"");
    err_clear();
    cr_expect_str_eq(edge_words(ERR_BAD_ARGUMENT), err_text(ERR_BAD_ARGUMENT));
}
