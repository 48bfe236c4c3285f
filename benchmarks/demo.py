"""What `make demo` reached, from the folder that it leaves: `python benchmarks/demo.py runs/demo`.

Dice, its interval over held-back images, the pooled Dice, the best plain threshold, and the objects
counted, for each class; how many of the planned steps were taken.
"""

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path[0] = str(Path(__file__).parents[1])

from benchmarks.result import report  # noqa: E402


def rows_of(run: Path) -> list[dict[str, Any]]:
    """One row a class, and one of the training."""
    scores = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    card = json.loads((run / "package" / "model.json").read_text(encoding="utf-8"))
    made: Mapping[str, Any] = card["provenance"]
    rows: list[dict[str, Any]] = [
        {
            "dataset": made["dataset"],
            "seed": made["seed"],
            "steps": made["steps"],
            "planned_steps": made["expected_steps"],
        }
    ]
    for name, info in scores["summary"].items():
        if name == "foreground":
            continue
        row = {
            "class": name,
            "images": info["cases"],
            "dice": info["dice"],
            "dice_ci95": info["ci95"],
            "pooled": info["dice_pooled"],
            "thresholding": info["floor"],
        }
        if objects := (scores.get("objects") or {}).get(name):
            row |= {
                "counted": objects["predicted"],
                "annotated": objects["reference"],
                "ap_50": objects["measures"]["ap_50"]["value"],
                "ap_50_ci95": objects["measures"]["ap_50"]["ci95"],
                "components_ap_50": objects["floor"]["ap_50"],
            }
        rows.append(row)
    return rows


def main() -> None:
    """Print the rows; write them with `--json`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="what the demo left")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    rows = rows_of(options.run)
    for row in rows:
        print("  ".join(f"{key} {value}" for key, value in row.items()))
    report("demo", rows, [], ("seg", "torch", "monai", "onnxruntime-gpu"), options.json)


if __name__ == "__main__":
    main()
