"""What is asked of the machine, and what it cannot give."""

import errno
import os

import pytest
import torch

from sfumato import machine
from sfumato.errors import FormatError, InputError, OutOfMemoryError

SHORT = [
    MemoryError(),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 TiB"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory"),
    RuntimeError("unable to mmap 4096 bytes from file <x>: Cannot allocate memory (12)"),
    RuntimeError("MPS backend out of memory"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("std::bad_alloc"),
    OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)),
]


@pytest.mark.parametrize("error", SHORT, ids=repr)
def test_short_memory_is_one_error_whoever_says_it(error: Exception) -> None:
    with pytest.raises(OutOfMemoryError, match="^two of these do not fit: draw one$") as caught:
        with machine.memory_errors("two of these do not fit: draw one"):
            raise error
    assert caught.value.__cause__ is error


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("shapes do not fit"),
        OSError(errno.ENOSPC, "No space left on device"),
        FormatError("a file named 'out of memory'"),
        OutOfMemoryError("reported already, and better"),
        KeyboardInterrupt(),
    ],
    ids=repr,
)
def test_other_errors_stay_what_they_are(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught, machine.memory_errors("never shown"):
        raise error
    assert caught.value is error


def test_memory_that_no_machine_has_is_short() -> None:
    with pytest.raises(OutOfMemoryError), machine.memory_errors("too large"):
        torch.empty(2**60, dtype=torch.uint8)


def test_threads_end_with_their_block() -> None:
    before = torch.get_num_threads()
    with machine.threads(before + 1):
        assert torch.get_num_threads() == before + 1
    with machine.threads(None):
        assert torch.get_num_threads() == before
    for wrong in (0, -1, 1.5, True, 10**6):
        with pytest.raises(InputError, match="threads must be from 1 to 1,024, not"), machine.threads(wrong):  # pyright: ignore[reportArgumentType]
            pass
    assert torch.get_num_threads() == before
