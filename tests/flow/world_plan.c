/* What goes wrong, drawn from world_faults.def, and how often it did. */
#include "tests/flow/world.h"

enum row_id {
#define SIM(name, ...) ROW_##name,
#define OWN(name, ...) ROW_##name,
#define LATE(name, ...) ROW_##name,
#define TIDY(name, ...) ROW_##name,
#include "tests/flow/world_faults.def"
#undef SIM
#undef OWN
#undef LATE
#undef TIDY
    ROWS
};

static unsigned long fired[ROWS], left[ROWS];

static enum row_id of_armed(const struct sim_fault *f);

/* ---- of the network, the disk, the clock and the process ---- */

static bool arm_for_all(struct town *w, enum sim_fault_kind kind)
{
    struct sim_fault f = {.kind = kind, .count = 1};

    return sim_fault_put(&w->relay, &f) == OK;
}

/* Bundles of phones: there the server is the one who asks. */
static bool missing_prekey(struct town *w)
{
    struct sim_fault f = {.kind = SIM_FAULT_MISSING_PREKEY, .count = 1};

    snprintf(f.device, sizeof f.device, "%s", w->people[roll(w, PEOPLE)]->account->number);
    return sim_fault_put(&w->relay, &f) == OK;
}

static bool bad_signed_prekey(struct town *w)
{
    struct sim_fault f = {.kind = SIM_FAULT_BAD_SIGNED_PREKEY, .count = 1};

    w->forged = true;
    snprintf(f.device, sizeof f.device, "%s:0", w->people[roll(w, PEOPLE)]->account->number);
    return sim_fault_put(&w->relay, &f) == OK;
}

static bool identity_change(struct town *w)
{
    struct sim_fault f = {.kind = SIM_FAULT_IDENTITY_CHANGE, .count = 1};

    snprintf(f.device, sizeof f.device, "%s:0", w->people[roll(w, PEOPLE)]->account->number);
    if (sim_fault_put(&w->relay, &f) == OK) return true;
    err_clear();
    return false;
}

static bool phone_away(struct town *w)
{
    struct sim_phone *p = w->people[roll(w, PEOPLE)];

    world_settle(w); /* what it was writing is out */
    sim_phone_go(p, p->conn == NULL);
    return true;
}

static bool unlink_device(struct town *w)
{
    unsigned resident = (unsigned)roll(w, RESIDENTS);
    struct sim_device *dev = resident_device(w, resident);

    if (w->residents[resident].unlinked || !dev) return false;
    traffic_unlinked(w, resident);
    w->strangers++;
    sim_device_unlink(&w->relay, dev);
    return true;
}

static bool bad_certificate(struct town *w) { return arm_for_all(w, SIM_FAULT_BAD_CERTIFICATE); }
static bool decline_ik(struct town *w) { return arm_for_all(w, SIM_FAULT_DECLINE_IK); }
static bool cut(struct town *w) { return net_cut(w, false); }
static bool cut_in_frame(struct town *w) { return net_cut(w, true); }
static bool silence(struct town *w) { return net_silence(w); }
static bool stall(struct town *w) { return net_stall(w, 1000 + (int64_t)roll(w, 40000)); }

static bool refuse(struct town *w)
{
    w->refuse += 1 + (unsigned)roll(w, 3);
    return true;
}

static bool clock_forward(struct town *w)
{
    w->skew += (int64_t)roll(w, chance(w, 50) ? 5000 : 3600 * 1000);
    return true;
}

static bool clock_back(struct town *w)
{
    w->skew -= (int64_t)roll(w, chance(w, 50) ? 2000 : 60 * 1000);
    return true;
}

static bool failed_commit(struct town *w)
{
    atomic_store(&writer_faults(w->server.writer)->fail_put, 1 + (long long)roll(w, 20));
    return true;
}

static bool disk_full(struct town *w)
{
    house_fill_disk(w, 500 + (int64_t)roll(w, 15000));
    return true;
}

/* One account finds no space, the others do. */
static bool quota(struct town *w)
{
    atomic_store(&writer_faults(w->server.writer)->fail_put_owner,
                 (long long)w->residents[roll(w, RESIDENTS)].number);
    w->quota_until = w->now + 500 + (int64_t)roll(w, 5000);
    return true;
}

static bool clock_leap(struct town *w)
{
    w->skew += (int64_t)roll(w, 60) * 24 * 3600 * 1000;
    return true;
}

static bool log_out(struct town *w) { return traffic_leave(w, false); }
static bool delete_account(struct town *w) { return traffic_leave(w, true); }

static bool slow_disk(struct town *w)
{
    w->slow_until = w->now + 1000 + (int64_t)roll(w, 10000);
    return true;
}

static bool failed_flush(struct town *w)
{
    atomic_store(&writer_faults(w->server.writer)->fail_flush, 1);
    return true;
}

static bool kill_server(struct town *w)
{
    house_kill(w);
    return true;
}

static bool restart(struct town *w)
{
    house_restart(w);
    return true;
}

/* ---- of retention ---- */

