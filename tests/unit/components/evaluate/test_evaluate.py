"""evaluate without a model: the gate's word, copies, sanity, and inputs that do not belong together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from audiotune.audio.sound import Sound
from audiotune.domain.dataset import Caption, DatasetRow, LatentRow
from audiotune.domain.manifest import Manifest
from audiotune.domain.release import Evaluation, WeightsPointer
from audiotune.domain.segment import Segment
from audiotune.errors import AudioTuneError, ManifestError, ModelError
from audiotune.reporting.progress import ignore_progress
from audiotune.store import FolderStore
from components.evaluate import embeddings, gate, metrics, report
from components.evaluate.measured_sounds import MeasuredSound
from components.evaluate.metrics import SoundComparison
from components.evaluate.settings import Settings
from components.evaluate.step import run_step

RATE = 22_050
GOOD = {
    "kad_before": 50.0,
    "kad_after": 10.0,
    "kad_gain_of_luck": 2.0,
    "kad_of_recordings": 60.0,
    "variety_share": 0.9,
    "effect_kad": 20.0,
    "effect_kad_of_reseeding": 5.0,
    "effect_db": 10.0,
    "word_gain_db_before": 4.0,
    "word_gain_db_after": 4.0,
    "word_gain_db_lowest": 1.0,
    "log_mel_distance_before": 20.0,
    "log_mel_distance_after": 15.0,
    "silent_share": 0.0,
    "clipped_share": 0.0,
    "noise_share": 0.1,
    "noise_share_of_recordings": 0.1,
    "copied_share": 0.0,
    "copied_share_of_held_out": 0.0,
    "loss_gap": 0.2,
    "held_out_segments": 12.0,
}


def sound(seed: int, seconds: float = 1.5, gain: float = 0.3) -> Sound:
    """A little melody of its own for each seed."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * RATE)) / RATE
    notes = [
        np.sin(2 * np.pi * hz * time) * (time > at) * np.exp(-4 * np.maximum(0, time - at)) for hz, at in _notes(rng, seconds)
    ]
    wave = np.sum(notes, axis=0) + 0.01 * rng.standard_normal(len(time))
    return Sound((gain * wave / np.abs(wave).max())[None].astype(np.float32), RATE)


def _notes(rng: np.random.Generator, seconds: float) -> list[tuple[float, float]]:
    return [(float(rng.uniform(100, 4000)), float(rng.uniform(0, seconds))) for _ in range(6)]


def heard(one: Sound, text: str = "a melody") -> MeasuredSound:
    return MeasuredSound(one, text, None)


def test_the_gate_passes_what_is_good() -> None:
    assert gate.find_gate_failures(Settings(), GOOD) == ()


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"kad_after": 50.0}, "KAD 50 before, 50 after"),
        ({"log_mel_distance_after": 30.0}, "moved away"),
        ({"silent_share": 0.05}, "5% of its sounds are silent"),
        ({"clipped_share": 0.5}, "clip"),
        ({"noise_share": 0.6}, "flat as noise"),
        ({"copied_share": 0.4}, "40% of its sounds copy"),
        ({"loss_gap": 1.5}, "150% above"),
        ({"probe_share": 0.4}, "follow the prompts"),
        ({"held_out_segments": 2.0}, "2 held-out segments are too few to judge by"),
        ({"sounds": 2.0}, "2 held-out segments are too few to judge by"),
        ({"kad_gain_of_luck": 41.0}, "may be luck: KAD 50 before, 10 after, and luck gives up to 41"),
        (
            {"kad_after": 45.0, "kad_of_recordings": 40.0},
            "not like the recordings: KAD 45, and parts of the recordings are 40 apart",
        ),
        ({"effect_db": 0.0, "effect_kad": 0.0, "effect_kad_of_reseeding": 0.0}, "no effect: with and without the training"),
        (
            {"effect_kad": 4.0},
            "no effect beyond that of other seeds: its sounds are 4 from its base's, and other seeds alone give up to 5",
        ),
        ({"variety_share": 0.2}, "too much alike: they differ 20% as much"),
        ({"word_gain_db_lowest": -0.1}, "does not follow the words"),
        ({"word_gain_db_after": 1.0}, "less than its base does: 4 dB before, 1 dB after"),
    ],
)
def test_the_gate_says_why_not(change: dict[str, float], word: str) -> None:
    reasons = gate.find_gate_failures(Settings(gate_probe=0.9), {**GOOD, **change})
    assert len(reasons) == 1
    assert word in reasons[0]


