"""Event streams, and the reading tools over a large account."""
from suite.rig import Bridge, Load, Failed, kept, Parleyd, session, tls_folder  # noqa: F401
from suite.table import Table

COALESCED = 128      # events on their way; the SDK gets 4, as it writes each by itself
FLOOR_GET_US = 0.36  # one LMDB get beside a saturated writer
READS = (
    ("list_chats, newest 100", "chats", 100),
    ("list_chats, 100 from the middle", "chats_deep", 100),
    ("list_messages, newest 100 of a chat", "messages", 100),
    ("list_messages, newest 20 of a chat", "messages_few", 20),
    ("search_messages, a rare word", "search_rare", 100),
    ("search_messages, a usual word", "search_usual", 100),
    ("search_messages, the most frequent word", "search_frequent", 100),
    ("search_messages, two frequent words", "search_two", 100),
    ("search_messages, no such word", "search_none", 100),
)


def floor_and_sdk(options, streams, window, frame):
    """The bare floor, then MCP's TypeScript SDK; frames of the same size, read by the same program."""
    with session(options, 1, login=False) as (load, who):
        floor = load.task("fanout", what="floor", streams=streams, window=window, bytes=frame["events"], seconds=options.seconds)
        sdk = Bridge("sdk", who.folder, None, 0)
        try:
            theirs = load.task("fanout", what="sdk", streams=streams, window=min(window, 4), bytes=frame["mcp"], seconds=options.seconds,
                               http=sdk.listen, pid=sdk.pid)
        finally:
            sdk.stop()
    return floor, theirs


def to_streams(options, what, streams, window):
    """Each in a parleyd of its own: memory that other streams gave back would be used again."""
    with session(options, options.fan_accounts) as (load, _):
        return load.task("fanout", what=what, active=4, streams=streams, window=window, seconds=options.seconds)


def fanout(options):
    results = []
    for streams in options.streams:
        for window in (1, COALESCED):
            ours = {what: to_streams(options, what, streams, window) for what in ("events", "mcp")}
            frame = {what: r["frame_bytes"] for what, r in ours.items()}
            floor, sdk = floor_and_sdk(options, streams, window, frame)
            how = "one by one" if window == 1 else f"{window} events on their way"
            t = Table(f"fan-out to {streams:,} streams, {how}",
                      f"{options.fan_accounts} accounts, {options.workers} workers, frames of {frame['events']} B (events), {frame['mcp']} B (mcp), "
                      f"{sdk['frame_bytes']} B (SDK)")
            for what, door in (("events", "/v1/events"), ("mcp", "/mcp")):
                r = ours[what]
                t.row(f"{door}: frames a second", r["per_second"], "/s", above=1_000_000 if window > 1 else None,
                      floor=("bare writes", floor["per_second"]), peers={"TypeScript SDK": sdk["per_second"]},
                      note=f"{r['events']} events")
                t.row(f"{door}: frames for a second of CPU", r["per_cpu_second"], "/s",
                      above=0.8 * floor["per_cpu_second"] if window == 1 else None, floor=("bare writes", floor["per_cpu_second"]),
                      peers={"TypeScript SDK": sdk["per_cpu_second"]})
                t.row(f"{door}: RssAnon for each stream", r["bytes_per_stream"] / 1024, "KB", below=4,
                      floor=("bare sockets", floor["bytes_per_stream"] / 1024),
                      peers={"TypeScript SDK": sdk["bytes_per_stream"] / 1024})
            t.words("CPU", "; ".join(f"{name} {r['cpu_s']:.2f} s and its readers {r['load_cpu_s']:.2f} s in {r['seconds']:.1f} s" for name, r in
                                     (("/v1/events", ours["events"]), ("/mcp", ours["mcp"]), ("floor", floor), ("SDK", sdk))))
            results.append({"streams": streams, "window": window, **ours, "floor": floor, "sdk": sdk})
    return results


# ---- the reading tools ----

def history(chats, messages):
    """An account with so many chats and messages, all of which came in through the front door."""
    def make(folder):
        load = Load(f"{folder}/sim", None)
        try:
            server = Parleyd(folder, load, 2, "--first-prekeys", "812", "--log-level", "info")
            try:
                load.usual = {"http": server.listen, "key": server.key(), "pid": server.pid, "accounts": 1}
                load.task("pair", prekeys=30)
                load.task("fill", active=chats, messages=messages, window=256)
                load.task("save")
            finally:
                server.stop()
        finally:
            load.close()
    return kept(f"history-{chats}-{messages}", make)


def reads(options):
    chats, messages = options.history
    results = {}
    with session(options, 1, folder=history(chats, messages), login=False) as (load, _):
        for callers in (1, 8):
            t = Table(f"reading tools, {callers} at a time", f"one account of {chats:,} chats and {messages:,} messages, the running server, "
                      f"over HTTP with keep-alive, {options.workers} workers")
            for name, what, _limit in READS:
                r = results[what, callers] = load.task("read", what=what, window=callers, active=chats, seconds=options.read_seconds)
                t.row(f"{name} p99", r["p99_ms"], "ms", below=2 if callers == 1 else None,
                      note=f"p50 {r['p50_ms']:.3f} ms, max {r['max_ms']:.1f} ms; CPU of parleyd {r['cpu_us']:.0f} us a call, "
                           f"{r['cpu_us'] / FLOOR_GET_US / max(1, r['rows']):.0f} x a bare get a row; {r['rows']} rows; {r['per_second']:,.0f} calls/s; "
                           f"CPU {r['cpu_s']:.2f} s, callers {r['load_cpu_s']:.2f} s")
    return {f"{what} {callers}": r for (what, callers), r in results.items()}
