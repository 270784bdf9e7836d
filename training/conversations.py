"""Conversations as token ids."""

from collections.abc import Sequence

from shared.model import conversation
from shared.model.tokenizer import GlammTokenizer

Span = tuple[int, int]


def read_out(turns: Sequence[tuple[str, str]], tokenizer: GlammTokenizer) -> tuple[list[int], tuple[Span, ...]]:
    """The ids of a conversation, tokenised as one text as the llm stage does, and where in them each answer lies.

    turns: (question, answer) pairs. An answer's ids end with the token that ends it.
    """
    asked: list[tuple[str, str | None]] = []
    answers = []
    for question, answer in turns:
        begin = len(tokenizer.encode_prompt(conversation.build([*asked, (question, None)])))
        asked.append((question, answer))
        ids = tokenizer.encode_prompt(conversation.build(asked))
        answers.append((begin, len(ids)))
    return ids, tuple(answers)
