/* ClientPayload (protocol.md 2): who we say we are at the end of the handshake. */
#include <stdlib.h>

#include "proto/client/login.h"
#include "proto/client/prekeys.h"
#include "proto/schema/adv.pb-c.h"
#include "proto/schema/handshake.pb-c.h"
#include "proto/schema/unpack.h"

#define SET(message, field, value) ((message).has_##field = 1, (message).field = (value))

static struct slice device_props(struct wa_client *c)
{
    Wa__DeviceProps props = WA__DEVICE_PROPS__INIT;
    Wa__DeviceProps__AppVersion version = WA__DEVICE_PROPS__APP_VERSION__INIT;
    Wa__DeviceProps__HistorySyncConfig history = WA__DEVICE_PROPS__HISTORY_SYNC_CONFIG__INIT;

    SET(version, primary, 0);
    SET(version, secondary, 1);
    SET(version, tertiary, 0);
    SET(history, storage_quota_mb, 10240);
    SET(history, inline_initial_payload_in_e2ee_msg, true);
    SET(history, support_call_log_history, false);
    SET(history, support_message_association, true);
    SET(history, support_group_history, false);
    SET(history, on_demand_ready, true);
    props.os = arena_text(c->arena, c->config->device_name);
    props.version = &version;
    SET(props, platform_type, WA__DEVICE_PROPS__PLATFORM_TYPE__UNKNOWN);
    SET(props, require_full_sync, false);
    props.history_sync_config = &history;
    return wa_pack_in(&props.base, c->arena);
}

/* The version stands here and, hashed, in the pairing data: a server compares both. */
static struct slice build_hash(struct wa_client *c)
{
    const uint32_t *v = c->config->version;
    uint8_t hash[16];

    crypto_md5(arena_printf(c->arena, "%u.%u.%u", v[0], v[1], v[2]), hash);
    return arena_dup(c->arena, SLICE_ARRAY(hash));
}

static err_t pairing_data(struct wa_client *c,
                          Wa__ClientPayload__DevicePairingRegistrationData *out)
{
    struct wa_signed_prekey *skey = arena_new(c->arena, struct wa_signed_prekey);

    TRY(wa_signed_prekey_load(&c->keystore, c->arena, c->account.signed_prekey_id, skey));
    SET(*out, e_regid, wa_binary(wa_be_bytes(c, c->account.registration_id, 4)));
    SET(*out, e_keytype, wa_binary(wa_be_bytes(c, WA_KEY_TYPE, 1)));
    SET(*out, e_ident, wa_binary(SLICE_ARRAY(c->account.identity.public.bytes)));
    SET(*out, e_skey_id, wa_binary(wa_be_bytes(c, skey->id, 3)));
    SET(*out, e_skey_val, wa_binary(SLICE_ARRAY(skey->pair.public.bytes)));
    SET(*out, e_skey_sig, wa_binary(SLICE_ARRAY(skey->signature)));
    SET(*out, build_hash, wa_binary(build_hash(c)));
    SET(*out, device_props, wa_binary(device_props(c)));
    return OK;
}

err_t wa_login_payload(struct wa_client *c, struct buf *out)
{
    Wa__ClientPayload p = WA__CLIENT_PAYLOAD__INIT;
    Wa__ClientPayload__UserAgent agent = WA__CLIENT_PAYLOAD__USER_AGENT__INIT;
    Wa__ClientPayload__UserAgent__AppVersion version =
        WA__CLIENT_PAYLOAD__USER_AGENT__APP_VERSION__INIT;
    Wa__ClientPayload__WebInfo web = WA__CLIENT_PAYLOAD__WEB_INFO__INIT;
    Wa__ClientPayload__DevicePairingRegistrationData pairing =
        WA__CLIENT_PAYLOAD__DEVICE_PAIRING_REGISTRATION_DATA__INIT;

    SET(version, primary, c->config->version[0]);
    SET(version, secondary, c->config->version[1]);
    SET(version, tertiary, c->config->version[2]);
    SET(agent, platform, WA__CLIENT_PAYLOAD__USER_AGENT__PLATFORM__WEB);
    agent.app_version = &version;
    agent.mcc = agent.mnc = (char *)"000";
    agent.os_version = agent.os_build_number = (char *)"0.1";
    agent.device = (char *)"Desktop";
    SET(agent, release_channel, 0);
    agent.locale_language_iso6391 = (char *)"en";
    agent.locale_country_iso31661_alpha2 = (char *)"US";
    SET(web, web_sub_platform, WA__CLIENT_PAYLOAD__WEB_INFO__WEB_SUB_PLATFORM__WEB_BROWSER);
    p.user_agent = &agent;
    p.web_info = &web;
    SET(p, connect_type, WA__CLIENT_PAYLOAD__CONNECT_TYPE__WIFI_UNKNOWN);
    SET(p, connect_reason, WA__CLIENT_PAYLOAD__CONNECT_REASON__USER_ACTIVATED);

    SET(p, passive, c->account.paired);
    SET(p, pull, c->account.paired);
    if (c->account.paired) {
        SET(p, username, strtoull(c->account.pn_user, NULL, 10));
        SET(p, device, c->account.device);
        SET(p, lc, 1);
        SET(p, lid_db_migrated, c->account.lid_migrated);
    } else {
        TRY(pairing_data(c, &pairing));
        p.device_pairing_data = &pairing;
    }
    wa_pack(&p.base, out);
    return OK;
}
