"""Mutations of headers: ingest takes each file in or refuses it with a reason. No crash, no hang, no half-stored file, no silence.

300 mutations in every run; more with `AUDIOTUNE_TEST_MUTATIONS=2000 python -m pytest tests/corpus/test_header_mutations.py`.
"""

import functools
import os
import tempfile
import time
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audiotune.domain.manifest import load_manifest
from audiotune.domain.recording import Recording
from audiotune.errors import SourceError
from audiotune.store import compute_digest
from components.ingest.settings import Settings
from components.ingest.step import run_step
from tests.corpus.make_files import write_encoded, write_plain
from tests.fakes.layout_store import LayoutStore

EXAMPLES = int(os.environ.get("AUDIOTUNE_TEST_MUTATIONS", "300"))
LONGEST_S = 20
PLAIN = [
    ("WAV", "PCM_16"), ("WAV", "PCM_24"), ("WAVEX", "FLOAT"), ("RF64", "PCM_24"), ("AIFF", "PCM_16"), ("CAF", "PCM_24"), ("AU", "PCM_16"),
    ("W64", "PCM_16"), ("WAV", "MS_ADPCM"), ("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III"),
]  # fmt: skip
ENCODED = [
    ("aac", "adts"),
    ("aac", "ipod"),
    ("mp2", "mp2"),
    ("libopus", "webm"),
    ("alac", "ipod"),
    ("wavpack", "wv"),
    ("tta", "tta"),
]
AGREEMENT = """
group = "The Testers"
version = 1
recordings_licence = "CC0-1.0"
weights_licence = "CC0-1.0"
[[members]]
id = "ana"
name = "Ana"
consents_to = ["store"]
"""
INTERESTING = st.sampled_from(
    [b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\x80", b"\0\xf0\xff\x7f", b"\1\0\0\0", b"data"]
)
# (what is done, where as a share of the header, with which bytes)
EDITS = st.lists(
    st.tuples(
        st.sampled_from(["write", "insert", "delete"]), st.floats(0, 1), st.one_of(INTERESTING, st.binary(min_size=1, max_size=8))
    ),
    min_size=1,
    max_size=6,
)


@functools.cache
def make_seed(number: int) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "seed"
        if number < len(PLAIN):
            return write_plain(path, *PLAIN[number], rate=16_000).read_bytes()
        return write_encoded(path, *ENCODED[number - len(PLAIN)], rate=48_000).read_bytes()


def mutate(data: bytes, edits: list[tuple[str, float, bytes]], header_bytes: int, share: float) -> bytes:
    changed = bytearray(data)
    for kind, place, content in edits:
        at = round(place * min(header_bytes, len(changed)))
        if kind == "write":
            changed[at : at + len(content)] = content
        elif kind == "insert":
            changed[at:at] = content
        else:
            del changed[at : at + len(content)]
    return bytes(changed[: round(share * len(changed))])


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None)
@given(
    seed=st.integers(0, len(PLAIN) + len(ENCODED) - 1),
    edits=EDITS,
    header_bytes=st.sampled_from([16, 64, 256, 4096, 1 << 20]),
    share=st.one_of(st.just(1.0), st.floats(0.05, 1.0)),
)
def test_a_mutation_comes_in_or_is_refused(
    seed: int, edits: list[tuple[str, float, bytes]], header_bytes: int, share: float
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        (base / "takes").mkdir()
        (base / "takes" / "take.wav").write_bytes(mutate(make_seed(seed), edits, header_bytes, share))
        (base / "agreement.toml").write_text(AGREEMENT)
        check_ingest(base, LayoutStore(base / "store"))


def check_ingest(base: Path, store: LayoutStore) -> None:
    """Plays ingest; what it stored is whole and belongs to a row, and a row's sound is no silence."""
    given = {"agreement": str(base / "agreement.toml"), "contributors": "ana", "source": str(base / "takes"), "likenesses": False}
    out = {name: base / name for name in ("recordings", "report", "metrics")}
    began = time.process_time()
    try:
        run_step(Settings.model_validate(given), store, lambda share, words: None, **out)
        rows = load_manifest(out["recordings"], "recordings", Recording).rows
    except SourceError:
        rows = []
    assert time.process_time() - began < LONGEST_S
    blobs = {entry.key for entry in store.list("blobs/")}
    assert blobs == {key for row in rows for key in (row.blob, row.fingerprint)}
    assert all(compute_digest(store.root / key) in key for key in blobs)
    for row in rows:
        assert row.frames > 0
        assert row.description.peak_dbfs is not None, "silence, where sound was"
