"""The other side of ``bench.bench_he``: python-paillier, one value a ciphertext, run in an environment of its own.

    python -m bench.phe_side WORK RESULT

``WORK`` is a JSON file: the modulus's size, and a list of values for each device. Each device's values are encrypted,
the ciphertexts of a coordinate are added up, the sums decrypted with the private key. ``RESULT`` gets the sums, seconds
of processor and of clock for each of the three, and the bytes of a ciphertext. Making the key is left out.

Rules of this file: phe, gmpy2 and the standard library alone.
"""

import json
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


def timed(work: Callable[[], T]) -> tuple[T, tuple[float, float]]:
    """Return what the work gives, and the seconds of processor and clock that it took."""
    clock, processor = time.perf_counter(), time.process_time()
    result = work()
    return result, (time.process_time() - processor, time.perf_counter() - clock)


def main() -> None:
    """Do the work that the file says."""
    from phe import paillier

    work = json.loads(Path(sys.argv[1]).read_text())
    public, private = paillier.generate_paillier_keypair(n_length=work["bits"])
    devices: list[list[int]] = work["values"]
    encrypted, encrypting = timed(lambda: [[public.encrypt(value) for value in values] for values in devices])
    sums, adding = timed(lambda: [sum(column[1:], start=column[0]) for column in zip(*encrypted, strict=True)])
    plain, decrypting = timed(lambda: [private.decrypt(each) for each in sums])
    result = {
        "sums": plain,
        "encrypting": encrypting,
        "adding": adding,
        "decrypting": decrypting,
        "ciphertext_bytes": (public.nsquare.bit_length() + 7) // 8,
        "versions": {"phe": version("phe"), "gmpy2": version("gmpy2")},
    }
    Path(sys.argv[2]).write_text(json.dumps(result))


if __name__ == "__main__":
    main()
