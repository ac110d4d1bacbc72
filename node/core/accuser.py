"""Evidence on its way to the chain: brought there by a validator that saw the offence, if that does not cost it.

Every validator hears both messages of an offence, so each can bring the evidence, and the first is paid. Who has no
coins for the fee leaves it to the others. A fine may be so small that its reward is less than the fee: then nobody is
expected to pay for it, but whoever is set to (``mining.accuse``).
"""

from chain.codec import encode
from chain.genesis import PosParameters
from chain.ids import AccountId
from chain.transaction import SubmitEvidence
from consensus.fees import get_minimum_fee
from consensus.pos.evidence import Evidence
from consensus.pos.validators import ValidatorSet
from consensus.pos.votes import signer_of
from consensus.staking.slashing import get_evidence_reward
from consensus.state import get_account
from node.core.chain import Chain
from node.core.messages import OwnTransaction
from node.core.own import measure_longest
from node.core.turn import Turn
from node.notices import RoleNotice
from node.world import World


class Accuser:
    """Submits what the agreement accuses somebody of."""

    def __init__(self, world: World, parameters: PosParameters, chain: Chain, *, at_a_loss: bool) -> None:
        """``at_a_loss``: submit evidence though its fee exceeds the reward."""
        self._world = world
        self._parameters = parameters
        self._chain = chain
        self._at_a_loss = at_a_loss

    def accuse(self, evidence: Evidence, set: ValidatorSet, turn: Turn) -> None:
        """Bring an offence of a member of ``set`` to the chain; who accuses first is paid for it."""
        body = SubmitEvidence(encode(evidence))
        offender = signer_of(set, evidence.first)
        fault = self._find_objection(body, offender)
        if fault:
            text = f"validator {offender.hex()} signed two messages that contradict each other; {fault}"
            turn.publish(RoleNotice("node", b"", text))
        else:
            turn.tell(OwnTransaction(body))

    def _find_objection(self, body: SubmitEvidence, offender: AccountId) -> str:
        view = self._chain.view
        fee = get_minimum_fee(self._chain.rules, measure_longest(self._world, body))
        balance = get_account(view, self._world.key.account).balance
        if balance < fee:
            return f"this node has {balance} coins, the evidence would cost {fee}: others have heard it too"
        reward = get_evidence_reward(view, self._parameters, offender)
        if reward < fee and not self._at_a_loss:
            return (
                f"the evidence would cost {fee} coins and earn {reward}: it is not submitted, unless mining.accuse is "
                '"always"'
            )
        return ""
