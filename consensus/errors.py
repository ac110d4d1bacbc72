"""What the ledger says when it cannot take a block, a transaction or a local update.

    ConsensusError
    ├── Invalid         a rule's verdict: the only thing that condemns a block, a transaction or an update
    ├── MissingPayload  payloads that are needed are not here: incomplete, fetch them and try again
    ├── BodyMismatch    a body that is not the one its header commits to: the sender's fault, not the header's
    ├── ConflictingFinality  two branches are final, or a final block is invalid: stop, and call people
    └── StateMismatch   a delta that does not fit the state it is applied to: this node's database is wrong

Any other exception that leaves this room is a fault of this node or of its machine and says nothing about
what was being checked; whoever catches one must stop, never mark a block invalid (docs/ledger.md).
"""

from collections.abc import Sequence

from chain.payload import PayloadRef


class ConsensusError(Exception):
    """Base of every error this room raises."""


class Invalid(ConsensusError):  # noqa: N818 - a verdict's name
    """A rule refuses. ``rule`` names it (``transfer.balance``), ``detail`` says what was wrong and what is allowed.

    ``later``: the same transaction or update may be valid in a later block (a nonce gap, a miner not yet
    eligible, chain time too short), so that a pool need not forget it.
    """

    def __init__(self, rule: str, detail: str, *, later: bool = False) -> None:
        super().__init__(rule, detail)
        self.rule = rule
        self.detail = detail
        self.later = later

    def __str__(self) -> str:
        return f"{self.rule}: {self.detail}"


class MissingPayload(ConsensusError):  # noqa: N818 - a verdict's name
    """The verdict needs payloads that are not here. ``refs`` names all of them."""

    def __init__(self, refs: Sequence[PayloadRef]) -> None:
        super().__init__(tuple(refs))
        self.refs = tuple(refs)

    def __str__(self) -> str:
        names = ", ".join(ref.id.hex()[:12] for ref in self.refs[:4])
        return f"{len(self.refs)} payloads are missing: {names}{'…' if len(self.refs) > 4 else ''}"


class BodyMismatch(ConsensusError):  # noqa: N818 - a verdict's name
    """The body's roots are not those of the header."""


class StateMismatch(ConsensusError):  # noqa: N818 - a verdict's name
    """A delta's old values are not the state's values."""


class ConflictingFinality(ConsensusError):  # noqa: N818 - a verdict's name
    """Certificates contradict each other or the rules: a third of the stake or more has broken the protocol, or this
    program has a fault. Nothing a node could do by itself would be right."""
