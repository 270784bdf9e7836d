"""From the states of the three steps to one checkpoint."""

from pathlib import Path

from torch import Tensor, nn

from shared.model import parts
from shared.model.checkpoint import CONFIG_FILE, save_part
from shared.model.clip import GlobalImageEncoder
from shared.model.config import GlammConfig
from shared.model.tokenizer import FILE as TOKENIZER_FILE
from training.pretrain.phase import saved
from training.pretrain.sam import PromptVectors


def encoder(config: GlammConfig, work: Path) -> GlobalImageEncoder:
    """As `clip` left it."""
    made = GlobalImageEncoder(config.clip)
    made.load_state_dict(_below(saved(work, "clip"), "encoder"))
    return made


def prompt_vectors(config: GlammConfig, work: Path) -> PromptVectors:
    """As `sam` left them."""
    made = PromptVectors(config.sam.prompt_dim)
    made.load_state_dict(_below(saved(work, "sam"), "prompts"))
    return made


def write(config: GlammConfig, work: Path, out: Path) -> None:
    """A checkpoint folder with all five parts. Raises FileNotFoundError where a step has not been run."""
    vision, llm, pixel = parts.vision(config), parts.llm(config), parts.pixel(config)
    sam, lmm = saved(work, "sam"), saved(work, "lmm")
    vision.clip = encoder(config, work)
    vision.grounding.load_state_dict(_below(sam, "encoder"))
    vision.region.load_state_dict(_below(lmm, "region"))
    llm.load_state_dict(_below(lmm, "lmm"))
    pixel.load_state_dict(_below(sam, "decoder"))
    out.mkdir(parents=True, exist_ok=True)
    (out / CONFIG_FILE).write_text(config.to_json(), encoding="utf-8")
    (out / TOKENIZER_FILE).write_text((work / TOKENIZER_FILE).read_text(encoding="utf-8"), encoding="utf-8")
    made: dict[str, nn.Module] = {"vision": vision, "llm": llm, "pixel": pixel}
    for name, part in made.items():
        save_part(out, name, part.state_dict())


def _below(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    start = f"{prefix}."
    return {name.removeprefix(start): tensor for name, tensor in state.items() if name.startswith(start)}
