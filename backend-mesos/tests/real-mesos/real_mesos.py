#!/usr/bin/env python3
"""Set up and run a genuine Apache Mesos 1.11.0 master and agents on loopback.

    real_mesos.py setup
    real_mesos.py start --port 5050 --agents 2 --work-dir DIR
    real_mesos.py ctl --work-dir DIR COMMAND...

See README.md in this folder.  Standard library only (setup additionally puts
the `pypi-simple` package into a private virtual environment).
"""

import argparse
import ctypes
import fcntl
import hashlib
import json
import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent

PROJECT = "mesos.scheduler"
EGG = "mesos.scheduler-1.11.0-py2.7-linux-x86_64.egg"
EGG_SHA256 = "4940ebb70894ee004cf8a12b7b66b52a351be1070ec2a4e6f7dae4ec04f8cb61"
MEMBER = "mesos/scheduler/_scheduler.so"
MEMBER_SHA256 = (
    "84d7ee9af27e912636b139de40257df1ee4f56c201de6bba834278aa1e8fd64c")

# Debian packages, and how to tell that one is not needed.
PACKAGES = {
    "g++": lambda: shutil.which("g++"),
    "binutils": lambda: shutil.which("nm"),
    "libsasl2-2": lambda: find_shared("libsasl2.so.2"),
    "libsasl2-modules": lambda: list(Path("/usr/lib").glob(
        "*/sasl2/libcrammd5.so*")),
    "zlib1g": lambda: find_shared("libz.so.1"),
    "python3-venv": lambda: can_import("ensurepip"),
    "ca-certificates": lambda: Path("/etc/ssl/certs").is_dir(),
}

STAND_INS = ("mesos-executor", "mesos-default-executor", "mesos-fetcher")


def say(*words):
    print("real-mesos:", *words, file=sys.stderr, flush=True)


def cache_dir():
    chosen = os.environ.get("REAL_MESOS_CACHE")
    return Path(chosen) if chosen else Path.home() / ".cache" / "real-mesos"


def find_shared(name):
    for top in ("/lib", "/usr/lib", "/lib64", "/usr/lib64"):
        for pattern in (name, "*/" + name):
            if any(Path(top).glob(pattern)):
                return True
    return False


def can_import(name):
    return subprocess.run([sys.executable, "-c", "import " + name],
                          stderr=subprocess.DEVNULL).returncode == 0


def sha256(path):
    digest = hashlib.sha256()
    with open(path, "rb") as f:
        for chunk in iter(lambda: f.read(1 << 20), b""):
            digest.update(chunk)
    return digest.hexdigest()


# --------------------------------------------------------------------------
# setup

def setup(args):
    if platform.machine() != "x86_64" or sys.platform != "linux":
        sys.exit("real-mesos: the published binary is Linux x86-64 only")
    started = time.time()
    cache = cache_dir()
    cache.mkdir(parents=True, exist_ok=True)
    lock = open(cache / "lock", "w")
    fcntl.flock(lock, fcntl.LOCK_EX)  # until this process ends or returns
    install_packages()
    library = cache / "lib" / "_scheduler.so"
    if not library.exists() or sha256(library) != MEMBER_SHA256:
        egg = fetch_egg(cache)
        unpack(egg, library)
        if not os.environ.get("REAL_MESOS_EGG"):
            egg.unlink()
            shutil.rmtree(cache / "venv", ignore_errors=True)
    stubs = cache / "stubs"
    bin_dir = cache / "bin"
    stamp = cache / "built"
    sources = [HERE / n for n in ("launcher.cpp", "real_mesos.py")]
    sources += [HERE / "helpers" / n for n in STAND_INS + ("executor_api.py",)]
    mark = hashlib.sha256(
        b"".join(s.read_bytes() for s in sources)
        + sys.executable.encode()).hexdigest()
    if not stamp.exists() or stamp.read_text() != mark:
        stamp.unlink(missing_ok=True)
        build_stubs(library, stubs)
        build_launcher(library, stubs, bin_dir)
        stamp.write_text(mark)
    lock.close()
    say("ready in %.1f s, cache %s" % (time.time() - started, cache))


