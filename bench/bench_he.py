"""Encrypted sums beside phe: an update of ten thousand coordinates, of ten devices, in time and in bytes.

    time    ours: each device packs, encrypts and proves; a node checks each body and adds them up; three of five
            members decrypt with proofs, which the node checks; it combines them and so checks the opening of each
            ciphertext, exactly. phe: one value a ciphertext, encrypted, added up, decrypted by the one who has the
            whole key.
    bytes   of what a device sends.
    own     the same where nobody deals a key (``bench.he_own``): each member has its own.
    round   what encryption adds to a round of a plan (``bench.he_round``): of four hospitals, and of ten devices that
            train a network on MNIST, where the data are there.

phe is measured on some coordinates (500 at least) of all devices, and its times are scaled linearly to all. Both sides
have a key of 2048 bits, gmpy2, and one thread; what is compared is processor time, which a busy machine moves least.
Nothing is published unless both sums are exact.

    python -m bench.bench_he [--case time|bytes|round|own] [--coordinates N]
"""

import argparse
import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import numpy as np

from bench.data import MissingDataError
from bench.he_own import WrongSumError
from bench.he_own import measure as measure_own
from bench.he_round import find_heart, find_mnist, measure
from bench.he_round import make_rows as round_rows
from bench.phe_side import timed
from bench.report import Row, Skipped, publish, row
from chain.fixedpoint import Int64Vector
from chain.keys import KeyPair
from fl.privacy.randomness import SystemRandom
from fl.secure.paillier import (
    Packing,
    PublicKey,
    add,
    aggregate_bytes,
    body_bytes,
    check,
    check_key,
    check_partial,
    combine,
    deal,
    encrypt,
    open_share,
    part_bytes,
    partial,
    unpack,
)
from fl.secure.paillier.openings import find_opening_fault, join_opening

COORDINATES: Final = 10_000
DEVICES: Final = 10
VALUE_BITS: Final = 24
BITS: Final = 2048
MEMBERS: Final = 5
THRESHOLD: Final = 3
PHE_COORDINATES: Final = 500
CASES: Final = ("time", "bytes", "own", "round")
GOAL: Final = 1 / 50
PYTHON: Final = Path("build/env/he/bin/python")


@dataclass(frozen=True, slots=True)
class Sizes:
    """What is summed: a test takes less than the benchmark."""

    devices: int = DEVICES
    coordinates: int = COORDINATES
    bits: int = BITS

    @property
    def packing(self) -> Packing:
        """How an update becomes plaintexts."""
        return Packing(VALUE_BITS, self.devices, self.coordinates, self.bits)

    def make_values(self) -> list[Int64Vector]:
        """Return the devices' vectors: any values of 24 bits."""
        limit = self.packing.limit
        return [np.random.default_rng(place).integers(-limit, limit, self.coordinates) for place in range(self.devices)]


@dataclass(frozen=True, slots=True)
class Side:
    """Seconds of processor and of clock of each part, for all devices and coordinates."""

    encrypting: tuple[float, float]
    adding: tuple[float, float]
    decrypting: tuple[float, float]

    @property
    def processor(self) -> float:
        """All parts' processor seconds."""
        return self.encrypting[0] + self.adding[0] + self.decrypting[0]

    @property
    def clock(self) -> float:
        """All parts' seconds."""
        return self.encrypting[1] + self.adding[1] + self.decrypting[1]


@dataclass(frozen=True, slots=True)
class Ours:
    """Our side's parts; of them: checks of proofs, making the opening, and checking it where a member shows it."""

    side: Side
    checking: float
    dealing: float
    combining: float
    seeing: float


