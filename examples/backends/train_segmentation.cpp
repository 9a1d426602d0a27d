// SPDX-License-Identifier: MIT
// Trains every network of train_segmentation, on the backend SEGNET_BACKEND.
#include <segnet/data/mirrored_border.hpp>
#include <segnet/inference/class_prediction.hpp>

#include "../segmentation_networks.hpp"
#include "../train_segmentation.hpp"

#include <cstdint>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

namespace train_segmentation {

using namespace segnet;

namespace {

template <class Definition, class Backend>
int train(options o, const network_options& with, class_pictures source, segmentation::size size) {
  using network_t = network<Definition, Backend>;
  constexpr shape input = network_t::input_shape, output = network_t::output_shape;
  constexpr network_facts facts{input, output, network_t::parameter_count};
  if (input.pixels() != output.pixels()) {
    // What the padding of other networks does: all of the picture is classified, and the pixels around it are
    // its mirror image.
    for (picture_source* part : {&source.train, &source.validation})
      *part = with_mirrored_border(std::move(*part), size.h, size.w, input.h, input.w);
  }
  training_run::remember_pictures(o, source);
  if (o.weights == "median" && o.class_weights.empty()) o.class_weights = median_weights(o, source, input);
  const any_optimizer optimizer =
      o.optimizer == "adam" ? any_optimizer(adam{.weight_decay = o.weight_decay})
                            : any_optimizer(sgd{.momentum = o.momentum, .weight_decay = o.weight_decay});
  describe(o, facts);

  std::vector<double> steps;
  const auto curves = [&](event_writer& events, const epoch_report<class_task>& e) {
    write_curves(events, e);
    if (e.images_per_second > 0) steps.push_back(1000.0 * o.batch * o.accumulate / e.images_per_second);
  };
  const auto finish = [&](network_t& net, const training_result& result, loader& validation) {
    evaluate(o, source, facts, {result, training_run::training_bytes(network_t::memory, o, optimizer), steps},
             validation, [&](const batch& b, std::span<std::uint8_t> to) {
               highest_classes(net.backend(), net.infer({b.images.data(), b.count, input}), to);
             });
  };
  return training_run::run<network_t>(self, o, with, source, class_task{.weights = o.class_weights},
                                      optimizer, metadata_of(o, source, input), curves, finish);
}

}  // namespace

template <class Backend>
int train_on(const options& o, const network_options& with, class_pictures source) {
  return segmentation::with_network(
      o.network, o.size, source.classes(), source.listed_in,
      [&]<class Definition>(std::type_identity<Definition>, segmentation::size size) {
        return train<Definition, Backend>(o, with, std::move(source), size);
      });
}

template int train_on<SEGNET_BACKEND>(const options&, const network_options&, class_pictures);

}  // namespace train_segmentation
