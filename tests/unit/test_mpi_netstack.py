"""What of the host is shown in the container, under which names, and the script that looks whether it is there."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from hpcjobs.mpi import netstack
from hpcjobs.mpi.facts import Folder, Library, Program
from hpcjobs.mpi.netstack import HOST, LINKS, Mount, NetStack, NoPlaceError, build, check_script, checks
from tests.mpi_facts import (
    ABI,
    BOOKWORM,
    BULLSEYE,
    CRAY,
    CRAY_MPICH,
    DEBIAN,
    INTEL,
    INTEL_MPI,
    LIB,
    MPICH5,
    MPICH42,
    OMPI4,
    OMPI5,
    RPATH,
    SPACK,
    TRIXIE,
    TRIXIE_OMPI,
    WHEEL,
    host,
    image,
    lib,
    program,
)  # fmt: skip

ALL = host(DEBIAN, MPICH5, INTEL_MPI, CRAY_MPICH, OMPI4, OMPI5)


def path_of(stack: NetStack) -> list[str]:
    return stack.env["LD_LIBRARY_PATH"].split(":")


# ------------------------------------------------------------------------------------ whole prefixes


def test_trap_origin_in_runpath_the_prefix_is_shown_whole_and_its_folders_can_be_searched() -> None:
    """A library that is opened by a link has the link's folder as $ORIGIN, so its own folders are named as well."""
    stack = build(MPICH5, ALL, BOOKWORM)
    assert stack.mounts == (Mount(WHEEL, WHEEL),)
    assert stack.links["front/libmpich.so.12"] == f"{WHEEL}/lib/libmpi.so.12"
    assert stack.links["front/libmpi.so.12"] == f"{WHEEL}/lib/libmpi.so.12"
    assert path_of(stack) == [f"{LINKS}/front", f"{WHEEL}/lib", f"{WHEEL}/lib/mpich", f"{LINKS}/tail"]
    assert not any("libfabric" in name for name in stack.links)


def test_the_two_names_of_the_standard_abi_lead_to_the_one_library() -> None:
    links = build(MPICH5, ALL, ABI).links
    assert links["front/libmpi_abi.so.0"] == links["front/libmpi_abi.so.1"] == f"{WHEEL}/lib/libmpi_abi.so.0"
    assert build(INTEL_MPI, ALL, ABI).links["front/libmpi_abi.so.0"] == f"{INTEL}/lib/libmpi_abi.so.1"
    assert "front/libmpi_abi.so.1" not in build(DEBIAN, ALL, BOOKWORM).links


def test_intel_s_root_is_told_and_its_fabric_found() -> None:
    stack = build(INTEL_MPI, ALL, BOOKWORM)
    assert stack.env["I_MPI_ROOT"] == INTEL
    assert f"{INTEL}/opt/mpi/libfabric/lib" in path_of(stack)
    assert stack.links["front/libmpichfort.so.12"] == f"{INTEL}/lib/libmpifort.so.12"


def test_cray_s_library_answers_to_every_name_and_brings_what_lies_elsewhere() -> None:
    stack = build(CRAY_MPICH, ALL, replace(TRIXIE, program=program("libmpi_cray.so.12")))
    target = f"{CRAY}/lib/libmpi_gnu_123.so.12.0.0"
    for name in ("libmpi_cray.so.12", "libmpi.so.12", "libmpich.so.12", "libmpi_gnu_123.so.12"):
        assert stack.links[f"front/{name}"] == target
    assert Mount("/opt/cray/libfabric/1.20/lib64", "/opt/cray/libfabric/1.20/lib64") in stack.mounts
    assert Mount("/usr/lib64", f"{HOST}/usr/lib64") in stack.mounts
    assert stack.links["front/libcxi.so.1"] == f"{HOST}/usr/lib64/libcxi.so.1"
    assert stack.env["MPICH_OFI_NIC_POLICY"] == "NUMA"


def test_a_prefix_that_the_image_has_too_goes_to_another_place() -> None:
    there = replace(MPICH5, prefix="/opt/mpich", folders=(Folder(path="/opt/mpich", variables=("MPI_ROOT",)),))
    stack = build(there, ALL, RPATH)
    assert Mount("/opt/mpich", f"{HOST}/opt/mpich") in stack.mounts
    assert stack.env["MPI_ROOT"] == f"{HOST}/opt/mpich"
    # The program's own folder is not hidden either; one that is on the host comes by a bind of its own.
    inside = replace(MPICH5, prefix="/opt/app", folders=())
    assert Mount("/opt/app", f"{HOST}/opt/app") in build(inside, ALL, BOOKWORM).mounts
    outside = replace(BOOKWORM, program=Program(path="/opt/app/solve", where="host"))
    assert Mount("/opt/app", "/opt/app") in build(inside, ALL, outside).mounts


