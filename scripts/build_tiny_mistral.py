"""Trains the tiny Mistral from scratch, on a CPU in ten minutes, and writes it to redct/assets/tiny_mistral.

Its posts come from the grammar beside this script, which was written after reading the demo's training posts: the
themes and many words are theirs, the sentences are not. A post that shares five consecutive words with a post of
the demo corpus is thrown away. On the way it prints how well the model labels the demo's training posts; the test
posts play no part.

    python scripts/build_tiny_mistral.py
"""

import argparse
import random
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import DynamicCache, GenerationConfig, MistralConfig, MistralForCausalLM, PreTrainedTokenizerFast

sys.path.insert(0, str(Path(__file__).parent / "tiny_mistral"))
from grammar import FILES, MARKS, TOPICS, post

from redct.assets import DEMO, TINY_MISTRAL
from redct.documents import Document, read_documents
from redct.hub.encoding import PromptEncoder
from redct.hub.prefix import left_pad, shared_length
from redct.hub.prompts import messages
from redct.hub.scoring import LabelScorer
from redct.task import Task, load_task

ROOT = Path(__file__).parent.parent
VOCABULARY = 6000
BATCH = 64
SPECIAL = ["<unk>", "<s>", "</s>", "[INST]", "[/INST]"]
TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}"
    "{{ '[INST]' + message['content'] + '[/INST]' }}{% else %}{{ message['content'] + eos_token }}{% endif %}"
    "{% endfor %}"
)


def five_grams(text: str) -> set[tuple[str, ...]]:
    """Returns all runs of five words."""
    words = re.findall(r"\w+", text.lower())
    return {tuple(words[i : i + 5]) for i in range(len(words) - 4)}


def posts(rng: random.Random, forbidden: set[tuple[str, ...]]) -> Iterator[tuple[str, Document]]:
    """Yields label and post without end."""
    labels, plans, others = list(MARKS), list(FILES), [topic for topic in TOPICS if topic not in FILES]
    while True:
        label = rng.choice(labels)
        topic = rng.choice(plans if rng.random() < 0.75 else others)
        text = post(label, topic, rng)
        if not five_grams(text) & forbidden:
            yield label, Document("", text, {"target": topic}, label)


