// SPDX-License-Identifier: MIT
// examples/train_segmentation with one small network, on the card that the CPU simulates. One source, as the
// network is compiled in no time, and the headers take theirs each time.
#define SEGNET_BACKEND cpu
#include "../../../examples/backends/train_segmentation.cpp"
#include "../../../examples/train_segmentation.cpp"

namespace train_segmentation {

template int train_on<cuda>(const options&, const network_options&, class_pictures);
template int train_on<cuda_bf16>(const options&, const network_options&, class_pictures);
template int train_on<cuda_fp16>(const options&, const network_options&, class_pictures);

}  // namespace train_segmentation
