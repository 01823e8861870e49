"""The step's side of a training on several nodes: creates or adopts the TrainJob, follows it to its end, starts it again after a loss.

It ends in one of three ways. The training is done. Or the step gets SIGTERM and deletes the TrainJob first of all, since it lives only
0.7 s more. Or the step is killed by SIGKILL: then the next attempt adopts the TrainJob, or Kubernetes deletes it with the step's pod,
which owns it, or at its own deadline.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import NoReturn

from audiotune.errors import (
    AudioTuneError,
    KubernetesConflictError,
    KubernetesForbiddenError,
    KubernetesNotFoundError,
    KubernetesRefusedError,
    KubernetesUnreachableError,
    TrainingError,
)
from audiotune.outside.kubernetes import SERVICE_ACCOUNT_FOLDER, Kubernetes, connect_in_pod
from audiotune.reporting.progress import ProgressCallback
from components.finetune.nodes.node_resources import NodeResources, Object
from components.finetune.nodes.trainjob import API, TRAINING, OwnerPod
from components.finetune.nodes.trainjob_monitor import TrainJobMonitor, find_end_condition

_RIGHTS = "apply what `python -m pipelines.namespace` prints for these facts; `python -m pipelines.doctor` says what is missing"
_DOCTOR = "run `python -m pipelines.doctor` with the cluster's facts: it looks at Trainer, its runtime and the rights"


@dataclass
class TrainJobController:
    """Creates, follows and ends one TrainJob.

    Attributes:
        api: Kubernetes, as the step's service account.
        deleter: a second connection, for the one call on SIGTERM: the first may be in the middle of an answer.
        pod: the step's own.
        place: what the training pods get.
        progress: called with everything that happens.
        every_s: seconds between two polls.
        patience_s: seconds that Kubernetes may be unreachable, and that a TrainJob may have no pod.
    """

    api: Kubernetes
    deleter: Kubernetes
    pod: OwnerPod
    place: NodeResources
    progress: ProgressCallback
    every_s: float = 5.0
    patience_s: float = 600.0
    uid: str = field(default="")

    def run_trainjob(self, wanted: Object) -> None:
        """Returns when the training is done.

        Raises:
            TrainingError: it cannot be created, a node failed (with the last line of its log), too many were lost, or the time is over.
        """
        until = time.monotonic() + self.place.deadline_s
        with self._delete_on_sigterm(wanted):
            for lost in range(self.place.restarts + 1):
                left_s = max(60, int(until - time.monotonic()))
                wanted = {
                    **wanted,
                    "spec": {**wanted["spec"], "activeDeadlineSeconds": left_s if lost else self.place.deadline_s},
                }
                why = self._follow_to_end(wanted, fresh=bool(lost))
                if not why:
                    self._delete_quietly(wanted)
                    return
                if lost < self.place.restarts:
                    self.progress(
                        0.0, f"{why}; all nodes start again from the last checkpoint ({lost + 1} of {self.place.restarts})"
                    )
        raise TrainingError(
            f"{why}, {self.place.restarts + 1} times",
            where=_trainjob_name(wanted),
            cure="look at the nodes and run it again: it goes on from its last checkpoint",
        )

    def _create_or_adopt(self, wanted: Object, *, fresh: bool) -> Object:
        """Creates the TrainJob, or adopts that of an earlier attempt. With `fresh` an earlier one is deleted first."""
        path, name = f"{API}/namespaces/{self.pod.namespace}/trainjobs", _trainjob_name(wanted)
        waited_until = time.monotonic() + self.patience_s
        while True:
            try:
                made = self.api.post(path, wanted, strict=True)
                self.progress(0.0, f"made TrainJob {name}")
                return made
            except KubernetesConflictError:
                there = None
                with contextlib.suppress(
                    KubernetesConflictError, KubernetesUnreachableError
                ):  # it changed meanwhile, or nobody answers: look again
                    there = self._adopt_existing(f"{path}/{name}", wanted, fresh=fresh)
            except KubernetesNotFoundError as e:
                cure = "install Kubeflow Trainer 2.2 or newer, or set the knob nodes to 1"
                raise TrainingError(
                    "Kubernetes knows no TrainJob: Kubeflow Trainer is not installed", where=path, cure=cure
                ) from e
            except KubernetesRefusedError as e:
                raise TrainingError(f"the TrainJob was refused: {e.what}", where=name, cure=_DOCTOR) from e
            except KubernetesUnreachableError:  # Trainer's webhook while it starts, or Kubernetes itself
                there = None
                if time.monotonic() > waited_until:
                    raise
            if there is not None:
                return there
            if time.monotonic() > waited_until:
                raise TrainingError(
                    "an older TrainJob of this name does not go", where=name, cure=f"kubectl delete trainjob {name}"
                )
            time.sleep(self.every_s)

    def _adopt_existing(self, path: str, wanted: Object, *, fresh: bool) -> Object | None:
        """The existing TrainJob, now owned by this pod; None when it is being deleted, or is deleted here."""
        there = self.api.get(path)
        if there is None or there["metadata"].get("deletionTimestamp"):
            return None
        if (there["metadata"].get("annotations") or {}).get(TRAINING) != wanted["metadata"]["annotations"][TRAINING]:
            cure = f"rename it, or delete it: kubectl delete trainjob {_trainjob_name(wanted)}"
            raise TrainingError("a TrainJob of this name is there that is none of ours", where=_trainjob_name(wanted), cure=cure)
        if fresh or find_end_condition(there)[0] == "Failed":
            self.api.delete(path, uid=there["metadata"]["uid"])
            return None
        adopted = self.api.patch(path, {"metadata": {"ownerReferences": [self.pod.owner_reference]}})
        if adopted is not None:
            self.progress(0.0, f"adopted TrainJob {_trainjob_name(wanted)} of an earlier attempt")
        return adopted

    def _follow_to_end(self, wanted: Object, *, fresh: bool) -> str:
        """Follows it to its end. Returns which node was lost, or "" when the training is done."""
        self.uid = ""  # until it is known, SIGTERM deletes by name alone
        try:
            made = self._create_or_adopt(wanted, fresh=fresh)
        except KubernetesForbiddenError as e:
            raise TrainingError("the step's account may not make or adopt TrainJobs", where=e.where, cure=_RIGHTS) from e
        self.uid = made["metadata"]["uid"]
        watch = TrainJobMonitor(
            self.api, self.pod, _trainjob_name(wanted), int(wanted["spec"]["trainer"]["numNodes"]), self.progress
        )
        answered = podless = time.monotonic()
        while True:
            time.sleep(self.every_s)
            now = time.monotonic()
            try:
                job, answered = watch.poll(), now
            except KubernetesUnreachableError as e:
                watch.report_change(f"Kubernetes is away: {e.what}")
                if now - answered > self.patience_s:
                    cure = "run it again: the TrainJob goes on meanwhile and is adopted"
                    raise TrainingError(
                        f"Kubernetes was away for {now - answered:.0f} s: {e.what}", where=watch.name, cure=cure
                    ) from e
                continue
            except KubernetesForbiddenError as e:
                raise TrainingError("the step's account may not follow its training", where=e.where, cure=_RIGHTS) from e
            if job is None or job["metadata"]["uid"] != self.uid:
                raise TrainingError(
                    "the TrainJob was deleted by somebody else",
                    where=watch.name,
                    cure="run it again: it goes on from its last checkpoint",
                )
            ended, condition = find_end_condition(job)
            if ended == "Complete":
                return ""
            if ended == "Failed":
                return _explain_loss(watch, condition)
            if watch.nodes or (job.get("spec") or {}).get("suspend"):
                podless = now
            elif now - podless > self.patience_s:
                self._delete_quietly(wanted)
                raise TrainingError(
                    f"no pod of it came up in {self.patience_s:.0f} s; does Trainer's controller run?",
                    where=watch.name,
                    cure=_DOCTOR,
                )

    @contextlib.contextmanager
    def _delete_on_sigterm(self, wanted: Object) -> Iterator[None]:
        path = f"{API}/namespaces/{self.pod.namespace}/trainjobs/{_trainjob_name(wanted)}"

        def end(number: int, frame: FrameType | None) -> NoReturn:
            with contextlib.suppress(Exception):
                self.deleter.delete(path, uid=self.uid)
            os._exit(128 + number)

        with _handle_signal(signal.SIGTERM, end):
            yield

    def _delete_quietly(self, wanted: Object) -> None:
        """Deletes it, as its work is done. Where that fails, Kubernetes deletes it with the step's pod."""
        with contextlib.suppress(AudioTuneError):
            self.api.delete(f"{API}/namespaces/{self.pod.namespace}/trainjobs/{_trainjob_name(wanted)}", uid=self.uid)


