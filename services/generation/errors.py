"""The errors of the generation service, below audiotune.errors. Which HTTP status each has is said in http/problems.py only."""

from __future__ import annotations

import math

from audiotune.errors import (
    AudioTuneError,
    DamagedBlobError,
    GenerationError,
    GovernanceError,
    LedgerError,
    NotInStoreError,
    RegistryError,
    StoreError,
    UnreadableAgreementError,
    UnreadableConsentError,
)

_UNREADABLE = (LedgerError, UnreadableAgreementError, UnreadableConsentError)  # what was agreed is not known


class RequestError(GenerationError):
    """A request that cannot be met as it is asked. `where`: the field at fault; `cure`: what it may hold."""

    def __str__(self) -> str:
        return self.what


class OutOfBoundsError(RequestError):
    """A field is out of the bounds of the model or the format."""


class InitAudioError(RequestError):
    """The init sound cannot be used."""


class InitConsentError(RequestError):
    """Somebody who is heard in the init sound does not agree."""


class RepeatedAdapterError(RequestError):
    """One adapter is named twice."""


class UnfitAdapterError(RequestError):
    """The adapter cannot be added to the release."""


class UnknownReleaseError(RequestError):
    """No such release is served."""


class UnknownAdapterError(RequestError):
    """No such adapter."""


class AdapterConsentError(RequestError):
    """A contributor to the adapter does not agree."""


class UnknownSoundError(RequestError):
    """No such sound, or one of another member: the answer must not tell which."""


class WebhookError(RequestError):
    """Webhooks may not be sent to this address."""


class RetryLaterError(GenerationError):
    """Too much is asked for now. `retry_s`: whole seconds after which the same request gets in, as predicted."""

    def __init__(self, what: str, retry_s: float = 1, *, where: str = "", cure: str = "") -> None:
        self.retry_s = max(1, math.ceil(retry_s))
        super().__init__(what, where=where, cure=cure or f"try again in {self.retry_s} s")


class BusyError(RetryLaterError):
    """The queue is full."""


class RequestRateError(RetryLaterError):
    """A member asks too often."""


class DailySoundError(RetryLaterError):
    """A member asks for more seconds of sound than a day allows."""


class DailyBytesError(RetryLaterError):
    """A member's jobs keep more bytes of init sounds than a day allows."""


class OpenJobsError(RetryLaterError):
    """A member has as many jobs that have not ended as one may have."""


class OpenStreamsError(RetryLaterError):
    """A member follows as many jobs at once as one may."""


class NotReadyError(GenerationError):
    """No release is loaded, or the service is stopping."""


class WithdrawnError(NotReadyError):
    """Somebody took back their consent to the release, and it is not known yet, or there is none, what may play instead."""


class ReleaseWithdrawnError(GenerationError):
    """The job names a release that somebody took back their consent to, and no other version of it may play."""


class MemberLeftError(GenerationError):
    """Who asked for it is in the group no more."""


class AdapterLookupError(NotReadyError):
    """Registry or store cannot be asked for an adapter now."""


class DeadlineError(GenerationError):
    """The sound was not made within the time that its client waits."""


class MemoryFullError(GenerationError):
    """Not even one sound alone fits into memory."""


class AbandonedJobError(GenerationError):
    """The job's workers ended without a word again and again."""


class DamagedJobError(GenerationError):
    """An event of the job in the store cannot be read."""


def is_outage(e: BaseException) -> bool:
    """Whether registry or store could not be asked: nothing is wrong with what was asked for, and it can be tried again."""
    away = isinstance(e, RegistryError | StoreError) and not isinstance(e, DamagedBlobError | NotInStoreError)
    return away or isinstance(e, _UNREADABLE)


def is_refusal(e: BaseException) -> bool:
    """Whether the group says no. A record that cannot be read says neither yes nor no, as a store that is away."""
    return isinstance(e, GovernanceError) and not isinstance(e, _UNREADABLE)


def describe_error(e: BaseException) -> str:
    """One line for health and log: our own errors as they are, bugs with their class."""
    return str(e) if isinstance(e, AudioTuneError) else f"{type(e).__name__}: {e}"
