# SPDX-License-Identifier: MIT
"""Writes a checkpoint's 7-2-7-1 network as an ONNX model, with the onnx package alone.

    python3 onnx_model.py weights.safetensors carvana.onnx

Images "images" [n][3][h][w] -> "probabilities" [n][1][h][w]; n, h and w are free.
"""
import sys

import onnx
from onnx import TensorProto, helper, numpy_helper

import carvana_graph
import safetensors_numpy
from speed import BATCH_NORM_EPSILON


class Operators:
    """Collects the nodes and initialisers of an ONNX graph; a value is its name."""

    def __init__(self):
        self.nodes, self.constants = [], []

    def add(self, kind, *inputs, **attributes):
        output = f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def conv(self, x, name, _filters, size):
        return self.add("Conv", x, f"{name}.weight", f"{name}.bias", pads=[size // 2] * 4)

    def batch_norm(self, x, name):
        tensors = [f"{name}.{t}" for t in ("weight", "bias", "running_mean", "running_var")]
        return self.add("BatchNormalization", x, *tensors, epsilon=BATCH_NORM_EPSILON)

    def relu(self, x):
        return self.add("Relu", x)

    def max_pool(self, x):
        return self.add("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])

    def upsample(self, x):
        return self.add("Resize", x, "", "twice", mode="nearest", coordinate_transformation_mode="asymmetric",
                        nearest_mode="floor")  # fmt: skip

    def concat(self, a, b):
        return self.add("Concat", a, b, axis=1)


def main(weights, path):
    ops = Operators()
    ops.constants.append(helper.make_tensor("twice", TensorProto.FLOAT, [4], [1, 1, 2, 2]))
    for name, tensor in safetensors_numpy.read(weights):
        krsc = tensor.ndim == 4
        ops.constants.append(numpy_helper.from_array(tensor.transpose(0, 3, 1, 2) if krsc else tensor, name))
    images = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["n", 3, "h", "w"])
    result = ops.add("Sigmoid", carvana_graph.build(ops, "images"))
    output = helper.make_tensor_value_info(result, TensorProto.FLOAT, ["n", 1, "h", "w"])
    graph = helper.make_graph(ops.nodes, "carvana", [images], [output], ops.constants)
    # Versions that every ONNX Runtime of the last years reads.
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)


if __name__ == "__main__":
    main(*sys.argv[1:])
