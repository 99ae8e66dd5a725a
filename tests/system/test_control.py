# SPDX-License-Identifier: MIT
"""Capsules that are managed from a manager's Linux, by capsulectl; and managers that are hostile."""
import json
import re

import pytest

from manager import PLACE, capsules, focus, gone, refused, state_becomes, succeeds, used
from monitor import Monitor


@PLACE
def test_requests(managed, place):
    """Everything that may be asked of a capsule, and what is said of it."""
    machine = managed(place, ("worker", {}), ("spare", {"manual": True}), manager=True, manages="all")
    assert machine.shell("cat /sys/class/virtio-ports/*/name") == "\n".join(f"org.diosix.control.{n}" for n in range(8))
    found = capsules(machine)
    assert list(found) == ["boot", "worker", "spare"]
    assert found["boot"]["self"] and found["boot"]["manager"] and not found["worker"]["self"]
    assert found["worker"] | {"cpu_us": 0} == {"id": 2, "name": "worker", "state": "running", "isolation": place[0], "vcpus": 1,
                                               "memory": 64 << 20, "cpu_us": 0, "starts": 1, "self": False, "manager": False,
                                               "last_stop": ""}
    assert found["spare"]["state"] == "loaded"
    for command, name, state in (("pause worker", "worker", "paused"), ("resume worker", "worker", "running"),
                                 ("kill 2", "worker", "stopped"), ("start worker spare", "worker", "running"),
                                 ("restart worker", "worker", "running"), ("stop spare", "spare", "stopped")):
        assert refused(machine, f"capsulectl {command}") == ("", 0), command
        state_becomes(machine, name, state)
    found = capsules(machine)
    assert found["worker"]["starts"] == 3 and found["worker"]["last_stop"] == "restart requested: by capsule boot"
    assert refused(machine, "capsulectl pause spare") == ("capsulectl: spare: pause: it is stopped", 1)
    assert refused(machine, "capsulectl start spar") == ("capsulectl: there is no capsule spar; did you mean spare?", 1)
    assert refused(machine, "capsulectl kill boot")[1] == 1
    assert refused(machine, "capsulectl lst") == ("capsulectl: there is no verb lst; did you mean list?", 2)
    assert refused(machine, "capsulectl pause")[1] == 2
    assert refused(machine, "capsulectl destroy spare") == ("", 0)
    for _ in range(60):
        if "spare" not in capsules(machine):
            break
        machine.shell("sleep 0.5")
    assert list(capsules(machine)) == ["boot", "worker"]
    table = machine.shell("capsulectl list").splitlines()
    assert len(table) == 3 and table[1].split()[:3] == ["1*", "boot", "running"] and table[2].split()[:3] == ["2", "worker", "running"]


@pytest.mark.parametrize("rights", ["own", "none"])
def test_rights(managed, rights):
    """A manager of its own capsules sees nobody else's; who is no manager finds no port."""
    if rights == "own":
        machine = managed(("pmp", "7.2"), ("worker", {"manual": True}), manager=True)
        assert list(capsules(machine)) == ["boot"]
        assert refused(machine, "capsulectl start worker") == ("capsulectl: there is no capsule worker: `capsulectl list` shows which "
                                                               "there are", 1)
        return
    machine = managed(("pmp", "7.2"))
    said, status = refused(machine, "capsulectl list")
    assert said.startswith("capsulectl: there is no control port: this must be a capsule with `manager`") and status == 3
    assert machine.shell("ls /sys/class/virtio-ports | wc -l") == "0"


HOSTILE = {
    "noise": "head -c 200000 /dev/urandom >/dev/vport0p$n",
    "cut": "printf '\\024\\0\\0\\0\\1\\0\\0\\0' >/dev/vport0p$n",
    "unread": "(for i in $(seq 500); do printf '\\024\\0\\0\\0\\1\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\1\\0\\0\\0'; done) >/dev/vport0p$n & sleep 1; kill $!",
}


@PLACE
def test_hostile(managed, place):
    """A manager that sends nonsense, half a message, or requests whose replies it doesn't fetch, on all ports: the next client
    of each is served, a neighbour without rights isn't touched, and the monitor answers."""
    machine = managed(place, ("other", {}), manager=True)
    for name, command in HOSTILE.items():
        machine.shell(f"for n in 1 2 3 4 5 6 7 8; do {command}; done", 120)
        assert list(capsules(machine)) == ["boot"], name
    holders = "for n in 1 2 3 4 5 6 7 8; do sleep 30 <>/dev/vport0p$n & done"
    machine.shell(holders)
    assert refused(machine, "capsulectl list") == ("capsulectl: all control ports are in use: end another capsulectl first", 3)
    machine.shell("kill $(jobs -p)")
    assert list(capsules(machine)) == ["boot"]
    with Monitor(machine) as monitor:
        assert monitor.state("other") == "running"
        assert monitor.stat("other")["starts"] == 1


