# SPDX-License-Identifier: MIT
"""Format, clang as a second compiler, the linters, and each header on its own."""
import os

from checks import common
from checks.common import Job, make_words, sources

TARGETS = {
    "rv64": ["--target=riscv64", "-march=rv64imac", "-mabi=lp64", "-mcmodel=medany"],
    "rv32": ["--target=riscv32", "-march=rv32imac", "-mabi=ilp32", "-mcmodel=medany"],
}
HART_ONLY = "src/arch/riscv/"
C_FOLDERS = ("src", "include", "tests", "tools")
# It computes the offsets for the assembly: its output is read by sed, not by an assembler.
NO_OBJECT = {"src/arch/riscv/offsets.c"}


def tree_includes():
    return ["-Isrc", "-Iinclude"]


def library_includes(freestanding):
    own_string = ["-isystem", "src/lib/include"] if freestanding else []
    return own_string + ["-isystem", make_words("LIBFDT_SRC")[0]]


def warnings_for_clang():
    """Those that both compilers know; -Wcast-align is strict in clang."""
    return [word.replace("-Wcast-align=strict", "-Wcast-align") for word in make_words("WARNINGS")]


def freestanding_flags(target):
    return (TARGETS[target] + make_words("LANGUAGE") + make_words("DEFINES") + tree_includes() +
            library_includes(True))


def native_flags():
    return ["-std=gnu2x", "-fno-common", "-fno-strict-aliasing"] + make_words("DEFINES") + tree_includes() + \
        library_includes(False)


def hypervisor_sources():
    return [name for name in sources(["src"], [".c"]) if name not in NO_OBJECT]


def check_format():
    """clang-format agrees with every C file"""
    names = sources(C_FOLDERS, [".c", ".h"])
    jobs = [Job(name, ["clang-format", "--dry-run", "-Werror", "--style=file", name], [name, ".clang-format"])
            for name in names]
    complaints = common.run_jobs(jobs)
    short = ["\n".join(complaint.splitlines()[:4]) for complaint in complaints]
    return short + (["`make format` puts them right"] if short else []), f"{len(names)} files"


def check_clang():
    """clang compiles the hypervisor for both word sizes, without a warning"""
    jobs = []
    for target in TARGETS:
        for name in hypervisor_sources():
            command = ["clang-14", "-O2"] + freestanding_flags(target) + warnings_for_clang() + \
                ["-c", name, "-o", "/dev/null"]
            jobs.append(Job(f"{name} ({target})", command, common.closure(name)))
    assembly = sources(["src"], [".S"])
    return common.run_jobs(jobs), f"{len(jobs)} objects; not compiled by clang: {', '.join(assembly)}"


def check_tidy():
    """clang-tidy finds nothing: portable sources natively, the rest for rv64"""
    jobs = []
    native = set(make_words("NATIVE_PORTABLE"))
    for name in hypervisor_sources():
        flags = native_flags() if name in native else freestanding_flags("rv64")
        command = ["clang-tidy", "--quiet", "--warnings-as-errors=*", name, "--"] + flags
        jobs.append(TidyJob(name, command, common.closure(name) | {".clang-tidy"}))
    return common.run_jobs(jobs), f"{len(jobs)} files"


class TidyJob(Job):
    """clang-tidy counts what it suppressed even when it is told to be quiet."""

    def accept(self, output):
        return "\n".join(line for line in output.splitlines()
                         if not line.endswith((" warnings generated.", " warning generated.")))


def check_cppcheck():
    """cppcheck finds nothing"""
    jobs = []
    for bits in ("unix64", "unix32"):
        folder = os.path.join(common.CACHE, f"cppcheck-{bits}")
        os.makedirs(folder, exist_ok=True)
        command = ["cppcheck", "--quiet", "--enable=warning,performance,portability", "--std=c11", f"--platform={bits}",
                   "--inline-suppr", "--error-exitcode=1", f"--cppcheck-build-dir={folder}",
                   "--template={file}:{line}: {severity}: {message} [{id}]", "--library=scripts/checks/cppcheck.cfg",
                   "-D__riscv_xlen=" + bits[-2:]] + make_words("DEFINES") + tree_includes() + ["src"]
        jobs.append(Job(f"src ({bits})", command,
                        sources(["src", "include"], [".c", ".h"]) + ["scripts/checks/cppcheck.cfg"]))
    return common.run_jobs(jobs), "src at both word sizes"


def header_job(name, header, command, folder=""):
    """Twice, so that its guard is tried as well."""
    return Job(name, command + ["-fsyntax-only", "-x", "c", "-"], common.closure(folder + header),
               f'#include "{header}"\n#include "{header}"\n')


def check_headers():
    """each header compiles alone, twice over"""
    strict = make_words("WARNINGS")
    cross = make_words("CC") + make_words("FLAGS_rv32") + make_words("LANGUAGE") + strict + tree_includes() + \
        library_includes(True)
    native = ["gcc"] + native_flags() + strict + ["-isystem", make_words("CMOCKA_SRC")[0] + "/include"]
    guest = make_words("GUEST_CC", "GUEST_FLAGS_rv32", "GUEST_CFLAGS")
    jobs = []
    for name in sources(C_FOLDERS, [".h"]):
        folder, _, header = name.partition("/")
        if name.startswith("src/lib/include/"):  # shadows libc's: meant for the hart alone
            jobs.append(header_job(name, os.path.basename(name), cross, "src/lib/include/"))
        elif name.startswith("tests/guest/"):
            jobs.append(header_job(name, os.path.basename(name), guest, "tests/guest/"))
        elif name.startswith("tests/unit/"):
            jobs.append(header_job(name, os.path.basename(name), native + ["-Itests/unit"], "tests/unit/"))
        elif folder in ("src", "include"):
            jobs.append(header_job(f"{name} (rv32)", header, cross, folder + "/"))
            if not name.startswith(HART_ONLY):
                jobs.append(header_job(f"{name} (native)", header, native, folder + "/"))
        else:
            jobs.append(header_job(name, name, native))
    return common.run_jobs(jobs), f"{len(jobs)} compilations"
