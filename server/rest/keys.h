/* /v1/keys: API keys, for who may administer them (the operator's socket). */
#pragma once
#include "server/http/http.h"

enum { KEYS_BODY_MAX = 4096 };

/* GET: {"keys":[{"id","name","world","rights","hint","created_at"}]} */
void keys_list(struct request *r);
/* POST {"world":"live"|"test","name":…,"rights":["read","write","delete"]}: the key is in the
 * answer and nowhere else. */
void keys_make(struct request *r);
/* DELETE: refused from now on; its open streams end. */
void keys_revoke(struct request *r);
