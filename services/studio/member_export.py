"""Each member's contribution, in numbers, and as a zip to download: recordings, answers, consents, co-owned weights."""

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path

from audiotune.domain.annotation import Annotation
from audiotune.domain.recording import Recording
from audiotune.domain.release import Release
from audiotune.errors import ConsentError, GovernanceError
from audiotune.governance import Agreement, read_consents
from audiotune.governance.release_standing import require_release_permission
from audiotune.store.atomic_files import replace_atomically
from audiotune.store.layout import ANNOTATIONS, SOUND_HISTORY
from audiotune.store.port import Store
from services.studio.library import Library
from services.studio.uploads import clean_file_name

_README_TEXT = """What {name} gave to {group}, as it is kept in the store.

recordings/           the files as they came, with nothing changed
recordings.json       what is known about each: people, licence, rate, length
annotations.json      every answer {name} gave, old ones too
consents.json         what {name} agreed to, recording by recording
generations.json      the sounds {name} asked the model for
releases/             the group's models, co-owned by its members: weights, adapter, config, evaluation report, card
releases/left out.txt those that may not be taken away now, and why, if there are any
"""


@dataclass(frozen=True)
class MemberContribution:
    """The contribution of one member, in numbers."""

    recordings: int
    seconds: float
    segments: int
    answers: int


def count_contribution(store: Store, library: Library, member: str) -> MemberContribution:
    """Counts a member's contribution. Answers are counted by segment, so a changed answer counts once."""
    own = library.list_member_recordings(member)
    ids = {r.id for r in own}
    answered = {tuple(e.key.split("/")[1:3]) for e in store.list(ANNOTATIONS.path)}
    return MemberContribution(
        recordings=len(own),
        seconds=sum(r.duration_s for r in own),
        segments=sum(s.recording in ids for s in library.segments.values()),
        answers=sum(pair[1] == member for pair in answered if len(pair) == 2),
    )


def export_member_data(
    store: Store, library: Library, agreement: Agreement, member: str, releases: list[Release], folder: Path, *, weights: bool
) -> Path:
    """Writes a zip with everything of a member and returns its path. Sounds are stored without compression: it is fast.

    Args:
        weights: whether the files of the releases are packed too; only for members. Everything that a member gave themselves they
            take away at any time; a release only while everybody else who is heard in it agrees (gate `export`).

    Raises:
        GovernanceError: the agreement does not name this member.
        StoreError: a file is missing or damaged; no incomplete zip is left.
    """
    person = agreement.find_member(member)
    if person is None:
        raise GovernanceError(f"{member!r} is no member in the agreement", cure="choose who you are at the top of the page")
    target = folder / f"audio-tune-{member}.zip"
    with replace_atomically(target) as part, zipfile.ZipFile(part, "w", zipfile.ZIP_STORED, allowZip64=True) as into:
        into.writestr("README.txt", _README_TEXT.format(name=person.name, group=agreement.group))
        own = library.list_member_recordings(member)
        _write_recordings(store, into, own)
        _write_annotations(store, into, member)
        consents = read_consents(store, [r.id for r in own])
        _write_json(
            into,
            "consents.json",
            [c.model_dump(mode="json") for (_, contributor), c in consents.items() if contributor == member],
        )
        generations = [json.loads(store.get(e.key)) for e in store.list(SOUND_HISTORY.folder(member))]
        _write_json(into, "generations.json", generations)
        if weights:
            _write_weights(store, into, releases, member)
    return target


def _write_recordings(store: Store, into: zipfile.ZipFile, own: list[Recording]) -> None:
    names = set[str]()
    for recording in own:
        name = clean_file_name(recording.name)
        if name in names:
            name = f"{recording.id[:8]} {name}"
        names.add(name)
        into.write(store.fetch(recording.blob), f"recordings/{name}")
    _write_json(into, "recordings.json", [r.model_dump(mode="json") for r in own])


def _write_annotations(store: Store, into: zipfile.ZipFile, member: str) -> None:
    keys = [e.key for e in store.list(ANNOTATIONS.path) if f"/{member}/" in e.key and e.key.endswith(".json")]
    _write_json(into, "annotations.json", [Annotation.model_validate_json(store.get(k)).model_dump(mode="json") for k in keys])


def _write_weights(store: Store, into: zipfile.ZipFile, releases: list[Release], member: str) -> None:
    left_out = []
    for release in releases:
        folder = f"releases/{clean_file_name(release.name)} {release.version or release.digest[:8]}"
        try:
            if release.lineage.contributors != (member,):
                require_release_permission(store, "export", release)  # right before it is packed
        except ConsentError as e:
            left_out.append(f"{release.name} version {release.version or '?'}: {e.what}\n")
            continue
        _write_json(into, f"{folder}/card.json", release.model_dump(mode="json"))
        for path, key in release.list_files().items():
            into.write(store.fetch(key), f"{folder}/{'/'.join(map(clean_file_name, path.split('/')))}")
    if left_out:
        into.writestr("releases/left out.txt", "".join(left_out))


def _write_json(into: zipfile.ZipFile, name: str, value: object) -> None:
    into.writestr(name, json.dumps(value, indent=1, ensure_ascii=False, default=str) + "\n")