@pytest.mark.parametrize(
    ("name", "passes", "fails"),
    [
        ("kad_after", 47.4, 47.5),  # before: 50, and luck gives 2
        ("kad_gain_of_luck", 39.9, 40.0),  # before: 50, after: 10
        ("kad_of_recordings", 10.0, 9.9),  # after: 10
        ("effect_kad", 5.1, 5.0),  # of other seeds: 5
        ("effect_db", 0.01, 0.0),
        ("variety_share", 0.5, 0.49),
        ("word_gain_db_after", 2.8, 2.7),  # before: 4
        ("word_gain_db_lowest", 0.01, 0.0),
        ("log_mel_distance_after", 21.0, 21.1),  # before: 20
        ("silent_share", 0.0, 0.01),
        ("clipped_share", 0.25, 0.26),
        ("noise_share", 0.35, 0.36),  # of the recordings: 0.1
        ("copied_share", 0.1, 0.11),  # of held-out recordings: 0
        ("loss_gap", 1.0, 1.01),
        ("held_out_segments", 8.0, 7.0),
        ("probe_share", 0.9, 0.89),
    ],
)
def test_where_the_gate_draws_the_line(name: str, passes: float, fails: float) -> None:
    settings = Settings(gate_probe=0.9)
    assert gate.find_gate_failures(settings, {**GOOD, name: passes}) == ()
    assert len(gate.find_gate_failures(settings, {**GOOD, name: fails})) == 1


def test_copies_that_recordings_show_as_well_are_no_fault() -> None:
    assert gate.find_gate_failures(Settings(), {**GOOD, "copied_share": 0.4, "copied_share_of_held_out": 0.35}) == ()


def test_a_copy_is_told_from_a_sound_of_ones_own() -> None:
    train = [heard(sound(seed)) for seed in range(5)]
    late = Sound(np.concatenate([np.zeros((1, 2000), np.float32), 0.4 * sound(3).data], axis=1), RATE)
    found = metrics.find_training_matches([heard(late), heard(sound(77))], train)
    assert found[0].nearest is train[3]
    assert found[0].same is train[3], "the fingerprint sees through delay and gain"
    assert found[0].is_copy(Settings())
    assert not found[1].is_copy(Settings())
    assert found[0].like > found[1].like
    values = metrics.measure_copying(Settings(), found, metrics.find_training_matches([heard(sound(78))], train))
    assert values["copied_share"] == 0.5
    assert values["copied_share_of_held_out"] == 0.0
    assert metrics.find_training_matches([heard(late)], []) == []


def test_sanity_counts_silence_clipping_and_noise() -> None:
    silence = Sound(np.zeros((1, RATE), np.float32), RATE)
    clipped = Sound(np.sign(sound(1).data), RATE)
    values = metrics.measure_sound_faults(
        [heard(s) for s in (sound(1), silence, clipped, metrics.make_white_noise(silence))], [heard(sound(2))]
    )
    assert values["silent_share"] == 0.25
    assert values["clipped_share"] == 0.25
    assert values["noise_share"] == 0.25
    assert values["noise_share_of_recordings"] == 0.0
    assert values["flatness_of_noise"] == pytest.approx(0.56, abs=0.03)


def test_nearer_sounds_have_a_smaller_kad_and_log_mel_distance() -> None:
    reference = [heard(sound(seed)) for seed in range(12)]
    noise = [heard(metrics.make_white_noise(one.sound)) for one in reference]
    near = [heard(Sound(one.sound.data * 0.5, RATE)) for one in reference]
    values = metrics.compute_kad(Settings(embedding="mel"), reference, [], SoundComparison(reference, noise, near))
    assert values["kad_after"] < 5 < values["kad_before"]
    distances = metrics.compute_log_mel_distances(SoundComparison(reference, noise, near))
    assert distances["log_mel_distance_after"] < 1 < distances["log_mel_distance_before"]
    assert metrics.compute_log_mel_distances(SoundComparison(), "_train") == {}


def test_the_probe_wants_high_and_short() -> None:
    time = np.arange(RATE) / RATE
    drone = Sound(0.3 * np.sin(2 * np.pi * 80 * time)[None].astype(np.float32), RATE)
    pluck = Sound((0.3 * np.sin(2 * np.pi * 1500 * time) * np.exp(-9 * time))[None].astype(np.float32), RATE)
    assert metrics.measure_prompt_separation([drone, drone], [pluck, drone]) == {
        "probe_centroid_share": 0.5,
        "probe_envelope_share": 0.5,
        "probe_share": 0.5,
    }


def test_the_page_is_whole_and_plays() -> None:
    train = [heard(sound(seed), f"<b>{seed}</b>") for seed in range(4)]
    made = SoundComparison(train, train, [heard(sound(seed + 9), "a & b") for seed in range(4)])
    found = metrics.find_training_matches(made.after, train)
    result = Evaluation(metrics={**GOOD, "sounds": 4.0}, passed=False, reasons=("it copies",))
    page = report.render_report(
        Settings(players=2), result, made, found, {"held-out, base model": dict.fromkeys((0.1, 0.3, 0.5, 0.7, 0.9), 1.0)}
    )
    assert page.startswith("<!doctype html>")
    assert page.count("<audio") == 8, "two sounds, each with base, recording and nearest training segment"
    assert "it copies" in page
    assert "&lt;b&gt;" in page
    assert "<b>0" not in page
    assert "http" not in page.replace("http://www.w3.org", "")


