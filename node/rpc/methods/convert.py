"""Texts of a call to the chain's types and back, with errors that name the parameter."""

from chain.address import format_account, parse_account
from chain.errors import AddressError
from chain.ids import AccountId, Hash
from node.effects import Outcome, Refused
from node.rpc.jsonrpc import INVALID_PARAMS, NOT_FOUND, REFUSED, RpcError
from node.rpc.shapes import Done


def read_id(text: str) -> Hash:
    """Return the id that 64 hex digits (already checked) spell."""
    return Hash(bytes.fromhex(text))


def read_account(text: str, prefix: str) -> AccountId:
    """Return the account that an address names. ``RpcError`` says what is wrong with it."""
    try:
        return parse_account(text, prefix)
    except AddressError as error:
        raise RpcError(INVALID_PARAMS, str(error)) from None


def address(account: AccountId, prefix: str) -> str:
    """Return an account's address."""
    return format_account(account, prefix)


def not_found(what: str, id: str, remedy: str = "") -> RpcError:
    """Return the error for something this node does not have."""
    return RpcError(NOT_FOUND, f"this node has no {what} {id}", remedy)


def done(outcome: Outcome) -> Done:
    """Return an accepted outcome; ``RpcError`` with the rule and the reason of a refused one."""
    if isinstance(outcome, Refused):
        raise RpcError(REFUSED, f"{outcome.rule}: {outcome.reason}")
    return Done(id=outcome.id.hex())
