/* server/limits.def against the headers and against server/LIMITS.md. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

#include "proto/client/account.h"
#include "proto/client/ask_phone.h"
#include "proto/client/bundles.h"
#include "proto/client/content.h"
#include "proto/client/devices.h"
#include "proto/client/mapping.h"
#include "proto/client/message_info.h"
#include "proto/client/message_out.h"
#include "proto/client/offline.h"
#include "proto/client/pair_qr.h"
#include "proto/client/prekeys.h"
#include "proto/client/receipt.h"
#include "proto/client/retry_in.h"
#include "proto/client/retry_out.h"
#include "proto/client/tokens.h"
#include "proto/schema/unpack.h"
#include "proto/signal/group.h"
#include "proto/signal/record.h"
#include "proto/signal/session.h"
#include "proto/wire/jid.h"
#include "server/account/inside.h"
#include "server/account/link.h"
#include "server/account/terms.h"
#include "server/account/turn.h"
#include "server/api/args.h"
#include "server/api/call.h"
#include "server/api/json.h"
#include "server/api/tool.h"
#include "server/config.h"
#include "server/events/hub.h"
#include "server/http/http.h"
#include "server/mcp/inside.h"
#include "server/mcp/mcp_client.h"
#include "server/mcp/mcp_session.h"
#include "server/mcp/mcp_stream.h"
#include "server/mcp/rpc.h"
#include "server/net/resolve.h"
#include "server/net/rootkey.h"
#include "server/rest/feed.h"
#include "server/rest/keys.h"
#include "server/tenant/subscriptions.h"
#include "storage/idempotency.h"
#include "storage/search.h"

struct limit {
    const char *name; /* NULL: a group, which `what` names */
    long long value;
    const char *what, *above;
};

static const struct limit limits[] = {
#define GROUP(what) {NULL, 0, what, NULL},
#define LIMIT(name, what, above) {#name, name, what, above},
#include "server/limits.def"
#undef LIMIT
#undef GROUP
};

/* Sizes of our own texts and tables, which nobody outside can exceed. */
static const char *const own[] = {
    "TEXT_TIME_MAX",
    "WA_PHASH_MAX",
    "WA_JID_TEXT_MAX",
    "WA_PACKED_MAX",
    "WA_PREKEY_ID_MAX",
    "WA_ROUTING_MAX",
    "WA_RECEIPT_IDS_MAX",
    "WA_ARCHIVED_CHAINS_MAX",
    "ACCOUNT_ID_MAX",
    "ACCOUNT_CODE_MAX",
    "ACCOUNT_PAIRING_MAX",
    "ACCOUNT_ADDRESS_MAX",
    "ACCOUNT_NAME_MAX",
    "ACCOUNT_WORDS_MAX",
    "LINK_HOST_MAX",
    "LINK_PATH_MAX",
    "PRINCIPAL_KEY_MAX",
    "SUBSCRIPTION_ID_MAX",
    "HUB_KEY_FILTERS_MAX",
    "RESOLVE_NAME_MAX",
    "RESOLVE_NAMES_MAX",
    "JSON_PEN_DEPTH_MAX",
    "QR_TEXT_MAX",
    "METRICS_WORKERS_MAX",
    "SESSION_TEXT_MAX",
    "SESSION_URIS_MAX",
    "SESSION_URI_MAX",
    "KEY_NAME_MAX",
    "KEYS_LOOK_MAX",
    "SESSION_ID_MAX",
    "SUBSCRIPTION_NAME_MAX",
    "ADDRESS_MAX",
    "CONTACT_PARTS_MAX",
    "EVENT_PARTS_MAX",
    "CONTACT_NAME_MAX",
    "POSTINGS_MAX",
    "KEY_MAX",
    "STANZA_ID_MAX",
    "ID_TEXT_MAX",
    "SEARCH_BLOCKS_MAX",
    "TERM_MAX",
    "TAIL_MAX",
    "RECENT_MAX",
    "AUTH_KEY_MAX",
};

/* Inside a .c, and why it bounds nothing that somebody outside chooses. */
static struct {
    const char *name, *why;
    bool is_met;
} inner[] = {
    {"HKDF_MAX", "what HKDF can give; callers ask for constants", false},
    {"UPDATE_MAX", "how OpenSSL takes long inputs in pieces", false},
    {"PAD_MAX", "padding that we write", false},
    {"MAKE_MAX", "prekeys that our own option asks for", false},
    {"KEEP_MAX", "memory kept while nothing waits", false},
    {"TEXT_MAX", "the longest of our own tokens", false},
    {"FOLDED_MAX", "above the longest folding that Unicode has of one character", false},
    {"COST_MAX", "work of one slice of our own job", false},
    {"BODY_MAX", "the body of ids that we made; others do not decode to it", false},
    {"LEVELS_MAX", "depth that LMDB's trees have; others are damage", false},
    {"PAGE_MAX", "pages that LMDB makes; others are damage", false},
    {"MENDS_MAX", "flipped bits that one start mends; more is damage", false},
    {"UNWRITTEN_MAX", "pages that a commit allots and does not write", false},
    {"PASSED_MAX", "rows looked at behind the end of a range, for damage", false},
};

