"""The studio's launchers: a process of this machine, and Kubeflow over HTTP against a hand-written server."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from audiotune.errors import PipelineError
from audiotune.store import FolderStore
from services.studio import uploads
from services.studio.kubeflow_prepare_runner import KubeflowPrepareRunner
from services.studio.prepare_runner import LocalPrepareRunner, PrepareProgress, parse_progress_line, read_reports
from services.studio.uploads import Upload
from tests.fakes.kubeflow import FakeKubeflow, serving
from tests.fakes.seeded_store import agreement, tone

# A stand-in for pipelines.local: tells progress, leaves a report, and writes down how it was called.
_PROGRAM = """
import json, os, pathlib, sys
out = pathlib.Path(sys.argv[sys.argv.index("--out") + 1])
source = next(a for a in sys.argv if a.startswith("source="))[7:]
(out / "ingest").mkdir(parents=True)
(out / "ingest" / "report").write_text("<!doctype html><title>in</title>")
(out / "called.json").write_text(json.dumps({"argv": sys.argv[1:], "files": sorted(os.listdir(source)),
    "store": os.environ["AUDIOTUNE_STORE"]}))
print("\\x1b[1mingest\\x1b[0m starts"); print("[ 40%] take.wav"); print("[100%] segments cut")
"""


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "store")


@pytest.fixture
def upload(store: FolderStore, tmp_path: Path) -> Upload:
    said: dict[str, object] = {"uploaded_by": "ana", "contributors": ("ana", "ben"), "session": "Tue; rm -rf $HOME"}
    kept, _ = uploads.store_upload(store, [(tone(220, 0.3).write(tmp_path / "take.wav"), "take.wav")], said, agreement(), 100)
    assert kept is not None
    return kept


def machine(store: FolderStore, folder: Path, program: str, limit_s: int = 60) -> LocalPrepareRunner:
    return LocalPrepareRunner(store, folder, command=(sys.executable, "-c", program), limit_s=limit_s)


def test_a_run_tells_its_progress_and_brings_the_report(store: FolderStore, upload: Upload, tmp_path: Path) -> None:
    news = list(machine(store, tmp_path / "work", _PROGRAM).prepare_upload(upload))
    assert PrepareProgress(0.4, "take.wav") in news
    assert PrepareProgress(None, "ingest starts") in news
    assert news[-1].done
    assert news[-1].reports == {"ingest": "<!doctype html><title>in</title>"}


def test_what_was_said_reaches_the_steps_unchanged_by_any_shell(store: FolderStore, upload: Upload, tmp_path: Path) -> None:
    list(machine(store, tmp_path / "work", _PROGRAM).prepare_upload(upload))
    called = json.loads((tmp_path / "work" / "runs" / upload.id / "called.json").read_text())
    assert "contributors=ana,ben" in called["argv"]
    assert "session=Tue; rm -rf $HOME" in called["argv"]
    assert called["files"] == ["take.wav"]
    assert called["store"] == store.url


def test_a_failed_run_says_the_steps_last_words(store: FolderStore, upload: Upload, tmp_path: Path) -> None:
    program = "import sys; print('[ 10%] on its way'); sys.exit('ingest: ben has not agreed to store')"
    with pytest.raises(PipelineError, match="ben has not agreed to store"):
        list(machine(store, tmp_path / "work", program).prepare_upload(upload))


def test_a_run_that_never_ends_is_stopped(store: FolderStore, upload: Upload, tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match="longer than 1 s"):
        list(machine(store, tmp_path / "work", "import time; time.sleep(60)", limit_s=1).prepare_upload(upload))


def test_a_page_that_is_left_ends_its_process(store: FolderStore, upload: Upload, tmp_path: Path) -> None:
    program = "import pathlib, time; print('[ 10%] begun', flush=True); time.sleep(2); pathlib.Path('too late').touch()"
    news = machine(store, tmp_path / "work", program).prepare_upload(upload)
    next(news), next(news)
    news.close()  # type: ignore[attr-defined]
    assert not Path("too late").exists()


def test_the_share_is_the_whole_runs_as_pipelines_local_tells_it(store: FolderStore, upload: Upload, tmp_path: Path) -> None:
    lines = (
        "1/2 Take recordings in ...",
        "     50% take.wav",
        "✓ 1/2 Take recordings in  3.1 s",
        "2/2 Cut into segments ...",
        "     50% take.wav",
    )
    news = list(machine(store, tmp_path / "work", f"[print(line) for line in {lines!r}]").prepare_upload(upload))
    assert [n.share for n in news if n.share is not None] == [0.0, 0.25, 0.75, 1.0]


def test_only_html_is_taken_for_a_report(tmp_path: Path) -> None:
    (tmp_path / "report").write_text('{"not": "html"}')
    assert read_reports(tmp_path) == {}
    assert parse_progress_line("[150%] odd").share == 1.0


class _BucketStore(FolderStore):
    """A folder that says it is a bucket."""

    @property
    def url(self) -> str:
        return "s3://jam/group"


@pytest.fixture
def cluster() -> FakeKubeflow:
    fake = FakeKubeflow(("PENDING", "RUNNING", "SUCCEEDED"), token="secret")
    fake.pipelines["audio-tune-prepare"] = "p-1"
    fake.versions["prepare-1"] = {"pipeline_version_id": "v-1", "display_name": "prepare-1", "pipeline_id": "p-1"}
    return fake


def on_cluster(folder: Path, fake: FakeKubeflow, upload: Upload) -> list[PrepareProgress]:
    with serving(fake) as url:
        launcher = KubeflowPrepareRunner(_BucketStore(folder / "store"), url, token="secret", poll_s=0.01)
        return list(launcher.prepare_upload(upload))


def test_kubeflow_gets_the_form_and_is_followed_to_the_end(upload: Upload, tmp_path: Path, cluster: FakeKubeflow) -> None:
    news = on_cluster(tmp_path, cluster, upload)
    assert news[-1].done
    assert any("Running: ingest" in n.words for n in news)
    run = cluster.runs["r-1"]["body"]
    assert run["pipeline_version_reference"] == {"pipeline_id": "p-1", "pipeline_version_id": "v-1"}
    form = run["runtime_config"]["parameters"]
    assert form["contributors"] == "ana,ben"
    assert form["source"] == f"s3://jam/group/inbox/{upload.id}/files/"
    assert (tmp_path / "store" / "inbox" / upload.id / "files" / "take.wav").exists()


def test_a_failed_cluster_run_is_told(upload: Upload, tmp_path: Path, cluster: FakeKubeflow) -> None:
    cluster.states, cluster.error = ("FAILED",), "ingest: the disk is full"
    with pytest.raises(PipelineError, match="the disk is full"):
        on_cluster(tmp_path, cluster, upload)


@pytest.mark.parametrize(("change", "words"), [("pipelines", "no pipeline"), ("versions", "no pipeline")])
def test_a_cluster_without_the_pipeline_is_told(
    upload: Upload, tmp_path: Path, cluster: FakeKubeflow, change: str, words: str
) -> None:
    getattr(cluster, change).clear()
    with pytest.raises(PipelineError, match=words):
        on_cluster(tmp_path, cluster, upload)


def test_a_cluster_that_knows_somebody_else_is_told(upload: Upload, tmp_path: Path, cluster: FakeKubeflow) -> None:
    cluster.token = "another"
    with pytest.raises(PipelineError, match="refuses this user"):
        on_cluster(tmp_path, cluster, upload)


def test_a_cluster_that_is_away_is_told(upload: Upload, tmp_path: Path) -> None:
    launcher = KubeflowPrepareRunner(_BucketStore(tmp_path / "store"), "http://127.0.0.1:9", poll_s=0.01)
    with pytest.raises(PipelineError, match="does not answer"):
        list(launcher.prepare_upload(upload))


def test_a_folder_store_is_no_place_for_a_cluster(store: FolderStore, upload: Upload) -> None:
    with pytest.raises(PipelineError, match="cannot reach"):
        list(KubeflowPrepareRunner(store, "http://127.0.0.1:9").prepare_upload(upload))
