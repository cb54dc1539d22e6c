"""Takes rights from the process that calls it, for good: namespaces, capabilities, resources, system calls.

Linux only, but for `limit_resources`. See the manual pages unshare(2), capabilities(7), seccomp(2), and the kernel's
`Documentation/userspace-api/seccomp_filter.rst`.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import resource
import struct
import sys

MEMORY = 1 << 30
"""Bytes of address space of a program."""
FILES = 1 << 24
"""Bytes of a program's own /tmp, and of each file in it."""
FILE_COUNT = 4096
"""How many files its /tmp may hold."""

_NEW_MOUNTS, _NEW_IPC, _NEW_PIDS, _THREAD = 0x00020000, 0x08000000, 0x20000000, 0x00010000
_NOSUID, _NODEV, _NOEXEC = 2, 4, 8
_SET_SECCOMP, _SECCOMP_FILTER, _SET_NO_NEW_PRIVILEGES = 22, 2, 38
_CAPABILITY_VERSION = 0x20080522

_DENIED = {
    # System call → its number on (x86_64, aarch64); None where there is none.
    # Other processes, and new programs: all that a program needs is there when it starts.
    "fork": (57, None), "vfork": (58, None), "execve": (59, 221), "execveat": (322, 281),
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271),
    "process_madvise": (440, 440), "pidfd_open": (434, 434), "pidfd_getfd": (438, 438),
    "pidfd_send_signal": (424, 424), "kcmp": (312, 272),
    # The net. Without `socket` only pairs of connected sockets are left, which asyncio needs.
    "socket": (41, 198), "connect": (42, 203), "bind": (49, 200),
    # Memory that no limit of a process counts.
    "memfd_create": (319, 279), "memfd_secret": (447, 447), "shmget": (29, 194), "shmat": (30, 196),
    "shmctl": (31, 195), "semget": (64, 190), "semop": (65, 193), "semctl": (66, 191), "msgget": (68, 186),
    "msgsnd": (69, 189), "msgrcv": (70, 188), "msgctl": (71, 187), "mq_open": (240, 180), "vmsplice": (278, 75),
    # The walls themselves.
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51), "unshare": (272, 97),
    "setns": (308, 268), "open_tree": (428, 428), "move_mount": (429, 429), "fsopen": (430, 430),
    "fsconfig": (431, 431), "fsmount": (432, 432), "fspick": (433, 433), "mount_setattr": (442, 442),
    "name_to_handle_at": (303, 264), "open_by_handle_at": (304, 265), "fanotify_init": (300, 262),
    # Doors into the kernel that a program has no need of.
    "bpf": (321, 280), "perf_event_open": (298, 241), "keyctl": (250, 219), "add_key": (248, 217),
    "request_key": (249, 218), "userfaultfd": (323, 282), "io_uring_setup": (425, 425), "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427), "io_setup": (206, 0), "kexec_load": (246, 104), "kexec_file_load": (320, 294),
    "init_module": (175, 105), "finit_module": (313, 273), "delete_module": (176, 106), "reboot": (169, 142),
    "swapon": (167, 224), "swapoff": (168, 225), "acct": (163, 89), "settimeofday": (164, 170),
    "clock_settime": (227, 112), "adjtimex": (159, 171), "clock_adjtime": (305, 266), "iopl": (172, None),
    "ioperm": (173, None), "modify_ldt": (154, None), "personality": (135, 92), "quotactl": (179, 60),
    "quotactl_fd": (443, 443), "syslog": (103, 116), "sethostname": (170, 161), "setdomainname": (171, 162),
}  # fmt: skip
_MACHINES = {"x86_64": (0, 0xC000003E, 56), "aarch64": (1, 0xC00000B7, 220)}
"""Machine → (column of `_DENIED`, what seccomp calls it, number of `clone`)."""
_CLONE3 = 435
_X32 = 0x40000000
"""On x86_64, numbers from here on are those of another set of system calls."""


