"""Which way of running MPI fits a host and an image, and why: the decision table. Pure.

Ways, best first:

- bind: the host's MPI library takes the place of the image's, which a common ABI allows (MPICH ABI Compatibility
  Initiative; MPI 5.0, chapter 20; Open MPI 4 and 5), so that the host's network is used as the host uses it;
- hybrid: the image's own library, wired up by the host's launcher (PMI-1, PMI-2, PMIx);
- site: an option of the site's container runtime that does the former;
- translate: Wi4MPI, where the site has it, between families;
- container: a launcher in the image, on one node;
- none: no MPI at all.

What is compared is symbols, not version strings: the MPI functions that the program takes against those that the
host's library has, and the newest symbol version of libc that any of the host's libraries needs against the image's.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from hpcjobs.mpi.facts import interface
from hpcjobs.units import version

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from hpcjobs.mpi.facts import (
        Family,
        HostLauncher,
        HostMpi,
        ImageMpi,
        Interface,
        Library,
        MpiHost,
        MpiImage,
        Program,
    )

Mode = Literal["bind", "hybrid", "site", "translate", "container", "none"]
MODES: tuple[Mode, ...] = ("bind", "hybrid", "site", "translate", "container", "none")
# Those that need an MPI of the host's.
_HOSTS = ("bind", "translate")

# Slurm's kinds that make a rank find the others by PMI-1 or PMI-2, and by PMIx (srun --mpi=list).
_PMI2 = "pmi2"
_OPEN_MPI_5 = (5,)
# Programs for one CPU that another one runs as well.
_RUN_TOO = frozenset((("i686", "x86_64"), ("armv7l", "aarch64")))


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is to be decided for."""

    image: MpiImage
    host: MpiHost | None = None  # None = not probed
    runtime: str = "apptainer"
    launcher: str = "srun"  # its kind
    command: str = ""  # and its path, where the site gives one
    types: tuple[str, ...] = ()  # of the launcher, as the site says; empty = as it was found
    launchers: tuple[str, ...] = ()  # kinds that may be chosen on the site
    default: str = ""  # the type that the site says
    nodes: int = 1
    ntasks: int = 1
    prefer: str = ""  # host or image: whose MPI runs where both could
    host_mpi: str = ""  # the one to bind: its name or the beginning of it; by default the launcher's own, or the first
    modules: tuple[str, ...] = ()  # that the job loads
    flag: str = ""  # of the runtime, that brings the host's MPI
    wi4mpi: bool = False
    can_mount: bool = True  # whether the runtime can show the host's folders


@dataclass(frozen=True, kw_only=True)
class Option:
    """One way, and whether it is open."""

    mode: Mode
    why: str  # it works, in words; or why it does not
    open: bool = True
    type: str = ""  # srun --mpi=TYPE
    host_mpi: HostMpi | None = None
    advice: str = ""  # what would open it
    warnings: tuple[str, ...] = ()
    alone: bool = False  # the one rank is started without the launcher
    preload: bool = False  # the program's DT_RPATH would lead to the image's library, so the host's is loaded first


@dataclass(frozen=True, kw_only=True)
class Decision:
    """The way taken, and the others with the reason that each was not."""

    chosen: Option
    others: tuple[Option, ...] = ()
    warnings: tuple[str, ...] = ()
    # Whether the way is known to be right, or only not known to be wrong.
    sure: bool = True
    asked: bool = False  # chosen by the person, not by the table
    family: Literal["", "mpich", "openmpi", "abi"] = ""  # that a program takes which could take others too

    @property
    def advice(self) -> tuple[str, ...]:
        """What would open the ways that are closed."""
        closed = () if self.chosen.open else (self.chosen,)
        return tuple(dict.fromkeys(each.advice for each in (*closed, *self.others) if each.advice))


