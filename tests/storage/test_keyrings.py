"""The system's keyring, by way of the package that knows them: what it says is passed on, what it can't is told."""

import sys
from types import ModuleType

import pytest

from storage.datakey import Keyring
from storage.datastore import DataStore, make_limits
from storage.errors import KeystoreError
from storage.keyrings import SystemKeyring


class KeyringError(Exception):
    """As the package's own."""


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The package ``keyring`` with a keyring in memory; ``locked`` makes it refuse."""
    kept: dict[tuple[str, str], str] = {}
    module, errors = ModuleType("keyring"), ModuleType("keyring.errors")
    errors.KeyringError = KeyringError
    module.errors, module.locked = errors, False

    def check() -> None:
        if module.locked:
            raise KeyringError("the collection is locked")

    def get_password(service: str, user: str) -> str | None:
        check()
        return kept.get((service, user))

    def set_password(service: str, user: str, secret: str) -> None:
        check()
        kept[service, user] = secret

    module.get_password, module.set_password, module.kept = get_password, set_password, kept
    monkeypatch.setitem(sys.modules, "keyring", module)
    monkeypatch.setitem(sys.modules, "keyring.errors", errors)
    return module


def test_a_store_opens_with_the_users_keyring_and_with_nothing_else(tmp_path, package):
    """One entry a store, named after it; a keyring that is locked or forgot it is told from a wrong password."""
    opener = Keyring(SystemKeyring())
    store = DataStore.create(tmp_path / "store", opener, b"", make_limits(10**7))
    store.append([b"row"], [1])
    assert list(package.kept) == [("fedchain data store", store.id.hex())]
    assert [batch.rows for batch in DataStore(tmp_path / "store", opener).read()] == [(b"row",)]
    package.locked = True
    for attempt in (lambda: DataStore(tmp_path / "store", opener), lambda: SystemKeyring().set("a", "b", "c")):
        with pytest.raises(KeystoreError, match=r"collection is locked\): unlock it, or use a password"):
            attempt()
    package.locked = False
    package.kept.clear()
    with pytest.raises(KeystoreError, match="has no entry"):
        DataStore(tmp_path / "store", opener)


def test_without_the_package_it_says_how_to_get_it(monkeypatch):
    """It is an extra: nothing else needs it."""
    monkeypatch.setitem(sys.modules, "keyring", None)
    with pytest.raises(KeystoreError, match=r"pip install 'fedchain\[keyring\]'"):
        SystemKeyring().get("a", "b")
