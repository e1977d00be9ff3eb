import pytest
import torch
from openai import OpenAI
from transformers import AutoModelForCausalLM, AutoTokenizer

TEXTS = [
    "The Tea is GREAT, isn't it?\n\n  It's 1234 caf\u00e9s \U0001f600\n\nOptions:\n- agree\n- disagree",
    "strongly  agree\tor not",
    "an end </s> within the text",  # control tokens in a message are control tokens, on both sides
]


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("server", ["llama_server", "random_llama_server"])
def test_llama_server_reads_and_scores_as_transformers_does(server, text, request) -> None:
    server = request.getfixturevalue(server)
    client = OpenAI(base_url=server.base_url, api_key=server.api_key, max_retries=0)
    turns = [{"role": "user", "content": text}]
    tokenizer = AutoTokenizer.from_pretrained(server.folder)
    ids = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=False)
    api = client.with_options(base_url=server.url)
    prompt = api.post("/apply-template", body={"messages": turns}, cast_to=object)["prompt"]
    assert api.post("/tokenize", body={"content": prompt}, cast_to=object)["tokens"] == ids

    model = AutoModelForCausalLM.from_pretrained(server.folder, dtype=torch.float32)
    with torch.inference_mode():
        expected = model(torch.tensor([ids])).logits[0, -1].double().log_softmax(-1)
    # Where the sampled token is part of a character only, the server leaves log-probabilities out: "a" is forced.
    reply = client.chat.completions.create(
        model=server.model,
        messages=turns,
        max_tokens=1,
        logprobs=True,
        top_logprobs=len(expected),
        logit_bias={str(tokenizer.convert_tokens_to_ids("a")): 100},
    )
    assert reply.choices[0].message.content == "a"
    assert reply.usage.prompt_tokens == len(ids)
    top = reply.choices[0].logprobs.content[0].top_logprobs
    assert len(top) == len(expected)
    assert max(abs(expected[entry.id] - entry.logprob) for entry in top) < 1e-3
