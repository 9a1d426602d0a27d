// SPDX-License-Identifier: MIT
// Uses segnet, and the headers of the libraries that come with it, from outside.
#include <segnet/core/random.hpp>
#include <segnet/core/tensor_view.hpp>
#include <segnet/memory/aligned_buffer.hpp>

#include <stb_image.h>
#include <Eigen/Core>
#include <nlohmann/json.hpp>
#include <protozero/pbf_writer.hpp>

#include <iostream>
#include <thread>

int main() {
  std::jthread worker(
      [] { std::cout << "segnet " SEGNET_VERSION ", Eigen " << EIGEN_WORLD_VERSION << '\n'; });
  segnet::random_stream random{1, 2};
  const double x = random.uniform();
  return x >= 0.0 && x < 1.0 ? 0 : 1;
}