def install_packages():
    missing = [p for p, present in PACKAGES.items() if not present()]
    if not missing:
        return
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        sys.exit("real-mesos: please install: " + " ".join(missing))
    say("installing Debian packages:", *missing)
    env = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
    subprocess.run(["apt-get", "update", "-q"], env=env, check=True,
                   stdout=sys.stderr)
    subprocess.run(["apt-get", "install", "-y", "-q",
                    "--no-install-recommends"] + missing,
                   env=env, check=True, stdout=sys.stderr)


FETCH = """
import sys
from pypi_simple import PyPISimple
project, name, target = sys.argv[1:]
with PyPISimple() as client:
    for package in client.get_project_page(project).packages:
        if package.filename == name:
            client.download_package(package, path=target, verify=True)
            break
    else:
        sys.exit("no such file in the project: " + name)
"""


def fetch_egg(cache):
    given = os.environ.get("REAL_MESOS_EGG")
    egg = Path(given) if given else cache / EGG
    if egg.exists() and sha256(egg) == EGG_SHA256:
        return egg
    if given:
        sys.exit("real-mesos: REAL_MESOS_EGG is not the expected file")
    venv = cache / "venv"
    python = venv / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    subprocess.run([str(python), "-m", "pip", "install", "-q", "pypi-simple"],
                   check=True, stdout=sys.stderr)
    say("downloading", EGG)
    part = egg.with_suffix(".part")
    subprocess.run([str(python), "-c", FETCH, PROJECT, EGG, str(part)],
                   check=True)
    if sha256(part) != EGG_SHA256:
        sys.exit("real-mesos: the downloaded egg has an unexpected digest")
    part.rename(egg)
    return egg


def unpack(egg, library):
    library.parent.mkdir(parents=True, exist_ok=True)
    part = library.with_suffix(".part")
    with zipfile.ZipFile(egg) as z, z.open(MEMBER) as src, \
            open(part, "wb") as dst:
        shutil.copyfileobj(src, dst, 1 << 20)
    if sha256(part) != MEMBER_SHA256:
        sys.exit("real-mesos: the unpacked library has an unexpected digest")
    part.rename(library)


def build_stubs(library, stubs):
    """Shared objects that satisfy what the library was linked against and
    does not really use here.  A call of a stub says so and aborts."""
    stubs.mkdir(parents=True, exist_ok=True)
    wanted = {}
    out = subprocess.run(["nm", "-D", "--undefined-only", str(library)],
                         check=True, capture_output=True, text=True).stdout
    for line in out.splitlines():
        kind, symbol = line.split()[-2:]
        if kind in "wv":
            continue
        name, _, version = symbol.partition("@")
        if version.startswith("OPENSSL_"):
            target = ("libssl.so.1.0.0" if name.startswith("SSL") or
                      name.startswith("TLS") else "libcrypto.so.1.0.0")
        elif version.startswith("CURL_"):
            continue  # written by hand below
        elif name.startswith("apr_"):
            target = "libapr-1.so.0"
        elif name.startswith(("svn_txdelta",)):
            target = "libsvn_delta-1.so.1"
        elif name.startswith("svn_"):
            target = "libsvn_subr-1.so.1"
        elif name.startswith(("Py", "_Py")):
            target = "libcpython27-stub.so"
        else:
            continue
        wanted.setdefault(target, []).append((name, version))
    for target, symbols in sorted(wanted.items()):
        lines = ["#include <stdio.h>", "#include <stdlib.h>"]
        for name, _ in symbols:
            if name.startswith(("PyExc_", "_Py_NoneStruct")):
                lines.append("void *%s[64];" % name)
            elif name in ("apr_initialize", "apr_terminate"):
                lines.append("int %s(void) { return 0; }" % name)
            else:
                lines.append(
                    'void %s(void) { fprintf(stderr, "real-mesos: stub %s '
                    'called\\n"); abort(); }' % (name, name))
        compile_stub(stubs, target, "\n".join(lines) + "\n",
                     versions=symbols)
    names = ("curl_easy_cleanup curl_easy_getinfo curl_easy_init "
             "curl_easy_perform curl_easy_setopt curl_easy_strerror "
             "curl_global_init").split()
    compile_stub(stubs, "libcurl.so.4", CURL_FORWARDER,
                 versions=[(n, "CURL_OPENSSL_3") for n in names])


