"""Faults in how news of blocks travels: who is asked for quiet, who is told again, bodies that come unasked."""

from typing import Final

from tests.mutants.base import Mutant

_RELAYS: Final = "tests/node/core/test_relays.py"
_HOSTILE: Final = "tests/node/core/test_relays_hostile.py"
_WIRE: Final = "tests/p2p/test_relay.py"

MUTANTS: Final = (
    Mutant(
        "whoever tells of a block may keep it",
        "node/core/relays.py",
        "        if self._is_late and self._quiet:",
        "        if False:",
        (_RELAYS, _HOSTILE),
    ),
    Mutant(
        "nobody is asked to tell again when one who told is gone",
        "node/core/relays.py",
        "        elif peer in self._tellers or peer in self._last_tellers:",
        "        elif False:",
        (_RELAYS,),
    ),
    Mutant(
        "who told of the last block alone is not missed",
        "node/core/relays.py",
        "        elif peer in self._tellers or peer in self._last_tellers:",
        "        elif peer in self._tellers:",
        (_RELAYS,),
    ),
    Mutant(
        "those who call first may be all that a node hears",
        "node/core/relays.py",
        "        return not chosen(peer) or any(map(chosen, self._tellers))",
        "        return True",
        (_RELAYS,),
    ),
    Mutant(
        "who kept a block back is relied on with the next",
        "node/core/relays.py",
        "        self._resting = self._rest\n",
        "        self._resting = 0\n",
        (_RELAYS,),
    ),
    Mutant(
        "who tells a block twice counts as two",
        "node/core/relays.py",
        "place == self._place and peer not in self._tellers and peer",
        "place == self._place and peer",
        (_RELAYS,),
    ),
    Mutant(
        "who comes and goes has peers asked for quiet beyond their rate",
        "node/core/relays.py",
        "            if turn.now >= self._calm_until and self._are_enough(peer):",
        "            if self._are_enough(peer):",
        (_RELAYS,),
    ),
    Mutant(
        "peers are asked for quiet while the head is old",
        "node/core/relays.py",
        "        if self._resting or self._is_late or len(self._tellers) < TELLERS:",
        "        if self._resting or len(self._tellers) < TELLERS:",
        (_RELAYS,),
    ),
    Mutant(
        "a peer that wants quiet is told of heads",
        "p2p/gossip.py",
        "            if header is None or self._links.ready[peer].wants_quiet:",
        "            if header is None:",
        (_WIRE,),
    ),
    Mutant(
        "a peer that wants quiet is told what is final",
        "p2p/enginegossip.py",
        "            if sparing and session.wants_quiet:",
        "            if False:",
        (_WIRE,),
    ),
    Mutant(
        "a peer that wants to hear again waits for the next block",
        "p2p/quiet.py",
        "        if was_quiet and not message.quiet:",
        "        if False:",
        (_WIRE,),
    ),
    Mutant(
        "quiet is asked of peers that do not know the word",
        "p2p/quiet.py",
        "        if session is not None and session.established.version >= RELAY_VERSION:",
        "        if session is not None:",
        (_WIRE,),
    ),
    Mutant(
        "asking to be told costs a node its head, quiet or not",
        "p2p/quiet.py",
        "        if was_quiet and not message.quiet:",
        "        if not message.quiet:",
        (_WIRE,),
    ),
    Mutant(
        "a body of any size comes unasked",
        "p2p/fetcher.py",
        "            if len(encode(message.body)) > find_most(session):",
        "            if False:",
        (_WIRE,),
    ),
    Mutant(
        "a proposal brings its body to whoever is named, whatever version it speaks",
        "p2p/network.py",
        "session is not None and session.established.version >= PROPOSAL_VERSION:",
        "session is not None:",
        (_WIRE,),
    ),
    Mutant(
        "a leader tells everybody who follows before the votes are there",
        "node/core/headstart.py",
        "list(followers)[:FOLLOWERS]",
        "list(followers)",
        ("tests/node/core/test_headstart.py",),
    ),
    Mutant(
        "what its own device released a node never checks",
        "node/core/updates.py",
        "        if self._own_queue and turn.now >= self._own_from:",
        "        if False:",
        ("tests/node/core/test_updates.py",),
    ),
    Mutant(
        "a body that came unasked is any block's",
        "p2p/smallbodies.py",
        "            if message.id == block:",
        "            if True:",
        (_WIRE,),
    ),
    Mutant(
        "what a peer sent unasked outlasts it",
        "p2p/smallbodies.py",
        "        self._held.pop(session.peer, None)",
        "        pass",
        (_WIRE,),
    ),
    Mutant(
        "unasked bodies are handed over again and again",
        "p2p/smallbodies.py",
        "                del self._held[peer]\n",
        "",
        (_WIRE,),
    ),
)
