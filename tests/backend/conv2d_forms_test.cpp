// SPDX-License-Identifier: MIT
// Every form of the convolutions on purpose, whichever the library would choose.
#include "forms.hpp"
#include "kernels.hpp"

using namespace segnet;
using namespace segnet::reference;

SEGNET_KERNELS(template, float);
SEGNET_KERNELS(template, double);

namespace {

/// Whether all three products of a convolution of size x size pixels are computed in this form.
constexpr bool choices_are(product_form form, int size, int in, int out, int kernel = 3, int stride = 1) {
  const auto g = convolution(size, size, in, out, kernel, stride);
  return choose_form(product_geometry::forward(g)) == form &&
         choose_form(product_geometry::backward_data(g)) == form && detail::choose_weights_form(g) == form;
}

// What must hold however the estimate of costs changes: layers, most of them of 7-2-7-1 at 512 x 512 pixels,
// that lie far from where two forms cost the same.
static_assert(choose_form(product_geometry::forward(convolution(512, 512, 3, 8, 3, 1))) ==
              product_form::planar);
static_assert(choose_form(product_geometry::backward_data(convolution(512, 512, 8, 8, 3, 1))) ==
              product_form::planar);
static_assert(choices_are(product_form::rows, 256, 16, 16));
static_assert(choices_are(product_form::winograd_4, 128, 64, 64));
static_assert(choices_are(product_form::winograd_4, 128, 64 + 128, 64));
static_assert(choices_are(product_form::winograd_4, 16, 512, 512));
static_assert(choices_are(product_form::winograd_4, 8, 768 + 768, 768));
static_assert(choose_form(product_geometry::forward(convolution(2, 2, 768, 768, 3, 1))) == product_form::dot);
static_assert(choices_are(product_form::direct, 512, 8, 1, 1) &&
              choices_are(product_form::direct, 64, 64, 64, 1));
static_assert(choices_are(product_form::direct, 20, 64, 64, 3, 2));

/// Beside the small ones, what needs some pixels or channels.
std::vector<problem> form_problems() {
  auto list = small_form_problems();
  list.push_back({convolution(30, 33, 33, 70, 3, 1), 1, {{33, 1}}});
  list.push_back({convolution(30, 26, 200, 40, 3, 1), 1, {{200, 1}}});
  list.push_back({convolution(24, 22, 530, 24, 3, 1), 1, {{300, 2}, {230, 1}}});
  list.push_back({convolution(6, 10, 24, 300, 3, 1), 2, {{24, 1}}});
  // Forms without Winograd's.
  list.push_back({convolution(9, 51, 6, 10, 7, 2), 1, {{6, 1}}});
  list.push_back({convolution(11, 30, 5, 8, 5, 1), 2, {{5, 1}}});
  list.push_back({convolution(9, 7, 70, 40, 1, 1), 2, {{70, 1}}});
  list.push_back({convolution(9, 7, 24, 33, 3, 2), 3, {{24, 1}}});
  return list;
}

}  // namespace

TEMPLATE_TEST_CASE("cpu: every form of a convolution agrees with naive loops", "[backend]", float, double) {
  for (const problem& p : form_problems()) check_forms<TestType>(p);
}

TEST_CASE("cpu: every form gives the statistics of more pixels than fit one sum", "[backend]") {
  for (const problem& p : {problem{convolution(70, 40, 8, 8, 3, 1), 40, {{8, 1}}},
                           problem{convolution(90, 92, 24, 40, 3, 1), 5, {{24, 1}}},
                           problem{convolution(60, 62, 200, 24, 3, 1), 3, {{200, 1}}},
                           problem{convolution(4, 4, 64, 64, 3, 1), 40, {{64, 1}}}}) {
    INFO(name(p));
    const operands<float> o(p);
    for (const product_form form : all_forms)
      if (fits(form, product_geometry::forward(p.g))) check_statistics<float>(form, p, o, {});
  }
}

TEST_CASE("cpu: the problems take all ways through Winograd's form", "[backend]") {
  // Weights or data transformed first; data in one or in several parts.
  bool weights_first = false, one_part = false, several_parts = false;
  for (const problem& p : form_problems()) {
    const auto g = product_geometry::forward(p.g);
    if (!fits(product_form::winograd_4, g)) continue;
    detail::with_winograd<float>(product_form::winograd_4, g.channels, g.columns, [&](const auto& plan) {
      const auto tiles = detail::tile_grid(g.out_h, g.out_w, 4).tiles(p.batch);
      const bool all_at_once = tiles <= std::ptrdiff_t{plan.groups()} * plan.group;
      weights_first |= plan.weights_first();
      one_part |= !plan.weights_first() && all_at_once;
      several_parts |= !plan.weights_first() && !all_at_once;
    });
  }
  CHECK((weights_first && one_part && several_parts));
}
