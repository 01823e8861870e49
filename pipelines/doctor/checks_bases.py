"""The doctor's check of the base model that the form offers first: can a run have it?"""

import base64
import io
from collections.abc import Iterator

from audiotune.errors import SourceError
from audiotune.stable_audio.base_index import read_base_index
from audiotune.stable_audio.base_models import find_shipped_folder
from audiotune.stable_audio.hub import HuggingFace
from audiotune.stable_audio.hub_refusals import is_passing
from audiotune.stable_audio.known_bases import find_known_base
from audiotune.stable_audio.model_folder import CONFIG
from pipelines.cluster.namespace import build_key_command
from pipelines.doctor.findings import CheckResult, CheckTarget
from pipelines.form import is_promised
from pipelines.recipe import load_recipe

_BY_HAND = "or copy it ahead of time: audiotune base fetch NAME, --from FOLDER without a network"


def check_bases(target: CheckTarget) -> Iterator[CheckResult]:
    """The recipe's base is shipped or in the store, or Hugging Face gives it to the steps' token."""
    name = str(load_recipe(target.cluster.recipe or "first_release").setting_value("finetune", "base"))
    if (find_shipped_folder() / name / CONFIG).is_file():
        yield "well", f"the recipe's base {name} is shipped"
        return
    index = read_base_index(target.store, name) if target.store else None
    if target.store and index and all(target.store.exists(key) for key in index.files.values()):
        yield "well", f"the recipe's base {name} is in the store"
        return
    secret, key = target.cluster.hub_secret, target.cluster.hub_secret_key
    token = _read_token(target)
    if secret and not token:
        words = f"Secret {secret} in {target.runs} lacks {key}; encode cannot fetch {name}, which is not in the store"
        yield "wrong" if target.store else "warning", words, f"{build_key_command(secret, target.runs, key)}, {_BY_HAND}"
    elif not secret and is_promised(name, target.cluster):
        yield "well", f"the release copies {name} into the store (bases)"
    elif not secret and (known := find_known_base(name)) and known.gated:
        words = f"{name} is behind a licence, and the facts name no token: a run needs it in the store"
        cure = f"name a Secret with your token (hub_secret; the chart's huggingFace.secret), {_BY_HAND}"
        yield "wrong" if target.store else "warning", words, cure
    else:
        yield _ask_hub(name, HuggingFace(token=token, held_in=f"Secret {secret}", endpoint=target.cluster.hub_endpoint, tries=1))


def _read_token(target: CheckTarget) -> str:
    """The token that the steps get; empty where there is none."""
    if not target.cluster.hub_secret:
        return ""
    secret = target.api.get(f"/api/v1/namespaces/{target.runs}/secrets/{target.cluster.hub_secret}") or {}
    return base64.b64decode((secret.get("data") or {}).get(target.cluster.hub_secret_key, "")).decode(errors="replace").strip()


def _ask_hub(name: str, hub: HuggingFace) -> CheckResult:
    """Whether Hugging Face gives the base's config to this token: its list of files it shows to everybody."""
    known = find_known_base(name)
    try:
        snapshot = hub.read_snapshot(known.repository if known else name)
        config = snapshot.files.get(known.config if known else CONFIG)
        if config is not None:
            hub.read_range(snapshot, config, 0, config.size, io.BytesIO())
    except SourceError as e:
        if e.__cause__ and isinstance(e.__cause__, Exception) and is_passing(e.__cause__):
            return "unknown", f"Hugging Face does not answer here; steps may reach it all the same ({name})", e.cure
        return "wrong", e.what, e.cure
    return "well", f"Hugging Face gives {name} to the token of encode; the first run copies it into the store"
