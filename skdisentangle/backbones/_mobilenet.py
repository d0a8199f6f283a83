"""MobileNetV2 in plain torch, with the names of torchvision's weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["MobileNetV2"]

#: Of each group of blocks: expansion, channels, blocks, stride of the first; table 2 of
#: the paper.
GROUPS = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


def _convolution(
    n_in: int, n_out: int, size: int, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(n_in, n_out, size, stride, size // 2, groups=groups, bias=False),
        nn.BatchNorm2d(n_out),
        nn.ReLU6(inplace=True),
    )


class _Block(nn.Module):
    """Expand, filter each channel, project; with a shortcut where shapes allow it."""

    def __init__(self, n_in: int, n_out: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = n_in * expansion
        layers: list[nn.Module] = []
        if expansion > 1:
            layers.append(_convolution(n_in, wide, 1))
        layers += [
            _convolution(wide, wide, 3, stride, groups=wide),
            nn.Conv2d(wide, n_out, 1, bias=False),
            nn.BatchNorm2d(n_out),
        ]
        self.conv = nn.Sequential(*layers)
        self.shortcut = stride == 1 and n_in == n_out

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(x)
        return x + out if self.shortcut else out


class MobileNetV2(nn.Module):
    """MobileNetV2 without its classifier, from images to maps of 1,280 features.

    This is the network of [1]_. Its parameters and buffers have the same names as in
    torchvision, so you can load torchvision's weights, except those of the classifier.

    References
    ----------
    .. [1] M. Sandler et al., "MobileNetV2: Inverted residuals and linear bottlenecks",
       CVPR 2018, arXiv 1801.04381.

    Examples
    --------
    >>> import torch
    >>> from skdisentangle.backbones import MobileNetV2
    >>> MobileNetV2().eval()(torch.zeros(1, 3, 64, 64)).shape
    torch.Size([1, 1280, 2, 2])
    """

    def __init__(self) -> None:
        super().__init__()
        n_in = 32
        layers: list[nn.Module] = [_convolution(3, n_in, 3, stride=2)]
        for expansion, n_out, n_blocks, stride in GROUPS:
            for block in range(n_blocks):
                layers.append(
                    _Block(n_in, n_out, stride if block == 0 else 1, expansion)
                )
                n_in = n_out
        layers.append(_convolution(n_in, 1280, 1))
        self.features = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (n, 3, H, W) to features (n, 1280, ceil(H / 32), ceil(W / 32))."""
        out: Tensor = self.features(x)
        return out


def without_classifier(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Torchvision's parameters, but for those that a :class:`MobileNetV2` lacks."""
    return {k: v for k, v in state.items() if not k.startswith("classifier.")}
