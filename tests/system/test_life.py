# SPDX-License-Identifier: MIT
"""A capsule's life: what ends it, what follows, and what an operator can ask for. In most tests others run beside it and
must not notice."""
import random
import re
import time

import pytest

from harness import known_faults, isolated, manifest, usually
from many import COUNTED, Progress, many
from monitor import Monitor

# As in src/core/life.h.
STOP_GRACE_SECONDS = 15
SHORT_LIVES_MAX = 8
BACKOFF = [0.1, 0.2, 0.4, 0.8, 1.6, 3.2]  # seconds before each restart in a row, from the second on
SETUPS = {"pmp": isolated("pmp"), "hyp": isolated("hyp"), "rv32-hyp": isolated("hyp", xlen=32)}
PLACE = pytest.mark.parametrize("setup", SETUPS.values(), ids=SETUPS)
# How a guest ends by itself (tests/guest/many_end.c), and what the log says of it.
ENDS = {
    "off": "power off requested",
    "syscon-off": "power off requested",
    "failure": "the guest reported a failure",
    "last": "power off requested",
}
KEEPER = "only=worker every=500"  # keeps the machine on, and looks after its own memory


@pytest.fixture
def start(boot, product):
    """start(setup, {name: (words, properties)}, …) boots a machine with these."""

    def start(setup, guests, smp=2, counted=False, **fields):
        nodes = [many(product, name, words, setup, **more) for name, (words, more) in guests.items()]
        machine = boot(manifest(*nodes), smp=smp, mem="512M", **{**setup, **fields}, extra=COUNTED if counted else [])
        return machine

    return start


def lives(machine, name="x"):
    """When each of its lives began, in seconds of the machine's clock."""
    assert "NOT SCRUBBED" not in machine.console
    return [int(ticks) / 1e7 for ticks in re.findall(rf"fail {name} alive t=(\d+)", machine.console)]


def ended(machine, name="x", why="", timeout=60):
    machine.expect(rf"Capsule \d+ \({name}\) stopped: ({why}[^\r]*)\r", timeout)
    return machine.match[1]


# --- what a guest does ---------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("how", ENDS)
@pytest.mark.parametrize("policy", ["never", "on-failure", "always"])
def test_restart_policy(start, how, policy):
    """Who is to start again does, from scrubbed RAM; who isn't, stays where it is."""
    again = policy == "always" or (policy == "on-failure" and how == "failure")
    guests = {"x": (f"only=fail how={how} after=200", {"restart": policy}), "keeper": (f"{KEEPER} for=1600", {})}
    machine = start(isolated("pmp"), guests, smp=1, counted=True)
    assert machine.wait(120) == 0
    assert len(re.findall(rf"Capsule 1 \(x\) stopped: {ENDS[how]}", machine.console)) == len(lives(machine))
    assert len(lives(machine)) >= 3 if again else len(lives(machine)) == 1


@PLACE
@pytest.mark.parametrize("how", ["failure", "off"])
def test_crash_loop(start, setup, how):
    """So many short lives in a row, each later than the one before, and no more: then it stays down, and that is said."""
    machine = start(setup, {"x": (f"only=fail how={how}", {"restart": "always"})}, smp=1, counted=True)
    assert machine.wait(120) == 0
    began = lives(machine)
    assert len(began) == SHORT_LIVES_MAX
    gaps = [after - before for before, after in zip(began, began[1:])]
    print("gaps:", [f"{gap:.3f}" for gap in gaps])
    assert gaps[0] < 0.1
    for gap, wait in zip(gaps[1:], BACKOFF):
        assert wait <= gap < wait + 0.1


def test_long_lives_are_no_crash_loop(start):
    """A life that lasts takes the count back."""
    words = "only=fail how=failure after=11000"
    machine = start(isolated("pmp"), {"x": (words, {"restart": "on-failure"})}, smp=1, counted=True)
    for _ in range(2 * SHORT_LIVES_MAX):
        machine.expect("fail x alive", 60)
    assert machine.running


@pytest.mark.parametrize("how", ["reset", "warm", "syscon-reset"])
def test_reset_is_no_failure(start, how):
    """A guest that asks for a reset gets it, whatever the policy is, but not for ever: the limit holds for these too."""
    machine = start(isolated("pmp"), {"x": (f"only=fail how={how} after=100", {"restart": "never"})}, smp=1, counted=True)
    assert machine.wait(120) == 0
    assert len(lives(machine)) == SHORT_LIVES_MAX
    assert "NOT SCRUBBED" not in machine.console


# --- the watchdog --------------------------------------------------------------------------------------------------------

