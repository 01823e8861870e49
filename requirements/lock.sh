#!/usr/bin/env bash
# Resolves pyproject.toml into one pinned, hashed file per image and one for development. No addresses are written.
set -euo pipefail
cd "$(dirname "$0")/.."
uv="${UV:-.venv/tool/bin/uv}"
lock() {
  local name=$1
  shift
  "$uv" pip compile --quiet pyproject.toml --universal --python-version 3.11 --generate-hashes --no-header \
    --no-emit-index-url --no-emit-find-links --no-annotate "$@" -o "requirements/$name.txt"
  echo "requirements/$name.txt: $(grep -cE '^[a-z0-9]' "requirements/$name.txt") packages"
}
all=(--extra prepare --extra train --extra serve --extra studio --extra registry --group pipelines --group docs --group dev)
lock dev "${all[@]}"
# The images' files agree with the development file: what is tested is what ships.
lock prepare --extra prepare -c requirements/dev.txt
lock torch --extra torch -c requirements/dev.txt
lock train --extra train -c requirements/dev.txt
lock generation --extra serve -c requirements/dev.txt
lock registry --extra registry -c requirements/dev.txt
lock studio --extra studio -c requirements/dev.txt
