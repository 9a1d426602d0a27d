# SPDX-License-Identifier: MIT
"""TensorFlow's side of compare.py, a functional Keras model; speed.py says what it takes and prints."""
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import tensorflow as tf
from tensorflow import keras
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

import carvana_graph
import safetensors_numpy
import speed

MODES = ("tf.function", "frozen graph", "XLA")


class Layers:
    """Keras layers under the names of the checkpoint's tensors."""

    def conv(self, x, name, filters, size):
        return keras.layers.Conv2D(filters, size, padding="same", kernel_initializer="zeros", name=name)(x)

    def batch_norm(self, x, name):
        return keras.layers.BatchNormalization(epsilon=speed.BATCH_NORM_EPSILON, momentum=0.99, name=name)(x)

    def relu(self, x):
        return keras.layers.ReLU()(x)

    def max_pool(self, x):
        return keras.layers.MaxPooling2D(2)(x)

    def upsample(self, x):
        return keras.layers.UpSampling2D(2)(x)

    def concat(self, a, b):
        return keras.layers.Concatenate()([a, b])


def load(network, path):
    variables = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}
    for name, tensor in safetensors_numpy.read(path):
        layer, _, kind = name.rpartition(".")
        layer = network.get_layer(layer)
        if isinstance(layer, keras.layers.Conv2D):  # KRSC -> RSCK
            variable = layer.kernel if kind == "weight" else layer.bias
            variable.assign(tensor.transpose(1, 2, 3, 0) if kind == "weight" else tensor)
        else:
            getattr(layer, variables[kind]).assign(tensor)


def loss_of(logits, masks):
    probabilities = tf.sigmoid(logits)
    overlap, both = tf.reduce_sum(probabilities * masks), tf.reduce_sum(probabilities) + tf.reduce_sum(masks)
    entropy = tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(labels=masks, logits=logits))
    return entropy + 1 - (2 * overlap + 1) / (both + 1)


def main():
    args = speed.options(MODES)
    tf.config.threading.set_intra_op_parallelism_threads(args.threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    images = tf.constant(speed.images(args))
    inputs = keras.Input(images.shape[1:], batch_size=args.batch)
    network = keras.Model(inputs, carvana_graph.build(Layers(), inputs))
    load(network, args.weights)
    compiled = {"jit_compile": args.mode == "XLA"}

    if args.job == "training":
        masks = tf.constant(speed.masks(args))
        # Keras adds epsilon to the root before it corrects the root's bias: in the first step, which counts most
        # when losses are compared, this is the 1e-8 of the others.
        optimizer = keras.optimizers.Adam(speed.LEARNING_RATE, epsilon=1e-8 * (1 - 0.999) ** 0.5)
        optimizer.build(network.trainable_variables)

        @tf.function(**compiled)
        def step():
            with tf.GradientTape() as tape:
                loss = loss_of(network(images, training=True), masks)
            variables = network.trainable_variables
            optimizer.apply(tape.gradient(loss, variables), variables)
            return loss

        speed.measure_training(args, lambda: step().numpy(), tf.__version__)
        return

    @tf.function(input_signature=[tf.TensorSpec(images.shape)], **compiled)
    def infer(x):
        return tf.sigmoid(network(x, training=False))

    if args.mode == "frozen graph":  # with constants, batch norm is folded into the convolutions
        frozen = convert_variables_to_constants_v2(infer.get_concrete_function())
        speed.measure_inference(args, lambda: frozen(images)[0].numpy(), tf.__version__)
    else:
        speed.measure_inference(args, lambda: infer(images).numpy(), tf.__version__)


if __name__ == "__main__":
    main()
