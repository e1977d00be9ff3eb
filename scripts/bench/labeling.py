"""Documents per second of redct's labeling against one `generate` call per document.

The other way is RED-CT's: a prompt at a time, `generate` for one new token with its scores. Both run
alternately in one process, on the same prompts, and the ratio is taken round by round.

    python scripts/bench/labeling.py configs/tasks/stance.yaml FILE --documents 3000
"""

import argparse
import statistics
import time
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from redct.assets import resolve_model
from redct.documents import read_documents
from redct.hub.encoding import PromptEncoder
from redct.hub.local import PromptBatches
from redct.hub.prompts import messages
from redct.hub.scoring import LabelScorer
from redct.task import load_task


def main() -> None:
    """Runs the comparison and prints a line per round."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", type=Path)
    parser.add_argument("files", nargs="+")
    parser.add_argument("--model", default="tiny-mistral")
    parser.add_argument("--documents", type=int, default=3000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tokens_per_batch", type=int, default=2048)
    options = parser.parse_args()
    task = load_task(options.task)
    documents = [d for file in options.files for d in read_documents(file, task).documents][: options.documents]
    path = resolve_model(options.model)
    tokenizer = AutoTokenizer.from_pretrained(path)
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()
    encoder = PromptEncoder(tokenizer, task, model.config.max_position_embeddings)

    scorer = LabelScorer(model, encoder.labels)

    def ours() -> int:
        return sum(
            len(scorer.score([p.input_ids for p in batch.prompts], batch.shared))
            for batch in PromptBatches(documents, encoder, options.tokens_per_batch)
            if batch.prompts
        )

    def generate() -> int:
        with torch.inference_mode():
            for document in documents:
                prompt = tokenizer.apply_chat_template(
                    messages(task, document), add_generation_prompt=True, return_tensors="pt", return_dict=True
                )
                out = model.generate(
                    **prompt, max_new_tokens=1, do_sample=False, output_scores=True, return_dict_in_generate=True
                )
                out.scores[0].log_softmax(-1)
        return len(documents)

    ratios = []
    for number in range(options.rounds):
        rates = []
        for way in (ours, generate):
            start = time.perf_counter()
            count = way()
            rates.append(count / (time.perf_counter() - start))
        ratios.append(rates[0] / rates[1])
        print(f"round {number + 1}: redct {rates[0]:.0f}, generate {rates[1]:.0f} documents/s, ratio {ratios[-1]:.2f}")
    print(f"{len(documents)} documents, median ratio {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    main()