def run_ours(sizes: Sizes) -> Ours:
    """Encrypt, check, add up, decrypt and open; ``WrongSumError`` if it is not the sum."""
    vectors, packing = sizes.make_values(), sizes.packing
    members = [KeyPair.generate() for _ in range(MEMBERS)]
    source = SystemRandom()
    key, dealing = timed(lambda: deal([each.account for each in members], THRESHOLD, sizes.bits))
    fault = check_key(key, sizes.bits)
    if fault is not None:
        raise WrongSumError(fault)
    contexts = [bytes([device]) * 32 for device in range(sizes.devices)]
    pairs = list(zip(vectors, contexts, strict=True))
    bodies, encrypting = timed(lambda: [encrypt(key, packing, vector, each, source) for vector, each in pairs])
    sent = list(zip(bodies, contexts, strict=True))
    faults, checking = timed(lambda: [check(key, packing, body, context) for body, context in sent])
    total, adding = timed(lambda: add(key, bodies))
    parts, partly = timed(lambda: _parts(key, members, total))
    part_faults, part_checking = timed(lambda: [check_partial(key, total, m, p, b"") for m, p in parts.items()])
    opening, combining = timed(lambda: combine(key, total, parts, threads=1))
    if opening is None or any((*faults, *part_faults)):
        raise WrongSumError(f"refused: {faults} {part_faults}")
    if not np.array_equal(unpack(packing, opening.plaintexts, sizes.devices), np.sum(vectors, axis=0)):
        raise WrongSumError("our sum is not exact")
    shown = join_opening(opening.plaintexts, opening.randomness, key.modulus)
    wrong, seeing = timed(lambda: find_opening_fault(key.modulus, total, shown))
    if wrong is not None:
        raise WrongSumError(f"refused: {wrong}")
    side = Side(encrypting, _together(checking, adding), _together(partly, part_checking, combining))
    return Ours(side, checking[0] + part_checking[0], dealing[0], combining[0], seeing[0])


def _parts(key: PublicKey, members: list[KeyPair], total: bytes) -> dict[int, bytes]:
    """Return the parts of the first three members, who open their sealed shares first."""
    shares = [open_share(key, each) for each in members[:THRESHOLD]]
    return {
        place: partial(key, total, place, share, b"", SystemRandom())
        for place, share in enumerate(shares)
        if share is not None
    }


def _together(*parts: tuple[float, float]) -> tuple[float, float]:
    return sum(part[0] for part in parts), sum(part[1] for part in parts)


@dataclass(frozen=True, slots=True)
class Theirs:
    """phe's side, scaled to all coordinates, its bytes a value, and which phe it was."""

    side: Side
    ciphertext_bytes: int
    version: str


def run_phe(sizes: Sizes, coordinates: int) -> Theirs | None:
    """Return phe's side; None if it is not installed."""
    if not PYTHON.exists():
        return None
    vectors = [vector[:coordinates] for vector in sizes.make_values()]
    work = {"bits": sizes.bits, "values": [[int(value) for value in vector] for vector in vectors]}
    with TemporaryDirectory() as directory:
        given, got = Path(directory) / "work.json", Path(directory) / "result.json"
        given.write_text(json.dumps(work))
        subprocess.run(
            [PYTHON, "-m", "bench.phe_side", str(given), str(got)],
            env=os.environ | {"PYTHONPATH": str(Path.cwd())},
            check=True,
        )
        result = json.loads(got.read_text())
    if result["sums"] != [int(each) for each in np.sum(vectors, axis=0)]:
        raise WrongSumError("phe's sum is not exact")
    factor = sizes.coordinates / coordinates
    side = Side(*(_scaled(result[name], factor) for name in ("encrypting", "adding", "decrypting")))
    return Theirs(side, result["ciphertext_bytes"], result["versions"]["phe"])


def _scaled(part: list[float], factor: float) -> tuple[float, float]:
    return part[0] * factor, part[1] * factor


def time_rows(ours: Ours, phe: Side | None) -> list[Row]:
    """Return what the parts took, in processor seconds, and together by the clock."""
    side, case = ours.side, "time"

    def peers(value: float | None) -> dict[str, float]:
        return {} if value is None else {"phe": value}

    whole = peers(phe.processor if phe else None)
    goal = {"goal": phe.processor * GOAL} if phe else {}
    return [
        row(case, "encrypt, sum, decrypt: processor", "s", side.processor, whole | goal),
        row(case, "… by the clock, one thread", "s", side.clock, peers(phe.clock if phe else None)),
        row(case, "… encrypting, ten devices", "s", side.encrypting[0], peers(phe.encrypting[0] if phe else None)),
        row(case, "… checking and adding up", "s", side.adding[0], peers(phe.adding[0] if phe else None)),
        row(case, "… decrypting", "s", side.decrypting[0], peers(phe.decrypting[0] if phe else None)),
        row(case, "checking proofs alone, in both", "s", ours.checking, {}),
        row(case, "making the opening of the sum (is in decrypting)", "s", ours.combining, {}),
        row(case, "checking it where a member shows it: a node, in place of that", "s", ours.seeing, {}),
        row(case, "dealing the key, once", "s", ours.dealing, {}),
    ]


