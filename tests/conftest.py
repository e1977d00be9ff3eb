"""Shared fixtures: everything runs offline, on the bundled parts."""

import os
from pathlib import Path

import pytest

from redct.documents import Document
from redct.task import Columns, Example, Prompt, Task

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with the real data sets; the test is skipped where they are not at hand."""
    folder = Path(os.environ.get("REDCT_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "redct_raw").is_dir():
        pytest.skip(f"no real data under {folder}; set REDCT_DATA")
    return folder


def tiny_tokenizer(template: str | None = None):
    """A byte-level tokenizer with a chat template of real control tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<pad>", "<s>", "</s>", "<|user|>", "<|assistant|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    tokenizer.train_from_iterator(["Against For Neutral strongly agree", "agree disagree agreement"] * 8, trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        additional_special_tokens=["<|user|>", "<|assistant|>"],
        model_max_length=2048,
    )
    fast.chat_template = template or (
        "<s>{% for m in messages %}{{ '<|' + m['role'] + '|>' + m['content'] + '</s>' }}{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>{% endif %}"
    )
    return fast


def random_mistral(vocabulary: int, seed: int = 0, **changes):
    """A small Mistral with random weights, in evaluation mode."""
    import torch
    from transformers import MistralConfig, MistralForCausalLM

    torch.manual_seed(seed)
    size = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1}
    config = MistralConfig(
        vocab_size=vocabulary, **size, **heads, initializer_range=0.2, max_position_embeddings=4096, **changes
    )
    return MistralForCausalLM(config).eval()


@pytest.fixture(scope="session")
def tiny_llm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a random Mistral and its tokenizer."""
    folder = tmp_path_factory.mktemp("tiny_llm")
    tokenizer = tiny_tokenizer()
    random_mistral(len(tokenizer)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a random BERT and a tokenizer."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    folder = tmp_path_factory.mktemp("tiny_encoder")
    tokenizer = tiny_tokenizer()
    torch.manual_seed(0)
    size = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = BertConfig(vocab_size=len(tokenizer), pad_token_id=0, max_position_embeddings=256, **size)
    BertForSequenceClassification(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


MISTRAL_TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}{{ '[INST] ' + m['content'] + ' [/INST]' }}"
    "{% else %}{{ ' ' + m['content'] + eos_token }}{% endif %}{% endfor %}"
)
STANCE = Task(
    labels=["AGAINST", "FAVOR", "NONE"],
    verbalizers={"AGAINST": "Against", "FAVOR": "For", "NONE": "Neutral"},
    columns=Columns(context={"target": "Target"}),
    codebook="A codebook.",
    question="What is the stance towards {target}?",
)


def document(text: str, target: str = "tea") -> Document:
    return Document("1", text, {"target": target}, None)


def few_shot(**prompt) -> Task:
    examples = [Example(f"{label} text", label, {"target": "coffee"}) for label in STANCE.labels]
    return Task(**{**STANCE.__dict__, "examples": examples, "prompt": Prompt(shots=1, **prompt)})


@pytest.fixture(scope="session")
def llama_server(tmp_path_factory: pytest.TempPathFactory):
    """llama.cpp's server on the bundled tiny Mistral, see `servers.llama.LlamaServer`."""
    pytest.importorskip("xllamacpp")
    from servers.llama import serve

    from redct.assets import TINY_MISTRAL

    return serve(TINY_MISTRAL, tmp_path_factory.mktemp("llama"))


@pytest.fixture(scope="session")
def random_llama_server(tiny_llm: Path, tmp_path_factory: pytest.TempPathFactory):
    """llama.cpp's server on the random Mistral, whose tokenizer keeps case and whose roles have control tokens."""
    pytest.importorskip("xllamacpp")
    from servers.llama import serve

    return serve(tiny_llm, tmp_path_factory.mktemp("random_llama"))


@pytest.fixture
def upstream():
    """A server of known word probabilities, see `servers.chat.Chat`."""
    from servers.chat import Chat
    from servers.labeling import WORDS
    from servers.openai_like import OpenAILike

    with OpenAILike(Chat(lambda prompt: WORDS)) as server:
        yield server


@pytest.fixture
def proxy(upstream):
    """A proxy in front of it that goes wrong as told; in the end no connection may be left open."""
    from servers.proxy import FaultProxy

    with FaultProxy(upstream.url) as proxy:
        yield proxy
        assert proxy.settled(), "connections are left open"
