"""The family of errors. Each says what is wrong, where, and the cure. Every error of the library, the steps and
the pipelines is defined here.

AudioTuneError
├── SoundError            a file or array that is no usable sound
├── SourceError           a source of recordings that cannot be read
├── ManifestError         a manifest that is cut, changed or of another kind
├── SettingsError         a setting out of bounds, or a recipe that does not fit
├── GovernanceError       the agreement or the consent records say no
│   ├── AgreementError    the agreement itself is missing or wrong
│   └── ConsentError      a contributor has not agreed to this use
├── AccessError           an unknown person: no token or password, or one that is not valid
│   └── ForbiddenError    a known person, who may not do this
├── StoreError            the store refuses, is unreachable or full
│   ├── NotInStoreError   no such key
│   ├── AlreadyInStoreError  a conditional write lost: the key exists
│   └── DamagedBlobError  content does not match its hash
├── ModelError            weights, config or checkpoint that do not fit together
├── TrainingError         training cannot go on (NaN, no data)
├── RegistryError         MLflow refuses or is unreachable
├── PipelineError         a compiled pipeline, a step, or the system that runs them
│   ├── RunFailedError    the run ended, and not well
│   ├── RunUnfinishedError  the run did not end in the time given
│   ├── KubeflowUnreachableError  Kubeflow does not answer, or not as Kubeflow does
│   ├── KubeflowRefusedError      Kubeflow does not allow this to this user
│   ├── KubeflowNotFoundError     Kubeflow has no such object
│   ├── KubernetesUnreachableError  Kubernetes does not answer, or has trouble of its own
│   ├── KubernetesForbiddenError    Kubernetes does not allow this to this user
│   ├── KubernetesNotFoundError     no such kind, namespace or object
│   ├── KubernetesConflictError     an object of this name exists, or it is not the one that was meant
│   └── KubernetesRefusedError      the object breaks its schema, or an admission webhook refused it
└── GenerationError       a request for a sound that cannot be met; services/generation/errors.py has its kinds
"""

from __future__ import annotations

import functools
from collections.abc import Callable


class AudioTuneError(Exception):
    """Base of all errors raised on purpose.

    Args:
        what: what is wrong, one sentence without full stop.
        where: the file, key, field or step it was found in.
        cure: what the reader can do about it.
    """

    def __init__(self, what: str, *, where: str = "", cure: str = "") -> None:
        self.what, self.where, self.cure = what, where, cure
        super().__init__(what, where, cure)

    def __reduce__(self) -> tuple[Callable[..., AudioTuneError], tuple[str]]:
        """Errors travel whole between processes."""
        return functools.partial(type(self), where=self.where, cure=self.cure), (self.what,)

    def __str__(self) -> str:
        place = f" in {self.where}" if self.where else ""
        cure = f". {self.cure[:1].upper()}{self.cure[1:]}" if self.cure else ""
        return f"{self.what}{place}{cure}"


class SoundError(AudioTuneError):
    """A file or array that is no usable sound."""


class SourceError(AudioTuneError):
    """A source of recordings that cannot be read."""


class ManifestError(AudioTuneError):
    """A manifest that is cut, changed or of another kind."""


class SettingsError(AudioTuneError):
    """A setting out of bounds, or a recipe that does not fit."""


class GovernanceError(AudioTuneError):
    """The agreement or the consent records say no."""


class AgreementError(GovernanceError):
    """The agreement itself is missing or wrong."""


class ConsentError(GovernanceError):
    """A contributor has not agreed to this use."""


class AccessError(AudioTuneError):
    """An unknown person: no token or password, or one that is not valid."""


class ForbiddenError(AccessError):
    """A known person, who may not do this."""


class StoreError(AudioTuneError):
    """The store refuses, is unreachable or full."""


class NotInStoreError(StoreError):
    """No such key in the store."""


class AlreadyInStoreError(StoreError):
    """A conditional write lost: the key exists already."""


class DamagedBlobError(StoreError):
    """Content that does not match the hash it is named by."""


class ModelError(AudioTuneError):
    """Weights, config or checkpoint that do not fit together."""


class TrainingError(AudioTuneError):
    """Training cannot go on."""


class RegistryError(AudioTuneError):
    """The model registry refuses or is unreachable."""


class PipelineError(AudioTuneError):
    """A compiled pipeline, one of its steps, or the system that runs them failed."""


class RunFailedError(PipelineError):
    """The run ended, and not well."""


class RunUnfinishedError(PipelineError):
    """The run did not end in the time given."""


class KubeflowUnreachableError(PipelineError):
    """Kubeflow does not answer, or not as Kubeflow does."""


class KubeflowRefusedError(PipelineError):
    """Kubeflow does not allow this to this user."""


class KubeflowNotFoundError(PipelineError):
    """Kubeflow has no such object."""


class KubernetesUnreachableError(PipelineError):
    """Kubernetes does not answer, or has trouble of its own; a later try may succeed."""


class KubernetesForbiddenError(PipelineError):
    """Kubernetes does not allow this to this user."""


class KubernetesNotFoundError(PipelineError):
    """Kubernetes knows no such kind, namespace or object."""


class KubernetesConflictError(PipelineError):
    """An object of this name exists already, or it is not the one that was meant."""


class KubernetesRefusedError(PipelineError):
    """Kubernetes refuses the object: it breaks its schema, or an admission webhook refused it."""


class GenerationError(AudioTuneError):
    """A request for a sound that cannot be met."""
