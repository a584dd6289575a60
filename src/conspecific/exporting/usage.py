"""Programs that run an exported network: the first thing its README shows."""

from conspecific.exporting import timm_folder
from conspecific.exporting.formats import ONNX, OPENVINO, TORCH
from conspecific.exporting.network import ExportedNetwork

PREPARE = """\
import numpy as np
import {package}
from PIL import Image, ImageOps


def prepared(path, size={size}):
    image = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
    scale = size / min(image.size)
    width, height = (max(size, round(scale * side)) for side in image.size)
    image = image.resize((width, height), Image.Resampling.BICUBIC)
    left, top = (width - size) // 2, (height - size) // 2
    pixels = np.asarray(image.crop((left, top, left + size, top + size)))
    return {result}


"""
PIXELS = "pixels.transpose(2, 0, 1)"
NORMALIZED = "((pixels / 255 - {mean}) / {std}).astype(np.float32).transpose(2, 0, 1)"
PACKAGES = {"onnx": "onnxruntime", "openvino": "openvino", "torch": "torch"}
RUN = {
    "onnx": f"""\
network = onnxruntime.InferenceSession("{ONNX}")
[embeddings] = network.run(None, {{"images": np.stack([prepared("image.jpg")])}})  # [B, D]
""",
    "openvino": f"""\
network = openvino.Core().compile_model("{OPENVINO}", "CPU")
embeddings = network(np.stack([prepared("image.jpg")]))[0]  # [B, D]
""",
    "torch": f"""\
network = torch.export.load("{TORCH}").module()
with torch.inference_mode():
    embeddings = network(torch.from_numpy(np.stack([prepared("image.jpg")])))  # [B, D]
""",
}
TIMM = """\
import timm
import torch
import torch.nn.functional as F
from PIL import Image
{imports}from timm.data import create_transform, resolve_model_data_config

net = timm.create_model("local-dir:.", pretrained=True, num_classes=0).eval()
{head}images = create_transform(**resolve_model_data_config(net))(Image.open("image.jpg").convert("RGB"))[None]
with torch.inference_mode():
{lines}"""


def program(name: str, network: ExportedNetwork) -> str:
    """Return a program, to be run in the folder of the export, that embeds `image.jpg`. name: of the format."""
    if name == "timm":
        lines = timm_folder.usage(network.embedder)
        has_head = any("head[" in line for line in lines)
        return TIMM.format(
            imports="from safetensors.torch import load_file\n" if has_head else "",
            head=f'head = load_file("{timm_folder.HEAD}")\n' if has_head else "",
            lines="".join(f"    {line}\n" for line in lines),
        )
    facts = network.describe()
    result = PIXELS if network.uint8 else NORMALIZED.format(mean=facts["mean"], std=facts["std"])
    return PREPARE.format(package=PACKAGES[name], size=network.image_size, result=result) + RUN[name]