CURL_FORWARDER = r"""
/* Hands the few calls over to the system's curl, opened on first use. */
#include <dlfcn.h>
#include <stddef.h>
static void *lib(void) {
  static void *h;
  if (h == NULL) h = dlopen("libcurl-gnutls.so.4", RTLD_LAZY | RTLD_LOCAL);
  if (h == NULL)
    h = dlopen("/usr/lib/x86_64-linux-gnu/libcurl.so.4",
               RTLD_LAZY | RTLD_LOCAL);
  return h;
}
static void *sym(const char *n) { return lib() ? dlsym(lib(), n) : NULL; }
long curl_global_init(long flags) {
  long (*f)(long) = (long (*)(long))sym("curl_global_init");
  return f ? f(flags) : 0;
}
void *curl_easy_init(void) {
  void *(*f)(void) = (void *(*)(void))sym("curl_easy_init");
  return f ? f() : NULL;
}
void curl_easy_cleanup(void *c) {
  void (*f)(void *) = (void (*)(void *))sym("curl_easy_cleanup");
  if (f) f(c);
}
int curl_easy_perform(void *c) {
  int (*f)(void *) = (int (*)(void *))sym("curl_easy_perform");
  return f ? f(c) : 2;
}
const char *curl_easy_strerror(int e) {
  const char *(*f)(int) = (const char *(*)(int))sym("curl_easy_strerror");
  return f ? f(e) : "curl is not installed";
}
int curl_easy_setopt(void *c, int option, void *value) {
  int (*f)(void *, int, ...) =
      (int (*)(void *, int, ...))sym("curl_easy_setopt");
  return f ? f(c, option, value) : 2;
}
int curl_easy_getinfo(void *c, int info, void *value) {
  int (*f)(void *, int, ...) =
      (int (*)(void *, int, ...))sym("curl_easy_getinfo");
  return f ? f(c, info, value) : 2;
}
"""


def compile_stub(stubs, target, text, versions):
    source = stubs / (target + ".c")
    source.write_text(text)
    command = ["gcc", "-w", "-shared", "-fPIC", "-O1", "-fno-builtin",
               "-Wl,-soname," + target, "-o", str(stubs / target),
               str(source), "-ldl"]
    nodes = {}
    for name, version in versions:
        if version:
            nodes.setdefault(version, []).append(name)
    if target in ("libssl.so.1.0.0", "libcrypto.so.1.0.0"):
        for node in ("OPENSSL_1.0.0", "OPENSSL_1.0.1", "OPENSSL_1.0.2"):
            nodes.setdefault(node, [])
    if nodes:
        script = stubs / (target + ".map")
        script.write_text("".join(
            "%s { %s };\n" % (node, "global: " + " ".join(
                n + ";" for n in names) if names else "")
            for node, names in sorted(nodes.items())))
        command.append("-Wl,--version-script=" + str(script))
    subprocess.run(command, check=True)


def build_launcher(library, stubs, bin_dir):
    if bin_dir.exists():
        shutil.rmtree(bin_dir)
    bin_dir.mkdir(parents=True)
    subprocess.run(
        ["g++", "-std=c++17", "-O1", "-Wall",
         '-DREAL_MESOS_LIB="%s"' % library,
         '-DREAL_MESOS_STUBS="%s"' % stubs,
         str(HERE / "launcher.cpp"), "-o", str(bin_dir / "launcher"), "-ldl"],
        check=True)
    os.link(bin_dir / "launcher", bin_dir / "mesos-containerizer")
    for name in STAND_INS:
        source = HERE / "helpers" / name
        lines = source.read_text().split("\n", 1)
        target = bin_dir / name
        target.write_text("#!%s -E\n%s" % (sys.executable, lines[1]))
        target.chmod(0o755)
    shutil.copy(HERE / "helpers" / "executor_api.py", bin_dir)


# --------------------------------------------------------------------------
# start

