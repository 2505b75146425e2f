"""Messages in and out, what they cost to write, and how everything grows with the accounts."""
import math
import os
import subprocess

from suite import table
from suite.idle import empty_anon_kb
from suite.rig import BUILD, Failed, PEER_ACCOUNTS, PEERS, session, settled_anon_kb
from suite.table import Table

FLOOR_RUNNING_US = 20.9  # an echo over libwebsockets (11.4) and one decryption with load and store (9.5)
FLOOR_TURN_US = 50.9     # the same and one agreement of libsodium's curve (30); the second waits for the next send
FLOOR_COMMIT_MS = 0.35   # LMDB's group commit at 1,000 a second, on a disk that flushes in 0.1 ms
# Of the storage alone, by messages in a commit: LMDB's pages for rows of a message's size that sort by account, then
# chat; and the CPU that bench_bytes shows for the real ones.
FLOOR_BYTES_KB = {1: 40, 8: 17, 64: 14}
STORAGE_US = {1: 187, 8: 65, 64: 40}
CHAINS = {0: "running chain", 1: "each turns the ratchet"}


def under(accounts, active, workers, chain=None):
    return (f"{accounts:,} accounts over ws, {active} of them in use, one contact each, two devices a person (phone and us)"
            f"{', ' + chain if chain else ''}, {workers} workers")


def cpu_of_all(r, name="parleyd"):
    return f"{name} {r['cpu_s']:.2f} s, sandbox and readers {r['load_cpu_s']:.2f} s in {r['seconds']:.1f} s"


def nearest(of_commit, messages):
    """The row of a commit of so many messages."""
    return min(of_commit, key=lambda n: abs(math.log(n / max(messages, 1))))


def of_commit(r):
    """Why a slow rate costs more: what a commit takes is shared by its messages."""
    if not r["per_commit"]:
        return ""
    n = nearest(STORAGE_US, r["per_commit"])
    return f"{r['per_commit']:.1f} messages a commit, at {n} of which the storage alone takes {STORAGE_US[n]} us a message"


def stored_kb(r):
    """To the database when the server counts it, else with the event for its reader."""
    return (r["stored"] or r["written"]) / 1024


def of_stored(r):
    return f"to the database; {r['written'] / 1024:.1f} KB with the event for its reader" if r["stored"] else "database, log and the event itself"


def show_written(t, r):
    t.row("written for a message", stored_kb(r), "KB", note=of_stored(r))


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
              peers={k: p["cpu_us"] for k, p in same.items()}, note=of_commit(r))
        show_written(t, r)
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
              peers={k: p["cpu_us"] for k, p in same.items()},
              note=f"two turns: before the send, after the ack; {r['per_commit']:.1f} messages a commit" if r["per_commit"] else "")
        show_written(t, r)
        t.words("CPU", "; ".join([cpu_of_all(r), *(cpu_of_all(p, k) for k, p in same.items())]))
    if peers:
        t = Table("send_message: what the peers do", f"{PEER_ACCOUNTS} accounts, sessions in SQLite with synchronous=FULL")
        t.words("left out by both", "the message is not kept before it is sent: a crash loses it, a repetition sends it twice; no event, no search")
    return {"parleyd": ours, **peers}


# ---- bytes ----

GOAL_BYTES_KB = {1: 45, 8: 20}  # by messages in a commit


def bytes_written(options):
    """How many share a commit is the writer's choice; a goal is judged where it comes nearest to the goal's number."""
    results = {}
    with session(options, options.accounts) as (load, _):
        for window in options.windows:
            results[window] = load.task("inbound", active=options.active, window=window, seconds=options.seconds)
    judged = {nearest_row(results, n): goal for n, goal in GOAL_BYTES_KB.items()}
    t = Table("bytes written for an inbound message", under(options.accounts, options.active, options.workers, CHAINS[0]) +
              "; whole turns: ratchet, message, chat, event, receipt")
    for window, r in results.items():
        n = nearest(FLOOR_BYTES_KB, r["per_commit"])
        t.row(f"{window} on their way, {r['per_commit']:.1f} a commit", stored_kb(r), "KB", below=judged.get(window),
              floor=(f"LMDB's pages alone at {n}", FLOOR_BYTES_KB[n]),
              note=f"{of_stored(r)}; {r['count']} messages; {cpu_of_all(r)}")
    table.line()
    table.line("the same at the storage's own door, LMDB's writes counted:")
    of_program("bytes")(options)
    return results


