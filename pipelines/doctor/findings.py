"""A finding of the doctor: what was checked, its state, and the cure."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from audiotune.errors import KubernetesForbiddenError, PipelineError, StoreError
from audiotune.outside.kubeflow import Kubeflow
from audiotune.outside.kubernetes import Kubernetes
from audiotune.store import Store
from pipelines.cluster.settings import Cluster

FindingState = Literal["well", "warning", "wrong", "unknown"]
# what a check yields: state, words and, where there is something to do, the cure
CheckResult = tuple[FindingState, str] | tuple[FindingState, str, str]


@dataclass(frozen=True)
class DoctorFinding:
    """The result of one check.

    Attributes:
        about: what was checked: its key in CHECKS.
        state: well; warning: runs work, but with a drawback; wrong: runs will fail; unknown: it could not be read from here.
        words: the state, in one sentence.
        cure: what to do about it.
    """

    about: str
    state: FindingState
    words: str
    cure: str = ""


@dataclass(frozen=True)
class CheckTarget:
    """What the checks examine.

    Attributes:
        cluster: the facts that the pipelines are compiled with.
        runs: namespace the runs land in.
        home: namespace of Kubeflow itself.
        account: service account of the steps.
        kubernetes, kubeflow, store: connections; None when there is none.
    """

    cluster: Cluster
    runs: str
    home: str
    account: str
    kubernetes: Kubernetes | None = None
    kubeflow: Kubeflow | None = None
    store: Store | None = None

    @property
    def api(self) -> Kubernetes:
        """Kubernetes' API. Raises PipelineError when there is no connection."""
        if self.kubernetes is None:
            raise PipelineError("Kubernetes was not asked", cure="give --kubeconfig or --kubernetes")
        return self.kubernetes

    @property
    def opened_store(self) -> Store:
        """The store. Raises StoreError when none was named."""
        if self.store is None:
            raise StoreError("no store was named", cure="give --store")
        return self.store


Check = Callable[[CheckTarget], Iterator[CheckResult]]


def run_check(about: str, check: Check, target: CheckTarget) -> list[DoctorFinding]:
    """Runs one check. What it may not or cannot read becomes a finding, too."""
    try:
        return [DoctorFinding(about, *result) for result in check(target)]
    except KubernetesForbiddenError as e:
        words, cure = f"could not be seen: {e}", "run the doctor as somebody who may read it"
    except (PipelineError, StoreError) as e:
        words, cure = f"could not be seen: {e.what}", e.cure
    except (LookupError, TypeError, ValueError, AttributeError) as e:
        words, cure = f"what was found could not be understood: {type(e).__name__}: {e}", "look at it by hand"
    return [DoctorFinding(about, "unknown", words, cure)]
