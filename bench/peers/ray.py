import ray


@ray.remote(num_cpus=1)
def who():
    time.sleep(0.02)
    return os.getpid()


@ray.remote(num_cpus=1)
def same(x):
    return x


@ray.remote(num_cpus=1)
def large(mark):
    return bytes([mark]) * MEBIBYTE


@ray.remote(num_cpus=1)
def size(value):
    return len(value)


@ray.remote(num_cpus=1)
def shared(value):
    time.sleep(0.005)
    return os.getpid(), len(value)


@ray.remote(num_cpus=1)
def sleep():
    time.sleep(0.01)
    return 1


def start(workers):
    with Timer() as timer:
        ray.init(num_cpus=workers, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
        while len(set(ray.get([who.remote() for _ in range(workers)]))) < workers:
            pass
    report(f"start.{workers}", timer.seconds * 1e3)


if __name__ == "__main__":
    start(8)
    ray.shutdown()
    start(2)
    noops(lambda n: sum(ray.get([same.remote(x) for x in range(n)])))
    singles(lambda x: ray.get(same.remote(x)))
    ray.get([large.remote(0) for _ in range(8)])
    with Timer() as timer:
        values = ray.get([large.remote(mark) for mark in range(VALUES)])
        assert sum(value[0] for value in values) == VALUES * (VALUES - 1) // 2
    megabytes_per_second("results", timer.seconds)
    del values
    with Timer() as timer:
        sizes = ray.get([size.remote(bytes([mark]) * MEBIBYTE) for mark in range(VALUES)])
    assert sum(sizes) == VALUES * MEBIBYTE
    megabytes_per_second("arguments", timer.seconds)
    value = bytes(SHARED)
    with Timer() as timer:
        reference = ray.put(value)
        seen = dict(ray.get([shared.remote(reference) for _ in range(2)]))
    assert list(seen.values()) == [SHARED] * 2, seen
    report("broadcast", timer.seconds * 1e3 - 5)
    if LONG:
        with Timer() as timer:
            assert sum(ray.get([sleep.remote() for _ in range(2000)])) == 2000
        report("slots", timer.seconds)
    ray.shutdown()
