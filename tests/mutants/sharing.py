"""Faults in what is shared: masks and their secrets, small devices' readings, keys kept by several."""

from typing import Final

from tests.mutants.base import Mutant

_SHARING: Final = ("tests/fl/secure/test_sharing.py",)
_MASKS: Final = ("tests/fl/secure/test_masks.py",)
_SUMS: Final = ("tests/fl/sharing/test_sums.py",)
_KEYS: Final = ("tests/fl/sharing/test_keyshares.py",)
_GATEWAY: Final = ("tests/node/gateway/test_gateway.py",)

MUTANTS: Final = (
    Mutant(
        "shares that give no one secret pass for a sharing",
        "fl/secure/feldman.py",
        "return combine(scalars, points) == IDENTITY",
        "return combine(scalars, points) is not None",
        _SHARING,
    ),
    Mutant(
        "a share is not compared with what was committed to",
        "fl/secure/feldman.py",
        "return times_base(share) == get_point(commitment, number)",
        "return True",
        _SHARING,
    ),
    Mutant(
        "a device gives the share of the other secret",
        "fl/secure/masks/unmask.py",
        "open_box(group, sender, key.account, said, common)[sender in revealed]",
        "open_box(group, sender, key.account, said, common)[sender not in revealed]",
        _MASKS,
    ),
    Mutant(
        "a device answers a second question of a task",
        "fl/secure/masks/unmask.py",
        "if answered is not None and answered != question:",
        "if False:",
        _MASKS,
    ),
    Mutant(
        "half of the devices can open two secrets of one",
        "fl/secure/masks/group.py",
        "return 2 * count // 3 + 1",
        "return count // 2 + 1",
        _MASKS,
    ),
    Mutant(
        "a complaint about a right share is true",
        "fl/secure/masks/unmask.py",
        "    if open_box(group, sender, reader, said, common)[is_own] is not None:",
        "    if False:",
        _MASKS,
    ),
    Mutant(
        "a complaint needs no proof",
        "fl/secure/masks/unmask.py",
        "    if _challenge(group, sender, reader, said, common, heads) != challenge:",
        "    if False:",
        _MASKS,
    ),
    Mutant(
        "what a device shares is good for another task",
        "fl/secure/masks/message.py",
        "return hash_scalar(_DOMAIN_PROOF, group.name, sender, *parts, head)",
        "return hash_scalar(_DOMAIN_PROOF, sender, *parts, head)",
        _MASKS,
    ),
    Mutant(
        "masks between two devices do not cancel",
        "fl/secure/masks/body.py",
        "            add_pair(total, device, other, stream(",
        "            add_pair(total, min(device, other), max(device, other), stream(",
        _MASKS,
    ),
    Mutant(
        "a masked sum may wrap",
        "fl/secure/masks/body.py",
        "    bits = value_bits + (count - 1).bit_length()",
        "    bits = value_bits + count.bit_length() - 1",
        _MASKS,
    ),
    Mutant(
        "a reading can be found by trying",
        "fl/secure/pedersen.py",
        "    return add(times_base(value), hidden)",
        "    return times_base(value)",
        _SUMS,
    ),
    Mutant(
        "a gateway adds up a time for other devices again",
        "fl/sharing/sums.py",
        "    if kept is not None and kept != name_question(question):",
        "    if False:",
        _SUMS,
    ),
    Mutant(
        "a gateway gives the sum of one device",
        "fl/sharing/sums.py",
        "    if len(places) < group.least:",
        "    if False:",
        _SUMS,
    ),
    Mutant(
        "gateways do not compare what a device committed to",
        "fl/sharing/sums.py",
        "        if name_commitment(found.commitment) != term.name:",
        "        if False:",
        _SUMS,
    ),
    Mutant(
        "anybody may ask a gateway for sums",
        "fl/sharing/sums.py",
        "    if not verify(group.collector, request.signature, asked):",
        "    if False:",
        _SUMS,
    ),
    Mutant(
        "a gateway does not look at its share of a reading",
        "fl/sharing/delivery.py",
        "    return pedersen.check_share(gateway, (value, hiding), reading.commitment)",
        "    return True",
        _SUMS,
    ),
    Mutant(
        "anybody delivers readings in a device's name",
        "fl/sharing/delivery.py",
        "    if not verify(device, head.signature, _signed(group, device, key.account, head.number, head.body)):",
        "    if False:",
        _SUMS,
    ),
    Mutant(
        "a delivery is taken again under an old number",
        "node/gateway/store.py",
        "            if last is not None and received.number <= last[0]:",
        "            if False:",
        _GATEWAY,
    ),
    Mutant(
        "a gateway forgets what it has answered",
        "node/gateway/door.py",
        "    store.keep_answered(given)",
        "    store.keep_answered([])",
        _GATEWAY,
    ),
    Mutant(
        "a device believes any receipt",
        "node/gateway/sender.py",
        "                if check_receipt(gateway.account, data, receipt):",
        "                if receipt:",
        _GATEWAY,
    ),
    Mutant(
        "a share of a key is not checked",
        "fl/sharing/keyshares.py",
        "    if value is None or not feldman.check_share(share.number, value, share.commitment):",
        "    if value is None:",
        _KEYS,
    ),
    Mutant(
        "a gateway's readings may stand in each other's places",
        "node/gateway/store.py",
        "        return encode((bytes(self.group.id), kind, label, place))",
        "        return encode((bytes(self.group.id), kind, label))",
        _GATEWAY,
    ),
    Mutant(
        "a gateway keeps readings as they are",
        "node/gateway/store.py",
        "        return seal(self._secret, _PURPOSE, data, self._bound(kind, label, *place))",
        "        return seal(self._secret, _PURPOSE, b'', b'') + data",
        _GATEWAY,
    ),
)
