"""What waits for the member, at the top of every page. The script is in widgets/header.js."""

from __future__ import annotations

from datetime import UTC, datetime

from audiotune.governance.ledger.ledger import open_ledger
from audiotune.governance.open_matters import MatterKind, OpenMatter, list_open_matters
from services.studio.context import StudioContext
from services.studio.pages.server_functions import Payload, ServerFunction, create_server_function
from services.studio.stored_news import StoredNewsReader, list_news_if_there

_PLACES: dict[MatterKind, tuple[str, ...]] = {  # the page, and its part
    "vote": ("Agreement", "Decisions"),
    "recording": ("Agreement", "My recordings"),
    "signature": ("Agreement", "Agreement"),
    "lost_key": ("Agreement", "Keys"),
    "withdrawal": ("Agreement", "Agreement"),
    "release": ("Releases",),
    "run": ("Releases",),
    "upload": ("Upload",),
}


def create_matter_list(context: StudioContext) -> ServerFunction:
    """Lists what waits for the acting member, and what is new to them."""
    reader = StoredNewsReader(context.store)

    def list_matters(member: str, payload: Payload) -> Payload:
        state = open_ledger(context.store).read_state()
        matters = list_open_matters(state, member, datetime.now(UTC), list_news_if_there(reader)) if member else []
        return {"matters": [_describe_matter(one) for one in matters]}

    return create_server_function(context, list_matters)


def _describe_matter(matter: OpenMatter) -> Payload:
    words = f"{matter.words[:1].upper()}{matter.words[1:]}"
    place = list(_PLACES[matter.kind])
    return {"id": matter.id, "words": words, "count": matter.count, "news": matter.is_news, "place": place}
