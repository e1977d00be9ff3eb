"""Documents per second of redct's label scoring beside other ways, on random Mistrals of three sizes.

All run alternately in one process, on the same prompts of about 147 tokens, of which all share the first 100 (or
none). `generate` is one call per document, as RED-CT does it; `batches` pads the prompts and runs them whole;
`reference` runs the shared tokens once and repeats their cache over the batch, the shortest way to do it with
transformers; `decision` is transformers' own pipeline, which makes its prompts itself. redct's time includes making the
scorer and running the shared tokens. On a machine that others load, the ratios by round say most.

    python scripts/bench/scoring.py --sizes 20 60 110 --documents 96
"""

import argparse
import copy
import statistics
import time
from collections.abc import Callable
from functools import partial

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import DynamicCache, MistralConfig, MistralForCausalLM, PreTrainedTokenizerFast, pipeline

from redct.hub.encoding import Encoded
from redct.hub.local import PromptBatches
from redct.hub.prefix import left_pad
from redct.hub.scoring import LabelScorer

VOCABULARY = 32_000
LABELS = [[11], [12], [13]]
SHAPES = {  # millions of parameters: hidden size, layers, heads
    20: (320, 8, 8),
    60: (512, 14, 8),
    110: (640, 20, 10),
}


def build(size: int) -> MistralForCausalLM:
    """Builds a Mistral with random weights."""
    torch.manual_seed(0)
    hidden, layers, heads = SHAPES[size]
    config = MistralConfig(
        vocab_size=VOCABULARY,
        hidden_size=hidden,
        intermediate_size=hidden * 11 // 4,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads // 2,
        max_position_embeddings=4096,
        sliding_window=None,
        tie_word_embeddings=True,
    )
    return MistralForCausalLM(config).eval()


def make_prompts(count: int, shared: int, spread: int) -> list[list[int]]:
    """Returns prompts of 147 tokens, give or take `spread`, that begin with the same tokens."""
    random = torch.Generator().manual_seed(1)

    def tokens(length: int) -> list[int]:
        return torch.randint(20, VOCABULARY, (length,), generator=random).tolist()

    first = tokens(shared)
    lengths = torch.randint(147 - spread - shared, 148 + spread - shared, (count,), generator=random).tolist()
    return [first + tokens(length) for length in lengths]


class Encoder:
    """Prompts that are tokenised already."""

    def encode(self, documents: list[list[int]]) -> list[Encoded]:
        """Wraps token ids as redct's batching takes them."""
        return [Encoded("", ids) for ids in documents]


def redct(model: MistralForCausalLM, prompts: list[list[int]], tokens_per_batch: int) -> int:
    """Scores as `LocalLabeler` does."""
    scorer = LabelScorer(model, LABELS)
    batches = PromptBatches(prompts, Encoder(), tokens_per_batch)  # type: ignore[arg-type]
    return sum(len(scorer.score([p.input_ids for p in batch.prompts], batch.shared)) for batch in batches)


@torch.inference_mode()
def generate(model: MistralForCausalLM, prompts: list[list[int]]) -> int:
    """One call per document."""
    for prompt in prompts:
        ids = torch.tensor([prompt])
        options = {"do_sample": False, "output_scores": True, "return_dict_in_generate": True, "pad_token_id": 0}
        out = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=1, **options)
        out.scores[0].log_softmax(-1)
    return len(prompts)


@torch.inference_mode()
def batches(model: MistralForCausalLM, prompts: list[list[int]], rows: int = 16) -> int:
    """Padded batches of whole prompts."""
    for start in range(0, len(prompts), rows):
        ids, mask = left_pad(prompts[start : start + rows], model.device)
        positions = (mask.cumsum(-1) - 1).clamp(min=0)
        model(input_ids=ids, attention_mask=mask, position_ids=positions, use_cache=False, logits_to_keep=1)
    return len(prompts)


