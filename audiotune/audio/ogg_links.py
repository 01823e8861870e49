"""The logical streams of an Ogg file, one behind the other (a chained file), and whether the last one has its end. Source: RFC 3533."""

from dataclasses import dataclass
from pathlib import Path

_FIRST, _LAST = 0x02, 0x04  # flags in a page's header


@dataclass(frozen=True)
class OggLinks:
    """The chain of a file.

    Attributes:
        extents: (offset, bytes) of each link.
        is_whole: whether the last page is complete and ends its stream.
    """

    extents: tuple[tuple[int, int], ...]
    is_whole: bool


def find_ogg_links(path: Path, offset: int = 0) -> OggLinks:
    """Reads the headers of all pages; bytes between pages are passed over, as decoders do."""
    starts, at, size, before_was_first = [offset], offset, path.stat().st_size, True
    open_streams: set[bytes] = set()
    is_whole = False
    with path.open("rb", buffering=1 << 16) as file:
        while at < size:
            file.seek(at)
            head = file.read(27)
            if head[:4] != b"OggS" or len(head) < 27:
                file.seek(at + 1)
                found = file.read(1 << 20).find(b"OggS")
                at = at + 1 + found if found >= 0 else at + (1 << 20) - 4
                continue
            table = file.read(head[26])
            is_first = bool(head[5] & _FIRST)
            if is_first and not before_was_first:
                starts.append(at)
                open_streams.clear()
            if is_first:
                open_streams.add(head[14:18])
            if head[5] & _LAST:
                open_streams.discard(head[14:18])
            before_was_first = is_first
            at += 27 + len(table) + sum(table)
            is_whole = at <= size and len(table) == head[26] and not open_streams
    ends = [*starts[1:], size]
    return OggLinks(tuple((start, end - start) for start, end in zip(starts, ends, strict=True)), is_whole)
