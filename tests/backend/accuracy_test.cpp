// SPDX-License-Identifier: MIT
// What rounding costs in each form of a convolution, on operands as a network has them; and that Winograd's
// transforms are exact but for rounding.
#include <segnet/backend/cpu/winograd.hpp>

#include "forms.hpp"
#include "kernels.hpp"

using namespace segnet;
using namespace segnet::reference;

namespace {

/// A 3 x 3 convolution of size x size pixels: activations after a ReLU, Glorot's uniform weights, and an
/// upstream gradient that a ReLU has let half of through.
problem square(int size, int in, int out) { return {convolution(size, size, in, out, 3, 1), 1, {{in, 1}}}; }

void make_realistic(const problem& p, operands<float>& o) {
  random_stream random{0xacc, 1};
  for (float& x : o.inputs[0]) x = std::max(0.0f, static_cast<float>(random.normal()));
  const double limit = std::sqrt(6.0 / (9 * (p.g.in_channels + p.g.out_channels)));
  for (float& w : o.weight) w = static_cast<float>(random.uniform(-limit, limit));
  for (float& d : o.dy) d = random.uniform() < 0.5 ? 0.0f : static_cast<float>(random.normal());
}

/// Single results in double precision; all of them would take too long.
class exact {
 public:
  exact(const problem& p, const operands<float>& o)
      : o_(o), h_(p.g.h), w_(p.g.w), in_(p.g.in_channels), out_(p.g.out_channels) {}

  double out(int i) const {
    const int k = i % out_, x = i / out_ % w_, y = i / out_ / w_;
    double sum = 0;
    for (int tap = 0; tap < 9; ++tap)
      for (int c = 0; c < in_; ++c) sum += input(y + tap / 3 - 1, x + tap % 3 - 1, c) * weight(k, tap, c);
    return sum;
  }
  double dx(int i) const {
    const int c = i % in_, x = i / in_ % w_, y = i / in_ / w_;
    double sum = 0;
    for (int tap = 0; tap < 9; ++tap)
      for (int k = 0; k < out_; ++k) sum += dy(y + 1 - tap / 3, x + 1 - tap % 3, k) * weight(k, tap, c);
    return sum;
  }
  double dweight(int i) const {
    const int c = i % in_, tap = i / in_ % 9, k = i / in_ / 9;
    double sum = 0;
    for (int y = 0; y < h_; ++y)
      for (int x = 0; x < w_; ++x) sum += input(y + tap / 3 - 1, x + tap % 3 - 1, c) * dy(y, x, k);
    return sum;
  }

 private:
  static double at(const std::vector<float>& values, int i) {
    return static_cast<double>(values[static_cast<std::size_t>(i)]);
  }
  bool inside(int y, int x) const { return y >= 0 && x >= 0 && y < h_ && x < w_; }
  double input(int y, int x, int c) const {
    return inside(y, x) ? at(o_.inputs[0], (y * w_ + x) * in_ + c) : 0;
  }
  double dy(int y, int x, int k) const { return inside(y, x) ? at(o_.dy, (y * w_ + x) * out_ + k) : 0; }
  double weight(int k, int tap, int c) const { return at(o_.weight, (k * 9 + tap) * in_ + c); }

  const operands<float>& o_;
  int h_, w_, in_, out_;
};

/// Places spread over a result, and what they should hold.
struct samples {
  std::vector<std::size_t> place;
  std::vector<double> expected;

  template <class F>
  samples(std::size_t size, F value) {
    random_stream random{0x5a3, size};
    for (int i = 0; i < 1000; ++i) {
      place.push_back(static_cast<std::size_t>(random.uniform() * static_cast<double>(size)));
      expected.push_back(value(static_cast<int>(place.back())));
    }
  }
  /// The largest error, relative to the largest result of all.
  double error(const std::vector<float>& got) const {
    double worst = 0, scale = 0;
    for (float x : got) scale = std::max(scale, std::abs(static_cast<double>(x)));
    for (std::size_t i = 0; i < place.size(); ++i) {
      const double d = std::abs(static_cast<double>(got[place[i]]) - expected[i]);
      if (!(d <= worst)) worst = d;
    }
    return worst / scale;
  }
};

/// Two to three times what 20000 samples found with AVX-512. A direct product adds up thousands of terms one
/// after the other, which costs it more accuracy than F(2 x 2, 3 x 3) loses by its transforms.
struct limits {
  product_form form;
  double forward, data, weights;
};
constexpr limits all_limits[] = {{product_form::direct, 3e-6, 3e-6, 4e-7},
                                 {product_form::rows, 2e-6, 2e-6, 4e-7},
                                 {product_form::planar, 5e-7, 5e-7, 0},
                                 {product_form::winograd_2, 8e-7, 1e-6, 1.3e-6},
                                 {product_form::winograd_4, 4e-6, 5.5e-6, 2.4e-6}};

}  // namespace

