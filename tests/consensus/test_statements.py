"""Statements about devices: a plan that asks for one takes nobody without, and says why."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from chain.ids import ZERO_HASH, AccountId, Hash, Height
from chain.keys import KeyPair
from chain.statement import DeviceStatement, StatementText, state
from chain.transaction import JoinAttested, JoinPlan
from consensus.state import get_enrolment
from consensus.statements import VERIFIERS, find_statement_fault
from fl.plan.checks_attestation import INSTALLED, NAMED
from fl.plan.schema import ByRegistrar, NoAttestation, Plan, decode_plan, encode_plan
from fl.plan.validate import check_plan
from tests.consensus.harness import CHAIN, DEVICES, Chain, make_plan, make_rules
from tests.consensus.test_transactions import refusal

REGISTRAR, STRANGER = KeyPair(b"r" * 32), KeyPair(b"s" * 32)
DEVICE = DEVICES[0].account
MEASURED = b"image 7"
POLICY = ByRegistrar((REGISTRAR.account,), ("software",), ())


def vouched(**changes: object) -> DeviceStatement:
    """A good statement about the device, or one that is about something else."""
    given = {"chain_id": CHAIN, "device": DEVICE, "kind": "software", "expiry": 50, "measurement": MEASURED}
    key = changes.pop("key", REGISTRAR)
    assert isinstance(key, KeyPair)
    return state(key, StatementText(**(given | changes)))


def fault(statement: DeviceStatement | None, policy: ByRegistrar | NoAttestation = POLICY, height: int = 50) -> str:
    return find_statement_fault(policy, statement, CHAIN, DEVICE, Height(height)) or ""


def test_a_registrars_statement_opens_the_plan_until_it_ends():
    """At its last height it still does."""
    assert fault(vouched()) == ""
    assert fault(vouched(), replace(POLICY, measurements=(b"other", MEASURED))) == ""
    assert "held until height 50; this is 51" in fault(vouched(), height=51)
    assert fault(None, NoAttestation()) == ""


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        (None, "a registrar's statement alone"),
        (vouched(kind="tpm"), "of the kind 'tpm'; the plan takes software"),
        (vouched(key=STRANGER), "none of the plan's registrars"),
        (vouched(device=DEVICES[1].account), "has not signed this about this device"),
        (vouched(chain_id="other"), "has not signed this about this device on this chain"),
        (replace(vouched(), measurement=b"image 8"), "has not signed"),
        (replace(vouched(), expiry=10**6), "has not signed"),
        (replace(vouched(key=STRANGER), registrar=REGISTRAR.account), "has not signed"),
    ],
)
def test_any_other_is_refused_by_name(statement, said):
    """Nothing of a statement can be changed or lent to another device."""
    assert said in fault(statement)


def test_a_measurement_that_the_plan_does_not_take_is_refused():
    """The registrar has looked at another image."""
    assert "the measurement 696d6167652037 is none of those" in fault(vouched(), replace(POLICY, measurements=(b"x",)))


def test_hardware_kinds_are_known_and_not_installed():
    """A plan that asks for one is refused when it is submitted; a statement of one opens nothing."""
    assert tuple(VERIFIERS) == INSTALLED
    for kind in NAMED:
        assert f"no verifier of '{kind}' is installed" in fault(vouched(kind=kind), replace(POLICY, kinds=(kind,)))
        assert [one.field for one in check_plan(asking(kinds=(kind,)))] == ["attestation.kinds"]


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=64), st.integers(0, 60), st.sampled_from(["software", "sev", ""]), st.booleans())
def test_only_what_the_registrar_has_signed_opens_a_plan(measurement, expiry, kind, is_touched):
    """Whatever else a statement says."""
    true = vouched(measurement=measurement, expiry=expiry, kind=kind)
    signature = bytes([true.signature[0] ^ is_touched]) + true.signature[1:]
    is_open = not fault(replace(true, signature=signature))
    assert is_open == (kind == "software" and expiry >= 50 and not is_touched)


# --- plans and chains ----------------------------------------------------------------------------


def asking(**changes: object) -> Plan:
    """A plan that takes nobody without a statement."""
    return replace(make_plan(blocks=(20, 3, 2)), version=2, attestation=replace(POLICY, **changes))


def test_a_plan_that_asks_survives_its_encoding_and_older_ones_stay_as_they_were():
    """The section is written in format 2 alone."""
    plan = asking(measurements=(MEASURED,))
    assert decode_plan(encode_plan(plan)) == plan
    assert encode_plan(make_plan()) == encode_plan(replace(make_plan(), attestation=NoAttestation()))
    assert not check_plan(plan)


@pytest.mark.parametrize(
    ("plan", "fields"),
    [
        (asking(registrars=()), ["attestation.registrars"]),
        (asking(registrars=(REGISTRAR.account,) * 2), ["attestation.registrars"]),
        (asking(registrars=(AccountId(bytes(32)),)), ["attestation.registrars"]),
        (asking(kinds=()), ["attestation.kinds"]),
        (asking(kinds=("magic",)), ["attestation.kinds"]),
        (asking(measurements=tuple(bytes([n]) for n in range(65))), ["attestation.measurements"]),
        (replace(asking(), version=1), ["attestation"]),
    ],
)
def test_what_nobody_could_join_is_refused_at_submission(plan, fields):
    """By field, with what is allowed."""
    assert fields == sorted({problem.field.split("[")[0] for problem in check_plan(plan)})


def test_a_chain_takes_vouched_devices_alone_and_says_why():
    """A plain join, a stranger's statement and another device's are refused; the registrar's is not."""
    chain = Chain(make_rules(version=3))
    name, other = chain.submit(asking()), chain.submit(make_plan(nonce=1, blocks=(20, 3, 2)))
    device = DEVICES[0]
    chain.register(device)
    chain.mine()
    for body in (
        JoinPlan(name, "clinic", 20, ZERO_HASH),
        attested(name, vouched(key=STRANGER)),
        attested(name, vouched(device=DEVICES[1].account)),
        attested(name, vouched(expiry=chain.height)),
        attested(other, vouched()),
    ):
        assert refusal(chain, chain.sign(device, body)).rule == "plan.join.attestation"
    joined = chain.send(device, attested(name, vouched()))
    chain.mine()
    assert joined.id not in chain.rejected
    assert get_enrolment(chain, name, device.account) is not None


def attested(plan: Hash, statement: DeviceStatement) -> JoinAttested:
    return JoinAttested(plan, "clinic", 20, ZERO_HASH, statement)