def enter_room() -> None:
    """New namespaces of processes (for those that are forked from here), mounts and IPC, and a /tmp of its own.

    Raises:
        OSError: not allowed.
    """
    _call("unshare", _NEW_MOUNTS | _NEW_IPC | _NEW_PIDS)
    options = f"size={FILES},nr_inodes={FILE_COUNT},mode=1777".encode()
    _call("mount", b"tmpfs", b"/tmp", b"tmpfs", ctypes.c_ulong(_NOSUID | _NODEV | _NOEXEC), options)
    os.chdir("/tmp")


def drop_capabilities() -> None:
    """No capabilities, and no way to new ones.

    Raises:
        OSError: not allowed.
    """
    _call("prctl", _SET_NO_NEW_PRIVILEGES, *map(ctypes.c_ulong, (1, 0, 0, 0)))
    # pid 0 is the caller; effective, permitted and inheritable sets, 64 bits each.
    _call("capset", struct.pack("=Ii", _CAPABILITY_VERSION, 0), bytes(24))


def limit_resources(seconds: int) -> None:
    """Memory, CPU time, size and number of open files, no core dump."""
    limits = {
        "RLIMIT_AS": MEMORY,
        "RLIMIT_CPU": seconds,
        "RLIMIT_FSIZE": FILES,
        "RLIMIT_NOFILE": 64,
        "RLIMIT_CORE": 0,
        "RLIMIT_NPROC": 512,  # Of all processes of a user, on older kernels; root's are not counted.
    }
    for name, limit in limits.items():
        hard = resource.getrlimit(getattr(resource, name))[1]
        limit = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        # macOS knows some of them only by name.
        with contextlib.suppress(*(() if sys.platform == "linux" else (ValueError, OSError))):
            resource.setrlimit(getattr(resource, name), (limit, limit))


def filter_system_calls() -> bool:
    """From here on the calls of `_DENIED` fail, as does starting a process; threads work.

    Returns:
        Whether the machine can do that.

    Raises:
        OSError: it can, and did not.
    """
    if sys.platform != "linux" or os.uname().machine not in _MACHINES or sys.maxsize < 1 << 32:
        return False
    instructions = _filter(os.uname().machine)
    program = ctypes.create_string_buffer(b"".join(instructions))
    description = struct.pack("HxxxxxxP", len(instructions), ctypes.addressof(program))
    _call("prctl", _SET_NO_NEW_PRIVILEGES, *map(ctypes.c_ulong, (1, 0, 0, 0)))
    try:
        _call("prctl", _SET_SECCOMP, ctypes.c_ulong(_SECCOMP_FILTER), description, ctypes.c_ulong(0), ctypes.c_ulong(0))
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return False  # A kernel without it.
    return True


def _filter(machine: str) -> list[bytes]:
    """The filter's instructions, struct sock_filter, of linux/filter.h: (code, jump if true, if false, operand)."""
    column, architecture, clone = _MACHINES[machine]
    load, equal, above, bit, give = 0x20, 0x15, 0x35, 0x45, 0x06
    number, arch, flags = 0, 4, 16  # Where they stand in struct seccomp_data.
    allow, kill = 0x7FFF0000, 0x80000000
    denied = 0x00050000 | errno.EPERM
    # glibc then takes `clone`, whose flags a filter can read.
    unknown = 0x00050000 | errno.ENOSYS
    lines = [(load, 0, 0, arch), (equal, 1, 0, architecture), (give, 0, 0, kill), (load, 0, 0, number)]
    if machine == "x86_64":
        lines += [(above, 0, 1, _X32), (give, 0, 0, denied)]
    lines += [(equal, 0, 1, _CLONE3), (give, 0, 0, unknown)]
    for numbers in _DENIED.values():
        if (one := numbers[column]) is not None:
            lines += [(equal, 0, 1, one), (give, 0, 0, denied)]
    lines += [(equal, 0, 3, clone), (load, 0, 0, flags), (bit, 1, 0, _THREAD), (give, 0, 0, denied)]
    lines += [(give, 0, 0, allow)]
    return [struct.pack("=HBBI", *line) for line in lines]


_library = ctypes.CDLL(None, use_errno=True)


def _call(name: str, *arguments) -> None:
    if getattr(_library, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
