"""``python deploy/install.py ARGUMENTS``: does ``pip install ARGUMENTS``, with uv where it can.

uv unpacks eight gigabytes in half a minute where pip takes five, but knows nothing of pip's
settings: a hospital's mirror, its certificate, its proxy. They are read here and told to uv. Where
uv has no word for one of them, where uv is not to be had, and where it fails, pip itself does it.
"""

import ast
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

UV = "uv==0.13.9"

SAME = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "constraint": "UV_CONSTRAINT",
    "trusted-host": "UV_INSECURE_HOST",
    "no-cache-dir": "UV_NO_CACHE",
    "timeout": "UV_HTTP_TIMEOUT",
    "default-timeout": "UV_HTTP_TIMEOUT",
    "cert": "SSL_CERT_FILE",
    "client-cert": "SSL_CLIENT_CERT",
    "proxy": "ALL_PROXY",
}
"""Name of pip's setting to the variable that says the same to uv."""

LISTS = {"find-links": ","}
"""What stands between several values in uv's variable, where it is no space as in pip's."""

OF_NO_MATTER = {
    "break-system-packages",
    "cache-dir",
    "compile",
    "config-file",
    "disable-pip-version-check",
    "no-color",
    "no-compile",
    "no-input",
    "no-warn-script-location",
    "progress-bar",
    "quiet",
    "require-virtualenv",
    "retries",
    "root-user-action",
    "verbose",
}
"""pip's settings that do not say what is installed, nor where from."""

PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check")


def main(arguments: list[str]) -> int:
    """Exit status of the one that installed."""
    variables = said_to_uv(pip_settings())
    if isinstance(variables, str):
        reason = f"pip is configured with {variables}, which uv does not know"
    else:
        with tempfile.TemporaryDirectory(prefix="seg-install-") as folder:
            reason = why_not_by_uv(arguments, variables, Path(folder))
    if not reason:
        return 0
    print(f"installing with pip, since {reason}; some minutes more", flush=True)
    command = [*PIP, "install", "--quiet", "--no-compile", *arguments]
    return subprocess.run(command, check=False).returncode


def why_not_by_uv(arguments: list[str], variables: Mapping[str, str], folder: Path) -> str:
    """Empty where uv, put into a folder for it alone, has installed everything."""
    fetched = subprocess.run(
        [*PIP, "install", "--quiet", "--no-deps", "--target", folder, UV],
        check=False,
        capture_output=True,
    )
    if fetched.returncode:
        return f"{UV} cannot be had"
    quiet = () if sys.stderr.isatty() else ("--quiet",)
    command = [folder / "bin" / "uv", "pip", "install", "--python", sys.executable, *quiet]
    environment = {**variables, **os.environ}
    done = subprocess.run([*command, *arguments], check=False, env=environment)
    return "uv could not" if done.returncode else ""


def pip_settings() -> dict[str, str]:
    """What pip is configured with, by files and by variables, which count more."""
    listed = subprocess.run([*PIP, "config", "list"], check=True, capture_output=True, text=True)
    told: dict[str, dict[str, str]] = {"global": {}, "install": {}, ":env:": {}}
    for line in listed.stdout.splitlines():
        place, _, value = line.partition("=")
        section, _, name = place.rpartition(".")
        if section in told:
            told[section][name.replace("_", "-")] = ast.literal_eval(value)
    return told["global"] | told["install"] | told[":env:"]


def said_to_uv(settings: Mapping[str, str]) -> dict[str, str] | str:
    """The variables that tell uv the same, or the name of a setting that cannot be told.

    pip takes the best release of all indexes, and trusts what the system trusts; so must uv.
    """
    variables = {"UV_INDEX_STRATEGY": "unsafe-best-match", "UV_SYSTEM_CERTS": "1"}
    for name, value in settings.items():
        if name in SAME:
            variables[SAME[name]] = LISTS.get(name, " ").join(value.split())
        elif name not in OF_NO_MATTER:
            return name
    return variables


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
