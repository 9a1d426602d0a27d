// SPDX-License-Identifier: MIT
// The kernels of training against the functions of the same names for the CPU, in double precision where
// those have it. In a build without nvcc's help they run on the simulated card.
#include "device_memory.hpp"
#include "skip.hpp"

#include <segnet/backend/cpu/cpu.hpp>
#include <segnet/backend/cuda/stream.hpp>
#include <segnet/backend/cuda/training_kernels.hpp>
#include <segnet/inference/class_prediction.hpp>
#include <segnet/metrics/confusion.hpp>
#include <segnet/metrics/confusion_matrix.hpp>
#include <segnet/optim/gradient_norm.hpp>

#include <catch2/catch.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <vector>

using namespace segnet;
using namespace segnet::reference;
namespace k = segnet::gpu::kernels;

#define FOR_ALL_TYPES float, bfloat16, float16

namespace {

using cpu_reference = basic_cpu<double>;

constexpr double of_floats = 2e-6;
constexpr float not_a_number = std::numeric_limits<float>::quiet_NaN();

gpu::step_values step_of(float loss_scale) {
  gpu::step_values step{};
  step.loss_scale = loss_scale;
  return step;
}

std::vector<double> uniform(std::size_t size, std::uint64_t key, double low = 0, double high = 1) {
  random_stream random{0x7e57, key};
  std::vector<double> values(size);
  for (double& v : values) v = static_cast<double>(static_cast<float>(random.uniform(low, high)));
  return values;
}

std::vector<std::uint8_t> bytes(std::size_t size, std::uint64_t key, unsigned below = 256) {
  random_stream random{0xb17e, key};
  std::vector<std::uint8_t> values(size);
  for (std::uint8_t& v : values) v = static_cast<std::uint8_t>(random() % below);
  return values;
}

template <class T>
void check_near(const std::vector<T>& got, const std::vector<double>& expected, double tolerance) {
  CHECK(difference(got, expected) <= tolerance);
}

/// Blobs with sharp outlines, or soft ones.
std::vector<double> blobs(int n, shape dims, bool soft) {
  std::vector<double> masks;
  for (int i = 0; i < n; ++i)
    for (int y = 0; y < dims.h; ++y)
      for (int x = 0; x < dims.w; ++x) {
        const double d = std::hypot(y - dims.h / (2.0 + i), x - dims.w / 3.0) - dims.h / 4.0;
        masks.push_back(soft ? std::round(255 * std::clamp(0.5 - d / 7, 0.0, 1.0)) / 255 : d < 0 ? 1 : 0);
      }
  return masks;
}

}  // namespace

TEST_CASE("cuda training: sums over arrays, and numbers that are not finite", "[cuda]") {
  SEGNET_SKIP_WITHOUT_CARD();
  const gpu::stream s;
  for (const std::size_t size : {1, 3, 4, 1000, 40001, 1300003})
    for (const std::size_t offset : {0, 1}) {
      const operand<float> x(size, 3, offset);
      double sum = 0, squares = 0;
      for (double v : x.host) sum += v, squares += v * v;
      card_array<double> got(2);
      card_array<unsigned> found(1);
      card_scratch scratch(k::sum_workspace());
      k::sum(s.get(), size, x.card, got, scratch);
      k::find_not_finite(s.get(), size, x.card, found, scratch, got.data() + 1);
      CHECK(got.get()[0] == Approx(sum).margin(1e-10));
      CHECK(got.get()[1] == Approx(squares));
      CHECK(found.get()[0] == 0);
      for (const float bad : {not_a_number, std::numeric_limits<float>::infinity()}) {
        for (const std::size_t at : {std::size_t{0}, size - 1}) {
          std::vector<float> values = rounded<float>(x.host);
          values[at] = bad;
          const card_array<float> wrong(values, offset);
          k::find_not_finite(s.get(), size, wrong, found, scratch);
          CHECK(found.get()[0] == 1);
        }
      }
      // The largest number is finite, and its square counts.
      const card_array<float> large(std::vector<float>(size, std::numeric_limits<float>::max()));
      k::find_not_finite(s.get(), size, large, found, scratch);
      CHECK(found.get()[0] == 0);
      CHECK(scratch.intact());
    }
}

