"""The desk: everything a page may reach, wired once. Knows no gradio."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from audiotune.errors import AgreementError
from audiotune.governance import Agreement, current_agreement
from audiotune.store import Store, open_store
from services.studio.doorkeeper import Passes
from services.studio.kubeflow import KubeflowLauncher
from services.studio.launcher import Launcher, MachineLauncher
from services.studio.listening import Listening
from services.studio.making import Maker
from services.studio.service import ServiceMaker
from services.studio.settings import Settings
from services.studio.shelf import Shelves
from services.studio.words import Words


@dataclass(frozen=True)
class Desk:
    """What the pages work with."""

    settings: Settings
    store: Store
    shelves: Shelves
    words: Words
    listening: Listening
    launcher: Launcher
    maker: Maker

    @property
    def signs_in(self) -> bool:
        """Whether members sign in; else whoever reaches the page chooses a name."""
        return self.settings.access == "members"

    def present(self, signed_in: str | None, chosen: str) -> str:
        """The member who sits here, also one who has left; "" for nobody of the group. Where members sign in, no choice counts."""
        member = (signed_in or "") if self.signs_in else chosen
        agreement = current_agreement(self.store)
        return member if agreement and agreement.member(member) else ""

    def acting(self, signed_in: str | None, chosen: str) -> str:
        """Like `present`, but only somebody who may do things: not one who has left."""
        member = self.present(signed_in, chosen)
        return member if member in self.listening.members() else ""

    def agreement(self) -> Agreement:
        """The agreement in force. Raises AgreementError when the store has none."""
        found = current_agreement(self.store)
        if found is None:
            raise AgreementError(
                "the store holds no agreement yet", cure="fill in agreement.toml together and publish it with the first ingest"
            )
        return found


def desk_for(settings: Settings, *, launcher: Launcher | None = None, maker: Maker | None = None) -> Desk:
    """Wires the desk; launcher and maker may be replaced. Raises StoreError when the store cannot be opened."""
    store = open_store(settings.store or None)
    shelves, words = Shelves(store), Words(store)
    work = Path(settings.work_folder)
    return Desk(
        settings=settings,
        store=store,
        shelves=shelves,
        words=words,
        listening=Listening(store, shelves, words),
        launcher=launcher or _launcher(settings, store, work),
        maker=maker
        or ServiceMaker(
            settings.generation_url, settings.generation_limit_s, Passes(store) if settings.access == "members" else None
        ),
    )


def _launcher(settings: Settings, store: Store, work: Path) -> Launcher:
    if not settings.kfp_url:
        return MachineLauncher(store, work, recipe=settings.recipe, limit_s=settings.run_limit_s)
    return KubeflowLauncher(
        store, settings.kfp_url, pipeline=settings.kfp_pipeline, namespace=settings.kfp_namespace,
        token=settings.kfp_token, limit_s=settings.run_limit_s,
    )  # fmt: skip
