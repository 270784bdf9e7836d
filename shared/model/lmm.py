"""The LMM: V-L projector, LLaMA, and the L-P projection that turns [SEG] states into prompts of the pixel decoder."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM

from shared.model.config import LlmConfig
from shared.model.tokenizer import IMAGE_PLACEHOLDER


class Lmm(nn.Module):
    def __init__(self, config: LlmConfig, image_width: int, prompt_dim: int) -> None:
        super().__init__()
        self.config, self.prompt_dim = config, prompt_dim
        self.projector = nn.Sequential(
            nn.Linear(image_width, config.hidden), nn.GELU(), nn.Linear(config.hidden, config.hidden)
        )
        self.llama = LlamaForCausalLM(
            LlamaConfig(
                hidden_size=config.hidden,
                intermediate_size=config.mlp_width,
                num_hidden_layers=config.layers,
                num_attention_heads=config.heads,
                vocab_size=config.vocab_size,
                max_position_embeddings=config.max_positions,
                rms_norm_eps=config.norm_eps,
                rope_parameters={"rope_type": "default", "rope_theta": config.rope_base},
                tie_word_embeddings=False,
            )
        )
        self.llama.set_attn_implementation("sdpa")
        self.text_projection = nn.Sequential(
            nn.Linear(config.hidden, config.hidden), nn.ReLU(), nn.Linear(config.hidden, prompt_dim), nn.Dropout(0.0)
        )

    def embed(self, ids: Tensor, image_tokens: Tensor, region_tokens: Tensor | None, bbox_id: int) -> Tensor:
        """One sequence of input embeddings.

        ids: (l,) with one IMAGE_PLACEHOLDER; image_tokens: (t, image_width) straight from the global image encoder;
        region_tokens: (n, hidden), the k-th replacing the k-th `<bbox>` → (l - 1 + t, hidden).
        """
        place = int((ids == IMAGE_PLACEHOLDER).nonzero()[0])
        words = self.words(ids.clamp(min=0), region_tokens, bbox_id)
        image = self.projector(image_tokens.to(words.dtype))
        return torch.cat([words[:place], image, words[place + 1 :]])

    def words(self, ids: Tensor, region_tokens: Tensor | None, bbox_id: int) -> Tensor:
        """As `embed`, of words alone: (l,) → (l, hidden). Raises ValueError where the marks are not so many."""
        words: Tensor = self.llama.model.embed_tokens(ids)
        if region_tokens is not None and len(region_tokens):
            marks = (ids == bbox_id).nonzero()[:, 0]
            if len(marks) != len(region_tokens):
                raise ValueError(f"{len(region_tokens)} region tokens for {len(marks)} <bbox> marks")
            words = words.index_put((marks,), region_tokens.to(words.dtype))
        return words

    def states(
        self, embeddings: Tensor, positions: Tensor | None = None, mask: Tensor | None = None, cache: Any = None
    ) -> Tensor:
        """Last layer's states after the final norm: (b, l, hidden) → (b, l, hidden).

        mask: None for plain causal attention, else (b, 1, l, keys) with True where a key may be read.
        """
        out = self.llama.model(
            inputs_embeds=embeddings,
            position_ids=positions,
            attention_mask=mask,
            past_key_values=cache,
            use_cache=False,
        )
        states: Tensor = out.last_hidden_state
        return states

    def logits(self, states: Tensor) -> Tensor:
        """(…, hidden) → (…, vocabulary)."""
        logits: Tensor = self.llama.lm_head(states)
        return logits

    def prompt_vectors(self, states: Tensor) -> Tensor:
        """States at the positions that predict a [SEG], (n, hidden) → prompts of the pixel decoder, (n, prompt_dim)."""
        vectors: Tensor = self.text_projection(states)
        return vectors


def expanded_positions(ids: Sequence[int], image_tokens: int) -> list[int]:
    """Each id's position once the placeholder has become `image_tokens` positions (its own: the first of them)."""
    positions, at = [], 0
    for token in ids:
        positions.append(at)
        at += image_tokens if token == IMAGE_PLACEHOLDER else 1
    return positions
