"""A training without what was taken back, with the settings of the release that may not play any more.

The run is that of the pipeline `tune`. Its steps take their settings from the release's card; annotate_merge leaves out what may not be
trained on; encode finds the latents of all segments that stay.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from audiotune.domain.dataset import DatasetRow, LatentRow, contributors_by_recording
from audiotune.domain.manifest import Manifest
from audiotune.domain.recording import Digest
from audiotune.domain.release import Release
from audiotune.errors import ConsentError, GovernanceError, PipelineError
from audiotune.governance.consent import find_consents
from audiotune.governance.excepted import split_excepted
from audiotune.governance.ledger.ledger import open_ledger
from audiotune.governance.ledger.state import GovernanceState
from audiotune.governance.policy import decide_policy
from audiotune.governance.release_standing import list_objections
from audiotune.governance.withdrawal_record import Withdrawal
from audiotune.runs.port import PipelineRunner
from audiotune.store.port import Store
from audiotune.withdrawal.store_traces import StoreTraces

_STEPS = ("annotate_merge", "encode", "finetune", "unwrap", "evaluate", "register")


@dataclass(frozen=True)
class WithdrawnHashes:
    """What belongs to recordings that may not be trained on any more: their ids, their segments' ids and bytes, their latents' keys."""

    recordings: frozenset[Digest] = frozenset()
    segments: frozenset[Digest] = frozenset()
    sounds: frozenset[str] = frozenset()
    latents: frozenset[str] = frozenset()


def find_withdrawn_hashes(store: Store) -> WithdrawnHashes:
    """Of everything that somebody took back and that may not be trained on now. Costs nothing where nobody ever did."""
    state = open_ledger(store).read_state()
    taken = {recording: () for one in state.withdrawals.values() for recording in one.recordings}
    if not taken or state.agreement is None:
        return WithdrawnHashes()
    gone = frozenset(decide_policy("finetune", state.agreement, find_consents(state, taken), taken).refused)
    traces = StoreTraces(store)
    cut = [segment for segment in traces.segments if segment.recording in gone]
    return WithdrawnHashes(
        recordings=gone,
        segments=frozenset(segment.id for segment in cut),
        sounds=frozenset(segment.blob for segment in cut),
        latents=frozenset(row.latents for row in traces.latents if row.recording in gone),
    )


def require_disjoint(store: Store, dataset: Manifest[DatasetRow], latents: Manifest[LatentRow]) -> None:
    """Raises ConsentError where a dataset shares a recording, a segment, its bytes or its latents with what was taken back."""
    gone = find_withdrawn_hashes(store)
    shared = {
        "recordings": gone.recordings & {row.segment.recording for row in dataset.rows},
        "segments": gone.segments & {row.segment.id for row in dataset.rows},
        "sounds": gone.sounds & {row.segment.blob for row in dataset.rows},
        "latents": gone.latents & {row.latents for row in latents.rows},
    }
    found = [f"{len(hashes)} {kind} (as {min(hashes)[-76:]})" for kind, hashes in shared.items() if hashes]
    if found:
        what = f"the dataset shares {' and '.join(found)} with what members took back"
        raise ConsentError(what, where="before training", cure="run annotate_merge again: it leaves them out")


def list_unknown_steps(release: Release) -> tuple[str, ...]:
    """The steps whose settings nobody wrote down: of releases of 0.2 and older most."""
    return tuple(step for step in _STEPS if step not in release.list_known_settings())


def list_left(traces: StoreTraces, state: GovernanceState, release: Release, now: datetime | None = None) -> list[DatasetRow]:
    """The rows of a release's dataset that may still be trained on, and whose sound is in nothing that may not."""
    dataset = traces.datasets.get(release.lineage.dataset)
    if dataset is None or state.agreement is None:
        return []
    # without the parts that it uses: segments that touch one that was left out since are dropped one by one
    people = {recording: list(names) for recording, names in contributors_by_recording(dataset).items()}
    consents = find_consents(state, people)
    refused = decide_policy("annotate_merge", state.agreement, consents, people, now=now).refused
    gone = {segment.blob for segment in traces.segments if segment.recording in refused}
    kept, _ = split_excepted(consents, (row.segment for row in dataset.rows if row.segment.recording not in refused))
    left = {segment.id for segment in kept if segment.blob not in gone}
    return [row for row in dataset.rows if row.segment.id in left]


def find_stopped_releases(store: Store, number: int) -> list[Release]:
    """The releases and adapters that a withdrawal stopped and that may not play now, the newest first. Raises GovernanceError."""
    state, traces = open_ledger(store).read_state(), StoreTraces(store)
    gone = set(require_withdrawal(state, number).recordings)
    held = [card for card in traces.cards if gone & card.lineage.recordings.keys()]
    stopped = [card for card in held if list_objections(store, state, card, "champion", "generate")]
    return sorted(stopped, key=lambda card: card.made, reverse=True)


def build_retraining(store: Store, release: Release) -> dict[str, str]:
    """The values of the run form of `tune`. Raises GovernanceError: the settings are not known, or nothing is left to train on."""
    if "finetune" in list_unknown_steps(release):
        what = f"nobody wrote down how {release.name} version {release.version} was trained"
        raise GovernanceError(what, cure="start a training on the Releases page")
    state, traces = open_ledger(store).read_state(), StoreTraces(store)
    if not list_left(traces, state, release):
        what = f"nothing of the dataset of {release.name} version {release.version} may be trained on any more"
        raise GovernanceError(what, cure="record something new together, or ask the members for their consent")
    values = {"training_like": release.key, "training_name": release.name}
    dataset = traces.datasets[release.lineage.dataset]
    return {**values, "segments": str(dataset.meta["segments"])} if dataset.meta.get("segments") else values


def start_retraining(store: Store, runner: PipelineRunner, release: Release, title: str) -> str:
    """Starts the run; its name. Raises GovernanceError as `build_retraining`, PipelineError: the pipeline is too old, or cannot start."""
    values = build_retraining(store, release)
    require_retraining_form(runner)
    return runner.start(title, values)


def require_retraining_form(runner: PipelineRunner) -> None:
    """Raises PipelineError: the pipeline that would be started cannot take a release's settings."""
    if runner.read_form().find_field("training_like") is None:
        cure = "upload the pipelines of this version: python -m pipelines.submit upload"
        raise PipelineError("the pipeline here cannot take the settings of a release", cure=cure)


def require_withdrawal(state: GovernanceState, number: int) -> Withdrawal:
    """Raises GovernanceError: no event of this number takes anything back."""
    found = state.withdrawals.get(number)
    if found is None:
        known = ", ".join(map(str, state.withdrawals)) or "none yet"
        raise GovernanceError(f"event {number} is no withdrawal", cure=f"the ledger's withdrawals: {known}")
    return found
