#!/usr/bin/env bash
# Makes .venv from requirements.lock: every dependency by its hash, then the six distributions of
# this tree in editable form, without an index, so that none of their names is ever looked up.
#
# Uses uv when it is on the path and pip otherwise; needs neither python3-venv nor ensurepip. Runs
# under a lock, so that two makes may start at once, and does nothing when .venv is already what the
# lock and the six pyproject.toml describe. A half-made .venv has no stamp and is made again.
set -euo pipefail
cd "$(dirname "$0")/../.."

venv=.venv
stamp=$venv/.stamp
members=(core client server server/ops repo-tools keys-ceremony)
inputs=(requirements.lock infra/setup/venv.sh)
for member in "${members[@]}"; do inputs+=("$member/pyproject.toml"); done

die() { echo "setup: $*" >&2; exit 2; }

find_python() {
    local candidate candidates=(python3.11 python3)
    [ -z "${PYTHON:-}" ] || candidates=("$PYTHON")
    for candidate in "${candidates[@]}"; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    die "${candidates[*]}: no Python 3.11 or later found; install it (Debian: apt-get install" \
        "python3), or name it with: make PYTHON=/path/to/python3"
}

# The answer is what .venv must be made again for: the inputs, this place and the interpreter.
describe() {
    sha256sum "${inputs[@]}"
    echo "$PWD $("$python" -c 'import sys; print(sys.executable, sys.version)')"
}

has_pip() { # pip 22.3 was the first that can install into another interpreter's environment
    "$1" -c 'import pip, sys
sys.exit(tuple(int(part) for part in pip.__version__.split(".")[:2]) < (22, 3))' 2>/dev/null
}

ensure_pip() {
    has_pip "$python" && return
    "$python" -c 'import ensurepip' 2>/dev/null && return
    infra/setup/system_packages.sh python3-pip
    has_pip "$python" && return
    die "$python has no pip 22.3 or later; install pip for it (or uv), then run make again"
}

mkdir -p build
exec 9>build/setup.lock
if ! flock --nonblock 9; then
    echo "setup: waiting for another make that is making $venv"
    flock 9
fi

python=$(find_python)
if [ -x "$venv/bin/python" ] && [ -f "$stamp" ] && describe | cmp --silent - "$stamp"; then
    touch "$stamp" # checked out again with new times, and the same content
    exit 0
fi

started=$SECONDS
rm -rf "$venv"
if command -v uv >/dev/null; then
    echo "setup: making $venv with uv"
    uv venv --quiet --no-project --python "$python" "$venv"
    install=(uv pip install --quiet --python "$venv/bin/python")
else
    ensure_pip
    if has_pip "$python"; then
        "$python" -m venv --without-pip "$venv"
        install=("$python" -m pip --python "$venv/bin/python")
    else
        "$python" -m venv "$venv"
        install=("$venv/bin/python" -m pip)
    fi
    echo "setup: making $venv with pip (about two minutes the first time)"
    install+=(-qq --disable-pip-version-check install --no-input)
fi

editable=()
for member in "${members[@]}"; do editable+=(--editable "./$member"); done
# The lock is complete, so that nothing needs to be resolved, or found beyond it.
"${install[@]}" --no-deps --require-hashes --requirement requirements.lock
"${install[@]}" --no-deps --no-index --no-build-isolation "${editable[@]}"

describe >"$stamp"
echo "setup: $venv is ready ($((SECONDS - started)) s)"
