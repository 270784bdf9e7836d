"""The pixel decoder: SAM's prompt encoder and mask decoder, prompted by one text vector a mask."""

import torch
from segment_anything.modeling import MaskDecoder, PromptEncoder, TwoWayTransformer
from torch import Tensor, nn
from torch.nn import functional as F

from shared.model.config import SamConfig


class PixelDecoder(nn.Module):
    def __init__(self, config: SamConfig) -> None:
        super().__init__()
        self.image_size = config.image_size
        self.prompt_encoder = PromptEncoder(
            embed_dim=config.prompt_dim,
            image_embedding_size=(config.grid, config.grid),
            input_image_size=(config.image_size, config.image_size),
            mask_in_chans=16,
        )
        self.mask_decoder = MaskDecoder(
            transformer_dim=config.prompt_dim,
            transformer=TwoWayTransformer(
                depth=config.decoder_depth,
                embedding_dim=config.prompt_dim,
                mlp_dim=config.decoder_mlp,
                num_heads=config.decoder_heads,
            ),
            iou_head_hidden_dim=config.iou_hidden,
        )

    def forward(self, embeddings: Tensor, prompts: Tensor) -> tuple[Tensor, Tensor]:
        """One mask a prompt vector.

        embeddings: (n, D, g, g), each prompt's image embedding; prompts: (n, D), from the L-P projection
        → mask logits (n, 4g, 4g) and predicted IoU (n,).

        The prompt enters as the only sparse embedding, without points, boxes or masks. SAM's own `predict_masks`
        repeats one image for all its prompts; here each prompt brings its image, so that prompts of many images
        run as one batch. The arithmetic is the same.
        """
        decoder = self.mask_decoder
        n, width, h, w = embeddings.shape
        output_tokens = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight])
        tokens = torch.cat([output_tokens.expand(n, -1, -1), prompts[:, None].to(output_tokens.dtype)], dim=1)
        source = embeddings + self.prompt_encoder.no_mask_embed.weight.reshape(1, -1, 1, 1)
        positions = self.dense_positions().expand(n, -1, -1, -1)
        states, source = decoder.transformer(source, positions.to(source.dtype), tokens)
        upscaled = decoder.output_upscaling(source.transpose(1, 2).reshape(n, width, h, w))
        # multimask_output is False in GLaMM: only the first mask token is read.
        weights = decoder.output_hypernetworks_mlps[0](states[:, 1])
        masks = torch.einsum("nc,nchw->nhw", weights, upscaled)
        iou = decoder.iou_prediction_head(states[:, 0])[:, 0]
        return masks, iou

    def dense_positions(self) -> Tensor:
        """SAM's random-Fourier position of every cell, (1, D, g, g), in the matrix's own dtype as GLaMM computes it."""
        layer = self.prompt_encoder.pe_layer
        h, w = self.prompt_encoder.image_embedding_size
        matrix = layer.positional_encoding_gaussian_matrix
        y = (torch.arange(h, device=matrix.device) + 0.5) / h
        x = (torch.arange(w, device=matrix.device) + 0.5) / w
        grid = torch.stack([x.expand(h, w), y[:, None].expand(h, w)], dim=-1)
        encoded: Tensor = layer._pe_encoding(grid.to(matrix.dtype))
        return encoded.permute(2, 0, 1)[None]

    def upscale(self, masks: Tensor, resized: tuple[int, int], original: tuple[int, int]) -> Tensor:
        """Low-resolution logits (n, 4g, 4g) → (n, *original), sizes (height, width); in float32, as the reference."""
        full = F.interpolate(masks[:, None].float(), (self.image_size, self.image_size), mode="bilinear")
        cropped = full[..., : resized[0], : resized[1]]
        return F.interpolate(cropped, original, mode="bilinear")[:, 0]
