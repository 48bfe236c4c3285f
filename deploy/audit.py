"""``make audit``: known vulnerabilities of what is pinned, and a bill of materials (CycloneDX).

The tools live in an environment of their own, build/audit-env, and come from the package index that
pip is configured for. Writes build/sbom.cdx.json and build/audit.json. Ends with 0 only where every
pinned package was looked up and none is known to be vulnerable, with 1 where something is wrong,
and with 3 where the vulnerability service could not be reached: the bill is written all the same.
Usage: python deploy/audit.py [--service pypi|osv]
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, NoReturn

ROOT = Path(__file__).parents[1]
BUILD = ROOT / "build"
TOOLS = ("pip-audit==2.10.1", "cyclonedx-bom==7.5.0")
CONSTRAINTS = ROOT / "constraints.txt"
PROBE = "pip==24.0"
"""Known to every service that works, and known to have vulnerabilities."""

NOT_AUDITED = 3
"""Exit status; 1 is that of findings and errors, 2 that of a wrong command."""

UNREACHABLE = (
    "the vulnerability service {service} cannot be reached from here, so nothing was audited; run "
    "make audit where it can be reached, or choose the other one: "
    "python deploy/audit.py --service {other}"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--service", choices=("pypi", "osv"), default="pypi")
    service = parser.parse_args().service
    BUILD.mkdir(exist_ok=True)
    tools = installed_tools()
    sbom, audit = BUILD / "sbom.cdx.json", BUILD / "audit.json"
    audit.unlink(missing_ok=True)  # an older one would be taken for today's
    run(
        [
            *(tools / "cyclonedx-py", "environment", sys.executable),
            *("--pyproject", ROOT / "pyproject.toml", "--output-format", "JSON", "-o", sbom),
        ]
    )
    print(f"{len(json.loads(sbom.read_text())['components'])} components in {sbom}")
    probe = BUILD / "audit-probe.txt"
    probe.write_text(PROBE + "\n", encoding="utf-8")
    seen = audited(tools, probe, service)
    if seen is None or not seen["dependencies"][0].get("vulns"):
        other = "osv" if service == "pypi" else "pypi"
        not_audited(UNREACHABLE.format(service=service, other=other))
    report = audited(tools, CONSTRAINTS, service)
    if report is None:
        not_audited(
            f"the vulnerability service {service} broke off, so not all was audited; try again"
        )
    audit.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    findings = findings_of(report)
    print(
        "\n".join(findings) or f"no known vulnerability in {len(report['dependencies'])} packages"
    )
    sys.exit(bool(findings))


def installed_tools() -> Path:
    """Folder of the tools' commands."""
    folder = BUILD / "audit-env"
    mark = folder / f"ready-{'-'.join(TOOLS)}"
    if not mark.exists():
        print("installing the audit's tools into build/audit-env, once")
        run([sys.executable, "-m", "venv", "--clear", folder])
        pip = [folder / "bin" / "python", "-m", "pip", "install", "--quiet"]
        run([*pip, "--disable-pip-version-check", *TOOLS])
        mark.touch()
    return folder / "bin"


def audited(tools: Path, requirements: Path, service: str) -> dict[str, Any] | None:
    """pip-audit's report; None where the service cannot be asked."""
    ended = subprocess.run(
        [
            *(tools / "pip-audit", "-r", requirements, "--no-deps", "--disable-pip"),
            *("-s", service, "-f", "json", "--progress-spinner", "off"),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        report: dict[str, Any] = json.loads(ended.stdout)
    except ValueError:
        return None
    return report


def findings_of(report: dict[str, Any]) -> list[str]:
    """What is wrong, a line each: what is vulnerable, and what could not be looked up.

    pip-audit calls a package that its service does not know a success.
    """
    lines = []
    for package in report["dependencies"]:
        name = f"{package['name']} {package.get('version', '')}".strip()
        if "skip_reason" in package:
            lines.append(f"{name}: not audited: {package['skip_reason']}")
        for each in package.get("vulns", ()):
            fixed = ", ".join(each["fix_versions"]) or "no version yet"
            lines.append(f"{name}: {each['id']}, fixed in {fixed}")
    return lines


def not_audited(why: str) -> NoReturn:
    """End with a status of its own: who has no network wants to tell that from a finding."""
    print(why, file=sys.stderr)
    sys.exit(NOT_AUDITED)


def run(command: list[str | Path]) -> None:
    ended = subprocess.run([str(part) for part in command], stdout=subprocess.DEVNULL)
    if ended.returncode:
        sys.exit(f"{Path(command[0]).name} failed with status {ended.returncode}, as it says above")


if __name__ == "__main__":
    main()