@PLACE
@pytest.mark.parametrize("seconds", [0, 1, 3])
def test_watchdog(start, setup, seconds):
    """Started by the guest, fed for a while, then not any more: it stops the guest after its period, and not before."""
    guests = {"x": (f"only=hang watchdog={seconds} fed=1500", {"watchdog": True})}
    machine = start(setup, guests, smp=1)
    assert f"not fed for {seconds} s" in ended(machine, why="watchdog: ") or seconds == 0
    assert machine.wait() == 0


@pytest.mark.parametrize("words, period", [("fed=0", 1), ("fed=2000", 1), ("watchdog=3 fed=500", 3)])
def test_watchdog_from_the_start(start, words, period):
    """Of the manifest's period until the guest says otherwise; and the guest is started again."""
    guests = {"x": (f"only=hang {words}", {"watchdog": 1, "restart": "on-failure"})}
    machine = start(isolated("pmp"), guests, smp=1)
    for _ in range(2):
        machine.expect("hang x hangs", 60)
        assert f"not fed for {period} s" in ended(machine, why="watchdog: ")
    machine.expect("hang x up", 60)


def test_watchdog_ends_traps_without_end(start):
    """A guest whose handler traps again is in a loop that only the watchdog ends: like the processor, the hypervisor does
    what the guest says."""
    guests = {"x": ("only=fail how=trap", {"watchdog": 1, "restart": "on-failure"})}
    machine = start(isolated("pmp"), guests, smp=1)
    for _ in range(3):
        machine.expect("fail x alive", 60)
        ended(machine, why="watchdog: not fed for 1 s")


def test_watchdog_is_quiet(start):
    """One that is fed, and one that was switched off, bite nobody."""
    guests = {"fed": ("only=hang watchdog=1 fed=60000", {"watchdog": True}),
              "off": ("only=hang watchdog=1 fed=500 off=1", {"watchdog": True}),
              "none": ("only=hang", {"watchdog": True}), "w": ("only=worker for=5000", {})}
    machine = start(isolated("pmp"), guests, smp=2)
    ended(machine, "w", timeout=180)
    assert "watchdog: " not in machine.console


@pytest.mark.parametrize("guest", ["rv64", "rv64-small"])
def test_watchdog_of_linux(linux, guest):
    """The driver that stock kernels have: fed by busybox's watchdog, until that is killed."""
    linux = linux(guest)
    node = linux.capsule(bootargs="diosix.watchdog=3", watchdog=True, restart="on-failure")
    machine = linux.machine(node)
    for _ in range(2):
        machine.expect(r"diosix-guest: watchdog on, (sunxi-wdt)? *3 s", timeout=120)
        machine.prompt()
        assert machine.shell("sleep 8; echo alive", timeout=60) == "alive"
        machine.sendline("killall -9 watchdog")
        ended(machine, "debian", "watchdog: ")
    machine.expect("diosix-guest: up", timeout=120)


def test_hung_linux(linux):
    """A panic with nobody to reboot after it: only the watchdog helps. The worker beside it loses nothing."""
    linux = linux("rv64-small")
    node = linux.capsule(bootargs="diosix.watchdog=4 panic=0", watchdog=True, restart="always", vcpus=2)
    machine = linux.machine(node, smp=2)
    machine.expect("diosix-guest: watchdog on", timeout=120)
    machine.prompt()
    machine.sendline("echo c >/proc/sysrq-trigger")
    machine.expect("Kernel panic - not syncing", timeout=60)
    ended(machine, "debian", "watchdog: ")
    machine.expect("diosix-guest: up", timeout=120)


# --- what an operator asks for ---------------------------------------------------------------------------------------------

@PLACE
def test_manual(start, setup):
    """It is there, and waits."""
    machine = start(setup, {"x": ("only=density", {"manual": True}), "keeper": (KEEPER, {})})
    machine.expect("worker keeper 0 t=")
    with Monitor(machine) as monitor:
        assert monitor.state("x").startswith("loaded")
        for verb in ("stop", "kill", "pause", "resume"):
            monitor.refused(verb, "x")
        monitor.request("start", "x")
        monitor.becomes("x", "^running")
        monitor.refused("start", "x")
        monitor.refused("destroy", "x")
    Monitor(machine).logs("x", "up x")


@PLACE
def test_kill_and_start(start, setup):
    machine = start(setup, {"x": (KEEPER, {"restart": "always"}), "keeper": (KEEPER, {})})
    machine.expect("worker x 0 t=")
    with Monitor(machine) as monitor:
        monitor.request("kill", "x")
        assert "killed" in " ".join(monitor.command("info x")) or monitor.becomes("x", "^stopped")
        monitor.becomes("x", "^stopped")  # whatever its policy: this was wanted
        monitor.request("start", "x")
        monitor.becomes("x", "^running")
        monitor.request("restart", "x")
        monitor.becomes("x", "^running")
        assert monitor.stat("x")["starts"] == 3
        assert monitor.stat("keeper")["starts"] == 1
    machine.expect("worker x 0 t=", 30)


