"""A node whose clock is wrong: ``python -m tests.chaos.skewed MILLISECONDS node start …`` runs fedchain with it.

The clock is put wrong before anything of fedchain is loaded, as an operating system would have it.
"""

import sys
import time


def skew(milliseconds: int) -> None:
    """Let this process's wall clock be off by so much."""
    right_ns, right = time.time_ns, time.time
    time.time_ns = lambda: right_ns() + milliseconds * 1_000_000
    time.time = lambda: right() + milliseconds / 1000


if __name__ == "__main__":
    skew(int(sys.argv[1]))
    sys.argv = ["fedchain", *sys.argv[2:]]
    from cli import main

    main()
