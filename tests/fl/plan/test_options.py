"""What people are told about plans covers the whole schema, and can't fall behind it."""

from msgspec import inspect

from chain.codec import Record
from chain.number import Number
from fl.plan.fields import NOTES, POLICY_KINDS
from fl.plan.options import algorithm_names, plan_options, policy_names
from fl.plan.schema import HorizontalPlan, StatisticsPlan


def records(kind: inspect.Type) -> set[type[Record]]:
    """Return all records that a type is made of."""
    match kind:
        case inspect.StructType(cls=cls, fields=fields) if cls is not Number:
            return {cls}.union(*[records(field.type) for field in fields])
        case inspect.UnionType(types=types):
            return set().union(*map(records, types))
        case inspect.VarTupleType(item_type=item):
            return records(item)
        case _:
            return set()


def test_every_field_of_the_schema_has_a_note() -> None:
    """Notes exist for exactly the fields there are."""
    kinds = records(inspect.type_info(HorizontalPlan)) | records(inspect.type_info(StatisticsPlan))
    assert set(NOTES) == kinds
    assert {kind: set(NOTES[kind]) for kind in kinds} == {kind: set(kind.__struct_fields__) for kind in kinds}


def test_options_name_every_form() -> None:
    """The table has each algorithm, policy and kind of feature with its fields, what is allowed and the default."""
    options = {option.field: option for option in plan_options()}
    assert algorithm_names() == ("fedsvrg", "fedavg", "dane")
    assert policy_names() == tuple(POLICY_KINDS) == ("bounds", "timing", "holdout", "audit", "replay", "commit", "pace")
    assert options["algorithm(dane).mu"].default == "0"
    assert options["roles[].features[](numeric).missing"].allowed == '"indicator" or "refuse"'
    assert options["verification.bounds.update_clip"].default == ""
    assert {"column.values", "statistic(olh).epsilon", "statistic(cms).hashes", "attestations"} <= set(options)
    assert all(option.allowed and option.meaning for option in options.values())
