#include "storage/accounts.h"

#include "storage/typed.h"

static const struct field fields[] = {
    FIELD_UINT(1, struct db_account, secret),      FIELD_UINT(2, struct db_account, world),
    FIELD_UINT(3, struct db_account, state),       FIELD_UINT(4, struct db_account, made_by),
    FIELD_INT(5, struct db_account, created_ms),   FIELD_INT(6, struct db_account, paired_ms),
    FIELD_INT(7, struct db_account, connected_ms), FIELD_INT(8, struct db_account, disconnected_ms),
    FIELD_INT(9, struct db_account, deleted_ms),   FIELD_BYTES(10, struct db_account, pn),
    FIELD_BYTES(11, struct db_account, lid),       FIELD_BYTES(12, struct db_account, push_name),
    FIELD_BYTES(13, struct db_account, platform),  FIELD_BYTES(14, struct db_account, label),
    FIELD_BYTES(15, struct db_account, reason),    FIELD_BYTES(16, struct db_account, extra),
    FIELD_UINT(17, struct db_account, forgetting), FIELD_BYTES(18, struct db_account, refusal),
};

void db_account_put(struct batch *b, const struct db_account *a)
{
    struct key k = key_of_scope((struct scope){a->tenant, a->account});
    typed_put(b, DB_accounts, &k, FIELDS(fields), a);
}

void db_account_delete(struct batch *b, struct scope scope)
{
    struct key k = key_of_scope(scope);
    batch_delete(b, DB_accounts, key_slice(&k));
}

err_t db_account_get(struct view *v, struct scope scope, struct db_account *out)
{
    struct key k = key_of_scope(scope);
    TRY(typed_get(v, DB_accounts, &k, FIELDS(fields), out));
    out->tenant = scope.tenant;
    out->account = scope.account;
    return OK;
}

void db_accounts(struct range *r, struct view *v, uint32_t tenant)
{
    struct key k = key_of_tenant(tenant);
    range_prefix(r, v, DB_accounts, tenant ? key_slice(&k) : SLICE_NONE, RANGE_FORWARDS);
}

bool db_account_next(struct range *r, struct db_account *out)
{
    if (!typed_next(r, FIELDS(fields), out)) return false;
    struct reader key = reader_of(r->key);
    out->tenant = key_read_int(&key);
    out->account = key_read_int(&key);
    return true;
}

err_t db_account_search(struct view *v, struct scope scope, struct db_account *out)
{
    AUTO(range) r = {0};

    db_accounts(&r, v, 0);
    do {
        while (db_account_next(&r, out))
            if (out->tenant == scope.tenant && out->account == scope.account) return OK;
    } while (range_pass_damage(&r));
    TRY(range_error(&r));
    return fail(NOT_FOUND, "no account %u", scope.account);
}
