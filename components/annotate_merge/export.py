"""Exports a dataset to a folder with sounds and descriptions, for stable-audio-tools and readers of Croissant.

python -m components.annotate_merge.export --store STORE --dataset KEY --out FOLDER
"""

import argparse
import sys
from pathlib import Path


def main(argv: list[str] | None = None) -> int:
    """Returns the exit code; the last line on stderr is the reason."""
    parser = argparse.ArgumentParser(prog="python -m components.annotate_merge.export", description="Export a dataset.")
    parser.add_argument("--store", help="folder or s3://bucket/prefix (default: AUDIOTUNE_STORE)")
    parser.add_argument("--dataset", default="newest", help="store key of a datasets manifest (default: newest)")
    parser.add_argument("--out", type=Path, required=True, help="folder to write into")
    args = parser.parse_args(argv)
    from audiotune.errors import AudioTuneError

    try:
        folder = export_dataset(args.store, args.dataset, args.out)
    except (AudioTuneError, OSError) as e:
        print(f"export: {' '.join(str(e).split())}", file=sys.stderr)
        return 1
    print(f"written to {folder}")
    return 0


def export_dataset(url: str | None, key: str, folder: Path) -> Path:
    """Writes a dataset into a folder.

    Raises:
        ManifestError: no dataset. AgreementError: no agreement in the store.
        ConsentError: somebody has withdrawn.
    """
    from audiotune import governance
    from audiotune.domain import manifest
    from audiotune.domain.dataset import DatasetRow, contributors_by_recording
    from audiotune.errors import ManifestError
    from audiotune.store import open_store
    from components.annotate_merge.export_formats import write_dataset

    store = open_store(url)
    dataset_key = manifest.find_newest_manifest(store, "datasets") if key == "newest" else key
    if dataset_key is None:
        raise ManifestError("the store holds no dataset", where=store.url, cure="run annotate_merge first")
    dataset = manifest.fetch_manifest(store, dataset_key, "datasets", DatasetRow)
    # to train elsewhere; gate `export` is about what leaves the group's hands with a member
    agreement = governance.require_permission(store, "annotate_merge", contributors_by_recording(dataset))
    return write_dataset(store, dataset, agreement, folder)


if __name__ == "__main__":
    raise SystemExit(main())
