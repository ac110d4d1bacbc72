"""Eight float64 side by side, and hints to fetch memory early: what the compiler does not find by itself.

``Lanes`` are values inside kernels. ``+ − ×`` work lane by lane, each rounded as the same operation on one float; the
compiler makes of them what the processor has, one register of eight lanes, two of four or four of two, so the bits
depend on no width. Nothing here is fused or reordered.

Lanes can also hold eight int64 counts, bit for bit: what the functions at the end of this file read.

Rules of this file: an intrinsic a function, a few instructions each; indices are trusted, as everywhere in kernels.
"""

import operator
from collections.abc import Callable, Sequence
from typing import Any, Final, cast

import numpy as np
from llvmlite import ir
from numpy.typing import NDArray

from chain.fixedpoint import Float64Vector
from fl.dataset import Float64Matrix
from fl.kernels.compiled import extending, types

WIDTH: Final = 8
_FLOATS: Final = ir.VectorType(ir.DoubleType(), WIDTH)
_COUNTS: Final = ir.VectorType(ir.IntType(64), WIDTH)
_WORD: Final = ir.IntType(32)
_BYTE: Final = ir.IntType(8)


class Lanes:
    """Eight float64, as type checkers see them; kernels alone have such values."""

    def __add__(self, other: "Lanes") -> "Lanes":
        raise NotImplementedError

    def __sub__(self, other: "Lanes") -> "Lanes":
        raise NotImplementedError

    def __mul__(self, other: "Lanes") -> "Lanes":
        raise NotImplementedError


class _LanesType(types.Type):
    """Lanes, as Numba's compiler sees them."""

    def __init__(self) -> None:
        super().__init__(name="Lanes")


_LANES: Final = _LanesType()


@extending.register_model(_LanesType)
class _LanesModel(extending.models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, _FLOATS)  # type: ignore[no-untyped-call]


def _same(vector: Any, lane: int | float) -> Any:
    return ir.Constant(vector, [ir.Constant(vector.element, lane)] * WIDTH)


def _element(context: Any, builder: Any, kind: Any, array: Any, index: Sequence[Any]) -> Any:
    """Return the address of an element of a C array of one or two dimensions."""
    view = context.make_array(kind)(context, builder, array)
    at = index[-1]
    if len(index) > 1:
        at = builder.add(builder.mul(index[0], builder.extract_value(view.shape, 1)), at)
    return builder.gep(view.data, [at], inbounds=True)


def _on_lanes(count: int, build: Callable[..., Any], result: Any = _LANES) -> Any:
    """Return the intrinsic that builds ``result`` from so many lanes."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return build(builder, *arguments)

    if count == 1:
        return extending.intrinsic(lambda typing, one: (result(_LANES), generate))
    if count == 2:
        return extending.intrinsic(lambda typing, one, two: (result(_LANES, _LANES), generate))
    return extending.intrinsic(lambda typing, one, two, three: (result(_LANES, _LANES, _LANES), generate))


# --- memory ----------------------------------------------------------------------------------------


def _load(typing: Any, array: Any, index: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        at = _element(context, builder, signature.args[0], arguments[0], arguments[1:])
        found = builder.load(builder.bitcast(at, _FLOATS.as_pointer()))
        found.align = 8
        return found

    return _LANES(array, types.intp), generate


def _load_row(typing: Any, matrix: Any, row: Any, index: Any) -> Any:
    return _LANES(matrix, types.intp, types.intp), _load(typing, matrix, index)[1]


def _store(typing: Any, array: Any, index: Any, value: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        at = _element(context, builder, signature.args[0], arguments[0], arguments[1:2])
        builder.store(arguments[2], builder.bitcast(at, _FLOATS.as_pointer())).align = 8
        return context.get_dummy_value()

    return types.void(array, types.intp, _LANES), generate


def _fetch(typing: Any, array: Any, index: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        at = _element(context, builder, signature.args[0], arguments[0], arguments[1:])
        kind = ir.FunctionType(ir.VoidType(), [_BYTE.as_pointer(), _WORD, _WORD, _WORD])
        prefetch = builder.module.globals.get("llvm.prefetch.p0")
        if prefetch is None:
            prefetch = ir.Function(builder.module, kind, "llvm.prefetch.p0")
        # to read, to keep near, data
        builder.call(prefetch, [builder.bitcast(at, _BYTE.as_pointer()), _WORD(0), _WORD(3), _WORD(1)])
        return context.get_dummy_value()

    return types.void(array, types.intp), generate


def _fetch_row(typing: Any, matrix: Any, row: Any, index: Any) -> Any:
    return types.void(matrix, types.intp, types.intp), _fetch(typing, matrix, index)[1]


_AnyVector = Float64Vector | NDArray[np.int64] | NDArray[np.uint32]

load = cast(Callable[[_AnyVector, int], Lanes], extending.intrinsic(_load))
"""Return the eight values of a vector (float64, or int64 counts) from an index on."""
load_row = cast(Callable[[Float64Matrix, int, int], Lanes], extending.intrinsic(_load_row))
"""Return the eight values of a matrix from (row, column) on."""
store = cast(Callable[[Float64Vector, int, Lanes], None], extending.intrinsic(_store))
"""Write eight values of a vector from an index on."""
fetch = cast(Callable[[_AnyVector, int], None], extending.intrinsic(_fetch))
"""Have the memory around a vector's element brought near; no effect on values."""
fetch_row = cast(Callable[[Float64Matrix, int, int], None], extending.intrinsic(_fetch_row))
"""Have the memory around a matrix's element brought near."""