@PLACE
def test_pause_and_resume(start, setup):
    """While it stands still it does nothing, and the others have its share; its clock goes on."""
    machine = start(setup, {"x": ("only=worker every=100", {}), "keeper": ("only=worker every=100", {})}, smp=1)
    machine.expect("worker x 0 t=")
    with Monitor(machine) as monitor:
        monitor.request("pause", "x")
        monitor.becomes("x", "^paused")
        before = monitor.stat("x")["CPU time"]
        monitor.refused("pause", "x")
        for _ in range(20):
            assert monitor.state("x") == "paused"
        assert monitor.stat("x")["CPU time"] == before
        monitor.request("resume", "x")
        monitor.refused("resume", "x")
    machine.expect("worker x 0 t=", 30)
    machine.expect("worker x 0 t=", 30)
    Progress(machine.console)


def test_requests_of_a_paused_one(start):
    machine = start(isolated("pmp"), {name: (KEEPER, {}) for name in ("a", "b", "c", "keeper")})
    for _ in range(4):
        machine.expect(r"worker \w+ 0 t=")  # one that is still starting can't be paused
    with Monitor(machine) as monitor:
        for name in "abc":
            monitor.request("pause", name)
        monitor.request("kill", "a")
        monitor.becomes("a", "^stopped")
        monitor.request("restart", "b")
        monitor.becomes("b", "^running")
        monitor.refused("start", "c")
        monitor.refused("destroy", "c")


@pytest.mark.parametrize("guest", ["rv64", "rv64-small", "rv32"])
def test_stop_linux(linux, guest):
    """It is asked in a way that it understands, syncs and powers off, long before the time is up."""
    linux = linux(guest)
    machine = linux.machine(linux.capsule("x", vcpus=2), linux.capsule("y", bootargs="diosix.watchdog"))
    for name in ("x", "y"):
        machine.expect_of(name, "diosix-guest: up", 120)
    with Monitor(machine) as monitor:
        monitor.request("stop", "x")
        monitor.becomes("x", "^stopped")
        assert "power off" in monitor.list()["x"]["last"]
        assert monitor.state("y") == "running"
        monitor.keys("kill y\r")  # the last one: the machine is switched off
        assert machine.wait() == 0


def test_stop_deaf(start):
    """Who doesn't listen is killed after the grace period, and not before."""
    machine = start(isolated("pmp"), {"x": ("only=worker every=1000", {}), "keeper": ("only=worker every=1000 for=25000", {})},
                    smp=1, counted=True)
    machine.expect("worker x 0 t=")
    with Monitor(machine) as monitor:
        monitor.request("stop", "x")
        monitor.refused("start", "x")
    assert "killed" in ended(machine, "x", timeout=120)
    said = [int(ticks) / 1e7 for ticks in re.findall(r"worker x 0 t=(\d+)", machine.console)]
    assert STOP_GRACE_SECONDS - 2 < said[-1] - said[0] < STOP_GRACE_SECONDS + 3


def test_stop_asks_by_break(start):
    """What a guest hears when it is asked: a BREAK before each key of sysrq."""
    machine = start(isolated("pmp"), {"x": ("only=echo", {}), "keeper": (KEEPER, {})})
    machine.expect("echo x listens")
    with Monitor(machine) as monitor:
        monitor.request("stop", "x")
        monitor.becomes("x", "^stopped")
        said = " ".join(monitor.command("log x"))
    assert said.count("echo x break") >= 2


@PLACE
def test_destroy_and_create(start, setup):
    """All that it had is free; a new one of that name is like the first."""
    machine = start(setup, {"x": (KEEPER, {"memory": "4M"}), "keeper": (KEEPER, {})})
    machine.expect("worker x 0 t=")
    with Monitor(machine) as monitor:
        free = monitor.memory()[1]
        monitor.refused("destroy", "x")
        monitor.request("kill", "x")
        monitor.becomes("x", "^stopped")
        monitor.request("destroy", "x")
        for _ in range(100):
            if "x" not in monitor.list():
                break
        assert "x" not in monitor.list()
        while monitor.memory()[1] == free:
            pass  # every hart has to pass first
        monitor.request("create", "x")
        assert monitor.memory()[1] == free
        monitor.request("start", "x")
        monitor.becomes("x", "^running")
    machine.expect("worker x 0 t=", 30)


# --- again and again -------------------------------------------------------------------------------------------------------

