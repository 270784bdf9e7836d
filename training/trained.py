"""Which weights of a model learn: whole parts, low-rank adapters on the LLM; and the model as if never adapted."""

from collections.abc import Sequence

import torch
from peft import LoraConfig as PeftConfig
from peft import inject_adapter_in_model
from peft.tuners.lora import Linear as LoraLinear
from torch import Tensor, nn

from training.config import LoraConfig, TrainedConfig
from training.network import GlammNetwork

PREFIXES = {
    "lm_head": "lmm.llama.lm_head.",
    "embed_tokens": "lmm.llama.model.embed_tokens.",
    "mask_decoder": "pixel.mask_decoder.",
    "text_projection": "lmm.text_projection.",
    "region_encoder": "vision.region.",
    "projector": "lmm.projector.",
    "llm": "lmm.llama.",
    "global_encoder": "vision.clip.",
    "grounding_encoder": "vision.grounding.",
}
ADAPTER = "default"


def choose_trained(network: GlammNetwork, trained: TrainedConfig, frozen_dtype: torch.dtype) -> None:
    """Adds the adapters, and lets the chosen parts and them learn, in float32. All else is frozen, in `frozen_dtype`.

    Raises ValueError where the LLM has no layer of a name that the adapters are to go to.
    """
    network.requires_grad_(False)
    if trained.lora is not None:
        _adapt(network.lmm.llama, trained.lora)
    prefixes = ("",) if trained.parts == "everything" else tuple(PREFIXES[part] for part in trained.parts)
    for name, parameter in network.named_parameters():
        if name.startswith(prefixes):
            parameter.requires_grad_(True)
        parameter.data = parameter.data.to(torch.float32 if parameter.requires_grad else frozen_dtype)


def trained_parameters(network: GlammNetwork) -> dict[str, nn.Parameter]:
    return {name: parameter for name, parameter in network.named_parameters() if parameter.requires_grad}


def merged_state(module: nn.Module) -> dict[str, Tensor]:
    """The module's state under the names that it has without adapters, what these learned added to the weights."""
    state = dict(module.state_dict())
    for name, layer in module.named_modules():
        if isinstance(layer, LoraLinear):
            for key in [key for key in state if key.startswith(f"{name}.")]:
                del state[key]
            for key, tensor in layer.get_base_layer().state_dict().items():
                state[f"{name}.{key}"] = tensor
            state[f"{name}.weight"] = state[f"{name}.weight"].float() + layer.get_delta_weight(ADAPTER).detach().float()
    return state


def _adapt(llama: nn.Module, lora: LoraConfig) -> None:
    _require_layers(llama, lora.targets)
    adapters = PeftConfig(r=lora.r, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=list(lora.targets))
    inject_adapter_in_model(adapters, llama, ADAPTER)


def _require_layers(llama: nn.Module, targets: Sequence[str]) -> None:
    linear = {name.rpartition(".")[2] for name, module in llama.named_modules() if isinstance(module, nn.Linear)}
    for target in targets:
        if target not in linear:
            raise ValueError(f"the LLM has no layer {target!r}; it has {', '.join(sorted(linear))}")
