"""The image of a bento: what installs stays in a first stage, what serves is in the last.

BentoML's Dockerfile has one stage and no ``HEALTHCHECK``, and takes commands only, each of which it
writes behind a ``RUN``. So the last stage is written as the lines that follow such a command, and
``bentoml containerize`` finds it in the bento like any other.
"""

# BentoML is read as untyped.
# mypy: disable-error-code="misc"

import shlex
import shutil
from pathlib import Path
from typing import Any

from bentoml.images import Image

BASE = "python:3.11-slim"
USER_ID = 1034

HEALTH = (
    "import os, urllib.request as r; r.build_opener(r.ProxyHandler({})).open("
    "'http://127.0.0.1:%s/readyz' % os.environ.get('BENTOML_PORT', '3000'), timeout=4)"
)
"""Without curl, which the image lacks, and without the proxies of the environment: none of them
leads to this container."""

WITHOUT_TESTS = "find /app/.venv -type d -name tests -prune -exec rm -rf {} +"
"""Libraries bring theirs, 60 MB of them."""
CONSTRAINTS = "constraints.txt"

LAST_STAGE = """true

# Nothing that installs or compiles; all that is written lies in /tmp and /jobs.
FROM {base}
RUN python -m pip uninstall --yes --quiet --root-user-action ignore pip setuptools wheel ; \\
    groupadd -g {user} bentoml && useradd -m -u {user} -g {user} -r bentoml && \\
    install -d -o bentoml -g bentoml -m 700 /jobs
ENV LANG=C.UTF-8 LC_ALL=C.UTF-8 PYTHONIOENCODING=UTF-8 PYTHONUNBUFFERED=1
ENV BENTO_PATH=/home/bentoml/bento BENTOML_CONTAINERIZED=true BENTOML_HOME=/tmp/bentoml
ENV XDG_CACHE_HOME=/tmp/cache SEG_JOBS_FILES=/jobs
ENV VIRTUAL_ENV=/app/.venv PATH=/app/.venv/bin:${{PATH}}
{variables}
COPY --from=base-container /app/.venv /app/.venv
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
        self.post_commands = [WITHOUT_TESTS, stage]
        info = super().freeze(bento_fs, envs, platform_)
        python = bento_fs / "env" / "python"
        shutil.copy(bento_fs / "src" / CONSTRAINTS, python)
        required = python / "requirements.txt"
        required.write_text(f"--constraint {CONSTRAINTS}\n{required.read_text()}")
        return info
