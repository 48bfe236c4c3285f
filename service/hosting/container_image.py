"""The image of a bento: what installs stays in a first stage, what serves is in the last.

BentoML's Dockerfile has one stage and no ``HEALTHCHECK``, and takes commands only, each of which it
writes behind a ``RUN``. So the last stage is written as the lines that follow such a command. What
BentoML writes behind it gives the code to the user that serves and exposes a port on which nothing
listens: that is mended in the bento's Dockerfile, from which `service.build --image` builds.
``bentoml containerize`` writes the same Dockerfile anew, without what is mended.
"""

# BentoML is read as untyped.
# mypy: disable-error-code="misc"

import shlex
import shutil
from pathlib import Path
from typing import Any

from bentoml.images import Image

from seg.errors import ConfigError

BASE = "python:3.11-slim"
USER_ID = 1034

HEALTH = (
    "import os, urllib.request as r; r.build_opener(r.ProxyHandler({})).open("
    "'http://127.0.0.1:%s/readyz' % os.environ.get('BENTOML_PORT', '3000'), timeout=4)"
)
"""Without curl, which the image lacks, and without the proxies of the environment: none of them
leads to this container."""

PACKAGES = "/app/.venv/lib/python3.11/site-packages"
WITHOUT_TESTS = "find /app/.venv -type d -name tests -prune -exec rm -rf {} +"
"""Libraries bring theirs, 60 MB of them."""
WITHOUT_SOURCES = (
    r"find /app/.venv -type f \( -name '*.pxd' -o -name '*.pyx' -o -name '*.[ach]'"
    r" -o -name '*.hpp' \) -delete"
    f" && rm -rf {PACKAGES}/onnxruntime/transformers {PACKAGES}/onnxruntime/quantization"
    f" {PACKAGES}/onnxruntime/tools {PACKAGES}/sqlalchemy/testing"
)
"""What compilers read (not .pyi: scikit-image loads its parts by them), and tools for networks."""
STRIPPED = "stripped.py"
WITHOUT_SYMBOLS = f"python env/python/{STRIPPED} /app/.venv"
"""What linkers and debuggers read of compiled modules, 100 MB of it."""
WITHOUT_BYTECODE = "find /app/.venv -type d -name __pycache__ -prune -exec rm -rf {} +"
"""100 MB of it; the last stage writes anew what serving imports, which is half."""
OWNED, PORT = "COPY --chown=bentoml:bentoml . ./", "# Expose Prometheus port\nEXPOSE 3001\n"
"""What BentoML writes behind our stage."""
OWNED_BY_ROOT = (
    "COPY . ./\n"
    "# The bytecode of all that serving imports: a root that cannot be written keeps none.\n"
    "RUN cd src && python -m service.hosting.compiled && "
    "python -m service.hosting.bill > /sbom.cdx.json"
)
CONSTRAINTS = "constraints.txt"

LAST_STAGE = """true

# Nothing that installs or compiles; all that is written lies in /tmp and /jobs.
FROM {base}
RUN python -m pip uninstall --yes --quiet --root-user-action ignore pip setuptools wheel ; \\
    groupadd -g {user} bentoml && useradd -M -u {user} -g {user} -r bentoml && \\
    install -d -o bentoml -g bentoml -m 700 /jobs
ENV LANG=C.UTF-8 LC_ALL=C.UTF-8 PYTHONIOENCODING=UTF-8 PYTHONUNBUFFERED=1
ENV BENTO_PATH=/home/bentoml/bento BENTOML_CONTAINERIZED=true BENTOML_HOME=/tmp/bentoml
ENV XDG_CACHE_HOME=/tmp/cache SEG_JOBS_FILES=/jobs
ENV VIRTUAL_ENV=/app/.venv PATH=/app/.venv/bin:${{PATH}}
{variables}
COPY --from=base-container --chown=root:root /app/.venv /app/.venv
WORKDIR /home/bentoml/bento
VOLUME /jobs
HEALTHCHECK --interval=10s --timeout=5s --start-period=90s --retries=6 \\
    CMD ["python", "-c", "{health}"]"""


class ServiceImage(Image):
    """A BentoML image of two stages, with the versions that were tested and audited."""

    def freeze(self, bento_fs: Path, envs: list[Any], platform_: str | None = None) -> Any:
        """Write the Dockerfile and what it needs."""
        variables = "\n".join(
            f"ENV {each.name}={shlex.quote(each.value)}" for each in envs if each.value
        )
        stage = LAST_STAGE.format(base=BASE, user=USER_ID, variables=variables, health=HEALTH)
        shrink = (WITHOUT_TESTS, WITHOUT_SOURCES, WITHOUT_SYMBOLS, WITHOUT_BYTECODE)
        self.post_commands = [*shrink, stage]
        info = super().freeze(bento_fs, envs, platform_)
        dockerfile = bento_fs / "env" / "docker" / "Dockerfile"
        dockerfile.write_text(_owned_by_root(dockerfile.read_text()))
        for path in (bento_fs, *bento_fs.rglob("*")):  # of root, and read by the user that serves
            path.chmod(path.stat().st_mode | (0o555 if path.is_dir() else 0o444))
        python = bento_fs / "env" / "python"
        shutil.copy(bento_fs / "src" / CONSTRAINTS, python)
        shutil.copy(Path(__file__).with_name(STRIPPED), python)
        required = python / "requirements.txt"
        required.write_text(f"--constraint {CONSTRAINTS}\n{required.read_text()}")
        return info


def _owned_by_root(dockerfile: str) -> str:
    """With the last stage's code and model of root, and no port but the one that serves."""
    first, ours, last = dockerfile.partition("# Nothing that installs or compiles")
    for written, meant in ((OWNED, OWNED_BY_ROOT), (PORT, "")):
        if written not in last:
            raise ConfigError(f"BentoML writes its Dockerfile in another way now: no {written!r}")
        last = last.replace(written, meant)
    return first + ours + last
