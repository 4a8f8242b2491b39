#!/usr/bin/env python3
"""Draws what the index costs at each size, from the JSON of `cairn bench index`.

  for n in 1000 10000 100000; do cairn bench index --vectors FILE.npy --queries FILE.npy --size $n --json; done > figures.jsonl
  tests/plot.py figures.jsonl tests/data/index.svg        (needs matplotlib)

The drawing in the repository is of tests/data/index-figures.jsonl: real embeddings of short sentences, and beyond 27,928
of them such with noise.

Every point is a figure of the file; a case that was not measured at a size has no point there."""
import json
import sys

import matplotlib

matplotlib.use("svg")
matplotlib.rcParams["svg.fonttype"] = "none"  # words stay words, which is small
matplotlib.rcParams["svg.hashsalt"] = "cairn"  # the same figures give the same file
import matplotlib.pyplot as plt

SEARCHES = {
    "scan": "all compared",
    "walk-64": "graph, effort 64",
    "walk-128": "graph, effort 128",
    "filtered-1": "as planned, no filter",
    "filtered-1e-1": "as planned, 1 of 10 admitted",
    "filtered-1e-2": "as planned, 1 of 100 admitted",
}


def read(path):
    """Microseconds of CPU and recall by case and size; bytes by size."""
    costs, space, size = {}, {}, None
    with open(path, encoding="utf-8") as lines:
        for line in map(json.loads, lines):
            if line.get("bench") != "index":
                continue
            if "width" in line:
                size = line["vectors"]
            elif "memory_bytes_each" in line:
                space[size] = (line["memory_bytes_each"], line["file_bytes_each"])
            elif "ops_per_s" in line:
                # Told in whole microseconds; below twenty the rate says more.
                cpu = 1e3 * (line["cpu_ms_per_op"] or 0)
                cost = cpu if cpu >= 20 else 1e6 / line["ops_per_s"]
                costs.setdefault(line["case"], {})[size] = (cost, line.get("recall"))
    return costs, space


def main():
    figures, target = sys.argv[1:]
    costs, space = read(figures)
    if not space:
        sys.exit(f"{figures} holds no figures of `cairn bench index --json`")
    left, right = plt.subplots(1, 2, figsize=(10, 4))[1]
    for case, label in SEARCHES.items():
        points = sorted(costs.get(case, {}).items())
        if not points:
            continue
        sizes, values = zip(*points)
        (line,) = left.plot(sizes, [cost for cost, _ in values], marker="o", label=label)
        for size, (cost, recall) in points:
            if recall is not None and recall < 0.9995:
                left.annotate(f"{recall:.3f}", (size, cost), fontsize=7, color=line.get_color(), xytext=(4, 4), textcoords="offset points")
    left.set(xscale="log", yscale="log", xlabel="memories", ylabel="µs of CPU a query (recall@10 where below 1)")
    left.legend(fontsize=7)
    for case, label in (("add", "taking a vector in"), ("build", "its place in a graph")):
        points = sorted(costs.get(case, {}).items())
        if points:
            right.plot([size for size, _ in points], [cost for _, (cost, _) in points], marker="o", label=f"{label}, µs")
    sizes = sorted(space)
    right.plot(sizes, [space[size][0] for size in sizes], marker="s", linestyle=":", label="memory, bytes")
    right.plot(sizes, [space[size][1] for size in sizes], marker="s", linestyle=":", label="mapped files, bytes")
    right.set(xscale="log", yscale="log", xlabel="memories", ylabel="a memory")
    right.legend(fontsize=7)
    plt.tight_layout()
    plt.savefig(target, metadata={"Date": None})


main()
