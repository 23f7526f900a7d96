"""ELF files are read as readelf(1) reads them, and damaged ones are refused in words."""

from __future__ import annotations

import contextlib
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcjobs.mpi import elf
from tests.mpi_elf import MACHINES, build


def read(data: bytes, *, symbols: bool = True) -> elf.Elf:
    return elf.read(io.BytesIO(data), symbols=symbols)


WHOLE = build(
    soname="libmpi.so.12", needed=["libfabric.so.1", "libc.so.6"], exports=["MPI_Init", "MPI_Send"],
    undefined=["memcpy"], weak=["__gmon_start__"], rpath="/opt/a:$ORIGIN/../b", runpath="/opt/c",
    needs={"libc.so.6": ["GLIBC_2.4", "GLIBC_2.34", "GLIBC_PRIVATE"], "libm.so.6": ["GLIBC_2.29"]},
    provides=["FABRIC_1.0", "FABRIC_1.10", "FABRIC_1.9"], interp="/lib64/ld-linux-x86-64.so.2",
    build_id="00c0ffee01", extra=b"MPICH Version", symtab=["main"],
)  # fmt: skip


def test_all_that_a_file_says_is_read() -> None:
    found = read(WHOLE)
    assert found.arch == "x86_64"
    assert found.interpreter == "/lib64/ld-linux-x86-64.so.2"
    assert found.soname == "libmpi.so.12"
    assert found.needed == ("libfabric.so.1", "libc.so.6")
    assert found.rpath == ("/opt/a", "$ORIGIN/../b")
    assert found.runpath == ("/opt/c",)
    assert found.needs == {"GLIBC": "2.34"}
    assert found.provides == {"FABRIC": "1.10"}
    assert found.exports == {"MPI_Init", "MPI_Send"}
    assert found.undefined == {"memcpy", "__gmon_start__"}
    assert found.weak == {"__gmon_start__"}
    assert found.build_id == "00c0ffee01"
    assert WHOLE[found.build_at :].startswith(bytes.fromhex("00c0ffee01"))
    assert found.dynamic


def test_without_symbols_the_rest_is_there() -> None:
    found = read(WHOLE, symbols=False)
    assert (found.soname, found.exports, found.undefined) == ("libmpi.so.12", frozenset(), frozenset())


def test_a_file_without_a_table_of_sections_is_read_by_its_dynamic_segment() -> None:
    found = read(
        build(soname="liba.so.1", needed=["libb.so"], exports=["a"], undefined=["b"], weak=["c"], sections=False)
    )
    assert (found.soname, found.needed) == ("liba.so.1", ("libb.so",))
    assert (sorted(found.exports), sorted(found.undefined), sorted(found.weak)) == (["a"], ["b", "c"], ["c"])


@pytest.mark.parametrize("arch", sorted(MACHINES))
def test_the_cpu_is_told(arch: str) -> None:
    assert read(build(arch=arch)).arch == arch


def test_a_static_program_has_only_names_for_debuggers() -> None:
    data = build(symtab=["MPI_Init", "main"], dynamic=False)
    assert not read(data).dynamic
    assert elf.defined(io.BytesIO(data)) == {"MPI_Init", "main"}


def test_a_stripped_program_has_no_names() -> None:
    assert elf.defined(io.BytesIO(build())) == frozenset()


@pytest.mark.parametrize("data", [b"", b"#!/bin/sh\n", b"\x7fELF", WHOLE[:64], WHOLE[:200]])
def test_what_is_no_whole_elf_file_is_refused(data: bytes) -> None:
    with pytest.raises(elf.NotElfError):
        read(data)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(WHOLE) - 1), st.integers(0, 255)), min_size=1, max_size=12))
def test_a_damaged_file_is_read_or_refused(changes: list[tuple[int, int]]) -> None:
    data = bytearray(WHOLE)
    for at, value in changes:
        data[at] = value
    for reading in (elf.read, elf.defined):
        with contextlib.suppress(elf.NotElfError):
            reading(io.BytesIO(bytes(data)))


@settings(max_examples=100, deadline=None)
@given(st.integers(0, len(WHOLE)))
def test_a_file_that_is_cut_short_is_read_or_refused(length: int) -> None:
    try:
        read(WHOLE[:length])
    except elf.NotElfError:
        return


def test_relative_relocations_in_short_form_need_glibc_2_36() -> None:
    data = build(needs={"libc.so.6": ["GLIBC_2.34", "GLIBC_ABI_DT_RELR"]})
    assert elf.read(io.BytesIO(data)).needs == {"GLIBC": "2.36"}
