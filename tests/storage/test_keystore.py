"""Key files: who may read them, what a password protects, and errors that say what is wrong."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chain.keys import KeyPair
from storage.errors import KeystoreError, WrongPasswordError
from storage.keystore import SCRYPT_N, SCRYPT_P, SCRYPT_R, KeyFiles
from storage.memorystores import MemoryKeystore

KEY = KeyPair(bytes(range(32)))
OTHER = KeyPair(bytes(32))


@pytest.fixture(params=["files", "memory"])
def keystore(request: pytest.FixtureRequest, tmp_path: Path):
    return MemoryKeystore() if request.param == "memory" else KeyFiles(tmp_path, scrypt_n=16)


@pytest.fixture
def files(tmp_path: Path) -> KeyFiles:
    return KeyFiles(tmp_path, scrypt_n=16)


def test_keys_are_listed_without_their_passwords(keystore):
    """Names, accounts and whether a password is needed, in order of name."""
    keystore.add("miner-2", KEY, "secret")
    keystore.add("device", OTHER)
    listed = [(info.name, info.account, info.is_encrypted) for info in keystore.list_keys()]
    assert listed == [("device", OTHER.account, False), ("miner-2", KEY.account, True)]
    assert keystore.find("device") == keystore.list_keys()[0]


def test_a_key_comes_back_with_its_password_alone(keystore):
    """Right, wrong, missing and needless passwords are told apart."""
    keystore.add("a", KEY, "secret")
    keystore.add("b", OTHER)
    assert keystore.load("a", "secret").seed == KEY.seed
    assert keystore.load("b").seed == OTHER.seed
    with pytest.raises(WrongPasswordError, match="wrong password for key 'a'"):
        keystore.load("a", "Secret")
    with pytest.raises(WrongPasswordError, match="'a' has a password"):
        keystore.load("a")
    with pytest.raises(WrongPasswordError, match="'b' has no password"):
        keystore.load("b", "secret")


def test_a_name_is_taken_once(keystore):
    """A new key never takes the place of another."""
    keystore.add("a", KEY)
    with pytest.raises(KeystoreError, match="already a key 'a'"):
        keystore.add("a", OTHER)
    assert keystore.load("a").seed == KEY.seed


def test_a_missing_key_is_named(keystore):
    """The error says where it looked."""
    with pytest.raises(KeystoreError, match="no key 'nobody'"):
        keystore.load("nobody")


@pytest.mark.parametrize("name", ["", "../a", "a/b", "A", ".a", "-a", "a" * 65, "ä", "a\n"])
def test_names_can_not_leave_the_directory(keystore, name):
    """A name is a plain word."""
    with pytest.raises(KeystoreError, match="key name"):
        keystore.add(name, KEY)


def test_a_password_can_be_changed_given_and_taken_away(keystore):
    """The old one opens nothing afterwards; with a wrong old one nothing changes."""
    keystore.add("a", KEY)
    assert keystore.change_password("a", None, "one").is_encrypted
    with pytest.raises(WrongPasswordError):
        keystore.change_password("a", "two", None)
    keystore.change_password("a", "one", "two")
    with pytest.raises(WrongPasswordError):
        keystore.load("a", "one")
    assert keystore.load("a", "two").seed == KEY.seed
    assert not keystore.change_password("a", "two", None).is_encrypted
    assert keystore.load("a").seed == KEY.seed


def test_an_empty_password_is_refused(keystore):
    """It would look protected and would not be."""
    with pytest.raises(KeystoreError, match="empty password"):
        keystore.add("a", KEY, "")


def test_files_are_the_owners_alone(files, tmp_path):
    """New files have mode 0600, whatever the umask; one that others may read is refused with the remedy."""
    old = os.umask(0)
    try:
        files.add("a", KEY)
    finally:
        os.umask(old)
    file = tmp_path / "a.json"
    assert file.stat().st_mode & 0o777 == 0o600
    for mode in (0o604, 0o640, 0o660):
        file.chmod(mode)
        with pytest.raises(KeystoreError, match=rf"mode {mode:04o}.*chmod 600"):
            files.load("a")


def test_the_secret_is_not_in_an_encrypted_file(files, tmp_path):
    """Neither the seed nor the password is; the cost is in the file, so that it can grow."""
    files.add("a", KEY, "secret")
    text = (tmp_path / "a.json").read_text()
    assert KEY.seed.hex() not in text
    assert "secret" not in text
    assert json.loads(text)["encryption"]["n"] == 16
    assert KeyFiles(tmp_path).load("a", "secret").seed == KEY.seed


def test_the_default_cost_needs_32_mib(tmp_path):
    """What a guess costs is scrypt's 128·r·n bytes, p times."""
    assert 128 * SCRYPT_R * SCRYPT_N == 32 * 2**20
    assert SCRYPT_P == 3
    store = KeyFiles(tmp_path)
    store.add("a", KEY, "secret")
    assert json.loads((tmp_path / "a.json").read_text())["encryption"]["n"] == SCRYPT_N
    assert store.load("a", "secret").account == KEY.account


def put(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o600)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 2}, "version 2"),
        ({"public_key": "00"}, "public_key must be 32 bytes"),
        ({"public_key": OTHER.account.hex()}, "wrong password"),
        ({"encryption": []}, "encryption must be an object"),
        ({"encryption": {"kdf": "md5"}}, "kdf 'md5'"),
        ({"n": 2**30}, "n = 1073741824"),
        ({"n": 17}, "power of two"),
        ({"p": True}, "p = True"),
        ({"salt": "zz"}, "salt must be 16 bytes"),
        ({"ciphertext": "00"}, "ciphertext must be 48 bytes"),
    ],
)
def test_a_spoilt_key_file_says_what_is_wrong(files, tmp_path, change, message):
    """Each field is checked before it is used; costs that would fill the memory are refused."""
    files.add("a", KEY, "secret")
    document = json.loads((tmp_path / "a.json").read_text())
    for field, value in change.items():
        (document if field in document or field == "encryption" else document["encryption"])[field] = value
    put(tmp_path / "a.json", json.dumps(document))
    with pytest.raises(KeystoreError, match=message):
        files.load("a", "secret")


def test_a_seed_that_is_not_the_public_keys_is_refused(files, tmp_path):
    """A file mixed from two keys would sign for an account nobody expects."""
    files.add("a", KEY)
    document = json.loads((tmp_path / "a.json").read_text())
    put(tmp_path / "a.json", json.dumps({**document, "seed": OTHER.seed.hex()}))
    with pytest.raises(KeystoreError, match="do not belong together"):
        files.load("a")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=60) | st.just("[" * 5000) | st.just(" " * 20_000))
def test_any_text_in_a_key_file_is_a_clear_error(tmp_path, text):
    """Whatever stands in the file, only a KeystoreError comes out."""
    put(tmp_path / "a.json", text)
    with pytest.raises(KeystoreError, match=r"a\.json"):
        KeyFiles(tmp_path).load("a")
