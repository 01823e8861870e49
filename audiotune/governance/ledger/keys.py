"""Ed25519 keys of the ledger: the service's own, and those of members."""

from __future__ import annotations

import hashlib
import os
import secrets
import stat
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import platformdirs
from pydantic import StringConstraints

from audiotune.errors import SettingsError

KeyId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{16}$")]
VARIABLE = "AUDIOTUNE_GOVERNANCE_LEDGER_KEY"
OLDER_VARIABLE = "AUDIOTUNE_GOVERNANCE_OLDER_LEDGER_KEY"  # after a change of key
SHORTEST = 32  # characters
_FILE = "ledger_key"
_BYTES = 32


@dataclass(frozen=True)
class SigningKey:
    """A private key. `id`: the first half of its public key's SHA-256, 16 hexadecimal digits."""

    private: bytes = field(repr=False)
    public: bytes

    @property
    def id(self) -> str:
        return compute_key_id(self.public)

    def sign(self, data: bytes) -> bytes:
        """The signature, 64 bytes."""
        signature: bytes = _load_private(self.private).sign(data)
        return signature


def compute_key_id(public_key: bytes) -> str:
    return hashlib.sha256(public_key).hexdigest()[:16]


def is_signed_by(public_key: bytes, signature: bytes, data: bytes) -> bool:
    """Whether the key of these 32 bytes made the signature."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, data)
    except InvalidSignature:
        return False
    return True


def generate_key() -> SigningKey:
    return key_from_bytes(os.urandom(_BYTES))


def key_from_bytes(private: bytes) -> SigningKey:
    """The key of 32 private bytes."""
    return SigningKey(private, _load_private(private).public_key().public_bytes_raw())


def parse_key(text: str, where: str) -> SigningKey:
    """The key of a secret text: its SHA-256 is the private key. Raises SettingsError, which does not show it: it is too short."""
    secret = text.strip()
    if len(secret) < SHORTEST:
        raise SettingsError(
            "this is no key of the ledger", where=where, cure=f"give {SHORTEST} random characters: openssl rand -hex 20"
        )
    return key_from_bytes(hashlib.sha256(secret.encode()).digest())


def load_key_file(path: Path) -> SigningKey:
    """The key in a file that only its owner reads; makes it where there is none. Raises SettingsError as `read_key_file` does."""
    try:
        return read_key_file(path)
    except FileNotFoundError:
        pass
    try:
        return make_key_file(path)
    except FileExistsError:  # another process makes it at this moment
        time.sleep(0.1)
        return read_key_file(path)


def read_key_file(path: Path) -> SigningKey:
    """The key in a file. Raises FileNotFoundError. Raises SettingsError: others may read or change it, or it holds no key."""
    with path.open() as file:
        mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        if mode & 0o077:
            what = f"others on this machine may read or change this key (mode {mode:04o})"
            cure = f"chmod 600 {path}; if somebody may have read it, make a new one and revoke it"
            raise SettingsError(what, where=str(path), cure=cure)
        return parse_key(file.read(), str(path))


def make_key_file(path: Path) -> SigningKey:
    """A new key in a new file of mode 0600. Raises FileExistsError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = secrets.token_hex(_BYTES)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text + "\n")
    return parse_key(text, str(path))


def load_signing_keys() -> tuple[SigningKey, tuple[SigningKey, ...]]:
    """This program's key, and the older ones that introduce it: of the environment, else this user's own file.

    Raises SettingsError: a variable holds no key.
    """
    present, older = (os.environ.get(name, "") for name in (VARIABLE, OLDER_VARIABLE))
    if present:
        return parse_key(present, VARIABLE), (parse_key(older, OLDER_VARIABLE),) if older else ()
    return load_key_file(platformdirs.user_config_path("audiotune", appauthor=False) / _FILE), ()


def _load_private(private: bytes) -> Any:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return Ed25519PrivateKey.from_private_bytes(private)