class Member:
    """One master or agent process and its way to be started again."""

    def __init__(self, cluster, name, port, env):
        self.cluster, self.name, self.port, self.env = cluster, name, port, env
        self.child = None
        self.paused = False

    @property
    def kind(self):
        return "master" if self.name == "master" else "agent"

    def start(self):
        if self.alive():
            return
        clean = {k: v for k, v in os.environ.items()
                 if not k.startswith(("MESOS_", "LIBPROCESS_"))}
        with open(self.cluster.dir / (self.name + ".log"), "ab") as log:
            self.child = subprocess.Popen(
                [str(cache_dir() / "bin" / "launcher"), self.kind],
                env=dict(clean, REAL_MESOS_SUPERVISOR=str(os.getpid()),
                         **self.env),
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True, cwd=str(self.cluster.dir))
        self.paused = False

    def alive(self):
        return self.child is not None and self.child.poll() is None

    def signal(self, number):
        if self.alive():
            self.child.send_signal(number)

    def stop(self, number, wait=10.0):
        if not self.alive():
            return
        if self.paused:
            self.signal(signal.SIGCONT)
            self.paused = False
        self.signal(number)
        end = time.time() + wait
        while self.alive():
            if time.time() > end:
                self.child.kill()
            time.sleep(0.01)


