"""Ways to run one network without gradients: torch, ONNX Runtime and OpenVINO, behind one function,
and what they computed before."""

from conspecific.encoding.encoder import Encoder, torch_encoder
from conspecific.encoding.encoders import Encoders
from conspecific.encoding.kept import KeptActivations
from conspecific.encoding.rows import Rows

__all__ = ["Encoder", "Encoders", "KeptActivations", "Rows", "torch_encoder"]
