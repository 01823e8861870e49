#!/usr/bin/env bash
# Makes .venv from the pinned, hashed requirements. Needs Python 3.11 or 3.12 with venv; brings its own uv.
set -euo pipefail
cd "$(dirname "$0")/.."
fits() { "$1" -c 'import sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' >/dev/null 2>&1; }
python=""
for candidate in ${PYTHON:-python3.11 python3.12 python3 python}; do
  if fits "$candidate"; then python=$candidate && break; fi
done
if [ -z "$python" ]; then
  echo "Audio Tune needs Python 3.11 or 3.12 with venv; none of '${PYTHON:-python3.11 python3.12 python3 python}' is." \
    "Install one, or set PYTHON=/path/to/python3.11" >&2
  exit 1
fi
[ -x .venv/bin/python ] || "$python" -m venv --without-pip .venv
# uv lives in a small environment of its own: a sync removes what its list does not name
[ -x .venv/tool/bin/python ] || "$python" -m venv .venv/tool
.venv/tool/bin/python -m pip install --quiet --disable-pip-version-check "uv==${UV_VERSION:?}"
echo "Installing into .venv (torch and its CUDA libraries: about 3 GB to fetch the first time, 6 GB on disk) ..."
.venv/tool/bin/uv pip sync --quiet --require-hashes --python .venv/bin/python requirements/dev.txt
touch .venv/ready
