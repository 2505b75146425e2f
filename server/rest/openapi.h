/* GET /openapi.json: OpenAPI 3.1 of /v1, from the tool table. Public: it tells nothing of the data.
 */
#pragma once
#include "server/http/http.h"

void openapi_get(struct request *r);
/* The document, made anew. */
void openapi_write(struct buf *out);
