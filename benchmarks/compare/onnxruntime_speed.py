# SPDX-License-Identifier: MIT
"""ONNX Runtime's side of compare.py; speed.py says what it takes and prints. --weights is an ONNX model."""
import numpy as np
import onnxruntime

import speed


def main():
    args = speed.options(("all optimisations",))
    choices = onnxruntime.SessionOptions()
    choices.intra_op_num_threads, choices.inter_op_num_threads = args.threads, 1
    choices.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    for name, value in (("n", args.batch), ("h", args.size), ("w", args.size)):
        choices.add_free_dimension_override_by_name(name, value)
    session = onnxruntime.InferenceSession(args.weights, choices, providers=["CPUExecutionProvider"])
    images = np.ascontiguousarray(speed.images(args).transpose(0, 3, 1, 2))
    speed.measure_inference(args, lambda: session.run(None, {"images": images})[0], onnxruntime.__version__)


if __name__ == "__main__":
    main()
