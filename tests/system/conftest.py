# SPDX-License-Identifier: MIT
"""Fixtures and options of the system tests. Run them all with `make test`, or one by its id:

    /usr/bin/python3 -m pytest tests/system -k 'smp4-vcpus2'          a test that failed, again
    ... -m quick            the few that `make test-quick` runs
    ... -m exhaustive       the whole matrix, for hours
"""
import fcntl
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest

import harness
import manager
from debian import Debian
from linux import Guest

boot_initrd, managed = manager.boot_initrd, manager.managed  # fixtures

MARKERS = {
    "quick": "one of the few tests that show in a minute whether anything works",
    "exhaustive": "only run when asked for with -m exhaustive",
    "alone": "compares what the host's clock says: scripts/test runs no other test beside it",
}


def pytest_addoption(parser):
    group = parser.getgroup("diosix")
    group.addoption("--build", default=str(harness.REPOSITORY / "build"), help="where rv64/diosix.elf is")
    group.addoption("--qemu7", default="qemu-system-riscv{xlen}", help="QEMU 7.2; {xlen} is put in")
    group.addoption("--qemu10", default=str(harness.CACHE / "qemu10/bin/qemu-system-riscv{xlen}"), help="QEMU 10, likewise")


def pytest_configure(config):
    for name, meaning in MARKERS.items():
        config.addinivalue_line("markers", f"{name}: {meaning}")


def pytest_collection_modifyitems(config, items):
    if "exhaustive" in config.getoption("markexpr", ""):
        return
    left_out = [item for item in items if item.get_closest_marker("exhaustive")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not item.get_closest_marker("exhaustive")]


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Shows the end of each machine's console with a failure."""
    report = (yield).get_result()
    if report.when == "call" and report.failed:
        for number, machine in enumerate(getattr(item, "machines", [])):
            machine.close()
            report.sections.append((f"console of machine {number} ({machine.log.name})", machine.tail(60)))


@pytest.fixture(scope="session", autouse=True)
def guests():
    """The guests, fetched before the first test."""
    subprocess.run([harness.REPOSITORY / "scripts/fetch-guests"], check=True)


@pytest.fixture(scope="session")
def provided():
    """provided("rv32") makes sure, once, that the Linux guest of that name is there: built if need be, for some minutes."""
    done = {"rv64"}

    def provide(name):
        if name not in done:
            script, *words = harness.LINUX[name]
            subprocess.run([harness.REPOSITORY / script, *words], check=True)
            done.add(name)

    return provide


@pytest.fixture
def linux(boot, provided):
    """linux(name, isolation=, qemu=, cpu=) is a Linux guest of harness.LINUX, to be booted: see linux.py."""

    def guest(name="rv64", **more):
        provided(name)
        return Guest(boot, name, **more)

    return guest


@pytest.fixture(scope="session")
def debian_image():
    """The Debian on a disk, made when a test first asks for it: the very first time for some minutes."""
    subprocess.run([harness.REPOSITORY / "scripts/build-debian"], check=True)


@pytest.fixture
def debian(request, pytestconfig, boot, debian_image, qemu_program, tmp_path):
    """The Debian on a disk, with disks of it for this test: see debian.py. Its machines end as those of boot do."""

    def start(command):
        machine = harness.Machine(command, harness.log_path(pytestconfig, request.node, len(request.node.machines)))
        request.node.machines.append(machine)
        return machine

    return Debian(tmp_path, start, qemu_program, boot)


@pytest.fixture(scope="session")
def qemu_program(pytestconfig):
    """Finds the program of a version of QEMU; fetches version 10 when a test first asks for it."""
    found = {}

    def find(version, xlen):
        if (version, xlen) not in found:
            option = {"7.2": "--qemu7", "10": "--qemu10"}[version]
            path = pytestconfig.getoption(option).format(xlen=xlen)
            if version == "10" and not Path(path).exists():
                subprocess.run([harness.REPOSITORY / "scripts/fetch-qemu10"], check=True)
            found[version, xlen] = path
        return found[version, xlen]

    return find


@contextmanager
def one_at_a_time(directory):
    """Several processes may run tests, each with its own fixtures, and two makes in one directory disturb each other."""
    directory.mkdir(parents=True, exist_ok=True)
    with open(directory / ".lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session")
def product(pytestconfig):
    """product("rv64/guest/hello.bin") is the path of what make builds under that name, up to date. Variables of make may
    follow: DEBUG=1, whose products lie in a directory of their own. target: what to make if that isn't the file's name."""
    build = Path(pytestconfig.getoption("--build")).resolve()
    made = {}

    def make(name, *variables, target=None):
        place = build / "debug" if "DEBUG=1" in variables else build
        path = place / name
        if path not in made:
            # In the words that the Makefile itself would use: the dependencies that it has on file are by those names.
            if place.is_relative_to(harness.REPOSITORY):
                place = place.relative_to(harness.REPOSITORY)
            command = ["make", "-s", "-C", str(harness.REPOSITORY), f"BUILD={place}", *variables, target or f"{place}/{name}"]
            with one_at_a_time(build):
                subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            made[path] = True
        return path

    return make


@pytest.fixture
def boot(request, pytestconfig, qemu_program):
    """boot(manifest_text, **fields of harness.Setup) starts a machine. All are ended when the test is over.
    manifest_text may be None (no manifest) or bytes (a blob as it is)."""
    request.node.machines = []
    with tempfile.TemporaryDirectory(prefix="diosix-") as directory:

        def start(text, **fields):
            setup = harness.Setup(**fields)
            number = len(request.node.machines)
            blob = Path(directory) / f"manifest{number}.dtb"
            if isinstance(text, bytes):
                blob.write_bytes(text)
            elif text is not None:
                harness.compile_manifest(text, blob)
            elf = Path(pytestconfig.getoption("--build")) / f"rv{setup.xlen}" / "diosix.elf"
            assert elf.exists(), f"{elf} is missing: run make"
            command = setup.arguments(qemu_program(setup.qemu, setup.xlen), elf, blob if text is not None else None)
            machine = harness.Machine(command, harness.log_path(pytestconfig, request.node, number))
            request.node.machines.append(machine)
            return machine

        yield start
        for machine in request.node.machines:
            machine.close()
