# Sourced by the tools: a virtual environment in .venv with this project installed in it.
# shellcheck shell=bash
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# install EXTRAS: does nothing when these extras, or for none also [dev], are installed for this pyproject.toml already.
install() {
    local wanted stamp
    wanted=$(python3 -c 'import hashlib; print(hashlib.sha256(open("pyproject.toml", "rb").read()).hexdigest())')
    for stamp in ".venv/installed$1" ".venv/installed${1:-[dev]}"; do
        if [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ]; then
            return
        fi
    done
    if ! python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
        echo "needs Python 3.11 or newer, found $(python3 --version)" >&2
        exit 1
    fi
    echo "installing into .venv (torch is large: this takes some minutes the first time)"
    [ -x .venv/bin/python ] || python3 -m venv .venv
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --editable ".$1"
    echo "$wanted" >".venv/installed$1"
}
