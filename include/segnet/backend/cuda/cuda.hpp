// SPDX-License-Identifier: MIT
// The CUDA backend: cuDNN for convolutions, kernels of our own for everything else.
#pragma once

#include <segnet/backend/cuda/buffer.hpp>
#include <segnet/backend/cuda/conv2d.hpp>
#include <segnet/backend/cuda/cudnn.hpp>
#include <segnet/backend/cuda/device.hpp>
#include <segnet/backend/cuda/kernels.hpp>
#include <segnet/backend/cuda/scratch_area.hpp>
#include <segnet/backend/cuda/stream.hpp>
#include <segnet/backend/cuda/training_kernels.hpp>
#include <segnet/backend/cuda/transfer.hpp>
#include <segnet/core/half.hpp>
#include <segnet/core/primitives.hpp>
#include <segnet/core/random_key.hpp>
#include <segnet/core/shape.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <type_traits>
#include <utility>

namespace segnet {

/// A backend's primitives on a card, with activations stored as T: float, bfloat16 or float16. The functions
/// of the same names are basic_cpu's; pointers are the card's. All work goes to one stream, in order, and is
/// not waited for. Scratch memory is the backend's own: one block, as large as the calls seen by plan() ask
/// for. One caller at a time.
template <class T>
class basic_cuda {
 public:
  static constexpr bool on_device = true;
  /// Convolutions can normalise what they read, and sum up their gradients for the batch-norm that would
  /// have.
  static constexpr bool takes_prologue = true;
  /// The small numbers of float16 end at 6e-8: gradients need a loss that is scaled up.
  static constexpr bool scales_loss = std::is_same_v<T, float16>;

  using scalar = T;
  using parameter_scalar = float;
  /// A schedule knows how large scalars are, not what they are.
  using scheduled_as = basic_cuda<std::conditional_t<sizeof(T) == 2, bfloat16, T>>;
  using step_values = gpu::step_values;
  using bce_dice_values = gpu::kernels::bce_dice_values;
  using cross_entropy_values = gpu::kernels::cross_entropy_values;
  using recording = gpu::graph;
  template <class U>
  using device_buffer = gpu::device_buffer<U>;
  template <class U>
  using host_buffer = gpu::pinned_buffer<U>;

  /// On card `number`; `tf32`: products of floats may round their factors to TF32; `deterministic`: the same
  /// calls give the same bits (else the sums of batch statistics may be added in any order). Throws
  /// cuda_error, with the sentence of why_no_cuda(), where the card cannot be used.
  explicit basic_cuda(int number = 0, bool tf32 = false, bool deterministic = false)
      : card_(open(number)),
        cudnn_(stream_),
        convolutions_(cudnn_, card_, tf32 ? precision::tf32 : gpu::default_precision<T>, deterministic) {}

  const gpu::device& card() const { return card_; }
  /// What this thread allocates and starts from now on is on this card; a program with several cards calls it
  /// whenever it goes on with a network on another one.
  void make_current() const { gpu::check(cudaSetDevice(card_.number), "cudaSetDevice"); }
  const gpu::stream& stream() const { return stream_; }

  /// Bytes of the card's memory that are free now.
  static std::size_t available_memory() {
    std::size_t free = 0, all = 0;
    gpu::check(cudaMemGetInfo(&free, &all), "cudaMemGetInfo");
    return free;
  }

  // --- Copies; from or to pageable memory they wait ----------------------------------------------------

  template <class U>
  void upload(const U* from, std::size_t n, U* to) {
    copy_bytes(from, n * sizeof(U), to, cudaMemcpyHostToDevice);
  }
  template <class U>
  void download(const U* from, std::size_t n, U* to) {
    copy_bytes(from, n * sizeof(U), to, cudaMemcpyDeviceToHost);
  }
  void copy(const void* from, std::size_t bytes, void* to) {
    copy_bytes(from, bytes, to, cudaMemcpyDeviceToDevice);
  }
  /// Returns when all that was started is done; what went wrong in it is thrown here.
  void wait() const { stream_.wait(); }

  /// Memory for bytes on their way to the card, beside the stream's work.
  class transfer : public gpu::transfer {
   public:
    transfer() = default;
    transfer(basic_cuda& backend, std::size_t bytes)
        : gpu::transfer(backend.stream_, backend.copies_, bytes) {}
  };

  // --- Steps -------------------------------------------------------------------------------------------

