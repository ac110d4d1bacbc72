"""TLS 1.3 contexts of a node: no authority vouches for anybody, the handshake above binds identity to the certificate.

The standard library can't ask for a self-signed client certificate, so only the listening side shows one; the
peer network's first frames sign its hash (docs/wire.md).
"""

import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from p2p.identity import NodeCertificate


def make_server_context(certificate: NodeCertificate) -> ssl.SSLContext:
    """Return the context of the listening side, which shows the node's own certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.num_tickets = 0  # no resumption: each connection proves itself anew
    with _secret_file(certificate.certificate_pem + certificate.key_pem) as path:
        context.load_cert_chain(path)
    return context


def make_client_context() -> ssl.SSLContext:
    """Return the context of the dialling side: any certificate will do, what it is worth is decided above TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


@contextmanager
def _secret_file(text: bytes) -> Iterator[str]:
    """Lend a path under which OpenSSL finds a secret, in memory where the system can."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("certificate", os.MFD_CLOEXEC)
        try:
            os.write(descriptor, text)
            yield f"/proc/self/fd/{descriptor}"
        finally:
            os.close(descriptor)
    else:
        with TemporaryDirectory() as directory:
            path = Path(directory, "certificate.pem")
            path.touch(mode=0o600)
            path.write_bytes(text)
            yield str(path)
