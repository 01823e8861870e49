"""A group's dataset, weights and evaluation, ready to be registered; the weights are a few bytes that nobody opens."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from audiotune.domain.dataset import Caption, DatasetRow
from audiotune.domain.lineage import build_lineage
from audiotune.domain.manifest import Manifest
from audiotune.domain.release import Evaluation, Release, WeightsPointer
from audiotune.governance import Agreement, Consent, record_consent
from audiotune.store import FolderStore, compute_digest
from tests.fakes import seeded_store


@dataclass(frozen=True)
class Group:
    """What was made; `paths` are the arguments of the register step."""

    store: FolderStore
    agreement: Agreement
    dataset: Manifest[DatasetRow]
    pointer: WeightsPointer
    paths: dict[str, Path]

    def write(self, what: WeightsPointer | Evaluation) -> None:
        """Lays an input down for the step."""
        name = "weights" if isinstance(what, WeightsPointer) else "evaluation"
        self.paths[name].write_text(what.model_dump_json())

    def trained(self, weights: bytes, *, passed: bool, reasons: tuple[str, ...] = ()) -> WeightsPointer:
        """Lays down other weights and what their evaluation said."""
        key = self.store.put_blob(weights, ".safetensors")
        pointer = self.pointer.model_copy(update={"weights": key, "weights_digest": compute_digest(weights)})
        self.write(pointer)
        self.write(Evaluation(metrics={"kad_after": 3.0}, passed=passed, reasons=reasons, weights=compute_digest(weights)))
        return pointer

    def withdraw(self, member: str) -> None:
        """A member withdraws consent for every recording they are heard in."""
        for row in {row.segment.recording: row for row in self.dataset.rows}.values():
            if member in row.contributors:
                basis = "studio, withdrawn"
                record_consent(
                    self.store,
                    Consent(
                        recording=row.segment.recording, contributor=member, uses=(), basis=basis, agreement=self.agreement.digest
                    ),
                )

    def releases(self) -> list[str]:
        """Keys of the releases register has saved."""
        return [entry.key for entry in self.store.list("manifests/releases/") if "/patch-bay/" not in entry.key]

    def release(self, pointer: WeightsPointer) -> Release:
        """A release of these weights, as register would make it."""
        lineage = build_lineage(self.dataset, pointer, self.agreement.digest)
        judged = Evaluation(metrics={"kad_after": 3.0}, passed=False, reasons=("it copies",))
        return Release(name="ours", weights=pointer, lineage=lineage, licence="x", notice="", evaluation=judged)


def group(folder: Path) -> Group:
    """Fills a fresh folder: three recordings of three members, and weights whose evaluation passed."""
    seeded = seeded_store.seed(folder / "store", segments_each=2, segment_s=0.3)
    people = {recording.id: recording.contributors for recording in seeded.recordings}
    rows = [
        DatasetRow(
            segment=segment,
            caption=Caption(text="a tone", annotators=("ana",)),
            split="train",
            contributors=people[segment.recording],
            licence="LicenseRef-members-only",
        )
        for segment in seeded.segments
    ]
    dataset = Manifest("datasets", rows, {"agreement": seeded.agreement.digest})
    names = ("weights", "dataset", "evaluation", "release", "report", "metrics")
    paths = {name: folder / name for name in names}
    dataset.write(paths["dataset"])
    pointer = WeightsPointer(
        weights=seeded.store.put_blob(b"first weights", ".safetensors"),
        weights_digest=compute_digest(b"first weights"),
        config=seeded.store.put_blob(b"{}", ".json"),
        base="tiny",
        base_digest="b" * 64,
        dataset=dataset.digest,
        step=30,
        recipe={"finetune": {"steps": 30}},
    )
    made = Group(seeded.store, seeded.agreement, dataset, pointer, paths)
    made.trained(b"first weights", passed=True)
    return made
