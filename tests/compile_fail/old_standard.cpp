// SPDX-License-Identifier: MIT
// A project that forgot to ask for C++20 is told so in one line.
#ifndef SEGNET_CORRECTED
#undef __cplusplus
#define __cplusplus 201703L
#endif
#include <segnet/config.hpp>

int main() {}
