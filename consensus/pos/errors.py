"""What this engine says of messages it cannot take.

ConsensusError
├── MessageFault    only a broken or hostile node sends this: blame the peer
└── EvidenceFault   this evidence proves nothing
"""

from consensus.errors import ConsensusError


class MessageFault(ConsensusError):  # noqa: N818 - a verdict's name
    """A consensus message that no honest node sends: not decodable, not signed as it says, not from a validator."""


class EvidenceFault(ConsensusError):  # noqa: N818 - a verdict's name
    """Evidence that does not prove an offence, with the reason."""
