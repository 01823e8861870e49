"""The demos of a training as data, and their names. In the files of its MLflow run:

demos/truth/00-low-drone.wav            the held-out segments themselves, by the base's autoencoder
demos/step-000100/00-low-drone.wav      the same words after step 100
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from audiotune.audio.sound import Sound

TRUTH = "demos/truth"  # folder of a run in MLflow


@dataclass(frozen=True)
class DemoSound:
    """A sound, the words it belongs to, and its place among the demos. `seed` is None for a recording."""

    place: int
    prompt: str
    seed: int | None
    sound: Sound

    @property
    def file_name(self) -> str:
        words = "".join(c if c.isalnum() else "-" for c in self.prompt.lower())[:60].strip("-")
        return f"{self.place:02d}-{words}.wav"


@dataclass(frozen=True)
class DemoRound:
    """The demos after a step. `fault`: why there are none."""

    step: int
    sounds: tuple[DemoSound, ...] = ()
    fault: str = ""
    duration_s: float = 0.0

    @property
    def folder(self) -> str:
        return f"demos/step-{self.step:06d}"


def write_demo_files(sounds: Sequence[DemoSound], folder: Path) -> list[Path]:
    """A WAV for each sound."""
    folder.mkdir(parents=True, exist_ok=True)
    return [one.sound.write(folder / one.file_name) for one in sounds]
