"""Checks of register before it calls MLflow: inputs that do not match, are damaged or withdrawn are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from audiotune.audio.figures import draw_spectrogram
from audiotune.audio.sound import Sound
from audiotune.domain.lineage import bind_weights
from audiotune.domain.release import Evaluation, WeightsPointer
from audiotune.errors import (
    AudioTuneError,
    ConsentError,
    DamagedBlobError,
    LineageError,
    ManifestError,
    ModelError,
    NotInStoreError,
)
from audiotune.reporting import html
from audiotune.reporting.progress import ignore_progress
from components.register import model_card
from components.register.settings import Settings
from components.register.step import choose_notice, run_step
from tests.fakes.group_release import Group, group


@pytest.fixture
def ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Group:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")  # nobody: whoever asks it fails
    return group(tmp_path)


def refused(ours: Group, error: type[AudioTuneError], word: str) -> None:
    with pytest.raises(error, match=word):
        run_step(Settings(name="ours"), ours.store, ignore_progress, **ours.paths)
    assert not ours.paths["release"].exists()
    assert not ours.releases()


def test_weights_of_another_dataset(ours: Group) -> None:
    ours.write(ours.pointer.model_copy(update={"dataset": "9" * 64}))
    refused(ours, ModelError, "not trained on this dataset")


def test_weights_that_the_store_knows_from_another_training(ours: Group) -> None:
    """Whoever changes a run's pointer and dataset alike meets what unwrap wrote down."""
    bind_weights(ours.store, ours.pointer.model_copy(update={"dataset": "9" * 64}))
    refused(ours, LineageError, f"were trained on dataset {'9' * 64}")


def test_a_damaged_manifest_of_the_dataset_in_the_store(ours: Group) -> None:
    ours.store.put(ours.dataset.key, ours.dataset.to_bytes()[:-5])
    refused(ours, LineageError, "cut or changed")


def test_a_digest_that_the_key_does_not_carry(ours: Group) -> None:
    ours.write(ours.pointer.model_copy(update={"weights_digest": "9" * 64}))
    refused(ours, ModelError, "does not carry their digest")


def test_weights_that_were_changed_in_the_store(ours: Group) -> None:
    (Path(ours.store.url) / ours.pointer.weights).write_bytes(b"other weights")
    refused(ours, DamagedBlobError, "does not match")


def test_a_config_that_is_gone(ours: Group) -> None:
    ours.store.delete(ours.pointer.config)
    refused(ours, NotInStoreError, "nothing is stored")


def test_an_evaluation_of_other_weights(ours: Group) -> None:
    ours.write(Evaluation(metrics={}, passed=True, weights="9" * 64))
    refused(ours, ModelError, "of other weights")


@pytest.mark.parametrize("name", ["weights", "evaluation", "dataset"])
def test_inputs_that_were_cut(ours: Group, name: str) -> None:
    ours.paths[name].write_bytes(ours.paths[name].read_bytes()[:-30])
    refused(ours, ManifestError, "can be read|cut or changed")


def test_somebody_withdrew_between_finetune_and_register(ours: Group) -> None:
    ours.withdraw("chi")
    refused(ours, ConsentError, "chi has not agreed to release")


def test_stable_audio_is_named_however_it_was_found(ours: Group) -> None:
    given = ours.agreement.model_copy(update={"base_model_notices": {"stabilityai/stable-audio-open-1.0": "Our words."}})
    assert choose_notice(given, "stabilityai/stable-audio-open-1.0") == "Our words."
    assert choose_notice(given, "/mirror/stable-audio-open-1.0/") == "Our words."
    assert "Powered by Stability AI" in choose_notice(given, "stabilityai/stable-audio-open-small")
    assert choose_notice(given, "tiny") == ""


def test_a_folder_of_any_name_keeps_the_notice_that_lies_beside_it(ours: Group) -> None:
    agreement = ours.agreement.model_copy(update={"base_model_notices": {}})
    stability = {"LICENSE.md": "STABILITY AI\nThe Stability AI\nCommunity License applies."}
    assert "Powered by Stability AI" in choose_notice(agreement, "/data/our-base", stability)
    assert choose_notice(agreement, "/data/theirs", {"NOTICE": "Made by\n them.", "LICENSE": "MIT"}) == "Made by them."
    assert choose_notice(agreement, "/data/theirs", {"LICENSE": "MIT"}) == ""


def test_the_card_names_people_and_escapes_words(ours: Group) -> None:
    pointer = WeightsPointer.model_validate_json(ours.paths["weights"].read_bytes())
    release = ours.release(pointer).model_copy(update={"notice": "Powered by <them>"})
    people = {member.id: member.name for member in ours.agreement.members}
    text = model_card.render_markdown(release, people, "For us.")
    assert "Ana, Ben, Chi" in text
    assert "For us." in text
    assert release.digest in text
    page = model_card.render_html(release, people, "For <us>.", ["candidate"], "the gate did not pass: it copies")
    assert page.startswith("<!doctype html>")
    assert "Powered by &lt;them&gt;" in page
    assert "For &lt;us&gt;." in page
    assert "Not champion: the gate did not pass: it copies." in page
    assert "Powered by <them>" in model_card.render_notice(release, people)


def test_the_last_step_can_be_heard(ours: Group) -> None:
    """Players and spectrograms of the evaluation stand in the card, too: it is the report of a run's last step."""
    sound = Sound(np.zeros((1, 800), np.float32), 8000)
    listen = html.render_section(
        "Listen", html.render_player(sound, label="tuned model"), html.render_picture(draw_spectrogram(sound), "a tone")
    )
    judged = html.render_page("Evaluation", html.render_section("Numbers", "1") + listen + html.render_section("After", "2"))
    pointer = WeightsPointer.model_validate_json(ours.paths["weights"].read_bytes())
    page = model_card.render_html(ours.release(pointer), {}, "", ["champion"], "", judged)
    assert listen in page
    assert "<audio controls" in page
    assert 'alt="a tone"' in page
    assert "<h2>Numbers</h2>" not in page
    assert "<h2>After</h2>" not in page
    assert "<audio" not in model_card.render_html(ours.release(pointer), {}, "", ["champion"], "", "no page of ours")