TEST_CASE("cpu: single precision costs every form of a convolution little accuracy", "[backend]") {
  for (const problem& p :
       {square(64, 64, 64), square(32, 256, 256), square(16, 512, 512), square(64, 16, 16)}) {
    INFO(name(p));
    operands<float> o(p);
    make_realistic(p, o);
    const exact e(p, o);
    const samples out(o.dy.size(), [&](int i) { return e.out(i); }),
        dx(o.dx.size(), [&](int i) { return e.dx(i); }),
        dweight(o.dweight.size(), [&](int i) { return e.dweight(i); });
    std::vector<float> got;
    for (const limits& limit : all_limits) {
      INFO(name(limit.form));
      if (fits(limit.form, product_geometry::forward(p.g))) {
        forward(limit.form, p, o, {}, 2, got);
        CHECK(out.error(got) < limit.forward);
      }
      if (fits(limit.form, product_geometry::backward_data(p.g))) {
        backward_data(limit.form, p, o, false, 2, got);
        CHECK(dx.error(got) < limit.data);
      }
      if (weights_fit(limit.form, p.g)) {
        backward_weights(limit.form, p, o, false, 2, got);
        CHECK(dweight.error(got) < limit.weights);
      }
    }
  }
}

// Nothing but rounding lies between the transforms and the sums that they stand for: y_i = sum of x_(i + k)
// w_k over the three weights, and w_k = sum of x_(i + k) g_i over the gradients of M results.
TEMPLATE_TEST_CASE_SIG("cpu: Winograd's transforms reproduce a correlation in one dimension", "[backend]",
                       ((int M), M), 2, 4) {
  using V = detail::simd<double>;
  using transforms = detail::winograd<V, M>;
  using packet = typename V::packet;
  constexpr std::size_t size = M + 2, results = M, lanes = V::lanes;
  using lane_values = std::array<double, lanes>;
  random_stream random{0x717, M};
  for (int round = 0; round < 20; ++round) {
    lane_values x[size], w[3], g[results];
    const auto fill = [&](std::span<lane_values> rows) {
      for (lane_values& row : rows)
        for (double& value : row) value = random.uniform(-1, 1);
    };
    fill(x), fill(w), fill(g);
    packet data[size], in[size], changed[size], three[3], many[results];
    const auto load = [](std::span<const lane_values> from, packet* to) {
      for (const lane_values& row : from) *to++ = V::load(row.data());
    };
    const auto check = [&](const packet* got, std::size_t count, auto expected) {
      for (std::size_t i = 0; i < count; ++i) {
        lane_values values;
        V::store(values.data(), got[i]);
        for (std::size_t lane = 0; lane < lanes; ++lane)
          CHECK(std::abs(values[lane] - expected(i, lane)) < 1e-13);
      }
    };
    load(x, in);
    transforms::data(in, data);

    packet product[size];
    load(w, three);
    transforms::weights(three, changed);
    for (std::size_t i = 0; i < size; ++i) product[i] = data[i] * changed[i];
    transforms::result(product, many);
    check(many, results, [&](std::size_t i, std::size_t lane) {
      return x[i][lane] * w[0][lane] + x[i + 1][lane] * w[1][lane] + x[i + 2][lane] * w[2][lane];
    });

    load(g, many);
    transforms::gradient(many, changed);
    for (std::size_t i = 0; i < size; ++i) product[i] = data[i] * changed[i];
    transforms::weights_gradient(product, three);
    check(three, 3, [&](std::size_t k, std::size_t lane) {
      double sum = 0;
      for (std::size_t i = 0; i < results; ++i) sum += x[i + k][lane] * g[i][lane];
      return sum;
    });
  }
}