/* From nothing to what most worlds never fill. */
static bool keep_less(struct town *w)
{
    house_keep(w, 1 + (int64_t)roll(w, chance(w, 20) ? 400 : 30000));
    return true;
}

/* All that the log holds is too old. */
static bool leap_month(struct town *w)
{
    w->skew += (31 + (int64_t)roll(w, 30)) * 24 * 3600 * 1000;
    return true;
}

/* ---- the rows ---- */

static const struct row {
    const char *name;
    unsigned weight;
    bool is_sim, is_late, is_tidy;
    enum sim_fault_kind kind;
    const char *tag;
    int64_t low, high;
    const char *text;
    bool (*act)(struct town *w);
} rows[] = {
#define SIM(name, weight, kind, tag, low, high, text)                                              \
    {#name, weight, true, false, false, SIM_FAULT_##kind, tag, low, high, text, NULL},
#define OWN(name, weight, act) {#name, weight, false, false, false, SIM_FAULTS, "", 0, 0, "", act},
#define LATE(name, weight, act) {#name, weight, false, true, false, SIM_FAULTS, "", 0, 0, "", act},
#define TIDY(name, weight, act) {#name, weight, false, true, true, SIM_FAULTS, "", 0, 0, "", act},
#include "tests/flow/world_faults.def"
#undef SIM
#undef OWN
#undef LATE
#undef TIDY
};

static bool strike_sim(struct town *w, const struct row *row)
{
    unsigned resident = (unsigned)roll(w, RESIDENTS);
    struct sim_device *dev = resident_device(w, resident);
    struct sim_fault f = {.kind = row->kind,
                          .count = 1,
                          .value =
                              row->low + (int64_t)roll(w, (uint64_t)(row->high - row->low + 1))};

    if (!dev) return false;
    sim_device_name(dev, f.device);
    snprintf(f.tag, sizeof f.tag, "%s", row->tag);
    snprintf(f.text, sizeof f.text, "%s", row->text);
    if (sim_fault_put(&w->relay, &f) == OK) return true;
    err_clear();
    return false;
}

static unsigned weight_of(const struct town *w, const struct row *row)
{
    return row->is_tidy && !w->tidy ? 0 : row->weight;
}

static const struct row *draw(struct town *w)
{
    unsigned total = 0, at;

    for (size_t i = 0; i < ROWS; i++)
        total += weight_of(w, &rows[i]);
    at = (unsigned)roll(w, total);
    for (size_t i = 0; i < ROWS; i++) {
        if (at < weight_of(w, &rows[i])) return &rows[i];
        at -= weight_of(w, &rows[i]);
    }
    return &rows[0];
}

void plan_strike(struct town *w)
{
    const struct row *row = draw(w);

    note(w, "FAULT %s", row->name);
    if ((row->is_sim ? strike_sim(w, row) : row->act(w)) && !row->is_late) fired[row - rows]++;
}

void plan_met(const char *name)
{
    for (size_t i = 0; i < ROWS; i++)
        fired[i] += rows[i].is_late && strcmp(rows[i].name, name) == 0;
}

/* Which row armed it. */
static enum row_id of_armed(const struct sim_fault *f)
{
    switch (f->kind) {
    case SIM_FAULT_MISSING_PREKEY: return ROW_missing_prekey;
    case SIM_FAULT_BAD_SIGNED_PREKEY: return ROW_bad_prekey;
    case SIM_FAULT_BAD_CERTIFICATE: return ROW_bad_certificate;
    case SIM_FAULT_DECLINE_IK: return ROW_decline_ik;
    case SIM_FAULT_DELAY:
        if (f->value == REORDER_MS) return ROW_reorder;
        break;
    default: break;
    }
    for (size_t i = 0; i < ROWS; i++)
        if (rows[i].is_sim && rows[i].kind == f->kind &&
            (!rows[i].tag[0] || strcmp(rows[i].tag, f->tag) == 0) && rows[i].low <= f->value &&
            f->value <= rows[i].high)
            return (enum row_id)i;
    return ROWS;
}

void plan_stop(struct town *w)
{
    struct faults *faults = writer_faults(w->server.writer);

    note(w, "no more faults");
    LIST_EACH(node, &w->relay.faults)
    {
        enum row_id id = of_armed(LIST_ENTRY(node, struct sim_fault, link));
        if (id < ROWS) left[id]++;
    }
    sim_faults_clear(&w->relay);
    for (unsigned i = 0; i < PEOPLE; i++)
        if (!w->people[i]->conn) sim_phone_go(w->people[i], true);
    atomic_store(&faults->fail_put, 0);
    atomic_store(&faults->fail_flush, 0);
    atomic_store(&faults->full, 0);
    atomic_store(&faults->fail_put_owner, 0);
    w->quota_until = w->full_until = w->slow_until = 0;
    w->refuse = 0;
}

bool plan_report(void)
{
    bool all = true;

    for (size_t i = 0; i < ROWS; i++) {
        unsigned long times = fired[i] - left[i];

        printf("%-16s %8lu%s\n", rows[i].name, times, times ? "" : "   NEVER");
        all &= times > 0;
    }
    return all;
}