def test_a_relocatable_open_mpi_is_told_where_it_is() -> None:
    stack = build(OMPI5, ALL, TRIXIE_OMPI)
    assert (stack.env["OPAL_PREFIX"], stack.env["PMIX_PREFIX"]) == (SPACK, SPACK)
    assert stack.needed == (SPACK,)


# ---------------------------------------------------------------------------------- system libraries


def test_of_a_system_s_folder_only_links_are_searched() -> None:
    stack = build(DEBIAN, ALL, TRIXIE)
    assert stack.mounts == (Mount(LIB, f"{HOST}{LIB}"),)
    assert path_of(stack) == [f"{LINKS}/front", f"{LINKS}/tail"]
    assert stack.links["front/libucp.so.0"] == f"{HOST}{LIB}/libucp.so.0.0.0"
    assert stack.links["front/libmpi.so.12"] == stack.links["front/libmpich.so.12"] == f"{HOST}{LIB}/libmpich.so.12.2.2"


def test_what_others_use_too_comes_after_the_image_s_own() -> None:
    stack = build(DEBIAN, ALL, TRIXIE)
    assert "tail/libcrypto.so.3" in stack.links
    assert "front/libcrypto.so.3" not in stack.links


@pytest.mark.parametrize(
    ("provides", "needs", "place"),
    [
        ({"GLIBCXX": "3.4.28"}, "3.4.30", ["front"]), ({"GLIBCXX": "3.4.30"}, "3.4.30", []),
        ({"GLIBCXX": "3.4.33"}, "3.4.30", []), ({}, "3.4.30", ["tail"]),
    ],
)  # fmt: skip
def test_of_two_libstdcxx_the_newer_is_taken(provides: dict[str, str], needs: str, place: list[str]) -> None:
    known = replace(ALL, libraries=(*ALL.libraries, lib(f"{LIB}/libucx_cxx.so.1", needs={"GLIBCXX": needs})))
    mpi = replace(DEBIAN, libraries=(*DEBIAN.libraries, f"{LIB}/libucx_cxx.so.1"))
    stack = build(mpi, known, replace(BOOKWORM, provides={"GLIBC": "2.36", **provides}))
    assert [name.partition("/")[0] for name in stack.links if name.endswith("libstdc++.so.6")] == place


def test_libc_is_never_the_host_s() -> None:
    libc = tuple(lib(f"{LIB}/{name}") for name in ("libc.so.6", "libm.so.6", "ld-linux-x86-64.so.2", "libnss_dns.so.2"))
    mpi = replace(DEBIAN, libraries=(*DEBIAN.libraries, *(each.path for each in libc)))
    stack = build(mpi, replace(ALL, libraries=(*ALL.libraries, *libc)), TRIXIE)
    assert not any(each.name in link for link in stack.links for each in libc)
    assert not any(each in stack.files for each in libc)


def test_plug_in_folders_of_the_system_are_moved_and_told() -> None:
    stack = build(OMPI4, ALL, TRIXIE_OMPI)
    assert stack.env["OPAL_PKGLIBDIR"] == f"{HOST}{LIB}/openmpi/lib/openmpi3"
    assert stack.env["OPAL_PKGDATADIR"] == f"{HOST}/usr/share/openmpi"
    # The folder of the libraries holds that of the plug-ins.
    assert [each.source for each in stack.mounts] == [LIB, "/usr/share/openmpi"]
    assert "front/libmpich.so.12" not in stack.links


def test_a_folder_that_must_be_at_its_own_place_is_there_though_another_holds_it() -> None:
    hcoll = Folder(path=f"{LIB}/hcoll", same_place=True)
    stack = build(replace(DEBIAN, folders=(hcoll,)), ALL, TRIXIE)
    assert stack.mounts == (Mount(LIB, f"{HOST}{LIB}"), Mount(hcoll.path, hcoll.path))


def test_what_plug_ins_need_and_the_image_is_too_old_for_is_left_out() -> None:
    path = f"{LIB}/libfabric.so.1.17.3"
    stack = build(replace(DEBIAN, optional=(path,)), ALL, BULLSEYE)
    assert not any("libfabric" in name for name in stack.links)
    assert path not in {each.path for each in stack.files}


# ----------------------------------------------------------------------------- the image's own path


def test_the_image_s_own_path_stands_between_front_and_tail() -> None:
    own = replace(BOOKWORM, ld_library_path="/opt/a:/opt/b")
    assert path_of(build(DEBIAN, ALL, own)) == [f"{LINKS}/front", "/opt/a", "/opt/b", f"{LINKS}/tail"]
    assert path_of(build(DEBIAN, ALL, own, library_path="/job")) == [f"{LINKS}/front", "/job", f"{LINKS}/tail"]


