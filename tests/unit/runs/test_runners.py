"""Where pipelines run: a process of this machine that outlives its page, and Kubeflow over HTTP against a hand-written server."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from audiotune.errors import PipelineError, RunFailedError, RunUnfinishedError
from audiotune.outside.kubeflow import Kubeflow
from audiotune.runs import detached_process
from audiotune.runs.kubeflow_runner import KubeflowRunner
from audiotune.runs.local_runner import LocalRunner, find_reports
from audiotune.runs.port import RunSnapshot, RunStep, follow_run
from audiotune.runs.run_form import RunForm, sort_tasks
from audiotune.runs.run_state import RunStateFile
from audiotune.store import FolderStore
from tests import REPOSITORY
from tests.fakes.kubeflow import FakeKubeflow, serving
from tests.fakes.layout_store import LayoutStore
from tests.fakes.local_program import FORM
from tests.fakes.seeded_store import seed

_GOLDEN = REPOSITORY / "tests" / "contract" / "golden" / "tune.yaml"
_WAIT_S = 60.0
# Says what it was given, and hangs with a child of its own until it is ended.
_HANGS = """
import subprocess, sys, pathlib
folder = pathlib.Path(sys.argv[sys.argv.index("--out") + 1]).parent
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
(folder / "child").write_text(str(child.pid))
child.wait()
"""


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return LayoutStore(tmp_path / "store")


def machine(store: FolderStore, folder: Path, *command: str, limit_s: int = 60, at_once: int = 0) -> LocalRunner:
    program = command or (sys.executable, "-m", "tests.fakes.local_program", "tune")
    return LocalRunner(store.url, folder, "tune", command=program, limit_s=limit_s, at_once=at_once)


def until(true: Callable[[], Any]) -> Any:
    end = time.monotonic() + _WAIT_S
    while time.monotonic() < end:
        if found := true():
            return found
        time.sleep(0.05)
    raise AssertionError(f"not within {_WAIT_S} s")


def at_the_end(runner: LocalRunner, run: str) -> RunSnapshot:
    found: RunSnapshot = until(lambda: seen if (seen := runner.read_snapshot(run)).outcome else None)
    return found


def folder_of(run: str) -> Path:
    return Path(json.loads(run)["folder"])


def test_the_form_is_the_programs_own(store: FolderStore, tmp_path: Path) -> None:
    assert machine(store, tmp_path).read_form() == FORM


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("import sys; sys.exit('tune: this machine cannot train, it lacks kfp. Start it elsewhere')", "it lacks kfp"),
        ("print('hello')", "shows no form"),
        ("pass", "shows no form"),
    ],
)
def test_a_machine_that_cannot_train_says_so(store: FolderStore, tmp_path: Path, program: str, words: str) -> None:
    with pytest.raises(PipelineError, match=words):
        machine(store, tmp_path, sys.executable, "-c", program).read_form()


def test_a_run_goes_through_its_steps(tmp_path: Path) -> None:
    store = seed(tmp_path / "store", segments_each=1, segment_s=0.3).store
    runner = machine(store, tmp_path / "work")
    run = runner.start("may", {"training_name": "may; rm -rf $HOME"})
    until(lambda: any(step.share == 0.4 and step.state == "running" for step in runner.read_snapshot(run).steps))
    (folder_of(run) / "go").touch()
    seen = at_the_end(runner, run)
    assert seen.outcome == "done"
    assert [step.state for step in seen.steps] == ["done"] * 4
    called = json.loads((folder_of(run) / "artifacts" / "called.json").read_text())
    assert "training_name=may; rm -rf $HOME" in called["argv"]
    assert called["store"] == store.url


def test_a_failed_run_tells_its_step_and_its_last_words(store: FolderStore, tmp_path: Path) -> None:
    runner = machine(store, tmp_path / "work")
    seen = at_the_end(runner, runner.start("may", {"training_name": "fails"}))
    assert seen.outcome == "failed"
    assert [step.state for step in seen.steps] == ["done", "done", "failed", "waiting"]
    assert seen.words.startswith("finetune: the loss is not a number at step 108. Take a smaller learning rate")


def test_another_studio_finds_it_and_ends_it_with_all_it_started(store: FolderStore, tmp_path: Path) -> None:
    program = (sys.executable, "-c", _HANGS)
    run = machine(store, tmp_path / "work", *program).start("may", {})
    child = folder_of(run) / "child"
    until(child.exists)
    other = machine(store, tmp_path / "work", *program)  # as after a restart: nothing is kept in memory
    assert other.read_snapshot(run).outcome is None
    other.stop(run)
    assert at_the_end(other, run).outcome == "cancelled"
    pid = int(child.read_text())
    until(lambda: not _alive(pid))
    other.stop(run)  # again: nothing happens


# Says what it was given; a child of its own child ignores the polite signal, and both write down that they still live.
_STUBBORN = """
import pathlib, subprocess, sys, time
folder = pathlib.Path(sys.argv[sys.argv.index("--out") + 1]).parent
BEAT = "import pathlib, signal, sys, time\\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\\nwhile True:\\n"
BEAT += "    open(sys.argv[1], 'a').write('.')\\n    time.sleep(0.02)"
grandchild = "import subprocess, sys; subprocess.run([sys.executable, '-c', *sys.argv[1:]])"
subprocess.Popen([sys.executable, "-c", grandchild, BEAT, str(folder / "beat")])
while True:
    open(folder / "own beat", "a").write(".")
    time.sleep(0.02)
