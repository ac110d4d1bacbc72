"""The keyring of the operating system, through the package ``keyring``, which is an extra: fedchain[keyring]."""

from types import ModuleType

from storage.errors import KeystoreError

_INSTEAD = "use a password (--password-file)"


class SystemKeyring:
    """A ``storage.datakey.SecretKeeper``: Secret Service, KWallet, macOS Keychain, whatever ``keyring`` finds."""

    def get(self, service: str, user: str) -> str | None:
        """Return a secret; None if there is none of that name. ``KeystoreError`` if nobody can be asked."""
        keyring = _load()
        try:
            kept: str | None = keyring.get_password(service, user)
        except keyring.errors.KeyringError as error:
            raise _fault(error) from None
        return kept

    def set(self, service: str, user: str, secret: str) -> None:
        """Keep a secret. ``KeystoreError`` if it is not taken."""
        keyring = _load()
        try:
            keyring.set_password(service, user, secret)
        except keyring.errors.KeyringError as error:
            raise _fault(error) from None


def _load() -> ModuleType:
    try:
        import keyring
        import keyring.errors
    except ModuleNotFoundError:
        raise KeystoreError(
            f"the package keyring is not installed: pip install 'fedchain[keyring]', or {_INSTEAD}"
        ) from None
    module: ModuleType = keyring
    return module


def _fault(error: Exception) -> KeystoreError:
    text = str(error).strip() or type(error).__name__
    return KeystoreError(f"the system's keyring can't be used ({text:.200}): unlock it, or {_INSTEAD}")
