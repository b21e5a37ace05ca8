"""The OpenAI API over whatever a server hosts: texts, chats and embeddings; see `dialect`."""

from __future__ import annotations

from topwork.completions.dialect import speak

__all__ = ["speak"]
