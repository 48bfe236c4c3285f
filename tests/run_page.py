"""Run a document's commands as printed: ``python -m tests.run_page README.md docs/training.md``.

Every ``bash`` block of a page runs, in order, in a folder of its own that shows the repository's
files, and nothing is run that readers do not see. A line that serves is started and waited for.
Training is cut to a few steps unless ``--full`` is given. A line ``*Not run here: why.*`` before a
block leaves it out, and so does a program that only some machines have; both are said.
"""

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import httpx

from benchmarks.servers import free_port

ROOT = Path(__file__).parents[1]
FENCE = re.compile(
    r"(?:^ *\*Not run here: (?P<why>[^*]*)\.\*\n\n?)?^(?P<pad> *)```bash\n(?P<bash>.*?)^ *```",
    flags=re.DOTALL | re.MULTILINE,
)
SERVES = re.compile(r"(?<![`\w])(?:bentoml|seg) serve\b")
ELSEWHERE = ("docker", "kubectl", "srun", "sbatch", "nvidia-smi", "apt-get", "podman")
"""Programs without which a line is left out."""
ASKED = {"docker": "info", "kubectl": "cluster-info"}
READY_S = 120.0
SHORTER = {
    r"--minutes [\d.]+": "--steps 12",
    r"make demo\b": "python -m training.demo --steps 12",
    r"make test\b": "true",
    r"--distil [\d.]+": "--distil 0.1",
    r"(training\.studies \w+)": r"\1 --steps 4 --seeds 1 --layers 9",
}
"""What is run in place of what is printed, unless ``--full`` is given."""


@dataclass(frozen=True)
class Block:
    """Commands of a page."""

    text: str
    line: int
    why_not: str = ""


@dataclass
class Outcome:
    """What became of a page."""

    failed: list[str] = field(default_factory=list)
    ran: int = 0
    left_out: int = 0


def blocks_of(text: str) -> Iterator[Block]:
    """All commands of a page, in order."""
    for found in FENCE.finditer(text):
        line = text.count("\n", 0, found.start("bash")) + 1
        yield Block(textwrap.dedent(found["bash"]), line, (found["why"] or "").strip())


def pieces_of(text: str) -> Iterator[str]:
    """Commands that run together; one that serves is alone."""
    together: list[str] = []
    for command in re.split(r"(?<!\\)\n", text):
        if not SERVES.search(command):
            together.append(command)
            continue
        yield "\n".join(together)
        yield command
        together = []
    yield "\n".join(together)


def missing_program(command: str) -> str:
    """The program of a line that this machine does not have, or nothing."""
    words = command.split()
    is_image = words[:3] == ["python", "-m", "service.build"] and "--image" in words
    program = "docker" if is_image else (words or [""])[0]
    return program if program in ELSEWHERE and not is_usable(program) else ""


@cache
def is_usable(program: str) -> bool:
    """Whether it is here; where it speaks to a daemon or a cluster, whether that answers."""
    if shutil.which(program) is None:
        return False
    question = ASKED.get(program)
    return not question or subprocess.run([program, question], capture_output=True).returncode == 0


