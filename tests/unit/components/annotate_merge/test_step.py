"""The step on stores that hold described takes; see test_merge.py for the arithmetic, test_annotate_imports.py for files."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from audiotune.audio.sound import Sound
from audiotune.domain import annotation, manifest
from audiotune.domain.annotation import Annotation
from audiotune.domain.dataset import DatasetRow
from audiotune.domain.file_name_words import words_from_file_name
from audiotune.domain.member_notices import MemberNoticeReader
from audiotune.domain.vocabulary import Vocabulary
from audiotune.errors import AgreementError, ConsentError, ManifestError, NotInStoreError, SourceError
from audiotune.governance import Member, record_consent
from audiotune.governance.consent import Consent
from audiotune.governance.member_acts import append_member_event
from components.annotate_merge import captions, step
from components.annotate_merge.merge import Ballot
from components.annotate_merge.settings import Settings
from components.executor import StepResult, validate_settings
from tests.fakes.described_store import DescribedStore, agreement, make_described_store, recording
from tests.fakes.layout_store import LayoutStore


def play(made: DescribedStore, folder: Path, **changes: Any) -> tuple[StepResult, list[DatasetRow], str]:
    settings = Settings(**{"segments": made.key, "bootstrap": 20, "players": 0, **changes})
    outputs = {name: folder / f"{name}.out" for name in ("dataset", "report", "metrics")}
    result = step.run_step(settings, made.store, lambda share, words: None, **outputs)
    rows = manifest.load_manifest(outputs["dataset"], "datasets", DatasetRow).rows
    return result, rows, outputs["report"].read_text()


def say(made: DescribedStore, take: str, place: int, member: str, words: str = "", **tags: tuple[str, ...]) -> Annotation:
    given = Annotation(segment=made.segments[take][place].id, member=member, words=words, tags=tags)
    annotation.save_annotation(made.store, given)
    return given


@pytest.fixture
def made(tmp_path: Path) -> DescribedStore:
    names = ("jam/dark_drone_1.wav", "Resonant_FM_laser1.mp3", "ZOOM0007.wav", "2.wav")
    return make_described_store(tmp_path / "store", [recording(name) for name in names])


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("jam/Resonant_FM_laser_1[ben].wav", "Resonant FM laser"),
        ("eerie_synth7.mp3", "eerie synth"),
        ("a\\b\\drone.flac", "drone"),
        ("synth_in_5ths6.mp3", "synth in 5ths"),
        ("bd_808.flac", "bd 808"),
        ("ahntone_f#4.mp3", "ahntone f#4"),
        ("ahntone_c2.mp3", "ahntone c2"),
        ("arpeggio1a.mp3", "arpeggio"),
        ("drone 12 3.wav", "drone"),
        ("underground-ambience.mp3", "underground-ambience"),
        ("ZOOM0001.WAV", ""),
        ("Recording 12.wav", ""),
        ("001.wav", ""),
        (".wav", ""),
        ("___[x].wav", ""),
        ("nice\x00\x1fname.wav", "nice name"),
        ("take of a whale.wav", "take of a whale"),
        ("TASCAM_0003S12.wav", ""),
        ("MixPre-001.wav", ""),
        ("F8_SD1-001_Tr1.wav", ""),
        ("R09_0001.wav", ""),
        ("Voice 001.m4a", ""),
        ("Stereo Out.wav", ""),
        ("Untitled Project.wav", ""),
        ("Neue Aufnahme 3.m4a", ""),
        ("Nouvel enregistrement 2.m4a", ""),
        ("Новая запись 4.m4a", ""),
        ("新录音 2.m4a", ""),
        ("AUD-20240501-WA0001.opus", ""),
        ("WhatsApp Audio 2024-05-01 at 10.10.10 (2).opus", ""),
        ("VID_20240501_101010.mp4", ""),
        ("2023-11-05 14-33-02.mkv", ""),
        ("IMG_1234.mov", ""),
        ("F3_001.wav", ""),
        ("jam_07.wav", ""),
        *((name, "") for name in ("FOLDER01.wav", "LINE IN.wav", "MULTI_0001.wav", "SR001XY.wav", "DM650012.WMA", "DS_0013.WMA")),
        *((name, "") for name in ("PCM_D100_001.wav", "AudioFile 2.wav", "GX010012.MP4", "Standard Recording 4.m4a")),
        *((name, "") for name in ("Easy Voice Recorder.m4a", "Eigene Aufnahme 7.m4a", "Tonspur 2.wav", "Region 3.wav")),
        ("c4.wav", "c4"),
        ("take_c4.wav", "take c4"),
        ("dark drone (1).wav", "dark drone"),
        ("Copy of eerie pad - Kopie 2.wav", "eerie pad"),
        ("ZOOM0012_LR dark drone.wav", "dark drone"),
    ],
)
def test_words_of_file_names(name: str, words: str) -> None:
    assert words_from_file_name(name) == words


def test_names_become_captions_as_they_were_written(made: DescribedStore, tmp_path: Path) -> None:
    _, rows, page = play(made, tmp_path)
    assert {(row.recording_name, row.caption.text) for row in rows} == {
        ("jam/dark_drone_1.wav", "dark drone"),
        ("Resonant_FM_laser1.mp3", "Resonant FM laser"),
    }
    assert all(row.caption.annotators == () for row in rows)
    assert "nobody described it" in page
    assert "ZOOM0007.wav at 1.00 s" in page


def test_a_fallback_keeps_what_nobody_described(made: DescribedStore, tmp_path: Path) -> None:
    result, rows, _ = play(made, tmp_path, caption_fallback="a synthesizer sound")
    assert len(rows) == 8
    assert {r.caption.text for r in rows if r.recording_name == "2.wav"} == {"a synthesizer sound"}
    assert result.metrics["left_out"] == 0


def test_peoples_words_come_first_and_nothing_is_dropped(made: DescribedStore, tmp_path: Path) -> None:
    take = "jam/dark_drone_1.wav"
    for member, term in (("ana", "type.drone"), ("ben", "type.drone"), ("chi", "type.siren")):
        say(made, take, 0, member, type=(term,), texture=("texture.metallic",))
        for place in (0, 1):
            say(made, "ZOOM0007.wav", place, member, type=("type.pluck",))
    say(made, take, 1, "ana", words="  like a ship's\nhorn ")
    _, rows, page = play(made, tmp_path)
    first, second = (r.caption for r in rows if r.recording_name == take)
    assert first.text in ("metallic drone", "dark metallic drone")  # dark is what the file's name says, nobody denied it
    assert "metallic siren" in first.variants  # outvoted, not lost
    assert "dark drone" in first.variants
    assert first.tags["type"]["type.drone"] > 0.5 > first.tags["type"]["type.siren"] > 0
    assert first.annotators == ("ana", "ben", "chi")
    assert second.text == "like a ship's horn"
    assert "dark drone" in second.variants
    assert "chi: metallic siren" in page


def test_members_who_divide_the_work_lose_no_word(tmp_path: Path) -> None:
    """Forty takes named alike, each described by one of three members: rare terms have low posteriors, but nobody opposed them."""
    names = [f"jam night_{i:02d}.wav" for i in range(40)]
    made = make_described_store(tmp_path / "store", [recording(name) for name in names])
    terms = {facet: [term.id for term in Vocabulary.load().list_terms(facet)] for facet in ("mood", "type", "texture")}
    said = {}
    for i, name in enumerate(names):
        tags = {facet: (choices[i * 7 % len(choices)],) for facet, choices in terms.items()}
        said[name] = say(made, name, 0, ("ana", "ben", "chi")[i % 3], **tags)
    _, rows, _ = play(made, tmp_path, threshold=0.9)
    first = {row.segment.id: row.caption.text for row in rows}
    vocabulary = Vocabulary.load()
    assert [first[one.segment] for one in said.values()] == [vocabulary.write_caption(one.tags) for one in said.values()]


def test_a_members_words_come_before_a_name_where_the_vote_is_open(made: DescribedStore, tmp_path: Path) -> None:
    say(made, "jam/dark_drone_1.wav", 0, "ana", type=("type.bell",))
    say(made, "jam/dark_drone_1.wav", 0, "ben", type=("type.siren",))
    _, rows, _ = play(made, tmp_path, threshold=0.99)
    (caption,) = (r.caption for r in rows if r.segment.id == made.segments["jam/dark_drone_1.wav"][0].id)
    assert caption.text in ("bell", "siren")
    assert {"bell", "siren", "dark drone"} <= set(caption.all_texts)


def test_only_whoever_answered_the_facet_can_oppose() -> None:
    ballots = [
        Ballot("s", "ana", frozenset({"a", "b"})),
        Ballot("s", "ben", frozenset({"b"})),
        Ballot("s", "file-name", frozenset({"c"}), only_positive=True),
        Ballot("t", "ana", frozenset({"a"})),
    ]
    posterior = dict.fromkeys((("s", "a"), ("s", "b"), ("s", "c"), ("t", "a")), 0.3)
    assert captions.find_unopposed_terms(ballots, posterior) == {("s", "b"), ("t", "a")}


def test_a_member_whom_the_others_found_mostly_wrong_needs_the_vote() -> None:
    shared = [
        Ballot(str(i), who, frozenset({term})) for i in range(30) for who, term in (("ana", "a"), ("ben", "a"), ("eve", "b"))
    ]
    alone = [Ballot("x", "eve", frozenset({"b"})), Ballot("y", "ana", frozenset({"a"}))]
    posterior = {(b.segment, t): 0.95 if t == "a" else 0.05 for b in (*shared, *alone) for t in b.terms}
    assert captions.find_unopposed_terms([*shared, *alone], posterior) == {("y", "a")}


def test_the_newest_answer_of_a_member_counts(made: DescribedStore, tmp_path: Path) -> None:
    say(made, "ZOOM0007.wav", 0, "ana", type=("type.bass",))
    say(made, "ZOOM0007.wav", 0, "ana", type=("type.bell",))
    _, rows, _ = play(made, tmp_path)
    (row,) = (r for r in rows if r.recording_name == "ZOOM0007.wav")
    assert row.caption.text == "bell"
    assert "bass" not in " ".join(row.caption.all_texts)


def test_terms_that_members_made_up_are_words(made: DescribedStore, tmp_path: Path) -> None:
    say(made, "ZOOM0007.wav", 0, "ana", texture=("texture.cat_like",))
    _, rows, _ = play(made, tmp_path)
    assert "cat like sound" in {r.caption.text for r in rows}


def test_strangers_and_leavers_are_not_heard(tmp_path: Path) -> None:
    made = make_described_store(
        tmp_path / "s", [recording("9.wav"), recording("drone.wav")], group=agreement(Member(id="zoe", name="Z", left=True))
    )
    say(made, "9.wav", 0, "eve", words="evil")
    say(made, "9.wav", 1, "zoe", words="gone")
    _, rows, page = play(made, tmp_path)
    assert {row.recording_name for row in rows} == {"drone.wav"}
    assert "&#39;eve&#39; is no member" in page
    assert "zoe has left the group" in page


def test_damaged_annotations_are_reported_and_the_rest_goes_on(made: DescribedStore, tmp_path: Path) -> None:
    kept = say(made, "ZOOM0007.wav", 0, "ana", words="a kettle")
    made.store.put(f"annotations/{kept.segment}/ben/cut.json", b'{"segment": "')
    made.store.put(
        f"annotations/{kept.segment}/chi/giant.json",
        kept.model_copy(update={"member": "chi", "words": "x" * 9000}).model_dump_json().encode(),
    )
    made.store.put(f"annotations/{'f' * 64}/ana/x.json", kept.model_dump_json().encode())
    _, rows, page = play(made, tmp_path)
    assert "a kettle" in {row.caption.text for row in rows}
    assert "ben/cut.json" in page
    assert "chi/giant.json" in page
    assert "1 annotations are of segments that are not in this manifest" in page


def test_html_of_members_is_escaped(tmp_path: Path) -> None:
    made = make_described_store(tmp_path / "s", [recording("<b>1</b>.wav", session="<script>2</script>"), recording("drone.wav")])
    for member in ("ana", "ben"):
        say(made, "<b>1</b>.wav", 0, member, words="<script>alert(1)</script>", type=(f"type.{member}<i>",))
    _, _, page = play(made, tmp_path)
    assert "<script" not in page
    assert "<i>" not in page
    assert "&lt;script&gt;alert(1)" in page


def test_recordings_without_consent_stay_out(made: DescribedStore, tmp_path: Path) -> None:
    take = made.takes["jam/dark_drone_1.wav"]
    record_consent(
        made.store, Consent(recording=take.id, contributor="ana", uses=("store",), basis="by hand", agreement="0" * 64)
    )
    _, rows, page = play(made, tmp_path)
    assert {row.recording_name for row in rows} == {"Resonant_FM_laser1.mp3"}
    assert "ana has not agreed to train" in page


def test_no_consent_at_all_is_an_error_and_nothing_is_stored(tmp_path: Path) -> None:
    group = agreement(Member(id="dee", name="Dee"))
    made = make_described_store(tmp_path / "s", [recording("drone.wav", contributors=("dee",))], group=group)
    with pytest.raises(ConsentError, match="dee has not agreed to train"):
        play(made, tmp_path)
    assert list(made.store.list("manifests/datasets/")) == []


def test_no_agreement(made: DescribedStore, tmp_path: Path) -> None:
    for entry in list(made.store.list("governance/")):
        made.store.delete(entry.key)
    fresh = dataclasses.replace(made, store=LayoutStore(made.store.root))  # another process
    with pytest.raises(AgreementError, match="no agreement"):
        play(fresh, tmp_path)


def test_without_any_caption_there_is_no_dataset(tmp_path: Path) -> None:
    made = make_described_store(tmp_path / "s", [recording("1.wav")])
    with pytest.raises(ManifestError, match="no segment has a caption"):
        play(made, tmp_path)
    assert list(made.store.list("manifests/datasets/")) == []


def test_one_recording_has_nothing_to_hold_out_and_says_so(tmp_path: Path) -> None:
    made = make_described_store(tmp_path / "s", [recording("drone.wav")])
    result, rows, page = play(made, tmp_path)
    assert {row.split for row in rows} == {"train"}
    assert result.metrics["held_out"] == 0
    assert "Nothing is held out" in page


def test_the_dataset_names_where_it_comes_from(made: DescribedStore, tmp_path: Path) -> None:
    result, rows, _ = play(made, tmp_path)
    frozen = manifest.fetch_manifest(made.store, result.parameters["dataset_key"], "datasets", DatasetRow)
    assert frozen.rows == rows
    assert frozen.meta["segments"] == made.key
    assert made.store.exists(frozen.meta["recordings"])
    assert frozen.meta["agreement"] == agreement().digest
    assert (
        manifest.find_newest_manifest(made.store, "datasets") == result.parameters["dataset_key"]
    )  # not one of the exports beside it


def test_twice_is_the_same(made: DescribedStore, tmp_path: Path) -> None:
    say(made, "ZOOM0007.wav", 0, "ben", words="b", mood=("mood.dark",))
    say(made, "ZOOM0007.wav", 0, "ana", words="a", mood=("mood.calm", "mood.dark"))
    first, _, page = play(made, tmp_path)
    second, _, again = play(made, tmp_path, segments="newest")
    assert first.parameters == second.parameters
    assert page == again


def test_sidecars_speak(tmp_path: Path) -> None:
    made = make_described_store(
        tmp_path / "s", [recording("7.wav", words="glass marbles on a tin roof"), recording("8.wav", words=" ")]
    )
    _, rows, _ = play(made, tmp_path)
    assert {row.caption.text for row in rows} == {"glass marbles on a tin roof"}
    with pytest.raises(ManifestError):
        play(made, tmp_path, sources="studio,file_names")


def test_the_page_plays_what_members_hear_differently(tmp_path: Path) -> None:
    sound = Sound(np.full((2, 4410), 0.1, np.float32), 44_100).to_bytes("FLAC")
    made = make_described_store(tmp_path / "s", [recording("1.wav"), recording("2.wav")], each=3, blob=sound)
    for place in range(3):
        for member, term in (("ana", "mood.dark"), ("ben", "mood.bright")):
            say(made, "1.wav", place, member, mood=(term,))
    _, _, page = play(made, tmp_path, players=2)
    assert page.count("<audio") == 2
    assert page.startswith("<!doctype html>")


@pytest.mark.parametrize(
    "changes", [{"sources": "rumour"}, {"sources": ""}, {"threshold": 1}, {"held_out_share": -1}, {"split_by": "x"}]
)
def test_settings_have_bounds(changes: dict[str, Any]) -> None:
    from audiotune.errors import SettingsError

    with pytest.raises(SettingsError, match=next(iter(changes))):
        validate_settings(Settings, changes)


def test_missing_and_foreign_manifests(made: DescribedStore, tmp_path: Path) -> None:
    with pytest.raises(NotInStoreError):
        play(made, tmp_path, segments="manifests/segments/none.jsonl")
    with pytest.raises(ManifestError, match="'recordings'"):
        play(made, tmp_path, segments=next(e.key for e in made.store.list("manifests/recordings/")))
    with pytest.raises((NotInStoreError, SourceError)):
        play(made, tmp_path, imports=["nowhere.csv"])


def test_a_dataset_names_everybody_who_was_asked(made: DescribedStore, tmp_path: Path) -> None:
    take = made.takes["2.wav"].id
    uses = ("store", "train")
    record_consent(made.store, Consent(recording=take, contributor="ben", uses=uses, basis="x", agreement="0" * 64))
    _, rows, _ = play(made, tmp_path, caption_fallback="a sound")
    people = {row.recording_name: row.contributors for row in rows}
    assert people["2.wav"] == ("ana", "ben")
    assert people["ZOOM0007.wav"] == ("ana",)


def test_what_was_imported_in_members_names_is_said_in_the_report_and_kept_for_them(made: DescribedStore, tmp_path: Path) -> None:
    table = tmp_path / "notes.csv"
    table.write_text(f"segment,member,words\n{made.segments['2.wav'][0].id},ben,like rain\n")
    result, _, page = play(made, tmp_path, imports=[str(table)])
    assert "Taken in from files" in page
    assert "notes.csv" in page
    (told,) = MemberNoticeReader(made.store).list_notices("ben")
    assert (told.files, told.annotations) == (("notes.csv",), 1)
    again, _, page = play(made, tmp_path)
    assert again.parameters["dataset_key"] != result.parameters["dataset_key"]
    assert "Taken in from files" not in page
    assert "imported" not in manifest.fetch_manifest_meta(made.store, again.parameters["dataset_key"])


def test_segments_that_touch_a_part_left_out_are_in_no_dataset(made: DescribedStore, tmp_path: Path) -> None:
    name = "jam/dark_drone_1.wav"
    id = made.takes[name].id
    part = {"recording": id, "parts": [{"start_s": 1.2, "end_s": 1.5}]}
    assert len([row for row in play(made, tmp_path)[1] if row.segment.recording == id]) == 2
    append_member_event(made.store, "ana", "parts_excepted", part)
    _, rows, report = play(made, tmp_path)
    assert [row.segment.start_s for row in rows if row.segment.recording == id] == [0]
    assert "ana leaves 1.2 to 1.5 s of it out" in report
    append_member_event(made.store, "ana", "parts_excepted", {"recording": id, "clear": True})
    assert len([row for row in play(made, tmp_path)[1] if row.segment.recording == id]) == 2
