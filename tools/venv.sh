#!/bin/sh
# Make a virtual environment ready for a purpose: sh tools/venv.sh FOLDER PURPOSE
# Installs constraints-PURPOSE.txt (versions and hashes) and Escala itself, editable. What is
# already there is recognised by its checksum, so a second run costs nothing.
set -eu

cd "$(dirname "$0")/.."
folder=$1
pins=constraints-$2.txt
python=$folder/bin/python
here=$(pwd -P)

# A folder that was moved or copied, or whose Python is gone, cannot be mended: make it anew.
if ! "$python" -c 'import pip' 2>/dev/null ||
    ! grep -qF "$here/$folder" "$folder/bin/activate"; then
    base=$(sh tools/python.sh)
    echo "making $folder with $("$base" --version)"
    rm -rf "$folder"
    "$base" -m venv "$folder"
fi

install() {
    "$python" -m pip install --quiet --no-input --disable-pip-version-check "$@"
}

stamp=$folder/.pins-$2
now=$(cksum <"$pins")
if [ "$(cat "$stamp" 2>/dev/null)" != "$now" ]; then
    echo "installing $pins into $folder"
    install --prefer-binary --require-hashes --requirement "$pins"
    echo "$now" >"$stamp"
fi

stamp=$folder/.escala
now=$(cksum <pyproject.toml)
if [ "$(cat "$stamp" 2>/dev/null)" != "$now" ]; then
    install --no-deps --no-build-isolation --editable .
    echo "$now" >"$stamp"
fi