def decide(question: Question) -> Decision:
    """The first way that is open.

    A decision whose `chosen` is not open is a refusal: the job would run, as copies that each are rank 0 of 1, and end
    with exit code 0.
    """
    if refused := _other_cpu(question):
        return Decision(chosen=refused)
    if question.image.program and question.image.program.either:
        return _decide_either(question, question.image.program)
    if plain := _plain(question):
        return plain
    if question.ntasks == 1 and not question.host and _asks_srun(question):
        return Decision(chosen=Option(mode="hybrid", why=_ONE_RANK, alone=True))
    if not _known(question):
        return _unknown(question)
    options = [each(question) for each in _order(question)]
    chosen = next((each for each in options if each.open), None)
    if chosen is None:
        if question.ntasks == 1:
            chosen = Option(mode="hybrid", why=_ONE_RANK, alone=_asks_srun(question))
            return Decision(chosen=chosen, others=tuple(options))
        chosen = Option(mode="none", open=False, why=_copies(question))
    others = tuple(each for each in options if each is not chosen)
    return Decision(chosen=chosen, others=others, warnings=chosen.warnings, sure=_program_known(question.image))


_ONE_RANK = "one rank needs nobody to find the others"


def _asks_srun(question: Question) -> bool:
    """Whether the program, which may well be one rank alone, would ask the launcher for others, and end."""
    return family(question.image) == "openmpi" and question.launcher == "srun"


def _decide_either(question: Question, program: Program) -> Decision:
    """For a program that takes the MPI that is there, as mpi4py's wheels do: the first family that has a way."""
    found = [replace(decide(asked), family=each) for each, asked in _by_family(question, program)]
    return next((each for each in found if each.chosen.open), found[0])


def _by_family(question: Question, program: Program) -> Iterator[tuple[Family, Question]]:
    families: tuple[Family, ...] = (program.family,) if program.family else ("mpich", "openmpi", "abi")
    for each in families:
        yield each, replace(question, image=replace(question.image, program=one_of(program, each)))


def one_of(program: Program, wanted: Family) -> Program:
    """The program as it is with the MPI of one family."""
    known = {soname: interface(soname) for soname in program.needed}
    return replace(
        program,
        needed=tuple(soname for soname, each in known.items() if each and each[0] == wanted),
        symbols=tuple(each for each in program.symbols if wanted == "openmpi" or not each.startswith("ompi_")),
        family=wanted,
        either=False,
    )


def override(question: Question, asked: str) -> Decision:
    """The way that a person asked for: a mode, or a type of srun's; what speaks against it becomes a warning."""
    program = question.image.program
    if program and program.either and asked != "none":
        found = [replace(override(each, asked), family=name) for name, each in _by_family(question, program)]
        return min(found, key=lambda each: (not each.chosen.open, len(each.warnings)))
    table = decide(question)
    if asked == "none":
        return Decision(chosen=Option(mode="none", why="asked for", type="none"), others=_all(table), asked=True)
    mode: Mode = "hybrid"
    if asked in MODES:
        mode = asked
    wanted = _WAYS[mode](replace(question, default=asked) if asked not in MODES else question)
    if mode in _HOSTS and wanted.host_mpi is None:
        # Nothing could be bound, so nothing of what was asked for would be done.
        others = tuple(each for each in _all(table) if each.mode != mode)
        return Decision(chosen=wanted, others=others, asked=True)
    if asked not in MODES and wanted.type != asked:
        told = wanted.why if not wanted.open else f"{asked} is not what ranks and launcher have in common: {wanted.why}"
        wanted = replace(wanted, type=asked, warnings=(*wanted.warnings, told))
    elif not wanted.open:
        # Without a kind, ranks might never find each other: the site's is the best guess.
        kind = wanted.type or (question.default if mode == "hybrid" else "")
        wanted = replace(wanted, type=kind, warnings=(*wanted.warnings, wanted.why))
    if mode == "container" and _fits_inside(question):
        wanted = replace(wanted, warnings=())
    chosen = replace(wanted, open=True, why="asked for")
    others = tuple(each for each in _all(table) if each.mode != chosen.mode)
    return Decision(chosen=chosen, others=others, warnings=wanted.warnings, sure=False, asked=True)


