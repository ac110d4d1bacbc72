"""Running a branch: back from the head by undos, forward through blocks, all over one view and without writing.

One block on the head is the branch with no undo. The caller commits the deltas in one batch, or none of them.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from chain.block import Block
from chain.payload import PayloadRef
from consensus.context import BlockContext, Execution
from consensus.errors import Invalid, MissingPayload
from consensus.signatures import SignatureCache
from consensus.transition import apply
from consensus.undo import Undo, apply_undo
from consensus.view import Overlay, PayloadView, StateView


@dataclass(frozen=True, slots=True)
class BranchOutcome:
    """How far a branch runs: the executions of the blocks that are valid, in order, and why it stops if it does.

    undone    what the undos wrote, the last of several writes to a key
    invalid   index of the first block that a rule refuses, and the refusal: it and all after it are condemned
    missing   index of the first block that lacks payloads, and which: fetch them and run again
    """

    undone: Mapping[bytes, bytes | None]
    executions: tuple[Execution, ...]
    invalid: tuple[int, Invalid] | None
    missing: tuple[int, tuple[PayloadRef, ...]] | None


def run_branch(
    view: StateView,
    undos: Iterable[Undo],
    blocks: Iterable[tuple[Block, BlockContext]],
    payloads: PayloadView,
    *,
    signatures: SignatureCache | None = None,
    find_known: Callable[[Block], Execution | None] = lambda block: None,
) -> BranchOutcome:
    """Return what a branch does to the state of ``view``.

    ``undos`` take back the head's blocks, newest first; ``find_known`` is asked of the first block on the view itself
    whether what it does is known. Raises
    ``StateMismatch`` if an undo does not fit the view and ``BodyMismatch`` for a body that is not its header's; other
    exceptions are faults of this node. None of them says anything about a block.
    """
    overlay = Overlay(view)
    site: StateView = view  # not the overlay while nothing stands in it: the first block reads faster without
    for undo in undos:
        apply_undo(overlay, undo)
        site = overlay
    undone = overlay.writes()
    executions: list[Execution] = []
    for index, (block, context) in enumerate(blocks):
        try:
            known = find_known(block) if site is view else None
            execution = known or apply(site, block, context, payloads, signatures=signatures)
        except Invalid as verdict:
            return BranchOutcome(undone, tuple(executions), (index, verdict), None)
        except MissingPayload as missing:
            return BranchOutcome(undone, tuple(executions), None, (index, missing.refs))
        overlay.lay(execution.delta)
        site = overlay
        executions.append(execution)
    return BranchOutcome(undone, tuple(executions), None, None)
