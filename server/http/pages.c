/* Small HTML without scripts: pages refresh themselves by a meta element, so they work in any
 * browser and under a strict content security policy. */
#include "server/http/pages.h"

#include <stdlib.h>

#include "proto/base/text.h"
#include "server/api/json.h"
#include "server/api/qr.h"
#include "server/config.h"
#include "server/directory.h"
#include "server/server.h"
#include "server/worker.h"

enum { REFRESH_S = 3, ACCOUNTS_SHOWN = 200, PNG_SCALE = 8, TENANT_SHOWN = 1 };

static const char style[] =
    "body{font:16px/1.5 system-ui,sans-serif;max-width:44rem;margin:3rem auto;padding:0 1rem;"
    "color:#1c1e21}svg{width:min(80vw,22rem);height:auto;display:block;margin:1rem 0}"
    "table{border-collapse:collapse}td,th{padding:.3rem 1rem .3rem 0;text-align:left}"
    "code{background:#f0f2f5;padding:.1rem .3rem}";

/* ---- helpers ---- */

static void put_html(struct buf *out, struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        switch (text.data[i]) {
        case '<': buf_put_text(out, "&lt;"); break;
        case '>': buf_put_text(out, "&gt;"); break;
        case '&': buf_put_text(out, "&amp;"); break;
        case '"': buf_put_text(out, "&quot;"); break;
        default: buf_put_u8(out, text.data[i]);
        }
    }
}

static void open_page(struct buf *out, const char *title, bool refreshes)
{
    buf_put_text(out, "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">"
                      "<meta name=\"viewport\" content=\"width=device-width\">"
                      "<link rel=\"icon\" href=\"data:,\">");
    if (refreshes) buf_printf(out, "<meta http-equiv=\"refresh\" content=\"%d\">", REFRESH_S);
    buf_printf(out, "<title>%s</title><style>%s</style></head><body>", title, style);
}

static void reply_page(struct request *r, int status, struct buf *page)
{
    buf_put_text(page, "</body></html>");
    reply_header(r, "Content-Security-Policy",
                 SLICE("default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
                       "frame-ancestors 'none'"));
    reply_header(r, "Referrer-Policy", SLICE("no-referrer"));
    reply_bytes(r, status, "text/html; charset=utf-8", buf_slice(page));
}

static bool wants_html(const struct request *r)
{
    struct slice accept = request_header(r, "accept"), one;

    while (slice_split(&accept, ',', &one)) {
        while (one.len && one.data[0] == ' ')
            one = slice_from(one, 1);
        if (slice_starts_with(one, SLICE("text/html"))) return true;
    }
    return false;
}

/* ---- the code ---- */

static void write_steps(struct buf *out, const struct account_status *s, int64_t now)
{
    int64_t left = s->code_expires_at - now;

    buf_printf(out,
               "<p>This code is valid for %lld more seconds; %u follow. The page refreshes itself."
               "</p><ol><li>Open WhatsApp on the phone.</li>"
               "<li>Settings (iPhone) or the menu (Android).</li><li>Linked devices.</li>"
               "<li>Link a device.</li><li>Point the camera at this code.</li></ol>",
               (long long)(left > 0 ? left / 1000 : 0), s->codes_left);
    if (s->sandbox) buf_put_text(out, "<p><b>Sandbox:</b> only a simulated phone can scan it.</p>");
}

static void reply_code_page(struct request *r, const struct account_status *s)
{
    AUTO(buf) page = {0};

    open_page(&page, "Pair with WhatsApp", true);
    buf_put_text(&page, "<h1>Pair with WhatsApp</h1>");
    if (!*s->code) {
        buf_put_text(&page, "<p>The next code is on its way.</p>");
    } else if (qr_svg(slice_text(s->code), &page) == OK) {
        write_steps(&page, s, worker_now(r->worker));
    }
    reply_page(r, 200, &page);
}

static void reply_code_json(struct request *r, const struct account_status *s)
{
    AUTO(buf) body = {0};
    struct pen p = pen_on(&body);

    pen_object(&p, NULL);
    pen_word(&p, "account_id", s->id);
    pen_word(&p, "status", account_state_text(s->state));
    pen_text(&p, "code", *s->code ? slice_text(s->code) : SLICE_NONE);
    pen_time(&p, "expires_at", *s->code ? s->code_expires_at : 0);
    pen_int(&p, "codes_left", s->codes_left);
    pen_end(&p);
    reply_json(r, 200, buf_slice(&body));
}

static const struct {
    const char *name, *content_type;
} pictures[] = {
    {"png", "image/png"}, {"svg", "image/svg+xml"}, {"text", "text/plain; charset=utf-8"}};

static err_t paint(struct slice format, struct slice code, struct buf *out)
{
    if (slice_is(format, "png")) return qr_png(code, PNG_SCALE, out);
    if (slice_is(format, "svg")) return qr_svg(code, out);
    return qr_terminal(code, out);
}

/* False when `format` names no picture. */
static bool reply_picture(struct request *r, struct slice format, const struct account_status *s)
{
    AUTO(buf) body = {0};

    for (size_t i = 0; i < ARRAY_LEN(pictures); i++) {
        if (!slice_is(format, pictures[i].name)) continue;
        if (!*s->code || paint(format, slice_text(s->code), &body) != OK)
            reply_problem(r, 404, "not_found", "there is no code at the moment");
        else
            reply_bytes(r, 200, pictures[i].content_type, buf_slice(&body));
        return true;
    }
    return false;
}

static void reply_code(struct request *r, const struct account_status *s)
{
    struct slice format = request_query(r, "format");

    reply_header(r, "Vary", SLICE("Accept"));
    if (format.len && reply_picture(r, format, s)) return;
    if (slice_is(format, "json") || !wants_html(r))
        reply_code_json(r, s);
    else
        reply_code_page(r, s);
}

