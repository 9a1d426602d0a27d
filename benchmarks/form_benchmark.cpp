// SPDX-License-Identifier: MIT
// The forward convolutions of the 7-2-7-1 network in every form that can compute them, on one thread: whether
// the estimate of costs (backend/cpu/conv2d_form.hpp) chooses the fastest. Counters: how often the network
// has the convolution, and whether this form is the one chosen.
#include "network_convolutions.hpp"
#include "support.hpp"

#include <segnet/models/carvana.hpp>

namespace {

using namespace segnet_benchmark;
using detail::product_form;
using detail::product_geometry;

constexpr struct {
  product_form form;
  const char* name;
  bool (*fits)(const product_geometry&);
} forms[] = {{product_form::direct, "direct", [](const product_geometry&) { return true; }},
             {product_form::rows, "rows", detail::rows_form_fits},
             {product_form::planar, "planar", detail::planar_form_fits},
             {product_form::winograd_2, "winograd_2", detail::winograd_form_fits},
             {product_form::winograd_4, "winograd_4", detail::winograd_form_fits},
             {product_form::dot, "dot", detail::dot_form_fits}};

void convolution(benchmark::State& state, const network_convolution& c, product_form form) {
  const conv2d_geometry& g = c.geometry;
  std::vector<aligned_buffer<float>> inputs;
  std::vector<conv2d_source<float>> sources = c.sources;
  for (conv2d_source<float>& source : sources) {
    inputs.push_back(
        random_buffer(shape{g.h / source.upsample, g.w / source.upsample, source.channels}.size()));
    source.data = inputs.back().data();
  }
  const auto weight = random_buffer(g.weights());
  aligned_buffer<float> y(shape{g.out_h, g.out_w, g.out_channels}.size());
  const workspace_size needed = detail::product_workspace<float>(form, product_geometry::forward(g));
  aligned_buffer<float> shared(needed.shared), own(needed.per_thread);
  const scratch<float> memory{shared.data(), own.data(), needed.per_thread};
  thread_pool pool(1);
  auto product = detail::forward_product<float>(g, 1, sources, weight.data(), {}, y.data());
  state.counters["chosen"] = product.form == form;
  state.counters["count"] = c.count;
  product.form = form;
  for (auto _ : state) {
    detail::run_product(pool, product, memory);
    benchmark::ClobberMemory();
  }
}

/// Names: winograd_4/input:512/pixels:256x256/kernel:3/in:24+up64/out:24/real_time
template <int Size>
void register_forms() {
  for (const network_convolution& c : convolutions_of<network<carvana_7_2_7_1<Size>>>())
    for (const auto& [form, form_name, fits] : forms) {
      if (c.geometry.kernel_h == 1 || !fits(product_geometry::forward(c.geometry))) continue;
      const std::string name = std::string(form_name) + "/input:" + std::to_string(Size) + "/" + c.name();
      benchmark::RegisterBenchmark(name.c_str(),
                                   [c, form = form](benchmark::State& state) { convolution(state, c, form); })
          ->UseRealTime()
          ->Unit(benchmark::kMicrosecond);
    }
}

}  // namespace

int main(int argc, char** argv) {
  register_forms<512>();
  register_forms<256>();
  return run(argc, argv);
}
