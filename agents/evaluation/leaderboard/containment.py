"""Keeping a submission's processes apart and ending every one of them.

This holds off accidents, and cheats that go by Python or the files of the evaluator. It is no
defence against a program that attacks the operating system as the same user: who evaluates
strangers' code does so in a container.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
from pathlib import Path

_DUMPABLE, _SUBREAPER, _DEATH_SIGNAL = 4, 36, 1  # options of prctl(2)

KEPT = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "VIRTUAL_ENV", "SYSTEMROOT")
"""Environment variables that a submission gets to see."""


def protect(die_with_parent: bool = False) -> None:
    """Prepares the calling process, which will evaluate submissions. Does nothing but on Linux.

    Its memory, environment and open files cannot be read by other processes of an ordinary user;
    what submissions leave behind becomes its child, so that it can be ended.

    Args:
        die_with_parent: whether to end when the parent process does, however that is.
    """
    if not sys.platform.startswith("linux"):
        return
    libc = ctypes.CDLL(None)
    libc.prctl(_DUMPABLE, 0, 0, 0, 0)
    libc.prctl(_SUBREAPER, 1, 0, 0, 0)
    if die_with_parent:
        libc.prctl(_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)


def environment(folder: Path) -> dict[str, str]:
    """The environment variables of a submission's process: nothing that only we should know.

    Args:
        folder: an empty one, for its temporary files.
    """
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    # it works in a folder of its own, from which relative entries would lead nowhere
    given = [part for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part]
    ours = [part for part in sys.path if (Path(part) / "stockyard" / "agents").is_dir()]
    places = [os.path.abspath(part) for part in ours] + [p for p in given if os.path.isabs(p)]
    if places:
        kept["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(places))
    threads = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
    home = {name: str(folder) for name in ("HOME", "TMPDIR", "MPLCONFIGDIR")}
    return {
        **kept,
        **home,
        **dict.fromkeys(threads, "1"),
        "PYTHONHASHSEED": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
    }


def end(group: int) -> None:
    """Ends a process group, and what has left it but is a child of ours by now."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


def end_strays() -> int:
    """Ends children of this process that run in another session, and theirs; returns how many.

    Submissions are started in sessions of their own. What one of them forked, even into another
    session again, became a child of this process when its parent ended.
    """
    if not sys.platform.startswith("linux"):
        return 0
    own, ended = os.getsid(0), 0
    while True:
        strays = [
            pid for pid, parent, session in _processes() if parent == os.getpid() and session != own
        ]
        if not strays:
            return ended
        for pid in strays:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)
            ended += 1


def _processes() -> list[tuple[int, int, int]]:
    """(process, parent, session) of all that run."""
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            # the name in brackets may hold anything, blanks and brackets too
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        found.append((int(folder.name), int(fields[1]), int(fields[3])))
    return found


def peak_memory_mb(pid: int) -> float:
    """The most memory that a process has had, MB; NaN where the system does not tell."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return float(line.split()[1]) / 1024.0
    except OSError:
        pass
    return float("nan")