  /// What f() gives to the stream, as one thing that can be repeated.
  template <class F>
  recording record(F&& f) {
    return gpu::graph::capture(stream_, std::forward<F>(f));
  }
  void play(const recording& r) { r.launch(stream_); }

  /// Seed, momentum limit, rates ... of the work that is given from now on.
  void set_step(const step_values& values) { gpu::kernels::set_step_values(raw(), values, step_.data()); }

  /// f() calls primitives, none of which is carried out: their convolutions' plans are made, the fastest
  /// engines found where no earlier run has left a note of them, and memory allocated for the most that any
  /// of them needs. Finding them writes to whatever f()'s convolutions write to. layout() may change. After
  /// an exception everything is as it was before, or made anew when it is next used.
  template <class F>
  void plan(F&& f) {
    const std::size_t kept = needed_;
    const auto pass = [&](mode m) {
      mode_ = m;
      const struct back {
        mode& m;
        ~back() { m = mode::run; }
      } at_the_end{mode_};
      f();
    };
    try {
      pass(mode::measure);
      if (convolutions_.has_to_choose()) {
        if (fits_workspace()) {  // with room for engines that may turn out to be faster
          pass(mode::choose);
          wait();
        }
        convolutions_.finish_choosing();
        needed_ = kept;
        pass(mode::measure);
      }
      fit_workspace();
    } catch (...) {
      needed_ = kept;
      throw;
    }
  }
  /// Changes when the scratch memory moves: recordings made before are void then.
  int layout() const { return layout_; }

  /// The flat parameters, of which convolutions multiply a copy in T.
  void use_parameters(std::span<float> parameters) {
    parameters_ = parameters;
    if constexpr (keeps_copy) copy_ = device_buffer<T>(parameters.size());
  }
  void convert_parameters() {
    if constexpr (keeps_copy) convert(parameters_.size(), parameters_.data(), copy_.data());
  }

  /// Between float and T.
  void convert(std::size_t n, const float* from, T* to) {
    if constexpr (keeps_copy)
      run([&] { gpu::kernels::cast<T>(raw(), n, from, to); });
    else
      run([&] { copy(from, n * sizeof(T), to); });
  }

  /// start(stream) gives kernels of one's own, as those of a layer, to the stream. Not called while plan()
  /// only looks.
  template <class F>
  void launch(F&& start) {
    run([&] { std::forward<F>(start)(raw()); });
  }

  // --- Convolution -------------------------------------------------------------------------------------

  // Scratch memory is no part of a network's plan.
  static constexpr workspace_size conv2d_forward_workspace(const conv2d_geometry&) { return {}; }
  static constexpr workspace_size conv2d_backward_data_workspace(const conv2d_geometry&) { return {}; }
  static constexpr workspace_size conv2d_backward_weights_workspace(const conv2d_geometry&) { return {}; }
  static constexpr workspace_size channel_sums_workspace(int) { return {}; }
  static constexpr workspace_size depthwise_transposed_workspace(const conv2d_geometry&) { return {}; }
  static constexpr workspace_size batch_statistics_workspace(int) { return {}; }
  static constexpr workspace_size batch_norm_backward_workspace(int) { return {}; }
  static constexpr workspace_size local_response_norm_workspace(int) { return {}; }

  using no_scratch = scratch<T>;

  void conv2d_forward(const conv2d_geometry& g, int batch, std::span<const conv2d_source<T>> sources,
                      const float* weight, const conv2d_epilogue<T, float>& finish, T* out, const no_scratch&,
                      bool accumulate = false, const conv2d_prologue<float>& prologue = {}) {
    with_scratch([&](const gpu::conv2d_call& call) {
      convolutions_.forward(call, g, batch, sources, weights(weight), finish, out, accumulate, prologue);
    });
  }
  void conv2d_backward_data(const conv2d_geometry& g, int batch, const T* dy, const float* weight, T* dx,
                            bool accumulate, const no_scratch&, const conv2d_epilogue<T, float>& finish = {},
                            const conv2d_slope_sums<T, float>& slopes = {}) {
    with_scratch([&](const gpu::conv2d_call& call) {
      convolutions_.backward_data(call, g, batch, dy, weights(weight), dx, accumulate, finish, slopes);
    });
  }
  void conv2d_backward_weights(const conv2d_geometry& g, int batch, std::span<const conv2d_source<T>> sources,
                               const T* dy, float* dweight, float* dbias, bool accumulate,
                               const no_scratch& none) {
    with_scratch([&](const gpu::conv2d_call& call) {
      convolutions_.backward_weights(call, g, batch, sources, dy, dweight, accumulate);
    });
    if (dbias != nullptr)
      channel_sums(static_cast<std::size_t>(batch) * shape{g.out_h, g.out_w, 1}.pixels(), g.out_channels, dy,
                   dbias, accumulate, none);
  }