class Cluster:
    def __init__(self, args):
        self.args = args
        self.dir = Path(args.work_dir).resolve()
        self.dir.mkdir(parents=True, exist_ok=True)
        self.members = {}
        self.lock = threading.RLock()
        self.stopping = threading.Event()
        master = {
            "LIBPROCESS_IP": args.ip, "LIBPROCESS_PORT": str(args.port),
            "LIBPROCESS_NUM_WORKER_THREADS": str(args.threads),
            "MESOS_IP": args.ip, "MESOS_PORT": str(args.port),
            "MESOS_HOSTNAME": args.ip,
            "MESOS_WORK_DIR": str(self.dir),
            "MESOS_REGISTRY": args.registry,
            "MESOS_ALLOCATION_INTERVAL": args.allocation_interval,
            "MESOS_AGENT_PING_TIMEOUT": args.agent_ping_timeout,
            "MESOS_MAX_AGENT_PING_TIMEOUTS": str(args.max_agent_pings),
            "MESOS_AUTHENTICATE_FRAMEWORKS": "false",
            "MESOS_AUTHENTICATE_AGENTS": "false",
            "MESOS_AUTHENTICATE_HTTP_FRAMEWORKS": "false",
        }
        master.update(pairs(args.master_flag))
        self.members["master"] = Member(self, "master", args.port, master)
        for _ in range(args.agents):
            self.add_agent()

    def add_agent(self):
        index = len(self.members) - 1
        args = self.args
        name = "agent-%d" % index
        base = self.dir / "agents" / str(index)
        # all of 127.0.0.0/8 is this host: agents get names of their own
        ip = "127.0.0.%d" % (index + 2) if args.hosts else args.ip
        port = args.agent_port + index if args.agent_port else free_port(
            ip, {m.port for m in self.members.values()})
        env = {
            "LIBPROCESS_IP": ip, "LIBPROCESS_PORT": str(port),
            "LIBPROCESS_NUM_WORKER_THREADS": str(args.threads),
            "MESOS_IP": ip, "MESOS_PORT": str(port),
            "MESOS_HOSTNAME": ip,
            "MESOS_MASTER": "%s:%d" % (args.ip, args.port),
            "MESOS_WORK_DIR": str(base / "work"),
            "MESOS_RUNTIME_DIR": str(base / "run"),
            "MESOS_FETCHER_CACHE_DIR": str(base / "fetch"),
            "MESOS_LAUNCHER_DIR": str(cache_dir() / "bin"),
            "MESOS_LAUNCHER": "posix",
            "MESOS_ISOLATION": args.isolation,
            "MESOS_CONTAINERIZERS": "mesos",
            "MESOS_RESOURCES": args.resources,
            "MESOS_SYSTEMD_ENABLE_SUPPORT": "false",
            "MESOS_SWITCH_USER": "false",
            "MESOS_REGISTRATION_BACKOFF_FACTOR": "200ms",
            "MESOS_EXECUTOR_REREGISTRATION_TIMEOUT": "2secs",
            "MESOS_DISK_WATCH_INTERVAL": "30secs",
        }
        if args.attributes:
            env["MESOS_ATTRIBUTES"] = args.attributes
        env.update(pairs(args.agent_flag))
        for key in ("MESOS_WORK_DIR", "MESOS_RUNTIME_DIR"):
            Path(env[key]).mkdir(parents=True, exist_ok=True)
        member = Member(self, name, port, env)
        self.members[name] = member
        return member

    def url(self):
        return "http://%s:%d" % (self.args.ip, self.args.port)

    def wait_master(self, limit):
        end = time.time() + limit
        while time.time() < end and not self.stopping.is_set():
            if not self.members["master"].alive():
                raise RuntimeError("the master ended; see master.log")
            try:
                if urllib.request.urlopen(self.url() + "/health",
                                          timeout=1).status == 200:
                    return
            except (OSError, urllib.error.URLError):
                pass
            time.sleep(0.05)
        raise RuntimeError("the master did not answer /health in time")

    def registered(self):
        body = json.dumps({"type": "GET_AGENTS"}).encode()
        request = urllib.request.Request(
            self.url() + "/api/v1", body,
            {"Content-Type": "application/json", "Accept": "application/json"})
        reply = json.load(urllib.request.urlopen(request, timeout=2))
        agents = reply.get("get_agents", {}).get("agents", [])
        return {int(a["pid"].rsplit(":", 1)[1]) for a in agents
                if a.get("active")}

    def wait_agents(self, limit):
        end = time.time() + limit
        wanted = {m.port for m in self.members.values() if m.kind == "agent"}
        while time.time() < end and not self.stopping.is_set():
            for m in self.members.values():
                if m.kind == "agent" and not m.alive():
                    raise RuntimeError("%s ended; see its log" % m.name)
            try:
                if wanted <= self.registered():
                    return
            except (OSError, ValueError, KeyError):
                pass
            time.sleep(0.05)
        raise RuntimeError("not all agents registered in time")

    def status(self):
        return {
            "url": self.url(),
            "members": {
                m.name: {"pid": m.child.pid if m.alive() else None,
                         "port": m.port, "alive": m.alive(),
                         "paused": m.paused}
                for m in self.members.values()}}

    # ---- control commands, one line each
    def command(self, line):
        words = line.split()
        with self.lock:
            if words in ([], ["status"]):
                return self.status()
            if words == ["agent", "add"]:
                member = self.add_agent()
                member.start()
                return self.status()
            if words == ["stop"]:
                self.stopping.set()
                return {"ok": True}
            if words[0] == "agent" and len(words) == 3:
                name, verb = "agent-" + words[1], words[2]
            elif words[0] == "master" and len(words) == 2:
                name, verb = "master", words[1]
            else:
                raise ValueError("unknown command: " + line)
            member = self.members.get(name)
            if member is None:
                raise ValueError("no such member: " + name)
            if verb == "kill":
                member.stop(signal.SIGKILL)
            elif verb == "term":
                member.stop(signal.SIGTERM)
            elif verb == "shutdown":  # an agent leaves its master for good
                member.stop(signal.SIGUSR1, 20)
            elif verb == "start":
                member.start()
                if name == "master":
                    self.wait_master(30)
            elif verb == "restart":
                member.stop(signal.SIGKILL)
                member.start()
                if name == "master":
                    self.wait_master(30)
            elif verb == "pause":
                member.signal(signal.SIGSTOP)
                member.paused = True
            elif verb == "resume":
                member.signal(signal.SIGCONT)
                member.paused = False
            else:
                raise ValueError("unknown verb: " + verb)
            return self.status()

    def serve_control(self):
        path = self.dir / "control.sock"
        path.unlink(missing_ok=True)
        server = socket.socket(socket.AF_UNIX)
        server.bind(str(path))
        server.listen(8)

        def handle(connection):
            with connection, connection.makefile("rw") as f:
                for line in f:
                    try:
                        reply = self.command(line.strip())
                    except Exception as e:  # told to the caller
                        reply = {"error": str(e)}
                    f.write(json.dumps(reply) + "\n")
                    f.flush()

        def loop():
            while True:
                connection, _ = server.accept()
                threading.Thread(target=handle, args=(connection,),
                                 daemon=True).start()

        threading.Thread(target=loop, daemon=True).start()

    def adopt(self):
        """Orphans below us become our children: nothing can get away, and
        they are reaped although no init process may be there."""
        ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)

        def reap():
            while True:
                try:
                    found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
                except ChildProcessError:
                    time.sleep(0.1)
                    continue
                with self.lock:
                    for m in self.members.values():
                        if m.child and m.child.pid == found.si_pid:
                            m.child.poll()
                            break
                    else:
                        try:
                            os.waitpid(found.si_pid, os.WNOHANG)
                        except ChildProcessError:
                            pass

        threading.Thread(target=reap, daemon=True).start()

    def shutdown(self):
        """Stop everything, also what tasks left behind."""
        end = time.time() + 10
        while time.time() < end:
            left = descendants(os.getpid())
            if not left:
                break
            for pid in left:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            time.sleep(0.02)
        (self.dir / "control.sock").unlink(missing_ok=True)


