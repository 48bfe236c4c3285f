"""A disk that fills up, and a package with one byte changed."""

import random
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import httpx

from benchmarks import servers
from benchmarks.drills.drill import Drill
from benchmarks.drills.pictures import picture
from benchmarks.drills.training import SMALL, fit, phantom
from seg.errors import SegError
from seg.inference import load_backend, verify_golden
from seg.model_package import ModelPackage

SHARES = (0.02, 0.1, 0.3, 0.5, 0.7, 0.9)
"""Of what a run needs, so that the disk is full now here, now there."""
FLIPS = 200
NOISY = bytes(random.Random(0).randbytes(3_000_000))


def disk_full(drill: Drill) -> None:
    """A training whose disk fills up, and goes on when there is room again."""
    data = phantom(drill.folder)
    whole = drill.folder / "whole"
    assert fit(str(data), "--out", str(whole), "--steps", "4", *SMALL).returncode == 0
    needed = sum(file.stat().st_size for file in whole.rglob("*") if file.is_file())
    for share in SHARES:
        with _disk(drill.folder / "disk", int(share * needed)) as disk:
            run = disk / "run"
            begun = fit(str(data), "--out", str(run), "--steps", "4", *SMALL)
            half = (run / "package").exists() and not _loads(run / "package")
            _resize(disk, 10 * needed)
            ended = fit("--resume", str(run))
            if ended.returncode and not (run / "plan.yaml").exists():  # it was never begun
                shutil.rmtree(run, ignore_errors=True)
                ended = fit(str(data), "--out", str(run), "--steps", "4", *SMALL)
            said = begun.stderr.strip().splitlines()[-1]
            traced = "Traceback" in begun.stderr + ended.stderr
            whole_again = not ended.returncode and _loads(run / "package")
        drill.saw(share=share, status=begun.returncode, said=said, then=ended.returncode)
        where = f"disk of {share:.0%} of the need"
        drill.at_most(f"{where}: half a package, or a traceback", half + traced, 0)
        drill.at_least(f"{where}: goes on when there is room", whole_again, 1)


def disk_full_uploads(drill: Drill) -> None:
    """A service whose disk for uploads and jobs fills up."""
    with _disk(drill.folder / "disk", 4_000_000) as disk:
        settings = {"TMPDIR": str(disk), "SEG_JOBS_FILES": str(disk / "jobs")}
        with servers.seg(drill.package(), **settings) as server:
            base = f"http://127.0.0.1:{server.port}"
            for path in ("/segment", "/jobs"):
                send = partial(httpx.post, base + path, timeout=60)
                with ThreadPoolExecutor(4) as pool:
                    sent = [pool.submit(send, content=NOISY) for _ in range(4)]
                statuses = Counter(str(each.result().status_code) for each in sent)
                said = sorted({e.result().text for e in sent if e.result().status_code >= 500})
                after = send(content=picture((64, 64), 0)).status_code
                drill.saw(path=path, **statuses, said=said, small_one_after=after)
                drill.at_most(f"{path}: answers of 500, or none", statuses["500"], 0)
                drill.at_most(f"{path}: status of a small upload after it", after, 299)


def altered_package(drill: Drill) -> None:
    """Each file of a package with one byte changed, again and again, is loaded and proven."""
    package, rng = drill.package(), random.Random(drill.seed)
    known = ModelPackage.load(package).card
    for file in sorted(package.iterdir()):
        content, seen = file.read_bytes(), Counter[str]()
        try:
            for _ in range(FLIPS):
                at = rng.randrange(len(content))
                changed = bytearray(content)
                changed[at] ^= 1 << rng.randrange(8)
                file.write_bytes(changed)
                seen[_taken(package, known)] += 1
        finally:
            file.write_bytes(content)
        drill.saw(file=file.name, flips=FLIPS, **seen)
        drill.at_most(f"{file.name}: altered, and taken", seen["taken"], 0)
        drill.at_most(f"{file.name}: other errors than one sentence", seen["crash"], 0)


def _taken(package: Path, known: object) -> str:
    try:
        loaded = ModelPackage.load(package)
        verify_golden(loaded, load_backend(loaded))
    except SegError:
        return "refused"
    except Exception:
        return "crash"
    return "without effect" if loaded.card == known else "taken"


def _loads(package: Path) -> bool:
    try:
        ModelPackage.load(package)
    except SegError:
        return False
    return True


@contextmanager
def _disk(place: Path, size: int) -> Iterator[Path]:
    """A disk of so many bytes; only root can mount one."""
    place.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", place], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


def _resize(place: Path, size: int) -> None:
    subprocess.run(["mount", "-o", f"remount,size={size}", "none", place], check=True)
