"""LoRA adapters that were really trained, registered in MLflow and requested over HTTP: gates, seeds, metadata of the sound."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from audiotune import governance
from audiotune.domain.dataset import DatasetRow, contributors_by_recording
from audiotune.domain.lineage import build_lineage, read_dataset, require_lineage
from audiotune.domain.manifest import Manifest, load_manifest
from audiotune.domain.release import CheckpointPointer, Evaluation, Release, WeightsPointer
from audiotune.errors import LineageError
from audiotune.governance import Consent
from audiotune.registry import releases
from audiotune.reporting.progress import ignore_progress
from audiotune.stable_audio.adapters import Adapter
from audiotune.stable_audio.release_weights import open_weights
from audiotune.stable_audio.sample import SamplingRequest, generate_batch, generate_sounds
from tests.fakes.in_process_service import until
from tests.fakes.small_training import SmallTraining, make_small_training

pytestmark = pytest.mark.integration
KNOBS: dict[str, Any] = {
    "steps": 4,
    "batch_size": 4,
    "learning_rate": 2e-2,
    "experiment": "",
    "demos": 0,
    "validate_rows": 4,
    "warmup_steps": 1,
    "mode": "lora",
    "lora_rank": 4,
    "train_conditioner": False,
}
ASK: dict[str, Any] = {"prompt": "low drone", "seconds": 0.5, "steps": 4, "seed": 7}


@dataclass(frozen=True)
class Group:
    """A trained group: two adapters of one base, each also merged."""

    world: SmallTraining
    kept: dict[str, WeightsPointer]
    merged: dict[str, WeightsPointer]

    def adapter(self, name: str) -> Adapter:
        pointer = self.kept[name]
        return Adapter(pointer.adapter_digest, lambda: self.world.store.fetch(pointer.adapter))


@pytest.fixture(scope="module")
def group(tmp_path_factory: pytest.TempPathFactory) -> Group:
    import torch

    torch.set_num_threads(1)
    world = make_small_training(tmp_path_factory.mktemp("adapters"), segments_each=6)
    kept, merged = {}, {}
    for seed, name in enumerate(("grit", "tape"), start=1):
        made = on_a_part(world, name, only_chi=name == "tape")
        made.encoded()
        trained(made, seed)
        kept[name], merged[name] = unwrapped(made, "keep"), unwrapped(made, "merge")
    return Group(world, kept, merged)


def on_a_part(world: SmallTraining, name: str, *, only_chi: bool) -> SmallTraining:
    """The same group with a dataset of the recordings that only chi is heard in, or of the others."""
    whole = load_manifest(world.dataset, "datasets", DatasetRow)
    rows = [row for row in whole.rows if (row.contributors == ("chi",)) == only_chi]
    part, folder = Manifest("datasets", rows, whole.meta), world.folder / name
    folder.mkdir()
    part.save(world.store)
    return replace(world, folder=folder, dataset=part.write(folder / "dataset.jsonl"))


def trained(made: SmallTraining, seed: int) -> None:
    from components.finetune.settings import Settings
    from components.finetune.step import run_step

    settings = Settings.model_validate({**KNOBS, "base": str(made.base), "seed": seed})
    paths = {name: made.folder / name for name in ("checkpoint", "report", "metrics")}
    run_step(settings, made.store, ignore_progress, latents=made.folder / "latents.jsonl", dataset=made.dataset, **paths)
    assert CheckpointPointer.model_validate_json(paths["checkpoint"].read_bytes()).kind == "lora"


def unwrapped(made: SmallTraining, lora: str) -> WeightsPointer:
    from components.unwrap.settings import Settings
    from components.unwrap.step import run_step

    paths = {name: made.folder / name for name in ("checkpoint", "weights", "metrics")}
    run_step(Settings.model_validate({"lora": lora}), made.store, ignore_progress, **paths)
    return WeightsPointer.model_validate_json(paths["weights"].read_bytes())


def asked(seed: int, *added: tuple[Adapter, float]) -> SamplingRequest:
    return SamplingRequest(ASK["prompt"], seconds=0.5, steps=4, seed=seed, adapters=added)


def difference(one: Any, other: Any) -> float:
    """Largest difference of two sounds against the louder one's peak."""
    peak = max(float(np.abs(one.data).max()), float(np.abs(other.data).max()))
    return float(np.abs(one.data - other.data).max()) / peak


