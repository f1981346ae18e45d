"""A program that can write into given slots and into nothing else (I/O: runs it).

Rules beside those of ``apart``:

1. It has a root of its own, in memory and read-only: the machine's programs and libraries,
   read-only and without device files; the slots under the paths that they have; ``/dev/null``,
   ``zero`` and ``urandom``; a small private ``SCRATCH``. Nothing else of the machine is there,
   whatever the program, or what it was given to unpack, asks for. So the side that runs cannot be
   written.
2. It has no capability, gains none, and reaches no network and no abstract socket.
3. Nothing in ``SCRATCH`` can be executed unless that is allowed.
4. A step that fails ends it before the program was started.

Paths come in as arguments and are never part of the script.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from interlock_client.install import apart

SCRATCH: Final = "/.scratch"
"""Inside: where it may write small files."""
SCRATCH_MIB: Final = 16

_NEEDED: Final = ("unshare", "setpriv", "mount", "umount", "pivot_root", "cp", "env")
_ENVIRONMENT: Final = (f"TMPDIR={SCRATCH}", "HOME=/", "LANG=C.UTF-8")
_SCRIPT: Final = f"""\
set -eu
umask 077
noexec=$1
shift
mkdir root
mount -t tmpfs -o mode=0755,nosuid,size=1m tmpfs root
cd root
mkdir dev etc proc .old {SCRATCH[1:]}
for name in bin lib lib32 lib64 libx32 sbin usr; do
    if [ -L "/$name" ]; then
        cp -P "/$name" "$name"
    elif [ -d "/$name" ]; then
        mkdir "$name"
        mount --bind "/$name" "$name"
        mount -o remount,bind,ro,nosuid,nodev "$name"
    fi
done
for name in hwrevision ld.so.cache; do
    [ ! -f "/etc/$name" ] || cp -L "/etc/$name" "etc/$name"
done
while [ "$1" != -- ]; do
    cp -L -- "$1" "etc/$2"
    shift 2
done
shift
for name in null zero urandom; do
    : >"dev/$name"
    mount --bind "/dev/$name" "dev/$name"
done
while [ "$1" != -- ]; do
    mkdir -p ".${{1%/*}}"
    : >".$1"
    mount --bind "$1" ".$1"
    [ -b "$1" ] || mount -o remount,bind,rw,nosuid,nodev,noexec ".$1"
    shift
done
shift
mount -t tmpfs -o "mode=0700,nosuid,nodev,size={SCRATCH_MIB}m$noexec" tmpfs {SCRATCH[1:]}
mount -t proc -o ro,nosuid,nodev,noexec proc proc
mount -o remount,ro "$PWD"
pivot_root . .old
umount -l /.old
exec setpriv --bounding-set=-all --inh-caps=-all --ambient-caps=-all --no-new-privs "$@"
"""


def require(*programs: str) -> None:
    """See that programs, and what confines them, are installed.

    Raises:
        ConfigurationError: one is not.
    """
    apart.require(*_NEEDED, *programs)


def run(
    argv: Sequence[str],
    *,
    slots: Iterable[Path],
    files: Mapping[str, Path],
    stdin: int,
    scratch: Path,
    seconds: float,
    executable: bool = False,
) -> apart.Ended:
    """Run a program that can write into ``slots`` alone, and wait for it.

    Args:
        argv: the program and its arguments.
        slots: files that are there, or block devices, by their absolute paths.
        files: to be copied into its ``/etc``, by their names there.
        stdin: a descriptor that it may read, as ``apart.BUNDLE``.
        scratch: an empty directory.
        seconds: how long it may take.
        executable: whether what it writes into ``SCRATCH`` may be executed.

    Raises:
        TransientError: ``installer_failed``: it cannot be run like this, or cannot be ended.
    """
    copied = [word for name, path in files.items() for word in (str(path.absolute()), name)]
    command = [*apart.ALONE, "sh", "-c", _SCRIPT, "sh"]
    command += ["" if executable else ",noexec", *copied, "--"]
    command += [*(str(path.absolute()) for path in slots), "--"]
    command += ["env", *_ENVIRONMENT, *argv]
    return apart.run(command, stdin=stdin, scratch=scratch, seconds=seconds)
