"""Which statements about devices a plan takes: a table from kinds of statement to those who judge them.

A registrar's signature is asked of every kind. What else must hold is the kind's own business: nothing for "software",
whose measurement is what the registrar has looked at. Kinds whose evidence comes from hardware (a TPM's quote, SEV's
report) are known by name and not installed: a verifier for one is added here, for all nodes at once, by an upgrade of
the rules, since every node must come to the same verdict.

Rules of this file: pure; a verdict is a reason in words, or None.
"""

from collections.abc import Mapping
from typing import Final, Protocol

from chain.ids import AccountId, Height
from chain.statement import DeviceStatement
from fl.plan.schema import Attestation, NoAttestation


class StatementVerifier(Protocol):
    """Judges one kind of statement beyond its registrar's signature."""

    def find_fault(self, statement: DeviceStatement, device: AccountId) -> str | None:
        """Return what is wrong with the evidence in a statement's measurement; None if nothing is."""
        ...


class SoftwareStatements:
    """Statements that rest on the registrar's word alone: it has looked at the device, or at who keeps it."""

    def find_fault(self, statement: DeviceStatement, device: AccountId) -> str | None:
        """Return None: there is nothing else to look at."""
        return None


VERIFIERS: Final[Mapping[str, StatementVerifier]] = {"software": SoftwareStatements()}


def find_statement_fault(
    policy: Attestation, statement: DeviceStatement | None, chain_id: str, device: AccountId, height: Height
) -> str | None:
    """Return why a plan does not take a device that carries this statement, at this height; None if it does."""
    if isinstance(policy, NoAttestation):
        return None if statement is None else "the plan asks for no statement: join with plan.join"
    if statement is None:
        return "the plan takes devices with a registrar's statement alone: join with plan.join_attested"
    if statement.kind not in policy.kinds:
        return f"a statement of the kind {statement.kind!r}; the plan takes {', '.join(policy.kinds)}"
    verifier = VERIFIERS.get(statement.kind)
    if verifier is None:
        return f"no verifier of {statement.kind!r} is installed; there are {', '.join(VERIFIERS)}"
    if statement.registrar not in policy.registrars:
        return f"a statement of {statement.registrar.hex()}, which is none of the plan's registrars"
    if statement.expiry < height:
        return f"the statement held until height {statement.expiry}; this is {height}"
    if policy.measurements and statement.measurement not in policy.measurements:
        return f"the measurement {statement.measurement.hex()[:64]} is none of those that the plan takes"
    if not statement.is_signed(chain_id, device):
        return "the registrar has not signed this about this device on this chain"
    return verifier.find_fault(statement, device)
