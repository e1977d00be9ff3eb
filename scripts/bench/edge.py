"""A bundle beside its checkpoint: documents per second, latency, memory, cold start, and what bounds it.

    python scripts/bench/edge.py runs/STUDY texts.jsonl --documents 2000 --rounds 3

runs/STUDY holds checkpoints/best (the transformers folder) and edge (the bundle); texts.jsonl an object a line with
`text`, and with a task's context fields. Compared, alternately, in one process each but for memory and cold start:

    pipeline   transformers.pipeline, fp32, in batches of 32 and one by one
    fp32 ONNX  the plain torch.onnx.export, one document a call
    reference  that graph with onnxruntime's dynamic int8 per channel, one document a call
    bundle     redct's runtime, in the mode that a user gets

In bulk, documents are read from the file and their answers are written to one; two threads a document each, where the
contestant is onnxruntime. One by one, a session has two threads.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnxruntime as ort
from tokenizers import Tokenizer

from redct.edge import runtime
from redct.edge.graph import INPUTS, trace

Bulk = Callable[[Path, Path], None]
Single = Callable[[str], Any]


def read(path: Path) -> list[str]:
    """Returns the texts of a file."""
    return [json.loads(line)["text"] for line in path.read_text(encoding="utf-8").splitlines()]


def pipeline(folder: Path, max_length: int) -> tuple[Bulk, Single]:
    """Returns transformers' own way."""
    import transformers  # noqa: PLC0415 - not in the processes whose memory is measured

    transformers.logging.set_verbosity_error()
    pipe = transformers.pipeline("text-classification", str(folder), device="cpu", top_k=None)
    options = {"truncation": True, "max_length": max_length}

    def bulk(source: Path, target: Path) -> None:
        answers = pipe(read(source), batch_size=32, **options)
        target.write_text("\n".join(map(json.dumps, answers)))

    return bulk, lambda text: pipe(text, **options)


def plain(model: Path, tokenizer: Path, max_length: int, threads: int) -> tuple[Bulk, Single]:
    """Returns what one writes in fifteen lines: a session, a document a call."""
    encode = Tokenizer.from_file(str(tokenizer))
    encode.enable_truncation(max_length, strategy="longest_first")

    def session(threads: int) -> ort.InferenceSession:
        options = ort.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = threads, 3
        return ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])

    one, all_of_them = session(1), session(threads)

    def answer(session: ort.InferenceSession, text: str) -> list[float]:
        row = encode.encode(text)
        feed = {"input_ids": row.ids, "attention_mask": row.attention_mask, "token_type_ids": row.type_ids}
        names = {each.name for each in session.get_inputs()}
        logits = session.run(None, {name: np.array([feed[name]]) for name in INPUTS if name in names})[0][0]
        probs = np.exp(logits - logits.max())
        return (probs / probs.sum()).tolist()

    def bulk(source: Path, target: Path) -> None:
        with ThreadPoolExecutor(threads) as pool:
            answers = list(pool.map(lambda text: answer(one, text), read(source)))
        target.write_text("\n".join(map(json.dumps, answers)))

    return bulk, lambda text: answer(all_of_them, text)


def bundle(folder: Path, threads: int) -> tuple[Bulk, Single]:
    """Returns redct's runtime."""
    loaded = runtime.Bundle(folder, threads)

    def bulk(source: Path, target: Path) -> None:
        target.unlink(missing_ok=True)
        runtime.run(folder, ["--threads", str(threads), str(source), "--output", str(target)])

    return bulk, lambda text: loaded.classify([text])


def contestants(study: Path, work: Path, threads: int) -> dict[str, tuple[Bulk, Single]]:
    """Returns them by name."""
    from onnxruntime.quantization import QuantType, quantize_dynamic  # noqa: PLC0415
    from transformers import AutoModelForSequenceClassification  # noqa: PLC0415

    folder, edge = study / "checkpoints" / "best", study / "edge"
    info = json.loads((edge / "bundle.json").read_text(encoding="utf-8"))
    network = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    exported, quantised = work / "fp32.onnx", work / "int8.onnx"
    session = ort.InferenceSession(str(edge / "model.onnx"), providers=["CPUExecutionProvider"])
    trace(network, [each.name for each in session.get_inputs()], exported)
    quantize_dynamic(
        exported,
        quantised,
        per_channel=True,
        weight_type=QuantType.QInt8,
        op_types_to_quantize=["MatMul", "Gemm", "Gather"],
    )
    tokenizer, length = edge / "tokenizer.json", info["max_length"]
    return {
        "pipeline": pipeline(folder, length),
        "fp32 ONNX": plain(exported, tokenizer, length, threads),
        "reference": plain(quantised, tokenizer, length, threads),
        "bundle": bundle(edge, threads),
    }


