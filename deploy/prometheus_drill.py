"""Lets a real Prometheus scrape a running service, and asks it every query of the dashboard.

Needs ``prometheus`` on the PATH (Debian: apt-get install prometheus).
Usage: python deploy/prometheus_drill.py PACKAGE IMAGE
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import servers

DASHBOARD = Path(__file__).parent / "grafana" / "segmenter.json"
LOAD_S = 15


def main() -> None:
    package, image = Path(sys.argv[1]), Path(sys.argv[2])
    with tempfile.TemporaryDirectory() as name, servers.seg(package) as service:
        folder, port = Path(name), servers.free_port()
        (folder / "prometheus.yml").write_text(
            "scrape_configs:\n- job_name: seg\n  scrape_interval: 1s\n  static_configs:\n"
            f"  - targets: ['127.0.0.1:{service.port}']\n"
        )
        prometheus = subprocess.Popen(
            ["prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={name}",
             f"--web.listen-address=127.0.0.1:{port}", "--log.level=error"]
        )  # fmt: skip
        try:
            servers.wait_for(port, "/-/ready", prometheus)
            base, end = f"http://127.0.0.1:{service.port}", time.monotonic() + LOAD_S
            body = image.read_bytes()
            while time.monotonic() < end:
                httpx.post(f"{base}/segment", content=body, timeout=60).raise_for_status()
                httpx.post(f"{base}/segment", content=b"no image", timeout=60)
            answered = [_answered(port, query) for query in queries()]
            sys.exit(not all(answered))
        finally:
            prometheus.terminate()
            prometheus.wait(30)


def queries() -> list[tuple[str, str]]:
    """Title and expression of every panel."""
    panels = json.loads(DASHBOARD.read_text())["panels"]
    return [(panel["title"], each["expr"]) for panel in panels for each in panel["targets"]]


def _answered(port: int, query: tuple[str, str]) -> bool:
    title, expression = query
    answer = httpx.get(f"http://127.0.0.1:{port}/api/v1/query", params={"query": expression})
    result = answer.json().get("data", {}).get("result", [])
    found = {"/".join(each["metric"].values()): each["value"][1] for each in result}
    print(f"{title}: {found or 'NOTHING'}")
    return bool(result)


if __name__ == "__main__":
    main()
