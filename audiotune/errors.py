"""The family of errors of the library, the steps and the pipelines. Each error says what is wrong, where, and the cure.

AudioTuneError
├── GovernanceError ── AgreementError ConsentError DecisionError LedgerError LineageError
│   └── UnreadableAgreementError UnreadableConsentError
├── AccessError ── ForbiddenError
├── StoreError ── NotInStoreError AlreadyInStoreError DamagedBlobError
├── PipelineError ── RunFailedError RunUnfinishedError
│   ├── KubeflowUnreachableError KubeflowRefusedError KubeflowNotFoundError
│   └── KubernetesUnreachableError KubernetesForbiddenError KubernetesNotFoundError KubernetesConflictError KubernetesRefusedError
└── AddressError SoundError SourceError ManifestError SettingsError ModelError TrainingError RegistryError GenerationError

The generation service defines kinds of GenerationError in services/generation/errors.py.
"""

from __future__ import annotations

import functools
from collections.abc import Callable


def first_line(error: Exception) -> str:
    """The first line of an error's message, or its class name if it has none."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


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
        """Pickles `where` and `cure`, too: the base class would lose them between processes."""
        return functools.partial(type(self), where=self.where, cure=self.cure), (self.what,)

    def __str__(self) -> str:
        place = f" in {self.where}" if self.where else ""
        cure = f". {self.cure[:1].upper()}{self.cure[1:]}" if self.cure else ""
        return f"{self.what}{place}{cure}"


class AddressError(AudioTuneError):
    """An address that somebody named, which may not be reached."""


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


class UnreadableAgreementError(AgreementError):
    """The newest version of the agreement cannot be read: nobody knows what is allowed."""


class UnreadableConsentError(ConsentError):
    """A contributor's newest record cannot be read: nobody knows what they agreed to."""


class DecisionError(GovernanceError):
    """A proposal or a vote that the group's rules do not allow, or something that needs an accepted proposal first."""


class LedgerError(GovernanceError):
    """The ledger cannot be read, or was changed by somebody: nobody knows what is allowed."""


class LineageError(GovernanceError):
    """A release whose lineage is unknown, or not that of the dataset it was trained on."""


class AccessError(AudioTuneError):
    """A person who did not sign in: no token or password, or one that is not valid."""


class ForbiddenError(AccessError):
    """A known person, who may not do this."""


class StoreError(AudioTuneError):
    """The store refuses, is unreachable or full."""


class NotInStoreError(StoreError):
    """No such key in the store."""


class AlreadyInStoreError(StoreError):
    """A conditional write failed: the key exists already."""


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