TEMPLATE_TEST_CASE("cuda training: BCE and Dice", "[cuda]", FOR_ALL_TYPES) {
  SEGNET_SKIP_WITHOUT_CARD();
  using T = TestType;
  const gpu::stream s;
  cpu_reference cpu(1);
  const bce_dice loss{.bce_weight = 0.7, .dice_weight = 1.3, .smooth = 2};
  const card_array<gpu::step_values> step(std::vector{step_of(3)});
  for (const std::size_t size : {1, 7, 16, 4099, 40001})
    for (const std::size_t offset : {0, 1})
      for (const bool weighted : {false, true}) {
        INFO(size << " at " << offset << (weighted ? ", weighted" : ""));
        std::vector<double> logits = random_values<double>(size, 1);
        logits[0] = 60;  // whose exponential would not fit float16
        logits[size / 2] = -80;
        const operand<T> z(logits, offset);
        const operand<float> t(uniform(size, 2)), w(uniform(size, 3, 0.1, 5));
        std::vector<double> gradient(size);
        const std::span<const double> weights =
            weighted ? std::span<const double>(w.host) : std::span<const double>{};
        const loss_result expected = loss(cpu, z.host, t.host, weights, gradient, 3.0);

        card_array<T> got(size, offset);
        card_array<k::bce_dice_values> result(1);
        card_scratch scratch(k::bce_dice_workspace());
        const float* const on_card = weighted ? w.card.data() : nullptr;
        k::bce_dice<T>(s.get(), loss, size, z.card, t.card, on_card, step, got, result, scratch);
        const k::bce_dice_values found = result.get()[0];
        CHECK(found.total == Approx(expected.total).epsilon(of_floats));
        CHECK(found.bce == Approx(expected.bce).epsilon(of_floats));
        CHECK(found.dice == Approx(expected.dice).epsilon(of_floats));
        CHECK(found.finite == 1);
        check_near(got.get(), gradient, 3 * rounding<T>());

        // Without a gradient the loss is the same; the gradient may be written over the logits.
        result.set({k::bce_dice_values{}});
        k::bce_dice<T>(s.get(), loss, size, z.card, t.card, on_card, step, nullptr, result, scratch);
        CHECK(result.get()[0].total == found.total);
        card_array<T> same(rounded<T>(z.host), offset);
        k::bce_dice<T>(s.get(), loss, size, same, t.card, on_card, step, same, result, scratch);
        CHECK(doubles(same.get()) == doubles(got.get()));
        CHECK(scratch.intact());
      }
}

TEST_CASE("cuda training: a loss that is not finite is told", "[cuda]") {
  SEGNET_SKIP_WITHOUT_CARD();
  const gpu::stream s;
  const card_array<gpu::step_values> step(std::vector{step_of(1)});
  const card_array<float> z(std::vector<float>{1, not_a_number, 2}), t(std::vector<float>{0, 1, 1});
  card_array<k::bce_dice_values> result(1);
  card_scratch scratch(k::bce_dice_workspace());
  k::bce_dice<float>(s.get(), {}, 3, z, t, nullptr, step, nullptr, result, scratch);
  CHECK(result.get()[0].finite == 0);
  CHECK(std::isnan(result.get()[0].total));
}

