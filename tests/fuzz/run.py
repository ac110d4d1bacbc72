"""Run one fuzz target, coverage-guided, or over files.

    python -m tests.fuzz.run TARGET --seconds 60        search (needs atheris: make fuzz)
    python -m tests.fuzz.run TARGET FILE [FILE …]       show what these inputs do
    python -m tests.fuzz.run --seed                     write the seeds of tests/fuzz/seeds.py into the corpus

New inputs that reach new code go to build/fuzz/TARGET; one that breaks a promise is written to build/fuzz as
TARGET-crash-…, and belongs into tests/fuzz/corpus/TARGET once it is mended.
"""

import argparse
import os
import sys
from hashlib import sha256
from pathlib import Path
from typing import Final

CORPUS: Final = Path(__file__).parent / "corpus"
BUILD: Final = Path(__file__).parents[2] / "build" / "fuzz"
MAX_INPUT_BYTES: Final = 1 << 16


def search(name: str, seconds: int, runs: int) -> None:
    """Fuzz a target; does not return."""
    import atheris  # only in the fuzzing environment

    with atheris.instrument_imports(include=["chain", "fl", "consensus", "storage", "p2p", "node"]):
        from tests.fuzz.targets import TARGETS
    for file in sorted((CORPUS / name).iterdir()):
        TARGETS[name](file.read_bytes())  # kernels are compiled here: that takes longer than an input may
    found = BUILD / name
    found.mkdir(parents=True, exist_ok=True)
    limit = [f"-max_total_time={seconds}"] if seconds else [f"-runs={runs}"]
    prefix = f"-artifact_prefix={BUILD}/{name}-"
    options = [*limit, prefix, f"-max_len={MAX_INPUT_BYTES}", "-timeout=20", "-rss_limit_mb=2048", "-verbosity=1"]
    atheris.Setup([sys.argv[0], *options, str(found), str(CORPUS / name)], TARGETS[name])
    atheris.Fuzz()


def show(name: str, files: list[Path]) -> None:
    """Run a target on files; an exception shows itself."""
    from tests.fuzz.targets import TARGETS

    for file in files:
        TARGETS[name](file.read_bytes())
        print(f"{file}: as promised")


def write_seeds() -> None:
    """Write the seeds: good inputs, from which a fuzzer finds the others."""
    from tests.fuzz.seeds import make_seeds

    for name, inputs in make_seeds().items():
        place = CORPUS / name
        place.mkdir(parents=True, exist_ok=True)
        for data in inputs:
            (place / sha256(data).hexdigest()[:16]).write_bytes(data)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", nargs="?", default="")
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--seconds", type=int, default=0)
    parser.add_argument("--runs", type=int, default=20_000)
    parser.add_argument("--seed", action="store_true")
    asked = parser.parse_args()
    if asked.seed:
        write_seeds()
    elif asked.files:
        show(asked.target, asked.files)
    else:
        os.environ.setdefault("NUMBA_DISABLE_JIT", "0")
        search(asked.target, asked.seconds, asked.runs)


if __name__ == "__main__":
    main()