def _all(decision: Decision) -> tuple[Option, ...]:
    return (decision.chosen, *decision.others) if decision.chosen.open else decision.others


def _order(question: Question) -> list[Callable[[Question], Option]]:
    """Bind first; with Open MPI hybrid first, since its library and its launcher find each other across versions."""
    own = question.prefer == "image" if question.prefer else family(question.image) == "openmpi"
    first = [_hybrid, _bind] if own else [_bind, _hybrid]
    if question.flag:
        first.insert(0, _site)
    return [*first, *([_translate] if question.wi4mpi else []), _container]


# ----------------------------------------------------------------------------- what is known at all


def family(image: MpiImage) -> Literal["", "mpich", "openmpi", "abi"]:
    """Whose ABI the program follows; where it cannot be seen, that of the only MPI in the image."""
    if image.program and image.program.family:
        return image.program.family
    if image.program and image.program.kind == "program":
        return ""
    families = {each.family for each in image.mpis} - {"abi"}
    return families.pop() if len(families) == 1 else ""


def _other_cpu(question: Question) -> Option | None:
    mine, other = question.image.arch, question.host.arch if question.host else ""
    if not mine or not other or mine == other or (mine, other) in _RUN_TOO:
        return None
    advice = f"build or pull it for {other}"
    return Option(mode="none", open=False, why=f"the image is made for {mine}, and the host is {other}", advice=advice)


def _program_known(image: MpiImage) -> bool:
    return bool(image.program and image.program.kind in ("program", "python"))


def _plain(question: Question) -> Decision | None:
    """A program that links to no MPI."""
    image = question.image
    if family(image) or not image.program or image.program.kind == "missing" or image.program.static:
        return None
    if image.program.kind == "script" and image.mpis:
        return None
    what = "the program" if image.program.kind != "script" else "the image"
    why = f"{what} has no MPI"
    warnings = (f"{why}: {question.ntasks} copies of it run",) if question.ntasks > 1 else ()
    return Decision(chosen=Option(mode="none", why=why), warnings=warnings)


def _known(question: Question) -> bool:
    return bool(family(question.image)) and bool(question.host or question.types or question.launcher != "srun")


def _unknown(question: Question) -> Decision:
    """Nothing speaks for or against: what the launcher does by itself, and the guard tells whether that was right."""
    if question.flag:
        why = f"{question.flag} of {question.runtime} brings the host's MPI"
        warning = "whether the program is built with MPICH, as that needs, was not seen"
        return Decision(chosen=Option(mode="site", type=question.default, why=why), warnings=(warning,), sure=False)
    why = "the way of the site's launcher" if not question.default else "the site's default"
    lacking = "the program's MPI could not be seen" if not family(question.image) else "the host's MPI is not known"
    return Decision(
        chosen=Option(mode="hybrid", type=question.default, why=f"{why}: {lacking}"),
        warnings=(f"{lacking}: whether ranks find each other shows when the job runs",) if question.ntasks > 1 else (),
        sure=False,
    )


# ------------------------------------------------------------------------------------------ hybrid


def launcher(question: Question) -> HostLauncher | None:
    """The launcher of the lock that the job starts its ranks with."""
    if not question.host:
        return None
    kinds = [each for each in question.host.launchers if question.launcher in {each.kind, each.flavour}]
    if question.command:
        named = [each for each in kinds if each.command == question.command]
        if named or "/" in question.command:
            return next(iter(named), None)
    return next(iter(understanding(kinds)), None)


# Whose options hpcjob's launchers of those names write: both MPICH and Open MPI install programs of both names.
_OPTIONS = {"mpirun": ("openmpi", "prrte"), "mpiexec": ("hydra", "intel")}