TEMPLATE_TEST_CASE("cuda training: cross-entropy of classes", "[cuda]", FOR_ALL_TYPES) {
  SEGNET_SKIP_WITHOUT_CARD();
  using T = TestType;
  const gpu::stream s;
  cpu_reference cpu(1);
  const card_array<gpu::step_values> step(std::vector{step_of(5)});
  for (const int classes : {2, 11, 32, 33, 255})
    for (const int ignore : {255, 1})
      for (const bool weighted : {false, true}) {
        INFO(classes << " classes, ignoring " << ignore << (weighted ? ", weighted" : ""));
        const softmax_cross_entropy loss{.ignore = static_cast<std::uint8_t>(ignore)};
        const int h = classes > 32 ? 11 : 61, w = 43;
        const auto pixels = static_cast<std::size_t>(h * w), n = static_cast<std::size_t>(classes);
        std::vector<std::uint8_t> labels = bytes(pixels, 4, static_cast<unsigned>(classes));
        for (std::size_t i = 0; i < pixels; i += 7) labels[i] = static_cast<std::uint8_t>(ignore);
        std::vector<double> weights = uniform(n, 5, 0.2, 3);
        weights[0] = 0;
        std::vector<double> logits = random_values<double>(pixels * n, 6);
        logits[2 * n] = logits[2 * n + 1] = 10;  // two that are highest
        const operand<T> z(logits);
        std::vector<double> gradient(logits.size());
        const auto expected =
            loss(cpu, tensor_view<const double>{z.host.data(), 1, {h, w, classes}}, labels,
                 weighted ? std::span<const double>(weights) : std::span<const double>{}, gradient, 5.0);

        const card_array<std::uint8_t> l(labels);
        const card_array<float> of_classes(rounded<float>(weights));
        const float* const on_card = weighted ? of_classes.data() : nullptr;
        card_array<T> got(logits.size());
        card_array<k::cross_entropy_values> result(1);
        card_scratch scratch(k::softmax_cross_entropy_workspace());
        // What the logits of pixels without a label are does not matter.
        std::vector<T> values = rounded<T>(z.host);
        std::fill_n(values.begin(), n, static_cast<T>(not_a_number));
        card_array<T> with_nan(values);
        k::softmax_cross_entropy<T>(s.get(), loss, pixels, classes, with_nan, l, on_card, step, got, result,
                                    scratch);
        const k::cross_entropy_values found = result.get()[0];
        CHECK(found.total == Approx(expected.total).epsilon(of_floats));
        CHECK(found.labelled == expected.labelled);
        CHECK(found.correct == expected.correct);
        CHECK(found.unknown == 0);
        check_near(got.get(), gradient, 3 * rounding<T>());

        k::softmax_cross_entropy<T>(s.get(), loss, pixels, classes, with_nan, l, on_card, step, nullptr,
                                    result, scratch);
        CHECK(result.get()[0].total == found.total);
        k::softmax_cross_entropy<T>(s.get(), loss, pixels, classes, with_nan, l, on_card, step, with_nan,
                                    result, scratch);
        CHECK(doubles(with_nan.get()) == doubles(got.get()));
        CHECK(scratch.intact());
      }
}

TEST_CASE("cuda training: logits of classes without weight do not matter", "[cuda]") {
  SEGNET_SKIP_WITHOUT_CARD();
  const gpu::stream s;
  const card_array<gpu::step_values> step(std::vector{step_of(1)});
  card_array<k::cross_entropy_values> result(1);
  card_scratch scratch(k::softmax_cross_entropy_workspace());
  for (const std::size_t classes : {3, 40}) {
    std::vector<float> logits(2 * classes, 0.0F), weights(classes, 1.0F);
    std::fill_n(logits.begin(), classes, not_a_number);
    weights[2] = 0;
    const card_array<std::uint8_t> labels(std::vector<std::uint8_t>{2, 1});
    card_array<float> gradient(logits.size());
    k::softmax_cross_entropy<float>(s.get(), {}, 2, static_cast<int>(classes), card_array<float>(logits),
                                    labels, card_array<float>(weights), step, gradient, result, scratch);
    CHECK(result.get()[0].total == Approx(std::log(static_cast<double>(classes))));
    CHECK(result.get()[0].labelled == 2);
    const std::vector<float> slope = gradient.get();
    CHECK(std::all_of(slope.begin(), slope.begin() + static_cast<std::ptrdiff_t>(classes),
                      [](float g) { return g == 0; }));
  }
}

TEST_CASE("cuda training: labels that are no class, and batches without labels", "[cuda]") {
  SEGNET_SKIP_WITHOUT_CARD();
  const gpu::stream s;
  const card_array<gpu::step_values> step(std::vector{step_of(1)});
  card_array<k::cross_entropy_values> result(1);
  card_scratch scratch(k::softmax_cross_entropy_workspace());
  for (const int classes : {3, 40}) {
    const auto n = static_cast<std::size_t>(classes);
    const operand<float> z(4 * n, 1);
    card_array<float> gradient(4 * n);
    const card_array<std::uint8_t> labels(std::vector<std::uint8_t>{0, 77, 255, 78});
    k::softmax_cross_entropy<float>(s.get(), {}, 4, classes, z.card, labels, nullptr, step, gradient, result,
                                    scratch);
    CHECK(result.get()[0].unknown == 2);
    const std::vector<float> slope = gradient.get();
    CHECK(slope[0] < 0);
    CHECK(std::all_of(slope.begin() + classes, slope.end(), [](float g) { return g == 0; }));

    const card_array<std::uint8_t> none(std::vector<std::uint8_t>(4, 255));
    k::softmax_cross_entropy<float>(s.get(), {}, 4, classes, z.card, none, nullptr, step, gradient, result,
                                    scratch);
    CHECK(result.get()[0].total == 0);
    CHECK(result.get()[0].labelled == 0);
    for (float g : gradient.get()) CHECK(g == 0);
  }
}

