"""Too little memory, in whatever words, is told as what a user can cure."""

import pytest

from napari_fewshot.core.errors import ComputeError, PictureError, is_out_of_memory, memory_errors_told


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:118] err == 0. DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 1 bytes."),  # on Windows
        RuntimeError("could not create a primitive"),  # oneDNN
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    ],
)
def test_too_little_memory_is_known_in_all_words_and_told(error):
    assert is_out_of_memory(error)
    with pytest.raises(ComputeError, match="close other programs"), memory_errors_told():
        raise error


def test_other_errors_stay_what_they_are():
    for error in (ZeroDivisionError("division by zero"), PictureError("the image ran out of memory")):
        with pytest.raises(type(error)), memory_errors_told():
            raise error
