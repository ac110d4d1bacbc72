"""A table randomised row by row: what a device publishes in place of its rows, and the bytes of it.

    magic      4 bytes         rows    uint32
    label      rows × code     told    rows × m × uint8 attribute numbers, rising in a row
    answers    for each attribute in turn, of the rows that tell of it, in their order: its codes

A code is a uint8, or a uint16 where there are more than 256 answers, little-endian; of a unary encoding ⌈k/8⌉ bytes,
the first bit lowest, what is left over 0. So a set has one encoding only.

Rules of this file: whose rows they are, where a set is kept and what is paid for it is not known here. ``randomise`` is
the one function that sees rows, and the one that draws.
"""

from dataclasses import dataclass
from struct import Struct
from typing import Final

import numpy as np
from numpy.typing import NDArray

from chain.fixedpoint import Float64Vector
from fl.dataset import Dataset, Float64Matrix, rows, to_dense
from fl.errors import PayloadError
from fl.privacy.local.mechanisms import Integers, Unary
from fl.privacy.local.recipe import Attribute, NumberAttribute, Recipe
from fl.privacy.randomness import RandomSource

_MAGIC: Final = b"rnd\x01"
_HEAD: Final = Struct("<4sI")


@dataclass(frozen=True, slots=True, eq=False)
class SharedSet:
    """A randomised table. ``told`` (n, m): attributes that a row tells of, rising. ``answers``: of each attribute.

    An attribute's answers are (N,) numbers or (N, k) bits, of the N rows that tell of it, in their order.
    """

    label: Integers
    told: NDArray[np.int64]
    answers: tuple[Integers, ...]

    @property
    def rows(self) -> int:
        """Return n."""
        return int(self.label.size)


def randomise(recipe: Recipe, data: Dataset, source: RandomSource) -> SharedSet:
    """Return encoded rows, randomised. Every call is another release, with its own loss: keep what came of it."""
    x = to_dense(data).x
    told = _draw_told(recipe, rows(data), source)
    label = _answer(recipe.label, data.y[:, None], source)
    answers = []
    for number, attribute in enumerate(recipe.attributes):
        where = np.flatnonzero((told == number).any(axis=1))
        answers.append(_answer(attribute, x[where, attribute.first : attribute.first + attribute.size], source))
    return SharedSet(label, told, tuple(answers))


def _draw_told(recipe: Recipe, count: int, source: RandomSource) -> Integers:
    """Return m attributes for each row, drawn without a look at it: those with the smallest of d random words."""
    words = np.frombuffer(source.bytes(8 * count * len(recipe.attributes)), "<u8").reshape(count, -1)
    return np.sort(np.argsort(words, axis=1, kind="stable")[:, : recipe.told], axis=1).astype(np.int64)


def _answer(attribute: Attribute, cells: Float64Matrix, source: RandomSource) -> Integers:
    """Return a randomised answer for each of an attribute's cells (N, its coordinates; a class by its number)."""
    if isinstance(attribute, NumberAttribute):
        given = _on_grid(attribute, cells[:, 0], source)
        if attribute.fill is not None:
            given = np.where(cells[:, 1] != 0.0, attribute.mechanism.grid + 1, given)
    elif cells.shape[1] == 1 < attribute.size:
        given = cells[:, 0].astype(np.int64)
    else:
        given = np.where(cells.any(axis=1), cells.argmax(axis=1), attribute.size).astype(np.int64)
    return attribute.mechanism.draw(given, source)


def _on_grid(attribute: NumberAttribute, values: Float64Vector, source: RandomSource) -> Integers:
    """Return the grid points of encoded values, rounded up or down at random so that the mean is the value."""
    grid = attribute.mechanism.grid
    place = np.clip((values - attribute.center) / attribute.half, -1.0, 1.0) * (grid / 2) + grid / 2
    below = np.floor(place)
    words = np.frombuffer(source.bytes(8 * values.size), "<u8")
    up = (words >> np.uint64(11)).astype(np.float64) * 2.0**-53 < place - below
    given: Integers = np.minimum(below + up, grid).astype(np.int64)
    return given


# --- bytes ----------------------------------------------------------------------------------------


def encode_set(recipe: Recipe, shared: SharedSet) -> bytes:
    """Return the set's bytes."""
    parts = [_HEAD.pack(_MAGIC, shared.rows), _encode(recipe.label, shared.label)]
    parts.append(shared.told.astype(np.uint8).tobytes())
    parts += [_encode(one, answers) for one, answers in zip(recipe.attributes, shared.answers, strict=True)]
    return b"".join(parts)


def decode_set(recipe: Recipe, payload: bytes, samples: int) -> SharedSet:
    """Return the set that bytes hold. ``PayloadError`` if they are not ``samples`` rows as the recipe has them."""
    fixed = _HEAD.size + samples * (_code_bytes(recipe.label) + recipe.told)
    if len(payload) < fixed:
        raise PayloadError(f"shared set of {len(payload)} bytes; {samples} rows have more than {fixed}")
    magic, count = _HEAD.unpack_from(payload)
    if magic != _MAGIC or count != samples:
        raise PayloadError(f"shared set of {count} rows; it must have {samples}, and begin as a randomised set does")
    place = _HEAD.size + samples * _code_bytes(recipe.label)
    label = _decode(recipe.label, payload[_HEAD.size : place])
    told = np.frombuffer(payload, np.uint8, samples * recipe.told, place).reshape(samples, -1).astype(np.int64)
    if (told >= len(recipe.attributes)).any() or (told[:, 1:] <= told[:, :-1]).any():
        raise PayloadError(f"shared set: attributes of a row must rise below {len(recipe.attributes)}")
    counts = np.bincount(told.ravel(), minlength=len(recipe.attributes)).tolist()
    sizes = [count * _code_bytes(one) for count, one in zip(counts, recipe.attributes, strict=True)]
    if len(payload) != fixed + sum(sizes):
        raise PayloadError(f"shared set of {len(payload)} bytes; {fixed + sum(sizes)} are needed")
    answers, place = [], fixed
    for one, size in zip(recipe.attributes, sizes, strict=True):
        answers.append(_decode(one, payload[place : place + size]))
        place += size
    return SharedSet(label, told, tuple(answers))


def _code_bytes(attribute: Attribute) -> int:
    mechanism = attribute.mechanism
    if isinstance(mechanism, Unary):
        return -(-mechanism.size // 8)
    return 1 if mechanism.answers <= 256 else 2


def _encode(attribute: Attribute, answers: Integers) -> bytes:
    if isinstance(attribute.mechanism, Unary):
        return np.packbits(answers.astype(np.uint8), axis=1, bitorder="little").tobytes()
    return answers.astype("u1" if _code_bytes(attribute) == 1 else "<u2").tobytes()


def _decode(attribute: Attribute, data: bytes) -> Integers:
    mechanism, size = attribute.mechanism, _code_bytes(attribute)
    if isinstance(mechanism, Unary):
        bits = np.unpackbits(np.frombuffer(data, np.uint8).reshape(-1, size), axis=1, bitorder="little")
        if bits[:, mechanism.size :].any():
            raise PayloadError(f"shared set: {attribute.name!r} has {mechanism.size} bits, and others are set")
        return bits[:, : mechanism.size].astype(np.int64)
    answers = np.frombuffer(data, "u1" if size == 1 else "<u2").astype(np.int64)
    if (answers >= mechanism.answers).any():
        raise PayloadError(f"shared set: an answer for {attribute.name!r} is not below {mechanism.answers}")
    return answers
