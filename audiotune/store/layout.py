"""The layout of a store: every prefix that exists, in one table.

A row says who writes and reads under a prefix, how long its objects stay, and what each user of the bucket may do there. Keys are
built from these rows; no other module writes a prefix as text (a contract test checks it). The bucket's lifecycle rules (`setup`),
the users' policies (`admin`) and the table in docs/store.md are made of the same rows.

To add a prefix: add a row, then update the table in docs/store.md with `python -m audiotune.store.layout`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

User = Literal["studio", "generation", "pipelines", "registry", "governance", "backup", "erasure"]
Right = Literal["get", "list", "put", "delete", "erase"]
Limit = Literal["jobs", "backups", "tests"]
USERS: tuple[User, ...] = get_args(User)
RIGHTS: tuple[Right, ...] = get_args(Right)


@dataclass(frozen=True)
class Prefix:
    """A row of the table.

    Attributes:
        path: begins every key of the prefix. Ends with `/`, unless it is one key.
        holds: what its objects are, in words.
        written_by, read_by: programs and steps.
        rights: user -> the first letters of its rights: g (get), l (list), p (put), d (delete: in a bucket with versions, the
            object stays as an old version), e (erase: delete all versions for good).
        limit: the setting of the bucket that says after how many days the store deletes an object; None: it stays until a program
            or a person deletes it.
        keeps_old_versions: replaced and deleted objects can always be restored.
        changes: programs replace or delete objects here. Elsewhere an object is written once, and whoever changes it is no program.
        suffixes: the row covers only keys with one of these endings. It narrows the row with the same path and without suffixes.
    """

    path: str
    holds: str
    written_by: str
    read_by: str
    rights: Mapping[User, str]
    limit: Limit | None = None
    keeps_old_versions: bool = False
    suffixes: tuple[str, ...] = ("",)
    changes: bool = False

    def key(self, *parts: str) -> str:
        """The key with these parts, as in `ANNOTATIONS.key(segment, member, "1.json")`."""
        return self.path + "/".join(parts)

    def folder(self, *parts: str) -> str:
        """The prefix of all keys below these parts; ends with `/`."""
        return f"{self.path}{'/'.join(parts)}/" if parts else self.path

    def compile(self, pattern: str) -> re.Pattern[str]:
        """A regular expression for the keys whose rest, after the path, matches `pattern`."""
        return re.compile(re.escape(self.path) + pattern)

    def rest_of(self, key: str) -> str:
        """A key of this prefix without the path."""
        return key.removeprefix(self.path)

    def allows(self, user: User, right: Right) -> bool:
        return right[0] in self.rights.get(user, "")

    def covers(self, other: Prefix) -> bool:
        """Whether each key of the other row begins and ends like a key of this one."""
        return other.path.startswith(self.path) and all(ending.endswith(self.suffixes) for ending in other.suffixes)

    @property
    def top(self) -> str:
        """The first folder, as in `manifests`. Everything below it has the same limit."""
        return self.path.partition("/")[0]

    @property
    def patterns(self) -> list[str]:
        """The row's keys, in the notation of policies."""
        return [f"{self.path}*{suffix}" for suffix in self.suffixes]


_STEPS = "all steps"
_ERASABLE = "le"  # what members may have erased: their recordings, words and sounds
_ERASABLE_LIST = "gle"  # what names them: read, then erased with them
_READ_BY_ERASURE: Mapping[User, str] = {"erasure": "gl"}
# append-only, by the governance service alone; ingest and the command line write themselves where there is none
_AGREED: Mapping[User, str] = {"studio": "gl", "generation": "gl", "pipelines": "gl", "governance": "glp", "erasure": "gl"}
_DECIDES = "governance service"
_PREPARED: Mapping[User, str] = {"studio": "glp", "pipelines": "glp"}  # the studio can run `prepare` itself
_TRAINED: Mapping[User, str] = {"studio": "gl", "pipelines": "glp"}

