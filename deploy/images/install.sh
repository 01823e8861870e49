#!/bin/sh
# Fills a new environment from a pinned, hashed list, inside a build stage: install.sh FOLDER REQUIREMENTS
set -eu
folder=$1 list=$2
python3 -m venv --without-pip "$folder"
# uv takes the index by its own names; the builder passes pip's
[ -z "${PIP_INDEX_URL:-}" ] || export UV_DEFAULT_INDEX="$PIP_INDEX_URL"
[ ! -d "${PIP_FIND_LINKS:-/nowhere}" ] || export UV_FIND_LINKS="$PIP_FIND_LINKS"
export UV_HTTP_TIMEOUT=300 UV_LINK_MODE=copy
# sync, not install: the list holds pins that contradict packages' own wishes, each for a reason in pyproject.toml
# compiled here: with a read-only root no process could keep what it compiled, and each would do it again
/tool/bin/uv pip sync --no-cache --compile-bytecode --require-hashes --python "$folder/bin/python" "$list"
chmod -R g=u "$folder"
