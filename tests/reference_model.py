"""GLaMM put together from other code than the project's, to record golden folders of any size.

Hugging Face's CLIP and LLaMA in eager attention, segment-anything's own encoder and `predict_masks`, a region encoder
written down from the paper's facts, greedy decoding without a cache. `tests/golden` shows that it is faithful.
"""

import json
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, TwoWayTransformer
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import roi_align
from transformers import CLIPVisionConfig, CLIPVisionModel, LlamaConfig, LlamaForCausalLM

IMAGE = -200
TOWER = "model.vision_tower.vision_tower.vision_model."
SAM = "model.grounding_encoder."
Sizes = dict[str, Any]
"""A golden folder's config.json."""


class ReferenceModel(nn.Module):
    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.sizes = sizes
        llm, clip, sam = sizes["llm"], sizes["clip"], sizes["sam"]
        self.clip = CLIPVisionModel(CLIPVisionConfig(**clip, attn_implementation="eager"))
        self.llama = LlamaForCausalLM(LlamaConfig(**llm, tie_word_embeddings=False, attn_implementation="eager"))
        self.region = RegionEncoder(clip["hidden_size"], sizes["region"]["query_dim"], llm["hidden_size"])
        self.projector = nn.Sequential(
            nn.Linear(clip["hidden_size"], llm["hidden_size"]),
            nn.GELU(),
            nn.Linear(llm["hidden_size"], llm["hidden_size"]),
        )
        self.text_fcs = nn.Sequential(
            nn.Linear(llm["hidden_size"], llm["hidden_size"]),
            nn.ReLU(),
            nn.Linear(llm["hidden_size"], sam["prompt_dim"]),
        )
        grid = sam["image_size"] // 16
        self.image_encoder = ImageEncoderViT(
            img_size=sam["image_size"],
            embed_dim=sam["embed_dim"],
            depth=sam["depth"],
            num_heads=sam["num_heads"],
            out_chans=sam["prompt_dim"],
            norm_layer=partial(nn.LayerNorm, eps=1e-6),
            use_rel_pos=True,
            window_size=sam["window_size"],
            global_attn_indexes=tuple(sam["global_attn_indexes"]),
        )
        self.prompt_encoder = PromptEncoder(sam["prompt_dim"], (grid, grid), (sam["image_size"],) * 2, 16)
        self.mask_decoder = MaskDecoder(
            transformer_dim=sam["prompt_dim"],
            transformer=TwoWayTransformer(2, sam["prompt_dim"], 8, sam["mlp_dim"]),
            iou_head_hidden_dim=sam["iou_hidden"],
        )

    def reference_state(self) -> dict[str, Tensor]:
        """Every weight under the name that the reference keeps it by."""
        prefixed = {
            TOWER: {name.removeprefix("vision_model."): value for name, value in self.clip.state_dict().items()},
            "": self.llama.state_dict(),
            "model.region_encoder.": self.region.state_dict(),
            "model.mm_projector.": self.projector.state_dict(),
            "model.text_hidden_fcs.0.": self.text_fcs.state_dict(),
            SAM + "image_encoder.": self.image_encoder.state_dict(),
            SAM + "prompt_encoder.": self.prompt_encoder.state_dict(),
            SAM + "mask_decoder.": self.mask_decoder.state_dict(),
        }
        return {prefix + name: value for prefix, state in prefixed.items() for name, value in state.items()}

    def load_reference(self, state: dict[str, Tensor]) -> None:
        mine = self.reference_state()
        with torch.no_grad():
            for name, value in mine.items():
                value.copy_(state[name])

    def hidden_states(self, pixels: Tensor) -> list[Tensor]:
        tower = getattr(self.clip, "vision_model", self.clip)
        states = [tower.pre_layrnorm(tower.embeddings(pixels))]
        for layer in tower.encoder.layers:
            states.append(layer(states[-1], attention_mask=None))
        return states

    def levels(self, states: list[Tensor]) -> list[Tensor]:
        """Shallow to deep, (1, width, 24, 24) each: the selected state and every third below it, at most four."""
        chosen = states[self.sizes["select_layer"] :: -3][::-1][-4:]
        return [state[:, 1:].transpose(1, 2).unflatten(2, (24, 24)) for state in chosen]

    def embed(self, ids: Tensor, image: Tensor, regions: Tensor | None) -> Tensor:
        """The reference walks along the ids, and puts the k-th region where the k-th mark stands."""
        marks = 0
        rows = []
        for token in ids.tolist():
            if token == IMAGE:
                rows.append(image)
            elif token == self.sizes["tokens"]["bbox"] and regions is not None and len(regions):
                rows.append(regions[[min(marks, len(regions) - 1)]])
                marks += 1
            else:
                rows.append(self.llama.model.embed_tokens.weight[[token]])
        return torch.cat(rows)[None]

    def states(self, embeddings: Tensor) -> Tensor:
        return self.llama.model(inputs_embeds=embeddings, use_cache=False).last_hidden_state

    def decode(self, embedding: Tensor, vectors: Tensor) -> tuple[Tensor, Tensor]:
        dense = self.prompt_encoder.no_mask_embed.weight[:, :, None, None].expand_as(embedding)
        masks, iou = self.mask_decoder.predict_masks(
            image_embeddings=embedding,
            image_pe=self.prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=vectors[:, None],
            dense_prompt_embeddings=dense,
        )
        return masks[:, :1], iou[:, :1]

    def upscale(self, low: Tensor) -> Tensor:
        side = self.sizes["sam"]["image_size"]
        height, width = self.sizes["resized_size"]
        full = F.interpolate(low, (side, side), mode="bilinear", align_corners=False)[..., :height, :width]
        return F.interpolate(full, tuple(self.sizes["original_size"]), mode="bilinear", align_corners=False)[:, 0]

    def greedy(self, ids: Tensor, image: Tensor, regions: Tensor | None, steps: int) -> tuple[Tensor, Tensor]:
        """The whole prefix anew for every token → all ids (1, l), and the vector of each [SEG] that was added."""
        vectors = []
        for _ in range(steps):
            last = self.states(self.embed(ids, image, regions))[0, -1]
            token = self.llama.lm_head(last).argmax()
            if token == self.sizes["tokens"]["seg"]:
                vectors.append(self.text_fcs(last))
            ids = torch.cat([ids, token[None]])
            if token == self.sizes["llm"]["eos_token_id"]:
                break
        width = self.sizes["sam"]["prompt_dim"]
        return ids[None], torch.stack(vectors) if vectors else torch.zeros(0, width)


