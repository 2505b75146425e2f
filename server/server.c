#include "server/server.h"

#include <stdlib.h>

#include "server/account/accounts.h"
#include "server/api/claims.h"
#include "server/directory.h"
#include "server/events/hub.h"
#include "server/http/http.h"
#include "server/mcp/mcp.h"
#include "server/tenant/auth.h"
#include "server/worker.h"
#include "storage/store.h"
#include "storage/writer.h"

void server_join(struct server *s)
{
    for (size_t i = 0; i < s->worker_count; i++)
        worker_join(s->workers[i]);
}

void server_free(struct server *s)
{
    http_free(s->http);
    accounts_free(s->accounts);
    mcp_close(s->mcp);
    hubs_free(s->hubs);
    claims_free(s->claims);
    tenants_close(s->tenants);
    directory_free(s->directory);
    for (size_t i = 0; i < s->worker_count; i++)
        worker_free(s->workers[i]);
    worker_free(s->main);
    free(s->workers);
    writer_free(s->writer);
    store_close(s->store);
}
