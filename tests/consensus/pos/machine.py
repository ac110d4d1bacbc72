"""One validator's machine that is told everything by hand, and what others say to it."""

from chain.block import Header, block_id
from chain.codec import encode
from chain.ids import ZERO_HASH, Hash, Millis
from chain.keys import KeyPair
from consensus.pos.agreement import Agreement
from consensus.pos.effects import (
    CastVote,
    Effect,
    Timer,
)
from consensus.pos.validators import ValidatorSet
from consensus.pos.votes import Certificate, Message, Proposal, VoteKind, make_certificate
from consensus.signatures import SignatureCache
from tests.consensus.pos.people import (
    KEY_OF,
    KEYS,
    START,
    first_set,
    genesis_header,
    pos_genesis,
    propose_on,
    sign_vote,
)

GENESIS = pos_genesis(epoch_blocks=2)
ROOT = genesis_header(GENESIS)
SET = first_set()
NEXT = ValidatorSet(1, Hash(b"\5" * 32), SET.members)
JUDGE = SignatureCache()
LEADERS = [SET.leader(view) for view in range(100)]


def certify(view: int, kind: VoteKind, block: Hash = ZERO_HASH, set: ValidatorSet = SET, skip: int = 0) -> Certificate:
    """A certificate of three of the four validators."""
    chosen = [number for number in range(4) if number != skip]
    votes = [(number, sign_vote(set, KEY_OF[set.members[number].account], view, kind, block)) for number in chosen]
    return make_certificate(set, view, kind, block, [(number, vote.signature) for number, vote in votes])


def notarized(view: int, block: Hash) -> Certificate:
    return certify(view, VoteKind.NOTARIZE, block)


def nullified(view: int) -> Certificate:
    return certify(view, VoteKind.NULLIFY)


def finalized(view: int, block: Hash) -> Certificate:
    return certify(view, VoteKind.FINALIZE, block)


class Node:
    """An agreement with its clock; every wish to sign is granted at once."""

    def __init__(self, key: KeyPair | None, **options) -> None:
        self.key = key
        self.now = START
        self.agreement = Agreement(GENESIS, None if key is None else key.account, JUDGE)
        self.seen: list[Effect] = []
        self.take(self.agreement.start(SET, ROOT, Millis(self.now), **options))

    def take(self, effects: list[Effect]) -> list[Effect]:
        all_ = list(effects)
        for effect in effects:
            if isinstance(effect, CastVote):
                vote = sign_vote(SET, self.key, effect.view, effect.kind, effect.block)
                all_ += self.take(self.agreement.on_signed(encode(vote), Millis(self.now)))
        self.seen += [effect for effect in all_ if effect not in self.seen]
        return all_

    def tell(self, *messages: Message) -> list[Effect]:
        return [
            effect
            for message in messages
            for effect in self.take(self.agreement.on_message(encode(message), Millis(self.now)))
        ]

    def execute(self, header: Header) -> list[Effect]:
        return self.take(self.agreement.on_executed(block_id(header), header, Millis(self.now)))

    def lose_patience(self) -> list[Effect]:
        """Let the time of the current view's timer come."""
        view = self.agreement.view
        timer = [
            effect
            for effect in self.seen
            if isinstance(effect, Timer) and effect.token.is_patience and effect.token.view == view
        ][-1]
        self.now = timer.at_ms
        return self.take(self.agreement.on_timer(timer.token, Millis(self.now)))

    def accept(self, header: Header) -> list[Effect]:
        """Tell a proposal and execute it."""
        return self.tell(Proposal(header)) + self.execute(header)


def casts(effects: list[Effect]) -> list[tuple[int, VoteKind, Hash]]:
    return [(effect.view, effect.kind, effect.block) for effect in effects if isinstance(effect, CastVote)]


def kinds(effects: list[Effect]) -> set[type]:
    return {type(effect) for effect in effects}


def bystander(views: int = 6) -> KeyPair:
    """A validator that leads none of the first views, as far as there is one."""
    return min(KEYS[:4], key=lambda key: sum(LEADERS[view] == key.account for view in range(1, views)))


ME = bystander()
BLOCK1 = propose_on(SET, ROOT, 1, 0).header
ID1 = block_id(BLOCK1)
BLOCK2 = propose_on(SET, BLOCK1, 2, 1).header
ID2 = block_id(BLOCK2)
