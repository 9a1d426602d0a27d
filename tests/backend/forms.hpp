// SPDX-License-Identifier: MIT
// Convolutions in a form that the test chooses, rather than the library's estimate of costs.
#pragma once

#include <segnet/backend/cpu/conv2d.hpp>

#include "problem.hpp"
#include "workspace.hpp"

#include <catch2/catch.hpp>

namespace segnet::reference {

using detail::product_form;
using detail::product_geometry;

inline constexpr std::array all_forms{product_form::direct,     product_form::rows,
                                      product_form::planar,     product_form::winograd_2,
                                      product_form::winograd_4, product_form::dot};

constexpr const char* name(product_form form) {
  switch (form) {
    case product_form::rows:
      return "rows";
    case product_form::planar:
      return "planar";
    case product_form::winograd_2:
      return "F(2x2, 3x3)";
    case product_form::winograd_4:
      return "F(4x4, 3x3)";
    case product_form::dot:
      return "dot";
    case product_form::direct:
      break;
  }
  return "direct";
}

/// Whether a form can compute a product, be it worth it or not.
constexpr bool fits(product_form form, const product_geometry& p) {
  if (form == product_form::direct) return true;
  if (form == product_form::rows) return rows_form_fits(p);
  if (form == product_form::planar) return planar_form_fits(p);
  if (form == product_form::dot) return dot_form_fits(p);
  return p.kernel_h == 3 && p.kernel_w == 3 && p.stride == 1 && p.channels >= 24 && p.columns >= 8;
}
constexpr bool weights_fit(product_form form, const conv2d_geometry& g) {
  if (form == product_form::direct) return true;
  if (form == product_form::dot || form == product_form::planar) return false;
  if (form == product_form::rows) return g.kernel_w > 1 && g.out_w >= 24 && g.kernel_h <= 7;
  return g.kernel_h == 3 && g.kernel_w == 3 && g.stride == 1 && g.in_channels >= 24 && g.out_channels >= 24;
}

/// The three products in a form, results to the last argument. They check that no more scratch memory is
/// written than the form asks for, and none is read before.
template <class T>
void forward(product_form form, const problem& p, const operands<T>& o, const conv2d_epilogue<T>& finish,
             int threads, std::vector<T>& out) {
  out.assign(o.dy.size(), T{77});
  thread_pool pool(threads);
  workspace_size size = detail::product_workspace<T>(form, product_geometry::forward(p.g));
  if (finish.mean != nullptr) size.shared += detail::statistics_size<T>(p.g.out_channels);
  workspace<T> memory(size, threads);
  auto product = detail::forward_product<T>(p.g, p.batch, o.sources, o.weight.data(), finish, out.data());
  product.form = form;
  detail::run_product(pool, product, memory.get());
  CHECK(memory.intact());
}

template <class T>
void backward_data(product_form form, const problem& p, const operands<T>& o, bool accumulate, int threads,
                   std::vector<T>& dx) {
  dx = o.dx;
  thread_pool pool(threads);
  workspace<T> memory(detail::product_workspace<T>(form, product_geometry::backward_data(p.g)), threads);
  const conv2d_source<T> source{o.dy.data(), p.g.out_channels, 1};
  auto product = detail::backward_data_product(p.g, p.batch, source, o.weight.data(), dx.data(), accumulate);
  product.form = form;
  detail::run_product(pool, product, memory.get());
  CHECK(memory.intact());
}

template <class T>
void backward_weights(product_form form, const problem& p, const operands<T>& o, bool accumulate, int threads,
                      std::vector<T>& dweight) {
  dweight = o.dweight;
  thread_pool pool(threads);
  // Where a form sums up in several copies of dW, adding them is what the primitive does.
  const auto run = [&](std::size_t copies, std::size_t per_thread, auto kernel) {
    workspace<T> memory({per_thread, copies == 1 ? 0 : copies * p.g.weights()}, threads);
    T* const to = copies == 1 ? dweight.data() : memory.get().shared;
    kernel(pool, detail::weights_product<T>{p.g, p.batch, o.sources, o.dy.data(), to, accumulate},
           memory.get());
    CHECK(memory.intact());
    for (std::size_t i = 0; copies > 1 && i < dweight.size(); ++i) {
      if (!accumulate) dweight[i] = T{0};
      for (std::size_t part = 0; part < copies; ++part) dweight[i] += to[part * dweight.size() + i];
    }
  };
  const auto winograd = [&]<int M>(std::integral_constant<int, M>) {
    using plan = detail::winograd_weights_plan<T, M>;
    run(static_cast<std::size_t>(plan{p.g.in_channels, p.g.out_channels}.chunks()), plan::per_thread(),
        detail::run_weights_winograd<T, M>);
  };
  switch (form) {
    case product_form::dot:  // have none
    case product_form::planar:
    case product_form::direct:
      return run(static_cast<std::size_t>(detail::weights_plan<T>(p.g).chunks()),
                 detail::weights_plan<T>::per_thread(), detail::run_weights_direct<T>);
    case product_form::rows:
      return run(detail::weights_row_chunks, detail::weights_rows_size<T>(p.g), detail::run_weights_rows<T>);
    case product_form::winograd_2:
      return winograd(std::integral_constant<int, 2>{});
    case product_form::winograd_4:
      return winograd(std::integral_constant<int, 4>{});
  }
}

/// Relative to the largest result, for operands that are normal around zero.
template <class T>
constexpr double tolerance(product_form form) {
  return (form == product_form::winograd_4 ? 4 : 1) * tolerance<T>();
}

/// The mean and the variance that a form gives, against those of what it wrote.
template <class T>
void check_statistics(product_form form, const problem& p, const operands<T>& o, conv2d_epilogue<T> finish) {
  const auto channels = static_cast<std::size_t>(p.g.out_channels);
  std::vector<T> out, first_mean, first_variance;
  for (int threads : {1, 2, 3}) {
    std::vector<T> got_mean(channels, T{77}), got_variance(channels, T{77});
    finish.mean = got_mean.data();
    finish.variance = got_variance.data();
    forward(form, p, o, finish, threads, out);
    if (threads > 1) {
      CHECK((got_mean == first_mean && got_variance == first_variance));
      continue;
    }
    first_mean = got_mean, first_variance = got_variance;
    const auto n = static_cast<double>(out.size() / channels);
    std::vector<double> mean(channels), variance(channels);
    for (std::size_t i = 0; i < out.size(); ++i) mean[i % channels] += static_cast<double>(out[i]) / n;
    for (std::size_t i = 0; i < out.size(); ++i) {
      const double centred = static_cast<double>(out[i]) - mean[i % channels];
      variance[i % channels] += centred * centred / n;
    }
    CHECK(difference(got_mean, mean) < tolerance<T>());
    CHECK(difference(got_variance, variance) < tolerance<T>());
  }
}

/// Runs every form that fits, with and without epilogue and accumulation, against naive loops, and with
/// several numbers of threads.
template <class T>
void check_forms(const problem& p) {
  INFO(name(p));
  const operands<T> o(p);
  const naive_results plain(p, o), finished = plain.finished(o);
  const auto check = [](product_form form, const std::vector<double>& expected, auto compute) {
    INFO(name(form));
    std::vector<T> one, more;
    compute(1, one);
    CHECK(difference(one, expected) < tolerance<T>(form));
    for (int threads : {2, 3}) {
      compute(threads, more);
      CHECK(more == one);
    }
  };
  for (const product_form form : all_forms)
    for (const bool variant : {false, true}) {
      INFO((variant ? "scale, bias, relu, accumulating" : "plain"));
      const naive_results& expected = variant ? finished : plain;
      const conv2d_epilogue<T> finish{.scale = variant ? o.scale.data() : nullptr,
                                      .bias = variant ? o.bias.data() : nullptr,
                                      .act = variant ? activation::relu : activation::none};
      if (fits(form, product_geometry::forward(p.g))) {
        INFO("forward");
        check(form, expected.out,
              [&](int threads, std::vector<T>& to) { forward(form, p, o, finish, threads, to); });
      }
      if (fits(form, product_geometry::forward(p.g))) {
        INFO("statistics");
        check_statistics(form, p, o, finish);
      }
      if (fits(form, product_geometry::backward_data(p.g))) {
        INFO("backward to the data");
        check(form, expected.dx,
              [&](int threads, std::vector<T>& to) { backward_data(form, p, o, variant, threads, to); });
      }
      if (weights_fit(form, p.g)) {
        INFO("backward to the weights");
        check(form, expected.dweight,
              [&](int threads, std::vector<T>& to) { backward_weights(form, p, o, variant, threads, to); });
      }
    }
}

/// Problems that reach what the forms do specially: tiles over the edge and single tiles, channels and
/// columns that fill no packet or several blocks, several and thin sources, upsampling, and any padding.
inline std::vector<problem> small_form_problems() {
  std::vector<problem> list;
  const auto add = [&](int h, int w, int batch, int out, std::vector<std::array<int, 2>> sources) {
    int in = 0;
    for (auto [channels, upsample] : sources) in += channels;
    list.push_back({convolution(h, w, in, out, 3, 1), batch, std::move(sources)});
  };
  const auto padded = [&](int h, int w, int out_h, int out_w, int top, int left, int in, int out) {
    conv2d_geometry g = convolution(h, w, in, out, 3, 1);
    g.out_h = out_h, g.out_w = out_w, g.pad_top = top, g.pad_left = left;
    list.push_back({g, 2, {{in, 1}}});
  };
  add(1, 1, 3, 40, {{40, 1}});
  add(2, 2, 1, 33, {{24, 1}});
  add(4, 4, 1, 24, {{33, 1}});
  add(4, 4, 3, 33, {{64, 1}});
  add(4, 4, 18, 40, {{16, 1}, {32, 2}});
  add(2, 2, 2, 24, {{48, 1}, {16, 2}});
  add(2, 2, 1, 20, {{8, 1}, {24, 1}});
  add(5, 7, 3, 24, {{24, 1}});
  add(7, 6, 5, 64, {{64, 1}});
  add(13, 18, 1, 33, {{24, 1}, {64, 1}});
  add(14, 18, 2, 24, {{24, 1}, {64, 2}});
  add(6, 10, 2, 24, {{3, 1}, {64, 1}});
  add(6, 10, 1, 24, {{64, 2}, {3, 1}});
  add(8, 12, 2, 70, {{5, 4}, {24, 1}, {3, 2}});
  add(12, 9, 1, 8, {{88, 1}});
  padded(5, 5, 4, 4, 1, 1, 32, 24);    // not the same as padded on both sides
  padded(9, 11, 7, 9, 0, 0, 24, 40);   // none
  padded(6, 7, 8, 9, 2, 2, 24, 33);    // all of the kernel but one
  padded(8, 9, 7, 10, 0, 2, 40, 24);   // one side only
  padded(5, 6, 11, 12, 4, 4, 24, 33);  // more than the kernel
  padded(3, 4, 21, 22, 10, 10, 32, 24);
  padded(4, 13, 10, 31, 4, 10, 6, 8);
  padded(3, 26, 9, 32, 4, 4, 6, 8);
  // Few columns share a packet with the channels' pairs, of which the last one may be half empty.
  add(6, 7, 2, 2, {{5, 1}});
  add(6, 7, 1, 5, {{33, 1}});
  add(3, 26, 1, 12, {{9, 1}});
  add(20, 25, 2, 9, {{8, 1}});  // wide and thin from here on
  add(6, 28, 2, 24, {{24, 2}, {8, 1}});
  add(4, 33, 3, 16, {{3, 1}, {12, 1}, {1, 1}});
  padded(5, 31, 3, 29, 0, 0, 8, 24);
  add(5, 61, 2, 8, {{3, 1}});
  add(3, 49, 1, 8, {{8, 1}});
  add(3, 32, 2, 4, {{16, 1}});
  add(4, 40, 1, 12, {{4, 1}});
  return list;
}

}  // namespace segnet::reference
