"""A registry that 0.1.0 wrote, served by MLflow: its releases are found, loaded, and make sounds."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from audiotune.domain.release import Release
from audiotune.registry import releases
from audiotune.registry.mlflow_server import run_mlflow_server
from audiotune.stable_audio.sample import SamplingRequest, generate_sounds
from services.generation.engine.release_loader import ReleaseLoader
from services.generation.settings import GenerationSettings
from tests.fakes.layout_store import LayoutStore
from tests.fakes.old_release import read_expected, unpack

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]
EXPECTED = read_expected()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LayoutStore]:
    """The old store beside its registry, which a server shows."""
    folder = tmp_path_factory.mktemp("old")
    with run_mlflow_server(unpack("mlflow", folder)) as url, pytest.MonkeyPatch.context() as environment:
        environment.setenv("MLFLOW_TRACKING_URI", url)
        environment.setenv("AUDIOTUNE_CACHE", str(folder / "cache"))
        yield LayoutStore(unpack("store", folder))


@pytest.mark.usefixtures("store")
def test_releases_are_found_by_name_alias_and_digest() -> None:
    assert releases.list_release_names() == EXPECTED["mlflow"]["models"]
    for name, wanted in EXPECTED["releases"].items():
        assert releases.list_aliases(name) == wanted["aliases"]
        champion = _read_by_alias(name, "champion")
        found = (champion.version, champion.digest, champion.weights.adapter_digest, champion.evaluation.metrics)
        assert found == (wanted["version"], wanted["digest"], wanted["adapter_digest"], wanted["metrics"])
        sought = (wanted["digest"], wanted["adapter_digest"])
        assert [r for r in releases.list_releases(name) if (r.digest, r.weights.adapter_digest) == sought] == [champion]
    candidate = _read_by_alias(EXPECTED["candidate"]["name"], "candidate")
    assert (candidate.version, candidate.digest) == (EXPECTED["candidate"]["version"], EXPECTED["candidate"]["digest"])
    assert list(candidate.evaluation.reasons) == EXPECTED["candidate"]["reasons"]


def _read_by_alias(name: str, alias: str) -> Release:
    version = releases.find_version_by_alias(name, alias)
    assert version is not None
    return releases.read_release(name, version)


@pytest.mark.parametrize("name", sorted(EXPECTED["releases"]))
def test_a_champion_is_loaded_and_makes_a_sound(store: LayoutStore, name: str) -> None:
    loader = ReleaseLoader(GenerationSettings(release=name, device="cpu"), store)
    loaded = loader.load(name, EXPECTED["releases"][name]["version"])
    loader.require_consent(loaded.release)
    assert loaded.release.digest == EXPECTED["releases"][name]["digest"]
    (sound,) = generate_sounds(loaded.model, [SamplingRequest("dark drone", seconds=0.2, steps=2, seed=7, guidance=1.0)])
    assert sound.duration_s == pytest.approx(0.2, abs=0.01)


def test_an_adapter_goes_onto_the_merged_release(store: LayoutStore) -> None:
    loader = ReleaseLoader(GenerationSettings(release="patch-bay", device="cpu"), store)
    adapter = releases.read_release("grit", EXPECTED["releases"]["grit"]["version"])
    loader.check_fit(loader.load("patch-bay", EXPECTED["releases"]["patch-bay"]["version"]), loader.load_adapter(adapter))
