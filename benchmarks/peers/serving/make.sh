#!/usr/bin/env bash
# The environment of the peers, in a folder of its own: nothing of theirs meets the project's.
set -euo pipefail
cd "$(dirname "$0")"
"${PYTHON:-python3}" -m venv .venv
.venv/bin/python -m pip install --quiet --requirement requirements.txt --constraint ../../../constraints.txt
touch .venv/.ready