class Run:
    """A folder in which a page's commands run."""

    def __init__(self, folder: Path, *, full: bool) -> None:
        self.folder, self.full, self.port = folder, full, free_port()
        self.server: subprocess.Popen[bytes] | None = None
        for entry in ROOT.iterdir():
            if not entry.name.startswith(".") and entry.name not in ("runs", "datasets", "build"):
                (folder / entry.name).symlink_to(entry)
        python = Path(sys.executable).parent
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("SEG_")},
            "PATH": f"{python}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "BENTOML_HOME": str(folder / ".bentoml"),
            "BENTOML_DO_NOT_TRACK": "True",
            "CURL_HOME": str(folder),
        }
        (folder / ".curlrc").write_text("silent\nshow-error\nfail-with-body\n")

    def as_run(self, text: str) -> str:
        """The commands with another port and with few steps."""
        text = re.sub(r"(localhost:|127\.0\.0\.1:|--port )3000\b", rf"\g<1>{self.port}", text)
        if not self.full:
            for pattern, shorter in SHORTER.items():
                text = re.sub(pattern, shorter, text)
        return text

    def run(self, text: str) -> None:
        """Run commands; variables that they export stay for the next ones.

        Raises:
            RuntimeError: one of them failed.
        """
        script = f"[ ! -f .env ] || . ./.env\nset -euo pipefail\n{text}\nexport -p > .env\n"
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
        )
        sys.stdout.write(done.stdout[-2000:])
        if done.returncode:
            raise RuntimeError(f"exit code {done.returncode}\n{done.stderr[-3000:]}")

    def serve(self, command: str) -> None:
        """Start a service in place of the one before, and wait until it is ready.

        Raises:
            RuntimeError: it ended, or does not get ready.
        """
        self.stop()
        if "--port" not in command:
            bare, _, comment = command.partition("#")
            command = f"{bare.rstrip()} --port {self.port} # {comment}"
        log = (self.folder / "serve.log").open("wb")
        script = f"[ ! -f .env ] || . ./.env\nexec env {command}"
        self.server = subprocess.Popen(
            ["bash", "-c", script], cwd=self.folder, env=self.environment,
            stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
        scheme = "https" if "--ssl" in command else "http"
        url, end = f"{scheme}://127.0.0.1:{self.port}/readyz", time.monotonic() + READY_S
        while time.monotonic() < end and self.server.poll() is None:
            with suppress(httpx.HTTPError):
                if httpx.get(url, verify=False, timeout=5).status_code == httpx.codes.OK:
                    return
            time.sleep(0.2)
        raise RuntimeError((self.folder / "serve.log").read_text(errors="replace")[-3000:])

    def stop(self) -> None:
        """End the service."""
        if self.server is None:
            return
        with suppress(ProcessLookupError):
            os.killpg(self.server.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self.server.wait(30)
        with suppress(ProcessLookupError):
            os.killpg(self.server.pid, signal.SIGKILL)
        self.server = None


def run_page(page: Path, *, full: bool = False) -> Outcome:
    """Run all commands of a page; a block that fails does not keep later ones from running."""
    outcome = Outcome()
    with tempfile.TemporaryDirectory(prefix="page-") as folder:
        run = Run(Path(folder), full=full)
        try:
            for block in blocks_of(page.read_text(encoding="utf-8")):
                _run_block(run, block, f"{page.name}:{block.line}", outcome)
        finally:
            run.stop()
    return outcome


def _run_block(run: Run, block: Block, where: str, outcome: Outcome) -> None:
    if block.why_not:
        outcome.left_out += 1
        print(f"{where}: left out: {block.why_not}", flush=True)
        return
    kept = []
    for command in re.split(r"(?<!\\)\n", block.text):
        if program := missing_program(command):
            outcome.left_out += 1
            print(f"{where}: left out, {program} is not here: {command}", flush=True)
        else:
            kept.append(command)
    begun = time.monotonic()
    try:
        for piece in pieces_of(run.as_run("\n".join(kept))):
            if SERVES.search(piece):
                run.serve(piece)
            elif piece.strip():
                run.run(piece)
    except RuntimeError as error:
        outcome.failed.append(where)
        print(f"{where}: FAILED\n{block.text}\n{error}", flush=True)
        return
    outcome.ran += 1
    print(f"{where}: ran in {time.monotonic() - begun:.0f} s", flush=True)


def main() -> int:
    """The command; 1 where anything failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.run_page", description=__doc__)
    parser.add_argument("pages", type=Path, nargs="+")
    parser.add_argument(
        "--full", action="store_true", help="train for the minutes that are printed"
    )
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # takes the service along
    failed: list[str] = []
    for page in options.pages:
        outcome = run_page(page, full=options.full)
        print(
            f"{page}: {outcome.ran} blocks ran, {outcome.left_out} left out, "
            f"{len(outcome.failed)} failed",
            flush=True,
        )
        failed += outcome.failed
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