  void channel_sums(std::size_t rows, int channels, const T* x, float* sums, bool accumulate,
                    const no_scratch&) {
    run(gpu::kernels::channel_sums_workspace(channels), [&](void* memory) {
      gpu::kernels::channel_sums<T>(raw(), rows, channels, x, sums, accumulate, memory);
    });
  }

  void depthwise_transposed_forward(const conv2d_geometry& g, int batch, const T* x, const float* weight,
                                    const conv2d_epilogue<T, float>& finish, T* y, const no_scratch&) {
    run([&] {
      gpu::kernels::depthwise_transposed_forward<T>(raw(), g, batch, x, weight, finish.scale, finish.bias,
                                                    finish.act, y);
    });
  }
  void depthwise_transposed_backward_data(const conv2d_geometry& g, int batch, const T* dy,
                                          const float* weight, T* dx, bool accumulate, const no_scratch&) {
    run([&] {
      gpu::kernels::depthwise_transposed_backward_data<T>(raw(), g, batch, dy, weight, dx, accumulate);
    });
  }
  void depthwise_transposed_backward_weights(const conv2d_geometry& g, int batch, const T* x, const T* dy,
                                             float* dweight, bool accumulate) {
    run(gpu::kernels::depthwise_transposed_backward_weights_workspace(g), [&](void* memory) {
      gpu::kernels::depthwise_transposed_backward_weights<T>(raw(), g, batch, x, dy, dweight, accumulate,
                                                             memory);
    });
  }

  // --- Normalisation -----------------------------------------------------------------------------------

  void batch_statistics(std::size_t rows, int channels, const T* x, float* mean, float* variance,
                        const no_scratch&) {
    run(gpu::kernels::batch_statistics_workspace(channels), [&](void* memory) {
      gpu::kernels::batch_statistics<T>(raw(), rows, channels, x, mean, variance, memory);
    });
  }
  /// The step's momentum limit counts, too.
  void batch_norm_forward(std::size_t rows, int channels, const T* x, const float* gamma, const float* beta,
                          float epsilon, float momentum, float* running_mean, float* running_var,
                          float* saved_mean, float* saved_inv_std, activation act, T* y) {
    run([&] {
      gpu::kernels::batch_norm_forward<T>(raw(), rows, channels, x, gamma, beta, epsilon,
                                          static_cast<double>(momentum), step_.data(), running_mean,
                                          running_var, saved_mean, saved_inv_std, act, y);
    });
  }
  /// The same without the output, where the convolution that reads it computes it by itself.
  void batch_norm_coefficients(std::size_t rows, int channels, const float* gamma, const float* beta,
                               float epsilon, float momentum, float* running_mean, float* running_var,
                               float* saved_mean, float* saved_inv_std, float* scale, float* shift) {
    run([&] {
      gpu::kernels::batch_norm_coefficients(raw(), rows, channels, gamma, beta, epsilon,
                                            static_cast<double>(momentum), step_.data(), running_mean,
                                            running_var, saved_mean, saved_inv_std, scale, shift);
    });
  }
  void batch_norm_apply(std::size_t rows, int channels, const T* x, const float* gamma, const float* beta,
                        const float* saved_mean, const float* saved_inv_std, activation act, T* y) {
    run([&] {
      gpu::kernels::batch_norm_apply<T>(raw(), rows, channels, x, gamma, beta, saved_mean, saved_inv_std, act,
                                        y);
    });
  }
  void batch_norm_inference(std::size_t rows, int channels, const T* x, const float* gamma, const float* beta,
                            const float* running_mean, const float* running_var, float epsilon,
                            activation act, T* y) {
    run([&] {
      gpu::kernels::batch_norm_inference<T>(raw(), rows, channels, x, gamma, beta, running_mean, running_var,
                                            epsilon, act, y);
    });
  }
  void batch_norm_backward(std::size_t rows, int channels, const T* x, const T* dy, const float* gamma,
                           const float* beta, const float* saved_mean, const float* saved_inv_std,
                           activation act, T* dx, bool accumulate_dx, float* dgamma, float* dbeta,
                           bool accumulate_parameters, const no_scratch&, const float* slope_sums = nullptr) {
    run(gpu::kernels::batch_norm_backward_workspace(channels), [&](void* memory) {
      gpu::kernels::batch_norm_backward<T>(raw(), rows, channels, x, dy, gamma, beta, saved_mean,
                                           saved_inv_std, act, dx, accumulate_dx, dgamma, dbeta,
                                           accumulate_parameters, memory, slope_sums);
    });
  }
  void local_response_norm_forward(const response_norm& norm, std::size_t rows, int channels, const T* x,
                                   T* y, const no_scratch&) {
    run([&] { gpu::kernels::local_response_norm_forward<T>(raw(), norm, rows, channels, x, y); });
  }
  void local_response_norm_backward(const response_norm& norm, std::size_t rows, int channels, const T* x,
                                    const T* dy, T* dx, bool accumulate, const no_scratch&) {
    run([&] {
      gpu::kernels::local_response_norm_backward<T>(raw(), norm, rows, channels, x, dy, dx, accumulate);
    });
  }