# -------------------------------------------------------------------------------------- preloading


def test_trap_dt_rpath_of_the_program_the_host_s_library_is_loaded_first() -> None:
    """By the name that the program asks for; ld.so(8) takes names and SONAMEs for the same, so the image's stays out."""
    stack = build(MPICH5, ALL, RPATH, preload=True)
    assert stack.env["LD_PRELOAD"] == f"{LINKS}/front/libmpi.so.12"
    assert "LD_PRELOAD" not in build(MPICH5, ALL, RPATH).env
    assert "LD_PRELOAD" not in build(MPICH5, ALL, replace(RPATH, program=None), preload=True).env
    foreign = replace(RPATH, program=program("libmpi.so.40", "libmpi.so.12"))
    assert build(MPICH5, ALL, foreign, preload=True).env["LD_PRELOAD"] == f"{LINKS}/front/libmpi.so.12"


def test_the_library_for_gpu_memory_is_loaded_after_mpi() -> None:
    gtl = "/opt/cray/pe/gtl/lib/libmpi_gtl_hsa.so.0"
    stack = build(CRAY_MPICH, ALL, RPATH, preload=True, gpu_preload=gtl)
    assert stack.env["LD_PRELOAD"] == f"{LINKS}/front/libmpi.so.12:{gtl}"
    assert Mount("/opt/cray/pe/gtl/lib", "/opt/cray/pe/gtl/lib") in stack.mounts
    assert gtl in stack.needed


def compile_library(folder: Path, soname: str, says: str) -> Path:
    folder.mkdir(exist_ok=True)
    code = f'const char *who(void) {{ return "{says}"; }}'
    words = ["gcc", "-shared", "-fPIC", "-x", "c", "-", f"-Wl,-soname,{soname}", "-o", str(folder / soname)]
    subprocess.run(words, input=code, text=True, check=True)
    return folder / soname


@pytest.mark.parametrize(("soname", "both"), [("libmpi.so.12", False), ("libmpi_gnu_123.so.12", True)])
def test_a_preloaded_library_wins_over_that_of_dt_rpath(tmp_path: Path, soname: str, both: bool) -> None:
    """What the loader does: with another SONAME the image's library is there too, but no function of it is called."""
    from shutil import which

    if not which("gcc"):
        pytest.skip("there is no compiler")
    image_s = compile_library(tmp_path / "image", "libmpi.so.12", "image")
    host_s = compile_library(tmp_path / "host", soname, "host")
    (tmp_path / "front").mkdir()
    alias = tmp_path / "front" / "libmpi.so.12"
    alias.symlink_to(host_s)
    code = """#include <stdio.h>
        const char *who(void);
        int main(void) { char line[999]; FILE *maps = fopen("/proc/self/maps", "r"); puts(who());
        while (fgets(line, sizeof line, maps)) fputs(line, stdout); return 0; }"""
    words = ["gcc", "-x", "c", "-", "-o", str(tmp_path / "app"), "-x", "none", str(image_s)]
    words.append(f"-Wl,--disable-new-dtags,-rpath,{image_s.parent}")
    subprocess.run(words, input=code, text=True, check=True)

    def run(**env: str) -> str:
        return subprocess.run([tmp_path / "app"], env=env, capture_output=True, text=True, check=True).stdout

    assert run(LD_LIBRARY_PATH=str(alias.parent)).startswith("image\n")
    preloaded = run(LD_LIBRARY_PATH=str(alias.parent), LD_PRELOAD=str(alias))
    assert preloaded.startswith("host\n")
    assert (str(image_s) in preloaded) == both


# ------------------------------------------------------------------------------------- spare places


def test_where_no_place_can_be_made_the_image_s_are_taken_one_by_one() -> None:
    stack = build(CRAY_MPICH, ALL, TRIXIE, spare=[f"/mnt/{number}" for number in range(1, 10)])
    assert stack.folder == "/mnt/1"
    assert [each.target for each in stack.mounts] == ["/mnt/2", "/mnt/3", "/mnt/4", "/mnt/5"]
    assert path_of(stack)[0] == "/mnt/1/front"
    for target in stack.links.values():
        assert target.startswith(tuple(each.target + "/" for each in stack.mounts))


def test_too_few_places_are_an_error_and_just_enough_are_not() -> None:
    assert build(DEBIAN, ALL, TRIXIE, spare=("/mnt/1", "/mnt/2")).mounts == (Mount(LIB, "/mnt/2"),)
    with pytest.raises(NoPlaceError):
        build(DEBIAN, ALL, TRIXIE, spare=("/mnt/1",))


def test_more_folders_can_be_shown() -> None:
    stack = build(DEBIAN, ALL, TRIXIE, also=("/opt/wi4mpi/",))
    assert Mount("/opt/wi4mpi", "/opt/wi4mpi") in stack.mounts


