// SPDX-License-Identifier: MIT
// The distinct convolutions of the 7-2-7-1 network, forward and both ways backward. Counters: FLOPS and its
// share of the machine's peak, both of the plain convolution's operations (network_convolutions.hpp), and how
// often the network has this convolution.
#include "fma_peak.hpp"
#include "network_convolutions.hpp"

#include <segnet/models/carvana.hpp>

namespace {

using namespace segnet_benchmark;

enum class direction { forward, backward_data, backward_weights };

constexpr struct {
  direction way;
  const char* name;
} directions[] = {{direction::forward, "forward"},
                  {direction::backward_data, "backward_data"},
                  {direction::backward_weights, "backward_weights"}};

workspace_size workspace(const conv2d_geometry& g, direction way) {
  switch (way) {
    case direction::forward:
      return cpu::conv2d_forward_workspace(g);
    case direction::backward_data:
      return cpu::conv2d_backward_data_workspace(g);
    default:
      return cpu::conv2d_backward_weights_workspace(g);
  }
}

void convolution(benchmark::State& state, const network_convolution& c, int batch, direction way) {
  const conv2d_geometry& g = c.geometry;
  const auto elements = [batch](int h, int w, int channels) {
    return static_cast<std::size_t>(batch) * shape{h, w, channels}.size();
  };
  std::vector<aligned_buffer<float>> inputs;
  std::vector<conv2d_source<float>> sources = c.sources;
  for (conv2d_source<float>& source : sources) {
    inputs.push_back(random_buffer(elements(g.h / source.upsample, g.w / source.upsample, source.channels)));
    source.data = inputs.back().data();
  }
  const std::size_t outputs = elements(g.out_h, g.out_w, g.out_channels);
  const auto bias_size = static_cast<std::size_t>(c.bias ? g.out_channels : 0);
  const auto weight = random_buffer(g.weights()), bias = random_buffer(bias_size),
             dy = random_buffer(outputs);
  aligned_buffer<float> y(outputs), dx(elements(g.h, g.w, g.in_channels)), dweight(g.weights()),
      dbias(bias_size);

  cpu backend(static_cast<int>(state.range(0)));
  const workspace_size needed = workspace(g, way);
  const std::size_t per_thread = align_up(needed.per_thread * sizeof(float)) / sizeof(float);
  aligned_buffer<float> shared(needed.shared), own(per_thread * static_cast<std::size_t>(backend.threads()));
  const scratch<float> memory{shared.data(), own.data(), per_thread};
  for (auto _ : state) {
    if (way == direction::forward)
      backend.conv2d_forward(g, batch, sources, weight.data(), {.bias = bias.data(), .act = c.act}, y.data(),
                             memory);
    else if (way == direction::backward_data)
      backend.conv2d_backward_data(g, batch, dy.data(), weight.data(), dx.data(), false, memory);
    else
      backend.conv2d_backward_weights(g, batch, sources, dy.data(), dweight.data(), dbias.data(), false,
                                      memory);
    benchmark::ClobberMemory();
  }
  count_operations(state, batch * c.operations(), backend.threads());
  state.counters["count"] = c.count;
}

/// Names: forward/input:512/batch:1/pixels:256x256/kernel:3/in:24+up64/out:24/threads:2/real_time
template <int Size>
void register_convolutions(int batch) {
  for (const network_convolution& c : convolutions_of<network<carvana_7_2_7_1<Size>>>())
    for (const auto& [way, direction_name] : directions) {
      if (way == direction::backward_data && !c.input_gradient) continue;
      const std::string name = direction_name + ("/input:" + std::to_string(Size)) +
                               "/batch:" + std::to_string(batch) + "/" + c.name();
      benchmark::RegisterBenchmark(
          name.c_str(), [c, batch, way = way](benchmark::State& state) { convolution(state, c, batch, way); })
          ->Apply(threads_1_and_all)
          ->Unit(benchmark::kMicrosecond);
    }
}

}  // namespace

int main(int argc, char** argv) {
  register_convolutions<512>(1);
  register_convolutions<256>(4);
  return run_beside_peak(argc, argv);
}
