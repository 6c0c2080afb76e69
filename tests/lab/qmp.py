# SPDX-License-Identifier: GPL-2.0-or-later
"""A small QMP client: one command at a time on a Unix socket."""

import json
import socket
import threading


class QmpError(Exception):
    """QEMU refused a command."""


class Qmp:
    def __init__(self, path):
        self.lock = threading.Lock()
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(60)
        self.socket.connect(path)
        self.file = self.socket.makefile("rw")
        self.file.readline()
        self.command("qmp_capabilities")

    def command(self, execute, **arguments):
        with self.lock:
            self.file.write(json.dumps({"execute": execute, "arguments": arguments}) + "\n")
            self.file.flush()
            while True:
                line = self.file.readline()
                if not line:
                    raise QmpError(f"{execute}: QEMU closed the connection")
                answer = json.loads(line)
                if "return" in answer:
                    return answer["return"]
                if "error" in answer:
                    raise QmpError(f"{execute}: {answer['error']['desc']}")

    def close(self):
        try:
            self.file.close()
        except OSError:
            pass  # a command that a QEMU that has gone did not take
        self.socket.close()
