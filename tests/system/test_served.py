# SPDX-License-Identifier: MIT
"""Files of a manager's Linux as disks of the capsules that it makes (capsulectl serve-disk)."""
from manager import PLACE, capsules, focus, gone, refused, state_becomes, succeeds, used
from monitor import Monitor

DISK = "if=/dev/urandom of=/d.img bs=1M count=8"


def inside(machine, name, command, timeout=60):
    """What a command says in a created capsule, which then has the terminal."""
    focus(machine, name)
    machine.sendline("")
    machine.prompt()
    said = machine.shell(command, timeout)
    focus(machine, "boot")
    machine.sendline("")
    machine.prompt()
    return said


def start(machine, words):
    succeeds(machine, f"capsulectl run {words}")
    focus(machine, words.split()[0])
    machine.expect("capsule# ", 120)
    focus(machine, "boot")
    machine.sendline("")
    machine.prompt()


def sum_of(text):
    return text.split()[0]


@PLACE
def test_served(managed, place):
    """A file as a disk: what the capsule reads is what the file has, what it writes and flushes is there, also after a restart;
    it ends with the capsule, and nothing is left."""
    machine = managed(place, manager=True, memory="256M", quota_memory=160 << 20, quota_vcpus=3)
    with Monitor(machine) as monitor:
        free = monitor.memory()[1]
    machine.sendline("")
    machine.prompt()
    machine.shell(f"dd {DISK} 2>/dev/null")
    start(machine, "c /Image --initrd /initrd --memory 64M --disk file:/d.img")
    assert machine.shell("ls -l /proc/[0-9]*/fd/* 2>/dev/null | grep -c /dev/vport") == "1"  # the server's, and no other
    assert inside(machine, "c", "cat /sys/block/vda/size /sys/block/vda/serial").split() == ["16384", "c-disk0"]
    whole = sum_of(machine.shell("md5sum /d.img"))
    assert sum_of(inside(machine, "c", "md5sum /dev/vda", 120)) == whole
    said = inside(machine, "c", "dd if=/dev/urandom of=/r bs=64k count=30 2>/dev/null; dd if=/r of=/dev/vda bs=64k seek=3 conv=fsync "
                                "2>/dev/null; md5sum /r", 120)
    assert sum_of(machine.shell("dd if=/d.img bs=64k skip=3 count=30 2>/dev/null | md5sum")) == sum_of(said)
    whole = sum_of(machine.shell("md5sum /d.img"))
    refused(machine, "capsulectl restart c")
    focus(machine, "c")
    machine.expect("capsule# ", 120)
    assert sum_of(inside(machine, "c", "md5sum /dev/vda", 120)) == whole

    said, status = refused(machine, "capsulectl run d /Image --initrd /initrd --memory 32M --disk served:c-disk0")
    assert status == 1 and "capsule c uses some of these sectors of served:c-disk0" in said, said
    said, status = refused(machine, "capsulectl run d /hello --memory 4M --disk file:/d.img")
    assert status == 2 and "another capsulectl serves it already" in said, said
    said, status = refused(machine, "capsulectl run d /hello --memory 4M --disk served:none")
    assert status == 1 and "nobody serves served:none" in said, said
    said, status = refused(machine, "capsulectl run d /hello --memory 4M --disk serial:x")
    assert status == 1 and "no more than this manager has for-capsules" in said, said
    machine.shell("echo x >/odd")
    said, status = refused(machine, "capsulectl serve-disk odd /odd")
    assert status == 2 and "a multiple of 512 bytes" in said, said

    assert refused(machine, "capsulectl kill c") == ("", 0)
    state_becomes(machine, "c", "stopped")
    gone(machine, "c")
    machine.shell("for i in $(seq 50); do pidof capsulectl || break; sleep 0.2; done >/dev/null")
    assert machine.shell("pidof capsulectl") == ""
    machine.shell("for i in $(seq 50); do capsulectl quota | grep -q 'memory *0.0 MiB' && break; sleep 0.2; done")
    assert used(machine) == (0, 0)
    with Monitor(machine) as monitor:
        assert monitor.memory()[1] == free