@PLACE
def test_created(managed, place):
    """A manager makes capsules of what it has: a Linux that runs and is restarted, a flat guest, a capsule file. What doesn't
    fit its quota or its rights is refused before anything is sent, and all is given back."""
    machine = managed(place, ("other", {}), manager=True, memory="256M", quota_memory=160 << 20, quota_vcpus=3)
    with Monitor(machine) as monitor:
        free = monitor.memory()[1]
    machine.sendline("")
    machine.prompt()
    assert used(machine) == (0, 0)
    assert succeeds(machine, "capsulectl run new /Image --initrd /initrd --memory 64M --vcpus 2") == "new: runs, with ID 3"
    state_becomes(machine, "new", "running")
    assert list(capsules(machine)) == ["boot", "new"]
    assert capsules(machine)["new"]["isolation"] == place[0] and capsules(machine)["new"]["vcpus"] == 2
    assert used(machine)[0] > 64 and used(machine)[1] == 2
    focus(machine, "new")
    machine.expect("capsule# ", 60)
    machine.send("echo hel''lo\r")
    machine.expect("hello", 20)
    focus(machine, "boot")
    machine.sendline("")
    machine.prompt()
    assert refused(machine, "capsulectl restart new") == ("", 0)
    state_becomes(machine, "new", "running")

    said, status = refused(machine, "capsulectl run more /Image --memory 128M")
    assert status == 1 and "quota-memory of 163840 KiB" in said and "sending" not in said, said
    said, status = refused(machine, "capsulectl run more /hello --memory 4M --vcpus 2")
    assert status == 1 and "quota-vcpus of 3 1 are left" in said and "sending" not in said, said
    said, status = refused(machine, "capsulectl run new /hello --memory 4M")
    assert status == 1 and "new: it exists already" in said, said
    said, status = refused(machine, "capsulectl run other /hello --memory 4M")
    assert status == 1 and "exists already" in said, said
    said, status = refused(machine, "capsulectl check /bad.dtb")
    assert (said, status) == ("capsulectl: /bad.dtb: kernel: must be given", 2)
    assert used(machine)[1] == 2
    assert succeeds(machine, "capsulectl create /filed.dtb") == "filed: created, with ID 4; `capsulectl start filed` runs it"
    assert refused(machine, "capsulectl start filed") == ("", 0)
    state_becomes(machine, "filed", "stopped")
    assert capsules(machine)["filed"]["last_stop"].startswith("power off requested")
    gone(machine, "filed")
    machine.shell("gzip -c /hello >/hello.gz; head -c 100 /hello.gz >/cut.gz; head -c 100 /hello.zst >/cut.zst")
    for kernel in ("/hello.gz", "/hello.zst", "/hello.efi"):
        succeeds(machine, f"capsulectl run packed {kernel} --memory 4M")
        state_becomes(machine, "packed", "stopped")
        assert capsules(machine)["packed"]["last_stop"].startswith("power off requested"), kernel
        gone(machine, "packed")
    for kernel in ("/cut.gz", "/cut.zst"):
        said, status = refused(machine, f"capsulectl run packed {kernel} --memory 4M")
        assert status == 2 and "it is packed by" in said and said.endswith("it ends too early"), said

    # The client dies while it sends.
    machine.shell("for n in 1 2 3 4 5; do capsulectl run half /Image --memory 4M 2>/dev/null & sleep 0.0$n; kill -9 $!; wait; "
                  "capsulectl --json list | grep -q half && { capsulectl kill half; capsulectl destroy half; }; done", 60)
    machine.shell("sleep 1")
    assert refused(machine, "capsulectl kill new") == ("", 0)
    state_becomes(machine, "new", "stopped")
    gone(machine, "new")
    for _ in range(40):
        if used(machine) == (0, 0):
            break
        machine.shell("sleep 0.5")
    assert used(machine) == (0, 0)
    with Monitor(machine) as monitor:
        assert monitor.memory()[1] == free
        assert monitor.state("other") == "running"


LEAVE = "\x1e"  # Ctrl-^


