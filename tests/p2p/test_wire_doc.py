"""docs/wire.md tells the truth: its tables are the messages' fields and the limits."""

import re
from pathlib import Path

import pytest

from chain.codec import Record
from p2p import limits
from p2p.messages import CLASS_OF, PeerAddress, Status, UpdateNotice

DOC = (Path(__file__).parents[2] / "docs" / "wire.md").read_text(encoding="utf-8")
CONSTANTS = {
    name: value for name, value in vars(limits).items() if name.isupper() and isinstance(value, int) and len(name) > 3
} | {"MIN_PAYLOAD_RATE": limits.MIN_PAYLOAD_RATE}


def section(title: str) -> str:
    """Return the text under a message's heading."""
    match = re.search(rf"^#### {re.escape(title)}\n(.*?)(?=^#|\Z)", DOC, re.MULTILINE | re.DOTALL)
    assert match is not None, f"no heading {title}"
    return match[1]


@pytest.mark.parametrize("kind", [*CLASS_OF, Status, UpdateNotice, PeerAddress])
def test_each_message_stands_with_its_fields_in_order(kind: type[Record]) -> None:
    """Heading, tag and rows are the record's, under its class."""
    tag = kind.__struct_config__.tag
    text = section(f"{kind.__name__} · `{tag}`" if tag else kind.__name__)
    assert re.findall(r"^\| (\w+) \|", text, re.MULTILINE)[1:] == list(kind.__struct_fields__) or not (
        kind.__struct_fields__ or "|" in text
    )


def test_no_message_stands_there_that_does_not_exist() -> None:
    """Headings and messages correspond."""
    titles = re.findall(r"^#### (\w+)", DOC, re.MULTILINE)
    assert sorted(titles) == sorted(kind.__name__ for kind in [*CLASS_OF, Status, UpdateNotice, PeerAddress])


def test_classes_stand_with_their_limits() -> None:
    """Byte, lengths and queues of every class."""
    rows = re.findall(r"^\| (\w+) \| (\d) \| ([\d,]+) \| ([\d,]+) \| ([\d,]+) \| ([\d,]+) \|", DOC, re.MULTILINE)
    assert rows == [
        (
            each.name.lower(),
            str(int(each)),
            f"{row.frame_bytes:,}",
            f"{row.answer_bytes:,}",
            f"{row.queue_frames:,}",
            f"{row.queue_bytes:,}",
        )
        for each, row in limits.CLASSES.items()
    ]


def test_every_constant_stands_with_its_value() -> None:
    """Nothing is missing, nothing is out of date."""
    rows = dict(re.findall(r"^\| `(\w+)` \| ([\d,]+) \|", DOC, re.MULTILINE))
    not_limits = {"MAX_OBJECT_BYTES"}
    assert rows == {name: f"{value:,}" for name, value in CONSTANTS.items() if name not in not_limits}


def test_rates_stand_with_their_numbers() -> None:
    """Each unasked message's burst and rate."""
    rows = re.findall(r"^\| ([A-Z]\w+) \| ([\d,]+) \| ([\d,]+) \|", DOC, re.MULTILINE)
    assert rows == [(name, f"{rate.burst:,}", f"{rate.per_minute:,}") for name, rate in limits.RATES.items()]
    flood = f"more than {limits.FLOOD_RATE.burst} messages\ndropped, and {limits.FLOOD_RATE.per_minute} a minute"
    assert flood in DOC


def test_work_stands_with_its_numbers() -> None:
    """What each message costs, and what a peer has."""
    rows = re.findall(r"^\| (\w+) \| ([\d,]+) \+ ([\d,]+) each \|", DOC, re.MULTILINE)
    assert rows == [(name, f"{work.base:,}", f"{work.each:,}") for name, work in limits.WORK.items()]
    rate, bytes_rate = limits.WORK_RATE, limits.SERVE_RATE
    assert f"{rate.burst:,} units at once and {rate.per_minute:,} a minute" in DOC
    assert f"{bytes_rate.burst // limits.MIB} MiB at once, {bytes_rate.per_minute // limits.MIB} MiB a minute" in DOC
    assert f"one unit for each {1 << limits.WORK_BYTES_SHIFT}\nbytes" in DOC
    assert f"{(limits.NEW_BUCKETS + limits.TRIED_BUCKETS) * limits.BUCKET_SIZE:,} addresses" in DOC


def test_numbers_in_the_text_are_the_limits() -> None:
    """What prose repeats: the most a queue holds, and what is read unasked."""
    queues = sum(row.queue_bytes for row in limits.CLASSES.values())
    assert f"queues of at most {-(-queues // limits.MIB)} MiB" in DOC
    assert max(row.frame_bytes for row in limits.CLASSES.values()) == 32 * limits.KIB
