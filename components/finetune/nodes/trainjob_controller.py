"""The step's side of a training on several nodes: creates or adopts the TrainJob, follows it, and restarts it after a loss.

It ends in one of three ways. The training is done. Or the step gets SIGTERM and deletes the TrainJob at once, since it has only
0.7 s. Or the step gets SIGKILL: then the next attempt adopts the TrainJob, or Kubernetes deletes it together with the step's pod,
its owner, or at its deadline.
"""

import contextlib
import os
import signal
import time
from collections.abc import Iterator
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
        deleter: a second connection for the call on SIGTERM; the first may be reading an answer.
        pod: the step's own.
        place: resources of the training pods.
        progress: called with every event.
        every_s: seconds between two polls.
        patience_s: how long Kubernetes may be unreachable, and how long a TrainJob may have no pod, in seconds.
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
            TrainingError: it cannot be created, a node failed (with the last line of its log), too many were lost, or its deadline passed.
        """
        until = time.monotonic() + self.place.deadline_s
        with self._delete_on_sigterm(wanted):
            for lost in range(self.place.restarts + 1):
                left_s = max(60, int(until - time.monotonic())) if lost else self.place.deadline_s
                wanted = {**wanted, "spec": {**wanted["spec"], "activeDeadlineSeconds": left_s}}
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
        deadline = time.monotonic() + self.patience_s
        while True:
            adopted = None
            try:
                created = self.api.post(path, wanted, strict=True)
                self.progress(0.0, f"made TrainJob {name}")
                return created
            except KubernetesConflictError:
                # It changed meanwhile, or Kubernetes does not answer: try again.
                with contextlib.suppress(KubernetesConflictError, KubernetesUnreachableError):
                    adopted = self._adopt_existing(f"{path}/{name}", wanted, fresh=fresh)
            except KubernetesNotFoundError as e:
                cure = "install Kubeflow Trainer 2.2 or newer, or set nodes to 1"
                raise TrainingError(
                    "Kubernetes knows no TrainJob: Kubeflow Trainer is not installed", where=path, cure=cure
                ) from e
            except KubernetesRefusedError as e:
                raise TrainingError(f"the TrainJob was refused: {e.what}", where=name, cure=_DOCTOR) from e
            except KubernetesUnreachableError:  # Trainer's webhook while it starts, or Kubernetes itself
                if time.monotonic() > deadline:
                    raise
            if adopted is not None:
                return adopted
            if time.monotonic() > deadline:
                raise TrainingError(
                    "an older TrainJob of this name does not go", where=name, cure=f"kubectl delete trainjob {name}"
                )
            time.sleep(self.every_s)

    def _adopt_existing(self, path: str, wanted: Object, *, fresh: bool) -> Object | None:
        """The existing TrainJob, now owned by this pod; None when it is being deleted, or is deleted here."""
        existing = self.api.get(path)
        if existing is None or existing["metadata"].get("deletionTimestamp"):
            return None
        if (existing["metadata"].get("annotations") or {}).get(TRAINING) != wanted["metadata"]["annotations"][TRAINING]:
            cure = f"rename it, or delete it: kubectl delete trainjob {_trainjob_name(wanted)}"
            raise TrainingError("a TrainJob of this name is there that is none of ours", where=_trainjob_name(wanted), cure=cure)
        if fresh or find_end_condition(existing)[0] == "Failed":
            self.api.delete(path, uid=existing["metadata"]["uid"])
            return None
        adopted = self.api.patch(path, {"metadata": {"ownerReferences": [self.pod.owner_reference]}})
        if adopted is not None:
            self.progress(0.0, f"adopted TrainJob {_trainjob_name(wanted)} of an earlier attempt")
        return adopted

    def _follow_to_end(self, wanted: Object, *, fresh: bool) -> str:
        """Follows it to its end. Returns a description of the lost node, or "" when the training is done."""
        self.uid = ""  # until it is known, SIGTERM deletes by name alone
        try:
            trainjob = self._create_or_adopt(wanted, fresh=fresh)
        except KubernetesForbiddenError as e:
            raise TrainingError("the step's account may not make or adopt TrainJobs", where=e.where, cure=_RIGHTS) from e
        self.uid = trainjob["metadata"]["uid"]
        monitor = TrainJobMonitor(
            self.api, self.pod, _trainjob_name(wanted), int(wanted["spec"]["trainer"]["numNodes"]), self.progress
        )
        answered = podless = time.monotonic()
        while True:
            time.sleep(self.every_s)
            now = time.monotonic()
            try:
                job, answered = monitor.poll(), now
            except KubernetesUnreachableError as e:
                monitor.report_change(f"Kubernetes is away: {e.what}")
                if now - answered > self.patience_s:
                    cure = "run it again: the TrainJob goes on meanwhile and is adopted"
                    raise TrainingError(
                        f"Kubernetes was away for {now - answered:.0f} s: {e.what}", where=monitor.name, cure=cure
                    ) from e
                continue
            except KubernetesForbiddenError as e:
                raise TrainingError("the step's account may not follow its training", where=e.where, cure=_RIGHTS) from e
            if job is None or job["metadata"]["uid"] != self.uid:
                raise TrainingError(
                    "the TrainJob was deleted by somebody else",
                    where=monitor.name,
                    cure="run it again: it goes on from its last checkpoint",
                )
            ended, condition = find_end_condition(job)
            if ended == "Complete":
                return ""
            if ended == "Failed":
                return _explain_loss(monitor, condition)
            if monitor.nodes or (job.get("spec") or {}).get("suspend"):
                podless = now
            elif now - podless > self.patience_s:
                self._delete_quietly(wanted)
                raise TrainingError(
                    f"no pod of it came up in {self.patience_s:.0f} s; does Trainer's controller run?",
                    where=monitor.name,
                    cure=_DOCTOR,
                )

    @contextlib.contextmanager
    def _delete_on_sigterm(self, wanted: Object) -> Iterator[None]:
        path = f"{API}/namespaces/{self.pod.namespace}/trainjobs/{_trainjob_name(wanted)}"

        def end(number: int, frame: FrameType | None) -> NoReturn:
            with contextlib.suppress(Exception):
                self.deleter.delete(path, uid=self.uid)
            os._exit(128 + number)

        before = signal.signal(signal.SIGTERM, end)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, before)

    def _delete_quietly(self, wanted: Object) -> None:
        """Deletes it, as its work is done. Where that fails, Kubernetes deletes it with the step's pod."""
        with contextlib.suppress(AudioTuneError):
            self.api.delete(f"{API}/namespaces/{self.pod.namespace}/trainjobs/{_trainjob_name(wanted)}", uid=self.uid)


