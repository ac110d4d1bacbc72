"""The payload of an update that says only what concerns the features its rows have.

    features   1 × uint32     m, the features named: at most what the plan allows
    gaps       m varints      the first feature, then each one's distance to the one before, less 1
    counts     m varints      n_k^j > 0, first phase only, where the algorithm scales by counts
    vector     a varint each  the parameters that read the features, feature after feature, then those that read none
    loss       1 × int64      first phase of a round only, 0 … 2**62

A varint (``fl.varints``) is as short as can be, so each contribution has one encoding; those of the vector have signs.
Little-endian, nothing before, between or after.

Rules of this file: sizes are checked before memory is taken; no plan, no model, only bytes and numbers.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from chain.fixedpoint import Int64Vector
from fl.algorithms.base import Contribution
from fl.errors import PayloadError
from fl.payload import LOSS_MAX
from fl.varints import PLACES, SIGNED_PLACES, pack_signed, pack_varints

_HEAD: Final = 4


@dataclass(frozen=True, slots=True)
class Form:
    """What a payload of the support has to have: sizes of the model, and what the phase sends.

    features  p, that there are
    limit     most that one payload may name
    units     parameters that read a feature
    rest      parameters that read none
    """

    features: int
    limit: int
    units: int
    rest: int
    has_loss: bool
    has_counts: bool

    def most_bytes(self) -> int:
        """Return the most bytes that a payload of this form has."""
        varints = PLACES * self.limit * (1 + self.has_counts)
        return _HEAD + varints + SIGNED_PLACES * (self.limit * self.units + self.rest) + 8 * self.has_loss


def coordinates(features: NDArray[np.int64], form: Form) -> NDArray[np.int64]:
    """Return the parameters that an update naming these features has values of, in the payload's order, int64."""
    read = features[:, np.newaxis] * form.units + np.arange(form.units)
    first = form.features * form.units
    return np.concatenate([read.ravel(), np.arange(first, first + form.rest)])


def write_support(
    features: NDArray[np.int64], vector: Int64Vector, loss: int | None = None, counts: NDArray[np.int64] | None = None
) -> bytes:
    """Return the payload; ``vector`` as ``coordinates`` orders it, ``counts`` one a feature."""
    parts = [write_features(features)]
    if counts is not None:
        parts.append(pack_varints(counts))
    parts.append(pack_signed(vector))
    if loss is not None:
        parts.append(loss.to_bytes(8, "little", signed=True))
    return b"".join(parts)


def write_features(features: NDArray[np.int64]) -> bytes:
    """Return the beginning of a payload: how many features it names, and which."""
    return features.size.to_bytes(_HEAD, "little") + pack_varints(np.diff(features, prepend=-1) - 1)


def parse_support(payload: bytes, form: Form) -> Contribution:
    """Return the contribution that payload bytes hold. ``PayloadError`` on bytes that ``write_support`` never gives."""
    named = int.from_bytes(payload[:_HEAD], "little")
    if len(payload) < _HEAD or named > form.limit:
        raise PayloadError(f"payload of {len(payload)} bytes that names {named} features; at most {form.limit} may be")
    values = named * form.units + form.rest
    least = _HEAD + named * (1 + form.has_counts) + values + 8 * form.has_loss
    if len(payload) < least:
        raise PayloadError(f"payload of {len(payload)} bytes; {named} features need {least} at least")
    features, vector = np.empty(named, np.int64), np.empty(values, np.int64)
    counts = np.empty(named, np.int64) if form.has_counts else None
    at = _read(payload, features, counts, vector)
    if named and int(features[-1]) >= form.features:
        raise PayloadError(f"payload names feature {int(features[-1])}; there are {form.features}")
    if len(payload) != at + 8 * form.has_loss:
        raise PayloadError(f"payload of {len(payload)} bytes; {at + 8 * form.has_loss} are needed")
    loss = int.from_bytes(payload[at:], "little", signed=True)
    if not 0 <= loss <= LOSS_MAX:
        raise PayloadError(f"loss sum {loss}; 0 … 2**62 is allowed")
    return Contribution(vector, counts, loss, features)


def _read(
    payload: bytes, features: NDArray[np.int64], counts: NDArray[np.int64] | None, vector: NDArray[np.int64]
) -> int:
    """Fill the arrays from behind the head; return where what they hold ends. ``PayloadError``."""
    from fl.kernels import values as kernels  # here: most nodes never read any, and compiled code takes memory

    said = np.frombuffer(payload, np.uint8)
    end: int = kernels.read_support(said, _HEAD, features, features[:0] if counts is None else counts, vector)
    if end >= 0:
        return end
    match end:
        case kernels.TOO_FEW:
            what = "fewer numbers than it names"
        case kernels.TOO_LONG:
            what = "a varint that is longer than it needs to be"
        case kernels.NO_COUNT:
            what = "counts that are not 1 … 2**32 - 1 for every feature named"
        case _:
            what = "a value above 2**53 in size"
    raise PayloadError(f"payload has {what}")
