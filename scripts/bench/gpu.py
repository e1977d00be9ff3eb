"""How much of a GPU redct's label scoring uses, and documents per second beside one `generate` call per document.

A Mistral-7B with random weights in bfloat16 is built on the device; prompts have 150 tokens, of which all share the
first 100. The card's own rate is that of one large bfloat16 matrix product. Useful floating-point operations are two
per weight of the decoder's matrices and token, for the tokens that redct runs: shared ones once, padding not counted,
attention and the output layer left out. The other way is RED-CT's: float32, one document at a time.

    python scripts/bench/gpu.py                                 # 40 GB of memory, a few minutes
    python scripts/bench/gpu.py --shape toy --documents 64      # tries the script out without a GPU
"""

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial

import torch
from scoring import LABELS, Encoder  # the script beside this one
from transformers import MistralConfig, MistralForCausalLM

from redct.hub.local import PromptBatches
from redct.hub.scoring import LabelScorer

SHARED, LENGTH = 100, 150  # tokens of a prompt
SHAPES = {
    "mistral-7b": {
        "vocab_size": 32_000,
        "hidden_size": 4096,
        "intermediate_size": 14_336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
    },
    "toy": {
        "vocab_size": 1000,
        "hidden_size": 256,
        "intermediate_size": 704,
        "num_hidden_layers": 4,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
    },
}


def build(shape: str, device: torch.device, dtype: torch.dtype) -> MistralForCausalLM:
    """Builds a Mistral with random weights on the device."""
    torch.manual_seed(0)
    config = MistralConfig(**SHAPES[shape], max_position_embeddings=4096, sliding_window=None)
    default = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with device:
            return MistralForCausalLM(config).eval()
    finally:
        torch.set_default_dtype(default)


def make_prompts(count: int, vocabulary: int) -> list[list[int]]:
    """Returns prompts of one length that begin with the same tokens."""
    rows = torch.randint(20, vocabulary, (count, LENGTH), generator=torch.Generator().manual_seed(1))
    rows[:, :SHARED] = rows[0, :SHARED]
    return rows.tolist()


def seconds(work: Callable[[], object], device: torch.device, rounds: int) -> float:
    """Returns the median time of some work, after one run that does not count."""
    times = []
    for _ in range(rounds + 1):
        wait(device)
        start = time.perf_counter()
        work()
        wait(device)
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


def wait(device: torch.device) -> None:
    """Waits until the device has done all it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def matrix_rate(device: torch.device, size: int, dtype: torch.dtype = torch.bfloat16) -> float:
    """Returns the floating-point operations per second of a large matrix product."""
    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    return 2 * size**3 / seconds(lambda: a @ b, device, 10)


def score_all(scorer: LabelScorer, prompts: list[list[int]], budget: int, lend: bool) -> None:
    """Scores as `LocalLabeler` does, with or without lending what the prompts share."""
    for batch in PromptBatches(prompts, Encoder(), budget):  # type: ignore[arg-type]
        scorer.score([prompt.input_ids for prompt in batch.prompts], batch.shared if lend else 0).cpu()


def measure_scoring(
    model: MistralForCausalLM, prompts: list[list[int]], options: argparse.Namespace, rate: float
) -> None:
    """Prints what redct makes of the card, with and without lending what the prompts share."""
    scorer = LabelScorer(model, LABELS)
    weights = sum(p.numel() for layer in model.model.layers for p in layer.parameters() if p.ndim == 2)
    tokens = {True: SHARED + len(prompts) * (LENGTH - SHARED), False: len(prompts) * LENGTH}
    for lend in (True, False):
        work = partial(score_all, scorer, prompts, options.tokens_per_batch, lend)
        taken = seconds(work, model.device, options.rounds)
        useful = 2 * weights * tokens[lend] / taken
        print(
            f"redct {'with' if lend else 'without'} the shared tokens' cache: {len(prompts) / taken:.1f} documents/s, "
            f"{useful / 1e12:.2f} TFLOP/s useful, {useful / rate:.0%} of the matrix product's",
            flush=True,
        )


@torch.inference_mode()
def generate_all(model: MistralForCausalLM, prompts: list[list[int]]) -> None:
    """One `generate` call per document."""
    options = {"do_sample": False, "output_scores": True, "return_dict_in_generate": True, "pad_token_id": 0}
    for prompt in prompts:
        ids = torch.tensor([prompt], device=model.device)
        out = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=1, **options)
        out.scores[0].log_softmax(-1).cpu()


def main() -> None:
    """Measures and prints a line per figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=SHAPES, default="mistral-7b")
    parser.add_argument("--documents", type=int, default=2048)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tokens_per_batch", type=int, default=16_384)
    options = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    rate = matrix_rate(device, 8192 if device.type == "cuda" else 1024)
    print(f"{name}, torch {torch.__version__}: {rate / 1e12:.2f} TFLOP/s in a bfloat16 matrix product", flush=True)

    prompts = make_prompts(options.documents, int(SHAPES[options.shape]["vocab_size"]))
    measure_scoring(build(options.shape, device, torch.bfloat16), prompts, options, rate)
    few = prompts[: max(8, len(prompts) // 64)]
    work = partial(generate_all, build(options.shape, device, torch.float32), few)
    print(f"generate, float32, one document a call: {len(few) / seconds(work, device, 1):.2f} documents/s")


if __name__ == "__main__":
    main()