def understanding(launchers: Sequence[HostLauncher]) -> list[HostLauncher]:
    """Those that understand the options of their kind; all, if none does."""
    fitting = [each for each in launchers if each.flavour in _OPTIONS.get(each.kind, (each.flavour,))]
    return fitting or list(launchers)


def offered(question: Question) -> tuple[str, ...]:
    """The kinds of srun. What the site says wins: srun lists plug-ins too that do not load."""
    found = launcher(question)
    return question.types or (found.types if found else ())


def _inside(image: MpiImage) -> ImageMpi | None:
    """The MPI in the image that the program uses."""
    wanted = family(image)
    needed = image.program.needed if image.program else ()
    fitting = [each for each in image.mpis if each.family == wanted]
    return next((each for each in fitting if each.soname in needed), next(iter(fitting), None))


def _hybrid(question: Question) -> Option:
    """The image's own library under the host's launcher."""
    image = question.image
    own = _inside(image)
    if own is None and not (image.program and image.program.static):
        return Option(mode="hybrid", open=False, why=f"the image has no {_called(family(image))} of its own")
    openmpi = family(image) == "openmpi" or (own is not None and own.product == "Open MPI")
    shown = f"{own.product} {own.version}".strip() if own else "MPI inside the program"
    return (_hybrid_openmpi if openmpi else _hybrid_mpich)(question, own, shown)


def _hybrid_mpich(question: Question, own: ImageMpi | None, shown: str) -> Option:
    flavour = _flavour(question)
    if flavour in ("hydra", "intel") and _wires(own) != ("pmix",):
        return Option(mode="hybrid", why=f"{shown} of the image and {_launcher_shown(question)} speak PMI-1")
    if flavour == "slurm":
        return _hybrid_srun(question, _wires(own) or ("pmi1",), shown)
    refused = f"{_launcher_shown(question)} does not speak with {shown}"
    return Option(mode="hybrid", open=False, why=refused, advice=_other_launcher(question, "mpich"))


def _hybrid_openmpi(question: Question, own: ImageMpi | None, shown: str) -> Option:
    flavour = _flavour(question)
    if flavour == "slurm":
        return _hybrid_srun(question, _wires(own) if own else ("pmix",), shown)
    if flavour == "prrte" and own and version(own.version) < _OPEN_MPI_5:
        return Option(
            mode="hybrid", open=False, why=f"{_launcher_shown(question)} does not start ranks of {shown}",
            advice="rebuild the image with Open MPI 5",
        )  # fmt: skip
    if flavour in ("openmpi", "prrte"):
        return Option(mode="hybrid", why=f"{shown} of the image and {_launcher_shown(question)} speak PMIx")
    refused = f"{_launcher_shown(question)} does not speak with {shown}"
    return Option(mode="hybrid", open=False, why=refused, advice=_other_launcher(question, "openmpi"))


def _wires(own: ImageMpi | None) -> tuple[str, ...]:
    return own.wires if own else ()


def _hybrid_srun(question: Question, wires: tuple[str, ...], shown: str) -> Option:
    types = offered(question)
    fitting = [kind for kind in _preferred(types, question.default) if _speaks(kind, wires)]
    if fitting:
        return Option(
            mode="hybrid", type=fitting[0], why=f"{shown} of the image and srun both speak {fitting[0]}",
            warnings=("the image's own network library is used, not the host's",) if _fast(question) else (),
        )  # fmt: skip
    offers = ", ".join(kind for kind in types if kind != "none") or "nothing that is known"
    kinds = dict.fromkeys("pmi2" if wire in ("pmi1", "pmi2") else wire for wire in wires)
    needs = " or ".join(kinds) or "none of Slurm's kinds"
    return Option(
        mode="hybrid", open=False, why=f"srun offers {offers}, and {shown} speaks {needs}",
        advice=_other_launcher(question, family(question.image)),
    )  # fmt: skip


