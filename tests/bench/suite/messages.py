"""Messages in and out, what they cost to write, and how everything grows with the accounts."""
import os
import subprocess

from suite import table
from suite.idle import empty_anon_kb
from suite.rig import BUILD, PEERS, session, settled_anon_kb
from suite.table import Table

FLOOR_RUNNING_US = 20.9  # an echo over libwebsockets (11.4) and one decryption with load and store (9.5)
FLOOR_TURN_US = 50.9     # the same and one agreement of libsodium's curve (30); the second waits for the next send
FLOOR_COMMIT_MS = 0.35   # LMDB's group commit at 1,000 a second, on a disk that flushes in 0.1 ms
FLOOR_BYTES_KB = {1: 40, 8: 17, 64: 14}  # for rows of a message's size that sort by account, then chat
PEER_ACCOUNTS = 50
CHAINS = {0: "running chain", 1: "each turns the ratchet"}


def under(accounts, active, workers, chain=None):
    return (f"{accounts:,} accounts over ws, {active} of them in use, one contact each, two devices a person (phone and us)"
            f"{', ' + chain if chain else ''}, {workers} workers")


def cpu_of_all(r, name="parleyd"):
    return f"{name} {r['cpu_s']:.2f} s, sandbox and readers {r['load_cpu_s']:.2f} s in {r['seconds']:.1f} s"


# ---- in ----

LOADS = (("500/s", {"rate": 500}), ("2,000/s", {"rate": 2000}), ("maximum", {"window": 256}))


def measure_inbound(load, options, active, loads, seconds=None):
    """By (chain, name)."""
    return {(turn, name): load.task("inbound", active=active, turn=turn, seconds=seconds or options.seconds, **what)
            for turn in (0, 1) for name, what in loads}


def peers_inbound(options, kinds):
    """What they take is theirs to say; a rate they cannot follow would measure only its queue."""
    results = {}
    for kind in kinds:
        with session(options, PEER_ACCOUNTS, server=kind) as (load, _):
            mine = measure_inbound(load, options, PEER_ACCOUNTS, LOADS[2:])
            for name, what in LOADS[:2]:
                for turn in (0, 1):
                    if mine[turn, "maximum"]["per_second"] > 1.2 * what["rate"]:
                        mine[turn, name] = load.task("inbound", active=PEER_ACCOUNTS, turn=turn, seconds=options.seconds, **what)
            results[kind] = mine
    return results


def show_inbound(options, accounts, active, ours, peers):
    for (turn, name), r in ours.items():
        t = Table(f"inbound at {name}, {CHAINS[turn]}", under(accounts, active, options.workers))
        same = {PEERS[kind]: p[turn, name] for kind, p in peers.items() if (turn, name) in p}
        t.row("messages a second", r["per_second"], "/s", above=8000 if (turn, name) == (0, "maximum") else None,
              peers={k: p["per_second"] for k, p in same.items()}, note=f"{r['count']} messages")
        t.row("socket to subscriber p50", r["p50_ms"], "ms", floor=("LMDB's commit alone", FLOOR_COMMIT_MS),
              peers={k: p["p50_ms"] for k, p in same.items()})
        t.row("socket to subscriber p99", r["p99_ms"], "ms", below=20 if name == "2,000/s" else None,
              peers={k: p["p99_ms"] for k, p in same.items()}, note=f"max {r['max_ms']:.1f} ms")
        t.row("CPU of the server for a message", r["cpu_us"], "us", below=200 if turn else 100,
              floor=("echo and decryption", FLOOR_TURN_US if turn else FLOOR_RUNNING_US),
              peers={k: p["cpu_us"] for k, p in same.items()})
        t.row("written for a message", r["written"] / 1024, "KB", note="database, log and the event itself")
        t.words("CPU", "; ".join([cpu_of_all(r), *(cpu_of_all(p, k) for k, p in same.items())]))


def inbound(options):
    kinds = options.traffic_peers
    with session(options, options.accounts) as (load, _):
        ours = measure_inbound(load, options, options.active, LOADS)
    peers = peers_inbound(options, kinds)
    show_inbound(options, options.accounts, options.active, ours, peers)
    if kinds:
        t = Table("inbound: what the peers do", f"{PEER_ACCOUNTS} accounts, all in use, SQLite with synchronous=FULL, "
                  "decrypt, store session and message, hand over on an event stream")
        t.words("left out by both", "search terms, numbered and replayable events, one transaction for all that a message changes")
        t.words("left out by Baileys", "it acknowledges before the message is stored")
    return {f"{who} {name} {CHAINS[turn]}": r for who, all_of in [("parleyd", ours), *peers.items()]
            for (turn, name), r in all_of.items()}


# ---- out ----

CALLERS = (1, 16, 128)


def measure_send(load, active, callers, seconds):
    return {n: load.task("send", active=active, window=n, seconds=seconds) for n in callers}


