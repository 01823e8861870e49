"""Makes and uses the keys of the services under compose. Standard library only.

    python keys.py make FOLDER                        makes a key for each service that has none: FOLDER/<service>/{accesskey,secretkey}
    python keys.py use FOLDER COMMAND...              runs a command with the key in FOLDER as AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY
    python keys.py use FOLDER --database FOLDER COMMAND...   and the database's password as PGPASSWORD
    python keys.py use FOLDER --asks FOLDER COMMAND...       and the key with which the studio asks the governance service
    python keys.py use FOLDER --erases FOLDER COMMAND...     and the key with which the erasure asks it
    python keys.py use FOLDER --mlflow-read FOLDER COMMAND...   and MLflow's key that may only read releases; --mlflow-write: the other
    python keys.py use FOLDER --ledger FOLDER COMMAND...     and the key that signs the ledger

A key that exists stays as it is. Only names are printed.
"""

from __future__ import annotations

import os
import secrets
import sys
from pathlib import Path

# the store's administrator, its users (audiotune.store.layout.USERS), the database, what studio and governance service share, and those
# who may write to MLflow or read releases there
SERVICES = (
    *("root", "studio", "generation", "pipelines", "registry", "governance", "backup", "erasure"),
    *("database", "asks", "erases", "mlflow-write", "mlflow-read", "ledger"),
)
VARIABLES = {
    "--database": ("PGPASSWORD",),
    "--asks": ("AUDIOTUNE_GOVERNANCE_KEY", "AUDIOTUNE_GOVERNANCE_STUDIO_KEY"),  # of the caller, of the service
    "--erases": ("AUDIOTUNE_GOVERNANCE_KEY", "AUDIOTUNE_GOVERNANCE_ERASURE_KEY"),
    "--mlflow-write": ("AUDIOTUNE_REGISTRY_WRITE_KEY", "MLFLOW_TRACKING_TOKEN"),  # of the server, of a client
    "--mlflow-read": ("AUDIOTUNE_REGISTRY_READ_KEY", "MLFLOW_TRACKING_TOKEN"),
    "--ledger": ("AUDIOTUNE_GOVERNANCE_LEDGER_KEY",),
}
USER = 10001  # of our images; the database's user reads as a member of group 0


def make_keys(folder: Path) -> list[str]:
    """Makes the keys that are missing; returns the names of their services."""
    return [name for name in SERVICES if _make_key(folder / name, name)]


def _make_key(folder: Path, name: str) -> bool:
    folder.mkdir(exist_ok=True)
    secret = folder / "secretkey"
    if secret.exists():
        return False
    _write_key(folder / "accesskey", f"{name}-{secrets.token_hex(6)}")
    _write_key(secret, secrets.token_hex(20))  # last: it marks a complete pair
    if os.getuid() == 0:
        os.chown(folder, USER, 0)
    return True


def _write_key(path: Path, key: str) -> None:
    part = path.with_suffix(".part")
    part.unlink(missing_ok=True)
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o440), "w") as file:
        file.write(key)
    if os.getuid() == 0:
        os.chown(part, USER, 0)
    part.rename(path)


def read_environment(arguments: list[str]) -> tuple[dict[str, str], list[str]]:
    """The variables for the arguments of `use`, and the command after them."""
    folder, rest = Path(arguments[0]), arguments[1:]
    variables = {"AWS_ACCESS_KEY_ID": _read_key(folder / "accesskey"), "AWS_SECRET_ACCESS_KEY": _read_key(folder / "secretkey")}
    while rest[:1] and rest[0] in VARIABLES:
        key = _read_key(Path(rest[1]) / "secretkey")
        variables.update(dict.fromkeys(VARIABLES[rest[0]], key))
        rest = rest[2:]
    return variables, rest


def _read_key(path: Path) -> str:
    try:
        return path.read_text()
    except OSError as e:
        sys.exit(f"keys: {path}: {e.strerror}; has the service `keys` run?")


def main(arguments: list[str]) -> int:
    """Returns the exit code; `use` becomes the command and does not return."""
    if arguments[:1] == ["make"] and len(arguments) == 2:
        print(f"keys made for: {', '.join(make_keys(Path(arguments[1]))) or 'no service, all have one'}")
        return 0
    if arguments[:1] == ["use"] and len(arguments) > 2:
        variables, command = read_environment(arguments[1:])
        if command:
            os.execvpe(command[0], command, {**os.environ, **variables})
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