def _preferred(types: tuple[str, ...], default: str) -> list[str]:
    """The site's own choice, then the short names: `pmix` is the newest of pmix_v4 and pmix_v5."""
    return sorted(types, key=lambda kind: (kind != default, "_v" in kind))


def _speaks(kind: str, wires: tuple[str, ...]) -> bool:
    if kind == _PMI2:  # Slurm's pmi2 answers PMI-1 too
        return "pmi1" in wires or "pmi2" in wires
    return kind.startswith("pmix") and "pmix" in wires


def _fast(question: Question) -> bool:
    return bool(question.host and question.host.fabric != "none")


def _flavour(question: Question) -> str:
    found = launcher(question)
    if found:
        return found.flavour
    # What the launchers of a site file are, where the host was not probed.
    return {"srun": "slurm", "mpirun": "openmpi", "mpiexec": "hydra", "pals": "pals"}.get(question.launcher, "")


def _launcher_shown(question: Question) -> str:
    found = launcher(question)
    names = {"hydra": "hydra", "intel": "Intel MPI", "openmpi": "Open MPI", "prrte": "Open MPI", "pals": "PALS"}
    whose = names.get(_flavour(question), "")
    if question.launcher == "none":
        return "a job without a launcher"
    text = f"{question.launcher} of {whose}" if whose else question.launcher
    return f"{text} {found.version}" if found and found.version else text


def _other_launcher(question: Question, wanted: str) -> str:
    """A launcher of the host that would do."""
    flavours = {"mpich": ("hydra", "intel"), "openmpi": ("openmpi", "prrte")}.get(wanted, ())
    for each in question.host.launchers if question.host else ():
        if each.flavour in flavours and each.flavour in _OPTIONS.get(each.kind, ()) and each.kind != question.launcher:
            there = f"--launcher {each.kind}"
            entry = f"launchers: [{{kind: {each.kind}, command: {each.command}}}]"
            needed = "" if each.kind in question.launchers else f", with `{entry}` in the site's file"
            return f"{there}{needed}; or rebuild the image with {_instead(question)}"
    if question.launcher == "srun":
        kind = "pmi2" if wanted == "mpich" else "pmix"
        return f"a Slurm with --mpi={kind}, or rebuild the image with {_instead(question)}"
    return f"rebuild the image with {_instead(question)}"


def _instead(question: Question) -> str:
    """The family that the launcher starts."""
    types = offered(question)
    by_types = "Open MPI" if _PMI2 not in types and any(kind.startswith("pmix") for kind in types) else "MPICH"
    flavours = {"hydra": "MPICH", "intel": "MPICH", "pals": "MPICH", "openmpi": "Open MPI", "prrte": "Open MPI 5"}
    return flavours.get(_flavour(question), by_types)


def _called(name: str) -> str:
    return {"mpich": "MPICH", "openmpi": "Open MPI", "abi": "MPI with the standard ABI"}.get(name, "MPI")


# -------------------------------------------------------------------------------------------- bind


def _bind(question: Question) -> Option:
    """The host's library in the place of the image's."""
    refused = _never_bind(question)
    if refused:
        return Option(mode="bind", open=False, why=refused[0], advice=refused[1])
    tried = [_bind_one(question, mpi) for mpi in _candidates(question)]
    if not tried:
        name = _called(family(question.image)) + (f" called {question.host_mpi}" if question.host_mpi else "")
        has = question.launcher == "srun" or question.host_mpi
        of = "the host has" if has else f"{_launcher_shown(question)} starts"
        return Option(
            mode="bind", open=False, why=f"{of} no {name}, which the program is built with",
            advice=f"rebuild the image with {_instead(question)}",
        )  # fmt: skip
    return next((each for each in tried if each.open), tried[0])


def _never_bind(question: Question) -> tuple[str, str] | None:
    image = question.image
    program = image.program
    if question.host is None:
        return "the host's MPI is not known", "hpcjob mpi host, once for each site"
    if not question.can_mount:
        return f"{question.runtime} cannot show the host's folders in the container", ""
    if program and program.static:
        return "the program has its MPI inside (static)", "link it with the MPI's shared library"
    if "musl" in (image.libc, program.libc if program else ""):
        return "the image's libc is musl, and the host's libraries need glibc", "rebuild the image on a glibc system"
    return None


