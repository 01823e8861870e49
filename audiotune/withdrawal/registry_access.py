"""The registry as withdrawals use it, where this machine has one."""

from __future__ import annotations

import os
from collections.abc import Mapping

from audiotune.domain.release import Release
from audiotune.registry import releases
from audiotune.registry.connection import has_registry
from audiotune.store.port import Store
from audiotune.withdrawal.finish import WithdrawalRegistry


class EmptyRegistry:
    """Where nothing was ever registered: no database is made to find that out."""

    def list_release_names(self) -> list[str]:
        return []

    def list_releases(self, name: str) -> list[Release]:
        return []

    def list_aliases(self, name: str) -> dict[str, str]:
        return {}

    def set_alias(self, name: str, alias: str, version: str) -> None: ...

    def delete_alias(self, name: str, alias: str) -> None: ...

    def mark_withdrawn(self, name: str, version: str, why: str) -> bool:
        return False

    def delete_release(self, name: str, version: str, run_id: str, digest: str, adapter: str) -> bool:
        return False

    def delete_run_files(self, run_id: str) -> bool:
        return False


class UnknownAliases:
    """Where nobody can be asked."""

    def list_aliases(self, name: str) -> Mapping[str, str]:
        return {}


def open_registry(store: Store) -> WithdrawalRegistry:
    """The registry that the environment names; else the one beside a folder store. Raises RegistryError: none is named."""
    os.environ.setdefault("AUDIOTUNE_STORE", store.url)  # a store that only a flag names has its registry beside it, too
    return releases if has_registry() else EmptyRegistry()