TEST_CASE("cuda training: weights near the outline", "[cuda]") {
  SEGNET_SKIP_WITHOUT_CARD();
  const gpu::stream s;
  cpu_reference cpu(1);
  for (const int window : {0, 1, 7, 201})
    for (const shape dims : {shape{70, 43, 1}, shape{5, 90, 1}, shape{1, 1, 1}})
      for (const bool soft : {false, true}) {
        INFO("window " << window << ", " << dims.h << "x" << dims.w << (soft ? ", soft" : ""));
        const int n = 3;
        const boundary_weight how{.weight = 2.5, .window = window};
        const operand<float> masks(blobs(n, dims, soft));
        std::vector<double> expected(masks.host.size()), workspace(boundary_weight::workspace_size(n, dims));
        how(cpu, tensor_view<const double>{masks.host.data(), n, dims},
            tensor_view<double>{expected.data(), n, dims}, workspace);
        card_array<float> got(expected.size());
        card_scratch scratch(k::boundary_weight_workspace(n, dims));
        k::boundary_weight(s.get(), how, n, dims, masks.card, got, scratch);
        check_near(got.get(), expected, of_floats);
        CHECK(scratch.intact());
      }
  card_array<float> one(std::vector<float>{1}), w(1);
  card_scratch scratch(k::boundary_weight_workspace(1, {1, 1, 1}));
  CHECK_THROWS_AS(k::boundary_weight(s.get(), {.window = 4}, 1, {1, 1, 1}, one, w, scratch), argument_error);
}

TEST_CASE("cuda training: the centre of labels", "[cuda]") {
  SEGNET_SKIP_WITHOUT_CARD();
  const gpu::stream s;
  for (const shape part : {shape{5, 6, 1}, shape{2, 3, 1}, shape{9, 11, 1}}) {
    const shape size{9, 11, 1};
    const std::vector<std::uint8_t> labels = bytes(4 * size.pixels(), 1);
    std::vector<std::uint8_t> expected(4 * part.pixels());
    copy_centre(labels, size, expected, part);
    card_array<std::uint8_t> got(expected.size());
    k::crop_labels(s.get(), 4, size, part, card_array<std::uint8_t>(labels), got);
    CHECK(got.get() == expected);
  }
}

