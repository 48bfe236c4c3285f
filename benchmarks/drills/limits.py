"""What is refused, with which status, and what it costs until it is."""

import gzip
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import httpx
import nibabel
import numpy as np
import psutil

from benchmarks import servers
from benchmarks.drills.drill import Drill
from benchmarks.servers import Server
from benchmarks.small_package import write_package

MB = 10**6
SETTINGS = {
    "SEG_MAX_BODY_MB": "5",
    "SEG_MAX_JOB_MB": "8",
    "SEG_MAX_PIXELS": "4000000",
    "SEG_MAX_VOXELS": "16000000",
    "SEG_MAX_REQUESTS": "2",
    "SEG_MAX_CLIENT_REQUESTS": "6",
    "SEG_MAX_UPLOADS_MB": "12",
    "SEG_UPLOAD_IDLE_S": "2",
    "SEG_TIMEOUT_S": "2",
    "SEG_MAX_JOBS": "2",
    "SEG_JOB_WORKERS": "0",
}
LONG = "/segment?mirror=true"
MOST_MB = 32
"""By which resident memory may grow over a refusal: two bodies, and what buffers hold."""


def limits(drill: Drill) -> None:
    """Each limit is met from outside: status, ``Retry-After``, bytes taken, memory."""
    package = drill.folder / "volumes"
    write_package(package, (16, 16, 16), 1, 3)
    with servers.seg(package, **drill.jobs(), **SETTINGS) as server:
        base = f"http://127.0.0.1:{server.port}"
        ask = httpx.Client(base_url=base, timeout=60).post
        assert ask("/segment", content=volume(32)).status_code == 200
        long, taken = volume(240), [0]
        cases: list[tuple[str, int, Callable[[], httpx.Response]]] = [
            ("body, by its length", 413, lambda: ask("/segment", content=bytes(6 * MB))),
            ("body, by counting", 413, lambda: ask("/segment", content=endless(taken))),
            ("body of a job", 413, lambda: ask("/jobs", content=endless(taken))),
            ("pixels of a slice", 413, lambda: ask("/segment", content=header(30000, 30000, 1))),
            ("voxels", 413, lambda: ask("/segment", content=header(900, 900, 900))),
            ("not an image", 415, lambda: ask("/segment", content=b"a letter")),
            ("a damaged image", 422, lambda: ask("/segment", content=volume(32)[:-900])),
            ("an upload that stands still", 408, lambda: standing_still(server)),
            ("a segmentation that takes too long", 504, lambda: ask(LONG, content=long)),
            ("segmentations at the same time", 503, lambda: first(503, base, LONG, long)),
            ("jobs that wait", 503, lambda: first(503, base, "/jobs", volume(32))),
            ("requests of a client in flight", 429, lambda: beside(server, 6, 1000, ask)),
            ("bytes of all uploads", 503, lambda: beside(server, 3, 4 * MB, ask)),
        ]
        for what, status, met in cases:
            before, taken[0] = reset_peak(server.worker()), 0
            answer = met()
            grown = peak_mb(server.worker()) - before
            retry = answer.headers.get("Retry-After", "-")
            seen = {"status": answer.status_code, "retry_after": retry, "grown_mb": grown}
            drill.saw(limit=what, **seen, taken_mb=taken[0] / MB)
            drill.at_most(f"{what}: MB taken of a body without an end", taken[0] / MB, MOST_MB)
            drill.at_most(f"{what}: status other than {status}", answer.status_code != status, 0)
            kind = answer.headers["Content-Type"] == "application/problem+json"
            drill.at_least(f"{what}: a problem, in a sentence", kind and "detail" in answer.text, 1)
            if status in (429, 503):
                drill.at_least(f"{what}: Retry-After", retry.isdecimal(), 1)
            if what not in ("a segmentation that takes too long", "segmentations at the same time"):
                drill.at_most(f"{what}: growth of memory, MB", grown, MOST_MB)
        drill.at_most(
            "status after all of it", ask("/segment", content=volume(32)).status_code, 200
        )


def volume(edge: int) -> bytes:
    """A NIfTI volume of noise of few bits, compressed."""
    voxels = np.random.default_rng(0).integers(0, 2, (edge,) * 3, np.uint8)
    voxels[edge // 8 :] = 0  # which compresses
    return gzip.compress(nibabel.Nifti1Image(voxels, np.eye(4)).to_bytes(), 1)


def header(*shape: int) -> bytes:
    """A header of a volume, and no voxels."""
    head = nibabel.Nifti1Header()
    head.set_data_dtype(np.int16)
    head.set_data_shape(shape)
    return gzip.compress(head.binaryblock + bytes(4))


def endless(taken: list[int]) -> Iterator[bytes]:
    """A body without an end, and how much of it was taken."""
    while taken[0] < 200 * MB:
        yield bytes(65536)
        taken[0] += 65536


def begun(server: Server, length: int) -> socket.socket:
    """A request of which the body is still to come."""
    connection = socket.create_connection(("127.0.0.1", server.port))
    head = "POST /segment HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    connection.sendall(f"{head}Content-Length: {length}\r\n\r\n".encode())
    return connection


def standing_still(server: Server) -> httpx.Response:
    """The answer to a body that never comes."""
    with begun(server, 1000) as connection:
        said = b"".join(iter(lambda: connection.recv(4096), b""))
    head, _, body = said.partition(b"\r\n\r\n")
    first_line, *lines = head.decode().splitlines()
    headers = [tuple(line.split(": ", 1)) for line in lines]
    return httpx.Response(int(first_line.split()[1]), headers=headers, content=body)  # type: ignore[arg-type]


def first(status: int, base: str, path: str, body: bytes) -> httpx.Response:
    """Of six requests at a time one with that status, if any."""
    with ThreadPoolExecutor(6) as pool:
        sent = [pool.submit(httpx.post, base + path, content=body, timeout=60) for _ in range(6)]
    answers = [each.result() for each in sent]
    return next((each for each in answers if each.status_code == status), answers[0])


def beside(
    server: Server, others: int, length: int, ask: Callable[..., httpx.Response]
) -> httpx.Response:
    """The answer to a request beside others whose bodies trickle in."""
    over = threading.Event()
    with ExitStack() as stack:
        slow = [stack.enter_context(begun(server, length)) for _ in range(others)]

        def trickle() -> None:
            while not over.wait(0.2):
                for connection in slow:
                    connection.sendall(b"x")

        with ThreadPoolExecutor(1) as pool:
            trickling = pool.submit(trickle)
            try:
                over.wait(0.5)  # until their headers are read
                return ask("/segment", content=volume(32))
            finally:
                over.set()
                trickling.result()


def reset_peak(process: psutil.Process) -> float:
    """Resident memory now in MB, from which the peak is counted anew."""
    Path(f"/proc/{process.pid}/clear_refs").write_text("5", encoding="ascii")
    return peak_mb(process)


def peak_mb(process: psutil.Process) -> float:
    """Most memory that a process has had at a time, by the kernel's count."""
    lines = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1000
