#!/bin/sh
# Put packages of another version beside a virtual environment: sh tools/beside.sh VENV FOLDER PURPOSE
# Installs constraints-PURPOSE.txt into FOLDER, for PYTHONPATH to put before the environment's own.
set -eu

cd "$(dirname "$0")/.."
stamp=$2/.pins
now=$(cksum <"constraints-$3.txt")
if [ "$(cat "$stamp" 2>/dev/null)" != "$now" ]; then
    echo "installing constraints-$3.txt into $2"
    rm -rf "$2"
    "$1/bin/python" -m pip install --quiet --no-input --disable-pip-version-check --prefer-binary \
        --require-hashes --no-deps --target "$2" --requirement "constraints-$3.txt"
    echo "$now" >"$stamp"
fi