# --- arithmetic ------------------------------------------------------------------------------------


def _splat(typing: Any, value: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        lanes = ir.Constant(_FLOATS, ir.Undefined)
        for lane in range(WIDTH):
            lanes = builder.insert_element(lanes, arguments[0], _WORD(lane))
        return lanes

    return _LANES(types.float64), generate


def _build_fold(builder: Any, lanes: Any) -> Any:
    while lanes.type.count > 1:
        half = lanes.type.count // 2
        undefined = ir.Constant(lanes.type, ir.Undefined)
        evens, odds = (
            builder.shuffle_vector(
                lanes, undefined, ir.Constant(ir.VectorType(_WORD, half), [*range(first, 2 * half, 2)])
            )
            for first in (0, 1)
        )
        lanes = builder.fadd(evens, odds)
    return builder.extract_element(lanes, _WORD(0))


splat = cast(Callable[[float], Lanes], extending.intrinsic(_splat))
"""Return the same value in every lane."""
fold = cast(Callable[[Lanes], float], _on_lanes(1, _build_fold, types.float64))
"""Return ((0+1) + (2+3)) + ((4+5) + (6+7)): neighbours are added, then neighbouring sums."""


def _overload(python: Callable[..., Any], build: Callable[..., Any]) -> None:
    apply = _on_lanes(2, build)

    @extending.overload(python, strict=False)  # its types are not those of the checker
    def _(left: Any, right: Any) -> Any:
        if left == _LANES and right == _LANES:
            return lambda left, right: apply(left, right)
        return None


_overload(operator.add, lambda builder, left, right: builder.fadd(left, right))
_overload(operator.sub, lambda builder, left, right: builder.fsub(left, right))
_overload(operator.mul, lambda builder, left, right: builder.fmul(left, right))


# --- masks and counts --------------------------------------------------------------------------------


def _bits(builder: Any, mask: Any) -> Any:
    return builder.bitcast(mask, _BYTE)


def _build_nonzeros(builder: Any, lanes: Any) -> Any:
    return builder.zext(_bits(builder, builder.fcmp_unordered("!=", lanes, _same(_FLOATS, 0.0))), ir.IntType(64))


def _build_any(builder: Any, counts: Any) -> Any:
    mask = builder.icmp_unsigned("!=", builder.bitcast(counts, _COUNTS), _same(_COUNTS, 0))
    return builder.icmp_unsigned("!=", _bits(builder, mask), _BYTE(0))


def _build_halved(builder: Any, counts: Any) -> Any:
    return builder.bitcast(builder.lshr(builder.bitcast(counts, _COUNTS), _same(_COUNTS, 1)), _FLOATS)


def _build_where_odd(builder: Any, counts: Any, yes: Any, no: Any) -> Any:
    return builder.select(builder.trunc(builder.bitcast(counts, _COUNTS), ir.VectorType(ir.IntType(1), WIDTH)), yes, no)


nonzeros = cast(Callable[[Lanes], int], _on_lanes(1, _build_nonzeros, types.int64))
"""Return the set of lanes that are not zero (or no number) as eight bits, lane 0 the lowest."""
any_left = cast(Callable[[Lanes], bool], _on_lanes(1, _build_any, types.boolean))
"""Is any of eight counts not zero?"""
halved = cast(Callable[[Lanes], Lanes], _on_lanes(1, _build_halved))
"""Return eight counts halved, rounded down."""
where_odd = cast(Callable[[Lanes, Lanes, Lanes], Lanes], _on_lanes(3, _build_where_odd))
"""Return the second argument in lanes whose count is odd, the third in the others."""
