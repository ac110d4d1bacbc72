"""Records of the chain as JSON: accounts as addresses, other bytes as hex, tags as ``kind``, numbers as decimals.

What is an account is read off the record's own types, so a new record needs nothing here.
"""

from functools import cache
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from chain.address import format_account
from chain.codec import Record
from chain.ids import AccountId
from chain.number import Number

_ACCOUNT_NAMES = frozenset({"peer"})
"""Fields that hold accounts and are typed as plain bytes, because they may be empty."""


def show(value: object, prefix: str) -> Any:
    """Return the JSON form of a record or of a value in one; ``prefix`` is the network's, for addresses."""
    if isinstance(value, Number):
        return str(value)
    if isinstance(value, Record):
        tag = value.__struct_config__.tag
        shown: dict[str, Any] = {} if tag is None else {"kind": tag}
        accounts = _account_fields(type(value))
        for name in value.__struct_fields__:
            part = getattr(value, name)
            shown[name] = _show_accounts(part, prefix) if name in accounts else show(part, prefix)
        return shown
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, tuple | list):
        return [show(item, prefix) for item in value]
    return value


def _show_accounts(value: object, prefix: str) -> Any:
    if isinstance(value, tuple | list):
        return [_show_accounts(item, prefix) for item in value]
    if isinstance(value, bytes) and len(value) == 32:
        return format_account(AccountId(value), prefix)
    return show(value, prefix)


@cache
def _account_fields(kind: type[Record]) -> frozenset[str]:
    hints = get_type_hints(kind, include_extras=True)
    if kind.__struct_config__.tag is not None and "kind" in hints:
        raise TypeError(f"{kind.__name__} has a field that would hide its tag")
    return frozenset(name for name, hint in hints.items() if name in _ACCOUNT_NAMES or _is_account(hint))


def _is_account(hint: object) -> bool:
    if hint is AccountId:
        return True
    if get_origin(hint) is Annotated or get_origin(hint) is tuple:
        return _is_account(get_args(hint)[0])
    return False