static void reply_ended(struct request *r)
{
    AUTO(buf) page = {0};

    if (!wants_html(r)) {
        reply_problem(r, 404, "not_found",
                      "this pairing has ended; get_account_status says how, pair_account starts "
                      "another");
        return;
    }
    open_page(&page, "Pairing ended", false);
    buf_put_text(&page, "<h1>This pairing has ended</h1><p>If the code was scanned, the account is "
                        "connected now. Otherwise its codes ran out: start another with "
                        "<code>pair_account</code>.</p>");
    reply_page(r, 200, &page); /* an expected end, which a browser need not report as an error */
}

static void on_pairing(struct request *r)
{
    struct server *s = http_context(r);
    struct account_status status;

    if (directory_pairing(s->directory, r->params[0], &status))
        reply_code(r, &status);
    else
        reply_ended(r);
}

static void reply_no_pairing(struct request *r)
{
    AUTO(buf) page = {0};

    if (!wants_html(r)) {
        reply_problem(r, 404, "not_found", "no account is being paired; call pair_account");
        return;
    }
    open_page(&page, "No pairing", true);
    buf_put_text(&page, "<h1>No account is being paired</h1><p>Start with "
                        "<code>pair_account</code>; this page shows the code then.</p>");
    reply_page(r, 200, &page);
}

static void on_newest(struct request *r)
{
    struct server *s = http_context(r);
    struct account_status status;

    if (!request_is_local(r))
        reply_problem(r, 403, "forbidden",
                      "/qr is for people at this machine, and you cannot be told from a proxy; "
                      "use the url that pair_account answered, or parleyctl pair");
    else if (directory_newest_pairing(s->directory, &status))
        reply_code(r, &status);
    else
        reply_no_pairing(r);
}

/* ---- the status ---- */

static size_t list_accounts(struct server *s, struct account_status *out)
{
    size_t n = directory_list(s->directory, TENANT_SHOWN, false, SLICE(""), out, ACCOUNTS_SHOWN);

    return n +
           directory_list(s->directory, TENANT_SHOWN, true, SLICE(""), out + n, ACCOUNTS_SHOWN - n);
}

static void write_row(struct buf *page, const struct account_status *s)
{
    buf_put_text(page, "<tr><td>");
    put_html(page, slice_text(*s->phone ? s->phone : "not paired yet"));
    buf_put_text(page, "</td><td>");
    put_html(page, slice_text(s->name));
    const char *state = account_state_text(s->state), *reason = wa_reason_text(s->reason);
    bool has_reason = s->reason != WA_REASON_NONE && strcmp(reason, state) != 0;
    buf_printf(page, "</td><td>%s%s%s</td><td>%s</td></tr>", state, has_reason ? ", " : "",
               has_reason ? reason : "", s->sandbox ? "sandbox" : "WhatsApp");
}

static void write_table(struct server *s, struct buf *page)
{
    struct account_status *list = xcalloc(ACCOUNTS_SHOWN * sizeof(*list));
    size_t n = list_accounts(s, list);

    buf_put_text(page, "<table><tr><th>Number</th><th>Name</th><th>State</th><th>World</th></tr>");
    for (size_t i = 0; i < n; i++)
        write_row(page, &list[i]);
    buf_put_text(page, "</table>");
    free(list);
}

static void reply_status_page(struct request *r, struct server *s)
{
    struct directory_counts counts;
    bool is_local = request_is_local(r);
    AUTO(buf) page = {0};

    directory_count(s->directory, &counts);
    open_page(&page, "Parley", true);
    buf_printf(&page, "<h1>Parley</h1><p>%zu account%s, %zu connected.</p>", counts.accounts,
               counts.accounts == 1 ? "" : "s", counts.by_state[ACCOUNT_CONNECTED]);
    if (is_local && !counts.accounts)
        buf_put_text(&page, "<p>Pair one: <code>parleyctl pair</code>, or without a phone "
                            "<code>parleyctl pair --sandbox</code>.</p>");
    else if (is_local)
        write_table(s, &page);
    buf_put_text(&page, "<p>MCP: <code>/mcp</code> · REST: <code>/v1</code> "
                        "(<a href=\"/openapi.json\">described</a>) · events: "
                        "<code>/v1/events</code>");
    if (is_local) buf_put_text(&page, " · pairing: <a href=\"/qr\">/qr</a>");
    buf_put_text(&page, "</p>");
    reply_page(r, 200, &page);
}

static void reply_status_json(struct request *r, struct server *s)
{
    struct directory_counts counts;
    AUTO(buf) body = {0};
    struct pen p = pen_on(&body);

    directory_count(s->directory, &counts);
    pen_object(&p, NULL);
    pen_word(&p, "name", "parley");
    pen_word(&p, "version", PARLEY_VERSION);
    pen_word(&p, "status", "ok");
    pen_object(&p, "accounts");
    pen_int(&p, "total", (int64_t)counts.accounts);
    for (size_t i = 0; i < ARRAY_LEN(counts.by_state); i++)
        pen_int(&p, account_state_text((enum account_state)i), (int64_t)counts.by_state[i]);
    pen_end(&p);
    pen_end(&p);
    reply_json(r, 200, buf_slice(&body));
}

static void on_root(struct request *r)
{
    reply_header(r, "Vary", SLICE("Accept"));
    if (wants_html(r))
        reply_status_page(r, http_context(r));
    else
        reply_status_json(r, http_context(r));
}

const struct route page_routes[] = {
    {"GET", "/", on_root},
    {"GET", "/qr", on_newest},
    {"GET", "/qr/{pairing}", on_pairing},
    {NULL, NULL, NULL},
};
