"""Plans as commented TOML: ``parse_plan(render_plan(plan)) == plan`` for every plan that can be used.

Every field is written, defaults too, each with what it means (``fl.plan.fields``). Neighbouring features that differ
only in their names share one table, so that long lists stay short.

Rules of this file: text only.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from textwrap import wrap

from msgspec.structs import replace

from chain.codec import Record
from chain.number import Number
from fl.plan.checks import tag_of
from fl.plan.fields import NOTES, TAG_KEYS
from fl.plan.read import allowed_by, fields_of
from fl.plan.schema import LATER_SECTIONS, Feature, NumericFeature, Plan, Role, StatisticsPlan, Verification

_WIDTH = 120
_KINDS = {
    "horizontal": "how the data is split: same columns, different rows",
    "statistics": "nothing is learnt: the values of one column are counted",
}
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r"}


def render_plan(
    plan: Plan,
    *,
    comments: bool = True,
    holdout_file: str | None = None,
    head: Sequence[str] = (),
    notes: Mapping[str, str] | None = None,
) -> str:
    """Return the plan as TOML.

    comments      say what each field means
    holdout_file  written in place of the holdout's root: the form before it is bound
    head          lines of a comment at the top
    notes         further comments by field path, such as {"algorithm.step": "…"}
    """
    writer = _Writer(comments, holdout_file, notes or {}, type(plan))
    if isinstance(plan, StatisticsPlan):
        parts = ("column", "statistic", "participation", "deadlines", "rewards", "attestation")
        tables = [line for section in parts for line in writer.table(section, getattr(plan, section))]
        return "\n".join([*_comment(head), *writer.top(plan, "attestations"), *tables]).lstrip("\n") + "\n"
    lines = [*_comment(head), *writer.top(plan, "fraction_bits"), *writer.roles(plan)]
    for section in ("model", "algorithm", "participation", "deadlines"):
        lines += writer.table(section, getattr(plan, section))
    lines += writer.verification(plan.verification)
    later = LATER_SECTIONS if plan.version > 1 else ()
    for section in ("privacy", "aggregation", "compression", "rewards", "stopping", *later):
        lines += writer.table(section, getattr(plan, section))
    return "\n".join(lines).lstrip("\n") + "\n"


def toml_text(text: str) -> str:
    """Return a TOML basic string."""
    plain = (
        _ESCAPES.get(char) or (char if char.isprintable() or ord(char) > 0x9F else f"\\u{ord(char):04x}")
        for char in text
    )
    return '"' + "".join(plain) + '"'


def toml_value(value: object) -> str:
    """Return a field's value in TOML, on one line."""
    match value:
        case bool():
            return str(value).lower()
        case str():
            return toml_text(value)
        case bytes():
            return toml_text(value.hex())
        case Number():
            return _number(value)
        case tuple():
            return "[" + ", ".join(map(toml_value, value)) + "]"
        case Record():
            return _inline(value)
        case _:
            return str(value)


def _number(value: Number) -> str:
    """Return the exact number; very large and very small ones with an exponent, which TOML reads as a float."""
    text = str(value)
    return text if len(text) <= 18 else f"{value.mantissa}e{value.exponent}"


def _inline(record: Record, skip: Sequence[str] = ()) -> str:
    """Return a record as an inline table, its tag included."""
    if isinstance(record, NumericFeature) and record.missing == "refuse":
        skip = (*skip, "fill")  # not used
    pairs = [(name, toml_value(getattr(record, name))) for name in record.__struct_fields__ if name not in skip]
    if record.__struct_config__.tag is not None:
        pairs.insert(1 if pairs and pairs[0][0] == "name" else 0, ("type", toml_text(tag_of(record))))
    return "{ " + ", ".join(f"{name} = {value}" for name, value in pairs) + " }"


def _comment(lines: Iterable[str]) -> list[str]:
    return [f"# {part}" for line in lines for part in wrap(_printable(line), _WIDTH - 2) or [""]]


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text)


