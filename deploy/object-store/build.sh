#!/bin/sh
# Builds MinIO from its published Go module, with headers.patch: build.sh VERSION FOLDER. The program and its licence are in FOLDER afterwards.
set -eu
version=$1 here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$2"
out=$(cd "$2" && pwd) source=$(mktemp -d)
trap 'rm -rf "$source"' EXIT
cd "$source"
module=$(go mod download -json "github.com/minio/minio@$version" | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')
cp -R "$module/." . && chmod -R u+w .
if ! command -v patch >/dev/null && command -v git >/dev/null; then
  git apply --whitespace=nowarn "$here/headers.patch"
else
  command -v patch >/dev/null || { apt-get update -qq && apt-get install -y -qq --no-install-recommends patch >/dev/null; }
  patch --quiet -p1 <"$here/headers.patch"
fi
# the commit id, which `minio --version` shows, says that the patch is in
CGO_ENABLED=0 go build -ldflags "-s -w -X github.com/minio/minio/cmd.CommitID=audio-tune-1" -o "$out/minio" .
cp LICENSE "$out/LICENSE"
