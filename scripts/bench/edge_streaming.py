"""Peak memory of a bundle that labels a long file, and whether its output is in the order of its input.

    python scripts/bench/edge_streaming.py BUNDLE --documents 100000 1000000

The documents are made up, of 1 to 40 words, as CSV and JSONL. A bundle with a small model shows the same in less time:
what must not grow are reading, queue and writing.
"""

import argparse
import csv
import json
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

WORDS = ["the", "a", "council", "plan", "park", "road", "school", "please", "never", "good", "who", "🙂", "naïve"]
CODE = (
    "import sys; sys.path.insert(0, sys.argv[1]); import classify; code = classify.main(sys.argv[2:])\n"
    "peak = next(line for line in open('/proc/self/status') if line.startswith('VmHWM'))\n"
    "print(int(peak.split()[1]) / 1024); sys.exit(code)"
)


def write(path: Path, documents: int) -> None:
    """Writes a corpus."""
    rng = np.random.default_rng(0)
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        if path.suffix == ".csv":
            table.writerow(["id", "text"])
        for number in range(documents):
            text = " ".join(rng.choice(WORDS, rng.integers(1, 41)))
            if path.suffix == ".csv":
                table.writerow([number, text])
            else:
                file.write(json.dumps({"id": number, "text": text}) + "\n")


def in_order(path: Path, documents: int) -> bool:
    """Tells whether the ids count up, and every row has a label."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file) if path.suffix == ".csv" else map(json.loads, file)
        number = -1
        for number, row in enumerate(rows):
            if int(row["id"]) != number or not row["edge_label"]:
                return False
    return number + 1 == documents


def main() -> None:
    """Prints a line for each form and size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--documents", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--forms", nargs="+", default=["csv", "jsonl"])
    options = parser.parse_args()
    print("form | documents | peak MiB | documents/s | in order")
    for form in options.forms:
        for documents in options.documents:
            with TemporaryDirectory() as folder:
                source, target = Path(folder) / f"in.{form}", Path(folder) / f"out.{form}"
                write(source, documents)
                start = time.perf_counter()
                command = [sys.executable, "-c", CODE, str(options.bundle), str(source), "--output", str(target)]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                rate = documents / (time.perf_counter() - start)
                peak = float(done.stdout.split()[-1])
                print(f"{form} | {documents:,} | {peak:.1f} | {rate:,.0f} | {in_order(target, documents)}", flush=True)


if __name__ == "__main__":
    main()