def test_an_adapter_beside_the_base_is_the_adapter_merged(group: Group) -> None:
    base = open_weights(group.world.store, group.kept["grit"].model_copy(update={"adapter": ""}))
    grit, tape = group.adapter("grit"), group.adapter("tape")
    plain, beside, half, both, nothing = (
        generate_sounds(base, [asked(7, *added)])[0]
        for added in ((), [(grit, 1.0)], [(grit, 0.5)], [(grit, 1.0), (tape, 1.0)], [(grit, 1.0), (grit, -1.0)])
    )
    merged = generate_sounds(open_weights(group.world.store, group.merged["grit"]), [asked(7)])[0]
    assert difference(beside, merged) < 1e-3 < difference(half, merged)
    assert difference(nothing, plain) < 1e-3 < min(difference(half, plain), difference(both, beside))
    served = open_weights(group.world.store, group.kept["grit"])  # the adapter in its weights, turned down to nothing
    assert difference(generate_sounds(served, [asked(7, (grit, -1.0))])[0], plain) < 1e-3


@pytest.mark.parametrize("sampler", [None, "dpmpp-3m-sde"])
def test_the_same_request_is_the_same_bits_alone_in_company_and_after_a_restart(group: Group, sampler: str | None) -> None:
    import dataclasses

    grit, tape = group.adapter("grit"), group.adapter("tape")
    wish = dataclasses.replace(asked(7, (grit, 0.7), (tape, 0.3)), sampler=sampler)
    first, again = (open_weights(group.world.store, group.merged["tape"]) for _ in range(2))
    alone = generate_sounds(first, [wish])[0].data.tobytes()
    swapped = dataclasses.replace(wish, adapters=wish.adapters[::-1])
    company = [dataclasses.replace(wish, seed=seed) for seed in range(20, 26)]
    for batch in ([wish, *company], [*company, swapped], [company[0], wish]):
        sounds = generate_batch(again, batch)
        place = next(i for i, one in enumerate(batch) if one.seed == 7)
        assert sounds[place] is not None
        assert sounds[place].data.tobytes() == alone
    mixed = [dataclasses.replace(wish, adapters=added) for added in ((), ((grit, 0.7),), wish.adapters)]
    heard = generate_sounds(first, mixed)
    assert heard[2].data.tobytes() == alone
    assert len({sound.data.tobytes() for sound in heard}) == 3


def test_a_dora_of_every_layer_keeps_a_seeds_bits_in_company(group: Group, tmp_path: Path) -> None:
    """With the rows of its linear layers, its convolutions and its conditioner's layers scaled."""
    from audiotune.stable_audio.adapter_files import read_foreign_adapter
    from audiotune.stable_audio.adapters import describe_adapter, open_adapter
    from audiotune.stable_audio.onednn_layers import pack_linear_layers
    from audiotune.stable_audio.weight_merging import collect_adapter_tensors
    from audiotune.store import tensor_files

    file = an_adapter_of_others(str(group.world.base), tmp_path / "theirs.safetensors")
    with tensor_files.open_tensors(group.world.base / "model.safetensors") as base:
        weights = read_foreign_adapter(file, base).weights
        tensors = collect_adapter_tensors(weights, base)
        path = tensor_files.write_tensors(tmp_path / "ours.safetensors", tensors, describe_adapter(weights.scale))
    dora = open_adapter("d" * 64, lambda: path)
    bare = group.kept["grit"].model_copy(update={"adapter": ""})
    plain, packed = open_weights(group.world.store, bare), pack_linear_layers(open_weights(group.world.store, bare))
    wish = asked(7, (dora, 0.7), (group.adapter("tape"), 0.3))
    alone = generate_sounds(packed, [wish])[0]
    company = [replace(wish, seed=seed) for seed in range(20, 24)]
    sounds = generate_batch(packed, [*company, wish])
    assert sounds[-1] is not None
    assert sounds[-1].data.tobytes() == alone.data.tobytes()
    assert difference(generate_sounds(plain, [wish])[0], alone) < 1e-3  # packed layers have no weights to measure
    after = generate_sounds(packed, [asked(7)])[0]
    assert difference(after, alone) > 1e-2
    assert difference(after, generate_sounds(plain, [asked(7)])[0]) < 1e-3  # nothing of it stays