def race(entries: dict[str, tuple[Bulk, Single]], source: Path, work: Path, rounds: int) -> None:
    """Prints documents per second in bulk and one by one, each the median over rounds, and latencies."""
    texts = read(source)
    bulk: dict[str, list[float]] = {name: [] for name in entries}
    single: dict[str, list[float]] = {name: [] for name in entries}
    latency: dict[str, list[float]] = {name: [] for name in entries}
    for number in range(rounds):
        for name, (many, one) in entries.items():
            one(texts[0])
            start = time.perf_counter()
            many(source, work / f"answers-{name.replace(' ', '-')}.jsonl")
            bulk[name].append(len(texts) / (time.perf_counter() - start))
            taken = []
            for text in texts[number :: max(1, len(texts) // 500)]:
                start = time.perf_counter()
                one(text)
                taken.append(time.perf_counter() - start)
            single[name].append(len(taken) / sum(taken))
            latency[name] += taken
    print("contestant | bulk docs/s | times pipeline, by round | single docs/s | times pipeline | p50 ms | p95 ms")
    for name in entries:
        ratios = [
            " ".join(f"{a / b:.2f}" for a, b in zip(rates[name], rates["pipeline"], strict=True))
            for rates in (bulk, single)
        ]
        p50, p95 = np.quantile(latency[name], (0.5, 0.95)) * 1000
        print(
            f"{name} | {np.median(bulk[name]):.0f} | {ratios[0]} | {np.median(single[name]):.0f} | {ratios[1]} "
            f"| {p50:.2f} | {p95:.2f}"
        )


def footprint(edge: Path, source: Path, work: Path, runs: int = 5) -> None:
    """Prints peak memory and cold start of the bundle's own classify.py, in processes of their own."""
    code = (
        "import resource, sys; sys.argv[0] = sys.argv[1]; sys.path.insert(0, sys.argv[1].rsplit('/', 1)[0])\n"
        "import classify; code = classify.main(sys.argv[2:])\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, file=sys.stderr); sys.exit(code)"
    )
    script = str(edge / "classify.py")

    def run(arguments: Sequence[str], text: str = "") -> tuple[float, float]:
        start = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", code, script, *arguments], input=text, capture_output=True, text=True, check=True
        )
        return time.perf_counter() - start, float(done.stderr.strip().splitlines()[-1])

    cold = [run([], "one text\n") for _ in range(runs)]
    _, peak = run([str(source), "--output", str(work / "peak.jsonl")])
    print(
        f"cold start to the end of one document: median {np.median([c[0] for c in cold]):.2f} s, {cold[0][1]:.0f} MiB"
    )
    print(f"peak memory of all documents: {peak:.0f} MiB")
    print(f"bundle: {sum(f.stat().st_size for f in edge.iterdir() if f.is_file()) / 1e6:.1f} MB")


def bound(edge: Path, source: Path, work: Path, documents: int = 300) -> None:
    """Prints where a document's time goes, and what share of the core's int8 peak its products reach."""
    from onnx import TensorProto, helper  # noqa: PLC0415

    options = ort.SessionOptions()
    options.intra_op_num_threads, options.enable_profiling = 1, True
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.profile_file_prefix = str(work / "profile")
    session = ort.InferenceSession(str(edge / "model.onnx"), options, providers=["CPUExecutionProvider"])
    loaded = runtime.Bundle(edge, 1)
    encode = Tokenizer.from_file(str(edge / "tokenizer.json"))
    encode.enable_truncation(loaded.max_length, strategy="longest_first")
    rows = [encode.encode(text) for text in read(source)[:documents]]
    names = [each.name for each in session.get_inputs()]
    for row in rows:
        feed = {"input_ids": row.ids, "attention_mask": row.attention_mask, "token_type_ids": row.type_ids}
        session.run(None, {name: np.array([feed[name]]) for name in names})
    events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    spent: Counter[str] = Counter()
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("kernel_time"):
            spent[event["args"]["op_name"]] += event["dur"]
    total = sum(spent.values())
    print(
        f"operators, one thread, {np.mean([len(row.ids) for row in rows]):.1f} tokens: "
        f"{total / documents / 1000:.2f} ms a document, profiled"
    )
    for name, micro in spent.most_common(8):
        print(f"  {name} {micro / total:.0%}")
    size = 1024
    weight = helper.make_tensor("W", TensorProto.INT8, (size, size), np.ones((size, size), np.int8).tobytes(), raw=True)
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["X", "W"], ["Y"])], "peak",
        [helper.make_tensor_value_info("X", TensorProto.UINT8, (size, size))],
        [helper.make_tensor_value_info("Y", TensorProto.INT32, (size, size))], [weight],
    )  # fmt: skip
    peak = ort.SessionOptions()
    peak.intra_op_num_threads = 1
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    square = ort.InferenceSession(model.SerializeToString(), peak, providers=["CPUExecutionProvider"])
    feed = {"X": np.ones((size, size), np.uint8)}
    taken = []
    for _ in range(20):
        start = time.perf_counter()
        square.run(None, feed)
        taken.append(time.perf_counter() - start)
    products = sum(micro for name, micro in spent.items() if "MatMulInteger" in name or "QuantizeMatMul" in name)
    macs = sum(np.prod(each.dims) for each in _weights(edge)) * sum(len(row.ids) for row in rows)
    reached, best = macs / (products / 1e6), size**3 / min(taken)
    print(
        f"int8 products: {reached / 1e9:.0f} G multiply-adds/s; "
        f"onnxruntime's own peak here (1024 x 1024 x 1024): {best / 1e9:.0f} G"
    )


def _weights(edge: Path) -> list[Any]:
    import onnx  # noqa: PLC0415

    graph = onnx.load(edge / "model.onnx").graph
    used = {each for node in graph.node if "MatMul" in node.op_type for each in node.input}
    return [each for each in graph.initializer if each.name in used and each.data_type == onnx.TensorProto.INT8]


def main() -> None:
    """Runs all of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path)
    parser.add_argument("texts", type=Path)
    parser.add_argument("--documents", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    threads = len(os.sched_getaffinity(0))
    with TemporaryDirectory() as folder:
        work = Path(folder)
        source = work / "texts.jsonl"
        lines = options.texts.read_text(encoding="utf-8").splitlines()[: options.documents]
        source.write_text("".join(json.dumps({"text": json.loads(line)["text"]}) + "\n" for line in lines))
        print(f"{len(lines):,} documents, {threads} threads, onnxruntime {ort.__version__}")
        footprint(options.study / "edge", source, work)
        race(contestants(options.study, work, threads), source, work, options.rounds)
        bound(options.study / "edge", source, work)


if __name__ == "__main__":
    main()
