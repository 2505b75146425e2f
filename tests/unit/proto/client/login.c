#include <criterion/criterion.h>

#include "tests/support/fake_server.h"

Test(login, greets_counts_prekeys_and_uploads)
{
    struct world w;
    world_init_paired(&w);

    world_connect(&w);
    world_serve(&w, "<success t=\"1700000000\" lid=\"777:5@lid\"/>");
    world_expect_event(&w, "connected 15550001111:5@s.whatsapp.net 777:5@lid");
    cr_assert_eq(wa_client_state_of(w.client), WA_CLIENT_ONLINE);
    world_expect(&w, "<ib><unified_session id=\"166400000\"/></ib>");
    world_answer(&w, "set", "passive", "");
    world_answer(&w, "get", "encrypt", "<count value=\"0\"/>");
    const struct wa_node *upload = world_next_node(&w);
    cr_assert_eq(wa_node_child(upload, "list")->child_count, 3);
    cr_assert_eq(wa_node_child_bytes(upload, "identity").len, 32);
    world_expect_quiet(&w);
    world_done(&w);
}
