// SPDX-License-Identifier: MIT
#pragma once

#include <segnet/backend/cuda/device.hpp>

#include <catch2/catch.hpp>

/// Ends a test that needs a card where there is none, with a message that says why.
#define SEGNET_SKIP_WITHOUT_CARD()                                           \
  if (const std::string problem = segnet::why_no_cuda(); !problem.empty()) { \
    WARN("skipped: " << problem);                                            \
    return;                                                                  \
  }
