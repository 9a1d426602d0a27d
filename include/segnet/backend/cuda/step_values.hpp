// SPDX-License-Identifier: MIT
// What changes from step to step, kept on the card, so that a captured step reads it afresh.
#pragma once

#include <cstdint>

namespace segnet::gpu {

/// Kernels take a pointer to the card's copy, which kernels::set_step_values() writes; each reads what it
/// needs.
struct step_values {
  std::uint64_t seed;    ///< of the layers' random numbers
  float momentum_limit;  ///< of running statistics: the momentum is at most this
  float rate;            ///< the learning rate
  float corrected_rate;  ///< Adam's rate / (1 - beta1^t)
  float v_correction;    ///< Adam's 1 / sqrt(1 - beta2^t)
  float gradient_scale;  ///< what the optimizer multiplies gradients with
  float loss_scale;      ///< what the loss multiplies its gradient with; reported losses are without it
};

}  // namespace segnet::gpu
