// SPDX-License-Identifier: MIT
// What training needs beside the layers' primitives, on the card: losses, optimizers, augmentation, counts.
// The formulas are those of the functions of the same names for the CPU. nvcc compiles them, in kernels.cuh.
//
// Activations and their gradients are T (float, bfloat16 or float16), all else is float, and sums are added
// up in double precision, in an order that depends on sizes alone. All pointers are the card's, dense, and
// need no alignment but workspaces', of 16 bytes; where others have it, too, memory is read and written so.
// The functions return at once, do not allocate and do not wait, so that a graph may record them.
#pragma once

#include <segnet/backend/cuda/error.hpp>
#include <segnet/backend/cuda/step_values.hpp>
#include <segnet/core/half.hpp>
#include <segnet/core/shape.hpp>
#include <segnet/data/augment.hpp>
#include <segnet/loss/bce_dice.hpp>
#include <segnet/loss/boundary_weight.hpp>
#include <segnet/loss/softmax_cross_entropy.hpp>
#include <segnet/optim/adam.hpp>
#include <segnet/optim/parameter_groups.hpp>
#include <segnet/optim/sgd.hpp>

#include <cstddef>
#include <cstdint>
#include <span>

namespace segnet::gpu::kernels {

/// Writes the values that kernels read from now on.
void set_step_values(cudaStream_t stream, const step_values& values, step_values* to);

// --- Sums over whole arrays --------------------------------------------------------------------------------

/// Parts in which an array is added up, at most.
inline constexpr std::size_t most_sum_parts = 132 * 4;
/// Bytes of workspace for so many sums over an array of any size.
constexpr std::size_t sums_workspace(std::size_t sums) { return most_sum_parts * sums * sizeof(double); }
constexpr std::size_t sum_workspace() { return sums_workspace(1); }

/// *sum = the sum of n numbers. `workspace`: sum_workspace() bytes.
void sum(cudaStream_t stream, std::size_t n, const float* x, double* sum, void* workspace);
/// *found = 1 where one of n numbers is not finite, 0 elsewhere. Where it is not null, *sum_of_squares
/// receives the square of their Euclidean norm. `workspace`: sum_workspace() bytes.
void find_not_finite(cudaStream_t stream, std::size_t n, const float* x, unsigned* found, void* workspace,
                     double* sum_of_squares = nullptr);

// --- Losses ------------------------------------------------------------------------------------------------

/// loss_result, and whether the total is finite (1 or 0).
struct bce_dice_values {
  double total, bce, dice;
  unsigned finite;
};
constexpr std::size_t bce_dice_workspace() {
  return sums_workspace(segnet::detail::bce_dice_terms::count) + sizeof(bce_dice_gradient<float>);
}
/// n > 0 logits, targets and weights (null: all 1). Unless it is null, `gradient` receives the step's
/// loss_scale times dL/dz; it may be the logits' own memory. `workspace`: bce_dice_workspace() bytes.
template <class T>
void bce_dice(cudaStream_t stream, const segnet::bce_dice& loss, std::size_t n, const T* logits,
              const float* targets, const float* weights, const step_values* step, T* gradient,
              bce_dice_values* result, void* workspace);

/// cross_entropy_result, and how many labels are neither a class nor `ignore`: their pixels do not count, and
/// their gradient is 0.
struct cross_entropy_values {
  double total;
  std::uint64_t labelled, correct, unknown;
};
constexpr std::size_t softmax_cross_entropy_workspace() { return sums_workspace(3) + sizeof(double); }
/// `pixels` rows of `classes` logits, 2 to 255, with a label each; class_weights: one for each class, null:
/// all
/// 1. Unless it is null, `gradient` receives the step's loss_scale times dL/dz; it may be the logits' own
/// memory. `workspace`: softmax_cross_entropy_workspace() bytes.
template <class T>
void softmax_cross_entropy(cudaStream_t stream, const segnet::softmax_cross_entropy& loss, std::size_t pixels,
                           int classes, const T* logits, const std::uint8_t* labels,
                           const float* class_weights, const step_values* step, T* gradient,
                           cross_entropy_values* result, void* workspace);

constexpr std::size_t boundary_weight_workspace(int n, shape dims) {
  return sums_workspace(1) + (static_cast<std::size_t>(n) * dims.pixels() + 2) * sizeof(float);
}
/// From n masks of one channel a weight for each pixel. Throws argument_error for a window that is even.
/// `workspace`: boundary_weight_workspace() bytes.
void boundary_weight(cudaStream_t stream, const segnet::boundary_weight& how, int n, shape dims,
                     const float* masks, float* weights, void* workspace);

/// The centre of n label images of in.h x in.w: those of out.h x out.w pixels (copy_centre()).
void crop_labels(cudaStream_t stream, int n, shape in, shape out, const std::uint8_t* labels,
                 std::uint8_t* cropped);

// --- Optimizers --------------------------------------------------------------------------------------------

/// One step with the step's rate, corrected_rate, v_correction and gradient_scale. n parameters, gradients
/// and moments m and v; `copy`, where it is not null, receives the new parameters in T; `groups` (on the
/// card) end with n, none: all multipliers are 1. Nothing happens where `skip` is not null and *skip not 0.
template <class T>
void adam(cudaStream_t stream, const segnet::adam& how, std::size_t n, float* parameters, T* copy,
          const float* gradients, float* m, float* v, std::span<const parameter_group> groups,
          const step_values* step, const unsigned* skip);
/// The same with the step's rate and gradient_scale; `velocity` may be null where there is no momentum.
template <class T>
void sgd(cudaStream_t stream, const segnet::sgd& how, std::size_t n, float* parameters, T* copy,
         const float* gradients, float* velocity, std::span<const parameter_group> groups,
         const step_values* step, const unsigned* skip);

// --- Augmentation ------------------------------------------------------------------------------------------

/// What apply_augmentation() and warp_labels() make of `count` pictures: [count][h][w][4] bytes, red, green,
/// blue, and the mask (255 = covered) or the label, on a boundary of 4 bytes. Writes images
/// [count][h][w][image_channels], of which those after the third are 0, and masks or labels [count][h][w]
/// where these are not null.
template <class T>
void augment(cudaStream_t stream, int count, int h, int w, const std::uint8_t* pictures,
             const augmentation* changes, T* images, int image_channels, float* masks, std::uint8_t* labels);

// --- Counts ------------------------------------------------------------------------------------------------

/// compare() for n images: counts [n][4] of true positives, false positives, false negatives and true
/// negatives.
template <class T>
void count_mask(cudaStream_t stream, int n, std::size_t pixels, const T* probabilities, const float* masks,
                float threshold, unsigned long long* counts);

/// Adds to counts [classes][classes] + 1 how many pixels of a label (the row) were predicted to be of a class
/// (the column), as confusion_matrix does, and to the last one how many labels or predictions are no class.
void count_classes(cudaStream_t stream, std::size_t pixels, int classes, std::uint8_t ignore,
                   const std::uint8_t* predicted, const std::uint8_t* labels, unsigned long long* counts);
/// The same where the predicted class is the first with the highest of `scores` [pixels][classes].
/// `workspace`: `pixels` bytes.
template <class T>
void count_classes(cudaStream_t stream, std::size_t pixels, int classes, std::uint8_t ignore, const T* scores,
                   const std::uint8_t* labels, unsigned long long* counts, void* workspace);

}  // namespace segnet::gpu::kernels
