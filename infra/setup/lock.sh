#!/usr/bin/env bash
# Writes the hashed locks: requirements.lock for development, and one in each distribution's folder
# that holds what it needs and nothing else, at the versions of the development lock.
#
# Pins that still fit are kept; UPGRADE=1 takes the newest of everything. No lock names a host: where
# packages come from is the machine's own setting. uv does the work; where it is not on the path, it
# is installed for this purpose alone under build/.
set -euo pipefail
cd "$(dirname "$0")/../.."

members=(core client server server/ops repo-tools keys-ceremony)

if ! command -v uv >/dev/null; then
    if [ ! -x build/uv/bin/uv ]; then
        echo "lock: installing uv under build/"
        "${PYTHON:-python3}" -m venv --without-pip build/uv
        "${PYTHON:-python3}" -m pip --python build/uv/bin/python -qq install uv
    fi
    PATH=$PWD/build/uv/bin:$PATH
fi

compile=(uv pip compile --quiet --universal --python-version 3.11 --generate-hashes
    --no-emit-index-url --no-emit-find-links --no-header --annotation-style line)
[ -z "${UPGRADE:-}" ] || upgrade=(--upgrade)
projects=()
for member in "${members[@]}"; do
    projects+=("$member/pyproject.toml")
    name=$(sed -n 's/^name = "\(interlock-.*\)"$/\1/p' "$member/pyproject.toml")
    compile+=(--no-emit-package "$name")
done

echo "lock: requirements.lock"
"${compile[@]}" ${upgrade[@]+"${upgrade[@]}"} --group dev "${projects[@]}" --output-file requirements.lock
for member in "${members[@]}"; do
    echo "lock: $member/requirements.lock"
    # --upgrade: the development lock alone decides the versions.
    "${compile[@]}" --upgrade --constraints requirements.lock "$member/pyproject.toml" \
        --output-file "$member/requirements.lock"
done