class _Writer:
    """Writes sections, with or without comments."""

    def __init__(self, comments: bool, holdout_file: str | None, notes: Mapping[str, str], kind: type[Plan]) -> None:
        self._comments = comments
        self._holdout_file = holdout_file
        self._notes = notes
        self._kind = kind

    def top(self, plan: Plan, last: str) -> Iterator[str]:
        """Yield the fields that stand before any table, ``last`` being the last of them."""
        yield self._line("kind", toml_text(tag_of(plan)), _KINDS[tag_of(plan)])
        for name in ("version", "title", "description", "nonce", last):
            yield self._field(self._kind, name, name, getattr(plan, name))

    def table(self, path: str, record: Record, skip: Mapping[str, Sequence[str]] | None = None) -> Iterator[str]:
        """Yield a section; ``skip`` gives lines that stand for some of its fields."""
        yield ""
        note = NOTES[self._kind].get(path)
        if note is not None and self._comments:
            yield f"# {note.meaning[0].upper()}{note.meaning[1:]}."
        yield f"[{path}]"
        if record.__struct_config__.tag is not None and "." not in path:
            yield self._line(TAG_KEYS.get(path, "type"), toml_text(tag_of(record)), self._kinds_of(path))
        for name in record.__struct_fields__:
            if skip is not None and name in skip:
                yield from skip[name]
            else:
                yield self._field(type(record), name, f"{path}.{name}", getattr(record, name))

    def roles(self, plan: Plan) -> Iterator[str]:
        """Yield the roles with their features, one or many to a line."""
        for number, role in enumerate(plan.roles):
            path = f"roles[{number}]"
            yield ""
            if self._comments:
                yield "# Who takes part, and what their tables look like."
            yield "[[roles]]"
            yield self._field(Role, "name", f"{path}.name", role.name)
            yield self._field(Role, "label", f"{path}.label", role.label)
            if self._comments:
                yield from _comment(self._kinds(role))
            yield "features = ["
            for feature, group in groupby(role.features, key=_unnamed):
                yield from _feature_lines(feature, [one.name for one in group])
            yield "]"

    def verification(self, verification: Verification) -> Iterator[str]:
        """Yield the policies, each a table of its own."""
        yield from self.table("verification", verification, {"policies": ()})
        for policy in verification.policies:
            skip: dict[str, Sequence[str]] = {}
            if tag_of(policy) == "holdout" and self._holdout_file is not None:
                skip["root"] = [self._line("file", toml_text(self._holdout_file), "the public set, beside this plan")]
            yield from self.table(f"verification.{tag_of(policy)}", policy, skip)

    def _kinds_of(self, path: str) -> str:
        """Return which kinds a section comes in."""
        return allowed_by(fields_of(self._kind)[path]).removeprefix("a table of kind ")

    def _kinds(self, role: Role) -> Iterator[str]:
        """Yield what the fields of each kind of feature mean."""
        for kind in dict.fromkeys(type(feature) for feature in role.features):
            words = "; ".join(f"{name}: {note.meaning}" for name, note in NOTES[kind].items() if name != "name")
            yield f"{kind.__struct_config__.tag}: {words}."

    def _field(self, kind: type[Record], name: str, path: str, value: object) -> str:
        return self._line(name, toml_value(value), self._notes.get(path) or NOTES[kind][name].meaning)

    def _line(self, name: str, value: str, meaning: str) -> str:
        line = f"{name} = {value}"
        if not self._comments:
            return line
        together = f"{line}  # {meaning}"
        return together if len(together) <= _WIDTH else f"# {meaning}\n{line}"


def _unnamed(feature: Feature) -> Feature:
    return replace(feature, name="")


def _feature_lines(feature: Feature, names: Sequence[str]) -> Iterator[str]:
    """Yield the table of one feature, or of neighbours that differ in their names alone."""
    if len(names) == 1:
        yield f"  {_inline(replace(feature, name=names[0]))},"
        return
    rest = _inline(feature, skip=("name",)).removeprefix("{ ")
    line = "  { names = ["
    for name in names:
        text = toml_text(name) + ", "
        if len(line) + len(text) > _WIDTH and not line.endswith("["):
            yield line.rstrip()
            line = "    "
        line += text
    yield f"{line.removesuffix(', ')}], {rest},"
