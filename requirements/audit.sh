#!/usr/bin/env bash
# Asks whether advisories are known against the pinned packages. pip-audit runs in an environment of its own: no lock of ours holds it.
# Exit code: 0 nothing is known, 1 something is, 3 PyPI could not be asked about all of them.
set -uo pipefail
cd "$(dirname "$0")/.."
uv="${UV:-.venv/tool/bin/uv}"
tool="pip-audit==${PIP_AUDIT_VERSION:?make audit names it}"
answer=$(mktemp)
trap 'rm -f "$answer" "$answer.log"' EXIT

give_up() {
  echo "audit: $1: $(grep -v '^$' "$answer.log" | tail -1)" >&2
  echo "audit: nothing was asked. It needs a network with a package index and PyPI, or UV_INDEX_URL and AUDIT_OPTIONS for your own" >&2
  exit 3
}

"$uv" tool run --quiet --from "$tool" pip-audit --version >/dev/null 2>"$answer.log" || give_up "$tool cannot be installed"
code=0
for file in requirements/*.txt; do
  : >"$answer"
  # The files name every package with its hashes, so nothing is resolved or installed.
  # shellcheck disable=SC2086
  "$uv" tool run --quiet --from "$tool" pip-audit --requirement "$file" --disable-pip --require-hashes --progress-spinner off \
    --format columns --output "$answer" ${AUDIT_OPTIONS:-} 2>"$answer.log"
  found=$?
  # pip-audit counts a package that PyPI does not show as no finding; here it is one that was not asked about.
  skipped=$(sed -n '/^Name.*Skip Reason/,$p' "$answer" | tail -n +3 | wc -l)
  if grep -q '^Name.*ID' "$answer"; then
    echo "$file:"
    cat "$answer"
    code=1
  elif [ "$skipped" != 0 ]; then
    echo "audit: $file: $skipped packages could not be asked about: $(tail -1 "$answer")" >&2
    [ "$code" = 1 ] || code=3
  elif [ "$found" = 0 ]; then
    echo "$file: nothing is known"
  else
    give_up "$file"
  fi
done
[ "$code" != 3 ] || echo "audit: it needs a network where PyPI answers about single versions; a package index alone does not do" >&2
exit $code