BLOBS = Prefix(
    "blobs/",
    "bytes under their SHA-256: recordings, rendered segments, fingerprints, sounds of a history",
    "studio, ingest, segment, evaluate",
    f"studio, {_STEPS}",
    {**_PREPARED, "erasure": _ERASABLE},
)
MODEL_BLOBS = Prefix(
    "blobs/",
    "of these: tensors (weights, latents), configs, tokenizers. Members co-own a release's weights",
    "encode, finetune, unwrap",
    f"studio, generation, {_STEPS}",
    {**_TRAINED, "generation": "gl", "erasure": _ERASABLE},
    suffixes=(".safetensors", ".json", ".model", ".txt"),
)
REPORT_BLOBS = Prefix(
    "blobs/",
    "of these: reports of evaluations, rows of latents for a training's nodes",
    "evaluate, finetune",
    "studio, finetune",
    {**_TRAINED, "erasure": _ERASABLE},
    suffixes=(".html", ".jsonl"),
)
STATE_BLOBS = Prefix(
    "blobs/",
    "of these: the optimizer's state of a training, for nobody but a trainer",
    "finetune",
    "finetune",
    {"studio": "l", "generation": "l", "pipelines": "glpd", "erasure": _ERASABLE},  # who lists the wider row lists these
    suffixes=(".state.safetensors",),
    changes=True,
)
_MANIFESTS = "manifests/"
RECORDINGS = Prefix(
    f"{_MANIFESTS}recordings/",
    "what is known about recordings",
    "ingest",
    f"studio, {_STEPS}",
    {**_PREPARED, "generation": "g", "governance": "gl", **_READ_BY_ERASURE},
)
CUTS = Prefix(
    f"{_MANIFESTS}cuts/",
    "finished segments of one recording, so that nothing is cut twice",
    "segment",
    "segment",
    {**_PREPARED, "erasure": _ERASABLE_LIST},
    changes=True,
)
SEGMENTS = Prefix(
    f"{_MANIFESTS}segments/", "segments of one source", "segment", "studio, annotate_merge", {**_PREPARED, **_READ_BY_ERASURE}
)
DATASETS = Prefix(
    f"{_MANIFESTS}datasets/",
    "datasets, each with its exports in a folder of its digest",
    "annotate_merge",
    f"studio, generation, {_STEPS}",
    {**_TRAINED, "generation": "gl", **_READ_BY_ERASURE},
)
LATENT_MANIFESTS = Prefix(
    f"{_MANIFESTS}latents/", "rows of encoded segments", "encode", "finetune, evaluate", {**_TRAINED, **_READ_BY_ERASURE}
)
RELEASES = Prefix(
    f"{_MANIFESTS}releases/",
    "cards of releases, by name and version",
    "register",
    "studio, generation",
    {**_TRAINED, "generation": "gl", **_READ_BY_ERASURE},
)
LINEAGES = Prefix(
    "lineage/",
    "which dataset weights were trained on, or whose they are, by the digests of the weights; written once",
    "unwrap, register, `audiotune adapter`",
    "register, generation",
    {**_TRAINED, "generation": "gl", **_READ_BY_ERASURE},
    keeps_old_versions=True,
)
VOCABULARY = Prefix(
    f"{_MANIFESTS}vocabulary/",
    "words that members added",
    "studio",
    "studio, annotate_merge",
    {"studio": "glp", "pipelines": "gl"},
)
GENERATIONS = Prefix(
    f"{_MANIFESTS}generations/",
    "one record for each maker of a generated sound: prompt, seed, release, member",
    "generation",
    "generation",
    {"generation": "glp", "erasure": _ERASABLE},
)
MADE_WITH = Prefix("made/", "sounds by weights: empty objects", "generation", "studio", {"generation": "lp", "studio": "l"})
ANNOTATIONS = Prefix(
    "annotations/",
    "what one member heard in one segment, by segment, member and time; the newest counts",
    "studio",
    "studio, annotate_merge",
    {"studio": "glp", "pipelines": "gl", "erasure": _ERASABLE},
)
AGREEMENTS = Prefix(
    "governance/agreements/",
    "versions of the agreement, by number",
    _DECIDES,
    f"studio, generation, {_STEPS}",
    _AGREED,
    keeps_old_versions=True,
)
CONSENTS = Prefix(
    "governance/consents/",
    "who agreed to what, by recording, contributor and number; the newest counts",
    _DECIDES,
    f"studio, generation, {_STEPS}",
    _AGREED,
    keeps_old_versions=True,
)
LEDGER = Prefix(
    "governance/ledger/",
    "the ledger's events by number: all that was agreed, given, withdrawn and decided",
    _DECIDES,
    f"studio, generation, {_STEPS}",
    _AGREED,
    keeps_old_versions=True,
)
LEDGER_SNAPSHOTS = Prefix(
    "governance/snapshots/",
    "what the ledger's events add up to, by number; can be deleted at any time",
    _DECIDES,
    f"studio, generation, {_STEPS}",
    _AGREED,
    keeps_old_versions=True,
)
ERASURES = Prefix(
    "erasures/",
    "lists of what was erased, by withdrawal and round; the ledger has their hashes",
    "erasure",
    "studio, generation, pipelines",
    {"studio": "gl", "generation": "gl", "pipelines": "gl", "erasure": "glp"},
    keeps_old_versions=True,
)
ACCOUNTS = Prefix(
    "access/accounts/",
    "members who sign in, their roles and hashed passwords",
    _DECIDES,
    "studio",
    {"studio": "gl", "governance": "glpd"},
    keeps_old_versions=True,
    changes=True,
)
TOKENS = Prefix(
    "access/tokens/",
    "members' tokens, hashed",
    _DECIDES,
    "studio, generation",
    {"studio": "gl", "generation": "gl", "governance": "glp"},
    keeps_old_versions=True,
    changes=True,
)
IDENTITIES = Prefix(
    "access/identities/",
    "what a sign-in provider calls a member, under its hash",
    _DECIDES,
    "studio",
    {"studio": "gl", "governance": "glpd"},
    keeps_old_versions=True,
    changes=True,
)
INBOX = Prefix(
    "inbox/",
    "records of uploads, which name the blobs that came in",
    "studio",
    "studio, ingest",
    {"studio": "glp", "pipelines": "gl", "erasure": _ERASABLE_LIST},
    changes=True,
)
WAITING = Prefix(
    "waiting/",
    "recordings that wait for somebody's word, for asking alone; deleted in all versions at a no, or without an answer",
    "studio, ingest",
    "studio, ingest",
    {**_PREPARED, "governance": _ERASABLE, "erasure": _ERASABLE},
)
SOUND_HISTORY = Prefix("history/", "sounds that a member asked for", "studio", "studio", {"studio": "glp", "erasure": _ERASABLE})
NOTICES = Prefix("notices/", "addresses of members, notices on their way", "studio", "studio", {"studio": "glpd"}, changes=True)
TRAININGS = Prefix("tunings/", "trainings that members started, by number", "studio", "studio", {"studio": "glp"}, changes=True)