def build_tokenizer(texts: list[str]) -> PreTrainedTokenizerFast:
    """Trains a byte-level BPE, so that any text can be encoded; in lower case, as so small a model needs."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=VOCABULARY, special_tokens=SPECIAL, initial_alphabet=alphabet)
    tokenizer.train_from_iterator(texts, trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        pad_token="</s>",
        additional_special_tokens=["[INST]", "[/INST]"],
        model_max_length=2048,
    )
    fast.chat_template = TEMPLATE
    return fast


def build_model(tokenizer: PreTrainedTokenizerFast) -> MistralForCausalLM:
    """Builds a Mistral of about a million parameters."""
    return MistralForCausalLM(
        MistralConfig(
            vocab_size=len(tokenizer),
            hidden_size=128,
            intermediate_size=384,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=2048,
            sliding_window=None,
            tie_word_embeddings=True,
            attention_dropout=0.1,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
    )


def loss_of(model: MistralForCausalLM, prompts: list[list[int]], answers: list[list[int]]) -> torch.Tensor:
    """Cross-entropy of the answer and of the end after it; the prompt itself is not learned.

    What all prompts begin with is run once, and its keys and values serve every post: a third of the work.
    """
    length = len(answers[0])
    rows = [p + a for p, a in zip(prompts, answers, strict=True)]
    shared = shared_length(prompts)
    cache = DynamicCache()
    model(input_ids=torch.tensor([rows[0][:shared]]), past_key_values=cache, use_cache=True, logits_to_keep=1)
    cache.batch_repeat_interleave(len(rows))
    ids, mask = left_pad([row[shared:] for row in rows], model.device)
    positions = shared + (mask.cumsum(-1) - 1).clamp(min=0)
    mask = torch.cat([mask.new_ones(len(rows), shared), mask], dim=1)
    logits = model(
        input_ids=ids, attention_mask=mask, position_ids=positions, past_key_values=cache, logits_to_keep=length + 1
    ).logits
    end = torch.full((len(prompts), 1), model.config.eos_token_id)
    target = torch.cat([torch.tensor(answers), end], dim=1)
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1).float(), target.flatten(), label_smoothing=0.05)


def judge(model: MistralForCausalLM, encoder: PromptEncoder, documents: list[Document]) -> tuple[float, float]:
    """Returns accuracy, and the chance that a right answer has a larger margin than a wrong one (AUROC)."""
    model.eval()
    prompts = [prompt.input_ids for prompt in encoder.encode(documents)]
    scorer = LabelScorer(model, encoder.labels)
    scores = torch.cat([scorer.score(prompts[i : i + 50]) for i in range(0, len(prompts), 50)])
    gold = torch.tensor([encoder.task.index()[str(d.gold)] for d in documents])
    top = scores.topk(2).values
    margin, right = top[:, 0] - top[:, 1], scores.argmax(1) == gold
    pairs = margin[right][:, None] - margin[~right][None]
    model.train()
    return right.float().mean().item(), ((pairs > 0).float() + 0.5 * (pairs == 0)).mean().item()


def train(
    model: MistralForCausalLM, tokenizer: PreTrainedTokenizerFast, tasks: list[Task], options: argparse.Namespace
) -> None:
    """Trains the model and prints, every 200 steps, how it labels the demo's training posts."""
    demo = read_documents(str(DEMO / "train.csv"), tasks[0]).documents
    forbidden = forbidden_runs()
    stream = posts(random.Random(1), forbidden)
    rng = random.Random(2)
    encoders = [PromptEncoder(tokenizer, task, 2048) for task in tasks]
    # The second task has other names for the same three labels.
    names = {"against": 0, "for": 1, "neutral": 2}
    optimizer = torch.optim.AdamW(model.parameters(), lr=options.learning_rate, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, options.learning_rate, total_steps=options.steps, pct_start=0.1
    )
    start = time.monotonic()
    model.train()
    for step in range(1, options.steps + 1):
        encoder = encoders[rng.random() < 0.12]
        batch = [next(stream) for _ in range(BATCH)]
        prompts = [p.input_ids for p in encoder.encode([document for _, document in batch])]
        loss = loss_of(model, prompts, [encoder.labels[names[label]] for label, _ in batch])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 200 == 0 or step == options.steps:
            accuracy, auroc = judge(model, encoders[0], demo)
            seconds = time.monotonic() - start
            print(
                f"step {step} loss {loss.item():.3f} {seconds:.0f} s accuracy {accuracy:.3f} AUROC {auroc:.3f}",
                flush=True,
            )


def forbidden_runs() -> set[tuple[str, ...]]:
    """Returns every run of five words in the demo corpus."""
    task = load_task(ROOT / "configs" / "tasks" / "demo.yaml")
    corpus = [d for name in ("train", "test") for d in read_documents(str(DEMO / f"{name}.csv"), task).documents]
    return {run for document in corpus for run in five_grams(document.text)}


def main() -> None:
    """Builds tokenizer and model and saves both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--learning_rate", type=float, default=2e-3)
    parser.add_argument("--to", type=Path, default=TINY_MISTRAL)
    options = parser.parse_args()
    torch.manual_seed(0)
    tasks = [load_task(ROOT / "configs" / "tasks" / f"{name}.yaml") for name in ("demo", "stance")]
    stream = posts(random.Random(0), forbidden_runs())
    documents = [document for _, document in (next(stream) for _ in range(20_000))]
    prompts = [messages(task, document)[0]["content"] for task in tasks for document in documents[:200]]
    answers = ["Against", "For", "Neutral"] * 2000
    tokenizer = build_tokenizer([*(document.text for document in documents), *prompts, *answers])
    model = build_model(tokenizer)
    count = sum(parameter.numel() for parameter in model.parameters())
    print(f"{count:,} parameters; demo prompt of {len(tokenizer(prompts[0])['input_ids'])} tokens", flush=True)
    train(model, tokenizer, tasks, options)
    model.eval().to(torch.bfloat16).save_pretrained(options.to)
    tokenizer.save_pretrained(options.to)
    GenerationConfig(eos_token_id=tokenizer.eos_token_id, bos_token_id=tokenizer.bos_token_id).save_pretrained(
        options.to
    )


if __name__ == "__main__":
    main()
