"""Split a backbone into its frozen stages and its trained stages."""

from collections.abc import Sequence
from dataclasses import dataclass
from operator import getitem
from typing import Any

from timm.models import get_notrace_functions, get_notrace_modules
from torch import fx, nn
from torch.fx.proxy import TraceError


@dataclass(frozen=True)
class StageSplit:
    """frozen: normalised images [B, 3, H, W] -> activations. trained: activations -> what `forward_features` gives.

    Both hold the modules of the network itself, not copies of them. frozen is None where the first layer is trained;
    trained takes the images then.
    """

    frozen: nn.Module | None
    trained: fx.GraphModule


def split_at_frozen(net: Any) -> StageSplit | None:
    """Split a timm network after the last frozen layer that precedes every trained layer.

    The output of the frozen stages for an image does not change during training, so it can be computed once. If no
    layer is trained, all are frozen. Returns None if torch.fx cannot trace the network.
    """
    nodes = _traced(net)
    if not nodes:
        return None
    frozen = _frozen(nodes, net)
    for place in range(len(nodes) - 2, 0, -1):
        before = set(nodes[: place + 1])
        crossing = {source for node in nodes[place + 1 :] for source in node.all_input_nodes if source in before}
        if before <= frozen and crossing == {nodes[place]} and not _is_tuple(nodes[place]):
            return StageSplit(_part(net, nodes[: place + 1]), _part(net, nodes[place + 1 :]))
    return StageSplit(None, _part(net, nodes[1:]))


def used_parameters(net: Any) -> list[nn.Parameter]:
    """Return the parameters that the last feature map depends on; all of them if torch.fx cannot trace the network.

    Some networks have others that only their classifier uses: ConvNeXt's last norm, MobileNet's last layer.
    """
    nodes = _traced(net)
    return [parameter for node in nodes for parameter in _parameters(node, net)] or list(net.parameters())


def _traced(net: Any) -> list[fx.Node]:
    """Return the operations of `forward_features` in order; none if torch.fx cannot trace it.

    Reading a parameter is not an operation of its own: it belongs to the operation that uses the parameter.
    """
    try:
        return [node for node in _Tracer().trace(net).nodes if node.op != "get_attr"]
    except (TraceError, TypeError, NotImplementedError, AssertionError):  # control flow that depends on the input
        return []


class _Tracer(fx.Tracer):
    """Traces `forward_features`; modules that timm marks as untraceable and modules without children stay whole."""

    traced_func_name = "forward_features"

    def __init__(self) -> None:
        super().__init__(autowrap_functions=tuple(get_notrace_functions()))  # type: ignore[no-untyped-call]
        self.whole = tuple(get_notrace_modules())  # type: ignore[no-untyped-call]

    def create_args_for_root(self, root_fn: Any, *args: Any, **options: Any) -> Any:
        # the images are the only input: other arguments, such as a token mask, keep their defaults
        return super().create_args_for_root(lambda net, images: root_fn(net, images), *args, **options)

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, self.whole) or not any(m.children()) or super().is_leaf_module(m, module_qualified_name)


def _frozen(nodes: Sequence[fx.Node], net: nn.Module) -> set[fx.Node]:
    """Return the nodes whose value depends on no trained parameter."""
    frozen: set[fx.Node] = set()
    for node in nodes:
        if node.op == "output" or any(parameter.requires_grad for parameter in _parameters(node, net)):
            continue
        if all(source in frozen or source.op == "get_attr" for source in node.all_input_nodes):
            frozen.add(node)
    return frozen


def _is_tuple(node: fx.Node) -> bool:
    """Return whether a node gives a tuple of tensors, which later nodes index."""
    return any(user.target is getitem and isinstance(user.args[1], int) for user in node.users)


def _parameters(node: fx.Node, net: nn.Module) -> list[nn.Parameter]:
    """Return the parameters that a node itself uses."""
    used = [source for source in node.all_input_nodes if source.op == "get_attr"]
    parameters = [parameter for source in used if isinstance(parameter := _attribute(net, source), nn.Parameter)]
    if node.op == "call_module":
        parameters += net.get_submodule(str(node.target)).parameters()
    return parameters


def _attribute(net: nn.Module, node: fx.Node) -> Any:
    owner, _, name = str(node.target).rpartition(".")
    return getattr(net.get_submodule(owner), name)


def _part(net: nn.Module, nodes: Sequence[fx.Node]) -> fx.GraphModule:
    """Return consecutive nodes of a graph as a module with one input: that of the first node."""
    graph, copies = fx.Graph(), {}

    def copied(source: fx.Node) -> fx.Node:
        if source not in copies:
            copies[source] = graph.get_attr(str(source.target)) if source.op == "get_attr" else graph.placeholder("x")
        return copies[source]

    for node in nodes:
        copies[node] = graph.node_copy(node, copied)
    if nodes[-1].op != "output":
        graph.output(copies[nodes[-1]])
    return fx.GraphModule(net, graph)
