"""The network that is exported, and what a caller must know to feed it."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from conspecific.models import Embedder

Run = Callable[[Tensor], Tensor]  # from a batch of prepared images to embeddings


class ExportedNetwork(nn.Module):
    """An embedder from prepared images of one size to embeddings [B, D] float32.

    embedder: moved to the CPU and put in evaluation mode. image_size: side of the square images in pixels.
    uint8: whether forward takes the pixels themselves, uint8 [B, 3, H, W], and normalises them. Otherwise it takes
        float32 [B, 3, H, W], divided by 255 and normalised by mean and standard deviation before.
    """

    def __init__(self, embedder: Embedder, image_size: int, uint8: bool) -> None:
        super().__init__()
        self.embedder, self.image_size, self.uint8 = embedder.eval().cpu(), image_size, uint8

    def forward(self, images: Tensor) -> Tensor:
        backbone = self.embedder.backbone
        return self.embedder.forward_head(backbone(images) if self.uint8 else backbone.feature_map(images))

    def prepared(self, pixels: Tensor) -> Tensor:
        """Return what forward takes, from pixels uint8 [B, 3, H, W]."""
        backbone = self.embedder.backbone
        return pixels if self.uint8 else (pixels.float() / 255 - backbone.mean.cpu()) / backbone.std.cpu()

    def noise(self, count: int) -> Tensor:
        """Return random pixels of the size of the images, uint8 [count, 3, H, W], always the same."""
        shape = count, 3, self.image_size, self.image_size
        return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))

    def describe(self) -> dict[str, Any]:
        """Return how images are prepared and what comes out, as JSON values."""
        embedder, backbone = self.embedder, self.embedder.backbone
        with torch.inference_mode():
            dimensions = self(self.prepared(self.noise(1))).shape[1]
        return {
            "image_size": self.image_size,
            "resize": "shorter side to image_size, bicubic with antialiasing",
            "crop": "central square",
            "color_order": "RGB",
            "layout": "NCHW, any batch size",
            "input": "uint8, 0 to 255" if self.uint8 else "float32, (pixel / 255 - mean) / std",
            "normalization_in_graph": self.uint8,
            "mean": [round(value, 6) for value in backbone.mean.flatten().tolist()],
            "std": [round(value, 6) for value in backbone.std.flatten().tolist()],
            "embedding": {"dimensions": dimensions, "l2_normalized": embedder.normalize, "similarity": embedder.metric},
        }