# --------------------------------------------------------------------------------------- the check


def run_check(tmp_path: Path, lines: tuple[str, ...], *paths: str) -> subprocess.CompletedProcess[str]:
    script = tmp_path / "check"
    script.write_text(check_script(lines), "utf-8")
    env = {"PATH": "/usr/bin:/bin", "SLURMD_NODENAME": "n7"}
    return subprocess.run(["bash", script, *paths], env=env, capture_output=True, text=True, check=False)


def files(tmp_path: Path) -> tuple[Library, Library, Library]:
    """One with a build-id at byte 3, one with a digest, one with neither."""
    folder = tmp_path / "my libraries"
    folder.mkdir()
    made = []
    for name, data in (("a.so", b"xyz\x8a\x00\x0d\xff..."), ("b.so", b"text"), ("c.so", b"")):
        (folder / name).write_bytes(data)
        made.append(Library(name=name, path=str(folder / name), size=len(data)))
    a, b, c = made
    return replace(a, build_id="8a000dff", build_at=3), replace(b, sha256=sha256(b"text").hexdigest()), c


def test_files_as_they_were_pass(tmp_path: Path) -> None:
    stack = NetStack(files=files(tmp_path), needed=(str(tmp_path), "/etc/passwd"))
    done = run_check(tmp_path, checks(stack), str(tmp_path / "my libraries"))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert [line.split()[0] for line in checks(stack)] == ["id", "sha256", "there", "there", "there"]


@pytest.mark.parametrize("number", [0, 1])
def test_another_build_is_named_with_its_node(tmp_path: Path, number: int) -> None:
    known = files(tmp_path)
    Path(known[number].path).write_bytes(b"xyz\x8b\x00\x0d\xff...")
    done = run_check(tmp_path, checks(NetStack(files=known)))
    told = f"hpcjob: {known[number].path} is another build than hpcjob mpi host saw on node n7\n"
    assert (done.returncode, done.stderr) == (78, told)


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_missing_file_is_named_with_its_node(tmp_path: Path, number: int) -> None:
    known = files(tmp_path)
    Path(known[number].path).unlink()
    done = run_check(tmp_path, checks(NetStack(files=known)))
    told = f"hpcjob: there is no {known[number].path}, which the host's MPI needs, on node n7\n"
    assert (done.returncode, done.stderr) == (78, told)


def test_a_missing_file_of_the_job_is_another_error(tmp_path: Path) -> None:
    done = run_check(tmp_path, (), "/nowhere/app 1.sif")
    assert (done.returncode, done.stderr) == (66, "hpcjob: there is no /nowhere/app 1.sif on node n7\n")


def test_the_script_is_clean(tmp_path: Path) -> None:
    from shutil import which

    if not which("shellcheck"):
        pytest.skip("there is no shellcheck")
    script = tmp_path / "check"
    script.write_text(check_script(checks(NetStack(files=files(tmp_path)))), "utf-8")
    done = subprocess.run(["shellcheck", script], capture_output=True, text=True)  # noqa: PLW1510
    assert (done.returncode, done.stdout) == (0, "")


def test_an_image_s_other_mpis_have_their_names_too() -> None:
    both = image(MPICH42, replace(MPICH42, soname="libmpich_gnu_71.so.3"), runs=program("libmpich.so.12"))
    assert netstack.build(DEBIAN, ALL, both).links["front/libmpich_gnu_71.so.3"].endswith("/libmpich.so.12.2.2")


def test_of_a_prefix_that_holds_more_than_its_mpi_single_files_are_linked() -> None:
    conda = replace(
        MPICH5, libraries=(*MPICH5.libraries, f"{WHEEL}/lib/libz.so.1", f"{WHEEL}/lib/libstdc++.so.6")
    )  # fmt: skip
    more = (lib(f"{WHEEL}/lib/libz.so.1"), lib(f"{WHEEL}/lib/libstdc++.so.6"))
    stack = build(conda, replace(ALL, libraries=(*ALL.libraries, *more)), TRIXIE)
    assert stack.env["LD_LIBRARY_PATH"] == f"{LINKS}/front:{LINKS}/tail"
    assert {"front/libmpi.so.12", "tail/libz.so.1"} <= stack.links.keys()


def test_a_folder_that_is_closed_to_people_is_there() -> None:
    """As slurmd's spool may be. /root is such a folder everywhere."""
    person = ("setpriv", "--reuid=65534", "--clear-groups") if os.geteuid() == 0 else ()
    for path, code in (("/root", 0), ("/nosuch", 78)):
        script = check_script([f"there - - {path}"])
        done = subprocess.run([*person, "bash", "-s"], input=script, text=True, capture_output=True, check=False)
        assert done.returncode == code, done.stderr