def _describe_jobs_prefix(path: str, holds: str, erasure: str = _ERASABLE) -> Prefix:
    return Prefix(path, holds, "generation", "generation", {"generation": "glpd", "erasure": erasure}, limit="jobs", changes=True)


JOB_EVENTS = _describe_jobs_prefix(
    "jobs/log/", "events of generation jobs, by member, job and number, and the sounds that they start from", _ERASABLE_LIST
)
OPEN_JOBS = _describe_jobs_prefix("jobs/open/", "an empty object for each job that has not ended")
MEMBER_JOBS = _describe_jobs_prefix("jobs/of/", "an empty object for each job of a member, by time")
WEBHOOK_MARKERS = _describe_jobs_prefix("jobs/hooks/", "an empty object for each job whose webhook is not delivered")
WEBHOOK_LOGS = _describe_jobs_prefix("jobs/told/", "attempts to deliver a job's webhook")
WORKERS = _describe_jobs_prefix("jobs/workers/", "heartbeats of the workers that run jobs")
ALLOWANCES = _describe_jobs_prefix("jobs/allowance/", "requests and seconds of sound that each replica counted, by day")
SETUP_PROBE = Prefix(
    "jobs/.bootstrap",
    "one object, written, read and deleted to try the key",
    "audiotune.store.setup",
    "audiotune.store.setup",
    {"generation": "glpd", "erasure": _ERASABLE},
    "jobs",
    changes=True,
)
SOUNDS = Prefix(
    "sounds/",
    "generated sounds, under their SHA-256",
    "generation",
    "generation",
    {"generation": "glpd", "erasure": _ERASABLE},
    changes=True,
)
DESCRIPTIONS = Prefix(
    "descriptions/",
    "what one decode of a recording showed, so that nothing is decoded twice",
    "ingest",
    "ingest",
    {**_PREPARED, "erasure": _ERASABLE},
)
BASES = Prefix(
    "bases/",
    "base models that were copied into the store, by the hash of their name",
    "encode",
    _STEPS,
    {"pipelines": "glp", **_READ_BY_ERASURE},
    changes=True,
)
DOWNLOADS = Prefix(
    "downloads/", "parts of base models on their way from a hub", "encode", "encode", {"pipelines": "glpd"}, changes=True
)
LATENTS = Prefix(
    "latents/",
    "which blobs hold a segment's latents, so that nothing is encoded twice",
    "encode",
    "encode",
    {"pipelines": "glp", "erasure": _ERASABLE_LIST},
    changes=True,
)
CHECKPOINTS = Prefix(
    "checkpoints/",
    "states of trainings, by run and step; each names its blobs",
    "finetune",
    "finetune, unwrap",
    {"pipelines": "glpd", "erasure": _ERASABLE_LIST},
    changes=True,
)
EVALUATED_SOUNDS = Prefix(
    "evaluations/sounds/",
    "sounds that evaluate made, so that none is made twice",
    "evaluate",
    "evaluate",
    {"pipelines": "glp", "erasure": _ERASABLE_LIST},
    changes=True,
)
EVALUATIONS = Prefix(
    "evaluations/",
    "results of evaluations, under what decides them",
    "evaluate",
    "evaluate",
    {"pipelines": "glp", "erasure": _ERASABLE_LIST},
    changes=True,
)
_BY_PEOPLE = "annotations from elsewhere, laid there by a person"
IMPORTS = Prefix("imports/", _BY_PEOPLE, "people", "annotate_merge", {"pipelines": "glp"}, changes=True)
MLFLOW = Prefix(
    "mlflow/", "the registry's artifacts", "registry", "registry", {"registry": "glpd", "erasure": _ERASABLE}, changes=True
)
BACKUPS = Prefix(
    "backups/",
    "dumps of the registry's database",
    "the backup job, which is not the registry",
    "the restore job",
    {"backup": "glp"},
    "backups",
)
KUBEFLOW = Prefix("kfp/", "artifacts and logs of Kubeflow's runs", "Kubeflow", "Kubeflow", {"pipelines": "glpd"}, changes=True)
HELM_TEST = Prefix(
    "helm-test/", "a store of its own for `helm test`", "helm test", "helm test", {"pipelines": "glpd"}, "tests", changes=True
)

PREFIXES: tuple[Prefix, ...] = tuple(value for value in list(globals().values()) if isinstance(value, Prefix))
# Rights for keys outside the table: takes and models that the group keeps in the same bucket, or another root of Kubeflow's artifacts.
OTHER_RIGHTS: Mapping[User, str] = {"pipelines": "glp"}


def manifest_folder(kind: str) -> str:
    """The prefix of all manifests of a kind, as in `recordings`."""
    return f"{_MANIFESTS}{kind}/"


def find_prefix(key: str) -> Prefix | None:
    """The narrowest row that a key belongs to; None for a key outside the layout."""
    rows = [prefix for prefix in PREFIXES if key.startswith(prefix.path) and key.endswith(prefix.suffixes)]
    return max(rows, key=lambda prefix: (len(prefix.path), max(map(len, prefix.suffixes))), default=None)


if __name__ == "__main__":
    import importlib  # the table imports this module

    print(importlib.import_module("audiotune.store.layout_table").format_table(), end="")
