"""Maps of files that are cut while they are read: zeros and a mark, where the system would end the process.

guard = MapGuard([(address, address + num_bytes)])
...  # read there
guard.is_broken  # whether some of it may have been zeros

When a file is cut, or its disk fails, the next read of a mapped page behind the cut is a SIGBUS, which ends the process
without a word. No check beforehand rules that out, since the file may be cut right behind the check. So a handler puts
zeros in the place of the lost pages and lets the reader go on, who then asks for the mark. Python's own handlers can't
do that: they run only once the reading instruction is done.

Linux on x86-64 and ARM; elsewhere `CAN_GUARD` is False, a guard does nothing, and who reads checks beforehand.
"""

import ctypes
import functools
import mmap
import platform
import signal
import sys
import threading
import weakref
from collections.abc import Sequence
from typing import ClassVar

CAN_GUARD = sys.platform == "linux" and platform.machine() in ("x86_64", "aarch64")
Span = tuple[int, int]  # the address of the first byte, and the one behind the last

# The C interface of Linux, 64 bits: the numbers that Python's modules don't have.
SA_SIGINFO = 4
MAP_FIXED = 0x10
ADDRESS_IN_INFO = 16  # bytes into siginfo_t
MASK_WORDS = 16
ZEROS = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_FIXED


class MapGuard:
    """See the module. Lives as long as the maps; who drops it first has them unguarded."""

    def __init__(self, spans: Sequence[Span]) -> None:
        """`spans`: where the file is mapped."""
        self.is_broken = False
        self._spans = tuple(spans)
        if CAN_GUARD:
            _Handler.install()
            _Handler.add(self)

    def mend(self, address: int) -> bool:
        """Put zeros from an address on, to the end of its span; False if it is in none."""
        for start, stop in self._spans:
            if start <= address < stop:
                self.is_broken = True
                page = address - address % mmap.PAGESIZE
                num_bytes = -(-(stop - page) // mmap.PAGESIZE) * mmap.PAGESIZE
                return bool(_libc().mmap(page, num_bytes, mmap.PROT_READ, ZEROS, -1, 0) == page)
        return False


class _SigAction(ctypes.Structure):
    """C's `struct sigaction`."""

    _fields_: ClassVar = [
        ("handler", ctypes.c_void_p),
        ("mask", ctypes.c_ulong * MASK_WORDS),
        ("flags", ctypes.c_int),
        ("restorer", ctypes.c_void_p),
    ]


class _Handler:
    """The process's one handler of SIGBUS, and the guards that it asks."""

    guards: ClassVar[dict[int, "weakref.ref[MapGuard]"]] = {}
    previous: ClassVar[_SigAction | None] = None
    lock: ClassVar[threading.Lock] = threading.Lock()

    @classmethod
    def install(cls) -> None:
        """Once a process."""
        with cls.lock:
            if cls.previous is not None:
                return
            ours = _SigAction(handler=ctypes.cast(_C_ON_FAULT, ctypes.c_void_p).value, flags=SA_SIGINFO)
            previous = _SigAction()
            if _libc().sigaction(signal.SIGBUS, ctypes.byref(ours), ctypes.byref(previous)):
                raise OSError(ctypes.get_errno(), "sigaction")
            cls.previous = previous

    @classmethod
    def add(cls, guard: MapGuard) -> None:
        """Ask it from now on, for as long as it lives."""
        key = id(guard)
        cls.guards[key] = weakref.ref(guard, lambda _: cls.guards.pop(key, None))

    @classmethod
    def mend(cls, address: int) -> bool:
        """Whether a guard did. Others may come and go meanwhile, but not while they are listed."""
        return any((guard := known()) is not None and guard.mend(address) for known in tuple(cls.guards.values()))


def _on_fault(number: int, info: int, _: int) -> None:
    """Called by the system in the thread that reads, amid the reading instruction, which is then done again."""
    address = ctypes.c_void_p.from_address(info + ADDRESS_IN_INFO).value or 0
    if not _Handler.mend(address):
        # Not of our maps: done again, it comes to whoever was there before.
        _libc().sigaction(number, ctypes.byref(_Handler.previous or _SigAction()), None)


_C_ON_FAULT = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)(_on_fault)  # for ever


@functools.cache
def _libc() -> ctypes.CDLL:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *(ctypes.c_int,) * 3, ctypes.c_long]
    return libc
