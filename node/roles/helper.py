"""The helper: gives what encrypted sums need of this node's account, shares before the reveals and parts after.

Whoever is asked follows from the state at the head: a selected device shares, a member of the committee (or, under
masks, a device that has revealed) gives a part of the decryption. One job runs at a time.

The one thing it must never get wrong: a node that has helped to decrypt one sum of a phase helps with no other, on no
fork and in no retry. It pledges itself durably to just the updates whose sum it is before its part leaves.
"""

from collections.abc import Iterator
from typing import Final

from chain.hashing import digest
from chain.ids import Hash
from chain.payload import PayloadRef
from chain.transaction import Body, DecryptSum, ShareMask
from consensus.encryption import (
    get_decryptions,
    get_gathered_name,
    get_helpers,
    get_masks,
    get_protected,
    get_threshold,
    is_encrypted,
    is_in_step,
)
from consensus.problems import get_problem
from consensus.records import RoundState
from consensus.state import get_active, get_decryption, get_mask, get_round, get_seat, get_selected, need_bytes
from consensus.statekeys import document_key
from fl.plan.dimensions import encryption_of
from fl.secure.registry import scheme_of
from node.core.messages import OwnTransaction, PayloadStored
from node.core.turn import Turn
from node.jobs.results import Declined, JobResult, MessageMade
from node.jobs.specs import DecryptPart, NamedPayload, ShareSecrets
from node.notices import RoleNotice
from node.roles.base import Surroundings
from node.roles.watching import HeadWatcher
from storage.pledges import Pledge

ROLE: Final = "helper"
_PATIENCE_SHARE: Final = 8
"""Of the blocks that a sum may take to be decrypted, helpers wait this part for those whose turn it is."""
_DOMAIN_SUBJECT: Final = b"fedchain/pledge"
_PLEDGED: Final = (
    "has helped to decrypt another sum of this round, on another fork or before a retry, and helps with no second one"
)