def test_another_bases_adapter_is_refused(group: Group, tmp_path: Path) -> None:
    from audiotune.errors import ModelError
    from audiotune.stable_audio import adapters
    from audiotune.store import tensor_files

    model = open_weights(group.world.store, group.merged["grit"])
    found = tensor_files.read_tensors(group.world.store.fetch(group.kept["grit"].adapter))
    narrow = {name: tensor_files.wrap_tensor(tensor[..., :-1].contiguous()) for name, tensor in found.items()}
    with pytest.raises(ModelError, match="does not fit this model"):
        adapters.check_adapter(model, tensor_files.write_tensors(tmp_path / "narrow.safetensors", narrow, {"scale": "1"}))
    elsewhere = {f"pretransform.{name}": tensor_files.wrap_tensor(tensor) for name, tensor in found.items()}
    with pytest.raises(ModelError, match="does not fit this model"):
        adapters.check_adapter(model, tensor_files.write_tensors(tmp_path / "elsewhere.safetensors", elsewhere, {"scale": "1"}))
    for scale in ("nan", "much"):
        whole = {name: tensor_files.wrap_tensor(tensor) for name, tensor in found.items()}
        with pytest.raises(ModelError, match="scale"):
            adapters.check_adapter(model, tensor_files.write_tensors(tmp_path / "scale.safetensors", whole, {"scale": scale}))
    with pytest.raises(ModelError, match="not an adapter"):
        adapters.check_adapter(model, group.world.store.fetch(group.merged["grit"].weights))