namespace {

/// Three steps of an optimizer on the card and on the CPU.
template <class T, class Optimizer>
void compare_optimizers(const Optimizer& how, std::size_t n, std::size_t offset,
                        const std::vector<parameter_group>& groups, bool keeps_state = true) {
  constexpr bool is_adam = std::is_same_v<Optimizer, adam>;
  const gpu::stream s;
  cpu cpu(1);
  const std::vector<float> start = random_values<float>(n, 1);
  std::vector<float> p = start, m(n), v(n);
  card_array<float> p_card(start, offset), m_card(m, offset), v_card(v, offset);
  card_array<T> copy(std::vector<T>(n, static_cast<T>(-7.0F)), offset);
  const card_array<parameter_group> groups_card(groups);
  card_array<gpu::step_values> step(1);
  for (int t = 1; t <= 3; ++t) {
    const std::vector<float> g = random_values<float>(n, static_cast<std::uint64_t>(10 + t));
    const card_array<float> g_card(g, offset);
    const double rate = 0.02 / t, scale = 0.5;
    gpu::step_values values{};
    values.rate = static_cast<float>(rate);
    values.gradient_scale = static_cast<float>(scale);
    if constexpr (is_adam) {
      values.corrected_rate = static_cast<float>(rate / (1 - std::pow(how.beta1, t)));
      values.v_correction = static_cast<float>(1 / std::sqrt(1 - std::pow(how.beta2, t)));
    }
    k::set_step_values(s.get(), values, step);
    const std::span<const parameter_group> all(groups_card.data(), groups.size());
    T* const to = std::is_same_v<T, float> ? nullptr : copy.data();
    const auto on_card = [&](const unsigned* skip) {
      if constexpr (is_adam)
        k::adam<T>(s.get(), how, n, p_card, to, g_card, m_card, v_card, all, step, skip);
      else
        k::sgd<T>(s.get(), how, n, p_card, to, g_card, keeps_state ? m_card.data() : nullptr, all, step,
                  skip);
    };
    // First as a step that is to be left out.
    const std::vector<float> before = p_card.get();
    const card_array<unsigned> skip(std::vector<unsigned>{1}), go(std::vector<unsigned>{0});
    on_card(skip);
    CHECK(p_card.get() == before);
    on_card(t == 2 ? nullptr : go.data());
    if (n > 2) CHECK(p_card.get() != before);

    if constexpr (is_adam) {
      adam_state<float> state{m, v, t - 1};
      how(cpu, rate, p, g, state, scale, groups);
    } else {
      sgd_state<float> state{keeps_state ? std::span<float>(m) : std::span<float>{}, t - 1};
      how(cpu, rate, p, g, state, scale, groups);
    }
    check_near(p_card.get(), doubles(p), of_floats);
    check_near(m_card.get(), doubles(m), of_floats);
    if (is_adam) check_near(v_card.get(), doubles(v), of_floats);
    if (to == nullptr) continue;
    // A frozen one's copy may be left as it was.
    const std::vector<double> copied = doubles(copy.get()),
                              exact = doubles(rounded<T>(doubles(p_card.get())));
    std::size_t begin = 0, wrong = 0;
    const std::vector<parameter_group> one{{n}};
    for (const parameter_group& group : groups.empty() ? one : groups)
      for (; begin < group.end; ++begin) wrong += group.rate != 0 && copied[begin] != exact[begin] ? 1U : 0U;
    CHECK(wrong == 0);
  }
  // Frozen parameters have not moved.
  std::size_t begin = 0;
  const std::vector<float> end = p_card.get();
  for (const parameter_group& group : groups) {
    if (group.rate == 0)
      CHECK(std::equal(start.begin() + static_cast<std::ptrdiff_t>(begin),
                       start.begin() + static_cast<std::ptrdiff_t>(group.end),
                       end.begin() + static_cast<std::ptrdiff_t>(begin)));
    begin = group.end;
  }
}

}  // namespace

TEMPLATE_TEST_CASE("cuda training: Adam and SGD", "[cuda]", FOR_ALL_TYPES) {
  SEGNET_SKIP_WITHOUT_CARD();
  using T = TestType;
  for (const std::size_t offset : {0, 1}) {
    for (const std::size_t n : {1, 13, 4096, 10007}) {
      INFO(n << " at " << offset);
      compare_optimizers<T>(adam{.weight_decay = 0.1}, n, offset, {});
      compare_optimizers<T>(sgd{.weight_decay = 0.1}, n, offset, {});
      compare_optimizers<T>(sgd{.momentum = 0}, n, offset, {}, false);
    }
    // Groups of any size; many within one vector; frozen ones.
    const std::vector<parameter_group> groups{
        {5, 2, 0},    {6, 0, 1},    {7, 1, 1},    {9, 0.5F, 3}, {64, 0, 1},   {100, 1, 0},    {1000, 3, 1},
        {1003, 0, 0}, {4000, 1, 1}, {4001, 0, 1}, {4030, 2, 2}, {4095, 0, 1}, {4096, 1, 0.5F}};
    compare_optimizers<T>(adam{.weight_decay = 0.1}, 4096, offset, groups);
    compare_optimizers<T>(sgd{.weight_decay = 0.1}, 4096, offset, groups);
  }
}