  // --- Activations and dropout -------------------------------------------------------------------------

  void relu_forward(std::size_t size, const T* x, T* y) {
    run([&] { gpu::kernels::relu_forward<T>(raw(), size, x, y); });
  }
  void relu_backward(std::size_t size, const T* y, const T* dy, T* dx, bool accumulate) {
    run([&] { gpu::kernels::relu_backward<T>(raw(), size, y, dy, dx, accumulate); });
  }
  void sigmoid_forward(std::size_t size, const T* x, T* y) {
    run([&] { gpu::kernels::sigmoid_forward<T>(raw(), size, x, y); });
  }
  void sigmoid_backward(std::size_t size, const T* y, const T* dy, T* dx, bool accumulate) {
    run([&] { gpu::kernels::sigmoid_backward<T>(raw(), size, y, dy, dx, accumulate); });
  }
  void softmax_forward(std::size_t rows, std::size_t channels, const T* x, T* y) {
    run([&] { gpu::kernels::softmax_forward<T>(raw(), rows, channels, x, y); });
  }
  void softmax_backward(std::size_t rows, std::size_t channels, const T* y, const T* dy, T* dx,
                        bool accumulate) {
    run([&] { gpu::kernels::softmax_backward<T>(raw(), rows, channels, y, dy, dx, accumulate); });
  }
  void argmax(std::size_t rows, std::size_t channels, const T* x, std::uint8_t* y) {
    run([&] { gpu::kernels::argmax<T>(raw(), rows, channels, x, y); });
  }
  /// With the step's seed in place of the key's.
  void dropout(std::size_t size, random_key key, double rate, const T* x, T* y, bool accumulate) {
    run([&] { gpu::kernels::dropout<T>(raw(), size, step_.data(), key.layer, rate, x, y, accumulate); });
  }

  // --- Pooling and resizing ----------------------------------------------------------------------------

  void max_pool_forward(const pool2d_geometry& g, int batch, const T* x, T* y, std::uint8_t* index) {
    run([&] { gpu::kernels::max_pool_forward<T>(raw(), g, batch, x, y, index); });
  }
  void max_pool_backward(const pool2d_geometry& g, int batch, const std::uint8_t* index, const T* dy, T* dx,
                         bool accumulate) {
    run([&] { gpu::kernels::max_pool_backward<T>(raw(), g, batch, index, dy, dx, accumulate); });
  }
  void max_unpool_forward(const pool2d_geometry& g, int batch, const std::uint8_t* index, const T* x, T* y) {
    run([&] { gpu::kernels::max_unpool_forward<T>(raw(), g, batch, index, x, y); });
  }
  void max_unpool_backward(const pool2d_geometry& g, int batch, const std::uint8_t* index, const T* dy, T* dx,
                           bool accumulate) {
    run([&] { gpu::kernels::max_unpool_backward<T>(raw(), g, batch, index, dy, dx, accumulate); });
  }
  void upsample_nearest_forward(int factor, int batch, shape in, const T* x, T* y, int y_channels,
                                int y_offset) {
    run([&] {
      gpu::kernels::upsample_nearest_forward<T>(raw(), factor, batch, in, x, y, y_channels, y_offset);
    });
  }
  void upsample_nearest_backward(int factor, int batch, shape in, const T* dy, T* dx, bool accumulate,
                                 int dy_channels, int dy_offset) {
    run([&] {
      gpu::kernels::upsample_nearest_backward<T>(raw(), factor, batch, in, dy, dx, accumulate, dy_channels,
                                                 dy_offset);
    });
  }
  void upsample_bilinear_forward(int factor, int batch, shape in, const T* x, T* y) {
    run([&] { gpu::kernels::upsample_bilinear_forward<T>(raw(), factor, batch, in, x, y); });
  }
  void upsample_bilinear_backward(int factor, int batch, shape in, const T* dy, T* dx, bool accumulate) {
    run([&] { gpu::kernels::upsample_bilinear_backward<T>(raw(), factor, batch, in, dy, dx, accumulate); });
  }
  void crop_forward(int batch, shape in, shape window, int top, int left, const T* x, T* y) {
    run([&] { gpu::kernels::crop_forward<T>(raw(), batch, in, window, top, left, x, y); });
  }
  void crop_backward(int batch, shape in, shape window, int top, int left, const T* dy, T* dx,
                     bool accumulate) {
    run([&] { gpu::kernels::crop_backward<T>(raw(), batch, in, window, top, left, dy, dx, accumulate); });
  }

