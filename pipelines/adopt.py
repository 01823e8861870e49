"""Adopts a training from elsewhere: its recordings, its captions and its weights become a release like every other.

    audiotune adopt epoch=53-step=800.ckpt --recordings dataset --base stabilityai/stable-audio-open-1.0 ...

The recordings go through ingest, whose agreement and consents count as ever; clips stay as they are. Weights hold every sound that they
were trained on, so nothing may be missing: one recording that is refused or has no caption stops it. A second run reuses what is done.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audiotune.adoption.request import AdoptionRequest
from audiotune.domain.dataset import DatasetRow, contributors_by_recording
from audiotune.domain.manifest import load_manifest
from audiotune.domain.recording import Recording
from audiotune.domain.release import Release
from audiotune.errors import AudioTuneError, ConsentError, ModelError, SourceError
from audiotune.outside.proxies import configure_proxies
from audiotune.reporting.last_words import print_last_words
from audiotune.store import Store, open_store
from components.executor import StepResult, validate_settings
from pipelines.recipe import Recipe, load_recipe, load_step_settings

_LONGEST_CLIP_S = 300.0


@dataclass(frozen=True)
class Adoption:
    """One adoption in its folder: runs steps by name, their files beside each other."""

    request: AdoptionRequest
    store: Store
    recipe: Recipe

    def run(self, step: str, settings: Mapping[str, Any], **inputs: Path) -> StepResult:
        """Runs a step in this process; its outputs lie in the folder under their names."""
        interface = importlib.import_module(f"components.{step}.settings")
        chosen = validate_settings(load_step_settings(step), {**self.recipe.settings_for(step), **settings})
        outputs = {name: self.find(step, name) for name in interface.OUTPUTS}
        self.request.out.mkdir(parents=True, exist_ok=True)

        def report(share: float, words: str) -> None:
            print(f"{step}: {words}", flush=True)

        result: StepResult = importlib.import_module(f"components.{step}.step").run_step(
            chosen, self.store, report, **inputs, **outputs
        )
        return result

    def find(self, step: str, output: str) -> Path:
        """Where a step's output lies."""
        return self.request.out / f"{step}.{output}{'.html' if output == 'report' else ''}"


def adopt_training(request: AdoptionRequest) -> Release:
    """The registered release.

    Raises SourceError, ConsentError: not every recording was taken in. Raises what the steps raise.
    """
    if not request.weights.exists():
        raise ModelError("no such weights", where=str(request.weights), cure="name a .ckpt, a .safetensors or an adapter")
    recipe = load_recipe(request.recipe) if request.recipe else Recipe(name="adopt")
    adoption = Adoption(request, open_store(request.store), recipe)
    segments = _bring_in_recordings(adoption)
    dataset = _describe_clips(adoption, segments)
    origin = {"base": request.base, "made_by": request.made_by, "licence": request.licence, "dataset": str(dataset)}
    unwrapping = {**origin, "lora": request.lora, **({"ema": request.ema} if request.ema is not None else {})}
    adoption.run("unwrap", unwrapping, checkpoint=request.weights)  # first: what is no checkpoint of this base ends it here
    adoption.run("encode", {"base": request.base}, dataset=dataset)
    weights, latents = adoption.find("unwrap", "weights"), adoption.find("encode", "latents")
    adoption.run("evaluate", {}, weights=weights, latents=latents, dataset=dataset)
    evaluation = adoption.find("evaluate", "evaluation")
    adoption.run("register", {"name": request.name}, weights=weights, dataset=dataset, evaluation=evaluation)
    return Release.model_validate_json(adoption.find("register", "release").read_bytes())


def read_sources(recordings: str) -> str:
    """The folder of a dataset config of stable-audio-tools; any other source as it is.

    Raises SourceError: a config of several folders, of encoded latents, or one that cannot be read.
    """
    path = Path(recordings)
    if path.suffix != ".json" or not path.is_file():
        return recordings
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        folders = [str(one["path"]) for one in config["datasets"]]
    except (OSError, ValueError, KeyError, TypeError) as e:
        raise SourceError(
            f"no dataset config of stable-audio-tools: {e!r}", where=recordings, cure="name the folder itself"
        ) from e
    if config.get("dataset_type") != "audio_dir" or len(folders) != 1:
        what = f"a dataset of type {config.get('dataset_type')!r} with {len(folders)} folders"
        raise SourceError(what, where=recordings, cure="lay the recordings, as sound files, into one folder and name it")
    folder = Path(folders[0]).expanduser()
    return str(folder if folder.is_absolute() else path.parent / folder)


def _bring_in_recordings(adoption: Adoption) -> str:
    """Store key of the segments: each clip as it is."""
    request = adoption.request
    facts = {"contributors": request.contributors, "agreement": request.agreement, "session": request.session}
    taken = adoption.run("ingest", {"source": read_sources(request.recordings), **facts}).metrics
    if taken["refused"] or taken["waiting"]:
        what = f"{taken['refused']:.0f} files were refused and {taken['waiting']:.0f} wait for somebody's word, and are in the weights"
        cure = f"the report names each ({adoption.find('ingest', 'report')}): mend it or ask for consent, and run this again"
        raise ConsentError(what, where=request.recordings, cure=cure)
    cutting = {"whole": True, "keep_levels": True, "max_s": _LONGEST_CLIP_S}
    return str(adoption.run("segment", cutting, recordings=adoption.find("ingest", "recordings")).parameters["segments_key"])


def _describe_clips(adoption: Adoption, segments: str) -> Path:
    """The dataset: sidecars say what is heard; where clips have none, the file names. Every recording must be in it."""
    taken = load_manifest(adoption.find("ingest", "recordings"), "recordings", Recording)
    sources = "sidecars" if all(one.words for one in taken.rows) else "sidecars,file_names"
    adoption.run("annotate_merge", {"segments": segments, "sources": sources})
    dataset = adoption.find("annotate_merge", "dataset")
    used = contributors_by_recording(load_manifest(dataset, "datasets", DatasetRow))
    missing = [one.name for one in taken.rows if one.id not in used]
    if missing:
        what = f"{len(missing)} recordings are not in the dataset, and are in the weights: {', '.join(missing[:10])}"
        cure = "write a caption beside each (take.txt or take.json), or set caption_fallback in a recipe; the report names the reasons"
        raise SourceError(what, where=adoption.request.recordings, cure=cure)
    return dataset


def main(arguments: Sequence[str] | None = None) -> int:
    """Takes an AdoptionRequest as JSON. Returns the exit code; the last line on stderr is the reason."""
    configure_proxies()
    request = AdoptionRequest.model_validate_json((sys.argv[1:] if arguments is None else arguments)[0])
    try:
        made = adopt_training(request)
    except AudioTuneError as e:
        print_last_words("adopt", str(e))
        return 1
    gate = "passed" if made.evaluation.passed else "did not pass: " + "; ".join(made.evaluation.reasons)
    print(f"{made.name} version {made.version} is registered; the gate {gate}. Reports: {request.out}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
