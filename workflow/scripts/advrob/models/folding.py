"""Batch normalisation folded into the convolution before it: the same function in fewer steps.

A network that is not trained normalises by constants, so a convolution with weights W and bias b,
and the normalisation after it, are one convolution with weights ``s W`` and bias
``beta + s (b - mean)``, by channel, where ``s = gamma / sqrt(variance + epsilon)`` (Jacob et al.
2018, "Quantization and training of neural networks", section 3.2).
"""

import copy

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

# Whether networks are folded by default: the one place to turn it off. It changes logits in their
# last digits.
FOLD = True
# How far a folded convolution may be from the two layers, relative to their largest output: several
# times the rounding of float32.
TOLERANCE = 1e-4


def fold(network: nn.Module) -> int:
    """Fold batch normalisation into convolutions, in place, where it is exact up to rounding.

    What cannot be traced, or shares layers or weights, is left as it is, and so are convolutions
    that compute their weights in every pass.

    Args:
        network: in evaluation mode, and never trained again.

    Returns:
        How many layers were folded.
    """
    modules = dict(network.named_modules())
    return sum(_fold(network, modules, *pair) for pair in _pairs(network, modules))


class _Tracer(fx.Tracer):
    """Treats convolutions and normalisations as leaves, subclasses too."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        leaf = isinstance(m, nn.Conv2d | nn.BatchNorm2d)
        return leaf or super().is_leaf_module(m, module_qualified_name)


def _pairs(network: nn.Module, modules: dict[str, nn.Module]) -> list[tuple[str, str]]:
    """Names of convolutions whose output only a normalisation takes, each with that one's name."""
    kinds = {kind for kind in (nn.Conv2d, nn.BatchNorm2d) for m in modules.values()
             if isinstance(m, kind)}  # fmt: skip
    if len(kinds) < 2 or any(isinstance(m, torch.jit.ScriptModule) for m in modules.values()):
        return []
    try:
        # A copy that shares the weights: a network may store what a pass computes, here no tensors.
        tensors = [*network.parameters(), *network.buffers()]
        traced = copy.deepcopy(network, {id(tensor): tensor for tensor in tensors})
        graph = _Tracer().trace(traced)
    except Exception:  # the network's own code may raise anything when traced
        return []
    calls: dict[str, int] = {}
    for node in graph.nodes:
        if node.op == "call_module":
            calls[str(node.target)] = calls.get(str(node.target), 0) + 1
    direct = tuple(str(node.target) for node in graph.nodes if node.op == "get_attr")
    pairs = []
    for node in graph.nodes:
        producer = node.args[0] if node.op == "call_module" and len(node.args) == 1 else None
        if not isinstance(producer, fx.Node) or producer.op != "call_module" or node.kwargs:
            continue
        names = str(producer.target), str(node.target)
        if (
            isinstance(modules[names[0]], nn.Conv2d)
            and isinstance(modules[names[1]], nn.BatchNorm2d)
            and len(producer.users) == 1
            and all(calls[name] == 1 for name in names)
            and not any(attribute.startswith(f"{name}.") for attribute in direct for name in names)
        ):
            pairs.append(names)
    return pairs


def _fold(
    network: nn.Module, modules: dict[str, nn.Module], convolution_name: str, norm_name: str
) -> bool:
    convolution, norm = modules[convolution_name], modules[norm_name]
    assert isinstance(convolution, nn.Conv2d)
    assert isinstance(norm, nn.BatchNorm2d)
    mean, variance = norm.running_mean, norm.running_var
    if mean is None or variance is None or not _foldable(network, convolution, norm):
        return False
    # What a subclass adds, mostly an activation.
    extra = [part for part in norm.children() if not isinstance(part, nn.Identity)]
    remainder = nn.Sequential(*extra) if extra else nn.Identity()
    folded = copy.deepcopy(convolution)
    scale = (variance.double() + norm.eps).rsqrt()
    scale = scale if norm.weight is None else scale * norm.weight.double()
    bias = -mean.double() if convolution.bias is None else convolution.bias.double() - mean.double()
    bias = bias * scale if norm.bias is None else norm.bias.double() + bias * scale
    weight = convolution.weight
    for name, value in (("weight", weight.double() * scale[:, None, None, None]), ("bias", bias)):
        parameter = nn.Parameter(value.detach().to(weight.dtype), weight.requires_grad)
        setattr(folded, name, parameter)
    if not _same(convolution, norm, folded, remainder):
        return False
    _replace(network, convolution_name, folded)
    _replace(network, norm_name, remainder)
    return True


def _foldable(network: nn.Module, *layers: nn.Module) -> bool:
    """Whether layers share no weights with others and have no hooks or parametrisations."""
    parameter_ids = {id(parameter) for layer in layers for parameter in layer.parameters()}
    shared = [
        parameter
        for _, parameter in network.named_parameters(remove_duplicate=False)
        if id(parameter) in parameter_ids
    ]
    return len(shared) == sum(len([*layer.parameters()]) for layer in layers) and not any(
        parametrize.is_parametrized(layer)
        or layer._forward_hooks
        or layer._forward_pre_hooks
        or layer.training
        for layer in layers
    )


@torch.no_grad()
def _same(
    convolution: nn.Conv2d, norm: nn.BatchNorm2d, folded: nn.Module, remainder: nn.Module
) -> bool:
    """Whether folding changes only last digits: subclasses may use their weights as they like."""
    height, width = (
        dilation * (kernel - 1) + 4
        for dilation, kernel in zip(convolution.dilation, convolution.kernel_size, strict=True)
    )
    weight = convolution.weight
    generator = torch.Generator().manual_seed(0)
    shape = (2, convolution.in_channels, height, width)
    images = torch.randn(shape, generator=generator).to(weight)
    normalised: Tensor = F.batch_norm(
        *(convolution(images), norm.running_mean, norm.running_var, norm.weight, norm.bias),
        eps=norm.eps,
    )
    limit = TOLERANCE * normalised.abs().max()
    difference = (norm(convolution(images)) - remainder(folded(images))).abs().max()
    return bool(difference <= limit)


def _replace(network: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, attribute = name.rpartition(".")
    setattr(network.get_submodule(parent), attribute, module.train(False))