TEMPLATE_TEST_CASE("cuda training: augmentation", "[cuda]", FOR_ALL_TYPES) {
  SEGNET_SKIP_WITHOUT_CARD();
  using T = TestType;
  const gpu::stream s;
  const int h = 37, w = 53, count = 6;
  constexpr std::size_t pixels = 37 * 53;
  const std::vector<std::uint8_t> pictures = bytes(4 * pixels * count, 9);
  std::vector<augmentation> changes(count);
  const augment_options options{.flip_probability = 0.5,
                                .shift_probability = 1,
                                .shift = 0.6,
                                .scale_probability = 1,
                                .scale = 0.4,
                                .rotation_probability = 1,
                                .rotation = 170,
                                .colour_probability = 1,
                                .hue = 100,
                                .saturation = 0.9,
                                .value = 0.7};
  for (std::size_t i = 1; i < changes.size(); ++i)  // the first stays as it is
    changes[i] = draw_augmentation(options, w, h, 1.3, random_stream{i});
  changes[2].colour = {};
  changes[3].warp = {};

  std::vector<float> images, masks;
  std::vector<std::uint8_t> labels;
  for (std::size_t i = 0; i < changes.size(); ++i) {
    std::vector<float> source(4 * pixels), image(3 * pixels), mask(pixels);
    for (std::size_t p = 0; p < source.size(); ++p)
      source[p] = static_cast<float>(pictures[4 * pixels * i + p]) * (1.0F / 255.0F);
    std::vector<std::uint8_t> label(pixels);
    apply_augmentation(source.data(), h, w, changes[i], image.data(), mask.data());
    warp_labels(pictures.data() + 4 * pixels * i + 3, 4, h, w, changes[i].warp, label.data());
    images.insert(images.end(), image.begin(), image.end());
    masks.insert(masks.end(), mask.begin(), mask.end());
    labels.insert(labels.end(), label.begin(), label.end());
  }
  CHECK(std::count(labels.begin(), labels.end(), ignored_label) > 100);

  const card_array<std::uint8_t> pictures_card(pictures);
  const card_array<augmentation> changes_card(changes);
  for (const int channels : {3, 4, 8, 16, 5})
    for (const std::size_t offset : {0, 1}) {
      INFO(channels << " channels at " << offset);
      const auto stride = static_cast<std::size_t>(channels);
      card_array<T> got(std::vector<T>(stride * pixels * count, static_cast<T>(-1.0F)), offset);
      card_array<float> mask_card(masks.size());
      card_array<std::uint8_t> label_card(labels.size());
      k::augment<T>(s.get(), count, h, w, pictures_card, changes_card, got, channels, mask_card, label_card);
      // Where a product and a sum are rounded once or twice moves the point in the source by the last bit of
      // a coordinate, and a colour's hue by some times as much.
      const std::vector<T> all = got.get();
      double worst = 0;
      for (std::size_t i = 0; i < pixels * count; ++i)
        for (std::size_t c = 0; c < stride; ++c) {
          const float expected = c < 3 ? images[3 * i + c] : 0;
          worst = std::max(worst,
                           static_cast<double>(std::abs(static_cast<float>(all[stride * i + c]) - expected)));
        }
      CHECK(worst <= std::max(1e-4, rounding<T>()));
      check_near(mask_card.get(), doubles(masks), 2e-5);
      CHECK(label_card.get() == labels);
      // The first picture is the original to the last bit that T has.
      std::size_t wrong = 0;
      for (std::size_t i = 0; i < pixels; ++i)
        for (std::size_t c = 0; c < 3; ++c)
          wrong += static_cast<float>(all[stride * i + c]) !=
                           static_cast<float>(
                               static_cast<T>(static_cast<float>(pictures[4 * i + c]) * (1.0F / 255)))
                       ? 1U
                       : 0U;
      CHECK(wrong == 0);
    }
  card_array<T> got(3 * pixels * count);
  k::augment<T>(s.get(), count, h, w, pictures_card, changes_card, got, 3, nullptr, nullptr);
  CHECK(std::abs(static_cast<double>(got.get().back()) - static_cast<double>(images.back())) < 0.01);
}

