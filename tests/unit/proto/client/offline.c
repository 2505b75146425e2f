#include "proto/client/offline.h"

#include <criterion/criterion.h>

#include "tests/support/fake_server.h"

#define BATCH "<ib><offline_batch count=\"100\"/></ib>"

static void start(struct world *w, const char *ib)
{
    world_init_paired(w);
    world_login(w);
    world_serve(w, ib);
}

static void serve_offline(struct world *w, int n)
{
    for (int i = 0; i < n; i++) {
        world_serve(w, "<notification type=\"picture\" from=\"888@lid\" id=\"n\" offline=\"1\"/>");
        world_expect(w, "<ack class=\"notification\" id=\"n\" to=\"888@lid\" type=\"picture\"/>");
    }
}

Test(offline, pulls_batches_until_done)
{
    struct world w;

    start(&w, "<ib from=\"@s.whatsapp.net\"><offline_preview count=\"160\" message=\"160\"/></ib>");
    world_expect(&w, BATCH);
    serve_offline(&w, 49);
    world_expect_quiet(&w);
    world_serve(&w, "<notification type=\"picture\" from=\"888@lid\" id=\"n\" offline=\"1\"/>");
    world_expect(&w, BATCH);
    world_skip(&w);
    world_serve(&w, "<ib><offline count=\"160\"/></ib>");
    world_expect_event(&w, "offline_done");
    serve_offline(&w, 200); /* nothing is asked for any more */
    world_done(&w);
}

Test(offline, asks_again_when_a_batch_runs_dry)
{
    struct world w;

    start(&w, "<ib><offline_preview count=\"9\"/></ib>");
    world_expect(&w, BATCH);
    world_sleep(&w, 4999);
    world_expect_quiet(&w);
    world_sleep(&w, 1);
    world_expect(&w, BATCH);
    for (int i = 0; i < 5; i++) { /* the link lives, the server has no more */
        world_sleep(&w, 5000);
        world_serve(&w, "<ib/>");
    }
    for (int i = 0; i < 4; i++)
        world_expect(&w, BATCH);
    world_expect_quiet(&w);
    world_done(&w);
}

Test(offline, asks_for_nothing_when_there_is_nothing)
{
    struct world w;

    start(&w, "<ib><offline_preview count=\"0\"/></ib>");
    world_expect_quiet(&w);
    world_done(&w);
}

Test(offline, a_child_that_is_malformed_hides_no_other)
{
    struct world w;

    start(&w, "<ib><dirty type=\"account_sync\"/><client_expiration t=\"soon\"/>"
              "<offline count=\"0\"/></ib>");
    world_expect_event(&w, "offline_done");
    world_done(&w);
}

Test(offline, tells_the_day_the_version_dies)
{
    struct world w;

    start(&w, "<ib><client_expiration t=\"1800000000\"/></ib>");
    world_expect_event(&w, "client_expires 1800000000");
    world_done(&w);
}