def _explain_loss(monitor: TrainJobMonitor, condition: Object) -> str:
    """Describes the lost node. Raises TrainingError if the training itself failed."""
    if condition.get("reason") == "DeadlineExceeded":
        cure = "raise gpu_timeout_s in the cluster's facts; run again, it goes on from its last checkpoint"
        raise TrainingError("the training took longer than it may", where=monitor.name, cure=cure)
    node = monitor.find_failed_node()
    if node is not None:
        raise TrainingError(f"node {node.index} failed: {node.failure_reason.removeprefix('finetune: ')}", where=monitor.name)
    if monitor.nodes:
        return monitor.describe_lost_node()
    reason = condition.get("message") or condition.get("reason")
    raise TrainingError(f"Trainer gave up: {reason}", where=monitor.name, cure=_DOCTOR)


def _trainjob_name(wanted: Object) -> str:
    return str(wanted["metadata"]["name"])


def find_own_pod(api: Kubernetes, folder: Path = SERVICE_ACCOUNT_FOLDER) -> OwnerPod:
    """The pod of this step. Kubeflow puts its name into the environment and labels it with its run.

    Args:
        folder: the kubelet writes the pod's namespace here.

    Raises:
        TrainingError: this is no pod of a run, or the account may not read it.
    """
    name, uid = os.environ.get("KFP_POD_NAME", ""), os.environ.get("KFP_POD_UID", "")
    file = folder / "namespace"
    namespace = file.read_text().strip() if file.exists() else ""
    try:
        pod = api.get(f"/api/v1/namespaces/{namespace}/pods/{name}") if name and namespace else None
    except KubernetesForbiddenError as e:
        raise TrainingError("the step's account may not look at its own pod", where=name, cure=_RIGHTS) from e
    run = ((pod or {}).get("metadata", {}).get("labels") or {}).get("pipeline/runid", "")
    if not run:
        raise TrainingError("this is no step of a Kubeflow run", where=name or "KFP_POD_NAME", cure="set nodes to 1")
    return OwnerPod(namespace, name, uid, run)


def make_controller(place: NodeResources, progress: ProgressCallback) -> TrainJobController:
    """A controller that acts as the service account of the step's pod.

    Raises:
        TrainingError: outside of Kubernetes.
    """
    api, deleter = connect_in_pod(timeout_s=30), connect_in_pod(timeout_s=0.5)
    if api is None or deleter is None:
        cure = "run the pipeline on Kubeflow, or set nodes to 1 and devices to the GPUs of this machine"
        raise TrainingError("training on several nodes needs a Kubernetes cluster with Kubeflow Trainer", cure=cure)
    return TrainJobController(api, deleter, find_own_pod(api), place, progress)