  // --- Copies and sums ---------------------------------------------------------------------------------

  void copy_channels(std::size_t rows, int channels, const T* src, int src_channels, int src_offset, T* dst,
                     int dst_channels, int dst_offset, bool accumulate) {
    run([&] {
      gpu::kernels::copy_channels<T>(raw(), rows, channels, src, src_channels, src_offset, dst, dst_channels,
                                     dst_offset, accumulate);
    });
  }
  void add(std::size_t size, const T* a, const T* b, T* y) {
    run([&] { gpu::kernels::add<T>(raw(), size, a, b, y); });
  }
  /// Numbers of any type.
  template <class U>
  void clear(std::size_t n, U* values) {
    run([&] { gpu::check(cudaMemsetAsync(values, 0, n * sizeof(U), raw()), "cudaMemsetAsync"); });
  }
  void fill(std::size_t size, T value, T* y) {
    run([&] { gpu::kernels::fill<T>(raw(), size, static_cast<float>(value), y); });
  }

  // --- Training: see training_kernels.hpp; scratch memory, of ..._workspace() bytes, is the caller's ---

  static constexpr std::size_t bce_dice_workspace() { return gpu::kernels::bce_dice_workspace(); }
  void bce_dice(const segnet::bce_dice& loss, std::size_t n, const T* logits, const float* targets,
                const float* weights, T* gradient, bce_dice_values* result, void* workspace) {
    gpu::kernels::bce_dice<T>(raw(), loss, n, logits, targets, weights, step_.data(), gradient, result,
                              workspace);
  }
  static constexpr std::size_t softmax_cross_entropy_workspace() {
    return gpu::kernels::softmax_cross_entropy_workspace();
  }
  void softmax_cross_entropy(const segnet::softmax_cross_entropy& loss, std::size_t pixels, int classes,
                             const T* logits, const std::uint8_t* labels, const float* class_weights,
                             T* gradient, cross_entropy_values* result, void* workspace) {
    gpu::kernels::softmax_cross_entropy<T>(raw(), loss, pixels, classes, logits, labels, class_weights,
                                           step_.data(), gradient, result, workspace);
  }
  void count_mask(int n, std::size_t pixels, const T* probabilities, const float* masks, float threshold,
                  unsigned long long* counts) {
    gpu::kernels::count_mask<T>(raw(), n, pixels, probabilities, masks, threshold, counts);
  }
  void count_classes(std::size_t pixels, int classes, std::uint8_t ignore, const T* scores,
                     const std::uint8_t* labels, unsigned long long* counts, void* workspace) {
    gpu::kernels::count_classes<T>(raw(), pixels, classes, ignore, scores, labels, counts, workspace);
  }
  static constexpr std::size_t boundary_weight_workspace(int n, shape dims) {
    return gpu::kernels::boundary_weight_workspace(n, dims);
  }
  void boundary_weight(const segnet::boundary_weight& how, int n, shape dims, const float* masks,
                       float* weights, void* workspace) {
    gpu::kernels::boundary_weight(raw(), how, n, dims, masks, weights, workspace);
  }
  void crop_labels(int n, shape in, shape out, const std::uint8_t* labels, std::uint8_t* cropped) {
    gpu::kernels::crop_labels(raw(), n, in, out, labels, cropped);
  }
  void augment(int count, int h, int w, const std::uint8_t* pictures, const augmentation* changes, T* images,
               float* masks, std::uint8_t* labels) {
    gpu::kernels::augment<T>(raw(), count, h, w, pictures, changes, images, 3, masks, labels);
  }

