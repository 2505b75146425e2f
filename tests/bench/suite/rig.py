"""Processes: the sandbox with its clients (parley-load), parleyd, the peers' bridges; accounts that are kept."""
import contextlib
import ctypes
import fcntl
import http.client
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "..", ".."))
BUILD = os.path.join(ROOT, "build", "release")
KEPT = os.environ.get("PARLEY_BENCH_KEPT") or os.path.join(ROOT, "build", "bench")
RUNTIMES = os.environ.get("PARLEY_RUNTIMES") or os.path.join(ROOT, "build", "runtimes")
BRIDGES = os.path.join(ROOT, "tests", "interop", "bridges")
FIRST_PREKEYS = 30
PEER_ACCOUNTS = 50  # that write and are written to
PEERS = {"baileys": "Baileys", "rust": "whatsapp-rust", "whatsmeow": "whatsmeow"}


class Failed(Exception):
    pass


def say(*words):
    print("bench:", *words, file=sys.stderr, flush=True)


def free_port():
    """Below the ports that the kernel gives to clients, of which thousands are in use here."""
    while True:
        port = random.randrange(12000, 32000)
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
                return port
            except OSError:
                pass


def address():
    return f"127.0.0.1:{free_port()}"


# ---- looking at processes ----

def status_kb(pid, name):
    with open(f"/proc/{pid}/status", encoding="utf-8") as lines:
        for line in lines:
            if line.startswith(name + ":"):
                return int(line.split()[1])
    return 0


def cpu_s(pid):
    """Of all threads, to the nanosecond; /proc/PID/stat counts in hundredths."""
    clock = (~pid << 3) | 2  # how Linux names the clock of a process
    return time.clock_gettime(clock)


def flush_p50_ms(folder):
    """A write of 8 KB and its fdatasync, as a commit does it."""
    path, times = os.path.join(folder, "flush"), []
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    for _ in range(100):
        began = time.perf_counter()
        os.pwrite(fd, b"x" * 8192, 0)
        os.fdatasync(fd)
        times.append(time.perf_counter() - began)
    os.close(fd)
    os.unlink(path)
    return sorted(times)[50] * 1000


flushes = []  # around each session of the benchmark that runs, ms


def note_flush(folder):
    flushes.append(flush_p50_ms(folder))


