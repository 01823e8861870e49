"""The e-mail addresses that members gave, each for themselves. They stand in no ledger, and only the studio reads them."""

from __future__ import annotations

import re

from audiotune.domain.frozen_model import TolerantModel
from audiotune.domain.member import require_member_id
from audiotune.errors import AddressError, NotInStoreError
from audiotune.store.layout import NOTICES
from audiotune.store.port import Store

_LONGEST = 254  # RFC 5321
_EMAIL = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9.-]{0,250}[A-Za-z0-9])?")


class NoticeAddress(TolerantModel):
    """Where a member is told."""

    email: str


def read_address(store: Store, member: str) -> str:
    """The member's e-mail address; "" for none."""
    try:
        return NoticeAddress.model_validate_json(store.get(_address_key(member))).email
    except (NotInStoreError, ValueError):
        return ""


def write_address(store: Store, member: str, email: str) -> str:
    """Keeps an address, or forgets it where the text is empty; the address. Raises AddressError: it is none."""
    text = email.strip()
    if not text:
        store.delete(_address_key(member))
        return ""
    if len(text) > _LONGEST or not _EMAIL.fullmatch(text):
        raise AddressError("this is no e-mail address", cure="write it as in ana@band.example")
    store.put(_address_key(member), NoticeAddress(email=text).model_dump_json().encode())
    return text


def _address_key(member: str) -> str:
    return NOTICES.key("addresses", f"{require_member_id(member)}.json")
