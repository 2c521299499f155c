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
from collections.abc import Callable
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
LISTENER = "PKDOT_LISTENER"  # tells the process the number of its socket
BEGUN = b"begun"
LONGEST = 2**20  # bytes of arguments and environment


def start(module: str = "pkdot.warm") -> subprocess.Popen | None:
    """Start the process that has the libraries, for the jobs of this process; it ends with this one.

    Jobs may call at once; they are answered when the libraries are there.

    Parameters
    ----------
    module : str
        The module that calls `serve`.

    Returns
    -------
    subprocess.Popen or None
        To be kept; None where the system cannot watch a process by a handle (Linux can).
    """
    if not hasattr(os, "pidfd_open"):
        return None
    if os.path.lexists(SOCKET):
        os.unlink(SOCKET)  # of a run that was killed
    quiet = subprocess.DEVNULL  # what is wrong with a library, each job says too
    with _socket() as listener:
        listener.bind(SOCKET)
        listener.listen(128)
        number = listener.fileno()
        paths = os.path.dirname(os.path.dirname(__file__))
        environment = {**os.environ, **THREADS, "PYTHONPATH": paths, LISTENER: str(number)}
        command = [sys.executable, "-m", module]
        return subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=quiet, stderr=quiet, env=environment, pass_fds=[number]
        )


def job(arguments: list[str]) -> int:
    """Have a fork run ``pkdot`` with these arguments, or become it; return its exit code."""
    server = _socket()
    if not THREADS.items() <= os.environ.items() or not _is_taken(server, arguments):
        os.execv(sys.executable, [sys.executable, "-m", "pkdot", *arguments])  # noqa: S606
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the fork has it too, and ends in its own way
    return int(server.recv(LONGEST) or 1)


def _is_taken(server: socket.socket, arguments: list[str]) -> bool:
    """Hand a job over; return whether it has a fork. Where there is no server, or it ends before, it has none."""
    message = json.dumps({"arguments": arguments, "environment": dict(os.environ)})
    try:
        server.connect(SOCKET)
        socket.send_fds(server, [message.encode()], STREAMS)
        return server.recv(LONGEST) == BEGUN
    except OSError:
        return False


def _socket() -> socket.socket:
    """Return a socket of the kind that both sides use."""
    return socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)


class Server:
    """The process that has the libraries, and the jobs that are its forks.

    Parameters
    ----------
    listener : socket
        Where jobs call.
    """

    def __init__(self, listener: socket.socket) -> None:
        self.waiting = selectors.DefaultSelector()
        self.listener = listener

    def serve(self) -> None:
        """Fork for every job, until the run has ended, however it ended, and its last job has too."""
        self.waiting.register(self.listener, selectors.EVENT_READ, self.begin)
        self.waiting.register(sys.stdin, selectors.EVENT_READ, self.close)
        while self.waiting.get_map():
            key, _ = self.waiting.select()[0]
            key.data()

    def close(self) -> None:
        """Take no more jobs."""
        with suppress(OSError):
            os.unlink(SOCKET)
        for source in (sys.stdin, self.listener):
            self.waiting.unregister(source)
        self.listener.close()

    def begin(self) -> None:
        """Fork for a job, and watch both the fork and the process that asked for it."""
        caller, _ = self.listener.accept()
        message, streams, *_ = socket.recv_fds(caller, LONGEST, len(STREAMS))
        if not message:  # the caller was ended as it called
            return caller.close()
        process = os.fork()
        if not process:
            self._become(streams, **json.loads(message))
        for stream in streams:
            os.close(stream)
        with suppress(OSError):  # a caller that is gone is noticed below
            caller.send(BEGUN)
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
        work = self.program()
        # Not before: what an interrupt raises can be lost in an import, where some callbacks drop all that is raised.
        with suppress(KeyboardInterrupt):
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
            work(arguments)
            sys.exit()
        sys.exit(130)

    def program(self) -> Callable[[list[str]], None]:
        """Return what jobs run, which is imported by each."""
        sys.argv[0] = "pkdot"
        from pkdot.cli import main

        return main


def serve(kind: type[Server] = Server, libraries: tuple[str, ...] = LIBRARIES) -> None:
    """Import the libraries, and fork for every job."""
    # An interrupt is for the jobs, and this process waits for them; one that comes as a job begins waits for it too.
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    for name in libraries:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # what all forks share is then not looked through, and so not copied, by each
    kind(socket.socket(fileno=int(os.environ[LISTENER]))).serve()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        sys.exit(job(sys.argv[1:]))
    serve()