@torch.inference_mode()
def reference(model: MistralForCausalLM, prompts: list[list[int]], shared: int, rows: int = 16) -> int:
    """The cache of the shared tokens, repeated over every batch."""
    cache = DynamicCache()
    model(input_ids=torch.tensor([prompts[0][:shared]]), past_key_values=cache, use_cache=True, logits_to_keep=1)
    for start in range(0, len(prompts), rows):
        ids, mask = left_pad([prompt[shared:] for prompt in prompts[start : start + rows]], model.device)
        own = copy.deepcopy(cache)
        own.batch_repeat_interleave(len(ids))
        positions = shared + (mask.cumsum(-1) - 1).clamp(min=0)
        mask = torch.cat([mask.new_ones(len(ids), shared), mask], dim=1)
        model(input_ids=ids, attention_mask=mask, position_ids=positions, past_key_values=own, logits_to_keep=1)
    return len(prompts)


def decision(model: MistralForCausalLM, words: int) -> Callable[[int], int]:
    """Returns a function that decides on some texts of as many words with transformers' pipeline."""
    vocabulary = {f"w{i}": i for i in range(VOCABULARY - 300)}
    vocabulary |= {chr(c): VOCABULARY - 300 + n for n, c in enumerate(range(33, 127))} | {"<unk>": VOCABULARY - 1}
    base = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    base.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=base, unk_token="<unk>", pad_token="<unk>", eos_token="<unk>")
    tokenizer.chat_template = "{% for m in messages %}{{ m['content'] }}{% endfor %}"
    decide = pipeline("decision", model=model, tokenizer=tokenizer)
    question = {"type": "choice", "instructions": "w5 w6", "criteria": {"A": "w1", "B": "w2", "C": "w3"}}

    def run(count: int) -> int:
        for n in range(count):
            text = " ".join(f"w{(7 * n + i) % 9000}" for i in range(words))
            decide({"state": text, "questions": {"label": question}})
        return count

    return run


def main() -> None:
    """Runs the comparison and prints a line per size and kind of prompts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=sorted(SHAPES))
    parser.add_argument("--documents", type=int, default=96)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tokens_per_batch", type=int, default=2048)
    options = parser.parse_args()
    for size in options.sizes:
        model = build(size)
        print(f"{sum(p.numel() for p in model.parameters()) / 1e6:.0f} million parameters", flush=True)
        for shared, spread in ((100, 0), (100, 20), (0, 0), (0, 20)):
            prompts = make_prompts(options.documents, shared, spread)
            few = prompts[: max(8, options.documents // 4)]
            ways: dict[str, Callable[[], int]] = {
                "generate": partial(generate, model, few),
                "batches": partial(batches, model, prompts),
                "redct": partial(redct, model, prompts, options.tokens_per_batch),
            }
            if shared:
                ways["reference"] = partial(reference, model, prompts, shared)
            if shared and not spread:
                ways["decision"] = partial(decision(model, 47), len(few))
            rates: dict[str, list[float]] = {name: [] for name in ways}
            for _ in range(options.rounds):
                for name, way in ways.items():
                    start = time.perf_counter()
                    rates[name].append(way() / (time.perf_counter() - start))
            each = {name: statistics.median(values) for name, values in rates.items()}
            print(f"  {shared} shared, 147 ± {spread} tokens, generate {each['generate']:.1f} documents/s;", end=" ")
            ratios = {name: f"{rate / each['generate']:.2f}" for name, rate in each.items() if name != "generate"}
            print("times as many: " + ", ".join(f"{name} {ratio}" for name, ratio in ratios.items()), end="; ")
            rival = "reference" if shared else "batches"
            by_round = sorted(ours / theirs for ours, theirs in zip(rates["redct"], rates[rival], strict=True))
            span = f"{by_round[0]:.2f} to {by_round[-1]:.2f}"
            print(f"redct / {rival} by round {statistics.median(by_round):.2f} ({span})", flush=True)


if __name__ == "__main__":
    main()