def send(options):
    with session(options, options.accounts) as (load, _):
        ours = measure_send(load, options.active, CALLERS, options.seconds)
    peers = {}
    for kind in options.traffic_peers:
        with session(options, PEER_ACCOUNTS, server=kind) as (load, _):
            peers[kind] = measure_send(load, PEER_ACCOUNTS, CALLERS, options.seconds)
    for n, r in ours.items():
        same = {PEERS[kind]: p[n] for kind, p in peers.items()}
        t = Table(f"send_message, {n} at a time", under(options.accounts, options.active, options.workers, "running chain"))
        t.row("messages a second", r["per_second"], "/s", above=4000 if n == 128 else None,
              peers={k: p["per_second"] for k, p in same.items()}, note=f"{r['count']}, {r['pending']} pending")
        t.row("call to the server's ack p50", r["p50_ms"], "ms", below=3 if n == 1 else None,
              floor=("two commits of LMDB alone", 2 * FLOOR_COMMIT_MS), peers={k: p["p50_ms"] for k, p in same.items()})
        t.row("call to the server's ack p99", r["p99_ms"], "ms", peers={k: p["p99_ms"] for k, p in same.items()})
        t.row("CPU of the server for a message", r["cpu_us"], "us", floor=("echo and encryption", FLOOR_RUNNING_US),
              peers={k: p["cpu_us"] for k, p in same.items()})
        t.row("written for a message", r["written"] / 1024, "KB", note="two turns: before the send, after the ack")
        t.words("CPU", "; ".join([cpu_of_all(r), *(cpu_of_all(p, k) for k, p in same.items())]))
    if peers:
        t = Table("send_message: what the peers do", f"{PEER_ACCOUNTS} accounts, sessions in SQLite with synchronous=FULL")
        t.words("left out by both", "the message is not kept before it is sent: a crash loses it, a repetition sends it twice; no event, no search")
    return {"parleyd": ours, **peers}


# ---- bytes ----

def bytes_written(options):
    results = {}
    with session(options, options.accounts) as (load, _):
        for window in (1, 8, 64):
            results[window] = load.task("inbound", active=options.active, window=window, seconds=options.seconds)
    t = Table("bytes written for an inbound message", under(options.accounts, options.active, options.workers, CHAINS[0]))
    for window, r in results.items():
        t.row(f"{window} on their way", r["written"] / 1024, "KB", below={1: 45, 8: 20}.get(window),
              floor=("LMDB's pages alone", FLOOR_BYTES_KB[window]), note=f"{r['count']} messages; whole turns: ratchet, message, chat, event, receipt; and the event's own {cpu_of_all(r)}")
    table.line()
    table.line("the same at the storage's own door, LMDB's writes counted:")
    of_storage("bytes")(options)
    return results


def of_storage(name):
    """A program of tests/bench that prints its own table."""
    def run(options):
        program = os.path.join(BUILD, "tests", "bench", "bench_" + name)
        sizes = options.storage.get(name, ())
        answer = subprocess.run([program, *map(str, sizes)], check=True, capture_output=True, text=True).stdout
        table.line()
        for text in answer.rstrip("\n").split("\n"):
            table.line("  " + text)
    return run


# ---- growth ----

def grow_to(options, accounts):
    active = min(accounts, options.grow_active)
    with session(options, accounts) as (load, who):
        anon = settled_anon_kb(who.pid, 4)
        seconds = options.grow_seconds
        return {"anon_kb": anon, "login_s": who.login_s, "login_ms": who.login_cpu_s * 1000 / accounts, "ready_s": who.ready_s,
                "active": active, "steady": load.task("inbound", active=active, rate=500, seconds=seconds),
                "alone": load.task("inbound", active=active, window=1, seconds=seconds),
                "most": load.task("inbound", active=active, window=256, seconds=seconds),
                "turn": load.task("inbound", active=active, window=256, turn=1, seconds=seconds),
                "send": load.task("send", active=active, window=16, seconds=seconds)}


GROWTH = (
    ("accounts in use", "", lambda r, n, empty: r["active"]),
    ("RssAnon in all", "MB", lambda r, n, empty: r["anon_kb"] / 1024),
    ("RssAnon an account", "KB", lambda r, n, empty: (r["anon_kb"] - empty) / n if n >= 100 else None),
    ("start: ready after", "s", lambda r, n, empty: r["ready_s"]),
    ("all logged in after", "s", lambda r, n, empty: r["login_s"]),
    ("CPU of a login", "ms", lambda r, n, empty: r["login_ms"]),
    ("in, 500/s: p50", "ms", lambda r, n, empty: r["steady"]["p50_ms"]),
    ("in, 500/s: p99", "ms", lambda r, n, empty: r["steady"]["p99_ms"]),
    ("in, 500/s: CPU", "us", lambda r, n, empty: r["steady"]["cpu_us"]),
    ("in, one at a time: written", "KB", lambda r, n, empty: r["alone"]["written"] / 1024),
    ("in, 256 under way: rate", "/s", lambda r, n, empty: r["most"]["per_second"]),
    ("in, 256 under way: CPU", "us", lambda r, n, empty: r["most"]["cpu_us"]),
    ("in, 256 under way: written", "KB", lambda r, n, empty: r["most"]["written"] / 1024),
    ("in, ratchet turns: CPU", "us", lambda r, n, empty: r["turn"]["cpu_us"]),
    ("send, 16 callers: rate", "/s", lambda r, n, empty: r["send"]["per_second"]),
    ("send, 16 callers: p50", "ms", lambda r, n, empty: r["send"]["p50_ms"]),
    ("send, 16 callers: CPU", "us", lambda r, n, empty: r["send"]["cpu_us"]),
)


def growth(options):
    empty = empty_anon_kb(options)
    results = {n: grow_to(options, n) for n in options.growth}
    Table("growth with the number of accounts", f"over ws, one contact each, two devices a person, {options.workers} workers, "
          "CPU is that of parleyd for a message")
    table.line(f"  {'accounts':30}" + "".join(f"{n:>11,}" for n in results))
    for what, unit, value in GROWTH:
        values = [value(r, n, empty) for n, r in results.items()]
        cells = "".join(f"{'-' if v is None else table.number(v):>11}" for v in values)
        table.line(f"  {what + (' (' + unit + ')' if unit else ''):30}{cells}")
    for n, r in results.items():
        table.line(f"  CPU with {n:,}: " + "; ".join(f"{name} {cpu_of_all(r[name])}" for name in ("steady", "most", "turn", "send")))
    return results