/* ---- LIMITS.md ---- */

static void put_value(struct buf *out, long long value)
{
    if (value >= 1 << 20 && value % (1 << 20) == 0)
        buf_printf(out, "%lld MiB", value >> 20);
    else
        buf_printf(out, "%lld", value);
}

static void write_page(struct buf *out)
{
    buf_put_text(out, "# Limits\n\nEvery limit on what comes from outside, from `limits.def`. Each "
                      "stands in the header of who enforces it.\n");
    for (size_t i = 0; i < ARRAY_LEN(limits); i++) {
        const struct limit *l = &limits[i];
        if (!l->name) {
            buf_printf(out,
                       "\n## %s\n\n| limit | value | of what | above it |\n|---|---|---|---|\n",
                       l->what);
            continue;
        }
        buf_printf(out, "| `%s` | ", l->name);
        put_value(out, l->value);
        buf_printf(out, " | %s | %s |\n", l->what, l->above);
    }
}

static void read_file(const char *path, struct buf *out)
{
    char bytes[65536];
    FILE *f = fopen(path, "re");
    size_t n;

    cr_assert(f, "%s", path);
    while ((n = fread(bytes, 1, sizeof(bytes), f)))
        buf_put(out, slice_of(bytes, n));
    fclose(f);
}

#define ROOT TESTS_DIR "/../"

Test(limits, the_page_says_what_the_table_says)
{
    AUTO(buf) page = {0}, file = {0};

    write_page(&page);
    read_file(ROOT "server/LIMITS.md", &file);
    if (!slice_eq(buf_slice(&page), buf_slice(&file)))
        fprintf(stderr, "<<<\n%s>>>\n", buf_text(&page));
    cr_assert(slice_eq(buf_slice(&page), buf_slice(&file)), "LIMITS.md should read as printed");
}

/* ---- the headers ---- */

static bool is_listed(const char *name, bool in_header)
{
    for (size_t i = 0; !in_header && i < ARRAY_LEN(inner); i++)
        if (strcmp(inner[i].name, name) == 0) return inner[i].is_met = true;
    for (size_t i = 0; i < ARRAY_LEN(limits); i++)
        if (limits[i].name && strcmp(limits[i].name, name) == 0) return true;
    for (size_t i = 0; i < ARRAY_LEN(own); i++)
        if (strcmp(own[i], name) == 0) return true;
    return false;
}

/* Names that end in _MAX and get a value. */
static unsigned check_source(const char *path, bool is_header)
{
    AUTO(buf) file = {0};
    unsigned unlisted = 0;
    char name[64];

    read_file(path, &file);
    for (const char *at = buf_text(&file); (at = strstr(at, "_MAX")); at += 4) {
        const char *from = at, *behind = at + 4 + strspn(at + 4, " \n");
        while (from > buf_text(&file) && (from[-1] == '_' || (from[-1] >= 'A' && from[-1] <= 'Z')))
            from--;
        if (*behind != '=' || behind[1] == '=') continue;
        snprintf(name, sizeof(name), "%.*s", (int)(at + 4 - from), from);
        if (is_listed(name, is_header)) continue;
        fprintf(stderr, "%s: %s is not in server/limits.def\n", path, name);
        unlisted++;
    }
    return unlisted;
}

Test(limits, every_one_in_the_sources_is_in_the_table)
{
    static const char *const folders[] = {
        "proto/schema", "proto/base",    "proto/crypto",  "proto/wire",
        "proto/signal", "proto/client",  "server",        "server/account",
        "server/net",   "server/events", "server/api",    "server/http",
        "server/mcp",   "server/rest",   "server/tenant", "storage"};
    unsigned unlisted = 0, headers = 0, sources = 0;
    char path[512];

    for (size_t i = 0; i < ARRAY_LEN(folders); i++) {
        snprintf(path, sizeof(path), ROOT "%s", folders[i]);
        DIR *d = opendir(path);
        cr_assert(d, "%s", path);
        for (struct dirent *e; (e = readdir(d));) {
            size_t n = strlen(e->d_name);
            bool is_header = n > 2 && strcmp(e->d_name + n - 2, ".h") == 0;
            if (!is_header && (n < 3 || strcmp(e->d_name + n - 2, ".c") != 0)) continue;
            snprintf(path, sizeof(path), ROOT "%s/%s", folders[i], e->d_name);
            unlisted += check_source(path, is_header);
            headers += is_header;
            sources += !is_header;
        }
        closedir(d);
    }
    cr_assert_gt(headers, 100);
    cr_assert_gt(sources, 100);
    cr_assert_eq(unlisted, 0);
    for (size_t i = 0; i < ARRAY_LEN(inner); i++)
        cr_expect(inner[i].is_met, "%s (%s) is gone: take it off the list", inner[i].name,
                  inner[i].why);
}
