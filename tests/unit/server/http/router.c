/* Paths, methods and the names a server goes by. */
#include "tests/support/http_door.h"

static const struct route routes[] = {
    {"GET", "/echo", on_echo},
    {"POST", "/echo", on_echo},
    {"GET", "/p/{name}", on_param},
    {0},
};

static void start(void) { door_start(routes); }

TestSuite(router, .init = start, .fini = door_stop);

/* What a proxy in front took for one segment is one here, too. */
Test(router, an_encoded_slash_parts_no_segments)
{
    cr_assert(strstr(ask("GET /p%2fx HTTP/1.1\r\n" H CLOSE "\r\n"), " 404 "));
    cr_assert(strstr(ask("GET /p/a%2Fb%20c HTTP/1.1\r\n" H CLOSE "\r\n"), "\r\n\r\na%2Fb c"));
}

Test(router, configured_names_and_head_and_options_work)
{
    cr_assert(
        strstr(ask("GET /echo HTTP/1.1\r\nHost: parley.example:443\r\n" CLOSE "\r\n"), "200"));
    const char *head = ask("HEAD /echo HTTP/1.1\r\n" H CLOSE "\r\n");
    cr_assert(strstr(head, "Content-Length: 14\r\n"));
    cr_assert_str_eq(strstr(head, "\r\n\r\n"), "\r\n\r\n");
    cr_assert(strstr(ask("OPTIONS /echo HTTP/1.1\r\n" H CLOSE "\r\n"), "Allow: GET, HEAD, POST"));
}

Test(router, the_name_of_the_public_url_is_accepted)
{
    static const struct {
        const char *header, *status;
    } rows[] = {
        {"Host: Public.example", "200"},
        {"Host: public.example:8443", "200"},
        {"Host: public.example.org", "403"},
        {"Host: ", "403"},
        {H "Origin: https://public.example:8443", "200"},
        {H "Origin: HTTPS://public.example", "200"},
        {H "Origin: ftp://public.example", "403"},
        {H "Origin: https://elsewhere.example", "403"},
        {H "Origin: public.example", "403"},
        {H "Origin: null", "403"},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char text[300];
        snprintf(text, sizeof(text), "GET /echo HTTP/1.1\r\n%s\r\n" CLOSE "\r\n", rows[i].header);
        cr_expect(strncmp(ask(text) + 9, rows[i].status, 3) == 0, "%s", rows[i].header);
    }
}
