"""The parts of residual networks: Bi-Real Net's block, stages of it, and the real layers around them."""

from torch import Tensor, nn

from optimizers.core import WeightRule
from suite.models.blocks.layers import BinaryConv2d, Sign, named, real_conv2d, real_linear
from suite.models.blocks.norms import Norm


class BiRealBlock(nn.Module):
    """norm(convolution(sign(x))) + shortcut(x), the convolution binary and 3x3 (Liu et al., ECCV 2018).

    x: (N, inputs, H, W). With more outputs than inputs it halves the map, rounded up: the convolution has
    stride 2, and the shortcut is an average pooling, a real 1x1 convolution and a norm. Otherwise the
    shortcut is x itself.
    """

    def __init__(self, rule: WeightRule, inputs: int, outputs: int, activation: str, norm: Norm) -> None:
        super().__init__()
        halves = outputs > inputs
        self.sign = Sign(activation)
        self.conv = BinaryConv2d(rule, inputs, outputs, 3, padding=1, stride=2 if halves else 1)
        self.norm = norm.after(self.conv)
        self.shortcut = _downsampling(inputs, outputs, norm) if halves else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(self.sign(x))) + self.shortcut(x)


def _downsampling(inputs: int, outputs: int, norm: Norm) -> nn.Module:
    convolution = real_conv2d(inputs, outputs, 1)
    return named(pool=nn.AvgPool2d(2, ceil_mode=True), conv=convolution, norm=norm.after(convolution))


def residual_network(
    rule: WeightRule,
    stem: nn.Module,
    channels: int,
    blocks: tuple[int, ...],
    classes: int,
    activation: str,
    norm: Norm,
) -> nn.Module:
    """`stem`, stages of blocks, global average pooling, and a real dense layer with a bias.

    channels: outputs of the stem and of the first stage; every later stage doubles them and halves the map.
    blocks: the number of blocks in each stage.
    """
    stages: dict[str, nn.Module] = {}
    inputs = channels
    for stage, count in enumerate(blocks):
        outputs = channels * 2**stage
        sizes = [(inputs, outputs), *[(outputs, outputs)] * (count - 1)]
        made = [BiRealBlock(rule, before, after, activation, norm) for before, after in sizes]
        stages[f"stage{stage + 1}"] = named(**{f"block{n}": block for n, block in enumerate(made, 1)})
        inputs = outputs
    return named(
        stem=stem,
        **stages,
        pool=nn.AdaptiveAvgPool2d(1),
        flatten=nn.Flatten(),
        dense=real_linear(inputs, classes),
    )
