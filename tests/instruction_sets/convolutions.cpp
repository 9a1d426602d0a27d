// SPDX-License-Identifier: MIT
#include "../backend/forms.hpp"
#include "../backend/primitives.hpp"

using namespace segnet;
using namespace segnet::reference;

// The flags did what they are for.
static_assert(detail::simd<float>::lanes == SEGNET_EXPECTED_LANES);

TEST_CASE("every form of a convolution agrees with naive loops") {
  for (const problem& p : small_form_problems()) check_forms<float>(p);
}

TEST_CASE("1 x 1 convolutions to few channels agree with naive loops") {
  for (int in : {3, 4, 8, 16, 40})
    for (int out : {1, 4}) check_primitives<float>({convolution(5, 13, in, out, 1, 1), 2, {{in, 1}}});
}
