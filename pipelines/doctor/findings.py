"""A finding of the doctor: what was looked at, how it is, and the cure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

from audiotune.errors import KubernetesForbiddenError, PipelineError
from audiotune.outside.kubeflow import Kubeflow
from audiotune.outside.kubernetes import Kubernetes
from pipelines.cluster.settings import Cluster

FindingState = Literal["well", "warning", "wrong", "unknown"]


@dataclass(frozen=True)
class DoctorFinding:
    """One thing that was looked at.

    Attributes:
        about: what, in a word or two.
        state: well; warning: runs work, but not as hoped; wrong: runs will fail; unknown: could not be seen from here.
        words: how it is, one sentence.
        cure: what to do about it.
    """

    about: str
    state: FindingState
    words: str
    cure: str = ""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class CheckTarget:
    """What is examined.

    Attributes:
        cluster: what the pipelines were finished with.
        runs: namespace the runs land in.
        home: namespace Kubeflow itself lives in.
        account: service account of the steps.
        kubernetes, kubeflow: ways to ask; None when there is none.
    """

    cluster: Cluster
    runs: str
    home: str
    account: str
    kubernetes: Kubernetes | None = None
    kubeflow: Kubeflow | None = None

    @property
    def api(self) -> Kubernetes:
        """Kubernetes' API; raises PipelineError when nobody said where it is."""
        if self.kubernetes is None:
            raise PipelineError("Kubernetes was not asked", cure="give --kubeconfig or --kubernetes")
        return self.kubernetes


Check = Callable[[CheckTarget], Iterator[DoctorFinding]]


def run_check(about: str, check: Check, patient: CheckTarget) -> list[DoctorFinding]:
    """Runs one check; what it may not or cannot see becomes a finding, too."""
    try:
        return list(check(patient))
    except KubernetesForbiddenError as e:
        return [DoctorFinding(about, "unknown", f"could not be seen: {e}", "run the doctor as somebody who may read it")]
    except PipelineError as e:
        return [DoctorFinding(about, "unknown", f"could not be seen: {e.what}", e.cure)]
    except (LookupError, TypeError, ValueError, AttributeError) as e:
        return [
            DoctorFinding(
                about, "unknown", f"what was found could not be understood: {type(e).__name__}: {e}", "look at it by hand"
            )
        ]
