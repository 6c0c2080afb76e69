# SPDX-License-Identifier: GPL-2.0-or-later
"""A disk on storage that both hosts see: it moves with its guest, which writes on; only one of them has it at any time."""

import gzip
import pathlib
import subprocess
import tempfile

import pytest

import ferry

IMAGE = "/run/disk.img"
MIB = 1 << 20

# Files of random bytes and their sums, without end and without a pause; a part of them is made durable.
WRITER = """
i=0
while [ ! -e /tmp/stop ]; do
	[ $i -lt 100 ] || { i=0; rm /mnt/sums; }
	dd if=/dev/urandom of=/mnt/f$i bs=32k count=1 2>/dev/null && sha256sum /mnt/f$i >> /mnt/sums || touch /tmp/failed
	[ $((i % 4)) != 0 ] || sync
	i=$((i + 1))
	echo $i > /tmp/written
done
touch /tmp/stopped
"""


@pytest.fixture(scope="module")
def ext4():
    """An empty ext4, compressed: L1 gets it through a pipe."""
    with tempfile.TemporaryDirectory() as directory:
        path = pathlib.Path(directory) / "disk"
        with open(path, "wb") as f:
            f.truncate(48 * MIB)
        subprocess.run(["/sbin/mkfs.ext4", "-q", "-O", "^resize_inode", path], check=True)
        return gzip.compress(path.read_bytes(), 1)


@pytest.fixture
def vm(lab, fresh, ext4):
    """A guest with nothing but the disk, which is mounted."""
    lab.run(f"gunzip > {IMAGE}", stdin=ext4)
    vm = fresh(node=None, mem="128M", cpus=1, options=f"--disk {IMAGE}")
    vm.sh("modprobe ext4 && mount -t ext4 -o discard /dev/vda /mnt")
    return vm


def move(vm, image=IMAGE):
    host = vm.receive(None, f"--disk {image}")
    moved = vm.send(host.address)
    assert moved.status == 0, f"{moved.output}\n{host.process.output()}"
    vm.follow(host)


def goes_on(vm):
    """The writer writes what it had not written before."""
    vm.sh("a=$(cat /tmp/written); until [ \"$(cat /tmp/written)\" != \"$a\" ]; do usleep 20000; done")


def sums_hold(vm):
    """What was written is on the disk, and not only in the guest's memory."""
    vm.sh("touch /tmp/stop; until [ -e /tmp/stopped ]; do usleep 20000; done; [ ! -e /tmp/failed ]")
    vm.sh("umount /mnt && echo 3 > /proc/sys/vm/drop_caches && mount -t ext4 -o discard /dev/vda /mnt")
    assert "OK" in vm.sh("sha256sum -c /mnt/sums", timeout=90)
    log = vm.sh("dmesg | grep -E 'EXT4-fs (error|warning)|I/O error|JBD2: .*rror|hung_task' || true")
    assert not log.strip(), log
    assert "failed" not in vm.host.process.output(), vm.host.process.output()


def starts_writing(vm):
    vm.sh(f"echo 0 > /tmp/written; (sh -c '{WRITER}' > /dev/null 2>&1 &)")


def test_writes_while_it_moves(lab, vm):
    starts_writing(vm)
    for _ in range(2):
        goes_on(vm)
        move(vm)
    goes_on(vm)
    sums_hold(vm)
    # Only one at a time: said at once, and truthfully.
    other = lab.spawn(f"exec ferry run --name other --runtime-dir /run/other --kernel /images/vmlinux --serial none --disk {IMAGE}")
    assert other.wait(30) == 1 and "is locked by another process" in other.output(), other.output()
    # What the guest discards the file gives back, and reads as zeros.
    blocks = f"stat -c %b {IMAGE}"
    vm.sh("dd if=/dev/urandom of=/mnt/big bs=1M count=8 2>/dev/null && sync")
    full = int(lab.run(blocks))
    vm.sh("rm /mnt/big && sync && umount /mnt")
    assert int(lab.run(blocks)) < full - 12_000
    vm.sh("blkdiscard /dev/vda && echo 3 > /proc/sys/vm/drop_caches && cmp -n 1000000 /dev/vda /dev/zero")


def refused(vm, disk, words):
    host = vm.receive(None, f"--disk {disk}")
    moved = vm.send(host.address)
    assert moved.status == 1 and words in moved.output, moved.output
    vm.waits_on(host)


