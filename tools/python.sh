#!/bin/sh
# Print a Python that Escala can use: 3.11 or newer, able to make a virtual environment.
# PYTHON=... names one; otherwise the usual names are tried in turn.
set -u

fits='import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))'
new_enough='import sys; sys.exit(sys.version_info < (3, 11))'
bare=""

for name in ${PYTHON:-python3 python3.13 python3.12 python3.11 python3.14 python}; do
    if "$name" -c "$fits" 2>/dev/null; then
        command -v "$name"
        exit 0
    fi
    if "$name" -c "$new_enough" 2>/dev/null; then
        bare="$name"
    fi
done

if [ -n "$bare" ]; then
    echo "$bare is new enough but cannot make virtual environments (no venv or ensurepip):" >&2
    echo "install that part of it, on Debian and Ubuntu the package python3-venv." >&2
else
    echo "Escala needs Python 3.11 or newer, and none was found${PYTHON:+ under the name $PYTHON}." >&2
    echo "Install one, or name it: make PYTHON=/path/to/python3.12 ..." >&2
fi
exit 1
