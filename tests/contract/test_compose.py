"""deploy/compose.yaml and its keys, without starting anything: the same images and manners as the chart."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from audiotune.registry.mlflow_app import read_keys_from_environment
from audiotune.store.layout import USERS
from deploy.chart.service_settings import ServiceSetting
from deploy.compose import keys
from deploy.images.__main__ import IMAGES, read_version
from services.generation.settings import GenerationSettings
from services.governance.settings import GovernanceSettings
from services.studio.settings import StudioSettings

FOLDER = Path(__file__).resolve().parents[2] / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((FOLDER / "compose.yaml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
JOBS = ("keys", "bootstrap", "first-owner", "erasure", "withdrawals")


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_can_do_little(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges" in service["security_opt"]
    assert "privileged" not in service


def test_only_the_maker_of_keys_is_root_and_it_has_no_network() -> None:
    assert [name for name, service in SERVICES.items() if service.get("user", "").startswith("0")] == ["keys"]
    assert SERVICES["keys"]["network_mode"] == "none"


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_mounts_no_keys_but_its_own(name: str) -> None:
    mounted = {v.split(":")[0] for v in SERVICES[name]["volumes"] if v.startswith("keys-")}
    allowed = {
        "keys": {f"keys-{service}" for service in keys.SERVICES},
        "bootstrap": {"keys-root", *(f"keys-{user}" for user in USERS)},
        "first-owner": {"keys-root"},
        "object-store": {"keys-root"},
        "registry": {"keys-registry", "keys-database", "keys-mlflow-write", "keys-mlflow-read"},
        "generation": {"keys-generation", "keys-mlflow-read"},
        "generation-gpu": {"keys-generation", "keys-mlflow-read"},
        "governance": {"keys-governance", "keys-asks", "keys-erases", "keys-ledger"},
        "withdrawals": {"keys-erasure", "keys-erases", "keys-mlflow-write"},
        "studio": {"keys-studio", "keys-asks"},
    }
    assert mounted == allowed.get(name, {f"keys-{name}"})


def test_every_user_of_the_store_gets_a_key() -> None:
    assert set(keys.SERVICES) == {*USERS, "root", "database", "asks", "erases", "ledger", "mlflow-write", "mlflow-read"}


@pytest.mark.parametrize("name", sorted(set(SERVICES) - {"database"}))
def test_an_image_is_one_of_ours_at_this_version(name: str) -> None:
    head, _, tail = SERVICES[name]["image"].rpartition("/")
    image, _, tag = tail.partition(":")
    assert head == "${AUDIOTUNE_IMAGES:-localhost/audio-tune}"
    assert image in IMAGES
    assert tag == f"${{AUDIOTUNE_VERSION:-{read_version()}}}"


def test_what_keeps_running_says_how_it_is() -> None:
    without = [name for name, service in SERVICES.items() if "healthcheck" not in service]
    assert sorted(without) == sorted(JOBS)


def test_only_what_people_use_is_published() -> None:
    assert COMPOSE["networks"]["inside"] == {"internal": True}
    published = {name for name, service in SERVICES.items() if "ports" in service}
    assert published == {"studio", "generation", "generation-gpu"}
    assert all(port.startswith("${AUDIOTUNE_ADDRESS:-127.0.0.1}:") for name in published for port in SERVICES[name]["ports"])
    assert all(SERVICES[name]["environment"]["AUDIOTUNE_ACCESS"] == "members" for name in published)


def test_no_setting_holds_a_password() -> None:
    for service in SERVICES.values():
        for name, value in (service.get("environment") or {}).items():
            assert not any(word in name for word in ("PASSWORD", "SECRET", "TOKEN")) or str(value).startswith("/keys/")


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_waits_only_for_what_runs_with_it(name: str) -> None:
    for other in SERVICES[name].get("depends_on", {}):
        assert set(SERVICES[name]["profiles"]) <= set(SERVICES[other]["profiles"])


def test_generation_runs_on_the_cpu_or_on_a_gpu_never_on_both() -> None:
    both = [set(SERVICES[name]["profiles"]) for name in ("generation", "generation-gpu")]
    assert both == [{"core"}, {"gpu"}]
    assert SERVICES["generation-gpu"]["environment"]["AUDIOTUNE_GENERATION_DEVICE"] == "cuda"


def test_every_volume_is_declared() -> None:
    named = {v.split(":")[0] for s in SERVICES.values() for v in s["volumes"] if not v.startswith(".")}
    assert named == set(COMPOSE["volumes"])


def test_keys_are_made_once_and_nobody_else_reads_them(tmp_path: Path) -> None:
    assert keys.make_keys(tmp_path) == list(keys.SERVICES)
    before = {path: path.read_text() for path in tmp_path.rglob("*key")}
    assert keys.make_keys(tmp_path) == []
    assert {path: path.read_text() for path in tmp_path.rglob("*key")} == before
    assert len(before) == 2 * len(keys.SERVICES) == len(set(before.values()))
    assert all(path.stat().st_mode & 0o777 == 0o440 for path in before)


def test_half_a_key_is_made_anew(tmp_path: Path) -> None:
    keys.make_keys(tmp_path)
    (tmp_path / "studio" / "secretkey").unlink()
    assert keys.make_keys(tmp_path) == ["studio"]


def test_a_command_gets_its_key_and_no_argument_shows_it(tmp_path: Path) -> None:
    keys.make_keys(tmp_path)
    show = [sys.executable, "-c", "import os; print(os.environ['AWS_SECRET_ACCESS_KEY'], os.environ['PGPASSWORD'])"]
    use = [sys.executable, keys.__file__, "use", str(tmp_path / "registry"), "--database", str(tmp_path / "database"), *show]
    done = subprocess.run(use, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [(tmp_path / name / "secretkey").read_text() for name in ("registry", "database")]


def test_studio_and_governance_service_share_a_key(tmp_path: Path) -> None:
    keys.make_keys(tmp_path)
    names = ("AUDIOTUNE_GOVERNANCE_KEY", "AUDIOTUNE_GOVERNANCE_STUDIO_KEY")
    show = [sys.executable, "-c", f"import os; print(*(os.environ[name] for name in {names}))"]
    use = [sys.executable, keys.__file__, "use", str(tmp_path / "studio"), "--asks", str(tmp_path / "asks"), *show]
    done = subprocess.run(use, capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == {(tmp_path / "asks" / "secretkey").read_text()}
    GovernanceSettings(studio_key=done.stdout.split()[0])  # long enough
    for service in ("studio", "governance"):
        assert SERVICES[service]["command"][4:6] == ["--asks", "/asks"]


def test_the_job_of_withdrawals_and_the_governance_service_share_a_key(tmp_path: Path) -> None:
    keys.make_keys(tmp_path)
    folders = {"--asks": "asks", "--ledger": "ledger", "--erases": "erases", "--mlflow-write": "mlflow-write"}
    given = {}
    for name in ("governance", "withdrawals"):
        words = [
            str(tmp_path / folders[before]) if before in folders else word for before, word in pairwise(SERVICES[name]["command"])
        ]
        given[name], started = keys.read_environment([str(tmp_path / "erasure"), *words[3:]])
        assert started[-1] in ("--port=7870", "finish")
    assert given["withdrawals"]["AUDIOTUNE_GOVERNANCE_KEY"] == given["governance"]["AUDIOTUNE_GOVERNANCE_ERASURE_KEY"]
    assert given["governance"]["AUDIOTUNE_GOVERNANCE_STUDIO_KEY"] != given["governance"]["AUDIOTUNE_GOVERNANCE_ERASURE_KEY"]


def test_generation_reads_mlflow_with_the_key_that_the_registry_takes_for_reading(tmp_path: Path) -> None:
    keys.make_keys(tmp_path)
    given = {}
    for name in ("generation", "generation-gpu", "registry"):
        command = [
            "/".join((str(tmp_path), word[1:])) if word.startswith("/mlflow") else word for word in SERVICES[name]["command"]
        ]
        words = [str(tmp_path / "root"), *(word for word in command[4:] if word not in ("--database", "/database"))]
        given[name], started = keys.read_environment(words)
        assert not any(path.read_text() in " ".join(started) for path in tmp_path.rglob("secretkey"))
    with pytest.MonkeyPatch.context() as environment:
        for variable, value in given["registry"].items():
            environment.setenv(variable, value)
        write_keys, read_keys = read_keys_from_environment()
    assert write_keys == [(tmp_path / "mlflow-write" / "secretkey").read_text()]
    assert {given[name]["MLFLOW_TRACKING_TOKEN"] for name in ("generation", "generation-gpu")} == set(read_keys)
    assert "--app-name=audio-tune" in SERVICES["registry"]["command"]
    assert [name for name, service in SERVICES.items() if "MLFLOW_TRACKING_URI" in (service.get("environment") or {})] == [
        "withdrawals",
        "generation",
        "generation-gpu",
    ]


def test_without_keys_the_words_say_who_makes_them(tmp_path: Path) -> None:
    use = [sys.executable, keys.__file__, "use", str(tmp_path), "true"]
    done = subprocess.run(use, capture_output=True, text=True, check=False, env=dict(os.environ))
    assert done.returncode == 1
    assert "has the service `keys` run?" in done.stderr


@pytest.mark.parametrize(
    ("name", "settings"),
    [("generation", GenerationSettings), ("generation-gpu", GenerationSettings), ("studio", StudioSettings)],
)
def test_what_a_service_is_given_is_a_setting_that_it_knows(name: str, settings: type[BaseModel]) -> None:
    known = {ServiceSetting(settings, field).variable for field in settings.model_fields}
    given = {variable for variable in SERVICES[name]["environment"] if variable.startswith(f"AUDIOTUNE_{name[:6].upper()}")}
    assert given
    assert given <= known


def test_generation_follows_the_same_release_as_in_the_chart() -> None:
    name = yaml.safe_load((FOLDER.parent / "helm/audio-tune/values.yaml").read_text())["generation"]["release"]["name"]
    for service in ("generation", "generation-gpu"):
        # without a name it asks "which one?" and is not ready before somebody answers
        assert SERVICES[service]["environment"]["AUDIOTUNE_GENERATION_RELEASE"] == f"${{AUDIOTUNE_RELEASE:-{name}}}"


def test_no_volume_is_mounted_below_a_link() -> None:
    """podman 4 looks where /var/run leads on the host, and takes the owner of what it finds there."""
    mounted = [volume.split(":")[1] for service in SERVICES.values() for volume in service["volumes"]]
    assert not [path for path in mounted if path.startswith("/var/run")]
