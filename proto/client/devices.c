#include "proto/client/devices.h"

#include "proto/base/reader.h"
#include "proto/base/text.h"
#include "proto/client/iq.h"
#include "proto/client/mapping.h"
#include "proto/signal/adv.h"

enum { ROW_VERSION = 1 };

/* ---- the row ---- */

err_t wa_devices_load(struct wa_client *c, const struct wa_party *who, struct wa_devices *out)
{
    struct slice row;

    *out = (struct wa_devices){0};
    TRY(wa_load(c, WA_NS_DEVICES, wa_party_name(c, who), SLICE(""), &row));
    if (slice_is_none(row)) return OK;

    struct reader r = reader_of(row);
    uint8_t version = reader_u8(&r);
    int64_t at = (int64_t)reader_be64(&r);
    while (r.error == OK && reader_left(&r) > 0 && out->count < WA_DEVICES_MAX) {
        struct wa_device *d = &out->list[out->count++];
        d->id = reader_be16(&r);
        d->hosted = reader_u8(&r);
    }
    if (reader_end(&r) != OK || version != ROW_VERSION)
        return fail(STORE_DAMAGED, "device list of %zu bytes", row.len);
    out->known = c->now - at < WA_DEVICES_AGE_MS && c->now >= at;
    return OK;
}

static void save(struct wa_client *c, const struct wa_party *who, const struct wa_devices *list,
                 int64_t at)
{
    AUTO(buf) row = {0};

    buf_put_u8(&row, ROW_VERSION);
    buf_put_be64(&row, (uint64_t)at);
    for (size_t i = 0; i < list->count; i++) {
        buf_put_be16(&row, list->list[i].id);
        buf_put_u8(&row, list->list[i].hosted);
    }
    wa_save(c, WA_NS_DEVICES, wa_party_name(c, who), SLICE(""), buf_slice(&row));
}

err_t wa_devices_expire(struct wa_client *c, const struct wa_jid *who)
{
    struct wa_party party;
    struct wa_devices list;

    if (!wa_jid_is_person(who)) return OK;
    TRY(wa_party_of(c, who, &party));
    TRY(wa_devices_load(c, &party, &list));
    if (list.known) save(c, &party, &list, 0);
    return OK;
}

struct wa_jid wa_device_jid(const struct wa_jid *bare, const struct wa_device *device)
{
    enum wa_server server = bare->server;

    if (device->hosted) server = server == WA_SERVER_LID ? WA_SERVER_HOSTED_LID : WA_SERVER_HOSTED;
    return wa_jid_of(server, bare->user, device->id);
}

/* ---- the answer ---- */

/* Which key indexes of companions are valid; NULL when the answer does not say. The list is signed
 * by the phone, but no client checks that: it comes over the server's own authenticated link. */
static err_t read_indexes(struct wa_client *c, const struct wa_node *devices,
                          const struct wa_key_index_list **out)
{
    struct slice bytes = wa_node_child_bytes(devices, "key-index-list");
    struct wa_key_index_list *list = arena_new(c->arena, struct wa_key_index_list);

    *out = NULL;
    if (bytes.len == 0) return OK;
    err_t e = wa_key_index_parse(c->arena, bytes, NULL, list);
    if (e == OK) *out = list;
    return wa_is_fatal(e) ? e : OK;
}

static bool is_kept(uint32_t id, const struct wa_node *device,
                    const struct wa_key_index_list *indexes)
{
    uint64_t index = 0;
    bool has_index =
        text_u64(wa_node_text(device, "key-index"), &index) == OK && index <= UINT32_MAX;

    if (slice_is(wa_node_text(device, "is_hosted"), "true")) return true;
    return wa_key_index_allows(indexes, id, has_index, (uint32_t)index);
}

static err_t read_list(struct wa_client *c, const struct wa_node *devices, struct wa_devices *out)
{
    const struct wa_node *list = wa_node_child(devices, "device-list"), *device;
    const struct wa_key_index_list *indexes;

    TRY(read_indexes(c, devices, &indexes));
    for (size_t i = 0; list && (device = wa_node_next(list, "device", &i));) {
        uint64_t id;
        if (text_u64(wa_node_text(device, "id"), &id) != OK || id > UINT16_MAX) continue;
        if (out->count == WA_DEVICES_MAX || !is_kept((uint32_t)id, device, indexes)) continue;
        out->list[out->count++] = (struct wa_device){
            .id = (uint16_t)id, .hosted = slice_is(wa_node_text(device, "is_hosted"), "true")};
    }
    return OK;
}

err_t wa_devices_store(struct wa_client *c, const struct wa_node *user, size_t *out_count)
{
    const struct wa_node *devices = wa_node_child(user, "devices"),
                         *lid = wa_node_child(user, "lid");
    struct wa_jid jid = wa_node_jid(user, "jid"), pn = wa_node_jid(user, "pn_jid");
    struct wa_party who;
    struct wa_devices list = {0};

    *out_count = 0;
    if (!wa_jid_is_person(&jid)) return OK;
    TRY(wa_mapping_learn(c, &jid, &pn));
    if (lid) {
        struct wa_jid val = wa_node_jid(lid, "val");
        TRY(wa_mapping_learn(c, &jid, &val));
    }
    if (!devices) return OK;

    TRY(read_list(c, devices, &list));
    *out_count = list.count;
    if (list.count == 0) return OK;
    TRY(wa_party_of(c, &jid, &who));
    save(c, &who, &list, c->now);
    return OK;
}

/* ---- usync ---- */

struct wa_node *wa_usync_new(struct wa_client *c, const char *mode, const char *context,
                             struct wa_node **out_query, struct wa_node **out_list)
{
    struct wa_node *iq = wa_iq_new(c, "get", "usync");
    struct wa_node *usync = wa_node_add(iq, c->arena, "usync");

    wa_node_set(usync, c->arena, "sid",
                arena_printf(c->arena, "%u-s%u", c->iq_prefix, c->iq_count + 1));
    wa_node_set_text(usync, c->arena, "mode", mode);
    wa_node_set_text(usync, c->arena, "last", "true");
    wa_node_set_text(usync, c->arena, "index", "0");
    wa_node_set_text(usync, c->arena, "context", context);
    wa_node_add(usync, c->arena, "query");
    wa_node_add(usync, c->arena, "list");
    *out_query = &usync->children[0];
    *out_list = &usync->children[1];
    return iq;
}

const struct wa_node *wa_usync_next(const struct wa_node *iq, size_t *at)
{
    const struct wa_node *usync = iq ? wa_node_child(iq, "usync") : NULL;
    const struct wa_node *list = usync ? wa_node_child(usync, "list") : NULL;

    return list && *at < WA_USYNC_USERS_MAX ? wa_node_next(list, "user", at) : NULL;
}

static err_t on_lid_refreshed(struct wa_client *c, void *op, const struct wa_node *iq, err_t e)
{
    const struct wa_node *user;
    size_t n;

    for (size_t i = 0; (user = wa_usync_next(iq, &i));)
        TRY(wa_devices_store(c, user, &n));
    return OK;
}

err_t wa_usync_refresh_lid(struct wa_client *c, const struct wa_jid *who)
{
    struct wa_node *query, *list;
    struct wa_node *iq = wa_usync_new(c, "query", "background", &query, &list);

    wa_node_add(query, c->arena, "lid");
    wa_node_set_jid(wa_node_add(list, c->arena, "user"), c->arena, "jid", wa_jid_bare(who));
    return wa_iq_ask(c, iq, on_lid_refreshed, NULL);
}
