"""What can go wrong with what the node keeps on disk.

    StorageError
    ├── LockedError          another process holds the data directory or the journal
    ├── ForeignGenesisError  the directory belongs to another network
    ├── SchemaError          written by a newer version, or by one that this version can't migrate
    ├── DamagedError         missing, cut short or changed bytes; names the file and what to do
    ├── DiskError            the database can't be written: a full or failing disk; says how to go on
    ├── UseError             what contradicts a store's state was asked: a commit beside its tip, a read once closed
    ├── CapacityError        a payload, the whole payload store or a data store is over its cap
    ├── BoundError           a data store that serves another device already
    ├── JournalError         a release or signature would contradict one already journalled
    └── KeystoreError        a key file that is missing, exists already, or can't be read
        └── WrongPasswordError

Each message says what is wrong, where, and what to do about it. Errors of the operating system with other
files (disk full, permission denied) are not wrapped: they pass through and stop the node.
"""


class StorageError(Exception):
    """Base of every error this room raises."""


class LockedError(StorageError):
    """Another process uses the same files."""


class ForeignGenesisError(StorageError):
    """The data belongs to another network."""


class SchemaError(StorageError):
    """The data has a layout that this version does not know."""


class DamagedError(StorageError):
    """Stored bytes are missing, cut short or changed."""


class DiskError(StorageError):
    """The disk took not all that was to be written: nothing of it counts, and nothing more is written."""


class UseError(StorageError):
    """A store was asked for something that contradicts its state."""


class CapacityError(StorageError):
    """A payload does not fit."""


class BoundError(StorageError):
    """A data store serves one device: what it released, and its privacy loss, are counted under one key."""


class JournalError(StorageError):
    """A release or a signature contradicts the journal."""


class KeystoreError(StorageError):
    """A key is missing, exists already, or its file can't be read."""


class WrongPasswordError(KeystoreError):
    """The password does not open the key file."""
