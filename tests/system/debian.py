# SPDX-License-Identifier: MIT
"""A whole Debian 13 on a disk, for tests: what scripts/build-debian makes, and how to talk to it.

    disk = debian.disk("mine")                        # debian is a fixture of conftest.py; a copy that this test may change
    machine = debian.boots_alone("7.2", disk)    # on QEMU's own firmware, without the hypervisor
    login(machine)
    assert machine.shell("nproc") == "2"
    switch_off(machine)
"""
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

import harness
from harness import CACHE, PROMPT, TIME_SCALE

HERE = CACHE / "guests" / "debian-disk"
BOOTARGS = "root=LABEL=root"
# From power-on to the login prompt, under emulation on a busy machine.
BOOT_SECONDS = 700


def drive(path, serial="root"):
    """QEMU's words for a disk of the machine: a qcow2 file of Debian.disk."""
    return ["-drive", f"file={path},format=qcow2,if=none,id={serial}", "-device", f"virtio-blk-device,drive={serial},serial={serial}"]


def login(machine, timeout=BOOT_SECONDS):
    """Waits for the login prompt, logs in, and leaves a shell with which machine.shell and machine.prompt work."""
    machine.expect("debian login: ", timeout)
    machine.sendline("root")
    machine.expect("Password: ", timeout=60)
    machine.sendline("capsule")
    machine.expect(r"root@debian:~# ", timeout=120)
    # Without bash's line editor, which writes more than it is told to.
    machine.sendline("exec sh")
    machine.expect(r"# $", timeout=60)
    half = len(PROMPT) // 2
    machine.sendline(f"PS1='{PROMPT[:half]}''{PROMPT[half:]}'")
    machine.prompt()


def switch_off(machine):
    """At a prompt: systemd stops all services, and the machine or the capsule is off."""
    machine.sendline("poweroff")
    assert machine.wait(180) == 0


def free_port():
    """A TCP port of this machine that nobody uses."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@dataclass
class Debian:
    """What scripts/build-debian made. directory: the test's own, for the disks that it changes; start(command) starts a
    machine from QEMU's words; program, boot: as the fixtures qemu_program and boot."""

    directory: Path
    start: Callable
    program: Callable
    boot: Callable

    kernel = HERE / "Image"
    initrd = HERE / "initrd"
    root = HERE / "root.img"
    key = HERE / "id_test"

    def disk(self, name="root"):
        """A disk with the image on it that is gone with the test: a qcow2 file of what was changed."""
        path = self.directory / f"{name}.qcow2"
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", str(self.root.resolve()), str(path)], check=True)
        return path

    def capsule(self, name="debian", *, bootargs=BOOTARGS, memory="512M", **more):
        """A capsule's node, as of harness.capsule, for a disk0 that is this image."""
        return harness.capsule(name, kernel=self.kernel, initrd=self.initrd, bootargs=bootargs, memory=memory, **more)

    def boots_alone(self, qemu, disk, *extra, smp=2, mem="1G"):
        """Boots a machine without the hypervisor: QEMU's firmware and the kernel."""
        return self.start([self.program(qemu, 64), "-M", "virt", "-m", mem, "-smp", str(smp), "-display", "none", "-monitor", "none",
                           "-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console", "-bios", "default",
                           "-kernel", str(self.kernel), "-initrd", str(self.initrd), "-append", f"console=ttyS0 {BOOTARGS}",
                           *drive(disk), *extra])

    def ssh(self, port, command, timeout=120, **more):
        """Runs the command in a guest whose sshd is at that port of this machine; returns what it prints. Tries again while
        nobody answers there. more: for subprocess, as in input="text"."""
        words = ["ssh", "-i", str(self.key), "-p", str(port), "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no",
                 "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", "-o", "ConnectTimeout=30", "-o", "ServerAliveInterval=30",
                 "root@127.0.0.1", command]
        end = time.monotonic() + timeout * TIME_SCALE
        while True:
            done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=timeout * TIME_SCALE,
                                  **(more or {"stdin": subprocess.DEVNULL}))
            if done.returncode != 255 or time.monotonic() > end:
                assert done.returncode == 0, f"ssh: {done.returncode}: {done.stdout}{done.stderr}"
                return done.stdout.strip()
            time.sleep(2)

    def power_off(self, port):
        """Switches off the guest at that port once ssh has gone: its network may end before the connection is closed, and the
        client would wait for ever."""
        self.ssh(port, "setsid sh -c 'sleep 3; exec systemctl poweroff' </dev/null >/dev/null 2>&1 &")
