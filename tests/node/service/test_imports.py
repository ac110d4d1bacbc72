"""What a node's process loads, and when: its memory is a promise of docs/operating.md, and most of it is libraries."""

import subprocess
import sys
from pathlib import Path

import pytest

from consensus.pow.search import warm_up

ROOT = Path(__file__).resolve().parents[3]
HEAVY = ("fl.kernels.compiled", "numba", "llvmlite", "scipy", "sklearn", "pyarrow", "matplotlib", "pandas", "ray")
COMPILER = ("scipy", "numba.np.linalg", "numba.np.arraymath", "numba.cpython.listobj")


@pytest.mark.processes
def test_a_node_that_follows_loads_no_compiler_and_a_miner_does_not_make_one_ready() -> None:
    """The program, its service, a light node: no numerical library but NumPy. A miner's search comes from the disk."""
    warm_up()  # now it is there
    code = (
        "import sys, cli, node.service.process, node.light.core, node.roles.device\n"
        f"print([name for name in {HEAVY} if name in sys.modules])\n"
        "from consensus.pow.search import warm_up\n"
        "warm_up()\n"
        f"print([name for name in {COMPILER} if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["[]", "[]"]