@contextlib.contextmanager
def _handle_signal(number: signal.Signals, act: Callable[[int, FrameType | None], NoReturn]) -> Iterator[None]:
    before = signal.signal(number, act)
    try:
        yield
    finally:
        signal.signal(number, before)


def _explain_loss(watch: TrainJobMonitor, condition: Object) -> str:
    """Describes which node was lost. Raises TrainingError where the training itself failed."""
    if condition.get("reason") == "DeadlineExceeded":
        cure = "raise gpu_timeout_s in the cluster's facts; run again, it goes on from its last checkpoint"
        raise TrainingError("the training took longer than it may", where=watch.name, cure=cure)
    node = watch.find_failed_node()
    if node is not None:
        raise TrainingError(f"node {node.index} failed: {node.failure_reason.removeprefix('finetune: ')}", where=watch.name)
    if watch.nodes:
        return watch.describe_lost_node()
    raise TrainingError(f"Trainer gave up: {condition.get('message') or condition.get('reason')}", where=watch.name, cure=_DOCTOR)


def _trainjob_name(wanted: Object) -> str:
    return str(wanted["metadata"]["name"])


def find_own_pod(api: Kubernetes, folder: Path = SERVICE_ACCOUNT_FOLDER) -> OwnerPod:
    """The pod that this step runs in. Kubeflow names it in the environment and labels it with its run.

    Args:
        api: as the step's account.
        folder: where the kubelet writes the pod's namespace.

    Raises:
        TrainingError: this is no pod of a run, or the account may not read it.
    """
    name, uid = os.environ.get("KFP_POD_NAME", ""), os.environ.get("KFP_POD_UID", "")
    file = folder / "namespace"
    namespace = file.read_text().strip() if file.exists() else ""
    try:
        found = api.get(f"/api/v1/namespaces/{namespace}/pods/{name}") if name and namespace else None
    except KubernetesForbiddenError as e:
        raise TrainingError("the step's account may not look at its own pod", where=name, cure=_RIGHTS) from e
    run = ((found or {}).get("metadata", {}).get("labels") or {}).get("pipeline/runid", "")
    if not run:
        raise TrainingError("this is no step of a Kubeflow run", where=name or "KFP_POD_NAME", cure="set the knob nodes to 1")
    return OwnerPod(namespace, name, uid, run)


def make_controller(place: NodeResources, progress: ProgressCallback) -> TrainJobController:
    """A controller that acts as the service account of the step's pod.

    Raises:
        TrainingError: outside of Kubernetes.
    """
    api, deleter = connect_in_pod(timeout_s=30), connect_in_pod(timeout_s=0.5)
    if api is None or deleter is None:
        cure = "run the pipeline on Kubeflow, or set the knob nodes to 1 and devices to the GPUs of this machine"
        raise TrainingError("training on several nodes needs a Kubernetes cluster with Kubeflow Trainer", cure=cure)
    return TrainJobController(api, deleter, find_own_pod(api), place, progress)
