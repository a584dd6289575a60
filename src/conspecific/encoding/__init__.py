"""Ways to run one network without gradients: torch, ONNX Runtime and OpenVINO, behind one function,
and what they computed before.

Names are imported when they are used: `query_encoder` is to be imported without torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from conspecific.encoding.encoder import Encoder as Encoder
    from conspecific.encoding.encoder import torch_encoder as torch_encoder
    from conspecific.encoding.encoders import Encoders as Encoders
    from conspecific.encoding.kept import KeptActivations as KeptActivations
    from conspecific.encoding.rows import Rows as Rows

_HOMES = {
    "Encoder": "encoder",
    "Encoders": "encoders",
    "KeptActivations": "kept",
    "Rows": "rows",
    "torch_encoder": "encoder",
}

__all__ = ["Encoder", "Encoders", "KeptActivations", "Rows", "torch_encoder"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'conspecific.encoding' has no attribute {name!r}")
    return getattr(importlib.import_module(f"conspecific.encoding.{_HOMES[name]}"), name)
