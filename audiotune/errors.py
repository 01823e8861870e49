"""The family of errors. Each says what is wrong, where, and the cure.

AudioTuneError
├── SoundError            a file or array that is no usable sound
├── SourceError           a place recordings should come from that cannot be read
├── ManifestError         a manifest that is cut, changed or of another kind
├── SettingsError         a knob out of bounds, a recipe or a card that does not fit
├── GovernanceError       the agreement or the consent records say no
│   ├── AgreementError    the agreement itself is missing or wrong
│   └── ConsentError      a contributor has not agreed to this use
├── AccessError           nobody we know: no token, or one that does not count
│   └── ForbiddenError    somebody we know, who may not do this
├── StoreError            the store refuses, is away or full
│   ├── NotInStoreError   no such key
│   ├── AlreadyInStoreError  a conditional write lost: the key exists
│   └── DamagedBlobError  content does not match its hash
├── ModelError            weights, config or checkpoint that do not fit together
├── TrainingError         training cannot go on (NaN, no data)
├── RegistryError         MLflow refuses or is away
├── PipelineError         a compiled pipeline or one of its steps failed
└── GenerationError       a request for a sound that cannot be met
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
    """A place recordings should come from that cannot be read."""


class ManifestError(AudioTuneError):
    """A manifest that is cut, changed or of another kind."""


class SettingsError(AudioTuneError):
    """A knob out of bounds, a recipe or a card that does not fit."""


class GovernanceError(AudioTuneError):
    """The agreement or the consent records say no."""


class AgreementError(GovernanceError):
    """The agreement itself is missing or wrong."""


class ConsentError(GovernanceError):
    """A contributor has not agreed to this use."""


class AccessError(AudioTuneError):
    """Nobody we know: no token or password, or one that does not count."""


class ForbiddenError(AccessError):
    """Somebody we know, who may not do this."""


class StoreError(AudioTuneError):
    """The store refuses, is away or full."""


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
    """The model registry refuses or is away."""


class PipelineError(AudioTuneError):
    """A compiled pipeline or one of its steps failed."""


class GenerationError(AudioTuneError):
    """A request for a sound that cannot be met."""
