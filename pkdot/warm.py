"""Start jobs without the seconds that an import of torch takes: one process imports it, and the jobs are its forks.

``python -m pkdot.warm`` imports the libraries (not this project, whose code each job reads as it then is) and waits at
a socket in the folder of the run. ``python pkdot/warm.py VERB ...`` is a job: it hands its arguments, environment and
streams over, and waits for the fork that does its work. A job that finds no such process starts by itself, and so does
one that wants other numbers of threads than the libraries were loaded with. The numbers are the same either way.

Nothing slow is imported here, since each job starts with this file.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
from contextlib import suppress

SOCKET = ".snakemake/pkdot.socket"  # relative to the folder of the run: such a path has at most 107 characters
LIBRARIES = (
    "numpy", "pandas", "pyarrow.parquet", "pydantic", "torch", "yaml", "safetensors.torch", "sklearn.ensemble",
    "sklearn.linear_model", "sklearn.pipeline", "scipy.signal",
)  # fmt: skip
THREADS = {  # settled when the libraries are loaded; Snakemake sets them for each job
    f"{name}_THREADS": "1" for name in ("OMP_NUM", "OPENBLAS_NUM", "MKL_NUM", "NUMEXPR_NUM", "VECLIB_MAXIMUM")
}
STREAMS = (0, 1, 2)
LONGEST = 2**20  # bytes of arguments and environment


def start() -> subprocess.Popen | None:
    """Start the process that has the libraries, for the jobs of this process; it ends with this one.

    Returns
    -------
    subprocess.Popen or None
        To be kept; None where the system cannot watch a process by a handle (Linux can).
    """
    if not hasattr(os, "pidfd_open"):
        return None
    command = [sys.executable, "-m", "pkdot.warm"]
    environment = {**os.environ, **THREADS, "PYTHONPATH": os.path.dirname(os.path.dirname(__file__))}
    quiet = subprocess.DEVNULL  # what is wrong with a library, each job says too
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=quiet, stderr=quiet, env=environment)


def job(arguments: list[str]) -> int:
    """Have a fork run ``pkdot`` with these arguments, or become it; return its exit code."""
    try:
        if not THREADS.items() <= os.environ.items():
            raise ConnectionRefusedError
        server = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        server.connect(SOCKET)
        message = json.dumps({"arguments": arguments, "environment": dict(os.environ)})
        socket.send_fds(server, [message.encode()], STREAMS)
    except OSError:
        os.execv(sys.executable, [sys.executable, "-m", "pkdot", *arguments])  # noqa: S606
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the fork has it too, and ends in its own way
    answer = server.recv(LONGEST)
    return int(answer) if answer else 1


class Server:
    """The process that has the libraries, and the jobs that are its forks."""

    def __init__(self) -> None:
        self.waiting = selectors.DefaultSelector()
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    def serve(self) -> None:
        """Fork for every job, until the run has ended, however it ended, and its last job has too."""
        if os.path.lexists(SOCKET):
            os.unlink(SOCKET)  # of a run that was killed
        self.listener.bind(SOCKET)
        self.listener.listen(128)
        self.waiting.register(self.listener, selectors.EVENT_READ, self.begin)
        self.waiting.register(sys.stdin, selectors.EVENT_READ, self.close)
        while self.waiting.get_map():
            key, _ = self.waiting.select()[0]
            key.data()

    def close(self) -> None:
        """Take no more jobs."""
        os.unlink(SOCKET)
        for source in (sys.stdin, self.listener):
            self.waiting.unregister(source)
        self.listener.close()

    def begin(self) -> None:
        """Fork for a job, and watch both the fork and the process that asked for it."""
        caller, _ = self.listener.accept()
        message, streams, *_ = socket.recv_fds(caller, LONGEST, len(STREAMS))
        process = os.fork()
        if not process:
            self._become(streams, **json.loads(message))
        for stream in streams:
            os.close(stream)
        handle = os.pidfd_open(process)
        self.waiting.register(handle, selectors.EVENT_READ, lambda: self.end(process, handle, caller))
        self.waiting.register(caller, selectors.EVENT_READ, lambda: self.abandon(process, caller))

    def end(self, process: int, handle: int, caller: socket.socket) -> None:
        """Tell the caller how its job ended."""
        code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        self.waiting.unregister(handle)
        os.close(handle)
        if caller.fileno() >= 0:
            self.waiting.unregister(caller)
            with suppress(OSError), caller:  # it may have been ended just now
                caller.send(str(code if code >= 0 else 128 - code).encode())  # of a signal as shells have it

    def abandon(self, process: int, caller: socket.socket) -> None:
        """End a job whose caller was ended."""
        os.kill(process, signal.SIGKILL)
        self.waiting.unregister(caller)
        caller.close()

    def _become(self, streams: list[int], arguments: list[str], environment: dict[str, str]) -> None:
        """Be the process of a job, as if it had been started for it alone."""
        for source in [key.fd for key in self.waiting.get_map().values()]:
            if source not in STREAMS:
                os.close(source)
        for given, stream in zip(streams, STREAMS, strict=True):
            os.dup2(given, stream)
            os.close(given)
        os.environ.clear()
        os.environ.update(environment)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
        sys.argv = ["pkdot", *arguments]
        from pkdot.cli import main

        main(arguments)
        sys.exit()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        sys.exit(job(sys.argv[1:]))
    # An interrupt is for the jobs, and this process waits for them; one that comes as a job begins waits for it too.
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    for name in LIBRARIES:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # what all forks share is then not looked through, and so not copied, by each
    Server().serve()