TEMPLATE_TEST_CASE("cuda training: counts of masks and classes", "[cuda]", FOR_ALL_TYPES) {
  SEGNET_SKIP_WITHOUT_CARD();
  using T = TestType;
  const gpu::stream s;
  for (const std::size_t pixels : {1, 255, 20000}) {
    const int n = 3;
    const operand<T> p(uniform(3 * pixels, 1));
    const operand<float> m(uniform(3 * pixels, 2));
    card_array<unsigned long long> counts(4 * 3);
    k::count_mask<T>(s.get(), n, pixels, p.card, m.card, 0.4F, counts);
    const std::vector<unsigned long long> got = counts.get();
    for (std::size_t i = 0; i < 3; ++i) {
      std::vector<float> seen(p.host.begin() + static_cast<std::ptrdiff_t>(i * pixels),
                              p.host.begin() + static_cast<std::ptrdiff_t>((i + 1) * pixels));
      const std::vector<float> mask(m.host.begin() + static_cast<std::ptrdiff_t>(i * pixels),
                                    m.host.begin() + static_cast<std::ptrdiff_t>((i + 1) * pixels));
      const confusion expected = compare(std::span<const float>(seen), std::span<const float>(mask), 0.4);
      CHECK(got[4 * i] == expected.true_positive);
      CHECK(got[4 * i + 1] == expected.false_positive);
      CHECK(got[4 * i + 2] == expected.false_negative);
      CHECK(got[4 * i + 3] == expected.true_negative);
    }
  }
  cpu_reference cpu(1);
  for (const int classes : {2, 11, 40, 91}) {
    const int h = 50, w = 120;
    const auto pixels = static_cast<std::size_t>(h * w), n = static_cast<std::size_t>(classes);
    const operand<T> scores(pixels * n, 5);
    std::vector<std::uint8_t> labels = bytes(pixels, 6, static_cast<unsigned>(classes)), predicted(pixels);
    for (std::size_t i = 0; i < pixels; i += 5) labels[i] = 255;
    highest_classes(cpu, tensor_view<const double>{scores.host.data(), 1, {h, w, classes}}, predicted);
    confusion_matrix expected(classes);
    for (int batch = 0; batch < 2; ++batch) expected.add(predicted, labels);
    labels[1] = 254;  // no class: counted apart
    confusion_matrix lost(classes);
    card_array<unsigned long long> counts(std::vector<unsigned long long>(n * n + 1, 0));
    card_scratch scratch(pixels);
    const std::vector<std::uint8_t> good_labels = [&] {
      std::vector<std::uint8_t> good = labels;
      good[1] = 255;
      return good;
    }();
    k::count_classes<T>(s.get(), pixels, classes, 255, scores.card, card_array<std::uint8_t>(labels), counts,
                        scratch);
    k::count_classes(s.get(), pixels, classes, 255, card_array<std::uint8_t>(predicted),
                     card_array<std::uint8_t>(good_labels), counts);
    confusion_matrix twice(classes);
    for (int batch = 0; batch < 2; ++batch) twice.add(predicted, good_labels);
    const std::vector<unsigned long long> got = counts.get();
    std::size_t wrong = 0;
    for (std::size_t label = 0; label < n; ++label)
      for (std::size_t c = 0; c < n; ++c)
        wrong += got[label * n + c] != twice.count(static_cast<int>(label), static_cast<int>(c)) ? 1U : 0U;
    CHECK(wrong == 0);
    CHECK(got[n * n] == 1);
    CHECK(scratch.intact());
  }
}

TEST_CASE("cuda training: a recorded step reads the step's values afresh", "[cuda]") {
  SEGNET_SKIP_WITHOUT_CARD();
  const gpu::stream s;
  const std::size_t n = 5000;
  const operand<float> z(n, 1), t(uniform(n, 2));
  const std::vector<float> zeros(n);
  card_array<float> gradient(n), p(rounded<float>(z.host)), m(zeros), v(zeros);
  card_array<k::bce_dice_values> result(1);
  card_array<unsigned> skip(1);
  card_array<gpu::step_values> step(1);
  card_scratch scratch(k::bce_dice_workspace()), sums(k::sum_workspace());
  const gpu::graph recorded = gpu::graph::capture(s, [&] {
    k::bce_dice<float>(s.get(), {}, n, z.card, t.card, nullptr, step, gradient, result, scratch);
    k::find_not_finite(s.get(), n, gradient, skip, sums);
    k::adam<float>(s.get(), {}, n, p, nullptr, gradient, m, v, {}, step, skip);
  });
  std::vector<float> first;
  for (const float scale : {1.0F, 4.0F}) {
    gpu::step_values values = step_of(scale);
    values.rate = values.corrected_rate = 0.1F;
    values.v_correction = 1;
    values.gradient_scale = 1 / scale;
    k::set_step_values(s.get(), values, step);
    recorded.launch(s);
    const std::vector<float> got = gradient.get();
    if (first.empty()) first = got;
    std::vector<double> expected = doubles(first);
    for (double& g : expected) g *= static_cast<double>(scale);
    check_near(got, expected, of_floats);
  }
  // A gradient that is not finite leaves the parameters as they are.
  const std::vector<float> before = p.get();
  k::set_step_values(s.get(), step_of(std::numeric_limits<float>::infinity()), step);
  recorded.launch(s);
  CHECK(skip.get()[0] == 1);
  CHECK(p.get() == before);
}
