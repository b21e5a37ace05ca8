"""Chats as texts, by the template that a language model was trained with. It knows no tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from topwork.errors import MissingExtraError, UsageError

__all__ = ["rendered"]


def rendered(template: str, messages: Sequence[Mapping[str, Any]], *, opens_answer: bool = False) -> str:
    """Return the text of messages, each with ``role`` and ``content``; ``opens_answer`` lets an answer follow.

    The template is run in Jinja's sandbox, where it reaches nothing but what it is given.

    Raises
    ------
    UsageError
        The template does not take these messages; its own words are in the message.
    MissingExtraError
        Jinja is not installed.
    """
    from jinja2 import TemplateError

    try:
        text: str = _template(template).render(
            messages=[dict(one) for one in messages],
            add_generation_prompt=opens_answer,
            bos_token="",
            eos_token="",
        )
    except TemplateError as error:
        raise UsageError(f"The model's chat template does not take these messages: {error}.") from error
    return text


@lru_cache(maxsize=8)
def _template(template: str) -> Any:
    try:
        from jinja2.sandbox import ImmutableSandboxedEnvironment
    except ImportError as error:
        raise MissingExtraError(
            "Chats need Jinja, which is not installed.", next_step="Install topwork with its extra generate."
        ) from error

    def refuse(reason: str) -> None:
        from jinja2 import TemplateError

        raise TemplateError(reason)

    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    environment.globals["raise_exception"] = refuse
    return environment.from_string(template)
