"""The desk: everything a page may reach, wired once. Knows no gradio."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from audiotune.errors import AgreementError
from audiotune.governance import Agreement, current_agreement
from audiotune.kubeflow import Kubeflow
from audiotune.store import Store, open_store
from services.studio.doorkeeper import Passes, is_owner
from services.studio.kubeflow import KubeflowLauncher
from services.studio.kubeflow_tuner import KubeflowTuner
from services.studio.launcher import Launcher, MachineLauncher
from services.studio.listening import Listening
from services.studio.machine_tuner import MachineTuner
from services.studio.making import Maker
from services.studio.service import ServiceMaker
from services.studio.sessions import Sessions, identity_holds, password_holds
from services.studio.settings import Settings
from services.studio.shelf import Shelves
from services.studio.tuner import Rights, Tuner
from services.studio.tuning import Tunings
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
    tunings: Tunings
    sessions: Sessions

    @property
    def signs_in(self) -> bool:
        """Whether members sign in; else whoever reaches the page chooses a name."""
        return self.settings.access == "members"

    @property
    def signs_in_elsewhere(self) -> bool:
        """Whether members sign in at a provider (OpenID Connect), and not with a password of ours."""
        return self.signs_in and bool(self.settings.oidc_issuer)

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


def desk_for(
    settings: Settings, *, launcher: Launcher | None = None, maker: Maker | None = None, tuner: Tuner | None = None
) -> Desk:
    """Wires the desk; launcher, maker and tuner may be replaced. Raises StoreError when the store cannot be opened."""
    store = open_store(settings.store or None)
    shelves, words = Shelves(store), Words(store)
    work = Path(settings.work_folder)
    signs_in = settings.access == "members"
    rights = Rights(settings.releases_by, signs_in, lambda member: signs_in and is_owner(store, member))
    return Desk(
        settings=settings,
        store=store,
        shelves=shelves,
        words=words,
        listening=Listening(store, shelves, words),
        launcher=launcher or _launcher(settings, store, work),
        maker=maker or ServiceMaker(settings.generation_url, settings.generation_limit_s, Passes(store) if signs_in else None),
        tunings=Tunings(store, tuner or _tuner(settings, store, work), rights),
        sessions=sessions_for(settings, store),
    )


def sessions_for(settings: Settings, store: Store, now: Callable[[], float] = time.monotonic) -> Sessions:
    """Sessions that stand on what members sign in with."""
    if not settings.oidc_issuer:
        return Sessions(settings.session_s, password_holds(store), now)
    return Sessions(settings.session_s, None if settings.oidc_claim_is_member else identity_holds(store), now)


def _launcher(settings: Settings, store: Store, work: Path) -> Launcher:
    if not settings.kfp_url:
        return MachineLauncher(store, work, recipe=settings.recipe, limit_s=settings.run_limit_s)
    return KubeflowLauncher(
        store, settings.kfp_url, pipeline=settings.kfp_pipeline, namespace=settings.kfp_namespace,
        token=settings.kfp_token, account=settings.kfp_service_account, limit_s=settings.run_limit_s,
    )  # fmt: skip


def _tuner(settings: Settings, store: Store, work: Path) -> Tuner:
    if not settings.kfp_url:
        return MachineTuner(store, work, recipe=settings.recipe, limit_s=settings.tune_limit_s)
    server = Kubeflow(
        settings.kfp_url, token=settings.kfp_token, namespace=settings.kfp_namespace, timeout_s=20, pages=settings.kfp_pages
    )
    return KubeflowTuner(store, server, pipeline=settings.kfp_tune, account=settings.kfp_service_account)
