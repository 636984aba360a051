"""Run a command that dies when the process that started it dies, even by SIGKILL.

Run as a script, by file name, so that it works from any folder and needs nothing but the standard library:

    python -I -S leash.py PARENT_PID DEATH_SIGNAL UID GID COMMAND [ARGUMENT ...]

The process becomes UID:GID (unless UID is -1) and only then asks the kernel for DEATH_SIGNAL on the death of its
parent, because a change of user forgets that request. It happens here, after Python has started, because that user may
be unable to reach the interpreter. Where the kernel has no such request (not Linux), the command simply runs.
"""

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1
EXIT_CANNOT_RUN = 127


def main(arguments: list[str]) -> None:
    """Replaces this process by the command; exits 127, with one line on stderr, where that can't be done."""
    parent, death_signal, uid, gid = (int(number) for number in arguments[:4])
    command = arguments[4:]
    try:
        _become(uid, gid)
        _die_with(parent, death_signal)
        os.execv(command[0], command)  # noqa: S606  the absence of a shell is the point
    except OSError as error:
        sys.stderr.write(f"{command[0]} can't be run as user {os.getuid()}: {error.strerror}\n")
        sys.exit(EXIT_CANNOT_RUN)


def _become(uid: int, gid: int) -> None:
    """Give up root for good: groups first, then the group, then the user."""
    if uid >= 0:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)


def _die_with(parent: int, death_signal: int) -> None:
    """Ask for the signal; a parent that died before we asked is caught by comparing its id."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(EXIT_CANNOT_RUN)


if __name__ == "__main__":
    main(sys.argv[1:])