@pytest.fixture
def http(group: Group, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    """The whole service in this process on the real registry and store: `ours` is grit merged, grit and tape are adapters."""
    from services.generation.engine.adapters import AdapterResolver
    from services.generation.engine.engine import Engine
    from services.generation.engine.loaded_releases import LoadedReleases
    from services.generation.engine.quotas import MemberQuotas
    from services.generation.engine.release_loader import ReleaseLoader
    from services.generation.engine.release_watcher import ReleaseWatcher
    from services.generation.http.app import create_app
    from services.generation.http.auth import Authenticator
    from services.generation.http.context import GenerationContext
    from services.generation.http.problems import describe_failure
    from services.generation.jobs.engine_maker import EngineMaker
    from services.generation.jobs.job_store import JobStore
    from services.generation.jobs.worker import JobWorker
    from services.generation.settings import GenerationSettings

    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    monkeypatch.setenv("AUDIOTUNE_CACHE", str(tmp_path / "cache"))
    register(group, "ours", group.merged["grit"])
    for name, pointer in group.kept.items():
        register(group, name, pointer)
    settings = GenerationSettings(release="ours", consent_s=0.01, poll_s=0.2, device="cpu")
    models, loaded, store = ReleaseLoader(settings, group.world.store), LoadedReleases(), group.world.store
    engine = Engine(settings, loaded, generate_batch).start()
    authenticator, jobs, adapters = Authenticator(store, members=False), JobStore(store), AdapterResolver(settings, models)
    watcher = ReleaseWatcher(settings, models, engine, generate_batch, adapters).start()
    worker = JobWorker(jobs, EngineMaker(engine, store, adapters), lease_s=settings.lease_s, describe_failure=describe_failure)
    context = GenerationContext(
        settings, store, engine, authenticator, jobs, adapters, watcher, worker, MemberQuotas(settings, store)
    )
    until(lambda: loaded.default_release)
    yield TestClient(create_app(context), raise_server_exceptions=False)
    watcher.stop()
    engine.stop()


def register(group: Group, name: str, pointer: WeightsPointer) -> Release:
    agreement = governance.read_current_agreement(group.world.store)
    assert agreement is not None
    lineage = build_lineage(read_dataset(group.world.store, pointer.dataset), pointer, agreement.digest)
    judged = Evaluation(metrics={}, passed=True)
    made = Release(name=name, weights=pointer, lineage=lineage, licence="x", notice=f"{name} by all", evaluation=judged)
    made = releases.register_release(made, {})
    made.save(group.world.store)
    releases.set_alias(name, "champion", made.version)
    return made


def test_adapters_over_http(group: Group, http: TestClient) -> None:
    listed = http.get("/v1/releases").json()["adapters"]
    assert {(one["release"], tuple(one["fits"])) for one in listed} == {("grit", ("ours",)), ("tape", ("ours",))}
    assert {one["digest"] for one in listed} == {pointer.adapter_digest for pointer in group.kept.values()}
    wish = {**ASK, "adapters": [{"release": "tape", "strength": 0.7}]}
    plain, made = (http.post("/v1/generations", json=body) for body in (ASK, wish))
    assert made.status_code == 200, made.text
    assert made.content != plain.content
    assert group.kept["tape"].adapter_digest in made.headers["x-audio-tune-adapters"]
    assert (
        http.post("/v1/generations", json={**wish, "adapters": [{"release": "tape:1", "strength": 0.7}]}).content == made.content
    )
    found = http.get(f"/v1/sounds/{made.headers['x-audio-tune-sound']}/lineage").json()
    assert found["contributors"] == ["ana", "ben", "chi"]
    assert found["adapters"][0]["strength"] == 0.7
    unknown = http.post("/v1/generations", json={**ASK, "adapters": [{"release": "tape:7"}]})
    assert (unknown.status_code, unknown.json()["code"]) == (404, "no-such-adapter")
    whole = http.post("/v1/generations", json={**ASK, "adapters": [{"release": "ours"}]})
    assert (whole.status_code, whole.json()["code"]) == (422, "adapter-does-not-fit")
    # two adapters of one base share its weights, and are two versions all the same
    assert group.kept["tape"].weights_digest == group.kept["grit"].weights_digest
    assert register(group, "grit", group.kept["tape"]).version == "2"
    assert register(group, "grit", group.kept["grit"]).version == "1"
    assert releases.read_release("grit", "1").weights == group.kept["grit"]


def test_an_adapter_of_others_comes_in_plays_by_its_makers_licence_and_ours_goes_out(
    group: Group, http: TestClient, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from audiotune.cli import main
    from tests.fakes.upstream_lora import load_with_upstream

    store, base = ["--store", str(group.world.folder / "store")], str(group.world.base)
    out = ["adapter", *store, "export", "grit:1", "--format", "stable-audio-tools", "--to", str(tmp_path / "ours.safetensors")]
    assert main(out) == 0
    assert main(out) == 1  # it is there already
    assert "something already" in capsys.readouterr().err
    assert main([*out[:5], "--format", "peft", "--to", str(tmp_path / "ours-peft")]) == 0
    assert "x" in (tmp_path / "ours-peft" / "NOTICE").read_text()
    bare = group.kept["grit"].model_copy(update={"adapter": ""})
    theirs = load_with_upstream(open_weights(group.world.store, bare), tmp_path / "ours.safetensors")
    here = generate_sounds(open_weights(group.world.store, bare), [asked(7, (group.adapter("grit"), 1.0))])[0]
    assert difference(generate_sounds(theirs, [asked(7)])[0], here) < 1e-3
    bring = ["--base", base, "--by", "Bo", "--licence", "CC-BY-4.0"]
    for own in ("ours.safetensors", "ours-peft"):  # our own people would be asked no more
        assert main(["adapter", *store, "import", str(tmp_path / own), *bring]) == 1
        assert "own adapter grit:1" in capsys.readouterr().err
    empty = an_adapter_of_others(base, tmp_path / "empty.safetensors", kind="lora", trained=False)
    assert main(["adapter", *store, "import", str(empty), *bring]) == 1
    assert "changes nothing" in capsys.readouterr().err
    file = an_adapter_of_others(base, tmp_path / "theirs.safetensors")
    assert main(["adapter", *store, "import", str(file), *bring, "--release", "theirs"]) == 0
    assert "lora_start" in capsys.readouterr().out
    wish = {**ASK, "adapters": [{"release": "theirs:1", "strength": 1.0}]}
    assert http.post("/v1/generations", json=wish).status_code == 422  # nobody measured it, and the group has not decided
    releases.set_alias("theirs", "champion", "1")
    until(lambda: http.post("/v1/generations", json=wish).status_code == 200)
    made = http.post("/v1/generations", json=wish)
    assert "by Bo" in made.headers["x-audio-tune-notice"]
    assert made.content != http.post("/v1/generations", json=ASK).content
    found = http.get(f"/v1/sounds/{made.headers['x-audio-tune-sound']}/lineage").json()
    assert found["contributors"] == ["ana", "ben"]  # those of the release beneath it
    stolen = releases.read_release("theirs", "1")
    forged = stolen.weights.model_copy(update={"origin": stolen.weights.origin.model_copy(update={"by": "Eve"})})  # type: ignore[union-attr]
    with pytest.raises(LineageError, match="another maker"):
        require_lineage(group.world.store, stolen.model_copy(update={"weights": forged}))
    hidden = group.kept["grit"].model_copy(update={"dataset": "", "origin": stolen.weights.origin})
    with pytest.raises(LineageError):  # nobody's consent is got round by calling the group's own adapter another's
        require_lineage(group.world.store, stolen.model_copy(update={"weights": hidden}))


def an_adapter_of_others(base: str, path: Path, *, kind: str = "dora-rows", trained: bool = True) -> Path:
    from stable_audio_tools.models.lora import save_lora_safetensors

    from audiotune.stable_audio.load import load_model
    from tests.fakes.upstream_lora import add_upstream_lora

    config = {"rank": 2, "alpha": 2, "adapter_type": kind}
    state = add_upstream_lora(load_model(Path(base)), config)
    state |= {} if trained else {name: tensor * 0 for name, tensor in state.items() if name.endswith("lora_B")}
    save_lora_safetensors(state, config, path)
    return path


def test_who_withdraws_ends_the_adapters_they_are_in(group: Group, http: TestClient) -> None:
    wish = {**ASK, "adapters": [{"release": "tape", "strength": 0.7}]}
    assert http.post("/v1/generations", json=wish).status_code == 200
    agreement = governance.read_current_agreement(group.world.store)
    assert agreement is not None
    for recording in contributors_by_recording(read_dataset(group.world.store, group.kept["tape"].dataset)):
        for uses in ((), ("store", "train", "release", "generate")):
            governance.record_consent(
                group.world.store,
                Consent(recording=recording, contributor="chi", uses=uses, basis="test", agreement=agreement.digest),
            )
            answer = http.post("/v1/generations", json=wish)
            assert answer.status_code == (200 if uses else 403)
            if not uses:
                assert answer.json()["errors"][0]["field"] == "adapters.0.release"
                assert "chi" in answer.json()["detail"]
                assert http.post("/v1/generations", json=ASK).status_code == 200
