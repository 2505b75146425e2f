"""Memory of connected idle accounts, logins, storms, starts; ws and wss; beside the peers."""
import os
import time

from suite.rig import (FIRST_PREKEYS, KEPT, PEERS, Load, Parleyd, cpu_s, session, settled_anon_kb, status_kb)
from suite.table import Table

FLOOR_KB = {"ws": 2.5, "wss": 32}  # a libwebsockets client alone
FLOOR_LOGIN_MS = {"ws": None, "wss": 0.78}  # a TLS handshake alone
GOAL_KB = {"ws": 16, "wss": 48}
GOAL_MB = {"ws": 256, "wss": 512}
SETTLE_S = 6


def empty_anon_kb(options):
    """Of a parleyd with no account."""
    folder = os.path.join(KEPT, f"run-empty-{os.getpid()}")
    os.makedirs(folder, exist_ok=True)
    load = Load(f"{folder}/sim", None)
    try:
        server = Parleyd(folder, load, options.workers)
        anon = settled_anon_kb(server.pid, 1)
        server.stop()
        return anon
    finally:
        load.close()
        os.system(f"rm -rf '{folder}'")


def peer_anon_kb(options, kind, accounts, tls):
    """Kilobytes for each account beyond the first ten, and of the process with ten."""
    few = min(10, accounts // 2)
    readings = {}
    for n in (few, accounts):
        with session(options, n, tls=tls, server=kind) as (_, who):
            readings[n] = settled_anon_kb(who.pid, SETTLE_S)
            login_s, cpu = who.login_s, who.login_cpu_s
    each = (readings[accounts] - readings[few]) / (accounts - few)
    return {"kb": each, "base_mb": (readings[few] - few * each) / 1024, "login_s": login_s,
            "login_ms": cpu * 1000 / accounts, "accounts": accounts, "all_mb": readings[accounts] / 1024}


def idle_of(options, accounts, tls):
    wire = "wss" if tls else "ws"
    before = empty_anon_kb(options)
    with session(options, accounts, tls=tls) as (load, who):
        anon = settled_anon_kb(who.pid, SETTLE_S)
        mapped, began = status_kb(who.pid, "RssFile"), cpu_s(who.pid)
        time.sleep(3)
        idle = (cpu_s(who.pid) - began) / 3
        storm = load.task("drop") if options.storm and accounts == max(options.idle) else None
        after = settled_anon_kb(who.pid, SETTLE_S) if storm else 0
    return {"wire": wire, "accounts": accounts, "before_kb": before, "anon_kb": anon, "after_kb": after, "mapped_kb": mapped,
            "kb": (anon - before) / accounts, "ready_s": who.ready_s, "login_s": who.login_s,
            "login_cpu_s": who.login_cpu_s, "idle_share": idle, "storm": storm}


def show_ours(r, peers):
    wire, accounts, storm = r["wire"], r["accounts"], r["storm"]
    t = Table(f"idle: {accounts:,} accounts over {wire}", f"{FIRST_PREKEYS} one-time keys each, logged in, nobody writes")
    t.row("RssAnon for each account", r["kb"], "KB", below=GOAL_KB[wire], floor=("libwebsockets alone", FLOOR_KB[wire]),
          peers={PEERS[kind]: p["kb"] for kind, p in peers.items()})
    t.row("RssAnon with all connected", r["anon_kb"] / 1024, "MB", below=GOAL_MB[wire] if accounts >= 10000 else None,
          note=f"{r['before_kb'] / 1024:.1f} MB without accounts; mapped database beside it {r['mapped_kb'] / 1024:.1f} MB")
    t.row("start: ready after", r["ready_s"], "s", below=1, note="before links are up")
    t.row("all logged in after", r["login_s"], "s", below=60 if accounts >= 10000 else None)
    t.row("CPU of parleyd for a login", r["login_cpu_s"] * 1000 / accounts, "ms",
          floor=("a TLS handshake alone", FLOOR_LOGIN_MS[wire]) if FLOOR_LOGIN_MS[wire] else None,
          peers={PEERS[kind]: p["login_ms"] for kind, p in peers.items()})
    t.row("CPU afterwards", r["idle_share"] * 100, "% core", note="keepalives")
    if storm:
        t.row("storm: all logged in again after", storm["seconds"], "s", below=60,
              note=f"every connection ended at once; CPU of parleyd {storm['cpu_s']:.2f} s, sandbox {storm['load_cpu_s']:.2f} s")
        t.row("RssAnon for each account after the storm", (r["after_kb"] - r["before_kb"]) / accounts, "KB")


def show_peers(wire, peers):
    if not peers:
        return
    t = Table(f"idle: the peers over {wire}", "the same sandbox, one process, SQLite, their own number of one-time keys")
    for kind, p in peers.items():
        t.row(f"{PEERS[kind]}: RssAnon for each account", p["kb"], "KB",
              note=f"{p['accounts']} accounts, {p['all_mb']:.0f} MB, {p['base_mb']:.0f} MB of it without any; 2 GB hold about "
                   f"{(2048 - p['base_mb']) * 1024 / p['kb']:,.0f}; logged in after {p['login_s']:.1f} s, {p['login_ms']:.1f} ms of CPU each")


def idle(options):
    results = []
    for tls in (False, True):
        wire = "wss" if tls else "ws"
        peers = {kind: peer_anon_kb(options, kind, n, tls) for kind, n in options.peers[wire].items()}
        show_peers(wire, peers)
        for accounts in options.idle:
            r = idle_of(options, accounts, tls)
            show_ours(r, peers)
            results.append({**r, "peers": peers})
    return results