def _candidates(question: Question) -> list[HostMpi]:
    """The MPIs of the host that could be bound: that of the launcher; under srun those of the program's family."""
    wanted = family(question.image)
    fitting = [mpi for mpi in question.host.mpis if _is_of(mpi, wanted)] if question.host else []
    found = launcher(question)
    if found and found.flavour != "slurm" and found.mpi and not question.host_mpi:
        fitting = [mpi for mpi in fitting if mpi.name == found.mpi]
    if question.host_mpi:
        fitting = [mpi for mpi in fitting if mpi.name.startswith(question.host_mpi)]
    loaded = set(question.modules)
    # One that the job's modules bring, then one that is there without, then one whose modules would have to be loaded.
    return sorted(fitting, key=lambda mpi: (not loaded & set(mpi.modules), bool(mpi.modules)))


def _is_of(mpi: HostMpi, wanted: str) -> bool:
    return any(each.family == wanted for each in mpi.interfaces)


def _bind_one(question: Question, mpi: HostMpi) -> Option:
    image = question.image
    shown = f"{mpi.product} {mpi.version}"
    kind = _bind_type(question, mpi)
    preload = bool(image.program and image.program.rpath)
    for check in (_lacks_interface, _lacks_symbols, _lacks_libc, _lacks_wire):
        if refused := check(question, mpi):
            # It may be asked for all the same.
            return Option(
                mode="bind", open=False, host_mpi=mpi, type=kind, preload=preload, why=refused[0], advice=refused[1]
            )
    warnings = []
    own = _inside(image)
    if own and own.product == "Open MPI" and version(own.version)[:1] > version(mpi.version)[:1]:
        warnings.append(f"the program is built with Open MPI {own.version}, and {shown} is older")
    lost = left_out(question.host, mpi, image) if question.host and question.host.fabric != "none" else ()
    if lost:
        names = ", ".join(each.name for each in lost)
        warnings.append(f"plug-ins that need {names} of the host are not used: the image's glibc is too old for them")
    place = f"of the image's {own.product} {own.version}" if own else "of the MPI that the image does not have"
    return Option(
        mode="bind", host_mpi=mpi, type=kind, preload=preload, warnings=tuple(warnings),
        why=f"{shown} of the host takes the place {place}: it has all {_count(image)} and the image's glibc suffices",
    )  # fmt: skip


def _count(image: MpiImage) -> str:
    number = len(image.program.symbols) if image.program else 0
    plural = "s" if number > 1 else ""
    return f"{number} function{plural} that the program uses" if number else "that is known to be needed"


def provider(mpi: HostMpi, soname: str) -> Interface | None:
    """The library of the host's that can stand where a program asks for `soname`."""
    exact = next((each for each in mpi.interfaces if each.soname == soname), None)
    asked = interface(soname)
    # The names of one library of Open MPI hold its version of the ABI: no other may take its place.
    if exact or not asked or asked[0] == "openmpi":
        return exact
    return next((each for each in mpi.interfaces if (each.family, each.role) == asked), None)


def _lacks_interface(question: Question, mpi: HostMpi) -> tuple[str, str] | None:
    needed = question.image.program.needed if question.image.program else ()
    for soname in needed:
        if not provider(mpi, soname):
            return (
                f"{mpi.product} {mpi.version} of the host has nothing in the place of {soname}",
                f"rebuild the image with {mpi.product} {mpi.version}",
            )
    return None


_SHOWN = 5


