"""A small device's side: readings become deliveries, kept in an outbox until every gateway has said it keeps them.

    DIR/last         the number of the last delivery that was made, and the label of its last reading
    DIR/out.NUMBER   deliveries made and not yet kept by all, one for each gateway; deleted once they are

Labels only rise. Nothing is sent before both files are written, and what is sent is what is in the outbox: after a
crash the very same bytes go out again, and gateways know them. A delivery whose number ``last`` does not have yet was
never sent, and is made anew.

Rules of this file: deliveries go out in the order of their numbers. A gateway that is away is tried again for a while.
"""

import asyncio
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from chain.codec import Record, decode, encode
from chain.errors import CodecError
from chain.keys import KeyPair
from fl.sharing.delivery import MAX_DELIVERY_BYTES, Reading, check_receipt, make_deliveries
from fl.sharing.group import Gateway, SharingGroup
from node.errors import GatewayError
from node.gateway.client import GatewayClient
from storage.errors import DamagedError
from storage.files import write_file

_FIRST_PAUSE: Final = 0.2
_LONGEST_PAUSE: Final = 5.0
_MAX_OUT_BYTES: Final = 1 << 26


class Outgoing(Record):
    """Deliveries of one number, in the order of the group's gateways."""

    group: bytes
    deliveries: tuple[bytes, ...]


class Outbox:
    """What a device has still to send to one group."""

    def __init__(self, path: Path, group: SharingGroup, key: KeyPair) -> None:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path, self._group, self._key = path, group, key
        self._number, self._label = self._read_last()

    @property
    def label(self) -> str:
        """The last label that was sent or is to be; readings go out with later ones alone."""
        return self._label

    def _read_last(self) -> tuple[int, str]:
        file = self._path / "last"
        if not file.exists():
            return 0, ""
        number, _, label = file.read_text(encoding="utf-8", errors="replace").strip().partition(" ")
        if not number.isdecimal():
            raise DamagedError(f"{file}: {number[:20]!r} is no number. Write one there above that of the last delivery")
        return int(number), label

    def add(self, readings: Sequence[Reading]) -> None:
        """Make deliveries of readings with rising labels; durable on return. ``DataError`` for what can't be sent."""
        made = make_deliveries(self._group, self._key, self._number + 1, readings, os.urandom)
        self._number, self._label = self._number + 1, readings[-1].label
        out = self._path / f"out.{self._number:012}"
        write_file(out, encode(Outgoing(self._group.id, tuple(made))))
        write_file(self._path / "last", f"{self._number} {self._label}\n".encode())

    async def flush(self, client: GatewayClient, patience: float) -> int:
        """Send what is there; return how many deliveries all gateways keep now.

        ``patience``: seconds that a gateway may be away. ``GatewayError`` if it is longer, or refuses; what was not
        sent stays here.
        """
        sent = 0
        for file in sorted(self._path.glob("out.*")):
            if int(file.name.removeprefix("out.")) > self._number:
                file.unlink()  # a crash came before ``last`` had it
                continue
            try:
                out = decode(file.read_bytes(), Outgoing, _MAX_OUT_BYTES)
            except CodecError as error:
                raise DamagedError(f"{file}: {error}. Delete it; its readings are lost") from None
            if out.group != self._group.id or len(out.deliveries) != len(self._group.gateways):
                raise DamagedError(f"{file}: made with another group file. Send it with that one, or delete it")
            await asyncio.gather(
                *(
                    self._send(client, gateway, data, patience)
                    for gateway, data in zip(self._group.gateways, out.deliveries, strict=True)
                )
            )
            file.unlink()
            sent += 1
        return sent

    async def _send(self, client: GatewayClient, gateway: Gateway, data: bytes, patience: float) -> None:
        assert len(data) <= MAX_DELIVERY_BYTES
        end, pause = time.monotonic() + patience, _FIRST_PAUSE
        while True:
            try:
                receipt = await client.post(gateway.url, "/deliver", data, 64)
                if check_receipt(gateway.account, data, receipt):
                    return
                raise GatewayError(
                    f"{gateway.url}: the receipt is not the gateway's; somebody else answers there", is_final=True
                )
            except GatewayError as error:
                if error.is_final or time.monotonic() + pause > end:
                    raise
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