@PLACE
def test_server_is_lost(managed, place):
    """A server that stands still or dies costs its capsule I/O errors, and nobody else anything; a new one takes over."""
    machine = managed(place, ("other", {}), manager=True, memory="256M", quota_memory=160 << 20, quota_vcpus=3, manages="all")
    machine.shell(f"dd {DISK} 2>/dev/null; capsulectl serve-disk data /d.img >/dev/null 2>&1 & sleep 1")
    start(machine, "c /Image --initrd /initrd --memory 64M --disk served:data")
    said, status = refused(machine, "capsulectl serve-disk data /d.img --read-only")
    assert status == 2 and "another capsulectl serves it already" in said, said
    machine.shell("cp /d.img /e.img")
    said, status = refused(machine, "capsulectl serve-disk data /e.img")
    assert status == 1 and "another session serves data already" in said, said
    whole = sum_of(machine.shell("md5sum /d.img"))

    # It stands still: the capsule is killed all the same.
    machine.shell("kill -STOP $(pidof capsulectl)")
    focus(machine, "c")
    machine.sendline("")
    machine.prompt()
    machine.sendline("md5sum /dev/vda")
    focus(machine, "boot")
    machine.sendline("")
    machine.prompt()
    assert refused(machine, "capsulectl kill c") == ("", 0)
    machine.shell("sleep 5")  # a server that answers nothing fails a request after 30 s only
    assert capsules(machine)["c"]["state"] == "stopped"
    assert refused(machine, "capsulectl start c") == ("", 0)
    machine.shell("kill -CONT $(pidof capsulectl)")
    focus(machine, "c")
    machine.expect("capsule# ", 120)
    assert sum_of(inside(machine, "c", "md5sum /dev/vda", 120)) == whole

    # It dies while it is asked: errors, until another one comes.
    machine.shell("kill -STOP $(pidof capsulectl)")
    focus(machine, "c")
    machine.sendline("")
    machine.prompt()
    machine.sendline("echo 3 >/proc/sys/vm/drop_caches; md5sum /dev/vda; echo sta''tus $?")
    focus(machine, "boot")
    machine.sendline("")
    machine.prompt()
    machine.shell("kill -9 $(pidof capsulectl)")
    focus(machine, "c")
    machine.expect(r"status 1\r", 60)
    assert "I/O error" in inside(machine, "c", "md5sum /dev/vda 2>&1")
    said, status = refused(machine, "capsulectl run d /hello --memory 4M --disk served:data")
    assert status == 1 and "nobody serves served:data" in said, said
    machine.shell("head -c 1048576 /d.img >/short.img")
    said, status = refused(machine, "capsulectl serve-disk data /short.img")
    assert status == 1 and "capsules still use data" in said, said
    machine.shell("capsulectl serve-disk data /d.img >/dev/null 2>&1 & sleep 1")
    assert sum_of(inside(machine, "c", "md5sum /dev/vda", 120)) == whole
    assert capsules(machine)["other"]["state"] == "running"
    with Monitor(machine) as monitor:
        assert monitor.stat("other")["starts"] == 1


def test_served_read_only(managed):
    """Two capsules read one file, and neither writes to it."""
    machine = managed(("pmp", "7.2"), manager=True, memory="256M", quota_memory=160 << 20, quota_vcpus=3)
    machine.shell(f"dd {DISK} 2>/dev/null; capsulectl serve-disk data /d.img --read-only >/dev/null 2>&1 & sleep 1")
    whole = sum_of(machine.shell("md5sum /d.img"))
    for name in ("a", "b"):
        start(machine, f"{name} /Image --initrd /initrd --memory 64M --disk served:data")
    for name in ("a", "b"):
        assert inside(machine, name, "cat /sys/block/vda/ro") == "1"
        assert sum_of(inside(machine, name, "md5sum /dev/vda", 120)) == whole
        inside(machine, name, "dd if=/dev/zero of=/dev/vda count=8 conv=fsync 2>&1")
    assert sum_of(machine.shell("md5sum /d.img")) == whole


# A client of a served disk that answers what it wasn't asked, with as many bytes as it likes: hello, serve, and then.
LIAR = r"""exec 3<>/dev/vport0p1; cat <&3 >/dev/null &
printf '\024\0\0\0\001\0\0\0\0\0\0\0\0\0\0\0\001\0\0\0' >&3
printf '\100\0\0\0\012\0\0\0\0\0\0\0\0\0\0\0evil\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\100\0\0\0\0\0\0\0\0\0\0\0\0\0\0' >&3
n=0; while [ ! -e /stop ]; do n=$((n+1)); [ -e /go ] || { sleep 1; continue; }
printf '\040\0\0\0\013\0\0\0\0\0\0\0\0\0\0\0'"\\$(printf %o $((n % 64)))"'\0\0\0\0\0\0\0\0\002\0\0\0\0\0\0' >&3
head -c 512 /dev/urandom >&3; done"""


def test_server_lies(managed):
    """A server that invents answers: its own capsule sees errors and rubbish, or waits, and is killed as others are; nobody else
    sees anything, and the port is as good as new after it."""
    machine = managed(("hyp", "7.2"), ("other", {}), manager=True, memory="256M", quota_memory=160 << 20, quota_vcpus=3)
    with Monitor(machine) as monitor:
        free = monitor.memory()[1]
    machine.sendline("")
    machine.prompt()
    machine.shell("rm -f /stop /go; cat >/liar <<'END'\n" + LIAR + "\nEND\nsh /liar >/dev/null 2>&1 & sleep 2")
    start(machine, "c /Image --initrd /initrd --memory 64M --disk served:evil")
    machine.shell("touch /go; sleep 1")
    inside(machine, "c", "timeout 2 dd if=/dev/vda of=/dev/null bs=64k count=4 2>&1", 120)
    assert capsules(machine)["c"]["state"] == "running"
    assert refused(machine, "capsulectl kill c") == ("", 0)
    state_becomes(machine, "c", "stopped")
    gone(machine, "c")
    machine.shell("touch /stop; sleep 2; kill $(jobs -p) 2>/dev/null; killall cat; sleep 2")
    assert used(machine) == (0, 0)
    assert list(capsules(machine)) == ["boot"]
    with Monitor(machine) as monitor:
        assert monitor.memory()[1] == free
        assert monitor.state("other") == "running"
        assert monitor.stat("other")["starts"] == 1