def test_embeddings_that_are_not_there_say_how_to_get_them() -> None:
    with pytest.raises(ModelError, match="PANNs are not installed") as caught:
        embeddings.embed_sound_sets(Settings(embedding="panns"), [heard(sound(1))])
    assert "mel_latents" in caught.value.cure


def _inputs(folder: Path, **meta: str) -> dict[str, Path]:
    """A dataset of one row, latents and weights that belong to it, but for what `meta` says."""
    segment = Segment(
        id="1" * 64, recording="2" * 64, start_frame=0, end_frame=10, sample_rate_hz=44_100, blob="blobs/none", frames=10
    )
    row = DatasetRow(segment=segment, caption=Caption(text="x"), split="train", contributors=("ana",), licence="x")
    dataset = Manifest("datasets", [row])
    latents = LatentRow(
        segment="1" * 64, recording="2" * 64, split="train", latents="blobs/none", latent_frames=1, seconds=1.0, captions=("x",)
    )
    about = {"dataset": dataset.digest, "base": "tiny", "base_digest": "b" * 64, **meta}
    pointer = WeightsPointer(
        weights="blobs/w",
        weights_digest="c" * 64,
        config="blobs/c",
        base="tiny",
        base_digest="b" * 64,
        dataset=meta.get("weights_of", dataset.digest),
    )
    (folder / "weights").write_text(pointer.model_dump_json())
    return {
        "weights": folder / "weights",
        "dataset": dataset.write(folder / "dataset"),
        "latents": Manifest("latents", [latents], about).write(folder / "latents"),
        **{name: folder / name for name in ("evaluation", "report", "metrics")},
    }


@pytest.mark.parametrize(
    ("meta", "word"),
    [
        ({"weights_of": "9" * 64}, "weights were not trained on this dataset"),
        ({"dataset": "9" * 64}, "latents were made of another dataset"),
        ({"base_digest": "9" * 64, "base": "other"}, "latents were made with 'other'"),
    ],
)
def test_inputs_that_do_not_belong_together(meta: dict[str, str], word: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=word):
        run_step(Settings(), FolderStore(tmp_path / "store"), ignore_progress, **_inputs(tmp_path, **meta))


@pytest.mark.parametrize("name", ["weights", "dataset", "latents"])
def test_inputs_that_were_cut(name: str, tmp_path: Path) -> None:
    paths = _inputs(tmp_path)
    paths[name].write_bytes(paths[name].read_bytes()[:-20])
    with pytest.raises(ManifestError):
        run_step(Settings(), FolderStore(tmp_path / "store"), ignore_progress, **paths)
    with pytest.raises(AudioTuneError):
        run_step(Settings(), FolderStore(tmp_path / "store"), ignore_progress, **{**paths, name: tmp_path / "missing"})
    assert not paths["evaluation"].exists()


def shaped_noise(seed: int, tilt: float) -> Sound:
    """Noise of a model that knows no more than the mean spectrum: `tilt` 0 is white, 1 is red."""
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal(RATE))
    data = np.fft.irfft(spectrum / np.maximum(np.arange(len(spectrum)), 20) ** tilt)
    return Sound((0.3 * data / np.abs(data).max())[None].astype(np.float32), RATE)


@pytest.mark.parametrize("tilt", [0.0, 0.5, 1.0])
def test_noise_that_came_nearer_is_still_noise(tilt: float) -> None:
    def record(first: int) -> list[MeasuredSound]:
        return [MeasuredSound(sound(first + i), f"melody {i}", None, f"recording {(first + i) // 3}") for i in range(24)]

    held, train = record(0), record(100)
    before, after = ([heard(shaped_noise(seed + i, at)) for i in range(24)] for seed, at in ((0, 0.0), (50, tilt)))
    values = metrics.compute_kad(Settings(embedding="mel"), held, train, SoundComparison(held, before, after))
    reasons = gate.find_gate_failures(Settings(), {**GOOD, **values, "kad_before": 1e3, "kad_gain_of_luck": 1.0})
    assert any("its sounds are not like the recordings" in reason for reason in reasons)
    assert any("its sounds are too much alike" in reason for reason in reasons)
    own = metrics.compute_kad(Settings(embedding="mel"), held, train, SoundComparison(held, before, record(200)))
    assert gate.find_gate_failures(Settings(), {**GOOD, **own}) == (), "other melodies of the same group"
