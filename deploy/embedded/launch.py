"""Become another program that dies with its parent: `python -I -S launch.py PARENT SIGNAL USER PROGRAM [ARG…]`.

Run as a script between fork and exec, so that no Python code has to run in the forked copy of a threaded process. It
imports the standard library alone: it must start in milliseconds and without the environment's packages.

PARENT is the process id that started it, SIGNAL the number of the signal to receive when that process ends (however it
ends), USER a numeric `uid:gid` to change to, or `-`.
"""

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1
PR_SET_KEEPCAPS = 8
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
CAP_DAC_OVERRIDE = 1
CAPABILITY_VERSION_3 = 0x20080522


class _CapHeader(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _CapData(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


def main(arguments: list[str]) -> None:
    parent, death_signal, user, *command = arguments
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if user != "-":
            become(libc, *(int(part) for part in user.split(":")))
        # After the change of user, which clears it.
        _check(libc.prctl(PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0))
    elif user != "-":
        uid, gid = (int(part) for part in user.split(":"))
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    if os.getppid() != int(parent):
        sys.exit("the parent ended before its child began")
    os.execvp(command[0], command)


def become(libc: ctypes.CDLL, uid: int, gid: int) -> None:
    """Leave root for good, keeping one right where root has it: to pass folders that only root may enter.

    A checkout below /root is such a place; opening /root to everybody instead would outlive this process.
    """
    header, data = _CapHeader(CAPABILITY_VERSION_3, 0), (_CapData * 2)()
    _check(libc.capget(ctypes.byref(header), data))
    keep = data[0].permitted & (1 << CAP_DAC_OVERRIDE)
    _check(libc.prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0))
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    _check(libc.capset(ctypes.byref(header), (_CapData * 2)(_CapData(keep, keep, keep), _CapData(0, 0, 0))))
    if keep:
        _check(libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_DAC_OVERRIDE, 0, 0))


def _check(status: int) -> None:
    if status != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


if __name__ == "__main__":
    main(sys.argv[1:])