  static constexpr std::size_t sum_workspace() { return gpu::kernels::sum_workspace(); }
  void sum(std::size_t n, const float* x, double* to, void* workspace) {
    gpu::kernels::sum(raw(), n, x, to, workspace);
  }
  void find_not_finite(std::size_t n, const float* x, unsigned* found, void* workspace) {
    gpu::kernels::find_not_finite(raw(), n, x, found, workspace);
  }

  /// One step of the parameters that use_parameters() was given, and of the copy that is multiplied.
  void adam(const segnet::adam& how, const float* gradients, float* m, float* v,
            std::span<const parameter_group> groups, const unsigned* skip) {
    gpu::kernels::adam<T>(raw(), how, parameters_.size(), parameters_.data(), copy_.data(), gradients, m, v,
                          groups, step_.data(), skip);
  }
  void sgd(const segnet::sgd& how, const float* gradients, float* velocity,
           std::span<const parameter_group> groups, const unsigned* skip) {
    gpu::kernels::sgd<T>(raw(), how, parameters_.size(), parameters_.data(), copy_.data(), gradients,
                         velocity, groups, step_.data(), skip);
  }

 private:
  static constexpr bool keeps_copy = !std::is_same_v<T, float>;

  /// While plan() looks at them, primitives do nothing; convolutions may be timed.
  enum class mode { run, measure, choose };

  static gpu::device open(int number) {
    if (const std::string problem = why_no_cuda(number); !problem.empty()) throw cuda_error(problem);
    gpu::check(cudaSetDevice(number), "cudaSetDevice");
    return gpu::describe_device(number);
  }

  cudaStream_t raw() const { return stream_.get(); }

  void copy_bytes(const void* from, std::size_t bytes, void* to, cudaMemcpyKind kind) {
    if (bytes > 0) gpu::check(cudaMemcpyAsync(to, from, bytes, kind, raw()), "cudaMemcpyAsync");
  }

  void fit_workspace() {
    if (workspace_.size() == needed_) return;
    ++layout_;
    workspace_ = {};  // both at once may not fit
    workspace_ = device_buffer<std::byte>(needed_);
  }
  /// False, without scratch memory, where the card has too little of it.
  bool fits_workspace() {
    try {
      fit_workspace();
    } catch (const memory_error&) {
      return false;
    }
    return true;
  }
  /// Notes what a call needs; memory for a call that plan() has not seen is allocated now.
  void reserve(std::size_t bytes) {
    needed_ = std::max(needed_, bytes);
    if (mode_ == mode::run && needed_ > workspace_.size()) {
      wait();
      fit_workspace();
    }
  }

  template <class F>
  void run(F launch) {
    if (mode_ == mode::run) launch();
  }
  template <class F>
  void run(std::size_t scratch_bytes, F launch) {
    reserve(scratch_bytes);
    if (mode_ == mode::run) launch(static_cast<void*>(workspace_.data()));
  }
  /// body(call) twice: once to see how much it takes, then with memory.
  template <class F>
  void with_scratch(F body) {
    gpu::scratch_area measured(nullptr);
    body(gpu::conv2d_call{.stream = raw(), .area = measured, .measure = true});
    reserve(measured.used());
    if (mode_ == mode::measure) return;
    gpu::scratch_area area(workspace_.data());
    body(gpu::conv2d_call{.stream = raw(), .area = area, .choose = mode_ == mode::choose});
  }
  /// The same weights in T, where they are among the parameters of which there is a copy.
  gpu::conv2d_weights<T> weights(const float* weight) const {
    if constexpr (!keeps_copy)
      return {weight, weight};
    else if (!parameters_.empty() && weight >= parameters_.data() &&
             weight < parameters_.data() + parameters_.size())
      return {weight, copy_.data() + (weight - parameters_.data())};
    else
      return {weight, nullptr};
  }

  gpu::device card_;  // first: the others are made on it
  gpu::stream stream_, copies_;
  gpu::cudnn cudnn_;
  gpu::conv2d<T> convolutions_;
  device_buffer<step_values> step_{1};
  std::span<float> parameters_;
  device_buffer<T> copy_;
  device_buffer<std::byte> workspace_;
  std::size_t needed_ = 0;
  int layout_ = 0;
  mode mode_ = mode::run;
};

/// Single precision, by TF32 where network_options::tf32 allows it.
using cuda = basic_cuda<float>;
/// Mixed precision: activations in 16 bits, parameters and sums in single precision.
using cuda_bf16 = basic_cuda<bfloat16>;
using cuda_fp16 = basic_cuda<float16>;

}  // namespace segnet
