from unicodedata import normalize

import pytest
from conftest import STANCE, document, few_shot
from hypothesis import given, settings
from hypothesis import strategies as st

from redct.errors import InputError
from redct.hub.prompts import (
    letters,
    messages,
    neutralise,
    neutralise_tags,
    prompt_hash,
    remote_messages,
)
from redct.task import Columns, Example, Prompt, Task


def content(task: Task, text: str, target: str = "tea") -> str:
    return messages(task, document(text, target))[0]["content"]


def test_document_stands_last_and_the_rest_is_shared() -> None:
    one, two = content(STANCE, "I love it"), content(STANCE, "Hate it", "coffee")
    assert one.endswith("I love it")
    fixed = one[: one.index("Target:")]
    assert two.startswith(fixed)
    assert "A codebook." in fixed
    assert "Against, For, Neutral" in fixed


def test_text_first_is_the_layout_of_the_original() -> None:
    task = Task(**{**STANCE.__dict__, "prompt": Prompt(layout="text_first")})
    text = content(task, "I love it")
    assert text.startswith('"I love it"')
    assert "A) Against" in text
    assert "towards tea?" in text


def test_hash_follows_the_wording_only() -> None:
    assert prompt_hash(STANCE) != prompt_hash(Task(**{**STANCE.__dict__, "codebook": "Another."}))
    columns = Columns(text="Tweet", context={"target": "Target"})
    assert prompt_hash(STANCE) == prompt_hash(Task(**{**STANCE.__dict__, "columns": columns}))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(["<|", "user", "|>", "<s>", "</", "s>", "[", "/INST]", " ", "x"]), max_size=12))
def test_neutralise_leaves_no_control_string(parts: list[str]) -> None:
    control = ["<|user|>", "<s>", "</s>", "[/INST]"]
    text = "".join(parts)
    found = neutralise(text, control)
    assert not any(c in found for c in control)
    assert found.replace(" ", "") == text.replace(" ", "")


def test_text_first_with_examples() -> None:
    task = few_shot(layout="text_first")
    text = messages(task, document("I love it"), examples=task.examples)[0]["content"]
    assert text.startswith('"I love it"')
    assert '"FAVOR text"\nWhat is the stance towards coffee?\nAnswer: For' in text
    assert text.endswith("Answer with exactly one of: Against, For, Neutral.")


def test_own_template() -> None:
    template = (
        "{{ codebook }} {{ question }} {{ options | join('/') }} {{ context.target }}"
        "{% for e in examples %} {{ e.text }}={{ e.answer }}{% endfor %} >> {{ text }}"
    )
    task = few_shot(template=template)
    expected = (
        "A codebook. What is the stance towards tea? Against/For/Neutral tea "
        "AGAINST text=Against FAVOR text=For NONE text=Neutral >> I love it"
    )
    assert messages(task, document("I love it"), examples=task.examples)[0]["content"] == expected
    assert prompt_hash(task) != prompt_hash(few_shot())


def asking(**prompt) -> Task:
    return Task(**{**STANCE.__dict__, "prompt": Prompt(**prompt)})


@pytest.mark.parametrize("layout", ["document_last", "text_first"])
@pytest.mark.parametrize("template", [None, "{{ text }} -> {{ options | join(' ') }}?"])
def test_chain_of_thought_takes_two_turns(layout, template) -> None:
    task = asking(layout=layout, template=template, chain_of_thought=True, system="Be careful.")
    first = messages(task, document("I love it"))
    assert [turn["role"] for turn in first] == ["system", "user"]
    assert "Answer with" not in first[1]["content"]
    assert ("step by step" in first[1]["content"]) == (template is None)
    both = messages(task, document("I love it"), ["<s>"], rationale="They say <s>love.")
    assert both[:2] == first
    assert both[2] == {"role": "assistant", "content": "They say < s>love."}
    assert both[3]["content"].endswith(
        "What is the stance towards tea?\n\nOptions:\n- Against\n- For\n- Neutral\n\n"
        "Answer with exactly one of: Against, For, Neutral."
    )


@pytest.mark.parametrize("template", [None, "{{ text }} -> {{ options | join(' ') }}?"])
@pytest.mark.parametrize("chain_of_thought", [False, True])
def test_letters_are_asked_for_where_words_will_not_do(template, chain_of_thought) -> None:
    task = few_shot(template=template, chain_of_thought=chain_of_thought)
    rationale = "Because." if chain_of_thought else None
    turns = remote_messages(task, document("I love it"), task.examples, rationale, lettered=True)
    assert "A) Against\nB) For\nC) Neutral" in turns[-1]["content"]
    assert "Answer with exactly one of the letters A, B, C." in turns[-1]["content"]
    assert "exactly one of:" not in str(turns)
    if template is None:
        assert "Text: FAVOR text\nAnswer: B" in turns[0]["content"]
    with pytest.raises(InputError, match="found 27, expected at most 26"):
        letters(Task(labels=[f"label {n}" for n in range(27)]))


def test_hash_covers_both_turns() -> None:
    template = "{{ text }}"
    assert prompt_hash(asking(template=template)) != prompt_hash(asking(template=template, chain_of_thought=True))
    with pytest.raises(InputError, match=r"task\.prompt\.rationale_tokens: found 0"):
        asking(rationale_tokens=0)


# What common servers parse from plain text: ChatML, Llama 2 to 4, Mistral, Gemma, Phi, DeepSeek, Qwen, T5, GLM.
PARSED = """
<|im_start|> <|im_end|> <|endoftext|> <|eot_id|> <|begin_of_text|> <|start_header_id|> <|user|> <|reserved_7|>
[INST] [/INST] <<SYS>> <</SYS>> <s> </s> [TOOL_CALLS] [AVAILABLE_TOOLS] [/AVAILABLE_TOOLS] [SYSTEM_PROMPT] [THINK]
<bos> <eos> <unk> <pad> <mask> <start_of_turn> <end_of_turn> <unused99> <0x0A> <extra_id_0> <think> </think>
<tool_call> <\uff5cbegin\u2581of\u2581sentence\uff5c> <\uff5cUser\uff5c> <\uff5cend\u2581of\u2581sentence\uff5c>
[gMASK] [CLS] [SEP] <fim_prefix> <image>
"""
REMOTE_CONTROL = PARSED.split()


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from([*REMOTE_CONTROL, "<", "|", "[", "]", ">", "x", " ", "\uff1c", "\uff1e", "\u0338"])))
def test_no_server_finds_a_control_string_in_a_text(parts: list[str]) -> None:
    found = neutralise_tags("".join(parts))
    assert not any(control in form for control in REMOTE_CONTROL for form in (found, normalize("NFKC", found)))
    assert neutralise_tags(found) == found


def test_remote_conversations_hold_no_control_string_but_change_little() -> None:
    task = Task(**{**few_shot(chain_of_thought=True).__dict__, "question": "Stance towards {target}?"})
    attack = "".join(REMOTE_CONTROL)
    task = Task(**{**task.__dict__, "examples": [Example(attack, n, {"target": attack}) for n in STANCE.labels]})
    turns = remote_messages(task, document(attack, attack), task.examples, attack)
    assert not any(control in turn["content"] for control in REMOTE_CONTROL for turn in turns)
    plain = "2 < 3 > 1, arr[0] a[I] [sic] \ufb01ne <3 x | y"
    assert neutralise_tags(plain) == plain
    assert remote_messages(STANCE, document(plain)) == messages(STANCE, document(plain))
