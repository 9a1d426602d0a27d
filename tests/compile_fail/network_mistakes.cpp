// SPDX-License-Identifier: MIT
// A definition with one mistake each, used as its author would use it: the message names the mistake, the
// layer and the two shapes, and the use of the network afterwards adds nothing to read.
#include <segnet/layers/graph_builder.hpp>
#include <segnet/network/network.hpp>

using namespace segnet;

struct my_net {
  static constexpr auto build() {
    graph_builder g;
    value x = g.input({30, 32, 3});
#ifdef SEGNET_CORRECTED
    g.output(g(conv2d{.channels = 4}, x));
#elif defined(UNEQUAL_CONCAT)
    const value half = g(max_pool{2}, x);
    g.output(g(concat{}, half, x));
#elif defined(ODD_POOLING)
    x = g(max_pool{2}, x);
    g.output(g("pool", max_pool{2}, x));
#elif defined(NO_CHANNELS)
    g.output(g(conv2d{.kernel = 5}, x));
#elif defined(LARGE_KERNEL)
    g.output(g(conv2d{.channels = 4, .kernel = 31, .pad = padding::valid}, x));
#elif defined(NO_OUTPUT)
    g(conv2d{.channels = 4}, x);
#elif defined(FOREIGN_VALUE)
    graph_builder other;
    value y = other.input({30, 32, 3});
    y = other(relu{}, other(relu{}, y));
    g.output(g(add{}, x, y));
#elif defined(FORGOTTEN_VALUE)
    value y;
    g.output(g(relu{}, y));
#elif defined(UNEQUAL_ADD)
    g.output(g(add{}, x, g(conv2d{.channels = 4}, x)));
#elif defined(TWO_INPUTS)
    g.input({8, 8, 1});
    g.output(g(relu{}, x));
#elif defined(EMPTY_INPUT)
    graph_builder empty;
    empty.output(empty(relu{}, empty.input({0, 32, 3})));
    return empty;
#elif defined(WRONG_NUMBER_OF_INPUTS)
    g.output(g(relu{}, x, x));
#elif defined(EQUAL_NAMES)
    x = g("conv", conv2d{.channels = 4}, x);
    g.output(g("conv", conv2d{.channels = 4}, x));
#elif defined(LONG_NAME)
    auto level = g.scope("a_scope_of_twenty_one");
    g.output(g("and_a_layer_of_21_too", relu{}, x));
#elif defined(OUTPUT_IS_INPUT)
    g.output(x);
#elif defined(LARGE_WINDOW)
    g.output(g(max_pool{17}, x));
#elif defined(NO_STRIDE)
    g.output(g(conv2d{.channels = 4, .stride = 0}, x));
#elif defined(UNPOOL_OF_RELU)
    x = g(max_pool{2}, x);
    g.output(g(max_unpool{}, x, g(relu{}, x)));
#elif defined(UNPOOL_OTHER_WINDOW)
    x = g(max_pool{2}, x);
    g.output(g(max_unpool{.window = 3}, x, x));
#elif defined(UNPOOL_OTHER_SIZE)
    x = g(max_pool{.window = 4, .ceil = true}, x);
    g.output(g(max_unpool{.window = 4}, x, x));
#elif defined(NEGATIVE_PADDING)
    g.output(g(conv2d{.channels = 4, .pad = -2}, x));
#elif defined(TRANSPOSED_SIZE)
    g.output(g(transposed_conv2d{.channels = 4, .kernel = 4, .pad = 1, .h = 62, .w = 64}, x));
#elif defined(CHANNELS_OF_THEIR_OWN)
    g.output(g(transposed_conv2d{.channels = 4, .kernel = 4, .per_channel = true}, x));
#elif defined(CROP_OUTSIDE)
    g.output(g(crop{.h = 20, .w = 20, .top = 8, .left = 13}, x));
#elif defined(CONCAT_OF_ONE)
    g.output(g(concat{}, x));
#endif
    return g;
  }
};

int main() {
  network<my_net> net({.batch = 2});
  net.initialise(1);
  static_assert(network<my_net>::memory.parameters < 1_MiB);
  const auto logits = net.forward({nullptr, 2, network<my_net>::input_shape});
  net.backward();
  return static_cast<int>(logits.size() + net.infer({nullptr, 2, {30, 32, 3}}).size());
}
