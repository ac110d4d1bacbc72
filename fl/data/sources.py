"""Where a device's data comes from: its files, or a reader of its own.

A directory of devices has one file each, ``NAME.EXT``; ``NAME.test.EXT`` beside it is the part kept aside for testing,
and ``holdout.EXT`` is the public holdout set, no device.

Rules of this file: names and lookup; reading and encoding stand in their own modules.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, runtime_checkable

from chain.ids import AccountId, Hash
from fl.data.encode import encode_table
from fl.data.formats import ENDINGS, ending, read_table
from fl.data.table import listed
from fl.dataset import Dataset
from fl.errors import DataError
from fl.plan.schema import Role

HOLDOUT_NAME: Final = "holdout"
_TEST: Final = ".test"


class DataSource(Protocol):
    """A device's data, however it is kept. ``load`` may be called again and should then return the same rows."""

    @property
    def name(self) -> str:
        """What messages call this source."""
        ...

    def load(self, role: Role) -> Dataset:
        """Return the rows as the role's schema encodes them; ``DataError`` says what does not fit."""
        ...


@runtime_checkable
class GrowingSource(Protocol):
    """Data to which rows are added, and from which old ones go, while plans run.

    A plan freezes a device's sample count when it is joined. So a plan is trained on the rows as of its join:
    ``load_for`` reads, ``hold`` fixes what it read for that plan, before the join leaves the process.
    """

    @property
    def name(self) -> str:
        """What messages call this source."""
        ...

    def load(self, role: Role) -> Dataset:
        """Return all rows that there are now; ``DataError``."""
        ...

    def load_for(self, plan: Hash, role: Role) -> Dataset:
        """Return the rows held for a plan; where none are, all that there are now. ``DataError``."""
        ...

    def hold(self, plan: Hash, device: AccountId) -> bool:
        """Keep the rows that ``load_for`` returned last for this plan, durably, until ``release``.

        False if they are not all there any more: they are to be read again. ``DataError`` if these data serve another
        device.
        """
        ...

    def held(self) -> frozenset[Hash]:
        """Return the plans for which rows are held. Nothing is read."""
        ...

    def is_intact(self, plan: Hash) -> bool:
        """Are rows held for a plan, and none of them gone against the hold? Few bytes are read."""
        ...

    def release(self, plan: Hash) -> None:
        """Hold nothing for this plan any more."""
        ...


@dataclass(frozen=True, slots=True)
class FileSource:
    """A data file in any format that ``read_table`` reads."""

    path: Path

    @property
    def name(self) -> str:
        """The file's name."""
        return self.path.name

    def load(self, role: Role) -> Dataset:
        """Return the file's rows, read anew."""
        return load_dataset(self.path, role)


SourceMaker = Callable[[str], DataSource]
_MAKERS: dict[str, SourceMaker] = {}


def register_source(scheme: str, maker: SourceMaker) -> None:
    """Let ``scheme:rest`` name a data source of one's own: ``maker(rest)`` is called when a device opens it.

    ``DataError`` if the scheme is taken, or is no lower-case word of two letters or more.
    """
    if not (scheme.isascii() and scheme.isalpha() and scheme.islower() and len(scheme) > 1):
        raise DataError(f"data source {scheme!r}: must be a lower-case word of two letters or more")
    if _MAKERS.setdefault(scheme, maker) is not maker:
        raise DataError(f"data source {scheme!r} is registered already")


def open_source(location: str) -> DataSource:
    """Return the source a text names: ``scheme:rest`` for a registered scheme, else a file's path."""
    scheme, colon, rest = location.partition(":")
    if colon and scheme in _MAKERS:
        return _MAKERS[scheme](rest)
    path = Path(location)
    if not path.is_file():
        known = f" (registered sources: {listed(sorted(_MAKERS))})" if _MAKERS else ""
        if path.is_dir():
            known = f", but a directory: a device's data are one file, or a data store, store:{location}"
        raise DataError(f"{location}: is no data file{known}")
    return FileSource(path)


def load_dataset(path: Path, role: Role, *, labelled: bool = True) -> Dataset:
    """Return a file's rows as the role's schema encodes them."""
    return encode_table(read_table(path), role, labelled=labelled)


@dataclass(frozen=True, slots=True)
class DeviceFiles:
    """One device's files in a directory of devices."""

    name: str
    train: Path
    test: Path | None


def list_devices(directory: Path) -> list[DeviceFiles]:
    """Return the devices of a directory, by name. ``DataError`` if there is none, or one name has two files."""
    files: dict[str, Path] = {}
    for path in data_files(directory):
        stem = _stem(path)
        if stem in files:
            raise DataError(f"{directory}: {files[stem].name} and {path.name} are both named {stem}")
        files[stem] = path
    orphans = [stem for stem in files if stem.endswith(_TEST) and stem.removesuffix(_TEST) not in files]
    if orphans:
        raise DataError(f"{directory}: {files[orphans[0]].name} is a test part without its device's file")
    names = [stem for stem in sorted(files) if not stem.endswith(_TEST) and stem != HOLDOUT_NAME]
    if not names:
        raise DataError(f"{directory}: holds no device's data file (*{', *'.join(ENDINGS)})")
    return [DeviceFiles(name, files[name], files.get(name + _TEST)) for name in names]


def find_holdout(directory: Path) -> Path | None:
    """Return the directory's public holdout file, if it has one."""
    return next((path for path in data_files(directory) if _stem(path) == HOLDOUT_NAME), None)


def data_files(directory: Path) -> list[Path]:
    """Return the directory's data files, sorted. ``DataError`` if there is no such directory."""
    if not directory.is_dir():
        raise DataError(f"{directory}: is no directory")
    return sorted(
        path
        for path in directory.iterdir()
        if path.is_file() and ending(path) in ENDINGS and not path.name.startswith(".")
    )


def _stem(path: Path) -> str:
    """Return a file's name without its data ending, .gz included."""
    name = path.name[:-3] if path.name.lower().endswith(".gz") else path.name
    return Path(name).stem