@PLACE
def test_console(managed, place):
    """A capsule's console from the manager's shell: its first line on, what is typed, a flood that loses nothing, leaving and
    coming back; its log, what happens to it, and what is counted of it."""
    machine = managed(place, ("other", {}), manager=True, memory="256M", quota_memory=160 << 20, quota_vcpus=3, manages="all")
    machine.sendline("capsulectl events >/tmp/events & capsulectl log -f new2 2>&1 | head -1")
    machine.expect("there is no capsule new2", 20)
    machine.prompt()
    machine.sendline("capsulectl run -it new /Image --initrd /initrd --memory 64M 2>/dev/null")
    machine.expect("Linux version", 60)
    machine.expect("capsule# ", 60)
    machine.send("PS1='in''ner# '; hostname new\r")
    machine.expect("inner# ", 20)
    machine.send("i=0; while [ $i -lt 3000 ]; do echo line $i of a flood that is longer than any ring; i=$((i+1)); done; echo do''ne\r")
    machine.expect(r"done\r?\ninner# ", 120)
    seen = [int(n) for n in re.findall(r"line (\d+) of a flood that is longer than any ring", machine.console)]
    assert seen == list(range(3000))
    machine.send(LEAVE)
    machine.prompt()
    assert machine.shell("hostname") != "new"
    machine.sendline("capsulectl console new 2>/dev/null")
    machine.send("hostname\r")
    machine.expect(r"\nnew\r?\ninner# ", 20)
    machine.send("poweroff\r")
    machine.prompt(60)  # it leaves by itself
    said, status = refused(machine, "capsulectl console new")
    assert status == 1 and said.startswith("capsulectl: new is stopped: `capsulectl start new` first"), said
    said, status = refused(machine, "capsulectl console boot")
    assert status == 1 and said.endswith("a capsule can't wait for its own console"), said
    assert "reboot: Power down" in machine.shell("capsulectl log new")
    assert "Capsule 3 (new) stopped: power off requested" in machine.shell("capsulectl log")
    gone(machine, "new")
    machine.shell("kill %1; sleep 0.2")
    events = [line.split(None, 3)[2:] for line in machine.shell("cat /tmp/events").splitlines() if " new " in line]
    events = [" ".join(words) for words in events]
    assert events[0] == "new created" and events[-2:] == ["new stopped: power off requested", "new destroyed"]
    # Whether the client or the guest's RAM is ready first isn't said.
    assert sorted(events[1:-2]) == 2 * ["new console attached: by capsule boot"] + ["new started"]
    assert len(machine.shell("capsulectl events --past").splitlines()) >= 6
    facts, = json.loads(machine.shell("capsulectl --json info other"))
    assert facts["name"] == "other" and facts["bootargs"].startswith("console=") and facts["exits"]["SBI call"] > 0
    assert facts["console_out"] > 1000 and facts["restart"] == "never" and facts["kernel"] > 1 << 20
    assert machine.shell("capsulectl info other").splitlines()[0] == "Capsule 2 (other): running"
    assert len(machine.shell("capsulectl stat").splitlines()) == 3
    rows = machine.shell("capsulectl top 1 2").splitlines()
    assert sum("other" in row for row in rows) == 2


def test_autostart(managed):
    """What a directory has is started in its order; a mistake stops those alone that come after it; once more changes nothing."""
    machine = managed(("pmp", "7.2"), manager=True, memory="256M", quota_memory=160 << 20, quota_vcpus=3)
    said = machine.shell("capsulectl autostart /capsules 2>/tmp/errors; echo status $?", 120).splitlines()
    assert said == ["web: runs, with ID 2", "filed: runs, with ID 3", "status 1"]
    errors = machine.shell("cat /tmp/errors")
    for line in ("autostart: broken was not started", "capsule.dtb: kernel: must be given", "lost: it comes after nobody, which isn't there",
                 "chicken was not started: it comes after itself", "egg was not started: it comes after itself"):
        assert line in errors, errors
    assert "disabled" not in errors and "web" not in errors
    assert list(capsules(machine)) == ["boot", "web", "filed"]
    state_becomes(machine, "web", "running")
    said = machine.shell("capsulectl autostart /capsules 2>/dev/null").splitlines()
    assert said[0].startswith("web: is there already, ") and said[1].startswith("filed: is there already, ") and len(said) == 2
    assert refused(machine, "capsulectl autostart /nowhere") == ("capsulectl: /nowhere: No such file or directory", 2)


@pytest.mark.parametrize("cycles", [60, pytest.param(1000, marks=pytest.mark.exhaustive)])
def test_cycles(managed, cycles):
    """64 capsules made by a script are listed in well under a second; making and destroying them again and again leaves the
    machine's memory and the quota as they were."""
    machine = managed(("pmp", "7.2"), manager=True, memory="96M", quota_memory=320 << 20, quota_vcpus=64)
    with Monitor(machine) as monitor:
        free = monitor.memory()[1]
    machine.sendline("")
    machine.prompt()
    assert machine.shell("for i in $(seq 64); do capsulectl run c$i /hello --memory 4M >/dev/null 2>&1 || echo bad $i; done", 120) == ""
    listed = machine.shell("time -p capsulectl --json list >/tmp/list; grep -c name /tmp/list").splitlines()
    assert listed[-1] == "65" and float(re.search(r"real (\S+)", " ".join(listed))[1]) < 1, listed
    said, status = refused(machine, "capsulectl run more /hello --memory 4M")
    assert status == 1 and "quota-vcpus of 64 0 are left" in said, said
    away = "until capsulectl destroy {} 2>/dev/null; do sleep 0.1; done"
    machine.shell(f"for i in $(seq 64); do {away.format('c$i')}; done", 120)
    machine.shell(f"for i in $(seq {cycles}); do capsulectl run x$i /hello --memory 4M >/dev/null 2>&1 || echo bad; {away.format('x$i')}; done",
                  cycles + 60)
    for _ in range(40):
        if used(machine) == (0, 0):
            break
        machine.shell("sleep 0.5")
    assert used(machine) == (0, 0) and list(capsules(machine)) == ["boot"]
    with Monitor(machine) as monitor:
        assert monitor.memory()[1] == free
