# SPDX-License-Identifier: MIT
"""The examples, run by the commands of their READMEs."""
import re
import shlex
import subprocess
import time
import urllib.request

import pytest

import harness
from debian import BOOT_SECONDS, free_port, login, switch_off
from monitor import Monitor

EXAMPLES = harness.REPOSITORY / "examples"


def commands(example, language="sh"):
    """The command lines of the README's code blocks in that language, with continued lines joined."""
    text = (EXAMPLES / example / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(rf"^```{language}\n(.*?)^```", text, re.M | re.S)
    return [line for block in blocks for line in block.replace("\\\n", "").splitlines()]


def obey(command, timeout=120):
    """Runs a command as it would be typed in the repository's folder, to its end; returns what it prints."""
    done = subprocess.run(["bash", "-c", command], cwd=harness.REPOSITORY, stdin=subprocess.DEVNULL, text=True, errors="replace",
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=timeout * harness.TIME_SCALE, check=False)
    assert done.returncode == 0, done.stdout
    return done.stdout.replace("\r", "")


def test_flat_guest():
    """It is built, and says where it is, in both isolations and both word sizes."""
    build, hyp, pmp, build32, run32 = commands("flat-guest")
    for make, run, isolation, digits in ((build, hyp, "hyp", 16), (None, pmp, "pmp", 16), (build32, run32, "hyp", 8)):
        if make:
            obey(make)
        said = obey(run)
        assert f"Capsule 1 (flat): isolation {isolation}," in said
        assert re.search(rf"^Hello from a flat guest at 0x[0-9a-f]{{{digits}}}, hart 0x0+, device tree 0x[0-9a-f]{{{digits}}}$",
                         said, re.M), said
        assert "Capsule 1 (flat) stopped: power off requested" in said


@pytest.fixture
def typed(request, pytestconfig, boot):
    """typed(command) starts the machine that the command starts; it ends as those of boot do."""

    def start(command):
        log = harness.log_path(pytestconfig, request.node, len(request.node.machines))
        machine = harness.Machine(["bash", "-c", f"cd {shlex.quote(str(harness.REPOSITORY))} && exec {command}"], log)
        request.node.machines.append(machine)
        return machine

    return start


@pytest.mark.parametrize("isolation", harness.usually(["hyp", "pmp"], ["pmp"]), ids=["hyp", "pmp"])
def test_debian_disk(typed, debian_image, isolation):
    """A whole Debian boots from a disk of the machine, works on it, and switches its capsule off."""
    run, = [line for line in commands("debian-disk") if line.startswith("make run") and ("pmp" in line) == (isolation == "pmp")]
    machine = typed(run)
    machine.expect(rf"Capsule 1 \(debian\): isolation {isolation},", BOOT_SECONDS)
    login(machine)
    assert machine.shell("nproc") == "2"
    assert "/dev/vda / ext4 rw" in machine.shell("grep ' / ' /proc/mounts")
    assert machine.shell("cat /sys/block/vda/serial; echo") == "root"
    assert "err= 0" in machine.shell("fio --name=t --filename=/root/t --size=16m --bs=64k --rw=randrw --verify=crc32c "
                                     "--output-format=normal | grep err=", timeout=180)
    assert machine.shell("systemctl is-system-running --wait", timeout=240) == "running"
    switch_off(machine)


def test_two_capsules_network(typed, debian_image):
    """One is reached from here by the README's command, and reaches the other one."""
    _, run, ssh = commands("two-capsules-network")
    port = str(free_port())
    machine = typed(run.replace("2222", port) + ' ISOLATION=pmp APPEND="loglevel=info color=off"')  # two Debians in hyp: test_debian
    for name in ("one", "two"):
        machine.expect_of(name, "debian login: ", BOOT_SECONDS)
    ssh = ssh.replace("2222", port) + " -o BatchMode=yes"
    assert "1 received" in obey(f"{ssh} ping -c 1 10.0.2.16")
    answers = obey(f"{ssh} 'cat /sys/block/vda/serial; echo; iperf3 -s -1 -D; ip -o link'")
    assert answers.startswith("one\n") and "link/ether 02:00:00:00:00:01" in answers, answers


# Which isolation and QEMU; on one of them the tutorial is followed to the letter, `make run` as it stands.
TUTORIAL = {"hyp-qemu7.2": "", "pmp-qemu10": "ISOLATION=pmp QEMU=10", "pmp-qemu7.2": "ISOLATION=pmp", "hyp-qemu10": "QEMU=10",
            "rv32-pmp-qemu7.2": "XLEN=32 ISOLATION=pmp", "rv32-hyp-qemu10": "XLEN=32 QEMU=10"}
# Debian's packages are for 64 bits.
WITH_DEBIAN = {place: words for place, words in TUTORIAL.items() if "XLEN" not in words}


def steps(example):
    """What a README's console blocks have: (prompt, what is typed there, the patterns of what is said then)."""
    found = []
    for line in commands(example, "console"):
        typed = re.match(r"([\w@:~/-]+# )(.*)", line)
        if typed:
            found.append((typed[1], typed[2], []))
        else:
            found[-1][2].append(r"[^\n]*".join(re.escape(part) for part in line.split("...")))
    return found


def follow(machine, example):
    """Types what the README says, where it says, and waits for what it says."""
    for prompt, typed, said in steps(example):
        machine.expect(re.escape(prompt), 120)
        if typed == "^^":
            machine.send("\x1e")
        else:
            machine.sendline(typed)
            machine.expect(re.escape(typed[:20]), 20)  # its echo; the shell breaks long lines
        for pattern in said:
            machine.expect(pattern, 120)


@pytest.mark.parametrize("words", harness.usually(TUTORIAL.values(), ["", "XLEN=32 ISOLATION=pmp"]), ids=TUTORIAL)
def test_boot_capsule(typed, words):
    """The tutorial of the README, line by line."""
    run, = commands("boot-capsule")
    machine = typed(f"{run} {words}")
    machine.expect("This is a boot capsule", 400)
    follow(machine, "boot-capsule")


@pytest.mark.parametrize("words", harness.usually(WITH_DEBIAN.values(), [WITH_DEBIAN["pmp-qemu10"]]), ids=WITH_DEBIAN)
def test_boot_debian(typed, debian_image, words):
    """A boot capsule with systemd: the README, line by line."""
    build, run = commands("boot-debian")
    obey(build, 600)
    machine = typed(f"{run} {words}")
    machine.expect("debian login: ", BOOT_SECONDS)
    machine.sendline("root")
    machine.expect("Password: ", 60)
    machine.sendline("capsule")
    follow(machine, "boot-debian")
    machine.expect(r"Capsule 1 \(boot\) stopped: power off requested", 180)


def visits(port, seconds=180):
    """The number that the web server of the appliance tells, as soon as it does."""
    said, end = "", time.monotonic() + seconds * harness.TIME_SCALE
    while time.monotonic() < end:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=20) as answer:
                said = answer.read().decode()
        except OSError as error:  # the connection is refused, or reset
            said = str(error)
        found = re.fullmatch(r"You are visitor (\d+)\.\n", said)
        if found:
            return int(found[1])
        time.sleep(1)
    raise AssertionError(f"in {seconds} s no number: {said!r}")


@pytest.mark.parametrize("words", harness.usually(WITH_DEBIAN.values(), [WITH_DEBIAN["hyp-qemu7.2"]]), ids=WITH_DEBIAN)
def test_appliance(typed, tmp_path, words):
    """Nobody logs in, and both services work; each is killed, and one panics: they come back, and nothing that was counted is
    lost."""
    build, truncate, run = commands("appliance")
    obey(build, 900)
    data, port = tmp_path / "data.img", str(free_port())
    obey(truncate.replace("data.img", str(data)))
    machine = typed(f"{run.replace('data=data.img', f'data={data}').replace('8080', port)} {words}")
    machine.expect("appliance: starting the services", 400)
    first = visits(port)
    for name in ("db", "web"):
        with Monitor(machine) as monitor:
            monitor.request("kill", name)
        machine.expect(rf"{name}: stopped \(killed: [^\n]*: it is started again", 60)
        first, before = visits(port), first
        assert first > before, name
    Monitor(machine).enter()
    machine.sendline("focus db")
    machine.expect("the terminal is that of db alone", 20)
    machine.sendline("echo c >/proc/sysrq-trigger")
    machine.expect("Kernel panic", 60)
    machine.expect("appliance: db is up", 120)
    assert visits(port) > first
