"""Threads that meet a record for the first time together all get it whole."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
FIRST_MEETINGS = '''
import sys, threading
from chain.codec import Record, decode, encode

FIELDS = "".join(f"    f{i}: int | None\\n" for i in range(12))
SOURCE = f"""
class Inner(Record):
{FIELDS}
class Outer(Record):
    first: Inner
    rest: tuple[Inner, ...]
class Other(Record):
    only: Inner
"""
sys.setswitchinterval(1e-6)
failures = []


def read(value, kind, start):
    data = encode(value)
    start.wait()
    try:
        assert decode(data, kind) == value
    except Exception as error:
        failures.append(error)


for _ in range(300):
    made = {"Record": Record}
    exec(SOURCE, made)
    inner = made["Inner"](*range(12))
    values = (inner, made["Outer"](inner, (inner, inner)), made["Other"](inner), made["Other"](inner))
    start = threading.Barrier(len(values))
    threads = [threading.Thread(target=read, args=(value, type(value), start)) for value in values]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
sys.exit(bool(failures))
'''


def test_records_met_by_several_threads_at_once_are_read_by_all() -> None:
    """A node reads in its core, its workers and its sockets; in a process of its own, as a fault here ends it."""
    done = subprocess.run([sys.executable, "-c", FIRST_MEETINGS], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
