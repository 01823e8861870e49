"""Reads files that torch wrote (`.ckpt`, `.pt`, `.bin`) without running what a pickle may hold.

torch's restricted unpickler creates only tensors and plain containers. The file is mapped into memory: what nobody looks at, such as an
optimizer's moments, is never read.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

from audiotune.errors import ModelError, first_line


def is_torch_file(path: Path) -> bool:
    """Whether a file is a torch checkpoint (a zip)."""
    with path.open("rb") as file:
        return file.read(4) == b"PK\x03\x04"


def map_torch_file(path: Path) -> dict[str, Any]:
    """The dictionary of a torch file; its tensors are read when they are used.

    Raises ModelError: it asks for more than tensors and plain values, is damaged, or holds no dictionary. Nothing of it was run.
    """
    import torch

    try:
        kept = torch.load(path, map_location="cpu", weights_only=True, mmap=is_torch_file(path))
    except pickle.UnpicklingError as e:
        what = f"cannot read the checkpoint safely: it asks for more than tensors and plain values ({_find_forbidden(str(e))})"
        cure = "whoever made it saves its state_dict alone: torch.save({'state_dict': model.state_dict()}, 'weights.ckpt')"
        raise ModelError(f"{what}; nothing of it was run", where=str(path), cure=cure) from e
    except (RuntimeError, OSError, EOFError, ValueError) as e:
        raise ModelError(f"cannot read the checkpoint: {first_line(e)}", where=str(path), cure="fetch the file again") from e
    if not isinstance(kept, dict):
        raise ModelError("this file holds no weights by name", where=str(path), cure="take a .ckpt that a trainer wrote")
    return kept


def _find_forbidden(words: str) -> str:
    """What the pickle asks for, as torch names it."""
    for line in words.splitlines():
        if "GLOBAL" in line or "Unsupported" in line:
            return line.split("Unsupported", 1)[-1].strip(" :*.")[:120]
    return words.splitlines()[0][:120] if words else "unknown"