# What compilers bring, each with its family of symbol versions (libstdc++, "ABI Policy and Guidelines").
COMPILER = {
    "libstdc++.so.6": "GLIBCXX", "libgcc_s.so.1": "GCC", "libgfortran.so.5": "GFORTRAN", "libquadmath.so.0": "QUADMATH",
    "libgomp.so.1": "GOMP", "libatomic.so.1": "LIBATOMIC",
}  # fmt: skip


def brought(library: Library, host: MpiHost, mpi: HostMpi, image: MpiImage) -> bool:
    """Whether it is a compiler's, and the image has one that is new enough for all that the host's MPI loads."""
    family = COMPILER.get(library.name)
    if not family or family not in image.provides:
        return False
    needs = (each.needs.get(family, "") for each in libraries(host, mpi))
    return max(map(version, needs), default=()) <= version(image.provides[family])


def left_out(host: MpiHost, mpi: HostMpi, image: MpiImage) -> tuple[Library, ...]:
    """What only plug-ins need and the image's glibc is too old for: those plug-ins are passed over then."""
    has = image.provides.get("GLIBC") or image.libc_version
    optional = set(mpi.optional)
    return tuple(
        each
        for each in libraries(host, mpi)
        if has and each.path in optional and version(each.needs.get("GLIBC", "")) > version(has)
    )


def _lacks_symbols(question: Question, mpi: HostMpi) -> tuple[str, str] | None:
    program = question.image.program
    if not program:
        return None
    exports = set(mpi.abi_exports if family(question.image) == "abi" else mpi.exports)
    missing = sorted(symbol for symbol in program.symbols if symbol not in exports and not _twin(symbol, exports))
    if not missing:
        return None
    names = ", ".join(missing[:_SHOWN]) + (f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else "")
    return (
        f"{mpi.product} {mpi.version} of the host lacks {names}, which the program uses",
        f"rebuild the image with {mpi.product} {mpi.version}, or an older one",
    )


def _twin(symbol: str, exports: set[str]) -> bool:
    """PMPI_Send where MPI_Send is: every function has its profiling name (MPI 5.0, chapter 15)."""
    return symbol[:1] in ("P", "p") and symbol[1:] in exports


def libraries(host: MpiHost, mpi: HostMpi) -> Iterator[Library]:
    """What the host's MPI loads."""
    wanted = set(mpi.libraries)
    return (library for library in host.libraries if library.path in wanted)


def _lacks_libc(question: Question, mpi: HostMpi) -> tuple[str, str] | None:
    image = question.image
    has = image.provides.get("GLIBC") or image.libc_version
    if not has or not question.host:
        return None
    optional = set(mpi.optional)
    needed = [
        (each.needs.get("GLIBC", ""), each.name)
        for each in libraries(question.host, mpi)
        if each.path not in optional and not brought(each, question.host, mpi, image)
    ]
    needed += [(each.needs.get("GLIBC", ""), f"a plug-in in {each.path}") for each in mpi.folders]
    needs, what = max(needed, key=lambda each: version(each[0]), default=("", ""))
    if version(needs) <= version(has):
        return None
    return (
        f"{what} of the host needs glibc {needs}, and the image has {image.libc_version or has}",
        f"rebuild the image on a system with glibc {needs} or newer",
    )


def _lacks_wire(question: Question, mpi: HostMpi) -> tuple[str, str] | None:
    """Whether the host's own library could find its ranks under this launcher."""
    flavour = _flavour(question)
    if flavour == "slurm":
        if _bind_type(question, mpi):
            return None
        offers = ", ".join(kind for kind in offered(question) if kind != "none") or "nothing that is known"
        speaks = " or ".join(mpi.wires) or "none of Slurm's kinds"
        return f"srun offers {offers}, and {mpi.product} speaks {speaks}", _other_launcher(question, mpi.family)
    ours = {"hydra": "mpich", "intel": "mpich", "pals": "mpich", "openmpi": "openmpi", "prrte": "openmpi"}
    # PALS has no PMI-1: its ranks ask its own daemon, or PMIx.
    deaf = flavour == "pals" and not mpi.product.startswith("Cray") and not {"pals", "pmix"} & set(mpi.wires)
    if ours.get(flavour) in (None, mpi.family) and not deaf:
        return None
    return f"{_launcher_shown(question)} does not start ranks of {mpi.product}", _other_launcher(question, mpi.family)


