// SPDX-License-Identifier: MIT
#pragma once

#include <segnet/graph/basic_graph_builder.hpp>
#include <segnet/layers/activation.hpp>
#include <segnet/layers/batch_norm.hpp>
#include <segnet/layers/conv2d.hpp>
#include <segnet/layers/crop.hpp>
#include <segnet/layers/dropout.hpp>
#include <segnet/layers/local_response_norm.hpp>
#include <segnet/layers/max_pool.hpp>
#include <segnet/layers/merge.hpp>
#include <segnet/layers/transposed_conv2d.hpp>
#include <segnet/layers/upsample.hpp>

namespace segnet {

/// Builds networks from the library's layers and `UserLayers`: `graph_builder g;` or `graph_builder<swish>
/// g;`.
template <layer... UserLayers>
class graph_builder
    : public basic_graph_builder<conv2d, transposed_conv2d, batch_norm, local_response_norm, relu, sigmoid,
                                 softmax, dropout, max_pool, max_unpool, upsample, upsample_bilinear, crop,
                                 concat, add, UserLayers...> {};

}  // namespace segnet
