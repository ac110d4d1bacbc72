"""A registrar's statement about a device in a file, from the one's machine to the other's.

JSON: chain_id, device, kind, registrar, expiry, measurement, signature; keys, bytes and signature in hex.
"""

import json
from pathlib import Path

from chain.codec import decode, encode
from chain.errors import CodecError
from chain.ids import AccountId, Height
from chain.statement import DeviceStatement
from node.errors import StartupError

_MAX_BYTES = 16 * 1024
_REMEDY = "ask the registrar for it again: fedchain device vouch"


def write_statement(statement: DeviceStatement, chain_id: str, device: AccountId) -> str:
    """Return the file's text."""
    document = {
        "chain_id": chain_id,
        "device": device.hex(),
        "kind": statement.kind,
        "registrar": statement.registrar.hex(),
        "expiry": statement.expiry,
        "measurement": statement.measurement.hex(),
        "signature": statement.signature.hex(),
    }
    return json.dumps(document, indent=2) + "\n"


def read_statement(path: Path, chain_id: str, device: AccountId) -> DeviceStatement:
    """Return the statement in a file. ``StartupError`` unless it is a registrar's about this device on this chain."""
    try:
        with path.open("rb") as stream:
            document = json.loads(stream.read(_MAX_BYTES))
        statement = DeviceStatement(
            str(document["kind"]),
            AccountId(bytes.fromhex(document["registrar"])),
            Height(document["expiry"]),
            bytes.fromhex(document["measurement"]),
            bytes.fromhex(document["signature"]),
        )
        statement = decode(encode(statement), DeviceStatement)
    except OSError as error:
        raise StartupError(f"statement {path}: can't be read: {error.strerror}", _REMEDY) from None
    except (ValueError, TypeError, KeyError, RecursionError, CodecError):
        raise StartupError(f"statement {path}: is no statement about a device", _REMEDY) from None
    if not statement.is_signed(chain_id, device):
        told = f"it is not about {device.hex()} on {chain_id!r}, or not signed by the registrar that it names"
        raise StartupError(f"statement {path}: {told}", _REMEDY)
    return statement
