import logging

import distributed


def same(x):
    return x


def large(mark):
    return bytes([mark]) * MEBIBYTE


def size(value):
    return len(value)


def shared(value):
    time.sleep(0.005)
    return os.getpid(), len(value)


def sleep(_):
    time.sleep(0.01)
    return 1


def start(workers):
    with Timer() as timer:
        cluster = distributed.LocalCluster(
            n_workers=workers, threads_per_worker=1, processes=True, dashboard_address=None,
            silence_logs=logging.CRITICAL,
        )
        client = distributed.Client(cluster)
        client.wait_for_workers(workers)
    report(f"start.{workers}", timer.seconds * 1e3)
    return cluster, client


if __name__ == "__main__":
    for peer_of in (8, 2):
        cluster, client = start(peer_of)
        if peer_of == 8:
            client.close()
            cluster.close()

    def run(function, arguments):
        return client.gather(client.map(function, arguments, pure=False))

    noops(lambda n: sum(run(same, range(n))))
    singles(lambda x: client.submit(same, x, pure=False).result())
    run(large, [0] * 8)
    with Timer() as timer:
        values = run(large, range(VALUES))
        assert sum(value[0] for value in values) == VALUES * (VALUES - 1) // 2
    megabytes_per_second("results", timer.seconds)
    del values
    with Timer() as timer:
        sizes = run(size, [bytes([mark]) * MEBIBYTE for mark in range(VALUES)])
    assert sum(sizes) == VALUES * MEBIBYTE
    megabytes_per_second("arguments", timer.seconds)
    value = bytes(SHARED)
    with Timer() as timer:
        future = client.scatter(value, broadcast=True)
        where = list(client.scheduler_info()["workers"])
        tasks = [client.submit(shared, future, pure=False, workers=[worker]) for worker in where]
        seen = dict(client.gather(tasks))
    assert list(seen.values()) == [SHARED] * 2, seen
    report("broadcast", timer.seconds * 1e3 - 5)
    if LONG:
        with Timer() as timer:
            assert sum(run(sleep, range(2000))) == 2000
        report("slots", timer.seconds)
    client.close()
    cluster.close()