def cycle(monitor, name, destroy):
    monitor.request("kill", name)
    monitor.becomes(name, "^(stopped|crashed)")
    if destroy:
        monitor.request("destroy", name)
        while name in monitor.list():
            pass
        monitor.request("create", name)
    monitor.request("start", name)
    monitor.becomes(name, "^running")


CYCLES = [pytest.param(20, id="20"), pytest.param(1000, id="1000", marks=pytest.mark.exhaustive)]


@pytest.mark.parametrize("cycles", CYCLES)
@pytest.mark.parametrize("destroy", [False, True], ids=["restart", "destroy"])
@PLACE
def test_cycles(start, setup, destroy, cycles):
    """Killed and started, or destroyed and made anew, any of them in turn, while workers compute checksums: they lose
    nothing, and the machine's memory is as it was."""
    guests = {"a": ("only=storm storm=all harts=1", {"vcpus": 2}), "b": (KEEPER, {}), "c": ("only=density", {}),
              "w0": (KEEPER, {}), "w1": (f"{KEEPER} harts=1", {"vcpus": 2})}
    machine = start(setup, guests)
    for name in ("b", "w0", "w1"):
        machine.expect(f"worker {name} 0 t=")
    with Monitor(machine) as monitor:
        memory = monitor.memory()
        for n in range(cycles):
            cycle(monitor, "abc"[n % 3], destroy)
        assert monitor.memory() == memory
        assert monitor.stat("w0")["starts"] == 1 and monitor.stat("w1")["starts"] == 1
    for name in ("w0", "w1"):
        machine.expect(f"worker {name} 0 t=", 30)
    Progress(machine.console)
    assert "[!]" not in machine.console


LINUX_CYCLES = [pytest.param(8, 20, id="8"), pytest.param(1000, 2400, id="1000", marks=pytest.mark.exhaustive)]


@pytest.mark.parametrize("cycles, seconds", LINUX_CYCLES)
@pytest.mark.parametrize("isolation", usually(["pmp", "hyp"], ["hyp"]))
def test_linux_cycles(linux, product, isolation, cycles, seconds):
    """One of four Linux systems is killed at any moment of its life, started or made anew, again and again; what the three
    others compute meanwhile is right."""
    guest = linux("rv64-small", isolation=isolation)
    words = f"diosix.test=pipeline,memory diosix.seconds={seconds // 2}"
    steady = [guest.capsule(f"s{n}", vcpus=2, memory="64M", bootargs=words) for n in range(3)]
    keeper = many(product, "keeper", "only=density", SETUPS[isolation])  # if the others are through before the victim is
    machine = guest.machine(guest.capsule("victim", vcpus=2, memory="64M"), *steady, keeper, smp=2, mem="1G")
    for _ in range(4):
        machine.expect("diosix-guest: up", 240)
    moments = random.Random(cycles)
    with Monitor(machine) as monitor:
        memory = monitor.memory()
        for n in range(cycles):
            time.sleep(moments.uniform(0, 1))
            cycle(monitor, "victim", destroy=n % 4 == 3)
        assert monitor.memory() == memory
        assert all(monitor.stat(f"s{n}")["starts"] == 1 for n in range(3))
    for _ in range(6):
        machine.expect(r"s\d[|:] diosix-guest: test (\S+) (passed|failed)", 2 * seconds + 60)
        assert machine.match[2] == "passed", machine.match[1]
    assert "[!]" not in machine.console


def test_nothing_is_left_behind(boot, product):
    """One fills its RAM and all its registers and is killed again and again; the one made after it finds nothing."""
    setup = isolated("hyp", "v=on")
    from test_guests import guest  # pylint: disable=import-outside-toplevel

    dirty = guest(product, "isolation", f"only=residue {known_faults(setup)}", name="dirty")
    fresh = guest(product, "isolation", f"only=entry,zero {known_faults(setup)}", name="fresh", manual=True)
    keeper = many(product, "keeper", KEEPER, setup)
    machine = boot(manifest(dirty, fresh, keeper), smp=1, mem="512M", **setup)
    machine.expect("dirty.*residue", 30)
    with Monitor(machine) as monitor:
        for _ in range(5):
            monitor.request("kill", "dirty")
            monitor.becomes("dirty", "^stopped")
            monitor.request("destroy", "dirty")
            while "dirty" in monitor.list():
                pass
            monitor.request("start", "fresh")
            monitor.becomes("fresh", "^stopped")
            said = " ".join(monitor.command("log fresh"))
            assert "not ok" not in said and "0 failed" in said
            monitor.request("destroy", "fresh")
            while "fresh" in monitor.list():
                pass
            monitor.request("create", "fresh")
            monitor.request("create", "dirty")
            monitor.request("start", "dirty")
    assert "not ok" not in machine.console