def test_failed_moves_leave_the_disk(lab, vm):
    """Another disk at the destination is named; the guest keeps its own, also where the destination had its lock already."""
    lab.run("truncate -s 1M /run/other.img")
    starts_writing(vm)
    refused(vm, f"{IMAGE},ro", "guest's disk is written")
    refused(vm, "/run/other.img", f"has {48 * MIB} bytes")
    # Killed when it has the lock, and the source has not yet said COMMIT.
    moved = vm.send_cut(vm.receive(None, f"--disk {IMAGE}"), "from", ferry.PREPARED, 1)
    assert moved.status == 1, moved.output
    goes_on(vm)
    move(vm)
    goes_on(vm)
    sums_hold(vm)


@pytest.fixture
def frozen(lab):
    """A function that freezes the file system of a disk of 16 MiB, and one that thaws it."""
    with tempfile.TemporaryDirectory() as directory:
        inner, outer = pathlib.Path(directory) / "files", pathlib.Path(directory) / "outer"
        inner.mkdir()
        for path, size in ((inner / "disk", 16), (outer, 48)):
            with open(path, "wb") as f:
                f.truncate(size * MIB)
        subprocess.run(["/sbin/mkfs.ext4", "-q", "-d", inner, outer], check=True)
        lab.run("modprobe loop && modprobe ext4 && gunzip > /run/outer.img && mkdir -p /run/outer && "
                "mount -o loop /run/outer.img /run/outer", stdin=gzip.compress(outer.read_bytes(), 1))
    yield lambda: lab.run("fsfreeze --freeze /run/outer"), lambda: lab.run("fsfreeze --unfreeze /run/outer")
    lab.run("fsfreeze --unfreeze /run/outer; umount -l /run/outer; rm /run/outer.img", expect=None)


def test_the_guest_runs_while_its_storage_does_not_answer(lab, fresh, frozen):
    """Moves fail and can be called off, nothing of the guest waits but its write; thawed, all goes on, there as here."""
    freeze, thaw = frozen
    disk = "/run/outer/disk"
    vm = fresh(node=None, mem="128M", cpus=1, options=f"--disk {disk}")
    vm.sh("dd if=/dev/urandom of=/dev/vda bs=512 seek=1 count=5 oflag=direct conv=notrunc 2>/dev/null && sha256sum /dev/vda > /tmp/sum")
    freeze()
    vm.sh("(dd if=/dev/zero of=/dev/vda bs=4k seek=1024 count=1 oflag=direct conv=notrunc; echo $? > /tmp/done) > /dev/null 2>&1 &")
    lab.run(f"until grep -q '(disk0) D' /proc/{vm.host.pid()}/task/*/stat; do usleep 20000; done")
    host = vm.receive(None, f"--disk {disk}")
    moved = vm.send(host.address)
    assert moved.status == 1 and "has not answered for 10 s" in moved.output, moved.output
    assert host.process.wait(30) == 1
    vm.hosts.remove(host)
    vm.sh("[ ! -e /tmp/done ]")
    # Called off while it waits.
    host = vm.receive(None, f"--disk {disk}")
    process = lab.spawn(f"exec ferry migrate vm --runtime-dir {vm.host.directory} --to {host.address}")
    process.wait_for("rounds")
    lab.run(f"kill -INT {process.pid}")
    assert process.wait(30) != 0
    assert host.process.wait(30) == 1
    vm.hosts.remove(host)
    vm.sh("[ ! -e /tmp/done ]")
    thaw()
    vm.sh("until [ -e /tmp/done ]; do usleep 20000; done; [ $(cat /tmp/done) = 0 ]")
    move(vm, disk)
    vm.sh("echo 3 > /proc/sys/vm/drop_caches && sha256sum -c /tmp/sum")
    # Its end needs no storage, as far as the kernel goes.
    freeze()
    vm.sh("(dd if=/dev/zero of=/dev/vda bs=4k seek=1024 count=1 oflag=direct conv=notrunc; echo $? > /tmp/done) > /dev/null 2>&1 &")
    lab.run(f"until grep -q '(disk0) D' /proc/{vm.host.pid()}/task/*/stat; do usleep 20000; done")
    lab.run(f"kill -TERM {vm.host.pid()}")
    vm.host.process.wait_for("keeps a thread until it does")
    thaw()
    assert vm.host.process.wait(30) == 128 + 15
    vm.hosts.remove(vm.host)