"""


def test_stopping_a_run_ends_its_whole_process_group(store: FolderStore, tmp_path: Path) -> None:
    runner = machine(store, tmp_path / "work", sys.executable, "-c", _STUBBORN)
    run = runner.start("may", {})
    beats = [folder_of(run) / "beat", folder_of(run) / "own beat"]
    until(lambda: all(_beats(path) for path in beats))  # both write before anything is stopped
    runner.stop(run)
    assert at_the_end(runner, run).outcome == "cancelled"
    until(lambda: not any(_beats(path) for path in beats))
    assert sorted(path.name for path in folder_of(run).parent.iterdir()) == [folder_of(run).name]


def _beats(path: Path) -> bool:
    """Whether somebody still writes there."""
    before = path.stat().st_size if path.exists() else 0
    time.sleep(0.5)
    return path.exists() and path.stat().st_size > before


_WAITS = """
import pathlib, sys, time
folder = pathlib.Path(sys.argv[sys.argv.index("--out") + 1]).parent
(folder / "begun").touch()
while not (folder / "go").exists():
    time.sleep(0.05)
"""


def test_only_so_many_runs_of_a_folder_run_at_once(store: FolderStore, tmp_path: Path) -> None:
    runner = machine(store, tmp_path / "work", sys.executable, "-c", _WAITS, at_once=1)
    first = runner.start("one", {})
    until((folder_of(first) / "begun").exists)
    second, third = runner.start("two", {}), runner.start("three", {})
    time.sleep(1.0)
    assert not (folder_of(second) / "begun").exists()
    assert runner.read_snapshot(second) == RunSnapshot()
    runner.stop(third)  # one that waits is stopped without ever beginning
    assert at_the_end(runner, third).outcome == "cancelled"
    (folder_of(first) / "go").touch()
    until((folder_of(second) / "begun").exists)
    (folder_of(second) / "go").touch()
    assert (at_the_end(runner, first).outcome, at_the_end(runner, second).outcome) == ("done", "done")
    assert not (folder_of(third) / "begun").exists()


_REPORTS = """
import json, pathlib, sys
out = pathlib.Path(sys.argv[sys.argv.index("--out") + 1])
(out / "ingest").mkdir(parents=True)
(out / "ingest" / "report").write_text("<!doctype html><title>in</title>")
(out / "outputs.json").write_text(json.dumps({"ingest": {"rows": 3}}))
"""


def test_a_run_brings_its_reports_and_outputs(store: FolderStore, tmp_path: Path) -> None:
    runner = machine(store, tmp_path / "work", sys.executable, "-c", _REPORTS)
    run = runner.start("may", {})
    at_the_end(runner, run)
    assert runner.read_reports(run) == {"ingest": "<!doctype html><title>in</title>"}
    assert runner.read_outputs(run) == {"ingest": {"rows": 3}}


def test_only_html_is_taken_for_a_report(tmp_path: Path) -> None:
    (tmp_path / "report").write_text('{"not": "html"}')
    assert find_reports(tmp_path) == {}


def test_the_share_is_the_whole_runs() -> None:
    half = RunStep(title="two", state="running", share=0.5)
    assert RunSnapshot((RunStep(title="one", state="done"), half)).share == 0.75
    assert RunSnapshot((half, RunStep(title="two"))).share == 0.25
    assert RunSnapshot().share == 0.0


def test_following_a_run_tells_each_change_once(store: FolderStore, tmp_path: Path) -> None:
    runner = machine(store, tmp_path / "work")
    states: list[list[str]] = []
    with pytest.raises(RunFailedError, match="the loss is not a number"):
        follow_run(
            runner,
            runner.start("may", {"training_name": "fails"}),
            lambda steps: states.append([step.state for step in steps]),
            every_s=0.05,
        )
    assert states[-1] == ["done", "done", "failed", "waiting"]
    assert all(before != after or after[2] == "running" for before, after in pairwise(states))
    run = machine(store, tmp_path / "work", sys.executable, "-c", _WAITS).start("may", {})
    with pytest.raises(RunUnfinishedError, match="did not end within 0 s"):
        follow_run(runner, run, lambda steps: None, every_s=0.05, limit_s=0.2)
    runner.stop(run)


def test_a_cancel_right_after_the_start_counts(store: FolderStore, tmp_path: Path) -> None:
    runner = machine(store, tmp_path / "work", sys.executable, "-c", "import time; time.sleep(600)")
    run = runner.start("may", {})
    runner.stop(run)
    assert at_the_end(runner, run).outcome == "cancelled"


def test_a_run_that_never_ends_is_ended(store: FolderStore, tmp_path: Path) -> None:
    runner = machine(store, tmp_path / "work", sys.executable, "-c", "import time; time.sleep(600)", limit_s=1)
    seen = at_the_end(runner, runner.start("may", {}))
    assert (seen.outcome, seen.words) == ("failed", "it took longer than 1 s and was ended")


def test_a_run_that_was_killed_with_its_machine_is_lost(store: FolderStore, tmp_path: Path) -> None:
    runner = machine(store, tmp_path / "work", sys.executable, "-c", _HANGS)
    run = runner.start("may", {})
    until((folder_of(run) / "child").exists)
    pid = int((folder_of(run) / "lock").read_text())
    os.kill(pid, signal.SIGKILL)
    seen = at_the_end(runner, run)
    assert seen.outcome == "lost"
    assert "cut off" in seen.words
    os.kill(int((folder_of(run) / "child").read_text()), signal.SIGKILL)


def test_a_run_of_another_machine_is_not_taken_for_ended(store: FolderStore, tmp_path: Path) -> None:
    run = json.dumps({"machine": "the one in the cellar", "folder": str(tmp_path)})
    for call in (machine(store, tmp_path).read_snapshot, machine(store, tmp_path).stop):
        with pytest.raises(PipelineError, match="the one in the cellar"):
            call(run)


def test_a_folder_without_a_run_runs_not(tmp_path: Path) -> None:
    assert not detached_process.is_running(tmp_path)
    assert detached_process.read_exit(tmp_path) is None
    detached_process.request_stop(tmp_path)


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_the_state_file_is_whole_at_any_moment(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    state_file = RunStateFile(path, FORM.steps)
    states = [_states(path)]
    with state_file.track_step("step-0"):
        state_file.report_progress("step-0", 0.5, "half")
        state_file.report_progress("nobody", 0.5, "half")
        states.append(_states(path))
    with pytest.raises(KeyboardInterrupt), state_file.track_step("step-1"):
        raise KeyboardInterrupt
    states.append(_states(path))
    assert states == [["waiting"] * 4, ["running", *["waiting"] * 3], ["done", "failed", "waiting", "waiting"]]
    RunStateFile(None, FORM.steps).report_progress("step-0", 0.5, "nobody reads it")


def _states(path: Path) -> list[str]:
    return [step["state"] for step in json.loads(path.read_text())["steps"]]


def test_the_form_reads_the_compiled_pipeline_and_steps_stand_in_their_order() -> None:
    form = RunForm.from_spec(next(yaml.safe_load_all(_GOLDEN.read_text())))
    assert [step.name for step in form.steps] == ["annotate-merge", "encode", "finetune", "unwrap", "evaluate", "register"]
    base = form.find_field("training_base")
    assert base is not None
    assert base.default in base.choices
    assert base.about
    assert sort_tasks({"a": {"dependentTasks": ["b"]}, "b": {"dependentTasks": ["a"]}}) == ["a", "b"]


BUCKET = "s3://jam/group"
_TASKS = (("annotate-merge", "SUCCEEDED"), ("encode", "SUCCEEDED"), ("finetune", ""))


def cluster(*states: str, log: str | None = None, deeper: bool = True) -> FakeKubeflow:
    """A cluster with `tune` on it, as uploaded with or without a platform spec."""
    fake = FakeKubeflow(states, log=log, steps=_TASKS)
    spec = next(yaml.safe_load_all(_GOLDEN.read_text()))
    fake.pipelines["audio-tune-tune"] = "p-1"
    fake.versions["tune-1"] = {
        "pipeline_version_id": "v-1", "display_name": "tune-1", "pipeline_id": "p-1",
        "pipeline_spec": {"pipeline_spec": spec, "platform_spec": {}} if deeper else spec,
    }  # fmt: skip
    return fake


@pytest.mark.parametrize("deeper", [True, False])
def test_kubeflows_form_is_the_studios(tmp_path: Path, deeper: bool) -> None:
    with serving(cluster("RUNNING", deeper=deeper)) as url:
        form = KubeflowRunner(Kubeflow(url), "tune", store_url=BUCKET).read_form()
    assert form == RunForm.from_spec(next(yaml.safe_load_all(_GOLDEN.read_text())))


def test_kubeflow_starts_what_was_chosen_and_tells_every_step(tmp_path: Path) -> None:
    fake = cluster("RUNNING", "SUCCEEDED", log="[ 10%] step 20 of 200\n[ 42%] step 84 of 200, loss 0.4\nI1123 12:00 chatter\n")
    with serving(fake) as url:
        runner = KubeflowRunner(Kubeflow(url), "tune", store_url=BUCKET, account="pipeline-runner")
        run = runner.start("may, begun by ana", {"training_name": "may", "training_length": "short (200 steps)"})
        seen = runner.read_snapshot(run)
        other = KubeflowRunner(Kubeflow(url), "tune", store_url=BUCKET)  # as after a restart
        done = other.read_snapshot(run)
    body = fake.runs[run]["body"]
    assert (body["display_name"], body["service_account"]) == ("may, begun by ana", "pipeline-runner")
    assert body["runtime_config"]["parameters"] == {"training_name": "may", "training_length": "short (200 steps)"}
    assert [step.state for step in seen.steps] == ["done", "done", "running", "waiting", "waiting", "waiting"]
    assert seen.steps[2].title == "Fine-tune the model"
    assert (seen.steps[2].share, seen.steps[2].words) == (0.42, "step 84 of 200, loss 0.4")
    assert (seen.outcome, seen.page) == (None, f"{url}/#/runs/details/{run}")
    assert done.outcome == "done"


def test_a_running_steps_log_is_not_read_at_every_look(tmp_path: Path) -> None:
    fake = cluster("RUNNING", log="[ 10%] one\n")
    with serving(fake) as url:
        runner = KubeflowRunner(Kubeflow(url), "tune", store_url=BUCKET)
        run = runner.start("may", {})
        runner.read_snapshot(run)
        fake.log = "[ 90%] two\n"
        assert runner.read_snapshot(run).steps[2].words == "one"
        fresh = KubeflowRunner(Kubeflow(url), "tune", store_url=BUCKET, log_every_s=0.0)
        assert fresh.read_snapshot(run).steps[2].words == "two"


def test_kubeflows_failing_step_gives_its_reason(tmp_path: Path) -> None:
    fake = cluster("FAILED", log="[ 40%] step 80\nfinetune: the GPU is too small. Take the light add-on\nError: exit status 1\n")
    with serving(fake) as url:
        runner = KubeflowRunner(Kubeflow(url), "tune", store_url=BUCKET)
        seen = runner.read_snapshot(runner.start("may", {}))
    assert (seen.outcome, seen.words) == ("failed", "finetune: the GPU is too small. Take the light add-on")
    assert seen.steps[2].state == "failed"


def test_a_cluster_that_knows_somebody_else_is_reported() -> None:
    fake = cluster("RUNNING")
    fake.token = "another"
    with serving(fake) as url, pytest.raises(PipelineError, match="refuses this user"):
        KubeflowRunner(Kubeflow(url, token="secret"), "tune", store_url=BUCKET).start("may", {})


def test_kubeflow_is_asked_to_cancel_and_a_forgotten_run_is_lost(tmp_path: Path) -> None:
    fake = cluster("RUNNING")
    with serving(fake) as url:
        runner = KubeflowRunner(Kubeflow(url), "tune", store_url=BUCKET)
        runner.stop(runner.start("may", {}))
        assert fake.ended == ["r-1"]
        fake.runs.clear()
        assert runner.read_snapshot("r-1").outcome == "lost"


def test_obstacles_to_kubeflow_are_reported(tmp_path: Path) -> None:
    fake = cluster("RUNNING")
    with serving(fake) as url:
        with pytest.raises(PipelineError, match="cannot reach a store in a folder"):
            KubeflowRunner(Kubeflow(url), "tune", store_url=str(tmp_path)).start("may", {})
        fake.versions["tune-1"]["pipeline_spec"] = {}
        with pytest.raises(PipelineError, match="shows no form"):
            KubeflowRunner(Kubeflow(url), "tune", store_url=BUCKET).read_form()
        fake.pipelines.clear()
        with pytest.raises(PipelineError, match="no pipeline 'audio-tune-tune'"):
            KubeflowRunner(Kubeflow(url), "tune", store_url=BUCKET).read_form()
    with pytest.raises(PipelineError, match="does not answer"):
        KubeflowRunner(Kubeflow("http://127.0.0.1:9"), "tune", store_url=BUCKET).read_snapshot("r-1")
