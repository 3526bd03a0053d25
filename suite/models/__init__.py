"""The architectures, one file for each or for a pair; `MODELS` lists them by name."""

from suite.models.binary_alexnet import binary_alexnet
from suite.models.binarynet import binarynet
from suite.models.birealnet import birealnet_18, birealnet_34
from suite.models.convnet import convnet
from suite.models.mlp import mlp
from suite.models.model import Model
from suite.models.reactnet import reactnet_a
from suite.models.resnet import resnet_18, resnet_20
from suite.models.vgg_small import vgg_small
from suite.models.xnor_net import xnor_net

_SMALL = (mlp, convnet)
_CIFAR = (binarynet, vgg_small, resnet_20, resnet_18)
_IMAGENET = (binary_alexnet, xnor_net, birealnet_18, birealnet_34, reactnet_a)

MODELS: dict[str, Model] = {entry.name: entry for entry in (*_SMALL, *_CIFAR, *_IMAGENET)}