def nearest_row(results, per_commit):
    return min(results, key=lambda window: abs(math.log(max(results[window]["per_commit"], 0.1) / per_commit)))


def of_program(name):
    """A program of tests/bench that prints its own table, and ends with 1 when it misses a goal."""
    def run(options):
        program = os.path.join(BUILD, "tests", "bench", "bench_" + name)
        sizes = options.programs.get(name, ())
        ended = subprocess.run([program, *map(str, sizes)], check=False, capture_output=True, text=True)
        table.line()
        for text in ended.stdout.rstrip("\n").split("\n"):
            table.line("  " + text)
        if ended.returncode:
            raise Failed(f"{os.path.basename(program)} ended with {ended.returncode} {ended.stderr}")
    return run


# ---- growth ----

GROW_STREAMS = 1000


def grow_to(options, accounts):
    active = min(accounts, options.grow_active)
    with session(options, accounts, tls=True) as (_, who):
        wss = {"anon_kb": settled_anon_kb(who.pid, 4), "login_s": who.login_s}
    with session(options, accounts) as (load, who):
        anon = settled_anon_kb(who.pid, 4)
        seconds = options.grow_seconds
        return {"anon_kb": anon, "login_s": who.login_s, "login_ms": who.login_cpu_s * 1000 / accounts, "ready_s": who.ready_s,
                "active": active, "wss": wss, "steady": load.task("inbound", active=active, rate=500, seconds=seconds),
                "alone": load.task("inbound", active=active, window=1, seconds=seconds),
                "most": load.task("inbound", active=active, window=256, seconds=seconds),
                "turn": load.task("inbound", active=active, window=256, turn=1, seconds=seconds),
                "send": load.task("send", active=active, window=16, seconds=seconds),
                "chats": load.task("read", what="chats", window=1, active=active, seconds=1),
                "messages": load.task("read", what="messages_few", window=1, active=active, seconds=1),
                "search": load.task("read", what="search_none", window=1, active=active, seconds=1),
                "fanout": load.task("fanout", what="events", active=min(active, 4), streams=GROW_STREAMS, window=1, seconds=seconds),
                "storm": load.task("drop")}


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
    ("in, one at a time: written", "KB", lambda r, n, empty: stored_kb(r["alone"])),
    ("in, 256 under way: rate", "/s", lambda r, n, empty: r["most"]["per_second"]),
    ("in, 256 under way: CPU", "us", lambda r, n, empty: r["most"]["cpu_us"]),
    ("in, 256 under way: written", "KB", lambda r, n, empty: stored_kb(r["most"])),
    ("in, ratchet turns: CPU", "us", lambda r, n, empty: r["turn"]["cpu_us"]),
    ("send, 16 callers: rate", "/s", lambda r, n, empty: r["send"]["per_second"]),
    ("send, 16 callers: p50", "ms", lambda r, n, empty: r["send"]["p50_ms"]),
    ("send, 16 callers: CPU", "us", lambda r, n, empty: r["send"]["cpu_us"]),
    ("list_chats: p99", "ms", lambda r, n, empty: r["chats"]["p99_ms"]),
    ("list_chats: CPU", "us", lambda r, n, empty: r["chats"]["cpu_us"]),
    ("list_messages: CPU", "us", lambda r, n, empty: r["messages"]["cpu_us"]),
    ("search_messages: CPU", "us", lambda r, n, empty: r["search"]["cpu_us"]),
    (f"fan-out, {GROW_STREAMS:,} streams: rate", "/s", lambda r, n, empty: r["fanout"]["per_second"]),
    ("fan-out: frames a CPU second", "/s", lambda r, n, empty: r["fanout"]["per_cpu_second"]),
    ("storm: all back after", "s", lambda r, n, empty: r["storm"]["seconds"]),
    ("storm: CPU an account", "ms", lambda r, n, empty: r["storm"]["cpu_s"] * 1000 / n),
    ("wss: RssAnon an account", "KB", lambda r, n, empty: (r["wss"]["anon_kb"] - empty) / n if n >= 100 else None),
    ("wss: all logged in after", "s", lambda r, n, empty: r["wss"]["login_s"]),
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
        table.line(f"  CPU with {n:,}: " + "; ".join(f"{name} {cpu_of_all(r[name])}" for name in ("steady", "most", "turn", "send", "chats", "fanout", "storm")))
    return results
