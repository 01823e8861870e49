"""Of recordings that are not the members' own, by their licence, the group decides where the agreement says so; ingest asks it."""

from audiotune.domain.recording import Digest
from audiotune.errors import ConsentError
from audiotune.governance import Agreement
from audiotune.governance.writer import GovernanceWriter


def require_decision_on(id: Digest, name: str, licence: str, agreement: Agreement, governance: GovernanceWriter) -> None:
    """Before anything of a recording is stored. Opens the proposal itself. Raises ConsentError: the group has not said yes.

    Args:
        name: for people: the file, and where it comes from.
    """
    if licence == agreement.recordings_licence or "foreign_recording" not in agreement.decisions:
        return
    text = f"{name}. Licence: {licence}. SHA-256: {id}"
    asked = governance.request_decision("foreign_recording", f"Take in {name}"[:200], text, {"recording": id})
    if asked is not None and asked.outcome != "accepted":
        what = f"it is from outside ({licence}), and the group decides: proposal {asked.id} is open until {asked.ends:%Y-%m-%d}"
        raise ConsentError(what, cure="bring it in again when the group has accepted it")
