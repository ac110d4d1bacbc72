"""Hypothesis strategies for plans: ones that can be used, and anything that decodes."""

import string
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st
from msgspec import inspect

from chain.codec import Record
from chain.ids import Amount, Hash
from chain.number import Number
from fl.plan.fields import NOTES
from fl.plan.schema import (
    Bounds,
    CategoricalFeature,
    ClassLabel,
    Dane,
    Deadlines,
    Feature,
    FedAvg,
    FedSvrg,
    Holdout,
    HorizontalPlan,
    Layer,
    Model,
    NoCompression,
    NoPrivacy,
    NumericFeature,
    NumericLabel,
    Participation,
    PlainAggregation,
    Plan,
    Policy,
    Rewards,
    Role,
    Stopping,
    Timing,
    VectorFeature,
    Verification,
)
from tests.strategies import numbers, short_texts

NAMES = st.text(string.ascii_letters + '0123456789_ -."#ä\t\\', min_size=1, max_size=12).filter(str.strip)
WORDS = st.text(string.ascii_lowercase, min_size=1, max_size=6).filter(
    lambda word: word not in ("na", "nan", "none", "null")
)


def positive(largest: int = 10**4) -> st.SearchStrategy[Number]:
    """Draw a number above 0."""
    return st.builds(
        lambda mantissa, exponent: Number.of(Decimal(mantissa).scaleb(exponent)),
        st.integers(1, largest),
        st.integers(-6, 0),
    )


def bounds() -> st.SearchStrategy[tuple[Number, Number]]:
    """Draw two numbers, the lower first."""
    return st.builds(
        lambda lower, width: (Number.of(lower), Number.of(lower + width)),
        st.decimals(-(10**6), 10**6, places=3),
        st.decimals(Decimal("0.001"), 10**6, places=3),
    )


@st.composite
def features(draw: st.DrawFn, name: str) -> Feature:
    """Draw a numeric or categorical feature."""
    if draw(st.booleans()):
        words = draw(st.lists(WORDS | st.integers(0, 99).map(str), min_size=1, max_size=5, unique=True))
        return CategoricalFeature(name, tuple(words), draw(st.sampled_from(("refuse", "zeros"))))
    lower, upper = draw(bounds())
    missing = draw(st.sampled_from(("refuse", "indicator")))
    fill = draw(st.sampled_from((lower, upper))) if missing == "indicator" else Number(0, 0)
    return NumericFeature(name, lower, upper, draw(st.sampled_from(("clip", "refuse"))), missing, fill)


@st.composite
def roles(draw: st.DrawFn) -> Role:
    """Draw a role whose label fits some model."""
    label_name, *names = draw(st.lists(NAMES, min_size=2, max_size=6, unique=True))
    if draw(st.booleans()):
        label: ClassLabel | NumericLabel = NumericLabel(label_name, *draw(bounds()))
    else:
        count = draw(st.integers(2, 5))
        label = ClassLabel(label_name, tuple(f"class {number}" for number in range(count)))
    columns: list[Feature] = [draw(features(name)) for name in names]
    if draw(st.booleans()):
        columns[-1] = VectorFeature(
            names[-1], draw(st.integers(1, 500)), Number(-draw(st.integers(1, 9)), 0), Number(1, 0)
        )
    return Role(draw(NAMES), tuple(columns), label)


def algorithms() -> st.SearchStrategy[FedSvrg | FedAvg | Dane]:
    """Draw any of the algorithms."""
    return st.one_of(
        st.builds(FedSvrg, positive(), st.booleans(), st.booleans()),
        st.builds(FedAvg, positive(), st.integers(1, 1000), st.integers(1, 2**31)),
        st.builds(Dane, positive(), positive(), positive(), st.integers(1, 1000)),
    )


@st.composite
def participations(draw: st.DrawFn) -> Participation:
    """Draw a participation of few devices with few samples, so that nothing overflows."""
    low, goal, most = sorted(draw(st.tuples(*[st.integers(1, 20)] * 3)))
    fewest, samples = sorted(draw(st.tuples(*[st.integers(1, 1000)] * 2)))
    return Participation(low, goal, most, draw(st.integers(100, 1000)), fewest, samples, draw(st.integers(0, 100)))


@st.composite
def valid_plans(draw: st.DrawFn) -> Plan:
    """Draw a plan that ``check_plan`` finds nothing wrong with."""
    role = draw(roles())
    if isinstance(role.label, NumericLabel):
        kind = "linear"
    else:
        kind = draw(st.sampled_from(("logistic", "softmax"))) if len(role.label.classes) == 2 else "softmax"
    hidden = tuple(draw(st.lists(st.builds(Layer, st.integers(1, 9), st.sampled_from(("tanh", "relu"))), max_size=2)))
    policies: list[Policy] = [Bounds(draw(positive(100)), draw(positive(100)))]
    if draw(st.booleans()):
        policies.append(Timing(draw(st.integers(1, 10**12))))
    if draw(st.booleans()):
        root = Hash(draw(st.binary(min_size=32, max_size=32).filter(any)))
        policies.append(Holdout(root, draw(st.integers(1, 10**5)), draw(st.integers(1, 10**6)), draw(positive())))
    confirmations = draw(st.integers(1, 100))
    return HorizontalPlan(
        version=1,
        title=draw(short_texts().filter(str.strip)),
        description=draw(st.text(max_size=200)),
        nonce=draw(st.integers(0, 2**63 - 1)),
        roles=(role,),
        model=Model(kind, hidden, draw(st.booleans()), draw(positive()), draw(st.integers(0, 2**63 - 1))),  # type: ignore[arg-type]
        algorithm=draw(algorithms()),
        participation=draw(participations()),
        deadlines=Deadlines(
            draw(st.integers(1, 10**6)),
            confirmations + draw(st.integers(1, 99)),
            draw(st.integers(1, 99)),
            confirmations,
        ),
        verification=Verification(tuple(policies), draw(st.integers(0, 16))),
        privacy=NoPrivacy(),
        aggregation=PlainAggregation("mean"),
        compression=NoCompression(),
        rewards=Rewards(Amount(draw(st.integers(0, 2**62))), Amount(draw(st.integers(0, 2**62)))),
        stopping=Stopping(draw(st.integers(1, 100)), draw(positive())),
        fraction_bits=draw(st.integers(8, 32)),
    )


def decodable(kind: type[Record]) -> st.SearchStrategy[Any]:
    """Draw any record that the codec would decode as ``kind``, sensible or not."""
    return _of(inspect.type_info(kind))


def _of(kind: inspect.Type) -> st.SearchStrategy[Any]:
    match kind:
        case inspect.IntType(ge=low, le=high):
            return st.integers(low, high) | st.sampled_from([value for value in (low, high) if value is not None])
        case inspect.StrType(max_length=most):
            return st.text(max_size=min(most or 20, 20))
        case inspect.BytesType(min_length=least, max_length=most):
            return st.binary(min_size=least or 0, max_size=most)
        case inspect.BoolType():
            return st.booleans()
        case inspect.LiteralType(values=values):
            return st.sampled_from(values)
        case inspect.VarTupleType(item_type=item):
            return st.lists(_of(item), max_size=4).map(tuple)
        case inspect.UnionType(types=types):
            return st.one_of([_of(one) for one in types])
        case inspect.StructType(cls=cls) if cls is Number:
            return numbers()
        case inspect.StructType(cls=cls, fields=fields):
            assert cls in NOTES
            return st.builds(cls, *[_of(field.type) for field in fields])
        case _:
            raise TypeError(f"no strategy for {kind}")
