"""Plans of format 1 keep their bytes for ever; what format 2 adds stands in plans of format 2 alone."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from chain.codec import encode, unpack
from chain.errors import CodecError
from fl.plan.parse import parse_draft, parse_plan
from fl.plan.render import render_plan
from fl.plan.schema import LATER_SECTIONS, Training, decode_plan, encode_plan, plan_id
from fl.plan.validate import check_plan

HEART = parse_draft(Path("examples/heart/plan.toml").read_text()).plan
"""Its holdout is not bound: the root is zero."""
HEART_ID = "f1d97efcd0faaabae40db7595c18adc382cfcfe6c189914015d3a5e8b5749d47"


def test_a_plan_of_format_1_has_the_bytes_it_always_had() -> None:
    """Eighteen values with the tag; none of the later sections."""
    fields = unpack(encode_plan(HEART))
    assert isinstance(fields, tuple)
    assert len(fields) == 1 + len(HEART.__struct_fields__) - len(LATER_SECTIONS) == 17
    assert plan_id(HEART).hex() == HEART_ID
    assert decode_plan(encode_plan(HEART)) == HEART


def test_the_same_plan_in_format_2_is_another() -> None:
    """Its bytes name the later sections, and read back."""
    later = replace(HEART, version=2, training=Training("blocks", 64))
    assert decode_plan(encode_plan(later)) == later
    assert plan_id(later) != plan_id(HEART)


@pytest.mark.parametrize("version", [1, 2])
def test_each_format_has_one_encoding(version: int) -> None:
    """Format 1 with the later sections written out, and format 2 without them, are no plans."""
    plan = replace(HEART, version=version)
    whole = encode(plan)
    short = encode((plan.__struct_config__.tag, *[getattr(plan, name) for name in plan.__struct_fields__[:-2]]))
    with pytest.raises(CodecError, match="canonical"):
        decode_plan(whole if version == 1 else short)


def test_later_sections_ask_for_format_2_by_name() -> None:
    """A person who uses one in a plan of format 1 is told which, and what to write."""
    problems = check_plan(replace(HEART, training=Training("blocks", 0)))
    assert [(problem.field, problem.allowed) for problem in problems if problem.field == "training"] == [
        ("training", "is part of plans with version = 2")
    ]


def test_a_plan_of_format_2_is_written_and_read_by_people() -> None:
    """Its TOML has the later sections, that of format 1 has not."""
    root = bytes([7]) * 32
    checks = HEART.verification
    bound = tuple([replace(each, root=root) if hasattr(each, "root") else each for each in checks.policies])
    plan = replace(HEART, verification=replace(checks, policies=bound))
    later = replace(plan, version=2, training=Training("full", 32))
    assert parse_plan(render_plan(later)) == later
    assert "[training]" in render_plan(later)
    assert "[training]" not in render_plan(plan)
