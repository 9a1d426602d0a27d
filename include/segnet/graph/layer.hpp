// SPDX-License-Identifier: MIT
// The contract between the graph compiler and a layer. A layer is an aggregate of hyper-parameters: no
// tensors, no virtual functions. It provides
//
//   static constexpr std::string_view type_name;
//   constexpr shape_result out_shape(std::span<const shape> inputs) const;
//   template <class Backend> void forward(const forward_context<Backend>&) const;
//   template <class Backend> void backward(const backward_context<Backend>&) const;
//
// and, where it needs them (absent means "none"; a member of one of these names that cannot be called so
// is refused):
//
//   constexpr parameter_specs parameters(std::span<const shape> inputs) const;
//   static constexpr backward_needs needs;         values that backward() reads again; or, where that depends
//   constexpr backward_needs needs() const;        on the layer, a function
//   constexpr saved_size saved(std::span<const shape> inputs) const;      what forward() keeps for backward()
//   template <class Backend>
//   constexpr layer_workspace workspace(std::span<const shape> inputs, bool backward) const;   scratch
//   static constexpr bool in_place = true;             the output may overwrite the only input
//   static constexpr bool gradient_in_place = true;    the only input's gradient may overwrite the output's
//   static constexpr bool recomputes = true;   training need not keep the output for other layers'
//   backward(): template <class Backend> void recompute(const forward_context<Backend>&) const;
//                                              writes it again, from the input, which this one's own
//                                              backward() needs anyway, and from what forward() saved;
//                                              there is neither workspace nor statistics
//   static constexpr bool normalises_over_batch = true;    training needs two values per channel or more
//   using saved_source = max_pool;             its last input must be the value of a layer of that type, and
//                                              is not read: the layer reads the bytes that the other one
//                                              saved, at layer_context::source_saved_bytes. Neither the
//                                              functions above nor the contexts know that input, no gradient
//                                              goes there, and the value does not live longer for it. With
//   constexpr shape_result fits(const max_pool& source, shape source_input, std::span<const shape> inputs)
//                                              const; which gives the output's shape again, or what is wrong
//
// More members let the passes (graph/passes.hpp) work without knowing any layer by name:
//
//   activation act;                            can apply an activation to what it writes; backward() takes
//                                              it into account
//   static constexpr activation fuses_as;      is that activation
//   sources reads;                             reads concatenated, upsampled inputs in place
//   static constexpr bool concatenates = true;     joins its inputs along the channels
//   constexpr int source_upsample() const;         repeats each pixel of its input so many times both ways
//   static constexpr bool joins_loss = true;       as the last layer it is left to the loss, in training
//   static constexpr bool training_only = true;    in inference its output is its only input
//   static constexpr bool accepts_folded_batch_norm = true;
//                                              applies forward_context::scale and shift, where they are
//                                              given, to each output channel, instead of its own bias, which
//                                              is part of them: parameters() gives the weights and, where it
//                                              has one, a bias {out} as the second; has `activation act` too
//   static constexpr bool accepts_max_pool = true;
//                                              also writes forward_context::pooled, where it is given: the
//                                              maximum of each 2 x 2 pixels of its output; before the
//                                              activation where the member `bool pools_first` is set; has
//                                              `activation act` too
//   constexpr int pooling_window() const;      takes the maximum over windows that do not overlap
//   static constexpr bool gives_statistics = true;
//                                              writes forward_context::mean and variance, where they are
//                                              given
//   static constexpr bool takes_statistics = true;
//                                              keeps the mean and the variance of each channel of its only
//                                              input as the first of its saved elements, or finds them there
//                                              where forward_context::statistics_given
//   static constexpr bool gives_coefficients = true;
//                                              is y = act(scale * x + shift) per channel, in training, with
//                                              `activation act`; writes scale and shift instead of y where
//                                              forward_context::coefficients is given; the first of its
//                                              saved elements are the mean of each channel of x; backward()
//                                              finds its sums at backward_context::slope_sums where given
//   constexpr bool takes_prologue(int inputs) const;
//                                              whether it reads its first input through
//                                              forward_context::prologue, and backward() sums up
//                                              backward_context::slopes, where they are given
//   static constexpr bool centres_gradient = true;
//                                              the gradient of its only input sums to 0 over all images and
//                                              pixels, in each channel
//   static constexpr bool folds = true;        is y = scale * x + shift per channel, in inference, with
//   template <class T> void folded(const T* const* parameters, int channel, T& scale, T& shift) const;
#pragma once

