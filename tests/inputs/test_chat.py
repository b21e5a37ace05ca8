"""Chats as texts by a model's template."""

from __future__ import annotations

import pytest

from topwork import plugins
from topwork.errors import UsageError
from topwork.inputs.chat import rendered

PLAIN = (
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}</>{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
TALK = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]


def test_messages_are_written_as_the_template_says() -> None:
    assert rendered(PLAIN, TALK) == "<user>Hi</><assistant>Hello</>"
    assert rendered(PLAIN, TALK[:1], opens_answer=True) == "<user>Hi</><assistant>"


def test_the_default_model_knows_chats() -> None:
    template = plugins.writers()["smollm2-135m"].vocabulary().chat_template
    text = rendered(template, TALK[:1], opens_answer=True)
    assert text.startswith("<|im_start|>system\n")
    assert text.endswith("<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n")


def test_a_template_may_refuse() -> None:
    with pytest.raises(UsageError, match="does not take these messages: no user"):
        rendered("{{ raise_exception('no user') }}", TALK)


@pytest.mark.parametrize(
    "template", ["{{ messages.__class__.__mro__ }}", "{{ messages.append(1) }}", "{% for"]
)
def test_a_template_reaches_nothing_but_what_it_is_given(template: str) -> None:
    with pytest.raises(UsageError, match="chat template"):
        rendered(template, TALK)