def _bind_type(question: Question, mpi: HostMpi) -> str:
    if _flavour(question) != "slurm":
        return ""
    types = _preferred(offered(question), question.default)
    if mpi.product.startswith("Cray") and (cray := [kind for kind in types if kind.startswith("cray")]):
        return cray[0]
    return next((kind for kind in types if _speaks(kind, mpi.wires)), "")


# ------------------------------------------------------------------------------- the site's own ways


def _site(question: Question) -> Option:
    """An option of the runtime that puts the host's MPI in; what the site has prepared is MPICH's."""
    name = _called(family(question.image))
    if not question.flag:
        why = f"the site names no option of {question.runtime} for it"
        return Option(mode="site", open=False, why=why, advice="mpi_option of a runtime in the site's file")
    if family(question.image) != "mpich":
        why = f"{question.flag} of {question.runtime} is for programs built with MPICH, and this one is with {name}"
        return Option(mode="site", open=False, why=why, advice="rebuild the image with MPICH")
    if question.image.program and question.image.program.static:
        return Option(mode="site", open=False, why="the program has its MPI inside (static)")
    if question.image.libc == "musl":
        return Option(mode="site", open=False, why="the image's libc is musl, and the host's libraries need glibc")
    kind = question.default if question.launcher == "srun" else ""
    return Option(mode="site", type=kind, why=f"{question.flag} of {question.runtime} brings the host's MPI")


def _translate(question: Question) -> Option:
    """Wi4MPI: a library that takes the calls of one family and makes those of the other."""
    mine = family(question.image)
    if not question.wi4mpi:
        return Option(
            mode="translate", open=False, why="the site has no Wi4MPI", advice="mpi.wi4mpi in the site's file"
        )
    if refused := _never_bind(question):
        return Option(mode="translate", open=False, why=refused[0], advice=refused[1])
    if mine in ("", "abi") or not question.host:
        return Option(mode="translate", open=False, why="Wi4MPI translates between MPICH and Open MPI")
    other = "openmpi" if mine == "mpich" else "mpich"
    found = launcher(question)
    for mpi in question.host.mpis:
        if mpi.family != other or (found and found.mpi not in ("", mpi.name)):
            continue
        checked = _lacks_wire(question, mpi) or _lacks_libc(question, mpi)
        if checked is None:
            why = f"Wi4MPI takes the calls of {_called(mine)} to {mpi.product} {mpi.version} of the host"
            return Option(mode="translate", host_mpi=mpi, type=_bind_type(question, mpi), why=why)
    return Option(mode="translate", open=False, why=f"the host has no {_called(other)} for Wi4MPI to translate to")


def _container(question: Question) -> Option:
    """A launcher inside: only if asked for, since ranks beyond one node are out of its reach."""
    if question.nodes > 1:
        return Option(
            mode="container", open=False, why=f"a launcher in the image reaches one node, not {question.nodes}"
        )
    if not question.image.mpirun:
        return Option(mode="container", open=False, why="the image has no mpirun")
    return Option(
        mode="container", open=False, why="it is taken only if asked for", advice="--mpi container, on one node"
    )


def _fits_inside(question: Question) -> bool:
    return question.nodes == 1 and bool(question.image.mpirun)


_WAYS: dict[Mode, Callable[[Question], Option]] = {
    "bind": _bind, "hybrid": _hybrid, "site": _site, "translate": _translate, "container": _container,
}  # fmt: skip


def _copies(question: Question) -> str:
    return (
        f"{question.ntasks} copies of the program would run, each as rank 0 of 1, and end with exit code 0: "
        f"{_launcher_shown(question)} and the program's {_called(family(question.image))} do not speak the same"
    )