def flush_ms():
    """The middle one; without a session the disk as it is now."""
    if not flushes:
        note_flush(KEPT)
    return sorted(flushes)[len(flushes) // 2]


def settled_anon_kb(pid, seconds):
    """When the work of the login is over: the smallest of some readings, as allocators and collectors breathe."""
    time.sleep(seconds)
    readings = []
    for _ in range(5):
        readings.append(status_kb(pid, "RssAnon"))
        time.sleep(0.2)
    return min(readings)


# ---- processes ----

LIBC = ctypes.CDLL(None)


def die_with_us():
    """In the child: nobody is left behind when the run is killed."""
    LIBC.prctl(1, signal.SIGKILL)


def start(words, **more):
    return subprocess.Popen(words, text=True, preexec_fn=die_with_us, **more)


def end_process(process, patience=60):
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    return process.returncode


def wait_http(where, path, process, patience=60):
    """Until it answers 200; the seconds that took."""
    began = time.monotonic()
    while time.monotonic() - began < patience:
        try:
            door = http.client.HTTPConnection(where, timeout=5)
            door.request("GET", path)
            if door.getresponse().status == 200:
                return time.monotonic() - began
        except OSError:
            pass
        if process.poll() is not None:
            break
        time.sleep(0.002)
    raise Failed(f"nobody answers {path}")


class Load:
    """parley-load: a line asks for a task, a line answers."""

    def __init__(self, state, tls, least_prekeys=0):
        self.ws, self.control, self.tls = address(), address(), tls
        words = [f"{BUILD}/parley-load", "--state", state, "--listen", self.ws, "--control", self.control]
        if tls:
            words += ["--tls-cert", f"{tls}/server.pem", "--tls-key", f"{tls}/server.key"]
        if least_prekeys:
            words += ["--least-prekeys", str(least_prekeys)]
        self.process = start(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.root_key = self.answer()["root_key"]
        self.usual = {}

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise Failed(f"parley-load ended with {self.process.wait(10)}")
        return json.loads(line)

    def ask(self, task, **members):
        words = [f"{name}={value}" for name, value in {**self.usual, **members}.items()]
        self.process.stdin.write(" ".join([task, *words]) + "\n")
        self.process.stdin.flush()

    def task(self, task, **members):
        self.ask(task, **members)
        return self.answer()

    @property
    def url(self):
        port = self.ws.split(":")[1]
        return f"wss://localhost:{port}/ws/chat" if self.tls else f"ws://{self.ws}/ws/chat"

    def close(self):
        end_process(self.process, 5)


class Parleyd:
    name = "parleyd"

    def __init__(self, folder, load, workers, *more):
        self.folder, self.listen = folder, address()
        words = [f"{BUILD}/parleyd", "--data", f"{folder}/data", "--listen", self.listen, "--log-level", "warn",
                 "--workers", str(workers), "--sandbox-url", load.url, "--sandbox-control", load.control, *more]
        if load.tls:
            words += ["--sandbox-ca", f"{load.tls}/ca.pem"]
        with open(f"{folder}/parleyd.log", "w", encoding="utf-8") as log:
            self.process = start(words, stdout=log, stderr=log)
        self.pid = self.process.pid
        try:
            self.ready_s = wait_http(self.listen, "/readyz", self.process)
        except Failed as e:
            end_process(self.process)
            raise Failed(f"parleyd did not start: see {folder}/parleyd.log") from e
        self.ready_cpu_s = cpu_s(self.pid)

    def key(self):
        with open(f"{self.folder}/data/first-keys", encoding="utf-8") as f:
            return next(word for word in f.read().split() if word.startswith("parley_test_"))

    def stop(self):
        code = end_process(self.process)
        if code != 0:
            raise Failed(f"parleyd ended with {code}")


class Bridge:
    """A peer with many accounts in one process, behind two of our routes; or the SDK's server."""

    def __init__(self, kind, folder, load, accounts, keeps="full", first=0, prekeys=None):
        self.name, self.listen = PEERS.get(kind, kind), address()
        settings = {"listen": self.listen, "accounts": accounts, "keeps": keeps, "state_dir": f"{folder}/{kind}"}
        if first:
            settings["first"] = first
        if prekeys:
            settings["prekeys"] = prekeys
        if load:
            settings.update(url=load.url, root_key=load.root_key, control=load.control)
            if load.tls:
                settings["ca_file"] = f"{load.tls}/ca.pem"
        words = {"whatsmeow": [f"{RUNTIMES}/bin/peer-whatsmeow", "bridge"]}.get(
            kind, [f"{RUNTIMES}/bin/node", f"{BRIDGES}/{kind}.mjs"])
        environment = {**os.environ, "NODE_NO_WARNINGS": "1"}
        self.log = f"{folder}/{kind}.log"
        with open(self.log, "w", encoding="utf-8") as log:
            self.process = start([*words, json.dumps(settings)], stdout=subprocess.PIPE, stderr=log, env=environment)
        self.pid = self.process.pid
        if self.process.stdout.readline() != "ready\n":
            end_process(self.process)
            raise Failed(f"{self.name} did not start: see {self.log}")

    def key(self):
        return "none"

    def stop(self):
        end_process(self.process, 20)


# ---- accounts that are kept ----

def tls_folder():
    """A certificate of an authority of our own, for localhost."""
    folder = os.path.join(KEPT, "tls")
    if os.path.exists(f"{folder}/server.pem"):
        return folder
    os.makedirs(folder, exist_ok=True)
    with open(f"{folder}/names", "w", encoding="utf-8") as f:
        f.write("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
    for command in (
            "ecparam -name prime256v1 -genkey -noout -out ca.key",
            "req -x509 -new -key ca.key -out ca.pem -days 3650 -subj /CN=bench -addext basicConstraints=critical,CA:true",
            "ecparam -name prime256v1 -genkey -noout -out server.key",
            "req -new -key server.key -out server.csr -subj /CN=localhost",
            "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 3650 -extfile names -out server.pem"):
        subprocess.run(["openssl", *command.split()], cwd=folder, check=True, capture_output=True)
    return folder


def kept(name, make):
    """The folder of this name, made when it is missing; by one run at a time."""
    folder = os.path.join(KEPT, name)
    with open(os.path.join(KEPT, f"{name}.lock"), "w", encoding="utf-8") as lock:
        if not os.path.isdir(folder):
            fcntl.flock(lock, fcntl.LOCK_EX)
        if not os.path.isdir(folder):
            make_kept(name, folder, make)
    return folder


def make_kept(name, folder, make):
    making = folder + ".making"
    shutil.rmtree(making, ignore_errors=True)
    os.makedirs(making)
    began = time.monotonic()
    say(f"making {name}, once")
    make(making)
    say(f"{name} took {time.monotonic() - began:.0f} s")
    os.rename(making, folder)


def paired(accounts):
    def make(folder):
        load = Load(f"{folder}/sim", None)
        try:
            server = Parleyd(folder, load, 2, "--first-prekeys", str(FIRST_PREKEYS))
            try:
                load.task("pair", http=server.listen, key=server.key(), accounts=accounts, prekeys=FIRST_PREKEYS)
                load.task("save")
            finally:
                server.stop()
        finally:
            load.close()
    return kept(f"accounts-{accounts}", make)


PAIRED_AT_ONCE = {"baileys": 250, "rust": 500}  # a process that has paired many in JavaScript is busy collecting garbage


def slices(kind, accounts):
    """(first, behind the last) for each process that pairs."""
    step = PAIRED_AT_ONCE.get(kind, accounts)
    return [(first, min(first + step, accounts)) for first in range(0, accounts, step)]


def paired_peer(kind, accounts, idle=False):
    """The idle ones upload few one-time keys, as the usual 812 take most of the time of a pairing: whatsapp-rust as many as
    it is told, Baileys 5 and whatsmeow 50, as the sandbox tells them that it has one already."""
    def make(folder):
        load = Load(f"{folder}/sim", None, least_prekeys=1 if idle else 0)
        try:
            load.task("phones", accounts=accounts)
            for first, behind in slices(kind, accounts):
                bridge = Bridge(kind, folder, load, behind, keeps="fast", first=first, prekeys=FIRST_PREKEYS if idle else None)
                try:
                    load.task("wait", accounts=behind - first, prekeys=5)
                    time.sleep(5)  # what follows a first login
                finally:
                    bridge.stop()
            load.task("save")
        finally:
            load.close()
    return kept(f"{'idle-' if idle else ''}{kind}-{accounts}", make)


def idle_peer(kind, wanted):
    """Where so many accounts of a peer are, and how many: the most that are kept, as pairing them is what takes long."""
    if wanted <= PEER_ACCOUNTS:
        return paired_peer(kind, PEER_ACCOUNTS), wanted
    start = f"idle-{kind}-"
    most = max((int(name[len(start):]) for name in os.listdir(KEPT)
                if name.startswith(start) and name[len(start):].isdigit()), default=0)
    most = most or wanted
    return paired_peer(kind, most, idle=True), min(most, wanted)


def copy_of(folder, name):
    copy = os.path.join(KEPT, f"run-{name}")
    shutil.rmtree(copy, ignore_errors=True)
    subprocess.run(["cp", "-r", "--sparse=always", "--reflink=auto", folder, copy], check=True)
    subprocess.run(["sync", "-f", copy], check=True)  # else the copy's own flush is measured
    return copy


@contextlib.contextmanager
def session(options, accounts, tls=False, server=None, login=True, folder=None, least_prekeys=0):
    """A copy of paired accounts with the sandbox and who serves them; `server` is a peer's name or None for parleyd.
    Gives (load, server); `server.login_s` and `login_cpu_s` tell of the login."""
    source = folder or (paired_peer(server, accounts) if server else paired(accounts))
    copy, load, who = copy_of(source, f"{server or 'parleyd'}-{os.getpid()}"), None, None
    try:
        note_flush(copy)
        load = Load(f"{copy}/sim", tls_folder() if tls else None, least_prekeys)
        began, load_cpu = time.monotonic(), cpu_s(load.process.pid)
        who = Bridge(server, copy, load, accounts) if server else Parleyd(copy, load, options.workers)
        load.usual = {"http": who.listen, "key": who.key(), "pid": who.pid, "accounts": accounts}
        if login:
            load.task("wait")
            who.login_s, who.login_cpu_s = time.monotonic() - began, cpu_s(who.pid)
            who.login_load_cpu_s = cpu_s(load.process.pid) - load_cpu
        yield load, who
        note_flush(copy)
        who.stop()
        who = None
    finally:
        if who:
            end_process(who.process, 5)
        if load:
            load.close()
        shutil.rmtree(copy, ignore_errors=True)