def byte_rows(sizes: Sizes, ciphertext_bytes: int | None) -> list[Row]:
    """Return the sizes of what is sent, of our packing and of a ciphertext a value."""
    body = body_bytes(sizes.packing)
    total = aggregate_bytes(sizes.packing)
    part = part_bytes(PublicKey(bytes(sizes.bits // 8), THRESHOLD, (), (), (), ()), bytes(total))
    theirs = None if ciphertext_bytes is None else float(ciphertext_bytes * sizes.coordinates)
    peers = {} if theirs is None else {"phe": theirs / 1e3, "goal": theirs * GOAL / 1e3}
    plain = VALUE_BITS / 8 * sizes.coordinates / 1e3
    return [
        row(
            "bytes", "an encrypted update, proof included", "kB", body / 1e3, peers | {"plain, 24 bits a value": plain}
        ),
        row("bytes", "a member's part, proof included", "kB", part / 1e3, {}),
        row("bytes", "the last member's, with the opening", "kB", (part + total) / 1e3, {}),
    ]


def find_missed(rows: list[Row]) -> list[str]:
    """Return the measures that miss a goal."""
    return [
        str(each["measure"]) for each in rows if isinstance(each["ratio"], dict) and each["ratio"].get("goal", 0.0) > 1
    ]


def _note(coordinates: int, phe: Theirs | None) -> str:
    """Return a sentence for who reads the table."""
    what = f"time, bytes, no dealer: {DEVICES} devices, {COORDINATES:,} coordinates of {VALUE_BITS} bits."
    said = f"{what} N of {BITS} bits, {THRESHOLD} of {MEMBERS} members."
    if phe is None:
        return said
    return (
        f"{said} phe {phe.version} was measured on {coordinates:,} coordinates of all devices "
        f"({coordinates * DEVICES:,} values), its times scaled linearly to all."
    )


def main() -> None:
    """Measure, print and write the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--case", choices=CASES)
    parser.add_argument("--coordinates", type=int, default=PHE_COORDINATES, help="that phe is measured on")
    options = parser.parse_args()
    if not PHE_COORDINATES <= options.coordinates <= COORDINATES:
        raise SystemExit(f"--coordinates {options.coordinates}: {PHE_COORDINATES} … {COORDINATES} are allowed")
    rows: list[Row] = []
    sizes, cases = Sizes(), {options.case} if options.case else set(CASES)
    compared = bool(cases & {"time", "bytes"})
    phe = run_phe(sizes, options.coordinates) if compared else None
    skipped = [] if phe or not compared else [Skipped("phe", f"{PYTHON} is not there: make bench-he makes it")]
    if "time" in cases:
        rows += time_rows(run_ours(sizes), phe.side if phe else None)
    if "bytes" in cases:
        rows += byte_rows(sizes, phe.ciphertext_bytes if phe else None)
    if "own" in cases:
        rows += measure_own(sizes.make_values(), VALUE_BITS, BITS, MEMBERS, THRESHOLD)
    if "round" in cases:
        for find in (find_heart, find_mnist):
            try:
                federation = find()
            except MissingDataError as error:
                skipped.append(Skipped(find.__name__.replace("find_", "round, "), str(error)))
            else:
                rows += round_rows(federation, measure(federation))
    publish(
        "he",
        rows,
        ("gmpy2",),
        skipped=skipped,
        note=_note(options.coordinates, phe),
    )
    if missed := find_missed(rows):
        raise SystemExit(f"the goal of 50 times less is missed: {missed}")


if __name__ == "__main__":
    main()
