"""Ways to run one network without gradients: torch, ONNX Runtime and OpenVINO, behind one function."""

from conspecific.encoding.encoder import Encoder, torch_encoder
from conspecific.encoding.encoders import Encoders

__all__ = ["Encoder", "Encoders", "torch_encoder"]
