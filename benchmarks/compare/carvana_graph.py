# SPDX-License-Identifier: MIT
"""The network of segnet/models/carvana.hpp for frameworks that build a graph from calls (ONNX, Keras)."""


FILTERS = (8, 24, 64, 128, 256, 512, 768)


def build(ops, x):
    """Returns the logits of the images x. `ops` has conv(x, name, filters, size), batch_norm(x, name), relu(x),
    max_pool(x), upsample(x) and concat(a, b); names are those of the checkpoint's tensors."""

    def conv_bn(x, level, number, filters):
        return ops.batch_norm(ops.conv(x, f"{level}.conv{number}", filters, 3), f"{level}.bn{number}")

    skips = []
    for level, filters in enumerate(FILTERS):
        x = ops.relu(conv_bn(x, f"encoder.{level}", 1, filters))
        x = conv_bn(x, f"encoder.{level}", 2, filters)
        skips.append(ops.relu(x))
        x = ops.max_pool(x)  # of what is not yet through the ReLU
    for number in (1, 2):
        x = ops.relu(conv_bn(x, "center", number, FILTERS[-1]))
    for level, filters in reversed(list(enumerate(FILTERS))):
        x = ops.concat(skips[level], ops.upsample(x))
        for number in (1, 2, 3):
            x = ops.relu(conv_bn(x, f"decoder.{level}", number, filters))
    return ops.conv(x, "classifier", 1, 1)
