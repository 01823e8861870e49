"""A release is given to others: its files in a folder, with card, licence and the agreement's digest. Every way out asks here first."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path, PurePosixPath

from pydantic import ValidationError

from audiotune.domain.lineage import LineageChecker
from audiotune.domain.release import Release
from audiotune.errors import ConsentError, NotInStoreError, SourceError
from audiotune.governance.agreement import Agreement
from audiotune.governance.agreement_words import describe_licence
from audiotune.governance.decisions import require_decision
from audiotune.governance.proposal import Proposal
from audiotune.governance.release_standing import require_release_permission
from audiotune.store.layout import RELEASES
from audiotune.store.port import Store


def publish_release(store: Store, name: str, version: str, folder: Path, *, for_money: bool = False) -> Proposal | None:
    """Writes a release into a new folder, for people outside the group. Returns the decision; None where the agreement asks for none.

    What it asks for is asked again when everything is copied: who takes it back in the meantime is heard. A failure leaves no folder.

    Args:
        for_money: the group earns with it, so everybody heard in it must have agreed to that, too.

    Raises:
        NotInStoreError: no such version.
        ConsentError: somebody heard in it does not agree to publication (or to income), or its licence is not the agreement's.
        DecisionError: the agreement puts this under a decision, and the group has not accepted it.
        LineageError: its card and its dataset name different people.
        SourceError: the folder exists, or cannot be written.
    """
    release = find_stored_release(store, name, version)
    _require_right(store, release, for_money)
    if folder.exists():
        raise SourceError("it exists already", where=str(folder), cure="name a new folder")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".release-", dir=folder.parent) as scratch:
            made = Path(scratch) / "release"
            made.mkdir()
            for path, key in release.list_files().items():
                target = made / _require_plain_path(path)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(store.fetch(key), target)
            agreement, decided = _require_right(store, release, for_money)
            (made / "README.md").write_text(render_card(release, agreement, decided), encoding="utf-8")
            (made / "release.json").write_text(release.model_dump_json(indent=1) + "\n", encoding="utf-8")
            made.replace(folder)
    except OSError as e:
        raise SourceError(f"cannot write it: {e.strerror or e}", where=str(folder), cure="give another folder") from e
    return decided


def find_stored_release(store: Store, name: str, version: str) -> Release:
    """The release that register wrote into the store. Raises NotInStoreError."""
    for entry in store.list(RELEASES.folder(name)):
        if entry.key.endswith(".json"):
            try:
                release = Release.model_validate_json(store.get(entry.key))
            except ValidationError:
                continue
            if (release.name, release.version) == (name, version):
                return release
    raise NotInStoreError(f"there is no version {version} of {name}", where=store.url, cure="look at the studio's Releases page")


def render_card(release: Release, agreement: Agreement, decided: Proposal | None) -> str:
    """What goes with the weights, as Markdown."""
    names = {member.id: member.name for member in agreement.members}
    people = ", ".join(names.get(one, one) for one in release.lineage.contributors)
    measured = "\n".join(f"- {name.replace('_', ' ')}: {value:.4g}" for name, value in release.evaluation.metrics.items())
    by = (
        f"Proposal {decided.id} of the group, {decided.title!r}, was accepted."
        if decided
        else "The agreement asks for no decision."
    )
    parts = [
        f"# {release.name} {release.version}",
        f"Licence: {describe_licence(release.licence)}",
        release.notice,
        f"Made by {agreement.group} from recordings of {people}, who agreed to its publication.",
        by,
        f"- weights: {release.digest}\n- dataset: {release.lineage.dataset}\n- base: {release.lineage.base}\n"
        f"- agreement: version {agreement.version}, {agreement.digest}",
        f"## Measured\n{measured}" if measured else "",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _require_right(store: Store, release: Release, for_money: bool) -> tuple[Agreement, Proposal | None]:
    LineageChecker(store).require(release)
    agreement = require_release_permission(store, "publish", release)
    if for_money:
        require_release_permission(store, "earn", release)
    if release.licence != agreement.weights_licence:
        what = f"it was registered under {release.licence!r}, and the agreement in force says {agreement.weights_licence!r}"
        raise ConsentError(what, where=f"{release.name} {release.version}", cure="run register again")
    return agreement, require_decision(store, "publish_release", {"release": release.name, "version": release.version})


def _require_plain_path(path: str) -> Path:
    """A path that stays in its folder. Raises SourceError."""
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or ".." in parts:
        raise SourceError(f"{path[:80]!r} is no name of a file of a release", cure="register the release again")
    return Path(*parts)