class Helper(HeadWatcher):
    """The helper role of this node. ``plays_device``: does it share as a device?"""

    def __init__(self, around: Surroundings, *, plays_device: bool) -> None:
        super().__init__(around)
        self._plays_device = plays_device
        self._sent: dict[Hash, int] = {}  # by task: the height at which its message was sent
        self._told: dict[Hash, None] = {}  # tasks of which a refusal was told

    def find_work(self, turn: Turn) -> ShareSecrets | DecryptPart | None:
        """Return what this node is to make for the sum of an open task."""
        states = list(self._due())
        current = {Hash(state.task.digest) for state in states}
        self._sent = {task: height for task, height in self._sent.items() if task in current}
        self._told = {task: None for task in self._told if task in current}
        for state in states:
            spec = self._find_work(state, turn)
            if spec is not None:
                return spec
        return None

    def _due(self) -> Iterator[RoundState]:
        """Yield the open tasks of plans with encrypted updates whose step lies deep enough to act on."""
        view = self.around.chain.view
        for plan in get_active(view):
            state = get_round(view, plan)
            if state is not None and is_encrypted(view, plan) and self.is_deep(plan, state.stepped):
                yield state

    def _find_work(self, state: RoundState, turn: Turn) -> ShareSecrets | DecryptPart | None:
        """Return what is to be made for a task now, None if nothing is."""
        view, task = self.around.chain.view, Hash(state.task.digest)
        if self._sent.get(task) == self.around.chain.height:
            return None  # tried after this very head
        if is_in_step(view, state, "share") and self._plays_device:
            return self._find_share(state)
        if is_in_step(view, state, "decrypt"):
            return self._find_part(state, turn)
        return None

    def _find_share(self, state: RoundState) -> ShareSecrets | None:
        view, account = self.around.chain.view, self.around.account
        plan, task = Hash(state.task.plan), Hash(state.task.digest)
        position = get_seat(view, plan, account, task)
        if position is None or get_mask(view, plan, position, task) is not None:
            return None
        if self.around.is_waiting(ShareMask, plan, task):
            return None
        return ShareSecrets(need_bytes(view, document_key(plan)), task, get_selected(view, plan))

    def _find_part(self, state: RoundState, turn: Turn) -> DecryptPart | None:
        view, account = self.around.chain.view, self.around.account
        plan, task = Hash(state.task.plan), Hash(state.task.digest)
        helpers = get_helpers(view, state)
        if account not in helpers or get_decryption(view, plan, helpers.index(account), task) is not None:
            return None
        if self.around.is_waiting(DecryptSum, plan, task):
            return None
        subject, name = get_subject(state), get_gathered_name(view, state)
        if self.around.world.pledges.find(subject) not in (None, name):
            self._tell(task, plan, _PLEDGED, turn)
            return None
        parts = tuple([NamedPayload(part.helper, part.payload.id) for part in get_decryptions(view, state)])
        if self._is_to_wait(state, helpers.index(account), len(helpers), len(parts)):
            return None
        shares = tuple([NamedPayload(device, mask.payload.id) for device, mask in get_masks(view, state)])
        updates = tuple([NamedPayload(update.device, update.payload.id) for update in get_protected(view, state)])
        document, devices = need_bytes(view, document_key(plan)), get_selected(view, plan)
        return DecryptPart(document, task, devices, shares, updates, parts, subject, name)

    def _is_to_wait(self, state: RoundState, number: int, count: int, given: int) -> bool:
        """Is it others' turn to give their parts, so that this helper's can come with what they all open?

        The first are drawn by the task. Where they are not heard of for some blocks nobody waits for them any more.
        """
        view, task = self.around.chain.view, state.task
        problem = get_problem(view, Hash(task.plan))
        scheme = scheme_of(problem.plan)
        if not scheme.opens_last(problem):
            return False
        first = get_threshold(view, state) - 1
        turn = (number + int.from_bytes(task.digest[:8], "big")) % count
        how = encryption_of(problem.plan)
        patience = 0 if how is None else problem.plan.deadlines.confirmations + how.decrypt_blocks // _PATIENCE_SHARE
        return turn >= first and given < first and self.around.chain.height - state.stepped < patience

    def _tell(self, task: Hash, plan: Hash, reason: str, turn: Turn) -> None:
        """Say once for a task why this node does not help."""
        if task not in self._told:
            self._told[task] = None
            turn.publish(RoleNotice(ROLE, plan, reason))

    def on_shared(self, spec: ShareSecrets, result: JobResult, turn: Turn) -> None:
        """Send what was made, if its task still asks for it."""
        self.on_ended()
        state = self._find_open(Hash(spec.task))
        if isinstance(result, MessageMade) and state is not None and is_in_step(self.around.chain.view, state, "share"):
            task = state.task
            ref = self._store(result.message, turn)
            self._send(ShareMask(task.plan, task.round, task.attempt, task.phase, spec.task, ref), spec.task, turn)
        self.look(turn)

    def on_decrypted(self, spec: DecryptPart, result: JobResult, turn: Turn) -> None:
        """Pledge, then send. A part of what the head does not ask for any more stays here."""
        self.on_ended()
        state = self._find_open(Hash(spec.task))
        if isinstance(result, Declined) and state is not None:
            self._sent[Hash(spec.task)] = self.around.chain.height
            self._tell(Hash(spec.task), Hash(state.task.plan), f"can't help to decrypt: {result.reason}", turn)
        elif isinstance(result, MessageMade) and state is not None and self._is_asked(spec, state):
            self.around.world.pledges.record(Pledge(spec.subject, spec.name))  # durable before the part leaves
            ref = self._store(result.message, turn)
            self._send(DecryptSum(state.task.plan, spec.task, ref), spec.task, turn)
        self.look(turn)

    def _is_asked(self, spec: DecryptPart, state: RoundState) -> bool:
        """Does the head still ask for the sum of just these updates?"""
        view = self.around.chain.view
        return is_in_step(view, state, "decrypt") and get_gathered_name(view, state) == spec.name

    def _find_open(self, task: Hash) -> RoundState | None:
        """Return the open task with this digest."""
        view = self.around.chain.view
        states = [get_round(view, plan) for plan in get_active(view)]
        return next((state for state in states if state is not None and state.task.digest == task), None)

    def _store(self, message: bytes, turn: Turn) -> PayloadRef:
        self.around.world.payloads.put(message, sync=True)
        ref = PayloadRef.of(message)
        turn.tell(PayloadStored(ref.id))
        return ref

    def _send(self, body: Body, task: bytes, turn: Turn) -> None:
        self._sent[Hash(task)] = self.around.chain.height
        turn.tell(OwnTransaction(body))


def get_subject(state: RoundState) -> Hash:
    """Return what a helper pledges itself under: one sum a phase of a round, whatever is retried."""
    task = state.task
    place = task.round.to_bytes(8, "big") + task.phase.to_bytes(4, "big")
    return digest(_DOMAIN_SUBJECT, task.plan, place)
