"""The same bits on another processor, and light imports: checked in processes of their own."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
from numba import njit

from fl.kernels import losses
from tests.fl.portable import fingerprint

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = "4eebf420d31666413a064fde86b783f5a7ed7174cba74cafe755a388ad42f1b8"
"""``fingerprint()`` since the first release. Another digest means that old and new nodes would part: a planned fork."""
HEAVY = ("numba", "scipy", "sklearn", "pyarrow", "matplotlib")


def run(code: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_arithmetic_is_that_of_every_release() -> None:
    """This machine, whichever it is, computes the bits that the project was published with."""
    assert fingerprint() == GOLDEN


def test_a_generic_processor_computes_the_same_bits() -> None:
    """Compiled for the plainest processor of the family (no AVX, no FMA), a digest over every kernel is the same."""
    code = "from tests.fl.portable import fingerprint; print(fingerprint())"
    assert run(code, NUMBA_CPU_NAME="generic", NUMBA_CPU_FEATURES="") == GOLDEN


def test_importing_what_a_node_uses_loads_nothing_heavy() -> None:
    """A node that only follows the chain must not carry a compiler or a plotting library."""
    code = (
        "import sys, fl.problem, fl.policies, fl.steps, fl.holdout, fl.task, fl.algorithms.registry;"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    assert run(code) == "[]"


def test_a_changed_callee_in_another_file_is_compiled_again(tmp_path: Path) -> None:
    """Numba alone would keep a stale caller; the room's digest is part of every kernel's key.

    A copy of the room is run, one file that others call is changed, and the copy is run again with the same cache.
    """
    room = tmp_path / "fl" / "kernels"
    room.mkdir(parents=True)
    for name in ("compiled.py", "elementary.py", "lean.py"):
        (room / name).write_bytes((ROOT / "fl" / "kernels" / name).read_bytes())
    (room / "__init__.py").touch()
    (tmp_path / "fl" / "__init__.py").touch()
    (room / "caller.py").write_text(
        "from fl.kernels.compiled import kernel\nfrom fl.kernels.elementary import power_of_two\n\n\n"
        "@kernel\ndef four(k):\n    return power_of_two(k)\n"
    )
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from fl.kernels.caller import four\nprint(four(2), sum(four.stats.cache_hits.values()))"
    )
    assert run(code) == "4.0 0"
    assert run(code) == "4.0 1"
    elementary = room / "elementary.py"
    elementary.write_text(elementary.read_text().replace("(k + 1023) << 52", "(k + 1024) << 52"))
    assert run(code) == "8.0 0"


def test_what_every_row_goes_through_is_no_call() -> None:
    """A call in a loop over rows keeps it from becoming vectors: the same bits, in four times the time."""
    argument = np.zeros(2)
    judge = njit(nogil=True, error_model="numpy")(losses.judge_block.py_func)  # type: ignore[attr-defined]
    judge(losses.LOGISTIC, *[argument.copy() for _ in range(4)])
    (code,) = judge.inspect_llvm().values()
    assert re.findall(r"call [^@\n]*@\S*(?:kernels|elementary)\S*(?:logistic|exp|log)", code) == []
