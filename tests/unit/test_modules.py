"""Items of `modules`: which are taken, what the script runs for them, and what is refused in which words."""

from __future__ import annotations

import pytest

from hpcjobs import modules
from hpcjobs.errors import PlanError


@pytest.mark.parametrize(
    ("items", "lines"),
    [
        ([], []),
        (["gcc/13.2"], ["module load gcc/13.2"]),
        (["gcc", "load openmpi hdf5", "fftw"], ["module load gcc openmpi hdf5 fftw"]),
        (["gcc", "fftw", "gcc", "load gcc"], ["module load gcc fftw"]),
        (["gcc", "purge", "gcc"], ["module load gcc", "module purge", "module load gcc"]),
        (["purge --force"], ["module --force purge"]),
        (["--force purge", "-f purge", "purge -f"], ["module --force purge"] * 3),
        (["use /soft"], ["module use /soft"]),
        (["use --append $HOME/m", "use -a ${W}/m"], ['module use --append "$HOME/m"', 'module use --append "${W}/m"']),
        (["use $(id)/`id`"], ["module use '$(id)/`id`'"]),
        (["unload a b"], ["module unload a b"]),
        (["swap PrgEnv-cray PrgEnv-gnu", "swap gcc/12"], ["module swap PrgEnv-cray PrgEnv-gnu", "module swap gcc/12"]),
        (["restore mine", "restore", "reset"], ["module restore mine", "module restore", "module reset"]),
        (["  gcc  ", " swap  a   b "], ["module load gcc", "module swap a b"]),
        (["load purge", "it's", "$HOME"], ["""module load purge 'it'"'"'s' '$HOME'"""]),
        (["load app +mpi", "load lib +mpi"], ["module load app +mpi lib +mpi"]),
    ],
)
def test_lines_of_the_script(items: list[str], lines: list[str]) -> None:
    from hpcjobs import shell

    assert [shell.join(command) for command in modules.commands(items)] == lines


@pytest.mark.parametrize(
    ("item", "refusal"),
    [
        ("", "a module name is empty | leave it out"),
        ("  ", "a module name is empty | leave it out"),
        ("a\nb", "a module name cannot hold the character '\\n': 'a\\nb' | write it on one line, without control characters"),
        ("gcc\topenmpi", "a module name cannot hold the character '\\t'"),
        ("gcc openmpi", "the module command 'gcc openmpi' is not known | an item for each module: gcc, openmpi; commands are load, unload, swap, purge, use, restore, reset"),
        ("laod gcc", "the module command 'laod gcc' is not known | did you mean load?"),
        ("module load gcc", "the module command 'module load gcc' is not known | write load gcc"),
        ("ml gcc", "the module command 'ml gcc' is not known | write gcc"),
        ("switch a b", "the module command 'switch a b' is not known | write swap a b"),
        ("rm a", "the module command 'rm a' is not known | write unload a"),
        ("load", "the module command 'load' has 0 words after load | write load NAME"),
        ("unload", "has 0 words after unload | write unload NAME"),
        ("swap", "has 0 words after swap | write swap OLD NEW"),
        ("swap a b c", "has 3 words after swap | write swap OLD NEW"),
        ("purge gcc", "has 1 words after purge | write purge, or purge --force"),
        ("use", "has 0 words after use | write use /FOLDER, or use --append /FOLDER"),
        ("use --append", "has 0 words after use"),
        ("use /a /b", "has 2 words after use"),
        ("use modules", "'modules' is not a path from the root | write use /modules"),
        ("use ~/modules", "'~/modules' is not a path from the root | write use $HOME/modules"),
        ("use --prepend /a", "has 2 words after use"),
        ("restore a b", "has 2 words after restore | write restore COLLECTION"),
        ("reset now", "has 1 words after reset | write reset"),
        ("-gcc", "'-gcc' would be an option of `module load` | write load NAME"),
        ("--help", "'--help' would be an option of `module load`"),
        ("unload --force gcc", "'--force' would be an option of `module unload` | write unload NAME"),
        ("restore --force", "'--force' would be an option of `module restore`"),
    ],
)  # fmt: skip
def test_what_is_refused(item: str, refusal: str) -> None:
    with pytest.raises(PlanError) as caught:
        modules.commands([item])
    assert refusal in f"{caught.value.message} | {caught.value.hint}"


@pytest.mark.parametrize(
    ("items", "loaded"),
    [
        (["use /soft", "purge"], ()),
        (["gcc/13.2", "load openmpi fftw", "gcc/13.2"], ("gcc/13.2", "openmpi", "fftw")),
        (["gcc/13.2", "gcc-libs", "unload gcc"], ("gcc-libs",)),
        (["gcc/13.2", "purge --force", "openmpi"], ("openmpi",)),
        (["PrgEnv-cray", "swap PrgEnv-cray PrgEnv-gnu"], ("PrgEnv-gnu",)),
        (["gcc/13.2", "fftw", "swap gcc/12.1"], ("fftw", "gcc/12.1")),
        (["gcc", "swap gcc"], ("gcc",)),
        (["gcc", "restore mine", "fftw"], ("restore mine", "fftw")),
        (["gcc", "reset"], ()),
    ],
)
def test_what_is_loaded_in_the_end(items: list[str], loaded: tuple[str, ...]) -> None:
    assert modules.brought(items) == loaded


def test_where_modules_are() -> None:
    assert modules.folders(["purge", "use /a", "gcc", "use --append /b"]) == ("use /a", "use --append /b")
