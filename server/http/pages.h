/* Pages for people: `/` with the accounts' states, `/qr/{pairing}` with the code to scan, `/qr`
 * with the newest pairing (loopback only). They change nothing and need no key: the name of a
 * pairing is unguessable and dies with it; details of accounts are shown to direct loopback peers
 * only. */
#pragma once
#include "server/http/http.h"

extern const struct route page_routes[];
