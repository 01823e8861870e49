"""The desk: everything a page may reach, wired once. Knows no gradio."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from audiotune.errors import AgreementError
from audiotune.governance import Agreement, read_current_agreement
from audiotune.outside.kubeflow import Kubeflow
from audiotune.store import Store, open_store
from services.studio.generation_client import HttpGenerationClient
from services.studio.history import GenerationClient
from services.studio.kubeflow_prepare_runner import KubeflowPrepareRunner
from services.studio.kubeflow_training_runner import KubeflowTrainingRunner
from services.studio.library import LibraryCache
from services.studio.listening import AnnotationQueue
from services.studio.local_training_runner import LocalTrainingRunner
from services.studio.prepare_runner import LocalPrepareRunner, PrepareRunner
from services.studio.settings import StudioSettings
from services.studio.sign_in.credentials import MemberTokens, is_owner
from services.studio.sign_in.session_store import SessionStore, create_identity_check, create_password_check
from services.studio.training_runner import TrainingRights, TrainingRunner
from services.studio.training_runs import TrainingRuns
from services.studio.vocabulary import StoredVocabulary


@dataclass(frozen=True)
class StudioContext:
    """What the pages work with."""

    settings: StudioSettings
    store: Store
    library: LibraryCache
    vocabulary: StoredVocabulary
    annotation_queue: AnnotationQueue
    prepare_runner: PrepareRunner
    generation: GenerationClient
    training_runs: TrainingRuns
    sessions: SessionStore

    @property
    def requires_sign_in(self) -> bool:
        """Whether members sign in; else whoever reaches the page chooses a name."""
        return self.settings.access == "members"

    @property
    def uses_provider(self) -> bool:
        """Whether members sign in at a provider (OpenID Connect), and not with a password of ours."""
        return self.requires_sign_in and bool(self.settings.oidc_issuer)

    def find_member(self, signed_in: str | None, chosen: str) -> str:
        """The member who sits here, also one who has left; "" for nobody of the group. Where members sign in, no choice counts."""
        member = (signed_in or "") if self.requires_sign_in else chosen
        agreement = read_current_agreement(self.store)
        return member if agreement and agreement.find_member(member) else ""

    def find_active_member(self, signed_in: str | None, chosen: str) -> str:
        """Like `present`, but only somebody who may do things: not one who has left."""
        member = self.find_member(signed_in, chosen)
        return member if member in self.annotation_queue.list_active_members() else ""

    def require_agreement(self) -> Agreement:
        """The agreement in force. Raises AgreementError when the store has none."""
        found = read_current_agreement(self.store)
        if found is None:
            raise AgreementError(
                "the store holds no agreement yet", cure="fill in agreement.toml together and publish it with the first ingest"
            )
        return found


def create_context(
    settings: StudioSettings,
    *,
    launcher: PrepareRunner | None = None,
    maker: GenerationClient | None = None,
    tuner: TrainingRunner | None = None,
) -> StudioContext:
    """Wires the desk; launcher, maker and tuner may be replaced. Raises StoreError when the store cannot be opened."""
    store = open_store(settings.store or None)
    shelves, words = LibraryCache(store), StoredVocabulary(store)
    work = Path(settings.work_folder)
    signs_in = settings.access == "members"
    rights = TrainingRights(settings.releases_by, signs_in, lambda member: signs_in and is_owner(store, member))
    return StudioContext(
        settings=settings,
        store=store,
        library=shelves,
        vocabulary=words,
        annotation_queue=AnnotationQueue(store, shelves, words),
        prepare_runner=launcher or _create_prepare_runner(settings, store, work),
        generation=maker
        or HttpGenerationClient(settings.generation_url, settings.generation_limit_s, MemberTokens(store) if signs_in else None),
        training_runs=TrainingRuns(store, tuner or _create_training_runner(settings, store, work), rights),
        sessions=create_session_store(settings, store),
    )


def create_session_store(settings: StudioSettings, store: Store, now: Callable[[], float] = time.monotonic) -> SessionStore:
    """Sessions that stand on what members sign in with."""
    if not settings.oidc_issuer:
        return SessionStore(settings.session_s, create_password_check(store), now)
    return SessionStore(settings.session_s, None if settings.oidc_claim_is_member else create_identity_check(store), now)


def _create_prepare_runner(settings: StudioSettings, store: Store, work: Path) -> PrepareRunner:
    if not settings.kfp_url:
        return LocalPrepareRunner(store, work, recipe=settings.recipe, limit_s=settings.run_limit_s)
    return KubeflowPrepareRunner(
        store, settings.kfp_url, pipeline=settings.kfp_pipeline, namespace=settings.kfp_namespace,
        token=settings.kfp_token, account=settings.kfp_service_account, limit_s=settings.run_limit_s,
    )  # fmt: skip


def _create_training_runner(settings: StudioSettings, store: Store, work: Path) -> TrainingRunner:
    if not settings.kfp_url:
        return LocalTrainingRunner(store, work, recipe=settings.recipe, limit_s=settings.tune_limit_s)
    server = Kubeflow(
        settings.kfp_url, token=settings.kfp_token, namespace=settings.kfp_namespace, timeout_s=20, pages=settings.kfp_pages
    )
    return KubeflowTrainingRunner(store, server, pipeline=settings.kfp_tune, account=settings.kfp_service_account)
