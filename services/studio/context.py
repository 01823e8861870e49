"""The context: everything that a page may use, created once. Does not import gradio."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from audiotune.access.owners import is_owner
from audiotune.access.tokens import check_token
from audiotune.access.writer import AccessWriter, open_access_writer
from audiotune.errors import AccessError, AgreementError, GovernanceError
from audiotune.governance import Agreement, Member, read_current_agreement
from audiotune.outside.kubeflow import Kubeflow
from audiotune.runs.kubeflow_runner import KubeflowRunner
from audiotune.runs.local_runner import LocalRunner
from audiotune.runs.port import PipelineRunner
from audiotune.store import Store, open_store
from services.studio.generation_client import HttpGenerationClient
from services.studio.http.upload_folder import UploadFolder
from services.studio.library import LibraryCache
from services.studio.listening import AnnotationQueue
from services.studio.run_records import RunRights
from services.studio.settings import StudioSettings
from services.studio.sign_in.credentials import MemberTokens, PasswordChecker
from services.studio.sign_in.session_store import SessionStore, check_identity, check_membership, check_password
from services.studio.training_runs import TrainingRuns
from services.studio.upload_runs import UploadRuns
from services.studio.vocabulary import StoredVocabulary
from services.studio.waiting_recordings import WaitingRecordings

_PREPARE_AT_ONCE = 2  # uploads that are segmented on this machine at the same time; the others wait


@dataclass(frozen=True)
class StudioContext:
    """What the pages work with."""

    settings: StudioSettings
    store: Store
    library: LibraryCache
    vocabulary: StoredVocabulary
    annotation_queue: AnnotationQueue
    upload_runs: UploadRuns
    generation: HttpGenerationClient
    training_runs: TrainingRuns
    sessions: SessionStore
    access: AccessWriter
    passwords: PasswordChecker
    service_tokens: MemberTokens
    upload_folder: UploadFolder
    waiting_recordings: WaitingRecordings

    @property
    def requires_sign_in(self) -> bool:
        """Whether members sign in; otherwise everybody who reaches the page chooses a name."""
        return self.settings.access == "members"

    @property
    def uses_provider(self) -> bool:
        """Whether members sign in at a provider (OpenID Connect), and not with a password of ours."""
        return self.requires_sign_in and bool(self.settings.oidc_issuer)

    def find_member(self, signed_in: str | None, chosen: str) -> str:
        """The present member, also one who has left; "" for somebody outside the group. `chosen` counts only without sign-in."""
        found = self._find_in_agreement(signed_in, chosen)
        return found.id if found else ""

    def find_active_member(self, signed_in: str | None, chosen: str) -> str:
        """Like `find_member`, without members who have left."""
        found = self._find_in_agreement(signed_in, chosen)
        return found.id if found and not found.left else ""

    def _find_in_agreement(self, signed_in: str | None, chosen: str) -> Member | None:
        """Nobody while the agreement cannot be read; the header says why."""
        try:
            agreement = read_current_agreement(self.store)
        except GovernanceError:
            return None
        return agreement.find_member((signed_in or "") if self.requires_sign_in else chosen) if agreement else None

    def find_agreement(self) -> Agreement | None:
        """The agreement in force, or None. Raises GovernanceError: it cannot be read."""
        return read_current_agreement(self.store)

    def require_agreement(self) -> Agreement:
        """The agreement in force. Raises AgreementError when the store has none."""
        agreement = self.find_agreement()
        if agreement is None:
            cure = "make it together on the Agreement page"
            raise AgreementError("the store holds no agreement yet", cure=cure)
        return agreement


def create_context(
    settings: StudioSettings, *, preparer: PipelineRunner | None = None, trainer: PipelineRunner | None = None
) -> StudioContext:
    """Creates the context; tests replace the runners. Raises StoreError when the store is unreachable."""
    store = open_store(settings.store or None)
    library, vocabulary = LibraryCache(store), StoredVocabulary(store)
    signs_in = settings.access == "members"

    def owns(member: str) -> bool:
        return signs_in and is_owner(store, member)

    preparer = preparer or _create_runner(settings, store, "prepare")
    trainer = trainer or _create_runner(settings, store, "tune")
    access, sessions = open_access_writer(store), create_session_store(settings, store)
    upload_folder = UploadFolder(settings.files_folder, settings.upload_quota_bytes)
    service_tokens = MemberTokens(access, sessions.find_ticket_of, functools.partial(_is_token_valid, store))
    return StudioContext(
        settings=settings,
        store=store,
        library=library,
        vocabulary=vocabulary,
        annotation_queue=AnnotationQueue(store, library, vocabulary),
        upload_runs=UploadRuns(store, preparer, library, RunRights("members", signs_in, owns)),
        generation=HttpGenerationClient(
            settings.generation_url, settings.generation_limit_s, service_tokens if signs_in else None
        ),
        training_runs=TrainingRuns(store, trainer, RunRights(settings.releases_by, signs_in, owns)),
        sessions=sessions,
        access=access,
        passwords=PasswordChecker(access),
        service_tokens=service_tokens,
        upload_folder=upload_folder,
        waiting_recordings=WaitingRecordings(store, library, upload_folder, signs_in=signs_in),
    )


def _is_token_valid(store: Store, text: str) -> bool:
    try:
        return check_token(store, text, "generate").is_valid()
    except AccessError:
        return False


def create_session_store(settings: StudioSettings, store: Store, now: Callable[[], float] = time.monotonic) -> SessionStore:
    """Sessions whose proof is the password or the identity that members sign in with."""
    check = check_identity if settings.oidc_issuer else check_password
    never_checked = settings.oidc_issuer and settings.oidc_claim_is_member
    is_valid = None if never_checked else functools.partial(check, store)
    return SessionStore(settings.session_s, is_valid, now, functools.partial(check_membership, store))


def _create_runner(settings: StudioSettings, store: Store, pipeline: Literal["prepare", "tune"]) -> PipelineRunner:
    """A runner on Kubeflow when its address is set, otherwise on this machine."""
    if settings.kfp_url:
        server = Kubeflow(
            settings.kfp_url, token=settings.kfp_token, namespace=settings.kfp_namespace, timeout_s=20, pages=settings.kfp_pages
        )
        name = settings.kfp_pipeline if pipeline == "prepare" else settings.kfp_tune
        return KubeflowRunner(server, name, store_url=store.url, account=settings.kfp_service_account)
    work = settings.work_folder
    if pipeline == "prepare":
        folder, limit_s = work / "uploads", settings.run_limit_s
        return LocalRunner(store.url, folder, pipeline, recipe=settings.recipe, limit_s=limit_s, at_once=_PREPARE_AT_ONCE)
    return LocalRunner(store.url, work / "tunings", pipeline, recipe=settings.recipe, limit_s=settings.tune_limit_s)
