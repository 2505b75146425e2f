/* The state file: a sim that comes back is the one that went. */
#include "tests/unit/tools/sim/world.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/sim/server.h"

static char folder[64];

static void make_folder(void)
{
    snprintf(folder, sizeof folder, "/tmp/parley-sim-test-XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
}

static void remove_folder(void)
{
    char path[128];

    snprintf(path, sizeof path, "%s/state", folder);
    unlink(path);
    snprintf(path, sizeof path, "%s/state.new", folder);
    unlink(path);
    snprintf(path, sizeof path, "%s/lock", folder);
    unlink(path);
    rmdir(folder);
}

TestSuite(state, .init = make_folder, .fini = remove_folder);

struct run {
    uv_loop_t loop;
    struct sim_server server;
};

static struct sim_settings settings(void)
{
    return (struct sim_settings){.listen = {"127.0.0.1", 0},
                                 .control = {"127.0.0.1", 0},
                                 .state_dir = folder,
                                 .relay = {.seed = 1}};
}

static err_t start(struct run *r)
{
    struct sim_settings s = settings();

    uv_loop_init(&r->loop);
    return sim_server_init(&r->server, &r->loop, &s);
}

static void stop(struct run *r)
{
    sim_server_stop(&r->server);
    uv_run(&r->loop, UV_RUN_DEFAULT);
    sim_server_done(&r->server);
    cr_expect_eq(uv_loop_close(&r->loop), 0);
}

static void fill(struct sim_server *s)
{
    struct sim_phone *a, *b, *c;
    struct sim_group *g;
    char id[SIM_ID_MAX];

    cr_assert_eq(sim_phone_new(&s->phones, SLICE("15550001111"), SLICE("777"), SLICE("Ada"), &a),
                 OK);
    cr_assert_eq(sim_phone_new(&s->phones, SLICE("15550002222"), SLICE("888"), SLICE("Bea"), &b),
                 OK);
    cr_assert_eq(sim_phone_new(&s->phones, SLICE("15550003333"), SLICE("999"), SLICE("Cy"), &c),
                 OK);
    cr_assert_eq(
        sim_phone_write(a, &(struct sim_writing){.to = SLICE("15550002222"), .text = SLICE("kept")},
                        id),
        OK);
    sim_server_settle(s);
    g = sim_group_new(&s->relay.people, SLICE("120363000000000001"), SLICE("Group"));
    sim_member_add(g, a->account)->creator = true;
    sim_member_add(g, b->account);
    sim_rosters_note(&s->relay);
    a->account->hides_reads = true;
    sim_person_add(&a->account->blocked, c->account);
    sim_token_of(a->account, c->account)->at = 4711;
    buf_put_text(&a->account->about, "at the sea");
    sim_phone_go(c, false);
    cr_assert_eq(
        sim_phone_write(
            a, &(struct sim_writing){.to = SLICE("15550003333"), .text = SLICE("waits")}, id),
        OK);
    sim_server_settle(s);
}

static struct sim_phone *phone_at(struct run *r, const char *number)
{
    struct sim_phone *p = sim_phone_find(&r->server.phones, slice_text(number));

    cr_assert_not_null(p, "%s", number);
    return p;
}

static void expect_people(struct sim_phone *a, struct sim_phone *b, struct sim_phone *c)
{
    cr_expect_str_eq(a->account->lid, "777");
    cr_expect_str_eq(a->account->name, "Ada");
    cr_expect(slice_is(buf_slice(&a->account->about), "at the sea"));
    cr_expect(a->account->hides_reads && !b->account->hides_reads);
    cr_expect(sim_person_in(&a->account->blocked, c->account));
    cr_expect(sim_person_in(&b->account->watchers, a->account), "who wrote to it");
    cr_expect_eq(sim_token_find(a->account, c->account)->at, 4711);
    cr_expect_null(sim_token_find(b->account, c->account));
    cr_expect(sim_person_remove(&a->account->blocked, c->account));
    cr_expect_not(sim_person_remove(&a->account->blocked, c->account));
    cr_expect(list_empty(&a->account->blocked.list));
}

static void expect_group(struct run *r, const struct sim_phone *member)
{
    const struct sim_group *g =
        map_find(&r->server.relay.people.groups_by_id, SLICE("120363000000000001"));

    cr_assert_not_null(g);
    cr_expect_eq(g->roster_count, 1);
    const struct sim_roster *roster = LIST_ENTRY(g->rosters.next, struct sim_roster, link);
    cr_expect(roster->count == 2 && roster->seats[1].account == member->account);
}

static bool is_letter(struct list *node, const char *text)
{
    return slice_is(buf_slice(&LIST_ENTRY(node, struct sim_letter, link)->text), text);
}

Test(state, comes_back_whole)
{
    struct run *r = xcalloc(sizeof *r), *again = xcalloc(sizeof *again);
    char id[SIM_ID_MAX];

    cr_assert_eq(start(r), OK);
    fill(&r->server);
    struct crypto_pair root = r->server.relay.keys.root;
    stop(r);
    cr_assert_eq(start(again), OK, "%s", err_trail());
    cr_expect_eq(memcmp(&again->server.relay.keys.root, &root, sizeof root), 0);
    struct sim_phone *a = phone_at(again, "15550001111"), *b = phone_at(again, "15550002222"),
                     *c = phone_at(again, "15550003333");
    cr_expect_eq(b->letter_count, 1);
    cr_expect(is_letter(b->letters.next, "kept"));
    expect_group(again, b);
    expect_people(a, b, c);
    /* What waited for a phone that was away arrives, and its session goes on. */
    sim_server_settle(&again->server);
    cr_expect_eq(c->letter_count, 1);
    cr_assert_eq(sim_phone_write(
                     b, &(struct sim_writing){.to = SLICE("15550001111"), .text = SLICE("on")}, id),
                 OK);
    sim_server_settle(&again->server);
    cr_expect(is_letter(a->letters.prev, "on"));
    stop(again);
    free(r);
    free(again);
}

Test(state, two_sims_do_not_share_a_folder)
{
    struct run *r = xcalloc(sizeof *r), *second = xcalloc(sizeof *second);

    cr_assert_eq(start(r), OK);
    cr_expect_eq(start(second), ERR_STORE_LOCKED);
    stop(second);
    stop(r);
    free(r);
    free(second);
}

static void read_state(struct buf *out)
{
    char path[128];
    struct stat st;
    int fd;

    snprintf(path, sizeof path, "%s/state", folder);
    fd = open(path, O_RDONLY);
    cr_assert_eq(fstat(fd, &st), 0);
    cr_assert_eq(read(fd, buf_extend(out, st.st_size), st.st_size), st.st_size);
    close(fd);
}

static void write_state(struct slice bytes)
{
    char path[128];
    int fd;

    snprintf(path, sizeof path, "%s/state", folder);
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    cr_assert_eq(write(fd, bytes.data, bytes.len), (ssize_t)bytes.len);
    close(fd);
}

/* The bytes of a state in which there is something of each kind. */
static void save_full(struct buf *out)
{
    struct run *r = xcalloc(sizeof *r);

    cr_assert_eq(start(r), OK);
    fill(&r->server);
    stop(r);
    free(r);
    read_state(out);
}

static err_t start_with(struct slice bytes)
{
    struct run *r = xcalloc(sizeof *r);
    err_t e;

    write_state(bytes);
    e = start(r);
    r->server.dirty = false; /* the next one finds the bytes as they were */
    stop(r);
    free(r);
    return e;
}

Test(state, a_damaged_file_is_refused, .timeout = 110)
{
    AUTO(buf) good = {0};

    save_full(&good);
    for (size_t n = 0; n < good.len; n += n < 100 ? 1 : 997)
        cr_expect_eq(start_with(slice_of(good.data, n)), ERR_STORE_DAMAGED, "cut at %zu", n);
    for (size_t n = 0; n < good.len; n += n < 100 ? 7 : 1993) {
        good.data[n] ^= 0x20;
        cr_expect_neq(start_with(buf_slice(&good)), OK, "flipped at %zu", n);
        good.data[n] ^= 0x20;
    }
    cr_expect_eq(start_with(buf_slice(&good)), OK);
}

/* Without accounts and groups the first version reads as the second does. */
Test(state, an_older_file_is_read_a_newer_one_refused)
{
    enum { VERSION = 17 + 3 };
    static const err_t ends[] = {ERR_STORE_VERSION, OK, OK, ERR_STORE_VERSION};
    struct run *r = xcalloc(sizeof *r);
    AUTO(buf) good = {0};

    cr_assert_eq(start(r), OK);
    r->server.dirty = true;
    cr_assert_eq(sim_state_save(&r->server), OK);
    stop(r);
    free(r);
    read_state(&good);
    for (size_t version = 0; version < ARRAY_LEN(ends); version++) {
        good.data[VERSION] = (uint8_t)version;
        cr_expect_eq(start_with(buf_slice(&good)), ends[version], "version %zu", version);
    }
}

/* With a right checksum the parser itself must hold: cut payloads at every step. */
Test(state, a_short_record_with_a_right_checksum_is_refused, .timeout = 110)
{
    enum { HEAD = 17 + 4, HASH = 32 };
    AUTO(buf) good = {0};

    save_full(&good);
    for (size_t n = 0; n + HEAD + HASH < good.len; n += n < 600 ? 1 : 613) {
        AUTO(buf) cut = {0};
        uint8_t hash[32];
        err_t e;

        crypto_sha256(slice_of(good.data + HEAD + HASH, n), hash);
        buf_put(&cut, slice_of(good.data, HEAD));
        buf_put(&cut, SLICE_ARRAY(hash));
        buf_put(&cut, slice_of(good.data + HEAD + HASH, n));
        e = start_with(buf_slice(&cut));
        cr_expect_neq(e, OK, "cut at %zu", n);
    }
}

Test(state, a_root_key_file_is_made_and_read)
{
    char path[128];
    struct sim_settings s = settings();
    struct run *r = xcalloc(sizeof *r);
    struct crypto_pair root;
    struct stat st;

    snprintf(path, sizeof path, "%s/root", folder);
    s.root_key_file = path;
    s.state_dir = NULL;
    for (int round = 0; round < 2; round++) {
        uv_loop_init(&r->loop);
        cr_assert_eq(sim_server_init(&r->server, &r->loop, &s), OK, "%s", err_trail());
        if (round) cr_expect_eq(memcmp(&root, &r->server.relay.keys.root, sizeof root), 0);
        root = r->server.relay.keys.root;
        stop(r);
    }
    cr_assert_eq(stat(path, &st), 0);
    cr_expect_eq(st.st_mode & 0777, 0600);
    unlink(path);
    free(r);
}
