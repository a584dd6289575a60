"""A backbone in two: the stages that are frozen, and those that are trained."""

from collections.abc import Sequence
from dataclasses import dataclass
from operator import getitem
from typing import Any

from timm.models import get_notrace_functions, get_notrace_modules
from torch import fx, nn
from torch.fx.proxy import TraceError


@dataclass(frozen=True)
class Cut:
    """frozen: normalised images [B, 3, H, W] -> activations. trained: activations -> what `forward_features` gives.

    Both hold the modules of the network they were cut from, not copies of them.
    """

    frozen: nn.Module
    trained: nn.Module


def cut(net: Any) -> Cut | None:
    """Cut a timm network behind its last frozen layer that everything trained comes after.

    The frozen part gives the same for the same image as long as training goes on, so it need not be computed twice.
    Where no layer is trained, all are frozen. Returns None where the first layer is trained, or torch.fx cannot trace
    the network.
    """
    nodes = _traced(net)
    frozen = _frozen(nodes, net)
    for place in range(len(nodes) - 2, 0, -1):
        before = set(nodes[: place + 1])
        crossing = {source for node in nodes[place + 1 :] for source in node.all_input_nodes if source in before}
        if before <= frozen and crossing == {nodes[place]} and not _is_tuple(nodes[place]):
            return Cut(_part(net, nodes[: place + 1]), _part(net, nodes[place + 1 :]))
    return None


def used_parameters(net: Any) -> list[nn.Parameter]:
    """The parameters that the last feature map depends on; all where torch.fx cannot trace the network.

    Some networks have more, which only their classifier looks through: ConvNeXt's last norm, MobileNet's last layer.
    """
    nodes = _traced(net)
    return [parameter for node in nodes for parameter in _parameters(node, net)] or list(net.parameters())


def _traced(net: Any) -> list[fx.Node]:
    """What `forward_features` does, step by step; nothing where torch.fx cannot tell.

    Reading a parameter is no step of its own: it is taken along to where the parameter is used.
    """
    try:
        return [node for node in _Tracer().trace(net).nodes if node.op != "get_attr"]
    except (TraceError, TypeError, NotImplementedError, AssertionError):  # control flow that depends on the input
        return []


class _Tracer(fx.Tracer):
    """Traces `forward_features`, with what timm says cannot be traced left whole, and so what is made of no others."""

    traced_func_name = "forward_features"

    def __init__(self) -> None:
        super().__init__(autowrap_functions=tuple(get_notrace_functions()))  # type: ignore[no-untyped-call]
        self.whole = tuple(get_notrace_modules())  # type: ignore[no-untyped-call]

    def create_args_for_root(self, root_fn: Any, *args: Any, **options: Any) -> Any:
        # images alone: other arguments, as a mask of tokens, keep their defaults and are no inputs
        return super().create_args_for_root(lambda net, images: root_fn(net, images), *args, **options)

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, self.whole) or not any(m.children()) or super().is_leaf_module(m, module_qualified_name)


def _frozen(nodes: Sequence[fx.Node], net: nn.Module) -> set[fx.Node]:
    """Nodes that no trained parameter has a part in."""
    frozen: set[fx.Node] = set()
    for node in nodes:
        if node.op == "output" or any(parameter.requires_grad for parameter in _parameters(node, net)):
            continue
        if all(source in frozen or source.op == "get_attr" for source in node.all_input_nodes):
            frozen.add(node)
    return frozen


def _is_tuple(node: fx.Node) -> bool:
    """Whether a node gives several tensors, which those after it take by number."""
    return any(user.target is getitem and isinstance(user.args[1], int) for user in node.users)


def _parameters(node: fx.Node, net: nn.Module) -> list[nn.Parameter]:
    """The parameters that a step itself makes use of."""
    used = [source for source in node.all_input_nodes if source.op == "get_attr"]
    parameters = [parameter for source in used if isinstance(parameter := _attribute(net, source), nn.Parameter)]
    if node.op == "call_module":
        parameters += net.get_submodule(str(node.target)).parameters()
    return parameters


def _attribute(net: nn.Module, node: fx.Node) -> Any:
    owner, _, name = str(node.target).rpartition(".")
    return getattr(net.get_submodule(owner), name)


def _part(net: nn.Module, nodes: Sequence[fx.Node]) -> fx.GraphModule:
    """Some successive nodes of a graph as a module; the first takes, or is, the only input."""
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
