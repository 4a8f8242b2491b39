"""Compares the precisions of a model: what a vector loses, and whether anything is found that was found before.

    cargo build --release
    python models/fidelity.py --data DIR [--cairn target/release/cairn] [--model NAME] [--json]

DIR holds the evaluation sets: `locomo/dev` and `locomo_facts/dev` with memories.jsonl and queries.jsonl, and
`stsb_multi/dev` with pairs.jsonl. For each precision the table has the cosine with 32-bit floats (mean and least, over
turns, questions and sentences), the recall of the engine's own searches over turns and over facts (fractional, among the
first ten, adversarial questions left out, in percent), that over turns by meaning alone (`ACTOR: text`, whole questions),
and the Spearman correlation with the judged likeness of English sentences. A manifest may say `"int8": "checked"` where
the engine finds at most 0.2 points less with bytes than with floats, over the questions of both sets: one set by itself
moves by that much between floats of 32 and of 16 bits. `--within` changes the bound, and a precision beyond it makes the
script fail.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

PRECISIONS = ["f32", "bf16", "int8"]
NEAREST = 10


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the evaluation sets")
    parser.add_argument("--cairn", default="target/release/cairn", help="the binary (default target/release/cairn)")
    parser.add_argument("--model", help="name or folder of the model (default: the one in the binary)")
    parser.add_argument("--within", type=float, default=0.2, help="points of recall that may be lost (default 0.2)")
    parser.add_argument("--json", action="store_true", help="one object a precision instead of a table")
    options = parser.parse_args()

    memories, queries = conversation(options.data / "locomo/dev")
    facts = conversation(options.data / "locomo_facts/dev")
    pairs = [p for p in read(options.data / "stsb_multi/dev/pairs.jsonl") if p["lang"] == "en"]
    documents = [f"{m['speaker']}: {m['text']}" for m in memories]
    questions = [q["query"] for q in queries]
    left, right = [p["a"] for p in pairs], [p["b"] for p in pairs]

    rows, base = [], None
    for precision in PRECISIONS:
        vectors = embed(options, precision, "document", documents + left + right)
        asked = embed(options, precision, "query", questions)
        if base is None:
            base = (vectors, asked)
        cosines = np.concatenate([(vectors * base[0]).sum(1), (asked * base[1]).sum(1)])
        n = len(documents)
        likeness = (vectors[n : n + len(left)] * vectors[n + len(left) :]).sum(1)
        turns = 100 * share(queries, found(options, precision, memories, queries))
        told = 100 * share(facts[1], found(options, precision, *facts))
        n_questions = len(queries) + len(facts[1])
        rows.append(
            {
                "precision": precision,
                "cosine_mean": float(cosines.mean()),
                "cosine_least": float(cosines.min()),
                "recall_10": (len(queries) * turns + len(facts[1]) * told) / n_questions,
                "turns_10": turns,
                "facts_10": told,
                "dense_10": 100 * share(queries, nearest(memories, queries, vectors[:n], asked)),
                "spearman": 100 * spearman(likeness, np.array([p["score"] for p in pairs])),
            }
        )
    for row in rows:
        if options.json:
            print(json.dumps(row))
        else:
            print("{precision:>5}  cosine mean {cosine_mean:.6f} least {cosine_least:.6f}".format(**row), end="  ")
            print("R@10 {recall_10:.2f} (turns {turns_10:.2f}, facts {facts_10:.2f}".format(**row), end=", ")
            print("turns by meaning {dense_10:.2f})  Spearman {spearman:.2f}".format(**row))
    worst = max(rows[0]["recall_10"] - row["recall_10"] for row in rows)
    if worst > options.within:
        sys.exit(f"error: {worst:.2f} points of recall are lost, more than {options.within}")


def conversation(folder):
    """Memories, and the questions that have an answer among them."""
    questions = [q for q in read(folder / "queries.jsonl") if q["category"] != "adversarial"]
    return read(folder / "memories.jsonl"), questions


def read(file):
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def run(options, precision, data, arguments, lines):
    """What the binary prints, a line each."""
    command = [options.cairn, *arguments]
    if options.model:
        command += ["--model", options.model]
    settings = {"CAIRN_DATA": data, "CAIRN_PRECISION": precision, "CAIRN_CACHE_DISK_MB": "0"}
    done = subprocess.run(
        command, input=lines, capture_output=True, text=True, encoding="utf-8", check=False, env=os.environ | settings
    )
    if done.returncode != 0:
        sys.exit(f"error: {' '.join(command)}: {done.stderr.strip()}")
    return done.stdout.splitlines()


def embed(options, precision, purpose, texts):
    """One unit vector a text, in order; line breaks become spaces."""
    lines = "\n".join(" ".join(text.split()) for text in texts) + "\n"
    with tempfile.TemporaryDirectory() as data:
        out = run(options, precision, data, ["embed", "--jsonl", "--purpose", purpose], lines)
    vectors = np.array([json.loads(line)["vector"] for line in out])
    if len(vectors) != len(texts):
        sys.exit(f"error: {len(vectors)} vectors for {len(texts)} texts")
    return vectors


def found(options, precision, memories, queries):
    """The turns that the engine finds for each question, by their ids."""
    turns = [
        {
            "text": m["text"] + (f" [image: {m['image_caption']}]" if m.get("image_caption") else ""),
            "user": m["scope"],
            "run": str(m["session"]),
            "actor": m["speaker"],
            "at": m["time"] + "Z",
            "key": m["id"],
        }
        for m in memories
    ]
    asked = [{"query_id": q["id"], "query": q["query"], "user": q["scope"]} for q in queries]
    with tempfile.TemporaryDirectory() as data, tempfile.TemporaryDirectory() as files:
        for name, rows in [("turns", turns), ("questions", asked)]:
            Path(files, name).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        run(options, precision, data, ["import", str(Path(files, "turns"))], "")
        search = ["search", "--queries", str(Path(files, "questions")), "--limit", str(NEAREST), "--jsonl"]
        out = run(options, precision, data, search, "")
    return [{hit["key"] for hit in json.loads(line)["hits"]} for line in out]


def nearest(memories, queries, vectors, asked):
    """The turns of the same conversation whose vectors are nearest to each question's, by their ids."""
    scopes, out = {}, []
    for place, memory in enumerate(memories):
        scopes.setdefault(memory["scope"], []).append(place)
    for query, vector in zip(queries, asked):
        places = scopes[query["scope"]]
        order = np.argsort(-(vectors[places] @ vector), kind="stable")[:NEAREST]
        out.append({memories[places[i]]["id"] for i in order})
    return out


def share(queries, found):
    """The mean share of the relevant turns among those found."""
    shares = [len(ids & set(q["relevant"])) / len(set(q["relevant"])) for q, ids in zip(queries, found)]
    return sum(shares) / len(shares)


def spearman(a, b):
    """Ties have the mean of their ranks."""
    a, b = ranks(a), ranks(b)
    return float(np.corrcoef(a, b)[0, 1])


def ranks(values):
    order = np.argsort(values, kind="stable")
    out = np.empty(len(values))
    i = 0
    while i < len(order):
        j = i
        while j + 1 < len(order) and values[order[j + 1]] == values[order[i]]:
            j += 1
        out[order[i : j + 1]] = (i + j) / 2
        i = j + 1
    return out


if __name__ == "__main__":
    main()