class RegionEncoder(nn.Module):
    """Parameters under the reference's names; the arithmetic as one function."""

    def __init__(self, width: int, query: int, hidden: int) -> None:
        super().__init__()
        self.mlvl_fuse = nn.Module()
        self.mlvl_fuse.input_conv = nn.ModuleList(nn.Conv2d(width + 2, width, 1) for _ in range(4))
        self.mlvl_fuse.fuse_convs = nn.ModuleList(
            nn.ModuleDict({"conv": nn.Conv2d(width, width, 3, 1, 1, bias=False), "gn": nn.GroupNorm(64, width)})
            for _ in range(5)
        )
        self.roi_align = nn.Module()
        self.roi_align.pconvs = nn.ModuleList(nn.Conv2d(width, width, 3, 1, 1) for _ in range(4))
        self.roi_align.pos_embedd = nn.Sequential(
            nn.Linear(4, 256), nn.ReLU(), nn.LayerNorm(256), nn.Linear(256, query), nn.ReLU(), nn.LayerNorm(query)
        )
        self.roi_align.updims = nn.Linear(query, hidden)
        self.roi_align.flatten_linear = nn.Linear(width * 196, query)

    def forward(self, levels: list[Tensor], boxes: Tensor) -> Tensor:
        sized = partial(F.interpolate, mode="bilinear", align_corners=True)
        maps = []
        for level, side, conv in zip(levels, (192, 96, 48, 24), self.mlvl_fuse.input_conv, strict=True):
            y, x = torch.meshgrid(torch.linspace(-1, 1, side), torch.linspace(-1, 1, side), indexing="ij")
            maps.append(conv(torch.cat([sized(level, size=(side, side)), x[None, None], y[None, None]], 1)))
        quarter = maps[0].shape[1] // 4
        for convs in self.mlvl_fuse.fuse_convs:
            mixed = []
            for index, level in enumerate(maps):
                deeper, shallower = maps[min(index + 1, 3)], maps[max(index - 1, 0)]
                mixed.append(
                    torch.cat(
                        [
                            level[:, : 2 * quarter],
                            sized(deeper[:, 3 * quarter :], size=level.shape[2:]),
                            sized(shallower[:, 2 * quarter : 3 * quarter], size=level.shape[2:]),
                        ],
                        1,
                    )
                )
            maps = [convs["gn"](convs["conv"](level)).relu() for level in mixed]
        rois = torch.cat([torch.zeros(len(boxes), 1), boxes * 224], 1)
        parts = self.roi_align
        pooled = [
            conv(roi_align(level, rois, 14, spatial_scale=scale / 14, sampling_ratio=2, aligned=True))
            for conv, level, scale in zip(parts.pconvs, maps, (8, 4, 2, 1), strict=True)
        ]
        query = parts.flatten_linear(torch.stack(pooled).sum(0).relu().flatten(1))
        return parts.updims(query + parts.pos_embedd(boxes))


