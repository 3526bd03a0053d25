"""The peer: larq on TensorFlow, written as in its documentation. Runs in the environment of requirements.txt.

Layers, quantizers, constraint, Bop and CaseOptimizer are larq's own; the step is one compiled tf.function.
"""

# pyright: reportMissingImports=false, reportMissingModuleSource=false, reportAttributeAccessIssue=false
import itertools
import os
import platform
from collections.abc import Callable
from importlib.metadata import version

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")  # larq's optimizers are those of Keras 2
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import larq
import numpy as np
import tensorflow as tf

from bench.peers.networks import (
    EPSILON,
    GAMMA,
    LATENT_RATE,
    NETWORKS,
    REAL_RATE,
    SHAPE,
    THRESHOLD,
    Cell,
    Network,
    images,
    start,
    widths,
)
from bench.peers.protocol import serve

keras = tf.keras
KERAS_POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16"}


def binarynet(network: Network, method: str) -> keras.Sequential:
    """The network of suite/models/binarynet.py in larq's layers."""
    if method == "bop":
        kernel = dict(kernel_quantizer=larq.quantizers.NoOp(precision=1), use_bias=False)
    else:
        kernel = dict(kernel_quantizer="ste_sign", kernel_constraint="weight_clip", use_bias=False)
    convolutions, dense = widths(network)

    def norm() -> keras.layers.Layer:
        return keras.layers.BatchNormalization(scale=False, momentum=0.99, epsilon=1e-3)

    layers = [larq.layers.QuantConv2D(convolutions[0], 3, **kernel, input_shape=SHAPE), norm()]
    for n, outputs in enumerate(convolutions[1:]):
        layers.append(
            larq.layers.QuantConv2D(outputs, 3, padding="same", input_quantizer="ste_sign", **kernel)
        )
        layers += [keras.layers.MaxPool2D(2)] if n % 2 == 0 else []
        layers.append(norm())
    layers.append(keras.layers.Flatten())
    for outputs in dense:
        layers += [larq.layers.QuantDense(outputs, input_quantizer="ste_sign", **kernel), norm()]
    return keras.Sequential(layers)


def optimizer_of(method: str) -> keras.optimizers.legacy.Optimizer:
    """The method for the binary weights, Adam for the others; each variable has one optimizer."""
    adam = keras.optimizers.legacy.Adam
    real = adam(REAL_RATE, epsilon=EPSILON)
    if method == "bop":
        bop = larq.optimizers.Bop(threshold=THRESHOLD, gamma=GAMMA)
        return larq.optimizers.CaseOptimizer(
            (larq.optimizers.Bop.is_binary_variable, bop), default_optimizer=real
        )
    latent = adam(LATENT_RATE, epsilon=EPSILON)
    return larq.optimizers.CaseOptimizer((is_latent, latent), default_optimizer=real)


def is_latent(variable: tf.Variable) -> bool:
    return "kernel" in variable.name


class LarqSession:
    def __init__(self, cell: Cell, fixed_batch: bool) -> None:
        network = NETWORKS[cell.network]
        keras.mixed_precision.set_global_policy(KERAS_POLICIES[cell.precision])
        self.model = binarynet(network, cell.method)
        kernels = [variable for variable in self.model.trainable_variables if is_latent(variable)]
        for kernel, value in zip(kernels, start(network), strict=True):
            value = value.reshape(kernel.shape)
            kernel.assign(np.where(value >= 0, 1.0, -1.0) if cell.method == "bop" else value)
        self.images_per_step = network.batch
        self.binary = sum(int(np.prod(kernel.shape)) for kernel in kernels)
        self.real = sum(int(np.prod(v.shape)) for v in self.model.trainable_variables) - self.binary
        self.train_step = train_step(self.model, optimizer_of(cell.method))
        pixels, labels = images(network, batches=1) if fixed_batch else images(network)
        self.batches = itertools.cycle(
            [(tf.constant(x), tf.constant(y)) for x, y in zip(pixels, labels, strict=True)]
        )

    def run(self, steps: int) -> list[float]:
        losses = [self.train_step(*batch) for batch in itertools.islice(self.batches, steps)]
        return [float(loss) for loss in losses]


def train_step(model: keras.Model, optimizer: keras.optimizers.legacy.Optimizer) -> Callable[..., tf.Tensor]:
    """One step, compiled to a graph: the mean loss of the batch."""
    cross_entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    @tf.function
    def step(x: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            loss = cross_entropy(labels, tf.cast(model(x, training=True), tf.float32))
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        return loss

    return step


if __name__ == "__main__":
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    serve(
        {"python": platform.python_version(), "tensorflow": tf.__version__, "larq": version("larq")},
        LarqSession,
    )