#include <segnet/core/fixed_vector.hpp>
#include <segnet/core/primitives.hpp>
#include <segnet/graph/diagnostics.hpp>

#include <concepts>
#include <cstddef>
#include <span>
#include <string_view>

namespace segnet {

inline constexpr int max_inputs = 4;
inline constexpr int max_layer_parameters = 6;

enum class initializer : unsigned char {
  zeros,
  ones,
  glorot_uniform,  ///< U(-l, l), l = sqrt(6 / (fan_in + fan_out)) (Glorot & Bengio 2010)
  he_normal,       ///< N(0, 2 / fan_in), for layers with a ReLU behind them (He, Zhang, Ren, Sun 2015)
  bilinear,        ///< each channel to itself by the weights that interpolate (Long, Shelhamer, Darrell 2015)
};

/// One tensor that a layer owns. Weights have dims {out, kernel h, kernel w, in}, vectors {channels}.
/// Trainable ones get a gradient; the others are running statistics.
struct parameter_spec {
  std::string_view name;
  int dims[4] = {1, 1, 1, 1};
  int rank = 1;
  initializer init = initializer::zeros;
  bool trainable = true;
  float rate = 1, decay = 1;  ///< multipliers of the learning rate (0: frozen) and of weight decay
  int fan_in = 0;  ///< values that one result adds up, for he_normal; 0: what a convolution's result does

  constexpr std::size_t size() const {
    std::size_t product = 1;
    for (int i = 0; i < rank; ++i) product *= static_cast<std::size_t>(dims[i]);
    return product;
  }
};
using parameter_specs = fixed_vector<parameter_spec, max_layer_parameters>;

/// How a layer's tensors learn, relative to the optimizer's rate and weight decay: the member `learning
/// learn` of layers with parameters. With `.rate = 0, .bias_rate = 0` the layer is frozen; running
/// statistics, which no optimizer knows, still move.
struct learning {
  float rate = 1, decay = 1;            ///< of weights and scales
  float bias_rate = 1, bias_decay = 1;  ///< of biases and shifts

