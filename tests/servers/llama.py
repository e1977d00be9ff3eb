"""llama.cpp's own server, in this process, on a transformers Mistral converted to GGUF in float32."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
import xllamacpp
from safetensors.torch import load_file

ALIAS = "tiny"
API_KEY = "sk-llama"


@dataclass(frozen=True)
class LlamaServer:
    """A running server; it stops when the last reference to `handle` goes.

    Attributes:
        url: The address, without `/v1`.
        folder: The transformers model it was made from.
    """

    url: str
    folder: Path
    handle: xllamacpp.Server
    model: str = ALIAS
    api_key: str = API_KEY

    @property
    def base_url(self) -> str:
        return f"{self.url}/v1"


def serve(folder: Path, workdir: Path, slots: int = 8, **options: Any) -> LlamaServer:
    """Converts the model in a folder and serves it on a free port of 127.0.0.1.

    Args:
        folder: A Mistral with a byte-level BPE tokenizer and a chat template.
        workdir: Where the GGUF file goes.
        slots: Requests decoded at a time; each has the model's whole context.
        **options: Further fields of `xllamacpp.CommonParams`.
    """
    context = json.loads((folder / "config.json").read_text())["max_position_embeddings"]
    path = workdir / f"{folder.name}.gguf"
    to_gguf(folder, path)
    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.hostnames, params.port = ["127.0.0.1"], 0
    params.model_alias, params.api_keys = [ALIAS], [API_KEY]
    params.n_ctx, params.n_parallel = context * slots, slots
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = torch.get_num_threads()
    # By default the cache and flash attention round to half precision: 0.01 in a log-probability, against 2e-5.
    params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    params.warmup, params.verbosity = False, -1
    for name, value in options.items():
        setattr(params, name, value)
    handle = xllamacpp.Server(params)
    return LlamaServer(handle.listening_address, folder, handle)


def to_gguf(folder: Path, path: Path) -> None:
    """Writes a Mistral with a byte-level BPE tokenizer as a GGUF file in float32."""
    config = json.loads((folder / "config.json").read_text())
    writer = gguf.GGUFWriter(path, gguf.MODEL_ARCH_NAMES[gguf.MODEL_ARCH.LLAMA])
    _add_shape(writer, config)
    _add_tokenizer(writer, folder, config)
    _add_weights(writer, load_file(folder / "model.safetensors"), config)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_shape(writer: gguf.GGUFWriter, config: dict[str, Any]) -> None:
    heads = config["num_attention_heads"]
    size = config.get("head_dim") or config["hidden_size"] // heads
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    for add in (writer.add_key_length, writer.add_value_length, writer.add_rope_dimension_count):
        add(size)
    writer.add_rope_freq_base(config["rope_parameters"]["rope_theta"])
    writer.add_vocab_size(config["vocab_size"])
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)


def _add_tokenizer(writer: gguf.GGUFWriter, folder: Path, config: dict[str, Any]) -> None:
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    assert tokenizer["pre_tokenizer"]["type"] == "ByteLevel", tokenizer["pre_tokenizer"]
    added = {token["content"]: token["id"] for token in tokenizer["added_tokens"]}
    tokens = sorted((vocabulary := tokenizer["model"]["vocab"] | added), key=vocabulary.__getitem__)
    assert len(tokens) == config["vocab_size"], (len(tokens), config["vocab_size"])
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")  # the split that ByteLevel(use_regex=True) does
    writer.add_token_list(tokens)
    writer.add_token_types([gguf.TokenType.CONTROL if t in added else gguf.TokenType.NORMAL for t in tokens])
    writer.add_token_merges([" ".join(pair) for pair in tokenizer["model"]["merges"]])
    writer.add_bos_token_id(config["bos_token_id"])
    writer.add_eos_token_id(config["eos_token_id"])
    writer.add_add_bos_token(False)  # the chat template writes it
    writer.add_chat_template(_chat_template(folder, tokenizer.get("normalizer")))


def _chat_template(folder: Path, normalizer: dict[str, Any] | None) -> str:
    """Returns the chat template; it does a lower-casing tokenizer's work, which GGUF has no field for.

    llama.cpp's `lower` knows ASCII letters only: a capital letter beyond them is tokenised differently.
    """
    template = (folder / "chat_template.jinja").read_text()
    if normalizer is None:
        return template
    assert normalizer == {"type": "Lowercase"}, normalizer
    content = "message['content']"
    assert content in template, template
    return template.replace(content, f"({content} | lower)")


def _add_weights(writer: gguf.GGUFWriter, weights: dict[str, torch.Tensor], config: dict[str, Any]) -> None:
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config["num_hidden_layers"])
    heads = {"q_proj": config["num_attention_heads"], "k_proj": config["num_key_value_heads"]}
    for name, weight in weights.items():
        array = weight.float().numpy()
        projection = name.split(".")[-2]
        if projection in heads:
            array = _interleave(array, heads[projection])
        writer.add_tensor(names.get_name(name, try_suffixes=(".weight",)), np.ascontiguousarray(array))


def _interleave(weight: np.ndarray, heads: int) -> np.ndarray:
    """Reorders a projection's rows: transformers rotates halves of a head, llama.cpp adjacent pairs."""
    return weight.reshape(heads, 2, -1, weight.shape[1]).swapaxes(1, 2).reshape(weight.shape)
