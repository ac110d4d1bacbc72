"""The door of a gateway: an HTTP server that takes deliveries and requests for sums, and hands out the model.

    POST /deliver    a delivery (``fl.sharing.delivery``)     200 and 64 bytes of receipt
    POST /sum        a request (``fl.sharing.sums``)          200 and the reply
    GET  /model                                               200: 64 bytes of signature, the model's file

Anything else, and whatever is wrong with a message, is a status above 399 and a line of text. Bodies are limited
before they are read, connections as at the RPC's door; strangers cost a signature check.

Rules of this file: HTTP and the store, one after the other: what is answered has been kept.
"""

import asyncio
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from aiohttp import web
from structlog.typing import FilteringBoundLogger

from chain.hashing import digest
from chain.ids import AccountId
from chain.keys import KeyPair, verify
from fl.sharing import sums
from fl.sharing.delivery import MAX_DELIVERY_BYTES, open_delivery, read_head, sign_receipt
from fl.sharing.group import SharingGroup
from node.errors import StartupError
from node.gateway.store import GatewayStore
from node.rpc.door import open_door

MAX_MODEL_BYTES: Final = 1 << 26
_DOMAIN_MODEL: Final = b"fedchain/gateway-model"
_HEAD_TIMEOUT: Final = 60.0
"""Seconds that an idle connection is kept open."""


class GatewayDoor:
    """A gateway's server; its groups share the port."""

    def __init__(
        self, key: KeyPair, stores: Sequence[GatewayStore], model: Path | None, logger: FilteringBoundLogger
    ) -> None:
        """``model``: the file handed out; it may appear later, and change."""
        self._key, self._model, self._logger = key, model, logger
        self._stores: Mapping[bytes, GatewayStore] = {store.group.id: store for store in stores}
        self._runner: web.AppRunner | None = None
        self._server: asyncio.Server | None = None

    @property
    def port(self) -> int:
        """The port it listens at, once it does."""
        assert self._server is not None
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def open(self, host: str, port: int) -> None:
        """Listen. ``StartupError`` if the address can't be had."""
        application = web.Application(client_max_size=sums.MAX_REQUEST_BYTES)
        routes = [web.post("/deliver", self._on_deliver), web.post("/sum", self._on_sum)]
        application.add_routes([*routes, web.get("/model", self._on_model)])
        self._runner = web.AppRunner(application, keepalive_timeout=_HEAD_TIMEOUT, access_log=None)
        await self._runner.setup()
        try:
            self._server = await open_door(self._runner, host, port)
        except OSError as error:
            await self._runner.cleanup()
            raise StartupError(f"{host}:{port}: {error.strerror}", "give another --listen HOST:PORT") from None

    async def close(self) -> None:
        """Stop listening, and wait for what is being answered."""
        if self._server is not None:
            self._server.close()
        if self._runner is not None:
            await self._runner.cleanup()

    async def _on_deliver(self, request: web.Request) -> web.Response:
        if (request.content_length or 0) > MAX_DELIVERY_BYTES:
            return _refuse(413, f"a delivery has at most {MAX_DELIVERY_BYTES} bytes")
        data = await request.read()
        head = read_head(data)
        if isinstance(head, str):
            return _refuse(400, head)
        store = self._stores.get(head.group)
        if store is None:
            return _refuse(404, "this gateway is in no such group; both sides need the same group file")
        received = open_delivery(store.group, self._key, data)
        fault = received if isinstance(received, str) else store.take(received)
        if fault is not None:
            self._logger.warning("a delivery was refused", group=store.group.name, fault=fault[:200])
            return _refuse(400, fault)
        return web.Response(body=sign_receipt(self._key, data))

    async def _on_sum(self, request: web.Request) -> web.Response:
        data = await request.read()
        asked = sums.read_request(data)
        if isinstance(asked, str):
            return _refuse(400, asked)
        store = self._stores.get(asked.group)
        if store is None:
            return _refuse(404, "this gateway is in no such group; both sides need the same group file")
        fault = sums.check_request(store.group, self._key.account, asked)
        if fault is not None:
            self._logger.warning("a request for sums was refused", group=store.group.name, fault=fault)
            return _refuse(403, fault)
        answers = answer_all(store, asked.questions)
        return web.Response(body=sums.make_reply(store.group, self._key, data, answers, os.urandom(32)))

    async def _on_model(self, _: web.Request) -> web.Response:
        if self._model is None or not self._model.is_file():
            return _refuse(404, "there is no model here yet")
        data = self._model.read_bytes()
        if len(data) > MAX_MODEL_BYTES:
            return _refuse(404, f"the model has more than {MAX_MODEL_BYTES} bytes")
        return web.Response(body=sign_model(self._key, data) + data)


def answer_all(store: GatewayStore, questions: Sequence[sums.Question]) -> list[sums.Answer]:
    """Return a gateway's answers, after it has kept what it answers."""
    answers, given = [], []
    for question in questions:
        answer = sums.answer(store.group, question, store.held(question.label), store.answered(question.label))
        answers.append(answer)
        if not answer.fault:
            given.append(question)
    store.keep_answered(given)
    return answers


def sign_model(key: KeyPair, data: bytes) -> bytes:
    """Return a gateway's word that this is the model it has."""
    return key.sign(digest(_DOMAIN_MODEL, data))


def open_model(group: SharingGroup, answer: bytes) -> tuple[AccountId, bytes] | None:
    """Return which gateway of the group signed a model, and the model; None if none of them did."""
    signature, data = answer[:64], answer[64:]
    name = digest(_DOMAIN_MODEL, data)
    found = next((one.account for one in group.gateways if verify(one.account, signature, name)), None)
    return None if found is None else (found, data)


def _refuse(status: int, told: str) -> web.Response:
    return web.Response(status=status, text=told[:500] + "\n")
