"""Label tracks beside takes, through ingest, segment and annotate_merge, and back again by way of our own export."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf

from audiotune.domain.dataset import DatasetRow
from audiotune.domain.manifest import Manifest, load_manifest
from audiotune.domain.recording import Recording
from audiotune.domain.segment import Segment
from audiotune.store import FolderStore
from components.annotate_merge.export import export_dataset
from components.annotate_merge.settings import Settings as AnnotateSettings
from components.annotate_merge.step import run_step as annotate
from components.ingest.settings import Settings as IngestSettings
from components.ingest.step import run_step as ingest
from components.segment.settings import Settings as SegmentSettings
from components.segment.step import run_step as segment

RATE = 44_100
AGREEMENT = """
group = "The Testers"
version = 1
recordings_licence = "LicenseRef-members-only"
weights_licence = "LicenseRef-co-owned"
[[members]]
id = "ana"
name = "Ana"
consents_to = ["store", "train"]
"""
HORN, DOOR = "0.500000\t1.750000\ta dark horn\n\\\t120.0\t4000.0\n", "3.000000\t3.000000\ta door\n"


class Journey:
    """A folder of takes and what the three steps make of it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.takes, self.store = folder, folder / "takes", FolderStore(folder / "store")
        self.takes.mkdir(parents=True)
        (folder / "agreement.toml").write_text(AGREEMENT)

    def add(self, name: str, seed: int = 1, lasts_s: float = 6.0, **beside: str) -> None:
        rng = np.random.default_rng(seed)
        t = np.arange(round(lasts_s * RATE)) / RATE
        sound = sum(0.1 * np.sin(2 * np.pi * hertz * t) for hertz in rng.uniform(150, 900, 3))
        sf.write(self.takes / name, sound * (0.6 + 0.4 * np.sin(2 * np.pi * 2 * t)), RATE)
        for behind, text in beside.items():
            (self.takes / f"{Path(name).stem}{behind.replace('__', '.')}").write_text(text)

    def run(self, **annotating: Any) -> tuple[list[Recording], list[Segment], list[DatasetRow], str]:
        out = {name: self.folder / name for name in ("recordings", "segments", "dataset", "report", "metrics")}
        common = {"report": out["report"], "metrics": out["metrics"]}
        settings = IngestSettings(
            source=str(self.takes), agreement=str(self.folder / "agreement.toml"), contributors="ana", likenesses=False
        )
        ingest(settings, self.store, _ignore, recordings=out["recordings"], **common)
        pages = out["report"].read_text()
        segment(SegmentSettings(), self.store, _ignore, recordings=out["recordings"], segments=out["segments"], **common)
        pages += out["report"].read_text()
        key = Manifest("segments", load_manifest(out["segments"], "segments", Segment).rows).key
        given = AnnotateSettings(bootstrap=0, segments=key, **annotating)
        annotate(given, self.store, _ignore, dataset=out["dataset"], **common)
        pages += out["report"].read_text()
        loaded: list[Manifest[Any]] = [
            load_manifest(out[name], name if name != "dataset" else "datasets", row)
            for name, row in (("recordings", Recording), ("segments", Segment), ("dataset", DatasetRow))
        ]
        return loaded[0].rows, loaded[1].rows, loaded[2].rows, pages


def _ignore(share: float, words: str) -> None:
    pass


def read_words(rows: list[DatasetRow]) -> dict[tuple[float, float], str]:
    """(start, end) of each segment -> all that is said of it."""
    return {
        (round(row.segment.start_s, 3), round(row.segment.start_s + row.segment.duration_s, 3)): " / ".join(
            (row.caption.text, *row.caption.variants)
        )
        for row in rows
    }


@pytest.mark.parametrize("behind", ["__txt", "__labels__txt", "_labels__txt", " labels__txt", "__wav__txt", "__Labels__TXT"])
def test_a_track_beside_a_take_gives_its_cuts_and_their_words(tmp_path: Path, behind: str) -> None:
    journey = Journey(tmp_path)
    journey.add("jam.wav", **{behind: HORN + "2.0\t4.0\tgravel\n" + DOOR})
    recordings, _, rows, pages = journey.run(sources="sidecars")
    assert [len(row.labels) for row in recordings] == [3]
    said = read_words(rows)
    assert list(said) == [(0.5, 1.75), (2.0, 4.0)]
    assert "dark" in said[0.5, 1.75]
    assert "horn" in said[0.5, 1.75]
    assert "gravel" in said[2.0, 4.0]
    assert "door" in said[2.0, 4.0]
    assert "door" not in said[0.5, 1.75]
    assert "2 labels as cuts and 1 label at points" in pages
    assert "cut at 2 of 2 labels" in pages
    assert "Said, and not used" not in pages


def test_words_and_labels_stand_beside_one_take(tmp_path: Path) -> None:
    journey = Journey(tmp_path)
    journey.add("jam.wav", __txt="from the attic", __labels__txt=HORN)
    said = read_words(journey.run(sources="sidecars")[2])
    assert "horn" in said[0.5, 1.75]
    assert "attic" in said[0.5, 1.75]


def test_a_point_in_no_segment_and_a_line_that_is_none_are_told(tmp_path: Path) -> None:
    journey = Journey(tmp_path)
    journey.add("jam.wav", __txt=HORN + "5.0\t5.0\tfar away\nsomebody's remark\n")
    pages = journey.run(sources="sidecars")[3]
    assert "no segment sounds at its label &#39;far away&#39; at 5.00 s" in pages
    assert "line 4 is no line of a label track:" in pages


def test_our_export_beside_the_takes_gives_the_same_segments_and_words(tmp_path: Path) -> None:
    first = Journey(tmp_path / "first")
    first.add("jam.wav", seed=1, __labels__txt=HORN + "1.0\t3.0\tgravel over it\n3.0\t3.9999\tthe end, at last\n")
    first.add("quiet.wav", seed=2, __txt="a slow drone")
    _, cut, rows, _ = first.run(sources="sidecars")
    folder = export_dataset(first.store.url, "newest", tmp_path / "exported")
    second = Journey(tmp_path / "second")
    for take in first.takes.glob("*.wav"):
        (second.takes / take.name).write_bytes(take.read_bytes())
        (second.takes / f"{take.stem}.txt").write_text((folder / "labels" / f"{take.stem}.txt").read_text())
    _, again, rows_again, _ = second.run(sources="sidecars")
    assert [row.id for row in again] == [row.id for row in cut]
    assert {row.segment.id: row.caption.text for row in rows_again} == {row.segment.id: row.caption.text for row in rows}


def test_of_regions_over_each_other_each_has_its_own_words_and_a_point_means_the_shortest(tmp_path: Path) -> None:
    journey = Journey(tmp_path)
    journey.add("jam.wav", __txt="0.5\t5.5\tgravel\n2.0\t3.0\thorn\n2.5\t2.5\tcrack\n")
    said = read_words(journey.run(sources="sidecars")[2])
    assert list(said) == [(0.5, 5.5), (2.0, 3.0)]
    assert [[word in words for word in ("gravel", "horn", "crack")] for words in said.values()] == [
        [True, False, False],
        [False, True, True],
    ]
