"""Genesis: the first state of a network and the rules that switch on by height.

``genesis.json`` is the document people read and edit; its canonical encoding is what nodes compare: its
digest is the chain's identity, shown in the handshake and in every header's ``chain_id`` + genesis block.
"""

from typing import Annotated

from msgspec import Meta

from chain.codec import Record, encode
from chain.hashing import DOMAIN_GENESIS, digest
from chain.ids import AccountField, Amount, AmountField, Hash, HeightField, MillisField, Natural, ShortText


class Allocation(Record):
    """Coins that exist from the start."""

    account: AccountField
    amount: AmountField


class Rules(Record):
    """The numbers of the protocol from ``height`` on. A schedule lists one ``Rules`` per planned fork.

    version             protocol version; a node that does not know it stops with a clear message
    max_block_bytes     canonical bytes of a block's body
    max_payload_bytes   of one payload
    max_block_payload_bytes  of all payloads a block refers to
    max_block_work      sample × coordinate units (docs/ledger.md) a block's settling may cost
    subsidy             coins created for the producer of a block
    subsidy_halving     blocks after which the subsidy halves; 0 = never
    min_fee_per_byte    fee a transaction owes for each byte of its signed encoding
    work_price          coins a plan pays for each 10**6 work units of its declared maximum
    stamp_bits          leading zero bits of a device registration's stamp
    min_bond            coins a miner bonds to be assigned updates
    max_miners          registered miners at most
    miner_fallback_blocks  blocks of silence after which the next miner in beacon order is eligible too
    algorithms, policies   names that plans may use from this height on
    """

    height: HeightField
    version: Natural
    max_block_bytes: Natural
    max_payload_bytes: Natural
    max_block_payload_bytes: Natural
    max_block_work: Natural
    subsidy: AmountField
    subsidy_halving: Natural
    min_fee_per_byte: Natural
    work_price: Natural
    stamp_bits: Annotated[int, Meta(ge=0, le=64)]
    min_bond: AmountField
    max_miners: Natural
    miner_fallback_blocks: Natural
    algorithms: tuple[ShortText, ...]
    policies: tuple[ShortText, ...]

    def subsidy_at(self, height: int) -> Amount:
        """Return the coins that these rules create for the producer of a block of this height; genesis has none."""
        if height == 0:
            return Amount(0)
        return Amount(self.subsidy >> (height // self.subsidy_halving if self.subsidy_halving else 0))


class PowParameters(Record, tag="pow"):
    """Proof of work: target block interval, easiest and first target, ASERT half-life, reorganisation limit.

    ``initial_target``: a hash must not exceed it at height 1 (256-bit big-endian). ``max_reorg`` in blocks.
    """

    block_ms: MillisField
    initial_target: Annotated[bytes, Meta(min_length=32, max_length=32)]
    half_life_ms: MillisField
    max_future_ms: MillisField
    max_reorg: Natural


class GenesisValidator(Record):
    """A validator from the start, and its stake: coins that exist beside the allocations, bonded from block 0."""

    account: AccountField
    stake: AmountField


class PosParameters(Record, tag="pos"):
    """Proof of stake: the clock of blocks and votes, epochs, and what a validator may lose and why.

    block_ms         least time between a block and its parent
    delta_ms         how long a message takes at most on a network that works; a leader is given up after three
    max_future_ms    how far a header may be ahead of a node's clock
    epoch_blocks     blocks of an epoch; the set of validators changes after the last of them alone
    validators       those of epoch 0, with their stakes
    permissioned     a consortium: the validators never change, nobody bonds or unbonds
    registrars       accounts that permit devices; with any, a device needs a permit to register, and no stamp
    min_stake        coins a validator stakes at least; max_validators: those of an epoch, the largest stakes first
    unbonding_blocks blocks after an epoch in which evidence about it counts; coins that leave wait for that,
                     and for two epochs, and can be slashed until then
    slash_ppm        share of stake and unbonding coins lost for an offence, parts per million
    evidence_reward_ppm  share of what was slashed for who submitted the evidence; the rest is burnt
    absent_slots     own turns to lead, missed in a row, that put a validator in jail for ``jail_blocks`` at least
    """

    block_ms: MillisField
    delta_ms: MillisField
    max_future_ms: MillisField
    epoch_blocks: Natural
    validators: tuple[GenesisValidator, ...]
    permissioned: bool
    registrars: tuple[AccountField, ...]
    min_stake: AmountField
    max_validators: Natural
    unbonding_blocks: Natural
    slash_ppm: Natural
    evidence_reward_ppm: Natural
    absent_slots: Natural
    jail_blocks: Natural


EngineParameters = PowParameters | PosParameters


class Genesis(Record):
    """The whole genesis document. ``schedule`` is ordered by height and starts at 0."""

    chain_id: ShortText
    prefix: Annotated[str, Meta(min_length=1, max_length=16, pattern=r"^[a-z]+\Z")]
    time_ms: MillisField
    allocations: tuple[Allocation, ...]
    schedule: Annotated[tuple[Rules, ...], Meta(min_length=1)]
    engine: EngineParameters

    @property
    def id(self) -> Hash:
        """SHA-256 of the canonical bytes under the genesis domain."""
        return digest(DOMAIN_GENESIS, encode(self))

    @property
    def founding(self) -> "Genesis":
        """The genesis as the network began with it: this one (``chain.upgrades`` has one with later rules)."""
        return self

    @property
    def all_rules(self) -> tuple[Rules, ...]:
        """All rules that are known to come into force, by height."""
        return self.schedule

    def rules_at(self, height: int) -> Rules:
        """Return the rules in force at a height."""
        return max((rules for rules in self.all_rules if rules.height <= height), key=lambda rules: rules.height)
