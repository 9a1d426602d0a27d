// SPDX-License-Identifier: MIT
// What the inference graph computes is what the definition says, for graphs that no person would draw.
#include <segnet/backend/cpu/cpu.hpp>
#include <segnet/graph/passes.hpp>
#include <segnet/memory/aligned_buffer.hpp>
#include <segnet/network/executor.hpp>
#include <segnet/network/folding.hpp>

#include "../graph/random_graph.hpp"

#include <catch2/catch.hpp>
#include <memory>

using namespace segnet;

namespace {

using backend_type = basic_cpu<double>;
using graph_type = decltype(test::random_graph(0, 1));

/// The output for random images, parameters and statistics, the same for all graphs of one definition.
std::vector<double> infer(const graph_type& g, const parameter_table& table, int batch) {
  const auto plan =
      std::make_unique<schedule>(make_schedule<backend_type>(g, {.training = false, .scalar_bytes = 8}));
  const auto random = [](std::size_t size, std::uint64_t key, double low) {
    random_stream stream{7, key};
    std::vector<double> values(size);
    for (double& v : values) v = stream.uniform(low, 1);
    return values;
  };
  const auto input = random(static_cast<std::size_t>(batch) * g.input_shape().size(), 1, -1),
             parameters = random(table.trainable, 2, -1), statistics = random(table.statistics, 3, 0.2);
  std::vector<const double*> tensors(static_cast<std::size_t>(table.entries.size()));
  detail::locate<double>(table, parameters.data(), statistics.data(), tensors);
  aligned_buffer<double> folded(plan->folded), shared(plan->scratch.shared), own(plan->scratch.per_thread);
  detail::fold<double>(g, *plan, table, tensors.data(), folded.data());
  aligned_buffer<std::byte> arena(plan->bytes_per_image * static_cast<std::size_t>(batch));
  std::ranges::fill(arena.span(), std::byte{0xff});  // nothing may count on what it finds
  backend_type backend(1);
  const detail::run_memory<double, double> memory{
      .arena = arena.data(),
      .input = input.data(),
      .tensors = tensors.data(),
      .folded = folded.data(),
      .scratch = {shared.data(), own.data(), plan->scratch.per_thread}};
  const detail::executor<backend_type, graph_type, schedule, parameter_table> run(backend, g, *plan, table,
                                                                                  memory, batch);
  run.forward(false);
  const double* out = run.data(plan->output);
  return {out, out + static_cast<std::size_t>(batch) * g.output_shape().size()};
}

}  // namespace

TEST_CASE("inference graphs compute what was defined", "[network]") {
  int pooled = 0, pooled_first = 0;
  for (std::uint64_t seed = 0; seed < 400; ++seed) {
    CAPTURE(seed);
    const auto plain =
        std::make_unique<graph_type>(test::random_graph(seed, 6 + static_cast<int>(seed % 16)));
    remove_unused(*plain);  // the same parameters at the same places
    const auto fused = std::make_unique<graph_type>(inference_graph(*plain));
    const auto table = std::make_unique<parameter_table>(make_parameter_table(*plain));
    const auto expected = infer(*plain, *table, 2), got = infer(*fused, *table, 2);
    REQUIRE(got.size() == expected.size());
    double worst = 0, largest = 1e-9;
    for (std::size_t i = 0; i < got.size(); ++i) {
      const double error = std::abs(got[i] - expected[i]);
      if (!(error <= worst)) worst = error;  // NaN counts
      largest = std::max(largest, std::abs(expected[i]));
    }
    CHECK(worst <= 1e-9 * largest);
    for (int id = 1; id < fused->nodes.size(); ++id)
      if (fused->nodes[id].pooled >= 0)
        fused->visit(id, [&](const auto& l) {
          ++pooled;
          if constexpr (requires { l.pools_first; }) pooled_first += l.pools_first;
        });
  }
  CHECK(pooled > 50);  // or the graphs are not worth their name
  CHECK(pooled_first > 20);
}
