"""Memory of connected idle accounts, logins, storms, starts; ws and wss; beside the peers."""
import os
import time

from suite.rig import (FIRST_PREKEYS, KEPT, PEERS, Load, Parleyd, cpu_s, idle_peer, session, settled_anon_kb, status_kb)
from suite.table import Table

FLOOR_KB = {"ws": 2.5, "wss": 32}  # a libwebsockets client alone
FLOOR_LOGIN_MS = {"ws": None, "wss": 0.78}  # a TLS handshake alone
GOAL_KB = {"ws": 16, "wss": 48}
GOAL_MB = {"ws": 256, "wss": 512}
PEER_MEMORY_KB = 2e9 / 1024  # what a peer may take
FEW = 10
SETTLE_S = 6


def cpu_of_login(name, who):
    return f"{name} {who.login_cpu_s:.2f} s, sandbox {who.login_load_cpu_s:.2f} s in {who.login_s:.1f} s of logins"


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


def hold(options, kind, folder, accounts, tls):
    """So many of a peer's accounts logged in, idle; nobody tops up its one-time keys."""
    with session(options, accounts, tls=tls, server=kind, folder=folder, least_prekeys=FIRST_PREKEYS) as (_, who):
        return {"accounts": accounts, "anon_kb": settled_anon_kb(who.pid, SETTLE_S), "login_s": who.login_s,
                "login_ms": who.login_cpu_s * 1000 / accounts, "login_cpu": cpu_of_login(PEERS[kind], who)}


def held_by_peer(options, kind, wanted, tls):
    """The accounts of a peer that 2 GB hold, or those that there are; how its memory grows beyond the first ones."""
    few = hold(options, kind, idle_peer(kind, FEW)[0], FEW, tls)
    folder, accounts = idle_peer(kind, wanted)
    r = hold(options, kind, folder, accounts, tls)
    while r["anon_kb"] > PEER_MEMORY_KB:
        accounts = int(accounts * 0.985 * PEER_MEMORY_KB / r["anon_kb"])
        r = hold(options, kind, folder, accounts, tls)
    each = (r["anon_kb"] - few["anon_kb"]) / (accounts - FEW)
    return {**r, "kb": each, "base_kb": few["anon_kb"] - FEW * each, "wanted": wanted}


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
            "login_cpu_s": who.login_cpu_s,
            "cpu": f"parleyd {who.ready_cpu_s:.2f} s until it was ready; {cpu_of_login('parleyd', who)}", "idle_share": idle, "storm": storm}


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
    t.words("CPU", r["cpu"])


def show_peers(wire, peers):
    if not peers:
        return
    t = Table(f"idle: the peers over {wire}", "the same sandbox, one process, SQLite, nobody writes; one-time keys: whatsapp-rust 30, whatsmeow 50, Baileys 5")
    for kind, p in peers.items():
        name, room = PEERS[kind], (PEER_MEMORY_KB - p["base_kb"]) / p["kb"]
        full = p["anon_kb"] > 0.9 * PEER_MEMORY_KB
        why = "no more were paired, as a first login takes long" if p["accounts"] < p["wanted"] else "no more were asked for"
        t.row(f"{name}: accounts held", p["accounts"], "",
              note="2 GB hold no more" if full else f"{why}; 2 GB would hold about {room:,.0f}")
        t.row(f"{name}: RssAnon with all connected", p["anon_kb"] / 1024, "MB", note=f"{p['base_kb'] / 1024:.0f} MB of it without accounts")
        t.row(f"{name}: RssAnon for each account", p["kb"], "KB", note=f"beyond the first {FEW}")
        t.row(f"{name}: CPU for a login", p["login_ms"], "ms", note=p["login_cpu"])


def idle(options):
    results = []
    for tls in (False, True):
        wire = "wss" if tls else "ws"
        peers = {kind: held_by_peer(options, kind, n, tls) for kind, n in options.peers[wire].items()}
        show_peers(wire, peers)
        for accounts in options.idle:
            r = idle_of(options, accounts, tls)
            show_ours(r, peers)
            results.append({**r, "peers": peers})
    return results
