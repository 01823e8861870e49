#!/bin/sh
# Installs a pinned, hashed list on top of what is there already, so that the layer holds what is new: install.sh REQUIREMENTS
# Python, uv and the settings of the package index come from /tool, a stage that is not in the image.
set -eu
folder=/opt/audio-tune list=$1
umask 0002
. /tool/index.sh
[ -x "$folder/bin/python" ] || python3 -m venv --without-pip "$folder"
export UV_HTTP_TIMEOUT=300 UV_LINK_MODE=hardlink
# sync, not install: some pins contradict what packages ask for; pyproject.toml has the reasons
# compiled here: with a read-only root no process can keep byte code, so each would compile again
/tool/bin/uv pip sync --no-cache --compile-bytecode --require-hashes --python "$folder/bin/python" "$list"
# only what lacks it: touching a file of the layer below would copy it into this one
find "$folder" ! -type l -perm -u=w ! -perm -g=w -exec chmod g=u {} +