@torch.no_grad()
def randomise(model: nn.Module, seed: int) -> None:
    """Every weight its own number, those of norms and biases too, so that none can be taken for another."""
    generator = torch.Generator().manual_seed(seed)
    for name, value in model.state_dict().items():
        if not value.is_floating_point() or name.endswith("positional_encoding_gaussian_matrix"):
            continue
        noise = torch.randn(value.shape, generator=generator)
        if value.ndim > 1:
            value.copy_(noise / value[0].numel() ** 0.5)
        else:
            value.copy_((value.mean() > 0.5) + 0.1 * noise)


@torch.no_grad()
def record(
    model: ReferenceModel,
    folder: Path,
    clip_pixels: Tensor,
    sam_pixels: Tensor,
    boxes: Tensor,
    forced: Tensor,
    prompt: Tensor,
    steps: int,
) -> dict[str, Tensor]:
    """Runs every step and writes a golden folder. forced, prompt: ids (l,), the first with its answer."""
    model.eval()
    made: dict[str, Tensor] = {
        "clip_pixel_values": clip_pixels,
        "sam_pixel_values": sam_pixels,
        "boxes_normalized": boxes,
        "forced.input_ids": forced[None],
        "greedy.input_ids": prompt[None],
    }
    states = model.hidden_states(clip_pixels)
    made |= {f"clip_hidden_states.{index}": state for index, state in enumerate(states)}
    made["global_tokens"] = states[model.sizes["select_layer"]][:, 1:]
    image = made["projected_tokens"] = model.projector(made["global_tokens"])
    regions = made["region_tokens"] = model.region(model.levels(states), boxes)
    embedding = made["sam_embedding"] = model.image_encoder(sam_pixels)
    last = made["forced.last_hidden_state"] = model.states(model.embed(forced, image[0], regions))
    made["forced.logits"] = model.llama.lm_head(last)
    # As the reference finds it: shifted by one, and by the 575 positions that the image adds before.
    before = torch.zeros(1, image.shape[1] - 1, dtype=torch.bool)
    seg = (forced[None, 1:] == model.sizes["tokens"]["seg"]) & (forced[None, 1:] != IMAGE)
    made["forced.seg_mask"] = torch.cat([before, seg, torch.zeros(1, 1, dtype=torch.bool)], 1)
    vectors = made["forced.seg_prompt_vectors"] = model.text_fcs(last[made["forced.seg_mask"]])
    made["dense_pe"] = model.prompt_encoder.get_dense_pe()
    grid = model.sizes["sam"]["image_size"] // 4
    if len(vectors):
        low, iou = model.decode(embedding, vectors)
        full = model.upscale(low)
    else:
        low, iou = torch.zeros(0, 1, grid, grid), torch.zeros(0, 1)
        full = torch.zeros(0, *model.sizes["original_size"])
    made |= {"forced.low_res_masks": low, "forced.iou_predictions": iou, "forced.mask_logits": full}
    made["greedy.output_ids"], said = model.greedy(prompt, image[0], regions, steps)
    none = torch.zeros(0, *model.sizes["original_size"])
    made["greedy.mask_logits"] = model.upscale(model.decode(embedding, said)[0]) if len(said) else none
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(model.sizes))
    save_file(
        {name: value.clone().contiguous() for name, value in model.reference_state().items()},
        folder / "model.safetensors",
    )
    save_file({name: value.clone().contiguous() for name, value in made.items()}, folder / "record.safetensors")
    return made
