"""Proves what a withdrawal has done: looks at the store, at a release that was made without what was taken back, and at its sounds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from audiotune.audio.sound import Sound, read_sound
from audiotune.domain.dataset import DatasetRow, LatentRow
from audiotune.domain.manifest import Manifest, fetch_manifest, list_manifests
from audiotune.domain.release import Release, WeightsPointer, find_card
from audiotune.errors import AudioTuneError, GovernanceError, ManifestError, NotInStoreError, StoreError
from audiotune.governance.ledger.events import event_key
from audiotune.governance.ledger.ledger import open_ledger, read_event
from audiotune.governance.ledger.state import GovernanceState
from audiotune.governance.ledger.verification import read_events, verify_events
from audiotune.governance.release_standing import list_objections
from audiotune.governance.withdrawal_record import Withdrawal
from audiotune.store.erase import count_versions
from audiotune.store.layout import ERASURES, manifest_folder
from audiotune.store.port import Store
from audiotune.withdrawal import membership
from audiotune.withdrawal.erasure_plan import ErasurePlan
from audiotune.withdrawal.proof_record import Outcome, ProofCheck, WithdrawalProof, WithdrawnContent, find_shared
from audiotune.withdrawal.retraining import require_withdrawal
from audiotune.withdrawal.store_traces import StoreTraces

_FEWEST = 8  # segments on each side, from which a membership test says anything
_FEWEST_RECORDINGS = 4  # of which they come
_WIDEST = 0.15  # half an interval of the AUC; a wider one says nothing
_TOLERANCE = 0.05  # around an AUC of 0.5
_MOST_SOUNDS = 200
Losses = Callable[[WeightsPointer | None, str, Sequence[LatentRow]], membership.Values]  # weights, else the base of that name
Remake = Callable[[Release, int], list[str]]  # release, how often -> identities of the weights that came out


@dataclass(frozen=True)
class ProofOptions:
    """What is looked at.

    Attributes:
        release: NAME:VERSION; empty: the newest one that may play and was made after the withdrawal.
        before: NAME:VERSION of a release that holds what was taken back, for the membership test; empty: the newest one.
        remakes: how often the release is made again.
    """

    release: str = ""
    before: str = ""
    remakes: int = 0


def prove_withdrawal(
    store: Store, number: int, options: ProofOptions, remake: Remake, measure_losses: Losses | None = None
) -> WithdrawalProof:
    """Makes every check that can be made now. Raises GovernanceError: no such withdrawal or release. Raises StoreError.

    Args:
        measure_losses: for the membership test (`membership_losses`); None leaves it out.
    """
    return _ProofMaker(store, number, options, remake, measure_losses).make()


class _ProofMaker:
    def __init__(self, store: Store, number: int, options: ProofOptions, remake: Remake, measure_losses: Losses | None) -> None:
        self._store, self._options, self._remake, self._measure_losses = store, options, remake, measure_losses
        self._state: GovernanceState = open_ledger(store).read_state()
        self._withdrawal: Withdrawal = require_withdrawal(self._state, number)
        self._traces = StoreTraces(store)

    def make(self) -> WithdrawalProof:
        event = read_event(self._store, self._withdrawal.number)
        signer = self._state.service_keys[event.signatures.service.key]
        release, dataset, latents = self._release, self._dataset, self._latents
        return WithdrawalProof(
            number=self._withdrawal.number,
            event=self._store.get(event_key(event.number)).decode(),
            service_key=signer.public,
            ledger_number=self._state.number,
            ledger_head=self._state.head,
            withdrawn=self._withdrawn,
            release=release,
            dataset=dataset.to_bytes().decode() if dataset else "",
            latents=latents.to_bytes().decode() if latents else "",
            checks=tuple(self._check()),
        )

    def _check(self) -> Iterator[ProofCheck]:
        yield self._check_ledger()
        yield self._check_erasure()
        if self._release is None:
            words = "no release was made since that may play: train again without what was taken back"
            yield ProofCheck(name="disjoint manifests", outcome="not known", words=words)
            return
        yield self._check_disjoint(self._release)
        yield self._check_remakes(self._release)
        yield self._check_copies(self._release)
        if self._measure_losses is not None:
            yield from self._check_membership(self._release, self._measure_losses)

    @cached_property
    def _withdrawn(self) -> WithdrawnContent:
        gone = set(self._withdrawal.recordings)
        cut = [segment for segment in self._traces.segments if segment.recording in gone]
        latents = {row.latents for row in self._traces.latents if row.recording in gone}
        return WithdrawnContent(
            recordings=tuple(sorted(gone)),
            segments=tuple(sorted({segment.id for segment in cut})),
            sounds=tuple(sorted({segment.blob for segment in cut})),
            latents=tuple(sorted(latents)),
        )

    @cached_property
    def _release(self) -> Release | None:
        """The release that is looked at."""
        if self._options.release:
            return self._find_card(self._options.release)
        cards = [card for card in self._traces.cards if card.made > self._withdrawal.time]
        clean = [card for card in cards if not list_objections(self._store, self._state, card, "champion", "generate")]
        return max(clean, key=lambda card: card.made, default=None)

    @cached_property
    def _before(self) -> Release | None:
        """A release that holds what was taken back, if its weights are still there."""
        gone = set(self._withdrawal.recordings)
        held = [card for card in self._traces.cards if gone & card.lineage.recordings.keys()]
        found = self._find_card(self._options.before) if self._options.before else max(held, key=lambda c: c.made, default=None)
        return found if found and self._store.exists(found.weights.weights) else None

    @cached_property
    def _dataset(self) -> Manifest[DatasetRow] | None:
        if self._release is None:
            return None
        dataset = self._traces.datasets.get(self._release.lineage.dataset)
        if dataset is None:
            cure = "restore it from a backup: without it nobody can say what the release was trained on"
            raise ManifestError("the dataset of the release is not in the store", where=self._release.key, cure=cure)
        return dataset

    @cached_property
    def _latents(self) -> Manifest[LatentRow] | None:
        """The latents of the release's dataset and base."""
        if self._release is None:
            return None
        wanted = (self._release.lineage.dataset, self._release.weights.base_digest)
        return next(
            (one for one in self._latent_manifests if (one.meta.get("dataset"), one.meta.get("base_digest")) == wanted), None
        )

    @cached_property
    def _latent_manifests(self) -> list[Manifest[LatentRow]]:
        """The newest first."""
        found = []
        for entry in reversed(list_manifests(self._store, "latents")):
            try:
                found.append(fetch_manifest(self._store, entry.key, "latents", LatentRow))
            except (ManifestError, NotInStoreError):
                continue
        return found

    def _find_card(self, wanted: str) -> Release:
        name, _, version = wanted.partition(":")
        card = find_card(self._store, name, version)
        if card is None:
            where, cure = manifest_folder("releases"), "write NAME:VERSION, as in demo:2"
            raise GovernanceError(f"the store has no release {wanted}", where=where, cure=cure)
        return card

    def _check_ledger(self) -> ProofCheck:
        report = verify_events(read_events(self._store))
        words = f"{report.number} events are whole; the withdrawal is event {self._withdrawal.number}"
        if report.faults:
            return ProofCheck(name="ledger", outcome="failed", words="; ".join(report.faults[:3]))
        return ProofCheck(name="ledger", outcome="passed", words=words, figures={"events": report.number})

    def _check_erasure(self) -> ProofCheck:
        """Nothing of the lists of what was erased may be there, in any version."""
        name, rounds = "nothing left", self._state.erasures.get(self._withdrawal.number, ())
        if self._withdrawal.erase == "none":
            return ProofCheck(
                name=name, outcome="not asked", words="the member did not ask for an erasure; nobody may use the files"
            )
        if not rounds:
            return ProofCheck(
                name=name, outcome="failed", words="the erasure that was asked for is not done: audiotune withdrawal finish"
            )
        folder = ERASURES.folder(f"{self._withdrawal.number:010d}")
        keys = [
            one.key
            for entry in self._store.list(folder)
            for one in ErasurePlan.model_validate_json(self._store.get(entry.key)).objects
        ]
        try:
            left = [key for key in keys if count_versions(self._store, key)]
        except StoreError as e:
            words = f"{len(keys)} objects were erased; this program may not look for old versions of them: {e.what}"
            return ProofCheck(name=name, outcome="not known", words=words)
        figures = {"erased": len(keys), "left": len(left)}
        if left:
            return ProofCheck(
                name=name, outcome="failed", words=f"{len(left)} of {len(keys)} objects are there, as {left[0]}", figures=figures
            )
        kept = sum(len(one.kept) for one in rounds)
        words = f"none of {len(keys)} objects is there in any version" + (
            f"; {kept} were kept, as the ledger says" if kept else ""
        )
        return ProofCheck(name=name, outcome="passed", words=words, figures=figures)

    def _check_disjoint(self, release: Release) -> ProofCheck:
        assert self._dataset is not None
        title, latents = f"{release.name} version {release.version}", self._latents
        shared = find_shared(self._withdrawn, self._dataset.to_bytes(), latents.to_bytes() if latents else b"")
        figures = {kind: float(len(hashes)) for kind, hashes in shared.items()}
        found = [f"{len(hashes)} {kind}" for kind, hashes in shared.items() if hashes]
        if found:
            words = f"{title} was trained on {' and '.join(found)} that were taken back"
            return ProofCheck(name="disjoint manifests", outcome="failed", words=words, figures=figures)
        gone = self._withdrawn
        words = (
            f"of {len(gone.recordings)} recordings, {len(gone.segments)} segments and {len(gone.latents)} latents that were taken back, "
            f"none is in the {len(self._dataset.rows)} rows that {title} was trained on"
        )
        return ProofCheck(name="disjoint manifests", outcome="passed", words=words, figures=figures)

    def _check_remakes(self, release: Release) -> ProofCheck:
        name, times = "made again", self._options.remakes
        if not times:
            words = "with --remakes 5, on any machine, the same dataset and recipe give the same weights"
            return ProofCheck(name=name, outcome="not asked", words=words)
        same = sum(identity == release.weights.identity for identity in self._remake(release, times))
        words = f"{same} of {times} trainings of the same dataset and recipe gave the same weights, bit for bit"
        figures = {"same": float(same), "of": float(times)}
        return ProofCheck(name=name, outcome="passed" if same == times else "failed", words=words, figures=figures)

    def _check_copies(self, release: Release) -> ProofCheck:
        """The sounds that evaluate made with the release, beside withdrawn sounds and as many that no training has seen."""
        assert self._dataset is not None
        name, identity = "nearest copies", release.weights.identity
        made = self._read_sounds(sound for maker, sound in self._traces.evaluated_sounds.values() if maker == identity)
        withdrawn = self._read_sounds(self._withdrawn.sounds)
        foreign = self._read_sounds(row.segment.blob for row in self._dataset.rows if row.split == "held_out")
        count = min(len(withdrawn), len(foreign))
        if not made or not count:
            missing = (
                "sounds of the release"
                if not made
                else "withdrawn sounds"
                if not withdrawn
                else "sounds that no training has seen"
            )
            return ProofCheck(name=name, outcome="not known", words=f"there are no {missing} to compare")
        like, copies = membership.find_nearest(made, withdrawn[:count])
        like_foreign, copies_foreign = membership.find_nearest(made, foreign[:count])
        words = (
            f"{copies} of {len(made)} sounds copy one of {count} withdrawn sounds, {copies_foreign} one of {count} unseen ones; "
            f"median likeness to the nearest {like:.3f} and {like_foreign:.3f}"
        )
        figures = {"copies": copies, "copies_of_foreign": copies_foreign, "likeness": like, "likeness_to_foreign": like_foreign}
        return ProofCheck(name=name, outcome="failed" if copies > copies_foreign else "passed", words=words, figures=figures)

    def _check_membership(self, release: Release, measure_losses: Losses) -> Iterator[ProofCheck]:
        """Of the new release; and, beside it, of one that was trained on what was taken back."""
        name = "membership"
        members, (strangers, kind) = self._find_member_rows(release), self._find_stranger_rows(release)
        if not (_suffices(members) and _suffices(strangers)):
            words = (
                f"there are latents of {len(members)} segments of {_count_recordings(members)} withdrawn recordings and "
                f"{len(strangers)} of {_count_recordings(strangers)} unseen ones; a test needs {_FEWEST} of {_FEWEST_RECORDINGS} each"
                + ("" if members else " (an erasure leaves none to test with)")
            )
            yield ProofCheck(name=name, outcome="not known", words=words)
            return
        rows, base = [*members, *strangers], release.weights.base
        reference, count = measure_losses(None, base, rows), len(members)

        def judge(card: Release) -> membership.MembershipResult:
            fell = reference - measure_losses(card.weights, base, rows)
            mine = membership.group_scores(fell[:count], [row.recording for row in members])
            return membership.judge_membership(mine, membership.group_scores(fell[count:], [row.recording for row in strangers]))

        before = self._before
        if before is not None and before.weights.base_digest == release.weights.base_digest:
            found = judge(before)
            words = f"{before.name} version {before.version}, which holds them: AUC {_describe(found)}"
            yield ProofCheck(name="membership before", outcome="not asked", words=words, figures=_list_figures(found))
        found = judge(release)
        sides = f"{len(members)} withdrawn against {len(strangers)} unseen segments ({kind})"
        words = f"{release.name} version {release.version}: AUC {_describe(found)}, {sides}"
        if not found.allows_chance(_TOLERANCE):
            outcome: Outcome = "failed"
        elif found.half_width > _WIDEST:
            outcome, words = "not known", f"{words}: too few recordings to say it more exactly"
        else:
            outcome = "passed"
        yield ProofCheck(name=name, outcome=outcome, words=words, figures=_list_figures(found))

    def _find_member_rows(self, release: Release) -> list[LatentRow]:
        """Withdrawn segments that an earlier dataset trained on, encoded with the release's base; one row a segment."""
        gone = set(self._withdrawn.recordings)
        return self._pick_rows(release, lambda row: row.recording in gone and row.split == "train")

    def _find_stranger_rows(self, release: Release) -> tuple[list[LatentRow], str]:
        """Segments that no training has seen, one row each, and which they are.

        Best are withdrawn ones that were always held out: the same players and evenings as those that were trained on, so that only
        the training can tell the two apart. Where there are too few, held-out segments of the release's dataset.
        """
        gone = set(self._withdrawn.recordings)
        trained = {row.recording for manifest in self._latent_manifests for row in manifest.rows if row.split == "train"}
        alike = self._pick_rows(release, lambda row: row.recording in gone - trained)
        if _suffices(alike):
            return alike, "of the same players, held out of every training"
        held = {row.segment for row in (self._latents.rows if self._latents else ()) if row.split == "held_out"}
        return self._pick_rows(release, lambda row: row.segment in held and row.recording not in trained), "of those who stay"

    def _pick_rows(self, release: Release, is_wanted: Callable[[LatentRow], bool]) -> list[LatentRow]:
        """Rows of all datasets whose latents are there, encoded with the release's base; one a segment."""
        rows: dict[str, LatentRow] = {}
        for manifest in self._latent_manifests:
            if manifest.meta.get("base_digest") == release.weights.base_digest:
                for row in manifest.rows:
                    if row.segment not in rows and is_wanted(row) and self._store.exists(row.latents):
                        rows[row.segment] = row
        return [rows[segment] for segment in sorted(rows)]

    def _read_sounds(self, keys: Iterator[str] | Sequence[str]) -> list[Sound]:
        found = []
        for key in list(dict.fromkeys(keys))[:_MOST_SOUNDS]:
            try:
                found.append(read_sound(self._store.fetch(key)))
            except AudioTuneError:
                continue  # erased
        return found


def _count_recordings(rows: Sequence[LatentRow]) -> int:
    return len({row.recording for row in rows})


def _suffices(rows: Sequence[LatentRow]) -> bool:
    return len(rows) >= _FEWEST and _count_recordings(rows) >= _FEWEST_RECORDINGS


def _describe(found: membership.MembershipResult) -> str:
    return f"{found.auc:.3f} ({found.low:.3f} to {found.high:.3f})"


def _list_figures(found: membership.MembershipResult) -> dict[str, float]:
    return {"auc": found.auc, "low": found.low, "high": found.high}
