"""Shared by the peers' scripts: figures go to standard output, a key and a number a line."""
import os
import time

MEBIBYTE = 1 << 20
NOOPS = 2000
SINGLES = 200
VALUES = 64
SHARED = 64 * MEBIBYTE
LONG = bool(os.environ.get("PEER_LONG"))  # measured in the first round alone


def report(key, value):
    print(f"{key} {value}", flush=True)


class Timer:
    def __enter__(self):
        self.start = time.perf_counter()
        return self

    def __exit__(self, *_):
        self.seconds = time.perf_counter() - self.start


def cpu_seconds():
    """Processor time of this process and all below it, whether they were waited for or not."""
    parents, seconds = {}, {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat") as stat:
                fields = stat.read().rsplit(")", 1)[1].split()
        except OSError:
            continue
        parents[int(name)] = int(fields[1])
        seconds[int(name)] = sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")

    def below(process):
        while process in parents:
            if process == os.getpid():
                return True
            process = parents[process]
        return False

    return sum(seconds[process] for process in parents if below(process))


def noops(run):
    """`run(n)` runs n tasks and answers the sum of their results."""
    run(200)
    before = cpu_seconds()
    with Timer() as timer:
        total = run(NOOPS)
    assert total == NOOPS * (NOOPS - 1) // 2, total
    report("noop", NOOPS / timer.seconds)
    report("cpu", (cpu_seconds() - before) * 1e6 / NOOPS)


def singles(one):
    """`one(x)` runs one task and answers its result, x."""
    times = []
    for x in range(SINGLES):
        with Timer() as timer:
            assert one(x) == x
        times.append(timer.seconds * 1e6)
    times.sort()
    report("single.p50", times[len(times) // 2])
    report("single.p99", times[len(times) * 99 // 100])


def megabytes_per_second(key, seconds):
    report(key, VALUES * MEBIBYTE / 1e6 / seconds)
