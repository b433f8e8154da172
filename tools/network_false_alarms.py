"""Hold correct evaluations of drawn networks in random orders against the networks' bounds.

No evaluation may be wrong; the share of suspicious ones is counted.

    python tools/network_false_alarms.py --networks 300 --answers 40 -o alarms.json
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from drawn_networks import draw_network
from reordered import evaluate_reordered

from conformance.networks.bounds import trace_bounds

DTYPES = ("float32", "bfloat16", "float16")


def check_network(seed: int, answers: int) -> list[dict[str, Any]]:
    """One network in each dtype: torch's own answer, and others in random orders."""
    torch.set_num_threads(1)
    rows = []
    for dtype in DTYPES:
        network, x = draw_network(seed)
        network, x = network.to(getattr(torch, dtype)), x.to(getattr(torch, dtype))
        want = trace_bounds(network, (x,), {}, None)
        row: dict[str, Any] = {"seed": seed, "dtype": dtype, "names": network.names}
        if want.uncertified:
            rows.append(row | {"uncertified": want.uncertified})
            continue
        with torch.no_grad():
            margins = [want.examine(network(x))]
        margins += [want.examine(evaluate_reordered(network, x, k)) for k in range(answers)]
        row["ratio"] = max(m.ratio for m in margins)
        row["suspicion"] = max(m.suspicion for m in margins)
        row["answers"] = len(margins)
        row["wrong"] = sum(m.ratio > 1 for m in margins)
        row["suspicious"] = sum(m.suspicion > 1 for m in margins)
        rows.append(row)
    return rows


def main() -> int:
    """Run the networks, print the counts, and write the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--first", type=int, default=0, help="first seed")
    parser.add_argument("--networks", type=int, default=50)
    parser.add_argument("--answers", type=int, default=20, help="of each network and dtype")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("-o", "--output", help="a JSON file for the rows")
    options = parser.parse_args()
    seeds = range(options.first, options.first + options.networks)
    with ProcessPoolExecutor(options.jobs) as pool:
        rows_by_network = pool.map(check_network, seeds, [options.answers] * len(seeds))
        rows = [row for rows_of_one in rows_by_network for row in rows_of_one]
    for dtype in DTYPES:
        count: Counter[str] = Counter()
        for row in (x for x in rows if x["dtype"] == dtype):
            count["networks"] += 1
            count["uncertified"] += "uncertified" in row
            for key in ("answers", "wrong", "suspicious"):
                count[key] += row.get(key, 0)
        largest = max((x.get("ratio", 0) for x in rows if x["dtype"] == dtype), default=0)
        print(dtype, dict(count), f"largest error ÷ bound {largest:.3g}")
    if options.output:
        Path(options.output).write_text(json.dumps(rows, default=str) + "\n", encoding="utf-8")
    return int(any(row.get("wrong") for row in rows))


if __name__ == "__main__":
    raise SystemExit(main())
