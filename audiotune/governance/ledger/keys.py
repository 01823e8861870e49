"""Ed25519 keys of the ledger: the service's own, and those of members."""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import platformdirs
from pydantic import StringConstraints

from audiotune.errors import SettingsError

KeyId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{16}$")]
VARIABLE = "AUDIOTUNE_LEDGER_KEY"
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
    """A key from base64 of its 32 private bytes. Raises SettingsError, which does not show it."""
    try:
        private = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        private = b""
    if len(private) != _BYTES:
        raise SettingsError(
            "this is no key of the ledger", where=where, cure="give base64 of 32 random bytes: openssl rand -base64 32"
        )
    return key_from_bytes(private)


def load_key_file(path: Path) -> SigningKey:
    """The key in a file that only its owner reads; makes it where there is none."""
    try:
        return parse_key(path.read_text(), str(path))
    except FileNotFoundError:
        pass
    path.parent.mkdir(parents=True, exist_ok=True)
    made = generate_key()
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:  # another process made it at this moment
        return parse_key(path.read_text(), str(path))
    with os.fdopen(descriptor, "w") as file:
        file.write(base64.b64encode(made.private).decode() + "\n")
    return made


def load_signing_key() -> SigningKey:
    """This program's key: AUDIOTUNE_LEDGER_KEY, else this user's own file. Raises SettingsError: the variable holds no key."""
    text = os.environ.get(VARIABLE, "")
    if text:
        return parse_key(text, VARIABLE)
    return load_key_file(platformdirs.user_config_path("audiotune", appauthor=False) / _FILE)


def _load_private(private: bytes) -> Any:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return Ed25519PrivateKey.from_private_bytes(private)