def descendants(root):
    """Living processes below `root`."""
    parents = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open("/proc/%s/stat" % entry) as f:
                    state, parent = f.read().rpartition(")")[2].split()[:2]
                if state not in "ZX":
                    parents[int(entry)] = int(parent)
            except (OSError, ValueError):
                pass
    found, again = {root}, True
    while again:
        again = False
        for pid, parent in parents.items():
            if parent in found and pid not in found:
                found.add(pid)
                again = True
    return found - {root}


def pairs(items):
    result = {}
    for item in items or []:
        name, _, value = item.partition("=")
        result["MESOS_" + name.upper()] = value
    return result


def free_port(ip, taken):
    while True:
        with socket.socket() as s:
            s.bind((ip, 0))
            port = s.getsockname()[1]
        if port not in taken:
            return port


def start(args):
    if not (cache_dir() / "built").exists():
        setup(args)
    if args.port == 0:
        args.port = free_port(args.ip, set())
    cluster = Cluster(args)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: cluster.stopping.set())
    cluster.adopt()
    (cluster.dir / "supervisor.pid").write_text("%d\n" % os.getpid())
    began = time.time()
    code = 0
    try:
        cluster.members["master"].start()
        cluster.wait_master(args.timeout)
        for m in cluster.members.values():
            m.start()
        cluster.wait_agents(args.timeout)
        cluster.serve_control()
        (cluster.dir / "cluster.json").write_text(
            json.dumps(cluster.status(), indent=1))
        if not cluster.stopping.is_set():
            print("READY %s agents=%d seconds=%.2f" % (
                cluster.url(), args.agents, time.time() - began), flush=True)
        parent = os.getppid()
        while not cluster.stopping.wait(0.5):
            if args.die_with_parent and os.getppid() != parent:
                break
    except RuntimeError as e:
        say(str(e))
        code = 1
    finally:
        cluster.shutdown()
    return code


def ctl(args):
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(str(Path(args.work_dir).resolve() / "control.sock"))
        with s.makefile("rw") as f:
            f.write(" ".join(args.words) + "\n")
            f.flush()
            reply = json.loads(f.readline())
    print(json.dumps(reply, indent=1))
    return 1 if "error" in reply else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    sub = parser.add_subparsers(dest="what", required=True)
    sub.add_parser("setup", help="install, download and build what is missing")
    p = sub.add_parser("start", help="run a cluster in the foreground")
    p.add_argument("--ip", default="127.0.0.1")
    p.add_argument("--port", type=int, default=5050,
                   help="the master's port; 0 picks a free one")
    p.add_argument("--agent-port", type=int, default=0,
                   help="the first agent's port; 0 picks free ones")
    p.add_argument("--agents", type=int, default=1)
    p.add_argument("--hosts", action="store_true",
                   help="agents on 127.0.0.2, 127.0.0.3 ...: each a host")
    p.add_argument("--resources",
                   default="cpus:4;mem:4096;disk:4096;ports:[31000-32000]")
    p.add_argument("--attributes", default="")
    p.add_argument("--isolation", default="posix/cpu,posix/mem")
    p.add_argument("--work-dir", required=True)
    p.add_argument("--registry", default="replicated_log",
                   choices=("replicated_log", "in_memory"))
    p.add_argument("--allocation-interval", default="200ms")
    p.add_argument("--agent-ping-timeout", default="1secs")
    p.add_argument("--max-agent-pings", type=int, default=5)
    p.add_argument("--threads", type=int, default=8,
                   help="worker threads of each process")
    p.add_argument("--master-flag", action="append", metavar="NAME=VALUE")
    p.add_argument("--agent-flag", action="append", metavar="NAME=VALUE")
    p.add_argument("--timeout", type=float, default=60.0)
    p.add_argument("--die-with-parent", action="store_true")
    p = sub.add_parser("ctl", help="tell a running cluster to do something")
    p.add_argument("--work-dir", required=True)
    p.add_argument("words", nargs="*")
    args = parser.parse_args()
    return {"setup": setup, "start": start, "ctl": ctl}[args.what](args)


if __name__ == "__main__":
    sys.exit(main() or 0)
