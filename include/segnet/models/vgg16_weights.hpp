// SPDX-License-Identifier: MIT
// The weights of PyTorch's VGG16 for networks that start with it. A file comes from
//   from safetensors.torch import save_file; import torchvision
//   save_file(torchvision.models.vgg16_bn(weights="DEFAULT").state_dict(), "vgg16_bn.safetensors")
#pragma once

#include <segnet/models/vgg16.hpp>
#include <segnet/network/checkpoint.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace segnet {

struct vgg16_weights_options {
  /// Whether the network will see RGB images in [0, 1], as segnet's loaders give them. VGG16 was trained on
  /// (x - mean) / deviation; that is then worked into conv1_1. (Its padding, zeros, is black rather than the
  /// mean colour; nothing else differs.) False: the images will be normalised so already.
  bool images_in_unit_range = true;
};

/// The mean and deviation of each channel by which PyTorch normalises images for its pretrained networks.
inline constexpr std::array<double, 3> vgg16_image_mean{0.485, 0.456, 0.406};
inline constexpr std::array<double, 3> vgg16_image_deviation{0.229, 0.224, 0.225};

/// From segnet's names to those of torchvision.models.vgg16, or vgg16_bn: conv1_1 is features.0, bn1_1
/// features.1, and so on in the order of the layers, of which ReLUs and poolings count; fc6 and fc7 are
/// classifier.0 and classifier.3. All with ".weight", ".bias" or the name of a running statistic behind.
inline std::map<std::string, std::string> vgg16_pytorch_names(bool batch_norm) {
  std::map<std::string, std::string> names;
  int at = 0;
  for (std::size_t block = 1; block <= 5; ++block, ++at)  // the pooling
    for (int i = 1; i <= vgg16_depth[block]; ++i) {
      const std::string number = std::to_string(block) + "_" + std::to_string(i);
      for (std::string part : {".weight", ".bias"})
        names["conv" + number + part] = "features." + std::to_string(at) + part;
      if (batch_norm) {
        ++at;
        for (std::string part : {".weight", ".bias", ".running_mean", ".running_var"})
          names["bn" + number + part] = "features." + std::to_string(at) + part;
      }
      at += 2;  // the ReLU
    }
  for (std::string part : {".weight", ".bias"}) {
    names["fc6" + part] = "classifier.0" + part;
    names["fc7" + part] = "classifier.3" + part;
  }
  return names;
}

namespace detail {

/// A parameter's shape in PyTorch: convolutions are {out, in, height, width}, and fc6 and fc7, which are
/// convolutions here, {out, in * height * width}.
inline std::vector<std::size_t> pytorch_shape(const parameter_spec& spec, bool linear) {
  const auto out = static_cast<std::size_t>(spec.dims[0]);
  if (spec.rank == 1) return {out};
  const auto height = static_cast<std::size_t>(spec.dims[1]), width = static_cast<std::size_t>(spec.dims[2]),
             in = static_cast<std::size_t>(spec.dims[3]);
  if (linear) return {out, in * height * width};
  return {out, in, height, width};
}

/// {out, in, height, width} -> {out, height, width, in}; vectors as they are.
template <class T>
void to_krsc(const parameter_spec& spec, std::span<const float> from, std::span<T> to) {
  if (spec.rank == 1) {
    std::ranges::transform(from, to.begin(), [](float x) { return static_cast<T>(x); });
    return;
  }
  const auto channels = static_cast<std::size_t>(spec.dims[3]);
  const auto area = static_cast<std::size_t>(spec.dims[1] * spec.dims[2]);
  std::size_t at = 0;
  for (std::size_t k = 0; k < static_cast<std::size_t>(spec.dims[0]); ++k)
    for (std::size_t pixel = 0; pixel < area; ++pixel)
      for (std::size_t c = 0; c < channels; ++c)
        to[at++] = static_cast<T>(from[(k * channels + c) * area + pixel]);
}

/// Makes the first convolution take images in [0, 1] instead of normalised ones.
template <class T>
void take_unit_range(std::span<T> weight, std::span<T> bias) {
  const std::size_t per_output = weight.size() / bias.size();
  for (std::size_t i = 0; i < weight.size(); ++i) {
    weight[i] = static_cast<T>(static_cast<double>(weight[i]) / vgg16_image_deviation[i % 3]);
    T& b = bias[i / per_output];
    b = static_cast<T>(static_cast<double>(b) - static_cast<double>(weight[i]) * vgg16_image_mean[i % 3]);
  }
}

template <class Graph>
constexpr bool starts_with_vgg16(const Graph& g) {
  return g.nodes.size() > 1 && g.nodes[1].label.view() == "conv1_1";
}

}  // namespace detail

/// Copies what a file of PyTorch's VGG16 or VGG16-BN has for the layers of a network made for training that
/// starts with vgg16(): the 13 convolutions, their batch-norms where both have them, and fc6 and fc7 where
/// the network has them. Batch-norms of a network that loads plain VGG16 keep their values, as the decoder
/// does. Tensors that no layer wants are ignored. Throws file_error, the network being as before, which names
/// what is missing, of another shape or not finite; also where the file has batch-norm and the network has
/// not.
template <class Network>
void load_vgg16(const safetensors_file& file, Network& net, vgg16_weights_options how = {}) {
  static_assert(detail::starts_with_vgg16(Network::training_graph()),
                "load_vgg16: the network's first layer is not vgg16()'s conv1_1");
  using T = typename Network::parameter_scalar;
  const auto& g = Network::training_graph();
  const bool batch_norm = file.find("features.1.running_mean") != nullptr;
  const auto names = vgg16_pytorch_names(batch_norm);

  struct copy {
    const parameter* to;
    std::string from;
  };
  std::vector<copy> copies;
  std::vector<std::string> problems;
  bool normalises = false;
  for (const parameter& p : Network::parameter_table().entries) {
    const std::string name = parameter_name(g, p);
    normalises = normalises || name == "bn1_1.weight";
    const auto found = names.find(name);
    if (found == names.end()) continue;
    const bool linear = found->second.starts_with("classifier");
    const detail::expected_tensor wanted{found->second, detail::pytorch_shape(p.spec, linear)};
    std::string problem = detail::tensor_problem(file, wanted, [&](std::span<const float> values) {
      return detail::all_finite(net.backend(), values);
    });
    if (!problem.empty()) problems.push_back(std::move(problem) + " (" + name + ")");
    copies.push_back({&p, found->second});
  }
  if (batch_norm && !normalises)
    throw file_error(file.path(),
                     "found VGG16 with batch-norm, expected VGG16 without: this network has none");
  detail::throw_problems(file, problems, copies.size());

  std::vector<float> converted;
  for (const copy& c : copies)
    detail::to_krsc<T>(c.to->spec, detail::float_values(file, file.at(c.from), converted), net.values(*c.to));
  if (how.images_in_unit_range) {
    const parameter* first = copies.front().to;  // conv1_1's weight; its bias is next
    detail::take_unit_range<T>(net.values(*first), net.values(*copies[1].to));
  }
  net.parameters_changed();
}

}  // namespace segnet
