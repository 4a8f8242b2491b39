"""The same rows as `cairn bench store`, in SQLite (WAL, synchronous FULL) on the same disk, in turns with it.

    python3 tests/peers/store_sqlite.py target/release/cairn [--dir DIR] [--repeats N]

Prints one JSON object a line: each side's rate and the ratio of neighbours, ours to SQLite's. SQLite runs in one thread
with the batches given to it whole, which is the best that a writer in front of it could do; the rows of a batch go to
`executemany`, so that Python takes a small part of the time.
"""
import argparse
import json
import os
import random
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time

TABLES = ("memory", "place", "entry", "vector", "change", "meta")
ADDS = {1: 200, 128: 4096}
MEMORIES = 20_000


def rows(first, count, rng):
    """Rows of so many memories by table, with the keys and sizes of ours."""
    out = {table: [] for table in TABLES}
    hashes = []
    for number in range(first, first + count):
        ident = (0x01970000_00007000 + number).to_bytes(8, "big") + rng.randbytes(8)
        text = ident.hex().encode() + b"----"
        user = b"user-%02d" % (number % 50)
        same_text = b"x" + rng.randbytes(16)
        hashes.append(same_text)
        out["memory"].append((ident, bytes(290)))
        out["place"] += [(same_text, ident), (b"f0" + user + b"\0" + ident, b""), (b"u" + user, bytes(8))]
        out["entry"].append((text, bytes(240)))
        out["vector"].append((text, rng.randbytes(772)))
        out["change"].append((number.to_bytes(8, "big"), text + b"\0\0"))
    out["meta"].append((b"head", first.to_bytes(8, "big")))
    users = [(b"cuser-%02d" % (number % 50),) for number in range(first, first + count)]
    return out, hashes, users


class Store:
    def __init__(self, path):
        self.path = path
        self.db = sqlite3.connect(path, isolation_level=None)
        self.db.execute("PRAGMA journal_mode=WAL")
        self.db.execute("PRAGMA synchronous=FULL")
        self.db.execute("PRAGMA cache_size=-65536")
        for table in TABLES:
            self.db.execute(f"CREATE TABLE {table} (k BLOB PRIMARY KEY, v BLOB NOT NULL) WITHOUT ROWID")

    def commit(self, batch):
        tables, hashes, users = batch
        db = self.db
        db.execute("BEGIN IMMEDIATE")
        for same_text in hashes:
            assert db.execute("SELECT 1 FROM place WHERE k=?", (same_text,)).fetchone() is None
        for table in TABLES:
            db.executemany(f"INSERT OR REPLACE INTO {table} VALUES (?, ?)", tables[table])
        db.executemany("INSERT INTO place VALUES (?, 1) ON CONFLICT(k) DO UPDATE SET v = v + 1", users)
        db.execute("COMMIT")

    def get(self, keys):
        marks = ",".join("?" * len(keys))
        return self.db.execute(f"SELECT v FROM memory WHERE k IN ({marks})", keys).fetchall()

    def bytes(self):
        self.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return os.path.getsize(self.path)

    def close(self):
        self.db.close()


def adds_a_second(directory, size):
    rng = random.Random(size)
    with tempfile.TemporaryDirectory(dir=directory) as folder:
        store = Store(os.path.join(folder, "store.db"))
        store.commit(rows(0, 1, rng))
        batches = [rows(1 + start, size, rng) for start in range(0, ADDS[size], size)]
        begun = time.perf_counter()
        for batch in batches:
            store.commit(batch)
        took = time.perf_counter() - begun
        store.close()
    return ADDS[size] / took


def gets_and_bytes(directory):
    """Records a second, a hundred a statement, and bytes a memory."""
    rng = random.Random(3)
    with tempfile.TemporaryDirectory(dir=directory) as folder:
        store = Store(os.path.join(folder, "store.db"))
        keys = []
        for start in range(0, MEMORIES, 128):
            batch = rows(start, 128, rng)
            keys += [key for key, _ in batch[0]["memory"]]
            store.commit(batch)
        size = store.bytes() / len(keys)
        calls = [rng.sample(keys, 100) for _ in range(100)]
        store.get(calls[0])
        begun = time.perf_counter()
        for call in calls:
            assert len(store.get(call)) == 100
        took = time.perf_counter() - begun
        store.close()
    return 100 * 100 / took, size


def ours(cairn, directory, cases):
    command = [cairn, "bench", "store", "--json", "--repeats", "1", "--only", ",".join(cases)]
    if directory:
        command += ["--dir", directory]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return [json.loads(line) for line in said.splitlines()]


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("cairn")
    arguments.add_argument("--dir")
    arguments.add_argument("--repeats", type=int, default=5)
    arguments = arguments.parse_args()
    cases = {"group-128": [], "lone-durable": [], "get-100": [], "bytes a memory": []}
    for _ in range(arguments.repeats):
        lines = ours(arguments.cairn, arguments.dir, ["group-128", "lone-durable", "get-100", "bytes"])
        rates = {line["case"]: line["ops_per_s"] for line in lines if "ops_per_s" in line}
        rates["bytes a memory"] = next(line["bytes"] for line in lines if line.get("what") == "file, a memory")
        gets, size = gets_and_bytes(arguments.dir)
        theirs = {
            "group-128": adds_a_second(arguments.dir, 128),
            "lone-durable": adds_a_second(arguments.dir, 1),
            "get-100": gets,
            "bytes a memory": size,
        }
        for case, pairs in cases.items():
            pairs.append((rates[case], theirs[case]))
    for case, pairs in cases.items():
        ratios = sorted(ours / theirs for ours, theirs in pairs)
        print(json.dumps({
            "bench": "store", "peer": f"SQLite {sqlite3.sqlite_version}", "case": case,
            "ours": round(statistics.median(pair[0] for pair in pairs), 1),
            "theirs": round(statistics.median(pair[1] for pair in pairs), 1),
            "ratio": round(statistics.median(ratios), 3), "min": round(ratios[0], 3), "max": round(ratios[-1], 3),
        }))


if __name__ == "__main__":
    sys.exit(main())
