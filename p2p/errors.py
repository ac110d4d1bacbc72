"""What can go wrong between peers.

    P2PError
    ├── ProtocolError     the peer broke the protocol: its connection is closed with this reason
    │   ├── FrameError    a frame too long, or of no known class
    │   ├── MessageError  bytes that are no message, or a message out of place
    │   ├── OveruseError  more than its share of our time or bytes, for long
    │   └── HandshakeError  another chain, another version, or a signature that proves nothing
    │       └── SelfConnectionError  the peer is this node
    ├── EndpointError     a text that is no ``host:port``
    ├── SavedPeersError   a file that is no list of peers
    └── IdentityError     a certificate that carries no Ed25519 key

Only the peer can cause a ``ProtocolError``; a mistake of ours is another exception and stops the node.
"""


class P2PError(Exception):
    """Base of every error this room raises."""


class ProtocolError(P2PError):
    """A peer broke the protocol."""


class FrameError(ProtocolError):
    """A frame is longer than its class allows here, or of an unknown class."""


class MessageError(ProtocolError):
    """A frame's bytes are not a message of its class, or the message is out of place."""


class OveruseError(ProtocolError):
    """A peer asks or tells so much that it would crowd out others, and went on when it was not heard any more."""


class HandshakeError(ProtocolError):
    """The peers cannot work together, or one did not prove who it is."""


class SelfConnectionError(HandshakeError):
    """The node dialled itself."""


class EndpointError(P2PError):
    """A text does not name a host and a port."""


class SavedPeersError(P2PError):
    """A file does not hold what a node remembers of its peers."""


class IdentityError(P2PError):
    """A certificate does not carry a node's key."""