  constexpr parameter_spec weight(parameter_spec spec) const {
    spec.rate = rate;
    spec.decay = decay;
    return spec;
  }
  constexpr parameter_spec bias(parameter_spec spec) const {
    spec.rate = bias_rate;
    spec.decay = bias_decay;
    return spec;
  }
};

/// Which values of the forward pass backward() reads; the planner frees the others early.
struct backward_needs {
  bool inputs = false;
  bool output = false;
};

/// What forward() keeps for backward(): `bytes_per_image` raw bytes, and `elements` scalars in all.
struct saved_size {
  std::size_t bytes_per_image = 0;
  std::size_t elements = 0;
};

/// Scratch of one call: `per_image` scalars for each image of the batch (planned in the arena among the
/// activations), and what the backend's primitive asks for.
struct layer_workspace {
  std::size_t per_image = 0;
  workspace_size scratch;
};

/// How a convolution reads its inputs: as if each were upsampled by its factor, then all concatenated.
struct sources {
  int upsample[max_inputs] = {1, 1, 1, 1};
};

template <class L>
concept layer = std::copyable<L> && requires(const L& l, std::span<const shape> in) {
  { L::type_name } -> std::convertible_to<std::string_view>;
  { l.out_shape(in) } -> std::convertible_to<shape_result>;
};

namespace detail {

// A member of the right name with other arguments would be taken for an absent one, and the layer would
// compute something else without a word. (One that is overloaded has no address, and passes unseen.)

template <layer L>
constexpr parameter_specs parameters_of(const L& l, std::span<const shape> in) {
  if constexpr (requires { l.parameters(in); })
    return l.parameters(in);
  else {
    static_assert(
        !requires { &L::parameters; },
        "a layer's parameters is: constexpr parameter_specs parameters(std::span<const shape>) const");
    return {};
  }
}

template <layer L>
constexpr backward_needs needs_of([[maybe_unused]] const L& l) {
  if constexpr (requires { l.needs(); })
    return l.needs();
  else if constexpr (requires { L::needs; })
    return L::needs;
  else {
    static_assert(
        !requires { &L::needs; }, "a layer's needs is: constexpr backward_needs needs() const");
    return {};
  }
}

template <layer L>
constexpr saved_size saved_of(const L& l, std::span<const shape> in) {
  if constexpr (requires { l.saved(in); })
    return l.saved(in);
  else {
    static_assert(
        !requires { &L::saved; },
        "a layer's saved is: constexpr saved_size saved(std::span<const shape>) const");
    return {};
  }
}

template <class Backend, layer L>
constexpr layer_workspace workspace_of(const L& l, std::span<const shape> in, bool backward) {
  if constexpr (requires { l.template workspace<Backend>(in, backward); })
    return l.template workspace<Backend>(in, backward);
  else {
    static_assert(
        !requires { &L::workspace; } && !requires { &L::template workspace<Backend>; },
        "a layer's workspace is: template <class Backend> constexpr layer_workspace "
        "workspace(std::span<const shape>, bool backward) const");
    return {};
  }
}

template <layer L>
constexpr bool in_place(const L&) {
  if constexpr (requires { L::in_place; })
    return L::in_place;
  else
    return false;
}

template <layer L>
constexpr bool gradient_in_place(const L&) {
  if constexpr (requires { L::gradient_in_place; })
    return L::gradient_in_place;
  else
    return false;
}

template <class L>
concept can_recompute = requires {
  requires L::recomputes;
};
template <layer L>
constexpr bool recomputes([[maybe_unused]] const L& l) {
  if constexpr (can_recompute<L>)
    return needs_of(l).inputs && !needs_of(l).output;
  else
    return false;
}

template <class L>
concept takes_activation = requires(L l) {
  l.act = activation::relu;
};
template <class L>
concept is_activation = requires {
  activation{L::fuses_as};
};
template <class L>
concept takes_sources = requires(L l) {
  l.reads = sources{};
};
template <class L>
concept is_upsampling = requires(const L l) {
  l.source_upsample();
};
template <class L>
concept is_concatenation = requires {
  requires L::concatenates;
};
template <class L>
concept takes_folding = requires {
  requires L::accepts_folded_batch_norm;
};
template <class L>
concept takes_pooling = takes_activation<L> && requires(L l) {
  requires L::accepts_max_pool;
  l.pools_first = true;
};
template <class L>
concept is_pooling = requires(const L l) {
  l.pooling_window();
};
template <class L>
concept reads_saved_bytes = requires {
  typename L::saved_source;
};
template <class L>
concept folds_into_producer = requires {
  requires L::folds;
};
template <class L>
concept gives_statistics = requires {
  requires L::gives_statistics;
};
template <class L>
concept takes_statistics = requires {
  requires L::takes_statistics;
};
template <class L>
concept gives_coefficients = takes_activation<L> && requires {
  requires L::gives_coefficients;
};
template <class Backend>
concept takes_prologue = requires {
  requires Backend::takes_prologue;
};
template <class L>
concept centres_gradient = requires {
  requires L::centres_gradient;
};
template <class L>
concept is_training_only = requires {
  requires L::training_only;
};
template <class L>
concept is_final_activation = requires {
  requires L::joins_loss;
};

}  // namespace detail

}  // namespace segnet
