# Spark's tasks are JVM code here (a range and an aggregate of it, a partition a task): Python workers would only slow it down.
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import tempfile

import pyspark

home = pathlib.Path(pyspark.__file__).parent
java = shutil.which("java")
assert java, "Spark needs a JDK: install one (Debian: openjdk-17-jre-headless)"
os.environ.update(
    JAVA_HOME=str(pathlib.Path(java).resolve().parent.parent), SPARK_HOME=str(home), SPARK_LOCAL_IP="127.0.0.1",
    PYSPARK_PYTHON=sys.executable,
)


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def daemon(*arguments):
    return subprocess.Popen(
        [str(home / "bin" / "spark-class"), *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "Spark's daemons don't come up"
        time.sleep(0.01)


def connects(port):
    with socket.socket() as caller:
        return caller.connect_ex(("127.0.0.1", port)) == 0


def main():
    port, pages = free_port(), free_port()
    master = f"spark://127.0.0.1:{port}"
    daemons = [daemon("org.apache.spark.deploy.master.Master", "--host", "127.0.0.1", "--port", str(port), "--webui-port", str(pages))]
    scratch = tempfile.TemporaryDirectory()
    try:
        wait_for(lambda: connects(port) and connects(pages))
        for _ in range(2):
            worker = ("--cores", "1", "--memory", "1g", "--webui-port", "0", "--work-dir", scratch.name, master)
            daemons.append(daemon("org.apache.spark.deploy.worker.Worker", "--host", "127.0.0.1", *worker))
        import urllib.request

        def workers():
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{pages}/json/") as answer:
                    found = re.search(rb'"aliveworkers"\s*:\s*(\d+)', answer.read())
            except OSError:  # its page isn't there yet
                return False
            return found and int(found.group(1)) == 2

        wait_for(workers)
        measure(master)
    finally:
        for process in reversed(daemons):
            process.terminate()
        for process in daemons:
            process.wait()
        scratch.cleanup()


def measure(master):
    from pyspark.sql import SparkSession

    with Timer() as timer:
        builder = SparkSession.builder.master(master).config("spark.executor.cores", "1")
        builder = builder.config("spark.executor.memory", "512m").config("spark.ui.enabled", "false")
        builder = builder.config("spark.ui.showConsoleProgress", "false").config("spark.log.level", "OFF")
        session = builder.config("spark.driver.host", "127.0.0.1").getOrCreate()
        status = session.sparkContext._jsc.sc().getExecutorMemoryStatus
        wait_for(lambda: status().size() == 3)  # the driver counts itself
    report("start.2", timer.seconds * 1e3)

    def run(n):
        # One stage of n tasks; the sum is made of their rows here.
        rows = session.range(0, n, 1, n)._jdf.toJavaRDD().count()
        assert rows == n, rows
        return n * (n - 1) // 2

    noops(run)
    singles(lambda x: session.range(x, x + 1, 1, 1)._jdf.collectAsList().get(0))
    large = session.range(0, VALUES, 1, VALUES).selectExpr(f"repeat('x', {MEBIBYTE}) as value")
    session.range(0, 8, 1, 8).selectExpr(f"repeat('x', {MEBIBYTE}) as value")._jdf.collectAsList()
    with Timer() as timer:
        assert large._jdf.collectAsList().size() == VALUES
    megabytes_per_second("results", timer.seconds)
    session.stop()


main()
